//! The `Date` of responses, made once per second.

use core::cell::Cell;
use core::time::Duration;

use sunstar_executor::Instant;
use sunstar_executor::timer::{lowres, unix_time};
use sunstar_http1::Date;

/// A shard's date, as it goes into responses.
pub(crate) struct DateClock(Cell<(Instant, Date)>);

impl DateClock {
    /// Right from the first question on.
    pub(crate) fn new() -> Self {
        Self(Cell::new((Instant::ORIGIN, Date::from_unix_seconds(0))))
    }

    /// The date of this second. It may lag by a few milliseconds, see [`lowres`].
    pub(crate) fn date(&self) -> Date {
        let (until, date) = self.0.get();
        let now = lowres::now();
        if now < until {
            return date;
        }
        let time = unix_time();
        let date = Date::from_unix_seconds(time.as_secs());
        let rest = Duration::from_secs(1) - Duration::from_nanos(time.subsec_nanos().into());
        self.0.set((now + rest, date));
        date
    }
}
