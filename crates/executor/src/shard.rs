//! All that one shard owns.

use alloc::boxed::Box;

use crate::platform::Platform;
use crate::time::Instant;
use crate::timer::Timers;

/// The state of one shard.
pub struct Shard {
    pub(crate) platform: Box<dyn Platform>,
    pub(crate) timers: Timers,
}

impl Shard {
    /// The clock, read now.
    pub(crate) fn now(&self) -> Instant {
        self.platform.now()
    }

    /// When the current round began.
    pub(crate) fn round_start(&self) -> Instant {
        self.timers.now()
    }
}
