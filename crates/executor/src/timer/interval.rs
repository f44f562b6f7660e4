//! Ticks at a fixed period.

use alloc::boxed::Box;
use core::pin::Pin;
use core::time::Duration;

use super::sleep::{Sleep, sleep_until};
use crate::time::Instant;

/// Ticks every `period`, for the first time one period after the call.
///
/// # Panics
/// If `period` is zero, and outside of any shard.
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(super::now() + period, period)
}

/// Ticks at `first` and every `period` from there on.
///
/// # Panics
/// If `period` is zero.
#[track_caller]
pub fn interval_at(first: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "an interval needs a period");
    Interval { sleep: Box::pin(sleep_until(first)), period }
}

/// Ticks at a fixed period; made by [`interval`] and [`interval_at`].
///
/// The schedule never shifts: ticks are due at the first one plus whole periods. Ticks that were missed, because
/// nobody asked or the shard was busy, come as one: the late tick is answered at once with the instant it was
/// scheduled for, and the next one is the first in the schedule that still lies ahead.
#[derive(Debug)]
pub struct Interval {
    sleep: Pin<Box<Sleep>>,
    period: Duration,
}

impl Interval {
    /// Waits for the next tick and answers the instant that it was scheduled for.
    ///
    /// Dropping this future loses no tick: the next call waits for the same one.
    ///
    /// # Panics
    /// Outside of any shard.
    pub async fn tick(&mut self) -> Instant {
        self.sleep.as_mut().await;
        let scheduled = self.sleep.deadline();
        let now = crate::current::with(|shard| shard.timers.now());
        self.sleep.as_mut().reset(next_in_schedule(scheduled, self.period, now));
        scheduled
    }

    /// The time from tick to tick.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// When the next tick is due.
    pub fn next_tick(&self) -> Instant {
        self.sleep.deadline()
    }

    /// Starts over: the next tick is at `first`.
    pub fn reset_at(&mut self, first: Instant) {
        self.sleep.as_mut().reset(first);
    }
}

/// The first instant after `now` and after `scheduled` that is whole periods later than `scheduled`.
pub(super) fn next_in_schedule(scheduled: Instant, period: Duration, now: Instant) -> Instant {
    let period_nanos = period.as_nanos().max(1);
    let periods = now.saturating_duration_since(scheduled).as_nanos() / period_nanos + 1;
    let offset = u64::try_from(periods * period_nanos).unwrap_or(u64::MAX);
    scheduled + Duration::from_nanos(offset)
}
