//! Timers of a shard.
//!
//! | to wait | use |
//! |---|---|
//! | once, in a task | [`sleep()`], [`sleep_until`] |
//! | again and again, in a task | [`interval()`] |
//! | without a task: run a closure when the time comes | [`Timer`] |
//! | roughly, with many others | [`lowres::sleep`] |
//! | on a clock that a test moves | [`ManualClock`] |
//!
//! All of them order by deadline to the nanosecond, and by the order of arming where deadlines are equal. They fire
//! at the start of a round, so as late as the task quota allows, never early. A timer that is armed with a
//! deadline that has passed fires in the next round. Arming and cancelling take constant time (cancelling a timer whose
//! neighbours have begun to fire, logarithmic time), allocate nothing and make no system call.
//!
//! A timer belongs to the shard that was current when it was armed. It may be dropped anywhere on its thread, also
//! after that shard is gone; if the shard goes first, the timer never fires.

mod callback;
mod interval;
pub mod lowres;
mod manual;
mod ration;
mod sleep;
mod timers;
mod wheel;

#[cfg(test)]
mod tests;

pub use callback::Timer;
pub use interval::{Interval, interval, interval_at};
pub use manual::{ManualClock, ManualSleep};
pub(crate) use ration::Ration;
pub use sleep::{Sleep, sleep, sleep_until};
pub use timers::{MAX_FIRED_PER_ADVANCE, Timers};
pub use wheel::TimerCounters;

use core::time::Duration;

use crate::current;
use crate::time::Instant;

/// The current shard's clock, read now.
///
/// [`lowres::now`] answers without reading the clock.
///
/// # Panics
/// Outside of any shard.
#[track_caller]
pub fn now() -> Instant {
    current::with(|shard| shard.now())
}

/// The time since the Unix epoch, read now from the current shard's platform.
///
/// For the time of day only: it may jump.
///
/// # Panics
/// Outside of any shard.
#[track_caller]
pub fn unix_time() -> Duration {
    current::with(|shard| shard.platform.unix_time())
}
