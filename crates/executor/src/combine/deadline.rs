//! Futures that something else may end.

use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
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
pub async fn with_deadline<F: Future>(timer: impl Future, future: F) -> Result<F::Output, TimedOut> {
    unless(timer, future).await.ok_or(TimedOut)
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

/// Runs `future` unless `end` is ready before it.
pub(crate) async fn unless<F: Future>(end: impl Future, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut end = pin!(end);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        end.as_mut().poll(cx).map(|_| None)
    })
    .await
}
