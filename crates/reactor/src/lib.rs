//! The executor on Linux: threads, placement, drivers.
pub mod affinity;
pub mod clock;
pub mod cpu_set;
pub mod epoll;
pub mod placement;
pub mod topology;

pub use cpu_set::CpuSet;
pub use epoll::EpollPlatform;
