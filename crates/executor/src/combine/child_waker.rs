//! Wakers that tell a combinator which of its children was woken.
//!
//! 64 children share one allocation, a *group*. It is aligned to 64 bytes, so the address that a child's waker carries
//! names both the group (the address rounded down) and the child (the rest).
//!
//! A waker may travel to any thread, but mostly it stays at home. So everything is kept twice: in cells that only the home
//! shard touches, and in atomics for all others. Of the reference count, `local_wakers` is the home's part and `wakers` that
//! of the others; either may count drops of what the other counted as clones, only the sum means something. While the
//! combinator holds the group, `wakers` is raised by `OWNED`, so it never reaches zero. When the combinator lets go, it moves the
//! home's part over, and from then on everybody counts in `wakers`. Who brings it to zero frees the group.
//!
//! Outside of any shard there is no home, and all use the atomics.

use alloc::boxed::Box;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::NonNull;
use core::task::{RawWaker, RawWakerVTable, Waker};

#[cfg(not(loom))]
use core::cell::Cell;
#[cfg(loom)]
use loom::cell::Cell;

use super::origin::Origin;
use crate::atomic::{AtomicU64, Ordering};

/// How many children share a [`WakeGroup`]: one for each bit of a word.
pub(super) const CHILDREN_PER_GROUP: usize = 64;

/// What the combinator's own hold on a group counts. More wakers than that do not fit into memory.
const OWNED: u64 = 1 << 62;

/// The wakers of up to 64 children of one parent. `!Send`: it stays on the thread of the shard that made it.
pub(super) struct WakeGroup {
    group: NonNull<Group>,
}

#[repr(align(64))]
struct Group {
    parent: Waker,
    home: Origin,
    /// A bit for each child that was woken at home since the last look.
    local_woken: Cell<u64>,
    /// Clones minus drops at home, modulo 2^64.
    local_wakers: Cell<u64>,
    /// Whether the combinator has let go.
    orphaned: Cell<bool>,
    /// A bit for each child that was woken abroad since the last look.
    woken: AtomicU64,
    /// Clones minus drops abroad, and `OWNED` while the combinator holds the group.
    wakers: AtomicU64,
}

const _: () = assert!(size_of::<Group>() >= CHILDREN_PER_GROUP && align_of::<Group>() >= CHILDREN_PER_GROUP);

impl WakeGroup {
    pub(super) fn new(parent: Waker) -> Self {
        let group = Box::new(Group {
            parent,
            home: Origin::here(),
            local_woken: Cell::new(0),
            local_wakers: Cell::new(0),
            orphaned: Cell::new(false),
            woken: AtomicU64::new(0),
            wakers: AtomicU64::new(OWNED),
        });
        Self { group: NonNull::from(Box::leak(group)) }
    }

    fn group(&self) -> &Group {
        // SAFETY: the count that `OWNED` stands for is this one's, so the group lives until `drop`.
        unsafe { self.group.as_ref() }
    }

    /// Whether it wakes what `parent` wakes.
    pub(super) fn wakes(&self, parent: &Waker) -> bool {
        self.group().parent.will_wake(parent)
    }

    /// Takes note that all children are to be polled, without waking the parent.
    pub(super) fn set_all_woken(&self) {
        self.group().local_woken.set(u64::MAX);
    }

    /// Takes the bits of the children that were woken.
    pub(super) fn take_woken(&self) -> u64 {
        let Group { local_woken, woken, .. } = self.group();
        // Acquire: what a thread did before it woke the child is seen by the child.
        let abroad = if woken.load(Ordering::Relaxed) == 0 { 0 } else { woken.swap(0, Ordering::Acquire) };
        local_woken.replace(0) | abroad
    }

    /// The waker of a child.
    pub(super) fn waker(&self, child: usize) -> ChildWaker<'_> {
        debug_assert!(child < CHILDREN_PER_GROUP, "a group has 64 children");
        let data = self.group.as_ptr().cast::<u8>().wrapping_add(child).cast_const().cast::<()>();
        // SAFETY: the functions of the table keep the contract of `RawWaker` on any thread. The count that this waker
        // stands for is the group's own, which it borrows; therefore it is never dropped.
        let waker = unsafe { Waker::new(data, &VTABLE) };
        ChildWaker { waker: ManuallyDrop::new(waker), _group: PhantomData }
    }
}

