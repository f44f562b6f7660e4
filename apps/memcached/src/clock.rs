//! The clock of items: seconds since 1970 as the wall's clock said when the server began, and as they have passed since then.
//!
//! The wall's clock may be put forward or back, by which items would die or live too long. So it is read once at the start, and once
//! for each time that a client tells as a second since 1970.

use std::time::Duration;

use sunstar::executor::time::Instant;
use sunstar::executor::timer::{lowres, unix_time};
use sunstar_memcache::Expiry;

/// The clock of all shards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    began: Instant,
    wall_s: u32,
}

impl Clock {
    /// Begins now.
    pub(crate) fn start() -> Self {
        Self::new(lowres::now(), unix_time())
    }

    fn new(began: Instant, wall: Duration) -> Self {
        Self { began, wall_s: seconds(wall) }
    }

    /// The second since 1970, which goes neither back nor too fast.
    pub(crate) fn now_s(&self) -> u32 {
        self.at(lowres::now())
    }

    /// How many seconds have passed since it began.
    pub(crate) fn uptime_s(&self) -> u32 {
        self.now_s() - self.wall_s
    }

    /// What a client's number is on this clock, as [`Expiry::new`] reads it.
    pub(crate) fn exptime(&self, exptime: i64) -> i64 {
        Expiry::on_clock(exptime, self.now_s(), seconds(unix_time()))
    }

    fn at(&self, now: Instant) -> u32 {
        self.wall_s.saturating_add(seconds(now.saturating_duration_since(self.began)))
    }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_as_time_passes_whatever_the_wall_says() {
        let began = Instant::from_nanos(5_000_000_000);
        let clock = Clock::new(began, Duration::from_millis(1_700_000_000_900));
        assert_eq!(clock.at(began), 1_700_000_000);
        assert_eq!(clock.at(began + Duration::from_millis(2_999)), 1_700_000_002);
        assert_eq!(clock.at(Instant::from_nanos(0)), 1_700_000_000, "another shard's round began before");
    }
}
