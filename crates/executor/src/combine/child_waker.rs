//! Wakers that tell a combinator which of its children was woken.
//!
//! 64 children share one allocation. It is aligned to 64 bytes, so the address that a child's waker carries names
//! both the allocation (the address rounded down) and the child (the rest).

use alloc::sync::Arc;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{RawWaker, RawWakerVTable, Waker};

/// How many children share a [`WakeGroup`]: one for each bit of a word.
pub(super) const CHILDREN_PER_GROUP: usize = 64;

/// The wakers of up to 64 children of one parent.
pub(super) struct WakeGroup(Arc<Group>);

/// Wakers are `Send` and `Sync`, so this may be touched by any thread at any time.
#[repr(align(64))]
struct Group {
    /// A bit for each child that was woken since the last look.
    woken: AtomicU64,
    parent: Waker,
}

const _: () = assert!(size_of::<Group>() >= CHILDREN_PER_GROUP && align_of::<Group>() == CHILDREN_PER_GROUP);

impl WakeGroup {
    pub(super) fn new(parent: Waker) -> Self {
        Self(Arc::new(Group { woken: AtomicU64::new(0), parent }))
    }

    /// Whether it wakes what `parent` wakes.
    pub(super) fn wakes(&self, parent: &Waker) -> bool {
        self.0.parent.will_wake(parent)
    }

    /// Takes note that all children are to be polled, without waking the parent.
    pub(super) fn set_all_woken(&self) {
        self.0.woken.store(u64::MAX, Ordering::Relaxed);
    }

    /// Takes the bits of the children that were woken.
    pub(super) fn take_woken(&self) -> u64 {
        // Acquire: what a waker's thread did before it woke the child is seen by the child.
        if self.0.woken.load(Ordering::Relaxed) == 0 { 0 } else { self.0.woken.swap(0, Ordering::Acquire) }
    }

    /// The waker of a child.
    pub(super) fn waker(&self, child: usize) -> ChildWaker<'_> {
        debug_assert!(child < CHILDREN_PER_GROUP, "a group has 64 children");
        let data = Arc::as_ptr(&self.0).cast::<u8>().wrapping_add(child).cast::<()>();
        // SAFETY: the functions of the table are thread-safe and keep the contract of `RawWaker`. The reference count
        // that this waker stands for is the group's own, which it borrows; therefore it is never dropped.
        let waker = unsafe { Waker::new(data, &VTABLE) };
        ChildWaker { waker: ManuallyDrop::new(waker), _group: PhantomData }
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
    // SAFETY: `data` was made from the pointer of an `Arc`, of which the cloned waker keeps one count alive.
    unsafe { Arc::increment_strong_count(decode(data).0) };
    RawWaker::new(data, &VTABLE)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: the caller gives up its waker, so its count is dropped after its last use.
    unsafe {
        wake_by_ref(data);
        drop_waker(data);
    }
}

unsafe fn wake_by_ref(data: *const ()) {
    let (group, child) = decode(data);
    // SAFETY: the waker in the caller's hand keeps one count of the group alive.
    let group = unsafe { &*group };
    // Who finds a bit set knows that the parent was woken and has not looked since.
    if group.woken.fetch_or(1 << child, Ordering::Release) == 0 {
        #[cfg(not(planted = "lost_child_wake"))]
        group.parent.wake_by_ref();
    }
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: `data` was made from the pointer of an `Arc`, and the caller gives up the count that its waker stands for.
    unsafe { Arc::decrement_strong_count(decode(data).0) };
}
