//! The bell that ends a shard's sleep from any thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use sunstar_packet::Doorbell;

/// A doorbell that is an eventfd.
#[derive(Debug)]
pub(crate) struct EventBell(OwnedFd);

/// A handle to a bell in the form that the executor takes.
pub(crate) struct SharedBell(pub(crate) Arc<EventBell>);

impl EventBell {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }
}

impl AsFd for EventBell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Doorbell for EventBell {
    /// Safe to call from signal handlers, which must keep `errno`.
    fn ring(&self) {
        while let Err(Errno::INTR) = rustix::io::write(&self.0, &1_u64.to_ne_bytes()) {}
        // The only other error is that the count is full: then 2^64 - 2 rings are on their way.
    }
}

impl Doorbell for SharedBell {
    fn ring(&self) {
        self.0.ring();
    }
}
