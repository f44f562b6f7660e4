//! What a stream has received and nobody has read yet; the same for all drivers.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll};

use sunstar_net::Error;
use sunstar_packet::Buffer;

use super::queue::Queue;
use super::waiter::Waiter;

/// Received bytes, then the end of them, and the task that waits for either.
///
/// The bound is the driver's business: it stops to receive when [`Incoming::queued_bytes`] or [`Incoming::len`] is too high.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    queue: RefCell<Queue<Buffer>>,
    queued_bytes: Cell<usize>,
    /// What comes after the bytes, once it is known.
    end: Cell<Option<Result<(), Error>>>,
    reader: Waiter,
}

impl Incoming {
    /// A queue that begins with bytes that were received elsewhere.
    pub(crate) fn new(unread: impl IntoIterator<Item = Buffer>) -> Self {
        let incoming = Self::default();
        unread.into_iter().for_each(|bytes| incoming.push(bytes));
        incoming
    }

    /// Adds bytes that have come, and wakes the reader. Empty buffers and what comes after the end are dropped.
    pub(crate) fn push(&self, bytes: Buffer) {
        if bytes.is_empty() || self.has_ended() {
            return;
        }
        self.queued_bytes.set(self.queued_bytes.get() + bytes.len());
        self.queue.borrow_mut().push_back(bytes);
        self.reader.wake();
    }

    /// Says that no more bytes come, and wakes the reader: the peer has ended the stream, or it has failed. The first end
    /// counts.
    pub(crate) fn end(&self, how: Result<(), Error>) {
        if self.end.get().is_none() {
            self.end.set(Some(how));
            self.reader.wake();
        }
    }

    /// The next bytes, an empty buffer at the end of the stream, or its error; nothing if none of these is known.
    pub(crate) fn read(&self) -> Option<Result<Buffer, Error>> {
        let first = self.queue.borrow_mut().pop_front();
        if let Some(bytes) = first {
            self.queued_bytes.set(self.queued_bytes.get() - bytes.len());
            return Some(Ok(bytes));
        }
        self.end.get().map(|end| end.map(|()| Buffer::new()))
    }

    /// As [`Incoming::read`], or waits.
    pub(crate) fn poll_read(&self, cx: &Context<'_>) -> Poll<Result<Buffer, Error>> {
        match self.read() {
            Some(answer) => Poll::Ready(answer),
            None => {
                self.reader.wait(cx);
                Poll::Pending
            }
        }
    }

    /// Waits in the reader's place, for what makes the driver [wake](Self::wake) it.
    pub(crate) fn wait(&self, cx: &Context<'_>) {
        self.reader.wait(cx);
    }

    /// Wakes the reader, who is to look again.
    pub(crate) fn wake(&self) {
        self.reader.wake();
    }

    /// Takes all bytes off, to be read elsewhere.
    pub(crate) fn take_all(&self) -> Queue<Buffer> {
        self.queued_bytes.set(0);
        self.queue.take()
    }

    /// How many bytes wait to be read.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued_bytes.get()
    }

    /// How many buffers wait to be read.
    pub(crate) fn len(&self) -> usize {
        self.queue.borrow().len()
    }

    /// Whether the end is known, behind what waits to be read.
    pub(crate) fn has_ended(&self) -> bool {
        self.end.get().is_some()
    }

    /// The error that the stream ends with, if it has failed.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.end.get()?.err()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Wakes;
    use super::*;

    fn bytes(text: &'static str) -> Buffer {
        Buffer::from(text)
    }

    #[test]
    fn bytes_come_in_order_and_the_end_after_them() {
        let incoming = Incoming::new([bytes("one")]);
        incoming.push(bytes("three"));
        incoming.push(Buffer::new());
        assert_eq!((incoming.len(), incoming.queued_bytes()), (2, 8));
        incoming.end(Ok(()));
        incoming.push(bytes("too late"));
        incoming.end(Err(Error::ConnectionReset));
        assert_eq!(incoming.read(), Some(Ok(bytes("one"))));
        assert_eq!(incoming.read(), Some(Ok(bytes("three"))));
        assert_eq!((incoming.len(), incoming.queued_bytes()), (0, 0));
        assert_eq!(incoming.read(), Some(Ok(Buffer::new())));
        assert_eq!(incoming.read(), Some(Ok(Buffer::new())), "again and again");
        assert_eq!(incoming.failure(), None);
    }

    #[test]
    fn an_error_comes_after_the_bytes_and_repeats() {
        let incoming = Incoming::new([bytes("one")]);
        incoming.end(Err(Error::ConnectionReset));
        assert!(incoming.has_ended());
        assert_eq!(incoming.read(), Some(Ok(bytes("one"))));
        assert_eq!(incoming.read(), Some(Err(Error::ConnectionReset)));
        assert_eq!(incoming.read(), Some(Err(Error::ConnectionReset)));
        assert_eq!(incoming.failure(), Some(Error::ConnectionReset));
    }

    #[test]
    fn the_reader_is_woken_by_bytes_and_by_the_end() {
        let wakes = Wakes::default();
        let incoming = Incoming::default();
        assert!(wakes.poll(|cx| incoming.poll_read(cx)).is_pending());
        incoming.push(bytes("one"));
        incoming.push(bytes("two"));
        assert_eq!(wakes.take(), 1, "who does not wait is not woken");
        assert_eq!(wakes.poll(|cx| incoming.poll_read(cx)), Poll::Ready(Ok(bytes("one"))));
        assert_eq!(wakes.poll(|cx| incoming.poll_read(cx)), Poll::Ready(Ok(bytes("two"))));
        assert!(wakes.poll(|cx| incoming.poll_read(cx)).is_pending());
        incoming.end(Ok(()));
        assert_eq!(wakes.take(), 1);
    }

    #[test]
    fn what_is_taken_off_is_not_read_here() {
        let incoming = Incoming::new([bytes("one"), bytes("two")]);
        assert_eq!(incoming.take_all().collect::<Vec<_>>(), [bytes("one"), bytes("two")]);
        assert_eq!((incoming.len(), incoming.queued_bytes()), (0, 0));
        assert_eq!(incoming.read(), None);
    }
}
