//! A bounded pipe from one writer to one reader.

use alloc::rc::Rc;
use core::fmt;

use super::queue::{Queue, Rejected};

/// The other half of the pipe is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BrokenPipe;

impl fmt::Display for BrokenPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the pipe is broken: its other half is gone")
    }
}

impl core::error::Error for BrokenPipe {}

/// A pipe that holds up to `capacity` items.
///
/// Dropping the writer is the end of the stream, which the reader sees after the last item. Dropping the reader breaks
/// the pipe: the items are dropped, and writing fails.
///
/// # Panics
/// If `capacity` is zero.
pub fn pipe<T>(capacity: usize) -> (PipeReader<T>, PipeWriter<T>) {
    let queue = Rc::new(Queue::new(capacity));
    (PipeReader { queue: Rc::clone(&queue) }, PipeWriter { queue })
}

/// The half of a pipe that items come out of.
pub struct PipeReader<T> {
    queue: Rc<Queue<T, BrokenPipe>>,
}

impl<T> PipeReader<T> {
    /// Waits for the next item; `None` at the end of the stream. Dropping the future loses no item.
    pub async fn read(&mut self) -> Option<T> {
        self.queue.pop().await.ok()
    }

    /// Puts an item back, so that it is the next one read. It may exceed the capacity.
    pub fn unread(&mut self, item: T) {
        self.queue.unpop(item);
    }
}

impl<T> Drop for PipeReader<T> {
    fn drop(&mut self) {
        self.queue.abort(BrokenPipe);
    }
}

impl<T> fmt::Debug for PipeReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PipeReader").field(&self.queue).finish()
    }
}

/// The half of a pipe that items go into.
pub struct PipeWriter<T> {
    queue: Rc<Queue<T, BrokenPipe>>,
}

impl<T> PipeWriter<T> {
    /// Waits for room and writes `item`. If the future is dropped before it is ready, the item is dropped with it.
    ///
    /// # Errors
    /// The item and [`BrokenPipe`] if the reader is gone.
    pub async fn write(&mut self, item: T) -> Result<(), Rejected<T, BrokenPipe>> {
        self.queue.push(item).await
    }

    /// Whether the reader is gone, so that writing is of no use.
    pub fn is_broken(&self) -> bool {
        self.queue.is_ended()
    }
}

impl<T> Drop for PipeWriter<T> {
    fn drop(&mut self) {
        self.queue.close(BrokenPipe);
    }
}

impl<T> fmt::Debug for PipeWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PipeWriter").field(&self.queue).finish()
    }
}
