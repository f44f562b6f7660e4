//! The asynchronous engine of one shard: tasks, scheduling groups, timers, messages between shards and the
//! local concurrency that servers are built from.
#![cfg_attr(not(any(test, loom)), no_std)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod alien;
mod atomic;
pub mod combine;
mod counter;
pub mod current;
mod erased;
mod executor;
mod foreign;
pub mod group;
pub mod local;
pub mod message;
mod panic;
pub mod platform;
mod poller;
mod preempt;
mod progress;
mod recycled;
mod reserve;
mod shard;
mod sharded;
pub mod sync;
pub mod task;
#[cfg(all(test, not(loom)))]
mod testing;
pub mod time;
pub mod timer;

pub use alien::Alien;
pub use counter::Stats;
pub use erased::ErasedFuture;
pub use executor::{Executor, ExecutorConfig};
pub use foreign::{Foreign, IntoForeign};
pub use group::SchedulingGroup;
pub use message::{ShardId, SubmitError, invoke_on_all, invoke_on_others, post, submit_to, submit_to_with, try_post};
pub use panic::Panic;
pub use platform::Platform;
pub use poller::{Poller, add_poller};
pub use preempt::{maybe_yield, need_preempt, yield_now};
pub use progress::{Activity, Progress, RunningTask};
pub use recycled::Recycled;
pub use reserve::{Reserve, add_reserve};
pub use shard::Round;
pub use sharded::{Service, Sharded};
pub use task::{JoinError, JoinHandle, TaskBuilder, spawn, spawn_fallible, spawn_in};
pub use time::Instant;
