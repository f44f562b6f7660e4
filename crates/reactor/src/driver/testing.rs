//! What the tests of drivers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Polls and counts the wakes that follow.
#[derive(Default)]
pub(super) struct Wakes(Arc<Count>);

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wakes {
    /// Polls with a waker that counts.
    pub(super) fn poll<T>(&self, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        poll(&mut Context::from_waker(&Waker::from(Arc::clone(&self.0))))
    }

    /// How many wakes there were since the last call.
    pub(super) fn take(&self) -> usize {
        self.0.0.swap(0, Ordering::Relaxed)
    }
}
