//! Room for descriptors.

use std::os::fd::AsFd;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, getrlimit};

/// So many descriptors have room from the start, where the process may have as many. The kernel's table takes eight bytes for each.
const DESCRIPTORS: u64 = 1 << 16;

/// Makes the kernel's table of the process's descriptors as large as many connections need.
///
/// The table doubles when it is full. In a process of several threads the one that needs the room waits then until every processor has
/// let go of the old table, which takes tens of milliseconds in which a shard would serve nobody. It never shrinks.
pub(super) fn make_room() {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let last = limit.min(DESCRIPTORS).saturating_sub(1);
    // Where this fails the table grows when it must.
    let Ok(event) = eventfd(0, EventfdFlags::CLOEXEC) else { return };
    let _closed = i32::try_from(last).ok().map(|last| fcntl_dupfd_cloexec(event.as_fd(), last));
}
