//! Scheduling groups: how a shard's time is divided.

mod control;
#[cfg(all(test, not(loom)))]
mod control_tests;
mod run_queue;
mod table;
#[cfg(all(test, not(loom)))]
mod tests;

use core::fmt;

pub(crate) use control::GroupIds;
pub use control::{InGroup, with_scheduling_group};
pub use table::GroupStats;
pub(crate) use table::Groups;

/// How many scheduling groups a process can have at once, the main group included.
pub const MAX_GROUPS: usize = 16;

/// A scheduling group, known by the same handle on every shard.
///
/// Groups that want to run get time in proportion to their shares. A task inherits the group of the
/// task that spawned it; a message carries the group of its sender.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SchedulingGroup {
    pub(crate) index: u8,
    /// Tells a destroyed group from a later one in its place.
    pub(crate) generation: u32,
}

impl SchedulingGroup {
    /// The group that exists from the start, with 200 shares; it can't be destroyed.
    pub const MAIN: Self = Self { index: 0, generation: 0 };
}

impl fmt::Debug for SchedulingGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SchedulingGroup({}.{})", self.index, self.generation)
    }
}

/// Why an operation on a scheduling group was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupError {
    /// All [`MAX_GROUPS`] groups are in use.
    TooMany,
    /// Shares lie between 1 and 1,000; these don't.
    BadShares(u32),
    /// The group was destroyed before.
    Destroyed,
    /// The main group can't be destroyed.
    Main,
    /// A shard has stopped, so the change does not hold everywhere.
    Stopped,
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(f, "no more than {MAX_GROUPS} scheduling groups can exist"),
            Self::BadShares(shares) => write!(f, "shares of a scheduling group are 1 to 1000, not {shares}"),
            Self::Destroyed => f.write_str("the scheduling group was destroyed"),
            Self::Stopped => f.write_str("a shard has stopped, so its scheduling groups can't be changed"),
            Self::Main => f.write_str("the main scheduling group can't be destroyed"),
        }
    }
}

impl core::error::Error for GroupError {}
