//! Names of shards.

use core::fmt;

/// Which shard: shards are numbered from zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShardId(u16);

impl ShardId {
    /// The shard with this number.
    pub const fn new(index: u16) -> Self {
        Self(index)
    }

    /// The number of the shard.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The shards of a mesh of so many, in order.
    ///
    /// # Panics
    /// For more than 65,536.
    pub fn all(shards: usize) -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator {
        assert!(shards <= 1 << 16, "a mesh has at most 65,536 shards");
        #[expect(clippy::cast_possible_truncation, reason = "checked above")]
        (0..shards).map(|index| Self(index as u16))
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
