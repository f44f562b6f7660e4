//! What is known of each connection outside of its task: so that one timer looks after all of them.

use std::cell::{Cell, RefCell};
use std::task::{Context, Waker};

use sunstar::executor::Instant;

/// A connection's place.
#[derive(Default)]
pub(super) struct Slot {
    /// Of its task, once that has waited.
    waker: RefCell<Option<Waker>>,
    /// Until when the server has time, if it is waited for.
    deadline: Cell<Option<Instant>>,
    /// The request that it was given to send, by when that is due.
    pub(super) given: Cell<Option<Instant>>,
    /// Whether it stands in the list of those who have nothing to send.
    pub(super) is_idle: Cell<bool>,
    /// Whether it was held, and has been given a request now, which is its last one.
    pub(super) is_released: Cell<bool>,
    is_overdue: Cell<bool>,
}

impl Slot {
    /// Remembers whom to wake.
    #[inline]
    pub(super) fn keep_waker(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        match &*waker {
            Some(known) if known.will_wake(cx.waker()) => {}
            _ => *waker = Some(cx.waker().clone()),
        }
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// It waits for the server until then, or does not wait.
    #[inline]
    pub(super) fn wait_until(&self, deadline: Option<Instant>) {
        self.deadline.set(deadline);
    }

    /// Wakes the task if it waits for too long.
    pub(super) fn look_after(&self, now: Instant) {
        if self.deadline.get().is_some_and(|deadline| deadline <= now) {
            self.deadline.set(None);
            self.is_overdue.set(true);
            self.wake();
        }
    }

    /// Whether it has waited for too long; true once.
    #[inline]
    pub(super) fn take_overdue(&self) -> bool {
        self.is_overdue.get() && self.is_overdue.take()
    }
}
