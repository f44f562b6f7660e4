use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::task::Poll;

use rustix::net::sockopt;
use sunstar_net::socket::StreamOption;
use sunstar_packet::{Buffer, Doorbell};

use super::super::testing::Wakes;
use super::*;
use crate::bell::EventBell;

/// More than the submission queue has entries.
const MANY: usize = 600;

fn driver() -> Option<Rc<UringDriver>> {
    let driver = UringDriver::new().map(Rc::new);
    if let Err(error) = &driver {
        println!("io_uring is not available here: {error}");
    }
    driver.ok()
}

/// A stream of the driver, and the other end.
fn pair(driver: &Rc<UringDriver>) -> (Rc<dyn StreamSocket>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("descriptors are free");
    let detached = DetachedStream { blocks: true, ..DetachedStream::new(ours.into()) };
    (Rc::clone(driver).stream(detached).expect("it is connected"), theirs)
}

/// Polls a read until it is ready.
fn read(driver: &UringDriver, stream: &dyn StreamSocket) -> Buffer {
    let wakes = Wakes::default();
    loop {
        if let Poll::Ready(answer) = wakes.poll(|cx| stream.poll_read(cx)) {
            return answer.expect("no error");
        }
        driver.poll();
        driver.sleep(Some(Duration::from_millis(10)));
    }
}

#[test]
fn more_entries_than_the_queue_holds_all_get_through() {
    let Some(driver) = driver() else { return };
    let pairs: Vec<_> = (0..MANY).map(|_| pair(&driver)).collect();
    for (number, (stream, _)) in pairs.iter().enumerate() {
        stream.enqueue(Buffer::from(number.to_ne_bytes().to_vec()));
    }
    driver.poll();
    for (number, (_, theirs)) in pairs.iter().enumerate() {
        let mut bytes = [0; size_of::<usize>()];
        (&*theirs).read_exact(&mut bytes).expect("it was sent");
        assert_eq!(usize::from_ne_bytes(bytes), number);
    }
}

#[test]
fn without_anything_to_do_a_poll_makes_no_system_call() {
    let Some(driver) = driver() else { return };
    let (stream, mut theirs) = pair(&driver);
    theirs.write_all(b"one").expect("there is room");
    assert_eq!(*read(&driver, &*stream), *b"one");
    assert!(Wakes::default().poll(|cx| stream.poll_read(cx)).is_pending());
    // A stream that is one of few is asked by calls at first.
    (0..=CALLS).for_each(|_| _ = driver.poll());
    let before = driver.counters().snapshot().system_calls;
    for _ in 0..100 {
        assert!(!driver.poll());
    }
    assert_eq!(driver.counters().snapshot().system_calls, before);
}

#[test]
fn one_of_few_streams_is_served_by_a_call_each_and_told_of_by_the_kernel_later() {
    let Some(driver) = driver() else { return };
    let (stream, mut theirs) = pair(&driver);
    theirs.write_all(b"first").expect("there is room");
    assert_eq!(*read(&driver, &*stream), *b"first");
    let wakes = Wakes::default();
    for calls in [1, 3, CALLS / 2] {
        assert!(wakes.poll(|cx| stream.poll_read(cx)).is_pending());
        let before = driver.counters().snapshot().system_calls;
        (0..calls).for_each(|_| assert!(!driver.poll()));
        theirs.write_all(b"question").expect("there is room");
        assert!(driver.poll());
        assert_eq!(wakes.poll(|cx| stream.poll_read(cx)), Poll::Ready(Ok(Buffer::from("question"))));
        stream.enqueue(Buffer::from("answer"));
        driver.poll();
        // One brought the question, one took the answer, and one has asked for more since.
        assert_eq!(driver.counters().snapshot().system_calls - before, u64::from(calls) + 3);
        let mut answer = [0; 6];
        theirs.read_exact(&mut answer).expect("it was sent");
        assert_eq!(answer, *b"answer");
    }
    for sleeps in [false, true] {
        assert!(wakes.poll(|cx| stream.poll_read(cx)).is_pending());
        driver.poll();
        if sleeps {
            driver.sleep(Some(Duration::ZERO));
        } else {
            (0..CALLS).for_each(|_| assert!(!driver.poll()));
        }
        assert!(driver.calling.borrow().is_empty());
        theirs.write_all(b"late").expect("there is room");
        assert_eq!(*read(&driver, &*stream), *b"late");
    }
    assert!(wakes.poll(|cx| stream.poll_read(cx)).is_pending());
    driver.poll();
    drop(theirs);
    assert!(driver.poll());
    assert_eq!(wakes.poll(|cx| stream.poll_read(cx)), Poll::Ready(Ok(Buffer::new())), "the end");
}

#[test]
fn what_one_of_few_streams_is_to_send_leaves_when_its_reader_begins_to_wait() {
    let Some(driver) = driver() else { return };
    let (stream, mut theirs) = pair(&driver);
    theirs.set_nonblocking(true).expect("it is open");
    let mut answer = [0; 16];
    stream.enqueue(Buffer::from("head, "));
    stream.enqueue(Buffer::from("body"));
    assert!(theirs.read(&mut answer).is_err(), "more may follow");
    assert!(Wakes::default().poll(|cx| stream.poll_read(cx)).is_pending());
    assert_eq!(theirs.read(&mut answer).expect("it was sent"), 10);
    assert_eq!(answer[..10], *b"head, body");
    let others: Vec<_> = (0..FEW_SOCKETS).map(|_| pair(&driver)).collect();
    stream.enqueue(Buffer::from("later"));
    assert!(Wakes::default().poll(|cx| stream.poll_read(cx)).is_pending());
    assert!(theirs.read(&mut answer).is_err(), "among many it leaves together with what others send");
    driver.poll();
    assert_eq!(theirs.read(&mut answer).expect("it was sent"), 5);
    drop(others);
}

