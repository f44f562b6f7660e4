//! The rings between all shards of a program, and what each shard must know of the others.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ptr;

use sunstar_packet::Home;

use super::ring::{Consumer, Producer, ring};
use crate::atomic::{AtomicPtr, AtomicUsize, Ordering, fence};

/// Slots of a ring in a mesh of up to 16 shards: enough for many batches to be under way while the consumer
/// works through its round.
const MAX_CAPACITY: usize = 256;

/// Slots below which a ring would hold back the producer all the time: a few batches.
const MIN_CAPACITY: usize = 32;

/// Slots of all rings into one shard together: 256 KiB, of which a common second-level cache holds several.
const SLOTS_PER_CONSUMER: usize = 4096;

/// Slots of each ring in a mesh of `shards`.
///
/// A shard reads from one ring per other shard. With more shards the rings become smaller, so that what is
/// under way to one shard fits its cache, and memory grows with the square of the number of shards only slowly.
fn capacity(shards: usize) -> u32 {
    let fair = SLOTS_PER_CONSUMER / shards.max(1);
    let slots = fair.clamp(MIN_CAPACITY, MAX_CAPACITY);
    1 << slots.ilog2()
}

/// What all shards of a program share: how to wake each, and how many have stopped.
pub struct Mesh {
    /// The home of each shard, null until it has started.
    homes: Box<[AtomicPtr<Home>]>,
    /// How many shards take no messages any more.
    stopped: AtomicUsize,
}

impl Mesh {
    /// Makes the rings between `shards` shards and answers what each of them takes to its thread, in the
    /// order of their ids.
    ///
    /// The rings occupy address space at once, and memory when they are used.
    pub fn links(shards: usize) -> Vec<MeshLinks> {
        let homes = (0..shards).map(|_| AtomicPtr::new(ptr::null_mut())).collect();
        let mesh = Arc::new(Self { homes, stopped: AtomicUsize::new(0) });
        let capacity = capacity(shards);
        let mut links: Vec<MeshLinks> = (0..shards).map(|id| MeshLinks::new(id, Arc::clone(&mesh))).collect();
        for from in 0..shards {
            for to in 0..shards {
                let ends = (from != to).then(|| ring(capacity));
                let (producer, consumer) = ends.unzip();
                links[from].producers.push(producer);
                links[to].consumers.push(consumer);
            }
        }
        links
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.homes.len()
    }

    /// The home of a shard, or `None` if the shard has not started.
    pub fn home(&self, shard: usize) -> Option<&Home> {
        // SAFETY: `open` stores a pointer that owns a count, which only `drop` gives back.
        unsafe { self.homes[shard].load(Ordering::Acquire).as_ref() }
    }

    /// Makes a shard known to the others.
    ///
    /// # Panics
    /// If the shard has a home already.
    pub(crate) fn open(&self, shard: usize, home: Arc<Home>) {
        let home = Arc::into_raw(home).cast_mut();
        let before = self.homes[shard].compare_exchange(ptr::null_mut(), home, Ordering::AcqRel, Ordering::Relaxed);
        assert!(before.is_ok(), "shard {shard} was started twice");
    }

    /// Wakes a shard if it sleeps; call it after publishing messages for it.
    ///
    /// A shard that has not started looks at its rings before it first sleeps: either we see its home here, or it
    /// sees our messages there. The fences of the two sides make it so, as in [`Home::notify`].
    pub(crate) fn notify(&self, shard: usize) {
        let home = self.home(shard).or_else(|| {
            fence(Ordering::SeqCst);
            self.home(shard)
        });
        if let Some(home) = home {
            home.notify();
        }
    }

    /// How many shards take no messages any more: when it changes, producers have messages to reclaim.
    #[inline]
    pub(crate) fn stopped(&self) -> usize {
        self.stopped.load(Ordering::Acquire)
    }

    /// Tells all others that a shard, which has dropped its consumers, takes no messages any more.
    fn stop(&self, shard: usize) {
        self.stopped.fetch_add(1, Ordering::AcqRel);
        for other in (0..self.shards()).filter(|&other| other != shard) {
            self.notify(other);
        }
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        for home in &self.homes {
            let home = home.load(Ordering::Acquire);
            if !home.is_null() {
                // SAFETY: `open` put the pointer there out of an `Arc`, and nobody else gives its count back.
                drop(unsafe { Arc::from_raw(home) });
            }
        }
    }
}

impl core::fmt::Debug for Mesh {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Mesh").field("shards", &self.shards()).finish_non_exhaustive()
    }
}

/// The ends of the rings that belong to one shard; it moves to the shard's thread before the shard starts.
///
/// Dropping it stops the traffic: messages that have arrived are dropped without being run, and so are those that
/// others send later, on their side.
pub struct MeshLinks {
    id: usize,
    mesh: Arc<Mesh>,
    /// By destination; none to itself.
    producers: Vec<Option<Producer>>,
    /// By source; none from itself.
    consumers: Vec<Option<Consumer>>,
}

impl MeshLinks {
    fn new(id: usize, mesh: Arc<Mesh>) -> Self {
        let shards = mesh.shards();
        Self { id, mesh, producers: Vec::with_capacity(shards), consumers: Vec::with_capacity(shards) }
    }

    /// The shard that these links belong to.
    pub fn id(&self) -> usize {
        self.id
    }

    /// What all shards share.
    pub fn mesh(&self) -> &Arc<Mesh> {
        &self.mesh
    }

    /// The ring to another shard.
    #[inline]
    pub(crate) fn producer(&mut self, to: usize) -> Option<&mut Producer> {
        self.producers.get_mut(to)?.as_mut()
    }

    /// The rings from the other shards.
    pub(crate) fn consumers(&mut self) -> impl Iterator<Item = &mut Consumer> {
        self.consumers.iter_mut().flatten()
    }

    /// Whether a message waits in any ring.
    pub(crate) fn has_messages(&self) -> bool {
        self.consumers.iter().flatten().any(Consumer::has_messages)
    }
}

impl Drop for MeshLinks {
    fn drop(&mut self) {
        self.consumers.clear();
        self.mesh.stop(self.id);
    }
}

impl core::fmt::Debug for MeshLinks {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("MeshLinks").field("id", &self.id).field("shards", &self.mesh.shards()).finish_non_exhaustive()
    }
}
