//! The rings between all shards of a program, and what each shard must know of the others.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ptr;

use sunstar_packet::{Home, HomeOwner};

use super::contained::contain;
use super::ring::{Consumer, Producer, ring};
use super::shard_id::ShardId;
use crate::atomic::{AtomicPtr, AtomicUsize, Ordering, fence};
use crate::group::GroupIds;

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
    doors: Box<[Door]>,
    /// How many shards take no messages any more.
    stopped: AtomicUsize,
    /// The name of the next service; see [`Sharded`](crate::Sharded).
    services: AtomicUsize,
    groups: GroupIds,
}

/// What a shard shows to the others, and to threads that are no shards.
struct Door {
    /// Null until the shard has started.
    home: AtomicPtr<Home>,
    /// How many messages and requests of other threads are under way; how many of them have not arrived, in units of
    /// [`TRAVELLING`]; and [`CLOSED`].
    aliens: AtomicUsize,
    /// How many were refused because as many as may be were under way.
    refused: AtomicUsize,
}

/// What a message that has not arrived counts for: the half of the number below [`CLOSED`].
const TRAVELLING: usize = 1 << (usize::BITS / 2 - 1);

/// The shard takes nothing from other threads any more.
const CLOSED: usize = 1 << (usize::BITS - 1);

/// Messages and requests of threads that are no shards which may be under way to one shard, or run there.
pub const MAX_ALIEN_MESSAGES: usize = 1024;

/// Why a thread that is no shard may not send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoEntry {
    Full,
    NotRunning,
}

impl Mesh {
    /// Makes the rings between `shards` shards and answers what each of them takes to its thread, in the
    /// order of their ids.
    ///
    /// The rings occupy address space at once, and memory when they are used.
    ///
    /// # Panics
    /// For more than 65,536 shards.
    pub fn links(shards: usize) -> Vec<MeshLinks> {
        let door = |_| Door {
            home: AtomicPtr::new(ptr::null_mut()),
            aliens: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        };
        let mesh = Arc::new(Self {
            doors: (0..shards).map(door).collect(),
            stopped: AtomicUsize::new(0),
            services: AtomicUsize::new(0),
            groups: GroupIds::new(),
        });
        let capacity = capacity(shards);
        let mut links: Vec<_> = ShardId::all(shards).map(|id| MeshLinks::new(id, Arc::clone(&mesh))).collect();
        for from in 0..shards {
            for to in 0..shards {
                let (producer, consumer) = (from != to).then(|| ring(capacity)).unzip();
                links[from].producers.push(producer);
                links[to].consumers.extend(consumer);
            }
        }
        links
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.doors.len()
    }

    /// Which scheduling groups exist.
    pub(crate) fn group_ids(&self) -> &GroupIds {
        &self.groups
    }

    fn door(&self, shard: ShardId) -> Option<&Door> {
        self.doors.get(shard.index())
    }

    /// The home of a shard, or `None` if there is no such shard or it has not started.
    pub fn home(&self, shard: ShardId) -> Option<&Home> {
        // SAFETY: `open` stores a pointer that owns a count, which only `drop` gives back.
        unsafe { self.door(shard)?.home.load(Ordering::Acquire).as_ref() }
    }

    /// Makes a shard known to the others.
    ///
    /// # Panics
    /// If the shard has a home already.
    pub(crate) fn open(&self, shard: ShardId, home: Arc<Home>) {
        let home = Arc::into_raw(home).cast_mut();
        let place = &self.doors[shard.index()].home;
        let opened = place.compare_exchange(ptr::null_mut(), home, Ordering::AcqRel, Ordering::Relaxed);
        assert!(opened.is_ok(), "shard {shard} was started twice");
    }

