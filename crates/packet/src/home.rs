//! The way home: an intrusive, lock-free list on which other threads post what belongs to a shard.
//!
//! Posting never allocates, never fails and never fills: the node is part of the thing that travels. The
//! shard takes the whole list at once, so there is no ABA problem. The same list carries memory of
//! [`ForeignBuffer`](crate::ForeignBuffer)s, foreign wakes of tasks and objects that were dropped abroad.
//!
//! # How the owner sleeps
//!
//! The lowest bit of the list's head says that the owner is asleep or about to be. Pushing a node replaces the head and
//! so clears the bit; who clears it rings the bell. Because announcing and posting are read-modify-write operations
//! of one word, one of them sees the other: no wake is lost, and a post needs no fence. Work that is made visible
//! elsewhere (a message ring) is announced by [`Home::notify`], which needs one.
//!
//! # How a list ends
//!
//! From the moment when a node is on the list the owner may take it, find that nothing else is on its way and free the
//! list. So [`Home::post`] touches nothing of the list after the push; a bell that must be rung has been cloned before.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use core::sync::atomic::AtomicUsize;

use crate::atomic::{AtomicPtr, Lifetime, Ordering, fence};

#[cfg(all(test, not(loom)))]
pub(crate) mod tests;

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
    bell: Arc<dyn Doorbell>,
    lifetime: Lifetime,
    /// Written by the owner only, hence never by a read-modify-write operation.
    residents: OwnLine<AtomicUsize>,
}

/// Keeps what the owner writes off the cache line that posters write.
#[repr(align(64))]
struct OwnLine<T>(T);

/// The bit of the head that says that the owner sleeps; nodes are aligned, so it is free.
const ASLEEP: usize = 1;

fn is_asleep(head: *mut HomeNode) -> bool {
    head.addr() & ASLEEP != 0
}

fn awake(head: *mut HomeNode) -> *mut HomeNode {
    head.map_addr(|addr| addr & !ASLEEP)
}

fn asleep(head: *mut HomeNode) -> *mut HomeNode {
    head.map_addr(|addr| addr | ASLEEP)
}

impl Home {
    /// Posts a node from any thread and rings the bell if the owner sleeps.
    ///
    /// # Safety
    /// The list must be alive when this is called: the caller holds an `Arc` of it, or what it posts is counted by
    /// [`HomeOwner::add_resident`]. The node must stay valid until its `arrive` has been called, must not be
    /// posted a second time before that, and `arrive` must be sound to call on the owner's thread.
    #[inline]
    pub unsafe fn post(&self, node: NonNull<HomeNode>) {
        self.lifetime.used();
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            let bell = is_asleep(head).then(|| Arc::clone(&self.bell));
            // SAFETY: the caller hands the node over to this list, so nobody else reads or writes its link.
            unsafe { node.as_ref() }.next.store(awake(head), Ordering::Relaxed);
            let order = if planted::is("relaxed_post") { Ordering::Relaxed } else { Ordering::Release };
            match self.head.compare_exchange_weak(head, node.as_ptr(), order, Ordering::Relaxed) {
                Ok(_) => {
                    if planted::is("touch_after_post") {
                        self.notify();
                    }
                    if let Some(bell) = bell {
                        bell.ring();
                    }
                    return;
                }
                Err(now) => head = now,
            }
        }
    }

    /// Rings the bell if the owner sleeps; call it after making work visible to the owner by other means than
    /// [`Home::post`].
    ///
    /// The fence orders that work before the look at the announcement; its counterpart is in
    /// [`HomeOwner::prepare_sleep`]. One of the two sides sees the other.
    #[inline]
    pub fn notify(&self) {
        self.lifetime.used();
        if !planted::is("missing_barrier") {
            fence(Ordering::SeqCst);
        }
        let head = self.head.load(Ordering::Relaxed);
        if is_asleep(head) && self.end_announcement(head) {
            self.bell.ring();
        }
    }

    /// Clears the bit and answers whether it was this call that did.
    #[cold]
    fn end_announcement(&self, mut head: *mut HomeNode) -> bool {
        while is_asleep(head) {
            match self.head.compare_exchange_weak(head, awake(head), Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => head = now,
            }
        }
        false
    }

    /// See [`HomeOwner::remove_resident`], whose contract this has.
    pub(crate) unsafe fn remove_resident(&self) {
        let residents = self.residents.0.load(Ordering::Relaxed);
        debug_assert!(residents > 0, "a resident was removed twice");
        self.residents.0.store(residents.wrapping_sub(1), Ordering::Relaxed);
    }
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = self.head.load(Ordering::Relaxed);
        f.debug_struct("Home")
            .field("asleep", &is_asleep(head))
            .field("has_arrivals", &!awake(head).is_null())
            .finish_non_exhaustive()
    }
}

/// The owner's end of a home list: drains it and counts what is still on its way.
///
/// When the owner is dropped while something that may come home still exists, the list itself is leaked
/// on purpose, so that late posts stay sound; what they carry is leaked with it.
#[derive(Debug)]
pub struct HomeOwner {
    home: Arc<Home>,
    _local: PhantomData<*const ()>,
}

