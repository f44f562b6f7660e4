//! The executor on Linux: threads, placement, drivers.
//!
//! [`run`] starts one pinned thread per shard and runs a main function on shard 0:
//!
//! ```
//! use sunstar_reactor::{Config, run};
//!
//! let config = Config { smp: Some(1), ..Config::default() };
//! let answer = run(config, || async { sunstar_executor::spawn(async { 6 * 7 }).await })?;
//! assert_eq!(answer.expect("the task does not panic"), 42);
//! # Ok::<(), sunstar_reactor::RunError>(())
//! ```
//!
//! Which processors are used follows from the machine's [`topology`], the process's affinity mask and the
//! [`Config`]; [`placement`] has the rules. A shard without work polls for a while and then sleeps in its driver.
//! [`signal::on`] makes signals awaitable; `SIGINT` and `SIGTERM` request a stop, of which [`stop_requested`]
//! tells. Tasks that keep their shard for too long are reported with a backtrace while they do.

pub mod affinity;
mod bell;
mod blocking;
mod cgroup;
pub mod clock;
pub mod config;
mod context;
pub mod cpu_set;
mod driver;
mod heap;
mod io_stats;
pub mod placement;
pub mod platform;
mod posix;
pub mod runtime;
pub mod signal;
mod stall;
mod stop;
mod time_stats;
pub mod topology;
mod watch;

pub use blocking::{BlockingError, BlockingStats, MAX_BLOCKING_CALLS, blocking, blocking_stats};
pub use config::Config;
pub use cpu_set::CpuSet;
pub use driver::Backend;
pub use heap::{OwnMemory, trim_heap};
pub use io_stats::{IoStats, io_stats};
pub use platform::LinuxPlatform;
pub use runtime::{RunError, run};
pub use stall::{StallStats, stall_stats};
pub use stop::{StopRequested, request_stop, stop_requested};
pub use time_stats::{TimeStats, time_stats};
pub use watch::DescriptorWatch;
