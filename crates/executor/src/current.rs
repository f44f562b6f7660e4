//! The current shard: a context that is entered, not a property of the thread.
//!
//! A simulator enters the executors of many shards in turn on one thread. With `std` the context is a
//! thread-local; without it the platform registers where it keeps the pointer (`register`).

use alloc::vec::Vec;
use core::cell::Cell;
use core::ptr;

use crate::counter::Stats;
use crate::group::{GroupStats, SchedulingGroup};
use crate::message::ShardId;
use crate::shard::Shard;

#[cfg(loom)]
mod slot {
    use super::{Cell, Shard, ptr};

    loom::thread_local! {
        static CURRENT: Cell<*const Shard> = Cell::new(ptr::null());
    }

    pub(super) fn load() -> *const Shard {
        CURRENT.with(Cell::get)
    }

    pub(super) fn store(shard: *const Shard) {
        CURRENT.with(|current| current.set(shard));
    }
}

#[cfg(all(feature = "std", not(loom)))]
mod slot {
    use super::{Cell, Shard, ptr};

    std::thread_local! {
        static CURRENT: Cell<*const Shard> = const { Cell::new(ptr::null()) };
    }

    #[inline]
    pub(super) fn load() -> *const Shard {
        CURRENT.with(Cell::get)
    }

    #[inline]
    pub(super) fn store(shard: *const Shard) {
        CURRENT.with(|current| current.set(shard));
    }
}

#[cfg(not(any(feature = "std", loom)))]
mod slot {
    use super::{Cell, Shard, ptr};
    use core::sync::atomic::{AtomicPtr, Ordering};

    /// Where the running processor keeps the pointer to its current shard.
    pub type CurrentSlot = fn() -> *const Cell<*const ()>;

    fn none() -> *const Cell<*const ()> {
        ptr::null()
    }

    static HOOK: AtomicPtr<()> = AtomicPtr::new(none as fn() -> _ as *mut ());

    /// Registers the function that finds the calling processor's slot; call it before any executor is entered.
    ///
    /// The function must answer a cell that is valid for as long as the processor runs shards and that no
    /// other processor touches, or null where no shard can run.
    ///
    /// # Safety
    /// The caller vouches for what the function answers, as said above.
    pub unsafe fn register(hook: CurrentSlot) {
        HOOK.store(hook as *mut (), Ordering::Release);
    }

    fn cell() -> Option<&'static Cell<*const ()>> {
        // SAFETY: only values of type `CurrentSlot` are ever stored.
        let hook = unsafe { core::mem::transmute::<*mut (), CurrentSlot>(HOOK.load(Ordering::Acquire)) };
        // SAFETY: by `register`'s contract the answer is null or a cell that only this processor touches.
        unsafe { hook().as_ref() }
    }

    #[inline]
    pub(super) fn load() -> *const Shard {
        cell().map_or(ptr::null(), |cell| cell.get().cast())
    }

    #[inline]
    pub(super) fn store(shard: *const Shard) {
        if let Some(cell) = cell() {
            cell.set(shard.cast());
        }
    }
}

#[cfg(not(any(feature = "std", loom)))]
pub use slot::{CurrentSlot, register};

/// The scheduling group of the calling task; outside of any task, the main group.
///
/// # Panics
/// Outside of any shard.
pub fn scheduling_group() -> SchedulingGroup {
    with(|shard| shard.groups.running_group())
}

/// Which shard the calling code runs on.
///
/// # Panics
/// Outside of any shard.
#[track_caller]
pub fn shard_id() -> ShardId {
    with(|shard| shard.exchange.id())
}

/// Which shard the calling code runs on, if it runs on any.
pub fn try_shard_id() -> Option<ShardId> {
    try_with(|shard| shard.exchange.id())
}

/// Fills `bytes` with entropy of the current shard's platform; a simulator draws them from its seed.
///
/// # Panics
/// Outside of any shard, and if the platform has none to give.
#[track_caller]
pub fn entropy(bytes: &mut [u8]) {
    with(|shard| shard.platform.entropy(bytes));
}

/// How many shards the program has.
///
/// # Panics
/// Outside of any shard.
#[track_caller]
pub fn shard_count() -> usize {
    with(|shard| shard.exchange.mesh().shards())
}

/// A snapshot of the calling shard's counters.
///
/// # Panics
/// Outside of any shard.
#[track_caller]
pub fn stats() -> Stats {
    with(Shard::stats)
}

/// A snapshot of the calling shard's scheduling groups.
///
/// # Panics
/// Outside of any shard.
#[track_caller]
pub fn group_stats() -> Vec<GroupStats> {
    with(|shard| shard.groups.stats().collect())
}

/// Runs `f` with `shard` as the current one and restores the one before, also when `f` panics.
pub(crate) fn enter<R>(shard: &Shard, f: impl FnOnce() -> R) -> R {
    struct Restore(*const Shard);

    impl Drop for Restore {
        fn drop(&mut self) {
            slot::store(self.0);
        }
    }

    let _restore = Restore(slot::load());
    slot::store(shard);
    f()
}

/// The current shard as an address, null outside of any.
#[inline]
pub(crate) fn address() -> *const Shard {
    slot::load()
}

/// Runs `f` on the current shard, or answers `None` outside of any.
#[inline]
pub(crate) fn try_with<R>(f: impl FnOnce(&Shard) -> R) -> Option<R> {
    // SAFETY: the pointer is set only while `enter` borrows the shard, and never crosses threads.
    unsafe { slot::load().as_ref() }.map(f)
}

/// Runs `f` on the current shard.
///
/// # Panics
/// Outside of any shard: then the calling code runs in no executor.
#[inline]
#[track_caller]
pub(crate) fn with<R>(f: impl FnOnce(&Shard) -> R) -> R {
    match try_with(f) {
        Some(answer) => answer,
        None => outside(),
    }
}

#[cold]
#[track_caller]
fn outside() -> ! {
    panic!("called outside of a shard: this function needs a running executor")
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::testing::TestWorld;

    #[test]
    fn the_shard_is_known_only_inside_of_one() {
        assert_eq!(try_shard_id(), None);
        let executors = TestWorld::default().executors(2);
        assert_eq!(executors[1].enter(try_shard_id), Some(ShardId::new(1)));
        assert_eq!(try_shard_id(), None);
    }
}
