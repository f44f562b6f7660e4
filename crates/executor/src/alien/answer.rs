//! The way back to a thread that is no shard: one value, once.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use crate::atomic::{Arc, AtomicU8, Ordering, UnsafeCell};
use crate::message::SubmitError;

/// Nothing is here. The future may write its waker.
const EMPTY: u8 = 0;
/// A waker is here; whoever leaves this state owns it.
const WAITING: u8 = 1;
/// The outcome is here and belongs to the future, as does the waker if there is one still.
const DONE: u8 = 2;

struct Shared<T> {
    state: AtomicU8,
    waker: UnsafeCell<Option<Waker>>,
    outcome: UnsafeCell<Option<Result<T, SubmitError>>>,
}

// SAFETY: the state says who may touch the cells; outcome and waker move between threads, and both are `Send`.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

/// Makes the two ends.
pub(super) fn pair<T: Send>() -> (Sender<T>, AlienFuture<T>) {
    let shared =
        Arc::new(Shared { state: AtomicU8::new(EMPTY), waker: UnsafeCell::new(None), outcome: UnsafeCell::new(None) });
    (Sender { shared: Some(Arc::clone(&shared)) }, AlienFuture { shared })
}

/// The end that answers. Dropping it unused answers that the shard has stopped.
pub(super) struct Sender<T: Send> {
    /// None once used.
    shared: Option<Arc<Shared<T>>>,
}

impl<T: Send> Sender<T> {
    /// Answers, and wakes who waits.
    pub(super) fn send(mut self, outcome: Result<T, SubmitError>) {
        self.answer(outcome);
    }

    fn answer(&mut self, outcome: Result<T, SubmitError>) {
        let Some(shared) = self.shared.take() else { return };
        // SAFETY: before the state is `DONE` the outcome belongs to the one sender.
        shared.outcome.with_mut(|place| unsafe { *place = Some(outcome) });
        if shared.state.swap(DONE, Ordering::AcqRel) == WAITING {
            // SAFETY: who leaves `WAITING` owns the waker.
            let waker = shared.waker.with_mut(|waker| unsafe { (*waker).take() });
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl<T: Send> Drop for Sender<T> {
    fn drop(&mut self) {
        self.answer(Err(SubmitError::Stopped));
    }
}

/// The output of a request from a thread that is no shard.
///
/// It can be awaited in any runtime. Dropping it leaves the request to go on.
pub struct AlienFuture<T> {
    shared: Arc<Shared<T>>,
}

impl<T: Send> Future for AlienFuture<T> {
    type Output = Result<T, SubmitError>;

    /// Polled again after it was ready, it answers that the shard has stopped.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let shared = &*self.shared;
        let mut state = shared.state.load(Ordering::Acquire);
        // A waker of an earlier poll is taken back first.
        while state == WAITING {
            match shared.state.compare_exchange(WAITING, EMPTY, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => state = EMPTY,
                Err(now) => state = now,
            }
        }
        if state == EMPTY {
            let waker = cx.waker().clone();
            // SAFETY: in this state the waker belongs to the one future.
            let before = shared.waker.with_mut(|place| unsafe { (*place).replace(waker) });
            let registered = shared.state.compare_exchange(EMPTY, WAITING, Ordering::Release, Ordering::Acquire);
            drop(before);
            if registered.is_ok() {
                return Poll::Pending;
            }
        }
        // SAFETY: the state is `DONE`, so the outcome is the future's.
        let outcome = shared.outcome.with_mut(|place| unsafe { (*place).take() });
        Poll::Ready(outcome.unwrap_or(Err(SubmitError::Stopped)))
    }
}

#[cfg(feature = "std")]
impl<T: Send> AlienFuture<T> {
    /// Blocks the thread until the output is there. Don't call it on a shard, which would stand still meanwhile.
    ///
    /// # Errors
    /// As for [`submit_to`](crate::message::submit_to).
    pub fn wait(mut self) -> Result<T, SubmitError> {
        use alloc::sync::Arc as StdArc;
        use std::thread::{self, Thread};

        struct Unpark(Thread);

        impl alloc::task::Wake for Unpark {
            fn wake(self: StdArc<Self>) {
                self.0.unpark();
            }
        }

        let waker = Waker::from(StdArc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(outcome) = Pin::new(&mut self).poll(&mut cx) {
                return outcome;
            }
            thread::park();
        }
    }
}

impl<T> core::fmt::Debug for AlienFuture<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("AlienFuture")
    }
}
