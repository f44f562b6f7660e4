//! Files that are sent.

use std::any::Any;
use std::fs::File;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::ptr::null_mut;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::task::Poll;
use std::thread::{self, JoinHandle};

use rustix::fs::{Advice, fadvise};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use sunstar_executor::{spawn, yield_now};
use sunstar_net::Error;
use sunstar_packet::Buffer;
use sunstar_reactor::{Backend, blocking, io_stats};

use crate::support::*;

const COLD_BYTES: usize = 1 << 20;

/// How often a file is written anew. The kernel keeps one in memory that something else of it holds just then.
const ATTEMPTS: u32 = 100;

/// A file that is on a disk and not in memory, if the file system lets it be.
fn cold_file() -> Option<Rc<dyn Any>> {
    for _ in 0..ATTEMPTS {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&pattern(0, COLD_BYTES)).expect("there is room");
        file.sync_all().expect("it can be written");
        fadvise(&file, 0, None, Advice::DontNeed).expect("it is a file");
        if resident_pages(&file) == 0 {
            return Some(Rc::new(file));
        }
    }
    println!("the file system keeps files in memory");
    None
}

/// How many of the file's pages are in memory, which reads none of them.
fn resident_pages(file: &File) -> usize {
    // Pages may be larger, so that fewer bytes are written.
    let mut pages = vec![0; COLD_BYTES / 4096];
    // SAFETY: the kernel chooses where the file is mapped, and says of each page of it one byte; nobody reads what is mapped.
    unsafe {
        let flags = MapFlags::SHARED;
        let address = mmap(null_mut(), COLD_BYTES, ProtFlags::READ, flags, file, 0).expect("it is a file");
        assert_eq!(libc::mincore(address, COLD_BYTES, pages.as_mut_ptr()), 0);
        munmap(address, COLD_BYTES).expect("it is mapped");
    }
    pages.iter().filter(|&&page| page & 1 != 0).count()
}

#[test]
fn what_is_not_in_memory_is_read_beside_the_shard() {
    on_each_driver(1, || async {
        let Some(file) = cold_file() else { return };
        for is_cold in [true, false] {
            let before = io_stats().cold_file_chunks;
            let (client, server) = pair().await;
            client.enqueue_file(&file, 1, COLD_BYTES as u64 - 1).expect("it is a file");
            client.shutdown();
            assert!(read_to_end(&server).await.expect("no error") == pattern(1, COLD_BYTES - 1));
            assert_eq!(io_stats().cold_file_chunks > before, is_cold);
        }
    });
}

#[test]
fn while_a_disk_is_waited_for_others_are_served() {
    on_driver(Backend::Epoll, 1, || async {
        let Some(file) = cold_file() else { return };
        let (unlock, locked) = channel::<()>();
        // The helper thread stands for the disk: it does nothing until it may.
        let busy = spawn(blocking(move || locked.recv()));
        let (client, server) = pair().await;
        client.enqueue_file(&file, 0, COLD_BYTES as u64).expect("it is a file");
        // It is still sent when nobody has the stream any more.
        drop(client);
        let (other, echo) = pair().await;
        for _ in 0..100 {
            write(&other, "hello").await.expect("it is connected");
            assert_eq!(read(&echo).await, Ok(Buffer::from("hello")));
            let early = poll_fn(|cx| Poll::Ready(server.poll_read(cx).is_ready())).await;
            assert!(!early, "the disk has not answered");
        }
        unlock.send(()).expect("the thread waits for it");
        assert!(read_to_end(&server).await.expect("no error") == pattern(0, COLD_BYTES));
        busy.await.expect("no panic").expect("no panic").expect("it was told");
    });
}

/// What the other side of a stream got, which it learns after the shard is gone.
static RECEIVED: Mutex<Option<JoinHandle<std::io::Result<Vec<u8>>>>> = Mutex::new(None);

#[test]
fn a_shard_that_ends_sends_what_the_disk_has_yet_to_give() {
    for backend in backends() {
        on_driver(backend, 1, || async {
            let Some(file) = cold_file() else { return };
            let (listener, address) = listen(&loopback());
            let mut peer = TcpStream::connect(address.inet().expect("it is one")).expect("it listens");
            let stream = attach(accept(&listener).await.expect("one has connected"));
            stream.enqueue_file(&file, 0, COLD_BYTES as u64).expect("it is a file");
            let mut all = Vec::new();
            let receive = thread::spawn(move || peer.read_to_end(&mut all).map(|_| all));
            *RECEIVED.lock().expect("no panic") = Some(receive);
            // The file is being read when the shard ends.
            yield_now().await;
            spawn(async move {
                std::future::pending::<()>().await;
                drop(stream);
            });
        });
        let Some(peer) = RECEIVED.lock().expect("no panic").take() else { return };
        // If the disk is slower than a shard that ends has time for, the end is no orderly one.
        let all = peer.join().expect("no panic");
        assert!(all.is_err() || all.is_ok_and(|all| all == pattern(0, COLD_BYTES)));
    }
}

#[test]
fn a_part_of_a_file_is_sent_between_bytes() {
    on_each_driver(1, || async {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let content = pattern(0, 3_000_000);
        File::create(&path).and_then(|mut file| file.write_all(&content)).expect("the folder is ours");
        let file: Rc<dyn Any> = Rc::new(File::open(&path).expect("it was made"));
        for address in addresses(&folder) {
            let (client, server) = pair_at(&address).await;
            write(&client, "head").await.expect("it is connected");
            client.enqueue_file(&file, 1000, 2_500_000).expect("it is a file");
            client.enqueue(Buffer::from("middle"));
            client.enqueue_file(&file, 5, 3).expect("it is a file");
            client.enqueue(Buffer::from("tail"));
            client.shutdown();
            let all = read_to_end(&server).await.expect("no error");
            let expected = [b"head", &content[1000..2_501_000], b"middle", &content[5..8], b"tail"].concat();
            assert!(all == expected);
        }
        let (client, _server) = pair().await;
        let no_file: Rc<dyn Any> = Rc::new(7);
        assert_eq!(client.enqueue_file(&no_file, 0, 1), Err(Error::Unsupported));
    });
}

#[test]
fn a_file_that_ends_early_fails_the_stream() {
    on_each_driver(1, || async {
        let file = tempfile::tempfile().expect("a file");
        (&file).write_all(b"short").expect("it is ours");
        let file: Rc<dyn Any> = Rc::new(file);
        let (client, server) = pair().await;
        client.enqueue_file(&file, 0, 6).expect("it is a file");
        assert_eq!(flush(&client).await, Err(Error::ConnectionAborted));
        assert_eq!(writable(&client).await, Err(Error::ConnectionAborted));
        assert_eq!(read_to_end(&server).await, Err(Error::ConnectionReset));
    });
}
