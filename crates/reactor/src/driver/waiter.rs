//! The place where one task waits.

use std::cell::Cell;
use std::fmt;
use std::task::{Context, Waker};

/// Holds the waker of whoever waits; the last one that came.
///
/// Waking may run anybody's code, so nothing may be borrowed meanwhile.
#[derive(Default)]
pub(crate) struct Waiter(Cell<Option<Waker>>);

impl Waiter {
    /// Lets the task of `cx` wait here instead of whoever did.
    pub(crate) fn wait(&self, cx: &Context<'_>) {
        let old = self.0.take();
        if old.as_ref().is_some_and(|old| old.will_wake(cx.waker())) {
            self.0.set(old);
        } else {
            self.0.set(Some(cx.waker().clone()));
        }
    }

    /// Lets nobody wait here any more.
    pub(crate) fn forget(&self) {
        drop(self.0.take());
    }

    /// Wakes whoever waits, if anybody does.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.0.take() {
            waker.wake();
        }
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter").finish_non_exhaustive()
    }
}
