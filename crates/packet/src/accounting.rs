//! Who holds which memory: a registry of all live handles, for finding leaks.
//!
//! Every [`Buffer`](crate::Buffer), [`BufferMut`](crate::BufferMut) and [`ForeignBuffer`](crate::ForeignBuffer) that holds
//! memory is listed with the place that made it (where it was allocated, cloned, sliced, or turned into what it is) and, if
//! somebody said so by `held_by`, with the name of its holder. Empty and static buffers hold no memory and are not listed.
//! The registry is one for the process and all its shards; its lock makes every handle slower.
//!
//! ```
//! use sunstar_packet::{Buffer, accounting};
//!
//! let before = accounting::mark();
//! let leaked = Buffer::copy_from_slice(b"hello").held_by("socket 7 receive queue");
//! let held = accounting::live_since(before);
//! assert_eq!(held.len(), 1);
//! assert!(held[0].to_string().contains("held by socket 7 receive queue"));
//! # drop(leaked);
//! ```

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::fmt;
use core::panic::Location;
// Not loom's: the lock is part of the instrument, not of what is examined.
use core::sync::atomic::{AtomicBool, Ordering};

pub use crate::ticket::Kind;

#[cfg(all(test, not(loom)))]
mod tests;

/// A live handle that holds memory.
#[derive(Clone, Debug)]
pub struct Holding {
    /// What it is.
    pub kind: Kind,
    /// The code that made it what it is.
    pub place: &'static Location<'static>,
    /// Who said by `held_by` that it holds it.
    pub holder: Option<String>,
    number: u64,
}

impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} #{} made at {}", self.kind, self.number, self.place)?;
        match &self.holder {
            Some(holder) => write!(f, ", held by {holder}"),
            None => Ok(()),
        }
    }
}

/// A point in the sequence in which handles are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

/// The point that divides the handles made so far from those that come.
pub fn mark() -> Mark {
    Mark(REGISTRY.with(|registry| registry.last))
}

/// All live handles, oldest first.
pub fn live() -> Vec<Holding> {
    live_since(Mark(0))
}

/// The live handles that were made after the mark was taken, oldest first.
pub fn live_since(mark: Mark) -> Vec<Holding> {
    REGISTRY.with(|registry| registry.live.range(mark.0 + 1..).map(|(_, holding)| holding.clone()).collect())
}

/// Writes one line for each live handle made after the mark.
///
/// # Errors
/// Those of `out`.
pub fn report_since(mark: Mark, out: &mut dyn fmt::Write) -> fmt::Result {
    // The registry is not locked while `out`, which may be anything, is called.
    live_since(mark).iter().try_for_each(|holding| writeln!(out, "{holding}"))
}

pub(crate) fn enter(kind: Kind, place: &'static Location<'static>) -> u64 {
    REGISTRY.with(|registry| {
        registry.last += 1;
        let number = registry.last;
        registry.live.insert(number, Holding { kind, place, holder: None, number });
        number
    })
}

pub(crate) fn turn_into(number: u64, kind: Kind, place: &'static Location<'static>) {
    REGISTRY.with(|registry| {
        if let Some(holding) = registry.live.get_mut(&number) {
            holding.kind = kind;
            holding.place = place;
        }
    });
}

pub(crate) fn hold(number: u64, holder: impl fmt::Display) {
    let holder = holder.to_string();
    REGISTRY.with(|registry| {
        if let Some(holding) = registry.live.get_mut(&number) {
            holding.holder = Some(holder);
        }
    });
}

pub(crate) fn leave(number: u64) {
    REGISTRY.with(|registry| registry.live.remove(&number));
}

static REGISTRY: SpinLock<Registry> =
    SpinLock { is_locked: AtomicBool::new(false), value: UnsafeCell::new(Registry { last: 0, live: BTreeMap::new() }) };

struct Registry {
    last: u64,
    live: BTreeMap<u64, Holding>,
}

struct SpinLock<T> {
    is_locked: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `with` lets one thread at a time at the value.
unsafe impl<T: Send> Sync for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// Runs `f` alone; `f` must not come back here.
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        struct Unlock<'a>(&'a AtomicBool);

        impl Drop for Unlock<'_> {
            fn drop(&mut self) {
                self.0.store(false, Ordering::Release);
            }
        }

        while self.is_locked.swap(true, Ordering::Acquire) {
            core::hint::spin_loop();
        }
        let _unlock = Unlock(&self.is_locked);
        // SAFETY: the flag was ours to set, so nobody else is at the value until `_unlock` is dropped.
        f(unsafe { &mut *self.value.get() })
    }
}
