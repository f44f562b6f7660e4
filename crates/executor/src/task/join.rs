//! Waiting for a task's output.

use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::ptr::NonNull;
use core::task::{Context, Poll};

use super::header::{self, ABORTED, COMPLETE, DETACHED, Header, TaskRef};
use super::{output, raw};
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
    /// `None` once the output was taken.
    task: Option<NonNull<Header>>,
    _output: PhantomData<T>,
}

// Nothing of the output lies inside the handle.
impl<T> Unpin for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// Takes over the join handle's count of a task with this output.
    #[inline]
    pub(super) fn new(task: NonNull<Header>) -> Self {
        Self { task: Some(task), _output: PhantomData }
    }

    fn header(&self) -> Option<&Header> {
        // SAFETY: this handle is counted, so the task is not freed.
        self.task.map(|task| unsafe { task.as_ref() })
    }

    /// Whether the task has ended, with an output or without.
    pub fn is_finished(&self) -> bool {
        self.header().is_none_or(|header| header.has(COMPLETE))
    }

    /// Drops the task's future: at once if the task does not run, else when it next waits.
    ///
    /// A task that has ended is not affected. Awaiting the handle afterwards gives [`JoinError::Aborted`].
    pub fn abort(&self) {
        let (Some(task), Some(header)) = (self.task, self.header()) else { return };
        match header::at_home(task) {
            Some(shard) => raw::abort(task, shard),
            None => {
                header.set(ABORTED);
                header::wake_by_ref(task);
            }
        }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    /// Polled again after it was ready, it answers [`JoinError::Aborted`].
    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (Some(task), Some(header)) = (self.task, self.header()) else {
            return Poll::Ready(Err(JoinError::Aborted));
        };
        if !header.has(COMPLETE) && !raw::wait_for(task, cx.waker()) {
            return Poll::Pending;
        }
        self.task = None;
        // SAFETY: the task is complete, its output has type `T`, and this is its only join handle, which forgets it.
        Poll::Ready(unsafe { output::take_output::<T>(task) })
    }
}

impl<T> Drop for JoinHandle<T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(task) = self.task {
            leave::<T>(task);
        }
    }
}

/// Gives up the join handle of a task with this output, which was not taken.
#[inline(never)]
fn leave<T>(task: NonNull<Header>) {
    // SAFETY: the handle keeps the task.
    let header = unsafe { task.as_ref() };
    if header.has(COMPLETE) {
        // SAFETY: the task is complete, its output has type `T`, and its only join handle goes.
        unsafe { output::discard_output::<T>(task) };
    } else {
        header.set(DETACHED);
        // Given up also if the joiner panics when it is dropped.
        let _handle = TaskRef::of_counted(task);
        drop(header.take_joiner());
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("task", &self.header().map(|header| header.name)).finish_non_exhaustive()
    }
}
