//! The atomics of this crate: the real ones, or loom's under `--cfg loom`.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicPtr, Ordering, fence};

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicPtr, Ordering, fence};

/// Lets loom see when a shared object is used and when it ends; nothing outside of loom.
///
/// A use that does not happen before the end is a use after free, which loom reports as a data race.
#[cfg(loom)]
#[derive(Debug)]
pub(crate) struct Lifetime(loom::cell::UnsafeCell<()>);

#[cfg(loom)]
impl Lifetime {
    pub(crate) fn new() -> Self {
        Self(loom::cell::UnsafeCell::new(()))
    }

    pub(crate) fn used(&self) {
        self.0.with(|_| ());
    }
}

#[cfg(loom)]
impl Drop for Lifetime {
    fn drop(&mut self) {
        // A second finding while the first one unwinds would end the process before it is reported.
        if !std::thread::panicking() {
            self.0.with_mut(|_| ());
        }
    }
}

#[cfg(loom)]
// SAFETY: the cell guards no data; its only purpose is that loom orders the accesses.
unsafe impl Sync for Lifetime {}

/// Lets loom see when a shared object is used and when it ends; nothing outside of loom.
#[cfg(not(loom))]
#[derive(Debug)]
pub(crate) struct Lifetime;

#[cfg(not(loom))]
impl Lifetime {
    pub(crate) fn new() -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn used(&self) {}
}
