//! The low-resolution clock: as exact as a round is short, and free to read.

use core::time::Duration;

use super::sleep::{Sleep, sleep_until};
use crate::current;
use crate::time::Instant;

/// Deadlines of [`sleep`] are multiples of this time since the clock's origin.
pub const GRANULARITY: Duration = Duration::from_millis(1);

/// When the current round of the current shard began. Reads no clock.
///
/// # Panics
/// Outside of any shard.
#[track_caller]
pub fn now() -> Instant {
    current::with(|shard| shard.round_start())
}

/// Waits for `duration` from the start of the round, rounded up to the next multiple of [`GRANULARITY`].
///
/// Reads no clock, and all that falls into one multiple fires together: for time-outs of many connections.
///
/// # Panics
/// Outside of any shard.
#[track_caller]
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(round_up(now() + duration))
}

/// The first multiple of [`GRANULARITY`] at or after `instant`, or the far future.
pub fn round_up(instant: Instant) -> Instant {
    const GRANULARITY_NANOS: u64 = 1_000_000;
    const { assert!(GRANULARITY.as_nanos() == GRANULARITY_NANOS as u128) }
    match instant.as_nanos().checked_next_multiple_of(GRANULARITY_NANOS) {
        Some(nanos) => Instant::from_nanos(nanos),
        None => Instant::FAR_FUTURE,
    }
}