#[test]
fn a_call_that_can_not_send_all_leaves_the_rest_to_the_ring() {
    let Some(driver) = driver() else { return };
    let (stream, mut theirs) = pair(&driver);
    let part = vec![7; 8 << 10];
    for _ in 0..100 {
        stream.enqueue(Buffer::from(part.clone()));
        driver.poll();
    }
    drop(stream);
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).map(|_| all.len())
    });
    assert!(driver.settle(Duration::from_secs(30)));
    assert_eq!(reader.join().expect("no panic").expect("it ends in order"), part.len() * 100);
}

#[test]
fn who_reads_slowly_gets_all_and_makes_the_peer_wait() {
    let Some(driver) = driver() else { return };
    let (stream, theirs) = pair(&driver);
    theirs.set_nonblocking(true).expect("it can be set");
    let mut sent = 0_usize;
    assert!(Wakes::default().poll(|cx| stream.poll_read(cx)).is_pending());
    let mut refusals = 0;
    while refusals < 10 {
        driver.poll();
        match (&theirs).write(&[u8::try_from(sent % 251).expect("small"); 1]) {
            Ok(count) => sent += count,
            Err(_) => refusals += 1,
        }
    }
    assert!(sent < 1 << 20, "{sent} bytes were taken from who was not read");
    drop(theirs);
    let mut received = 0;
    loop {
        let bytes = read(&driver, &*stream);
        if bytes.is_empty() {
            break;
        }
        assert!(bytes.iter().zip(received..).all(|(byte, place)| usize::from(*byte) == place % 251));
        received += bytes.len();
    }
    assert_eq!(received, sent);
}

#[test]
fn a_driver_that_goes_ends_what_is_under_way_and_leaves_what_is_lent() {
    let Some(driver) = driver() else { return };
    let (stream, mut theirs) = pair(&driver);
    theirs.write_all(b"lent").expect("there is room");
    let lent = read(&driver, &*stream);
    assert!(Wakes::default().poll(|cx| stream.poll_read(cx)).is_pending());
    // More than the kernel takes without a reader.
    stream.enqueue(Buffer::from(vec![7; 16 << 20]));
    driver.poll();
    drop(stream);
    assert!(driver.lingers());
    driver.finish();
    assert!(!driver.lingers());
    drop(driver);
    let mut rest = Vec::new();
    theirs.read_to_end(&mut rest).expect("the descriptor was closed");
    assert!(rest.len() < 16 << 20);
    assert_eq!(*lent, *b"lent");
}

#[test]
fn who_finds_no_frame_waits_for_its_turn() {
    let Some(driver) = driver() else { return };
    let pairs: Vec<_> = (0..MANY).map(|_| pair(&driver)).collect();
    for (stream, theirs) in &pairs {
        assert!(Wakes::default().poll(|cx| stream.poll_read(cx)).is_pending());
        (&*theirs).write_all(b"hello").expect("there is room");
    }
    let mut waiting: Vec<_> = pairs.iter().map(|(stream, _)| stream).collect();
    while !waiting.is_empty() {
        driver.poll();
        assert!(driver.starved.borrow().len() < MANY);
        waiting.retain(|stream| Wakes::default().poll(|cx| stream.poll_read(cx)).is_pending());
    }
    let attempts = driver.counters().snapshot().short_frames;
    assert!((1..MANY as u64).contains(&attempts), "{attempts} attempts found no frame");
}

#[test]
fn the_end_waits_for_bytes_on_their_way_however_often_a_bell_rings() {
    let Some(driver) = driver() else { return };
    let bell = EventBell::new().expect("a descriptor is free");
    driver.watch_bell(bell.as_fd()).expect("an eventfd can be watched");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    // Connections inherit it.
    sockopt::set_socket_recv_buffer_size(&listener, 128 << 10).expect("it can be set");
    let ours = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
    let (mut theirs, _) = listener.accept().expect("one has connected");
    let detached = DetachedStream { blocks: true, is_tcp: true, ..DetachedStream::new(ours.into()) };
    let stream = Rc::clone(&driver).stream(detached).expect("it is connected");
    stream.set_option(StreamOption::SendBufferBytes(4 << 20)).expect("TCP has it");
    stream.enqueue(Buffer::from(vec![7; 800_000]));
    while Wakes::default().poll(|cx| stream.poll_flush(cx)).is_pending() {
        driver.poll();
    }
    drop(stream);
    let peer = std::thread::spawn(move || {
        for _ in 0..30 {
            bell.ring();
            std::thread::sleep(Duration::from_millis(1));
        }
        theirs.read_to_end(&mut Vec::new()).expect("it ends in order")
    });
    assert!(driver.settle(Duration::from_secs(30)));
    assert_eq!(peer.join().expect("no panic"), 800_000);
}
