//! How streams end when the other side does not play along.

use std::any::Any;
use std::fs::File;
use std::io::Read;
use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;

use rustix::net::sockopt;
use sunstar_executor::combine::with_timeout;
use sunstar_executor::timer::sleep;
use sunstar_net::Error;
use sunstar_net::socket::StreamOption;
use sunstar_packet::Buffer;

use crate::support::*;

/// Waits until the process has so many descriptors.
async fn has_descriptors(count: usize) -> bool {
    let until_so = async {
        while descriptors() != count {
            sleep(Duration::from_millis(1)).await;
        }
    };
    with_timeout(Duration::from_secs(5), until_so).await.is_ok()
}

/// The kernel takes all of a response, but can't get rid of it. That is no reason to keep a descriptor.
#[test]
fn a_dropped_stream_whose_peer_does_not_read_keeps_no_descriptor() {
    if !is_alone("closing::a_dropped_stream_whose_peer_does_not_read_keeps_no_descriptor") {
        return;
    }
    on_each_driver(1, || async {
        const COUNT: usize = 800_000;
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        // Connections inherit it.
        sockopt::set_socket_recv_buffer_size(&listener, 128 << 10).expect("it can be set");
        let address = listener.local_addr().expect("it is bound").into();
        let stream = connect(&address).await.expect("it listens");
        let (mut peer, _) = listener.accept().expect("one has connected");
        let before = descriptors();
        stream.set_option(StreamOption::SendBufferBytes(4 << 20)).expect("TCP has it");
        write(&stream, pattern(0, COUNT)).await.expect("it is connected");
        with_timeout(PATIENCE, flush(&stream)).await.expect("the kernel has room").expect("it is connected");
        drop(stream);
        assert!(has_descriptors(before - 1).await, "{} instead of {}", descriptors(), before - 1);
        let mut all = Vec::new();
        peer.read_to_end(&mut all).expect("all of it arrives");
        assert!(all == pattern(0, COUNT));
    });
}

#[test]
fn what_came_before_the_end_is_whole_though_nobody_takes_the_answer() {
    on_each_driver(1, || async {
        let (client, server) = pair().await;
        write(&client, "question").await.expect("it is connected");
        flush(&client).await.expect("the kernel takes it");
        drop(client);
        sleep(Duration::from_millis(5)).await;
        while write(&server, "answer").await.is_ok() {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(read_to_end(&server).await, Ok(b"question".to_vec()));
    });
}

#[test]
fn ending_after_a_reset_does_not_hide_it() {
    on_each_driver(1, || async {
        let (client, server) = pair().await;
        client.abort();
        drop(client);
        sleep(Duration::from_millis(5)).await;
        server.shutdown();
        let _ = flush(&server).await;
        assert_eq!(read(&server).await, Err(Error::ConnectionReset));
    });
}

#[test]
fn a_file_that_cannot_be_read_is_no_orderly_end() {
    on_each_driver(1, || async {
        let folder: Rc<dyn Any> = Rc::new(File::open("/").expect("it is there"));
        let (client, server) = pair().await;
        write(&client, "head").await.expect("it is connected");
        client.enqueue_file(&folder, 0, 100).expect("it is a file, as far as its type goes");
        assert!(flush(&client).await.is_err());
        drop(client);
        assert_eq!(read_to_end(&server).await, Err(Error::ConnectionReset));
    });
}

#[test]
fn a_peer_that_is_gone_ends_what_is_read_and_written() {
    on_each_driver(1, || async {
        let (client, server) = pair().await;
        client.abort();
        drop(client);
        assert_eq!(read(&server).await, Err(Error::ConnectionReset));
        assert_eq!(read(&server).await, Err(Error::ConnectionReset));
        server.enqueue(Buffer::from("late"));
        assert!(flush(&server).await.is_err());
    });
}
