//! A clock that a test moves by hand.

use alloc::rc::Rc;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use super::sleep::{Sleep, sleep_until};
use super::timers::Timers;
use crate::time::Instant;

/// A clock that stands still until it is advanced, with timers of its own; clones are the same clock.
///
/// It needs no shard, starts at [`Instant::ORIGIN`] and belongs to the thread that made it.
#[derive(Clone, Debug)]
pub struct ManualClock {
    timers: Rc<Timers>,
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl ManualClock {
    /// A clock that shows [`Instant::ORIGIN`].
    pub fn new() -> Self {
        Self { timers: Rc::new(Timers::new(Instant::ORIGIN)) }
    }

    /// What the clock shows.
    pub fn now(&self) -> Instant {
        self.timers.now()
    }

    /// Moves the clock by `duration` and answers how many sleepers it woke.
    ///
    /// It moves from deadline to deadline, so that each sleeper is woken at its own instant, in the order of their
    /// deadlines and, where these are equal, of their first polls. Tasks that are woken run later, when the
    /// clock has arrived.
    pub fn advance(&self, duration: Duration) -> usize {
        let target = self.now() + duration;
        let mut woken = 0;
        while let Some(next) = self.next_deadline().filter(|next| *next <= target) {
            woken += self.timers.advance(next);
        }
        woken + self.timers.advance(target)
    }

    /// The earliest instant to which it may be worth advancing; `None` if nobody sleeps.
    ///
    /// It is never after the earliest deadline, and before it only after sleeps have been cancelled.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    /// How many sleep.
    pub fn sleepers(&self) -> usize {
        self.timers.len()
    }

    /// Waits until the clock has moved by `duration` from now.
    pub fn sleep(&self, duration: Duration) -> ManualSleep {
        self.sleep_until(self.now() + duration)
    }

    /// Waits until the clock shows `deadline` or later.
    pub fn sleep_until(&self, deadline: Instant) -> ManualSleep {
        ManualSleep { sleep: sleep_until(deadline), clock: self.clone() }
    }
}

/// A [`Sleep`] on a [`ManualClock`]; dropping it cancels it.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct ManualSleep {
    sleep: Sleep,
    clock: ManualClock,
}

impl ManualSleep {
    /// The instant that it waits for.
    pub fn deadline(&self) -> Instant {
        self.sleep.deadline()
    }

    /// Waits for `deadline` instead, also if it is ready already.
    pub fn reset(self: Pin<&mut Self>, deadline: Instant) {
        self.sleep().reset(deadline);
    }

    fn sleep(self: Pin<&mut Self>) -> Pin<&mut Sleep> {
        // SAFETY: the sleep is pinned whenever its `ManualSleep` is: nothing here moves it out.
        unsafe { self.map_unchecked_mut(|manual| &mut manual.sleep) }
    }
}

impl Future for ManualSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let timers = Rc::clone(&self.clock.timers);
        let sleep = self.sleep();
        let sleep = sleep.as_ref();
        sleep.poll_armed(cx).unwrap_or_else(|| sleep.poll_in(&timers, cx))
    }
}
