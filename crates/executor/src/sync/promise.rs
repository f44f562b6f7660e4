//! One value, promised by one part of a shard to another.

use alloc::rc::Rc;
use core::cell::Cell;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

/// The promise was dropped unresolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BrokenPromise;

impl fmt::Display for BrokenPromise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the promise was broken: its maker went away without resolving it")
    }
}

impl core::error::Error for BrokenPromise {}

struct Shared<T> {
    value: Cell<Option<T>>,
    waker: Cell<Option<Waker>>,
    promise_gone: Cell<bool>,
    promised_gone: Cell<bool>,
}

/// A promise and the future of its value, in one allocation.
///
/// ```
/// # use core::{future::Future, pin::pin, task::{Context, Poll, Waker}};
/// use sunstar_executor::sync::promise;
///
/// let (promise, promised) = promise();
/// promise.resolve(42).unwrap();
/// # let poll = pin!(promised).poll(&mut Context::from_waker(Waker::noop()));
/// # assert_eq!(poll, Poll::Ready(Ok(42)));
/// ```
pub fn promise<T>() -> (Promise<T>, Promised<T>) {
    let shared = Rc::new(Shared {
        value: Cell::new(None),
        waker: Cell::new(None),
        promise_gone: Cell::new(false),
        promised_gone: Cell::new(false),
    });
    (Promise { shared: Rc::clone(&shared) }, Promised { shared })
}

/// The duty to deliver one value; dropping it breaks the promise.
#[must_use = "a dropped promise is a broken one"]
pub struct Promise<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Promise<T> {
    /// Delivers the value.
    ///
    /// If the other side is dropped after this and before it looked, the value is dropped with it.
    ///
    /// # Errors
    /// Gives the value back if nobody waits for it any more.
    pub fn resolve(self, value: T) -> Result<(), T> {
        if self.is_abandoned() {
            return Err(value);
        }
        self.shared.value.set(Some(value));
        Ok(())
    }

    /// Whether the other side is gone, so that working for the value is of no use.
    pub fn is_abandoned(&self) -> bool {
        self.shared.promised_gone.get()
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.shared.promise_gone.set(true);
        if let Some(waker) = self.shared.waker.take() {
            waker.wake();
        }
    }
}

impl<T> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promise").field("is_abandoned", &self.is_abandoned()).finish()
    }
}

/// The future of a promised value. Dropping it abandons the promise.
///
/// Ready with [`BrokenPromise`] if the promise was dropped unresolved, and also if it is polled again after it
/// delivered the value.
#[must_use = "a promised value is had by awaiting it"]
pub struct Promised<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Promised<T> {
    /// Whether the value is there or the promise is broken, so that awaiting takes no time.
    pub fn is_ready(&self) -> bool {
        self.shared.promise_gone.get()
    }
}

impl<T> Future for Promised<T> {
    type Output = Result<T, BrokenPromise>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let shared = &self.shared;
        if shared.promise_gone.get() {
            return Poll::Ready(shared.value.take().ok_or(BrokenPromise));
        }
        let stale = shared.waker.take();
        match stale {
            Some(kept) if kept.will_wake(cx.waker()) => shared.waker.set(Some(kept)),
            stale => {
                shared.waker.set(Some(cx.waker().clone()));
                drop(stale);
            }
        }
        Poll::Pending
    }
}

impl<T> Drop for Promised<T> {
    fn drop(&mut self) {
        self.shared.promised_gone.set(true);
        // Both may be kept alive by the promise for long, and what they hold with them.
        drop((self.shared.waker.take(), self.shared.value.take()));
    }
}

impl<T> fmt::Debug for Promised<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promised").field("is_ready", &self.is_ready()).finish()
    }
}
