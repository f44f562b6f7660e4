//! What a stream is to send; the same for all drivers.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::IoSlice;
use std::rc::Rc;
use std::task::{Context, Poll};

use sunstar_net::Error;
use sunstar_net::socket::DEFAULT_SEND_QUEUE_BYTES;
use sunstar_packet::Buffer;

use super::queue::Queue;
use super::waiter::Waiter;

#[cfg(test)]
mod tests;

/// The most buffers that are given to the kernel at once.
pub(crate) const MAX_SLICES: usize = 64;

/// So many bytes wait for the end of the stream behind them.
const SHORT_BYTES: u64 = 16 << 10;

/// A part of a file that is to be sent.
#[derive(Clone, Debug)]
pub(crate) struct FilePart {
    /// The file.
    pub(crate) file: Rc<File>,
    /// Where the part begins.
    pub(crate) offset: u64,
    /// How long it is.
    pub(crate) len_bytes: u64,
}

/// What is to be sent next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Nothing.
    Nothing,
    /// Bytes, of which [`Outgoing::with_slices`] and [`Outgoing::clone_front`] give the first ones.
    Bytes,
    /// A part of a file.
    File(FilePart),
    /// The end of the stream: [`Outgoing::shutdown_done`] is to be called when the kernel has taken it.
    Shutdown,
}

#[derive(Debug)]
enum Item {
    Bytes(Buffer),
    File(FilePart),
}

/// Whether the stream still sends.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Side {
    Open,
    /// It ends after what is queued.
    Ending,
    /// The kernel has taken the end.
    Ended,
    Failed(Error),
}

/// The send queue of a stream, and the tasks that wait for room in it or for its end.
#[derive(Debug)]
pub(crate) struct Outgoing {
    queue: RefCell<Queue<Item>>,
    queued_bytes: Cell<u64>,
    queued_files: Cell<u32>,
    limit_bytes: Cell<u32>,
    side: Cell<Side>,
    writer: Waiter,
    flusher: Waiter,
}

impl Default for Outgoing {
    fn default() -> Self {
        Self {
            queue: RefCell::default(),
            queued_bytes: Cell::new(0),
            queued_files: Cell::new(0),
            limit_bytes: Cell::new(u32::try_from(DEFAULT_SEND_QUEUE_BYTES).unwrap_or(u32::MAX)),
            side: Cell::new(Side::Open),
            writer: Waiter::default(),
            flusher: Waiter::default(),
        }
    }
}

/// What sockets ask.
impl Outgoing {
    /// Waits until the queue is below its bound; an error if the stream does not send any more.
    pub(crate) fn poll_writable(&self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        match self.side.get() {
            Side::Failed(error) => Poll::Ready(Err(error)),
            Side::Ending | Side::Ended => Poll::Ready(Err(Error::BrokenPipe)),
            Side::Open if self.has_room() => Poll::Ready(Ok(())),
            Side::Open => {
                self.writer.wait(cx);
                Poll::Pending
            }
        }
    }

    /// Queues bytes; they are dropped if the stream does not send any more. Answers whether the queue has grown.
    pub(crate) fn enqueue(&self, bytes: Buffer) -> bool {
        let len_bytes = bytes.len() as u64;
        self.put(Item::Bytes(bytes), len_bytes)
    }

    /// Queues a part of a [`File`], as [`Outgoing::enqueue`] does bytes.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if it is not that type of file.
    pub(crate) fn enqueue_file(&self, file: &Rc<dyn Any>, offset: u64, len_bytes: u64) -> Result<bool, Error> {
        let file = Rc::clone(file).downcast().map_err(|_| Error::Unsupported)?;
        Ok(self.put(Item::File(FilePart { file, offset, len_bytes }), len_bytes))
    }

    fn put(&self, item: Item, len_bytes: u64) -> bool {
        let takes = self.side.get() == Side::Open && len_bytes > 0;
        if takes {
            self.queued_bytes.set(self.queued_bytes.get().saturating_add(len_bytes));
            self.queued_files.set(self.queued_files.get() + u32::from(matches!(item, Item::File(_))));
            self.queue.borrow_mut().push_back(item);
        }
        takes
    }

    /// Waits until the kernel has taken all, and the end if there is to be one; an error if the stream has failed.
    pub(crate) fn poll_flush(&self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        match self.side.get() {
            Side::Failed(error) => Poll::Ready(Err(error)),
            Side::Open | Side::Ended if self.is_empty() => Poll::Ready(Ok(())),
            _ => {
                self.flusher.wait(cx);
                Poll::Pending
            }
        }
    }

    /// Ends the stream after what is queued. Answers whether that is new.
    pub(crate) fn shutdown(&self) -> bool {
        let is_new = self.side.get() == Side::Open;
        if is_new {
            self.side.set(Side::Ending);
            self.writer.wake();
        }
        is_new
    }

    /// Sets the bound above which writers wait.
    pub(crate) fn set_limit(&self, limit_bytes: usize) {
        self.limit_bytes.set(u32::try_from(limit_bytes).unwrap_or(u32::MAX));
        if self.has_room() {
            self.writer.wake();
        }
    }

    /// An empty queue has room whatever the bound is, so that every writer gets on.
    fn has_room(&self) -> bool {
        self.queued_bytes.get() < self.limit_bytes.get().max(1).into()
    }

