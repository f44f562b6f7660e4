//! The way home: an intrusive, lock-free list on which other threads post what belongs to a shard.
//!
//! Posting never allocates, never fails and never fills: the node is part of the thing that travels. The
//! shard takes the whole list at once, so there is no ABA problem. The same list carries memory of
//! [`ForeignBuffer`](crate)s, foreign wakes of tasks and objects that were dropped abroad.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use crate::atomic::{AtomicBool, AtomicPtr, Ordering, fence};

/// Wakes the thread that runs a shard; called by any thread, at most once per sleep of that shard.
pub trait Doorbell: Send + Sync {
    /// Ends the shard's current or next sleep.
    fn ring(&self);
}

/// The link by which something travels home; embed it at a fixed place of what travels.
#[repr(C)]
#[derive(Debug)]
pub struct HomeNode {
    next: AtomicPtr<HomeNode>,
    arrive: unsafe fn(NonNull<HomeNode>),
}

impl HomeNode {
    /// A node that calls `arrive` with its own address when its home drains it.
    pub fn new(arrive: unsafe fn(NonNull<HomeNode>)) -> Self {
        Self { next: AtomicPtr::new(ptr::null_mut()), arrive }
    }
}

/// The shared end of a shard's home list: any thread may post to it and ring its bell.
pub struct Home {
    head: AtomicPtr<HomeNode>,
    asleep: AtomicBool,
    bell: Box<dyn Doorbell>,
}

impl Home {
    /// Posts a node from any thread and rings the bell if the owner sleeps.
    ///
    /// # Safety
    /// The node must stay valid until its `arrive` has been called, must not be posted a second time before
    /// that, and `arrive` must be sound to call on the owner's thread.
    pub unsafe fn post(&self, node: NonNull<HomeNode>) {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // SAFETY: the caller hands the node over to this list, so nobody else reads or writes its link.
            unsafe { node.as_ref() }.next.store(head, Ordering::Relaxed);
            match self.head.compare_exchange_weak(head, node.as_ptr(), Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        self.notify();
    }

    /// Rings the bell if the owner sleeps; call it after making work visible to the owner.
    ///
    /// The fence orders that work before the look at `asleep`; its counterpart is in
    /// [`HomeOwner::prepare_sleep`]. One of the two sides sees the other.
    pub fn notify(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            self.bell.ring();
        }
    }
}

impl core::fmt::Debug for Home {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Home").field("asleep", &self.asleep).finish_non_exhaustive()
    }
}

/// The owner's end of a home list: drains it and counts what is still on its way.
///
/// When the owner is dropped while something that may come home still exists, the list itself is leaked
/// on purpose, so that late posts stay sound; what they carry is leaked with it.
#[derive(Debug)]
pub struct HomeOwner {
    home: Arc<Home>,
    residents: Cell<usize>,
    _local: PhantomData<*const ()>,
}

impl HomeOwner {
    /// Makes an empty list whose sleeping owner is woken by `bell`.
    pub fn new(bell: Box<dyn Doorbell>) -> Self {
        let home = Home { head: AtomicPtr::new(ptr::null_mut()), asleep: AtomicBool::new(false), bell };
        Self { home: Arc::new(home), residents: Cell::new(0), _local: PhantomData }
    }

    /// The shared end. Things counted by [`HomeOwner::add_resident`] may keep a plain pointer to it.
    pub fn home(&self) -> &Arc<Home> {
        &self.home
    }

    /// Notes that something exists that may be posted here, so that the list must outlive it.
    pub fn add_resident(&self) {
        self.residents.set(self.residents.get() + 1);
    }

    /// Notes that such a thing is gone.
    pub fn remove_resident(&self) {
        debug_assert!(self.residents.get() > 0, "a resident was removed twice");
        self.residents.set(self.residents.get() - 1);
    }

    /// How many things exist that may still come home.
    pub fn residents(&self) -> usize {
        self.residents.get()
    }

    /// Whether something has come home and waits to be drained.
    pub fn has_arrivals(&self) -> bool {
        !self.home.head.load(Ordering::Relaxed).is_null()
    }

    /// Receives all that has come home, oldest first, and returns how many there were.
    pub fn drain(&self) -> usize {
        if !self.has_arrivals() {
            return 0;
        }
        let mut newest_first = self.home.head.swap(ptr::null_mut(), Ordering::Acquire);
        let mut oldest_first: *mut HomeNode = ptr::null_mut();
        while let Some(node) = NonNull::new(newest_first) {
            // SAFETY: a posted node is valid until its `arrive` is called, and the swap made this list ours.
            let link = unsafe { &node.as_ref().next };
            newest_first = link.load(Ordering::Relaxed);
            link.store(oldest_first, Ordering::Relaxed);
            oldest_first = node.as_ptr();
        }
        let mut count = 0;
        while let Some(node) = NonNull::new(oldest_first) {
            // SAFETY: as above; the link and the function are read before `arrive` may free the node.
            let (next, arrive) = unsafe { (node.as_ref().next.load(Ordering::Relaxed), node.as_ref().arrive) };
            oldest_first = next;
            // SAFETY: the poster promised that `arrive` may be called here, once per post.
            unsafe { arrive(node) };
            count += 1;
        }
        count
    }

    /// Announces that the owner is about to sleep. After it, look at every source of work once more, and
    /// sleep only if there is none; call [`HomeOwner::end_sleep`] in either case.
    pub fn prepare_sleep(&self) {
        self.home.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Takes the announcement back: from now on nobody rings.
    pub fn end_sleep(&self) {
        self.home.asleep.store(false, Ordering::Relaxed);
    }
}

impl Drop for HomeOwner {
    fn drop(&mut self) {
        self.drain();
        if self.residents.get() > 0 {
            core::mem::forget(Arc::clone(&self.home));
        }
    }
}
