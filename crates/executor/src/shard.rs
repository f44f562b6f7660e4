//! All that one shard owns.

use alloc::boxed::Box;

use crate::platform::Platform;

/// The state of one shard.
pub struct Shard {
    pub(crate) platform: Box<dyn Platform>,
}
