//! Code of others whose panics go no further.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::current;
use crate::panic::{Panic, catch};
use crate::task::header::report_foreign_panic;

/// Runs `f`, which wakes or drops what others made. A panic is logged, and counted if there is a shard, and goes no
/// further, so that what comes after `f` is done in any case.
#[inline]
pub(crate) fn contain(doing: &str, f: impl FnOnce()) {
    if let Err(panic) = catch(f) {
        report(doing, &panic);
    }
}

#[cold]
fn report(doing: &str, panic: &Panic) {
    if current::try_with(|shard| report_foreign_panic(shard, doing, panic)).is_none() {
        drop(catch(|| log::error!("{doing} panicked: {panic}")));
    }
}

/// Runs a future to its end, or answers what it, or dropping it, panicked with. The panic is logged and counted as
/// one of `what`.
pub(crate) struct Contained<F> {
    future: Option<F>,
    what: &'static str,
}

impl<F: Future> Contained<F> {
    pub(crate) fn new(what: &'static str, future: F) -> Self {
        Self { future: Some(future), what }
    }
}

impl<F: Future> Future for Contained<F> {
    type Output = Result<F::Output, Panic>;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let what = self.what;
        // SAFETY: the future stays where it is: it is only polled, and dropped in place by `set`.
        let mut place = unsafe { self.map_unchecked_mut(|this| &mut this.future) };
        let future = place.as_mut().as_pin_mut().expect("a future is not polled after it was ready");
        let polled = catch(|| future.poll(cx));
        if matches!(polled, Ok(Poll::Pending)) {
            return Poll::Pending;
        }
        // The future goes before the outcome is told, so that whoever learns of it finds all that it held released.
        let dropped = catch(|| place.set(None));
        match (polled, dropped) {
            (Ok(Poll::Ready(output)), Ok(())) => Poll::Ready(Ok(output)),
            (Err(panic), _) | (_, Err(panic)) => {
                log::error!("a request panicked: {what}: {panic}");
                current::try_with(|shard| shard.counters.panicked_messages.add(1));
                Poll::Ready(Err(panic))
            }
            (Ok(Poll::Pending), Ok(())) => Poll::Pending,
        }
    }
}