impl Drop for WakeGroup {
    fn drop(&mut self) {
        let group = self.group();
        let local = group.local_wakers.get();
        // Acquire, here and below: all that others did with the group has happened before it is freed. The sum may be too
        // great if a drop abroad is not yet seen here, but not too small: whatever came home to be dropped brought the
        // knowledge of its clone along.
        let alone = group.wakers.load(Ordering::Acquire).wrapping_add(local) == OWNED;
        if !alone {
            group.orphaned.set(true);
            let own_part = OWNED.wrapping_sub(local);
            if group.wakers.fetch_sub(own_part, Ordering::AcqRel) != own_part {
                return;
            }
        }
        // SAFETY: the group came from a box, and there are no other wakers: nobody else can reach it.
        drop(unsafe { Box::from_raw(self.group.as_ptr()) });
    }
}

impl Group {
    /// Whether the calling shard may use the cells: it is the home, and the combinator has not let go.
    ///
    /// The cells are touched by the thread of the home shard only: a shard is current on its own thread only, and the
    /// combinator, which was there when the group was made, is `!Send`.
    fn is_local(&self) -> bool {
        self.home.is_current() && !self.orphaned.get()
    }

    fn wake(&self, child: usize) {
        let bit = 1 << child;
        let before = if self.is_local() {
            let before = self.local_woken.get();
            self.local_woken.set(before | bit);
            before
        } else {
            let order = if planted::is("child_relaxed_wake") { Ordering::Relaxed } else { Ordering::Release };
            self.woken.fetch_or(bit, order)
        };
        // Who finds a bit set knows that the parent was woken and has not looked since.
        if before == 0 && !planted::is("lost_child_wake") {
            self.parent.wake_by_ref();
        }
    }
}

/// A child's waker, borrowed from its group.
pub(super) struct ChildWaker<'a> {
    waker: ManuallyDrop<Waker>,
    _group: PhantomData<&'a WakeGroup>,
}

impl Deref for ChildWaker<'_> {
    type Target = Waker;

    fn deref(&self) -> &Waker {
        &self.waker
    }
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// The group of a waker with `data`, and the number of the child in it.
fn decode(data: *const ()) -> (*const Group, usize) {
    let child = data.addr() % CHILDREN_PER_GROUP;
    (data.wrapping_byte_sub(child).cast(), child)
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the waker in the caller's hand is counted, so its group is alive.
    let group = unsafe { &*decode(data).0 };
    if group.is_local() {
        group.local_wakers.set(group.local_wakers.get().wrapping_add(1));
    } else {
        group.wakers.fetch_add(1, Ordering::Relaxed);
    }
    RawWaker::new(data, &VTABLE)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: the caller gives up its waker, which is dropped after its last use.
    unsafe {
        wake_by_ref(data);
        drop_waker(data);
    }
}

unsafe fn wake_by_ref(data: *const ()) {
    let (group, child) = decode(data);
    // SAFETY: the waker in the caller's hand is counted, so its group is alive.
    unsafe { &*group }.wake(child);
}

unsafe fn drop_waker(data: *const ()) {
    let pointer = decode(data).0;
    // SAFETY: the waker in the caller's hand is counted, so its group is alive until the count is taken back.
    let group = unsafe { &*pointer };
    if group.is_local() {
        group.local_wakers.set(group.local_wakers.get().wrapping_sub(1));
        return;
    }
    let order = if planted::is("child_relaxed_drop") { Ordering::Relaxed } else { Ordering::AcqRel };
    if group.wakers.fetch_sub(1, order) == 1 {
        // SAFETY: the group came from a box, and this was the last waker: nobody else can reach it.
        drop(unsafe { Box::from_raw(pointer.cast_mut()) });
    }
}
