//! The asynchronous engine of one shard: tasks, scheduling groups, timers, messages between shards and the
//! local concurrency that servers are built from.
#![cfg_attr(not(any(test, loom)), no_std)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod current;
pub mod platform;
mod shard;
pub mod sync;
pub mod time;
pub mod timer;

pub use platform::Platform;
pub use time::Instant;