impl HomeOwner {
    /// Makes an empty list whose sleeping owner is woken by `bell`.
    pub fn new(bell: Box<dyn Doorbell>) -> Self {
        let home = Home {
            head: AtomicPtr::new(ptr::null_mut()),
            bell: Arc::from(bell),
            lifetime: Lifetime::new(),
            residents: OwnLine(AtomicUsize::new(0)),
        };
        Self { home: Arc::new(home), _local: PhantomData }
    }

    /// The shared end. Things counted by [`HomeOwner::add_resident`] may keep a plain pointer to it.
    pub fn home(&self) -> &Arc<Home> {
        &self.home
    }

    /// Notes that something exists that may be posted here, so that the list must outlive it.
    pub fn add_resident(&self) {
        self.home.residents.0.store(self.residents() + 1, Ordering::Relaxed);
    }

    /// Notes that such a thing is gone.
    ///
    /// # Safety
    /// The thing was counted by [`HomeOwner::add_resident`] of this list, is removed once, and will not touch
    /// the list any more.
    pub unsafe fn remove_resident(&self) {
        // SAFETY: same contract, and this is the owner's thread.
        unsafe { self.home.remove_resident() };
    }

    /// How many things exist that may still come home.
    pub fn residents(&self) -> usize {
        self.home.residents.0.load(Ordering::Relaxed)
    }

    /// Whether something has come home and waits to be drained.
    #[inline]
    pub fn has_arrivals(&self) -> bool {
        !awake(self.home.head.load(Ordering::Relaxed)).is_null()
    }

    /// Receives all that has come home, oldest first, and returns how many there were.
    ///
    /// What is posted meanwhile is left for the next call. An announcement of
    /// [`HomeOwner::prepare_sleep`] stays in force.
    ///
    /// # Panics
    /// When an arrival panics; the others are received nevertheless.
    pub fn drain(&self) -> usize {
        let mut head = self.home.head.load(Ordering::Relaxed);
        while !awake(head).is_null() {
            let emptied = if is_asleep(head) { asleep(ptr::null_mut()) } else { ptr::null_mut() };
            match self.home.head.compare_exchange_weak(head, emptied, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Arrivals::oldest_first(awake(head)).receive(),
                Err(now) => head = now,
            }
        }
        0
    }

    /// Announces that the owner is about to sleep. After it, look at every source of work once more, and
    /// sleep only if there is none; call [`HomeOwner::end_sleep`] in either case.
    pub fn prepare_sleep(&self) {
        let mut head = self.home.head.load(Ordering::Relaxed);
        while let Err(now) =
            self.home.head.compare_exchange_weak(head, asleep(head), Ordering::Relaxed, Ordering::Relaxed)
        {
            head = now;
        }
        if !planted::is("missing_barrier") {
            fence(Ordering::SeqCst);
        }
    }

    /// Takes the announcement back: from now on nobody rings.
    pub fn end_sleep(&self) {
        let head = self.home.head.load(Ordering::Relaxed);
        if is_asleep(head) {
            self.home.end_announcement(head);
        }
    }
}

impl Drop for HomeOwner {
    fn drop(&mut self) {
        /// Decides about the list last, also when an arrival panics.
        struct KeepForResidents<'a>(&'a HomeOwner);

        impl Drop for KeepForResidents<'_> {
            fn drop(&mut self) {
                if self.0.residents() > 0 {
                    core::mem::forget(Arc::clone(&self.0.home));
                }
            }
        }

        let _keep = KeepForResidents(self);
        // An arrival may send something home in turn.
        while self.drain() > 0 {}
    }
}

/// Nodes that the owner has taken off its list and not yet received.
struct Arrivals(*mut HomeNode);

impl Arrivals {
    /// Turns round a list that was taken whole.
    fn oldest_first(mut newest_first: *mut HomeNode) -> Self {
        let mut oldest_first: *mut HomeNode = ptr::null_mut();
        while let Some(node) = NonNull::new(newest_first) {
            // SAFETY: a posted node is valid until its `arrive` is called, and taking the list made it ours.
            let link = unsafe { &node.as_ref().next };
            newest_first = link.load(Ordering::Relaxed);
            link.store(oldest_first, Ordering::Relaxed);
            oldest_first = node.as_ptr();
        }
        Self(oldest_first)
    }

    fn receive(&mut self) -> usize {
        let mut count = 0;
        while let Some(node) = NonNull::new(self.0) {
            // SAFETY: as above; the link and the function are read before `arrive` may free the node.
            let (next, arrive) = unsafe { (node.as_ref().next.load(Ordering::Relaxed), node.as_ref().arrive) };
            self.0 = next;
            // SAFETY: the poster promised that `arrive` may be called here, once per post.
            unsafe { arrive(node) };
            count += 1;
        }
        count
    }
}

impl Drop for Arrivals {
    /// Receives what an arrival that panicked has left.
    fn drop(&mut self) {
        self.receive();
    }
}
