//! Futures that something else may end.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use crate::timer::sleep;

/// The timer ended before the future.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimedOut;

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")
    }
}

impl core::error::Error for TimedOut {}

/// Runs `future` until `timer` ends, and then drops it.
///
/// Any future serves as the timer. If both are ready at the same poll, the output wins.
///
/// # Errors
/// [`TimedOut`] if the timer ends first.
pub fn with_deadline<F: Future>(timer: impl Future, future: F) -> impl Future<Output = Result<F::Output, TimedOut>> {
    Unless::new(timer, future, TimedOut)
}

/// Runs `future` for at most `timeout`, counted from the call, and then drops it.
///
/// # Errors
/// [`TimedOut`] if the time is over first.
///
/// # Panics
/// Outside of any shard.
#[track_caller]
pub fn with_timeout<F: Future>(timeout: Duration, future: F) -> impl Future<Output = Result<F::Output, TimedOut>> {
    with_deadline(sleep(timeout), future)
}

/// Runs a future unless another one, its end, is ready before it. Both are dropped when either is ready.
///
/// An async function would have room for both twice: as what it was given, and where it polls them. Nested in each other, such
/// functions make the future of a whole connection many times as large as what it holds.
pub(crate) struct Unless<E, F, T> {
    /// `None` once either was ready; pinned, as the other one is.
    future: Option<F>,
    end: Option<E>,
    /// What is said when the end came first.
    error: T,
}

impl<E: Future, F: Future, T: Copy> Unless<E, F, T> {
    pub(crate) fn new(end: E, future: F, error: T) -> Self {
        Self { future: Some(future), end: Some(end), error }
    }
}

impl<E: Future, F: Future, T: Copy> Future for Unless<E, F, T> {
    type Output = Result<F::Output, T>;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: both are pinned with their owner: nothing moves them out of it, it has no `Drop` of its own, and it is `Unpin` only if
        // both are, since it has them as fields.
        let (mut future, mut end, error) = unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.future), Pin::new_unchecked(&mut this.end), this.error)
        };
        let (Some(running), Some(ending)) = (future.as_mut().as_pin_mut(), end.as_mut().as_pin_mut()) else {
            panic!("a future was polled after it was ready");
        };
        let ended = match running.poll(cx) {
            Poll::Ready(output) => Ok(output),
            Poll::Pending if ending.poll(cx).is_ready() => Err(error),
            Poll::Pending => return Poll::Pending,
        };
        end.set(None);
        future.set(None);
        Poll::Ready(ended)
    }
}
