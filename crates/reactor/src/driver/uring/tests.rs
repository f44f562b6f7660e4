use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::task::Poll;

use sunstar_packet::Buffer;

use super::super::testing::Wakes;
use super::*;

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
    while driver.poll() {}
    let before = driver.counters().snapshot().system_calls;
    for _ in 0..100 {
        assert!(!driver.poll());
    }
    assert_eq!(driver.counters().snapshot().system_calls, before);
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
