//! Waiting for a task's output.

use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::ptr::NonNull;
use core::task::{Context, Poll};

use super::header::{self, ABORTED, COMPLETE, DETACHED, Header, TaskRef};
use super::raw;
use crate::current;
use crate::panic::Panic;

/// Why a task has no output.
#[derive(Debug)]
pub enum JoinError {
    /// The task panicked. This was logged when it happened.
    Panicked(Panic),
    /// The task was aborted, or its shard has stopped.
    Aborted,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(panic) => write!(f, "the task panicked: {panic}"),
            Self::Aborted => f.write_str("the task was aborted"),
        }
    }
}

impl core::error::Error for JoinError {}

/// The handle by which a task's output is awaited.
///
/// Dropping it detaches the task, which goes on. Dropping a future that awaits it through a reference loses nothing.
pub struct JoinHandle<T> {
    task: NonNull<Header>,
    _output: PhantomData<T>,
}

// Nothing of the output lies inside the handle.
impl<T> Unpin for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// Takes over the join handle's count of a task with this output.
    pub(super) fn new(task: NonNull<Header>) -> Self {
        Self { task, _output: PhantomData }
    }

    fn header(&self) -> &Header {
        // SAFETY: this handle is counted, so the task is not freed.
        unsafe { self.task.as_ref() }
    }

    /// Whether the task has ended, with an output or without.
    pub fn is_finished(&self) -> bool {
        self.header().has(COMPLETE)
    }

    /// Drops the task's future: at once if the task does not run, else when it next waits.
    ///
    /// A task that has ended is not affected. Awaiting the handle afterwards gives [`JoinError::Aborted`].
    pub fn abort(&self) {
        let header = self.header();
        let home = current::try_with(|shard| shard.home_address() == header.home_address()).unwrap_or(false);
        if home {
            current::with(|shard| raw::abort(self.task, shard));
        } else {
            header.set(ABORTED);
            header::wake_by_ref(self.task);
        }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    /// Polled again after it was ready, it answers [`JoinError::Aborted`].
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let header = self.header();
        if !header.has(COMPLETE) && !raw::run_if_next(self.task) {
            header.set_joiner(cx.waker());
            // Cloning a waker may run anything.
            if !header.has(COMPLETE) {
                return Poll::Pending;
            }
        }
        // SAFETY: the task is complete, its output has type `T`, and this is its only join handle.
        let output = unsafe { raw::take_output::<T>(self.task) };
        Poll::Ready(output.unwrap_or(Err(JoinError::Aborted)))
    }
}

impl<T> Drop for JoinHandle<T> {
    #[inline]
    fn drop(&mut self) {
        // Given up last, also if the output panics when it is dropped.
        let _handle = TaskRef::of_counted(self.task);
        let header = self.header();
        if header.has(COMPLETE) {
            // SAFETY: the task is complete, its output has type `T`, and this is its only join handle.
            unsafe { raw::discard_output::<T>(self.task) };
        } else {
            header.set(DETACHED);
            drop(header.take_joiner());
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("task", &self.header().name).finish_non_exhaustive()
    }
}