    /// Wakes a shard if it sleeps; call it after publishing messages for it.
    ///
    /// A shard that has not started looks at its rings before it first sleeps: either we see its home here, or it
    /// sees our messages there. The fences of the two sides make it so, as in [`Home::notify`].
    pub(crate) fn notify(&self, shard: ShardId) {
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

    /// A number that no service of this mesh had before.
    pub(crate) fn next_service(&self) -> usize {
        self.services.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts a message from a thread that is no shard in; the ticket counts it out.
    pub(crate) fn admit_alien(self: &Arc<Self>, shard: ShardId) -> Result<Ticket, NoEntry> {
        let door = self.door(shard).filter(|door| !door.home.load(Ordering::Acquire).is_null());
        let door = door.ok_or(NoEntry::NotRunning)?;
        // Acquire and release order this with `close`: the shard waits for those that were counted before.
        let before = door.aliens.fetch_add(1 + TRAVELLING, Ordering::AcqRel);
        let ticket = Ticket { mesh: Arc::clone(self), shard, has_arrived: false };
        if before & CLOSED != 0 {
            return Err(NoEntry::NotRunning);
        }
        if before % TRAVELLING >= MAX_ALIEN_MESSAGES {
            door.refused.fetch_add(1, Ordering::Relaxed);
            return Err(NoEntry::Full);
        }
        Ok(ticket)
    }

    /// How many messages and requests from threads that are no shards were refused because
    /// [`MAX_ALIEN_MESSAGES`] of them were under way to the shard; zero if there is no such shard.
    pub fn refused_aliens(&self, shard: ShardId) -> usize {
        self.door(shard).map_or(0, |door| door.refused.load(Ordering::Relaxed))
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        for door in &self.doors {
            let home = door.home.load(Ordering::Acquire);
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

/// Counts a message or request of a thread that is no shard until it has run or was dropped.
pub(crate) struct Ticket {
    mesh: Arc<Mesh>,
    shard: ShardId,
    has_arrived: bool,
}

impl Ticket {
    pub(crate) fn mesh(&self) -> &Arc<Mesh> {
        &self.mesh
    }

    /// Where the message goes.
    pub(crate) fn shard(&self) -> ShardId {
        self.shard
    }

    /// Notes that the message is at its shard: it goes on to count, but the shard need not wait for it to stop.
    pub(crate) fn arrive(&mut self) {
        self.has_arrived = true;
        self.mesh.doors[self.shard.index()].aliens.fetch_sub(TRAVELLING, Ordering::AcqRel);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let counted = if self.has_arrived { 1 } else { 1 + TRAVELLING };
        self.mesh.doors[self.shard.index()].aliens.fetch_sub(counted, Ordering::AcqRel);
    }
}

/// A shard's place in the mesh. Dropping it tells all others that the shard takes no messages any more.
pub(super) struct Seat {
    id: ShardId,
    mesh: Arc<Mesh>,
}

impl Seat {
    pub(super) fn id(&self) -> ShardId {
        self.id
    }

    pub(super) fn mesh(&self) -> &Arc<Mesh> {
        &self.mesh
    }

    /// Gives the place up, and calls `receive` until all that other threads had sent by then has come home and
    /// was dropped. They are between two instructions, so it does not take long.
    pub(super) fn close(self, home: &HomeOwner, mut receive: impl FnMut()) {
        let aliens = &self.mesh.doors[self.id.index()].aliens;
        let mut under_way = aliens.fetch_or(CLOSED, Ordering::AcqRel);
        while under_way & !CLOSED >= TRAVELLING {
            contain("receiving what came home", || {
                home.drain();
            });
            receive();
            core::hint::spin_loop();
            under_way = aliens.load(Ordering::Acquire);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.mesh.doors[self.id.index()].aliens.fetch_or(CLOSED, Ordering::AcqRel);
        self.mesh.stopped.fetch_add(1, Ordering::AcqRel);
        for other in ShardId::all(self.mesh.shards()).filter(|&other| other != self.id) {
            self.mesh.notify(other);
        }
    }
}

/// The ends of the rings that belong to one shard; it moves to the shard's thread before the shard starts.
///
/// Dropping it stops the traffic: messages that have arrived are dropped without being run, and so are those that
/// others send later, on their side.
pub struct MeshLinks {
    /// By destination; none to itself.
    pub(super) producers: Vec<Option<Producer>>,
    /// In the order of their sources, without itself.
    pub(super) consumers: Vec<Consumer>,
    /// Dropped last: who learns that the shard has stopped finds its consumers gone.
    pub(super) seat: Seat,
}

impl MeshLinks {
    fn new(id: ShardId, mesh: Arc<Mesh>) -> Self {
        let shards = mesh.shards();
        let (producers, consumers) = (Vec::with_capacity(shards), Vec::with_capacity(shards));
        Self { producers, consumers, seat: Seat { id, mesh } }
    }

    /// The shard that these links belong to.
    pub fn id(&self) -> ShardId {
        self.seat.id
    }

    /// What all shards share.
    pub fn mesh(&self) -> &Arc<Mesh> {
        &self.seat.mesh
    }
}

impl core::fmt::Debug for MeshLinks {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("MeshLinks")
            .field("id", &self.id())
            .field("shards", &self.mesh().shards())
            .finish_non_exhaustive()
    }
}
