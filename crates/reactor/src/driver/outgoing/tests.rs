use super::super::testing::Wakes;
use super::*;

fn bytes(text: &'static str) -> Buffer {
    Buffer::from(text)
}

fn front(outgoing: &Outgoing) -> Vec<Vec<u8>> {
    outgoing.with_slices(|slices| slices.iter().map(|slice| slice.to_vec()).collect())
}

fn file() -> Rc<dyn Any> {
    Rc::new(File::open("/dev/null").expect("it exists"))
}

#[test]
fn bytes_leave_in_order_and_in_parts() {
    let outgoing = Outgoing::default();
    assert!(outgoing.enqueue(bytes("one")));
    assert!(!outgoing.enqueue(Buffer::new()));
    assert_eq!(front(&outgoing), [b"one"]);
    assert!(outgoing.enqueue(bytes("two")));
    outgoing.advance(1);
    assert_eq!(front(&outgoing), [b"ne".to_vec(), b"two".to_vec()]);
    let mut cloned = Vec::new();
    outgoing.clone_front(1, &mut cloned);
    assert_eq!(cloned, [bytes("ne")]);
    outgoing.advance(3);
    assert_eq!(outgoing.queued_bytes(), 2);
    assert_eq!(front(&outgoing), [b"wo"]);
    outgoing.advance(2);
    assert!(matches!(outgoing.next(), Next::Nothing));
    assert!(outgoing.is_empty() && front(&outgoing).is_empty());
}

#[test]
fn the_kernel_is_given_a_bounded_number_of_buffers() {
    let outgoing = Outgoing::default();
    (0..MAX_SLICES + 1).for_each(|_| assert!(outgoing.enqueue(bytes("x"))));
    assert_eq!(front(&outgoing).len(), MAX_SLICES);
    outgoing.advance(MAX_SLICES as u64);
    assert_eq!(front(&outgoing).len(), 1);
}

#[test]
fn files_keep_their_place_among_the_bytes() {
    let outgoing = Outgoing::default();
    outgoing.enqueue(bytes("head"));
    assert_eq!(outgoing.enqueue_file(&file(), 10, 100), Ok(true));
    outgoing.enqueue(bytes("tail"));
    assert_eq!(front(&outgoing), [b"head"], "up to the file");
    outgoing.advance(4);
    assert!(front(&outgoing).is_empty() && outgoing.has_files());
    outgoing.advance(60);
    let Next::File(part) = outgoing.next() else { panic!("the file is next") };
    assert_eq!((part.offset, part.len_bytes), (70, 40));
    outgoing.advance(41);
    assert_eq!(front(&outgoing), [b"ail"]);
    assert!(!outgoing.has_files());
    let not_a_file: Rc<dyn Any> = Rc::new(0);
    assert_eq!(outgoing.enqueue_file(&not_a_file, 0, 1), Err(Error::Unsupported));
}

#[test]
fn writers_wait_while_the_queue_is_at_its_bound() {
    let (wakes, outgoing) = (Wakes::default(), Outgoing::default());
    outgoing.set_limit(4);
    outgoing.enqueue(bytes("123"));
    assert_eq!(wakes.poll(|cx| outgoing.poll_writable(cx)), Poll::Ready(Ok(())));
    outgoing.enqueue(bytes("a write is taken as a whole"));
    assert!(wakes.poll(|cx| outgoing.poll_writable(cx)).is_pending());
    outgoing.advance(outgoing.queued_bytes() - 4);
    assert_eq!(wakes.take(), 0);
    outgoing.advance(1);
    assert_eq!(wakes.take(), 1);
    outgoing.enqueue(bytes("more"));
    assert!(wakes.poll(|cx| outgoing.poll_writable(cx)).is_pending());
    outgoing.set_limit(100);
    assert_eq!(wakes.take(), 1);
}

#[test]
fn a_bound_of_nothing_lets_one_write_in_at_a_time() {
    let (wakes, outgoing) = (Wakes::default(), Outgoing::default());
    outgoing.set_limit(0);
    assert_eq!(wakes.poll(|cx| outgoing.poll_writable(cx)), Poll::Ready(Ok(())));
    outgoing.enqueue(bytes("x"));
    assert!(wakes.poll(|cx| outgoing.poll_writable(cx)).is_pending());
}

#[test]
fn a_flush_ends_when_all_is_taken_and_the_end_too() {
    let (wakes, outgoing) = (Wakes::default(), Outgoing::default());
    assert_eq!(wakes.poll(|cx| outgoing.poll_flush(cx)), Poll::Ready(Ok(())));
    outgoing.enqueue(bytes("12"));
    assert!(wakes.poll(|cx| outgoing.poll_flush(cx)).is_pending());
    outgoing.advance(1);
    assert_eq!(wakes.take(), 0);
    outgoing.advance(1);
    assert_eq!(wakes.take(), 1);
    outgoing.enqueue(bytes("3"));
    assert!(outgoing.shutdown());
    assert!(!outgoing.shutdown());
    assert!(!outgoing.enqueue(bytes("too late")));
    assert!(wakes.poll(|cx| outgoing.poll_flush(cx)).is_pending());
    assert!(matches!(outgoing.next(), Next::Bytes));
    outgoing.advance(1);
    assert_eq!(wakes.take(), 0, "the end is still to be sent");
    assert!(matches!(outgoing.next(), Next::Shutdown));
    outgoing.shutdown_done();
    assert_eq!(wakes.take(), 1);
    assert_eq!(wakes.poll(|cx| outgoing.poll_flush(cx)), Poll::Ready(Ok(())));
    assert_eq!(wakes.poll(|cx| outgoing.poll_writable(cx)), Poll::Ready(Err(Error::BrokenPipe)));
    assert!(matches!(outgoing.next(), Next::Nothing));
}

#[test]
fn a_failure_drops_all_and_is_told_to_everybody() {
    let (wakes, outgoing) = (Wakes::default(), Outgoing::default());
    outgoing.set_limit(1);
    outgoing.enqueue(bytes("12"));
    assert!(wakes.poll(|cx| outgoing.poll_flush(cx)).is_pending());
    assert!(wakes.poll(|cx| outgoing.poll_writable(cx)).is_pending());
    outgoing.fail(Error::ConnectionReset);
    outgoing.fail(Error::TimedOut);
    assert_eq!(wakes.take(), 2);
    assert!(outgoing.is_empty() && outgoing.is_closed());
    assert_eq!(outgoing.failure(), Some(Error::ConnectionReset));
    assert!(!outgoing.enqueue(bytes("too late")));
    assert_eq!(wakes.poll(|cx| outgoing.poll_flush(cx)), Poll::Ready(Err(Error::ConnectionReset)));
    assert_eq!(wakes.poll(|cx| outgoing.poll_writable(cx)), Poll::Ready(Err(Error::ConnectionReset)));
}

/// Bytes whose owner asks the queue that drops them.
struct Nosy(Rc<Outgoing>);

impl AsRef<[u8]> for Nosy {
    fn as_ref(&self) -> &[u8] {
        b"12"
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        self.0.enqueue(bytes("another"));
    }
}

#[test]
fn buffers_may_come_back_to_the_queue_when_they_are_dropped() {
    let outgoing = Rc::new(Outgoing::default());
    outgoing.enqueue(Buffer::from_owner(Nosy(Rc::clone(&outgoing))));
    outgoing.advance(2);
    assert_eq!(front(&outgoing), [b"another"]);
    outgoing.enqueue(Buffer::from_owner(Nosy(Rc::clone(&outgoing))));
    outgoing.fail(Error::ConnectionReset);
    assert!(outgoing.is_empty());
}