    /// Whether nothing is queued; the end does not count.
    pub(crate) fn is_empty(&self) -> bool {
        self.queued_bytes.get() == 0
    }

    /// Whether a part of a file is queued. Behind bytes it belongs to the same message as a rule, so they should leave with it.
    pub(crate) fn has_files(&self) -> bool {
        self.queued_files.get() > 0
    }

    /// Whether all that is queued is a few bytes, which one send takes. If the stream is closed behind them, they should leave
    /// in one segment with its end.
    pub(crate) fn is_short(&self) -> bool {
        !self.has_files() && self.queued_bytes.get() <= SHORT_BYTES && self.queue.borrow().len() <= MAX_SLICES
    }

    /// Whether something is left for the driver to do: bytes, or the end.
    pub(crate) fn has_more(&self) -> bool {
        !self.is_empty() || self.side.get() == Side::Ending
    }

    /// How many bytes are queued, those of files included.
    pub(crate) fn queued_bytes(&self) -> u64 {
        self.queued_bytes.get()
    }

    /// The error, if the stream has failed.
    pub(crate) fn failure(&self) -> Option<Error> {
        if let Side::Failed(error) = self.side.get() { Some(error) } else { None }
    }

    /// Whether the stream is to end, has ended, or has failed.
    pub(crate) fn is_closed(&self) -> bool {
        self.side.get() != Side::Open
    }
}

/// What drivers do.
impl Outgoing {
    /// What is to be sent next.
    pub(crate) fn next(&self) -> Next {
        match self.queue.borrow().front() {
            Some(Item::Bytes(_)) => Next::Bytes,
            Some(Item::File(part)) => Next::File(part.clone()),
            None if self.side.get() == Side::Ending => Next::Shutdown,
            None => Next::Nothing,
        }
    }

    /// Calls `f`, which must not touch this queue, with the bytes that are next: at most [`MAX_SLICES`] buffers, up to the
    /// first file.
    pub(crate) fn with_slices<R>(&self, f: impl FnOnce(&[IoSlice<'_>]) -> R) -> R {
        let queue = self.queue.borrow();
        let mut items = queue.iter();
        let (first, second) = (items.next(), items.next());
        if let (Some(Item::Bytes(bytes)), None | Some(Item::File(_))) = (first, second) {
            return f(&[IoSlice::new(bytes)]);
        }
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut count = 0;
        for (slice, bytes) in slices.iter_mut().zip(leading_bytes(&queue)) {
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        f(&slices[..count])
    }

    /// Adds handles of the bytes that are next to `front`, at most `limit` buffers, up to the first file. For who gives them
    /// to the kernel for a while: they keep the bytes whatever happens to the queue.
    pub(crate) fn clone_front(&self, limit: usize, front: &mut impl Extend<Buffer>) {
        front.extend(leading_bytes(&self.queue.borrow()).take(limit).cloned());
    }

    /// Takes the first `count` bytes off, which the kernel has taken. Whoever waits for that is woken.
    ///
    /// # Panics
    /// If fewer are queued.
    pub(crate) fn advance(&self, mut count: u64) {
        let queued_bytes =
            self.queued_bytes.get().checked_sub(count).expect("the kernel takes no more than it is given");
        self.queued_bytes.set(queued_bytes);
        while count > 0 {
            // Dropped after the borrow: buffers may belong to somebody who is told when they go.
            let (step, _done) = self.advance_front(count);
            count -= step;
        }
        self.wake_waiting();
    }

    /// Takes up to `count` bytes off the first item, and answers how many, with the item itself if that was all of it.
    fn advance_front(&self, count: u64) -> (u64, Option<Item>) {
        let mut queue = self.queue.borrow_mut();
        match queue.front_mut().expect("the items add up to the number of queued bytes") {
            Item::Bytes(bytes) if count < bytes.len() as u64 => {
                bytes.advance(usize::try_from(count).expect("less than a length"));
                (count, None)
            }
            Item::File(part) if count < part.len_bytes => {
                part.offset += count;
                part.len_bytes -= count;
                (count, None)
            }
            Item::Bytes(bytes) => (bytes.len() as u64, queue.pop_front()),
            Item::File(part) => {
                self.queued_files.set(self.queued_files.get() - 1);
                (part.len_bytes, queue.pop_front())
            }
        }
    }

    /// Notes that the kernel has taken the end.
    pub(crate) fn shutdown_done(&self) {
        if self.side.get() == Side::Ending {
            self.side.set(Side::Ended);
            self.flusher.wake();
        }
    }

    /// Drops all that is queued, and whatever comes. Whoever waits learns of the error. The first error counts.
    pub(crate) fn fail(&self, error: Error) {
        if self.failure().is_some() {
            return;
        }
        self.side.set(Side::Failed(error));
        self.queued_bytes.set(0);
        self.queued_files.set(0);
        let dropped = self.queue.take();
        drop(dropped);
        self.writer.wake();
        self.flusher.wake();
    }

    fn wake_waiting(&self) {
        if self.has_room() {
            self.writer.wake();
        }
        if self.is_empty() && self.side.get() != Side::Ending {
            self.flusher.wake();
        }
    }
}

fn leading_bytes(queue: &Queue<Item>) -> impl Iterator<Item = &Buffer> {
    queue.iter().map_while(|item| if let Item::Bytes(bytes) = item { Some(bytes) } else { None })
}
