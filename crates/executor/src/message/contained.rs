//! Code of others whose panics go no further.

use core::any::type_name;
use core::future::Future;
use core::mem;
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

/// Runs a closure and the future that it makes to their end, or answers what one of them, or dropping the future,
/// panicked with. The panic is logged and counted under the closure's name.
///
/// It is written by hand because every request passes here: an async block would move the closure and the future on.
pub(crate) struct Contained<F, Fut> {
    stage: Stage<F, Fut>,
}

enum Stage<F, Fut> {
    /// The closure, which is not pinned.
    Begun(F),
    /// The future, which is.
    Running(Fut),
    Ended,
}

impl<F: FnOnce() -> Fut, Fut: Future> Contained<F, Fut> {
    #[inline]
    pub(crate) fn new(f: F) -> Self {
        Self { stage: Stage::Begun(f) }
    }
}

impl<F: FnOnce() -> Fut, Fut: Future> Future for Contained<F, Fut> {
    type Output = Result<Fut::Output, Panic>;

    /// # Panics
    /// If polled again after it was ready.
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: the future is made in its place, and stays there until it is dropped by an assignment to the place.
        let stage = unsafe { &mut self.get_unchecked_mut().stage };
        assert!(!matches!(stage, Stage::Ended), "a future is not polled after it was ready");
        let polled = catch(|| {
            if let Stage::Begun(_) = stage
                && let Stage::Begun(f) = mem::replace(stage, Stage::Ended)
            {
                *stage = Stage::Running(f());
            }
            let Stage::Running(future) = stage else { unreachable!("a closure was called, or its future waits") };
            // SAFETY: as above.
            unsafe { Pin::new_unchecked(future) }.poll(cx)
        });
        if matches!(polled, Ok(Poll::Pending)) {
            return Poll::Pending;
        }
        // The future goes before the outcome is told, so that whoever learns of it finds all that it held released.
        let dropped = catch(|| *stage = Stage::Ended);
        match (polled, dropped) {
            (Ok(Poll::Ready(output)), Ok(())) => Poll::Ready(Ok(output)),
            (Err(panic), _) | (_, Err(panic)) => Poll::Ready(Err(report_request(type_name::<F>(), panic))),
            (Ok(Poll::Pending), Ok(())) => Poll::Pending,
        }
    }
}

#[cold]
fn report_request(what: &str, panic: Panic) -> Panic {
    log::error!("a request panicked: {what}: {panic}");
    current::try_with(|shard| shard.counters.panicked_messages.add(1));
    panic
}
