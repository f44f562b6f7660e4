//! What the peer's side has acknowledged.

use std::any::Any;
use std::io::Write;
use std::rc::Rc;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::yield_now;
use sunstar_net::Error;

use crate::support::*;

/// More than the kernel's buffers of both sides hold.
const COUNT: usize = 32 << 20;

/// Waits until all is acknowledged.
async fn acknowledged(stream: &Stream) {
    let all = async {
        while stream.unacknowledged_bytes() > 0 {
            yield_now().await;
        }
    };
    with_timeout(PATIENCE, all).await.expect("the peer has read everything");
}

#[test]
fn what_nobody_has_read_is_unacknowledged_until_it_is() {
    on_each_driver(1, || async {
        let folder = tempfile::tempdir().expect("a folder");
        for address in addresses(&folder) {
            let (client, server) = pair_at(&address).await;
            assert_eq!(server.unacknowledged_bytes(), 0);
            server.enqueue(vec![7; COUNT].into());
            // In the send queue, or in the kernel.
            assert!(server.unacknowledged_bytes() > 0);
            let sent = with_timeout(std::time::Duration::from_millis(100), flush(&server)).await;
            assert!(sent.is_err(), "nobody reads");
            let left = server.unacknowledged_bytes();
            assert!(left > 0, "the peer can't hold all of it");
            assert_eq!(read_bytes(&client, COUNT).await.expect("no error").len(), COUNT);
            acknowledged(&server).await;
        }
    });
}

#[test]
fn parts_of_files_count_as_bytes_do() {
    on_each_driver(1, || async {
        let (client, server) = pair().await;
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&vec![7; COUNT]).expect("there is room");
        let file: Rc<dyn Any> = Rc::new(file);
        server.enqueue_file(&file, 0, COUNT as u64).expect("it is a file");
        assert!(server.unacknowledged_bytes() > 0);
        assert_eq!(read_bytes(&client, COUNT).await.expect("no error").len(), COUNT);
        acknowledged(&server).await;
    });
}

#[test]
fn a_stream_that_has_failed_has_nothing_unacknowledged() {
    on_each_driver(1, || async {
        let (client, server) = pair().await;
        server.enqueue(vec![7; COUNT].into());
        assert!(server.unacknowledged_bytes() > 0);
        server.abort();
        assert_eq!(server.unacknowledged_bytes(), 0);
        assert_eq!(read(&server).await, Err(Error::ConnectionAborted));
        drop(client);
    });
}
