//! A shard's part in the traffic between shards.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::sync::atomic::{AtomicUsize, Ordering};

use sunstar_packet::Home;

use super::lane::Lane;
use super::mesh::{Mesh, MeshLinks, Seat};
use super::ring::Consumer;
use super::service::LocalLimits;
use super::shard_id::ShardId;
use super::slot::{Arrival, Kind, Label};
use crate::panic::catch;
use crate::shard::Shard;
use crate::task::header::report_foreign_panic;

/// Messages that a round takes from one ring at most, should the other side keep pace.
const RECEIVED_AT_ONCE: u32 = 4096;

/// Which of all shards that the process ever had something was made on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin(usize);

impl Origin {
    fn next() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// The ends of rings that a shard has, and what is under way in them.
pub(crate) struct Exchange {
    id: ShardId,
    origin: Origin,
    mesh: Arc<Mesh>,
    /// By destination.
    lanes: Box<[Rc<Lane>]>,
    /// Borrowed while messages are received; a round within a round receives none.
    sources: RefCell<Vec<Consumer>>,
    /// The source to begin with, so that all get room in the inboxes in turn.
    first_source: Cell<usize>,
    touched: RefCell<Vec<Rc<Lane>>>,
    blocked: RefCell<Vec<Rc<Lane>>>,
    /// How many shards had stopped when we last looked.
    seen_stopped: Cell<usize>,
    seat: Cell<Option<Seat>>,
    pub(crate) limits: LocalLimits,
}

impl Exchange {
    /// Takes part from now on, with `home` known to the other shards.
    pub(crate) fn new(links: MeshLinks, home: Arc<Home>) -> Self {
        let MeshLinks { producers, consumers, seat } = links;
        let (id, mesh) = (seat.id(), Arc::clone(seat.mesh()));
        mesh.open(id, home);
        let lanes = ShardId::all(mesh.shards()).zip(producers);
        let lanes = lanes.map(|(to, producer)| Lane::new(to, producer));
        Self {
            id,
            origin: Origin::next(),
            lanes: lanes.collect(),
            sources: RefCell::new(consumers),
            first_source: Cell::new(0),
            touched: RefCell::default(),
            blocked: RefCell::default(),
            seen_stopped: Cell::new(0),
            seat: Cell::new(Some(seat)),
            limits: LocalLimits::new(mesh.shards()),
            mesh,
        }
    }

    /// The shard that this is.
    pub(crate) fn id(&self) -> ShardId {
        self.id
    }

    pub(crate) fn mesh(&self) -> &Arc<Mesh> {
        &self.mesh
    }

    /// Tells this shard from all others.
    #[inline]
    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    /// # Panics
    /// If this is not where something was made that can only be used there.
    #[inline]
    pub(super) fn check_origin(&self, origin: Origin) {
        if origin != self.origin {
            elsewhere();
        }
    }

    /// # Panics
    /// If there is no such shard.
    #[inline]
    #[track_caller]
    pub(super) fn check(&self, to: ShardId) {
        self.lane(to);
    }

    /// The way to a shard.
    ///
    /// # Panics
    /// If there is no such shard.
    #[inline]
    #[track_caller]
    pub(crate) fn lane(&self, to: ShardId) -> &Rc<Lane> {
        match self.lanes.get(to.index()) {
            Some(lane) => lane,
            None => no_such_shard(to, self.lanes.len()),
        }
    }

    pub(super) fn add_touched(&self, lane: Rc<Lane>) {
        self.touched.borrow_mut().push(lane);
    }

    pub(super) fn add_blocked(&self, lane: Rc<Lane>) {
        self.blocked.borrow_mut().push(lane);
    }

    /// Receives what has arrived: replies are acted on at once, requests go to their groups' inboxes. The first one
    /// whose inbox is full holds its ring back. Answers how many there were.
    pub(crate) fn receive(&self, shard: &Shard) -> u32 {
        let Ok(mut sources) = self.sources.try_borrow_mut() else { return 0 };
        if !sources.iter().any(Consumer::has_messages) {
            return 0;
        }
        let first = self.first_source.get() % sources.len();
        self.first_source.set(first + 1);
        let (later, sooner) = sources.split_at_mut(first);
        sooner.iter_mut().chain(later).map(|source| Self::receive_from(source, shard)).sum()
    }

    #[inline]
    fn receive_from(source: &mut Consumer, shard: &Shard) -> u32 {
        let admit = |label: Label| {
            if label.kind == Kind::Reply {
                return Some(None);
            }
            let place = shard.groups.place_of(label);
            let has_room = shard.groups.has_inbox_room(place);
            if !has_room {
                shard.counters.held_rings.add(1);
            }
            has_room.then_some(Some(place))
        };
        let receive = |place, arrival: Arrival<'_>| match place {
            None => arrival.run(),
            Some(place) => shard.groups.deliver_arrival(place, arrival),
        };
        // A reply wakes its caller with any waker.
        catch(|| source.drain_admitted(RECEIVED_AT_ONCE, admit, receive)).unwrap_or_else(|panic| {
            report_foreign_panic(shard, "receiving a reply", &panic);
            1
        })
    }

    /// Whether a message waits in a ring; called when the shard is about to sleep.
    pub(crate) fn has_arrivals(&self) -> bool {
        self.sources.try_borrow().is_ok_and(|sources| sources.iter().any(Consumer::has_messages))
            || self.mesh.stopped() != self.seen_stopped.get()
    }

    /// Publishes what is staged for a shard, since somebody waits for what comes of it; but not if the running group has
    /// more to run, which may join the batch.
    #[inline]
    pub(super) fn hasten(&self, shard: &Shard, to: ShardId) {
        if shard.groups.is_group_idle(shard.groups.running()) {
            self.lane(to).publish();
        }
    }

    /// Publishes what is staged; who sleeps is woken by the next [`Exchange::flush`].
    #[inline]
    pub(crate) fn publish(&self) {
        self.touched.borrow().iter().for_each(|lane| lane.publish());
    }

    /// Publishes what is staged, wakes who sleeps, and sends what waited for room and finds some.
    ///
    /// Answers whether something still waits for room. Nobody tells when there is some, so the shard stays awake.
    pub(crate) fn flush(&self, shard: &Shard) -> bool {
        let stopped = self.mesh.stopped();
        if self.seen_stopped.replace(stopped) != stopped {
            self.lanes.iter().for_each(|lane| lane.reclaim());
        }
        if !self.blocked.borrow().is_empty() {
            self.blocked.take().iter().for_each(|lane| lane.retry(shard));
        }
        loop {
            let Some(lane) = self.touched.borrow_mut().pop() else { break };
            lane.flush(&self.mesh);
        }
        !self.blocked.borrow().is_empty()
    }

    /// How many messages and replies wait for room, to all shards.
    pub(crate) fn waiting(&self) -> usize {
        self.blocked.borrow().iter().map(|lane| lane.waiting()).sum()
    }

    /// How many messages of threads that are no shards were refused here.
    pub(crate) fn refused_aliens(&self) -> usize {
        self.mesh.refused_aliens(self.id)
    }

    /// Sends and receives no more, and drops what has arrived or waits. Others learn of it.
    pub(crate) fn stop(&self, shard: &Shard) {
        self.lanes.iter().for_each(|lane| lane.stop());
        self.flush(shard);
        let sources = self.sources.try_borrow_mut().map(|mut sources| core::mem::take(&mut *sources));
        drop(sources);
        shard.groups.drop_messages();
        if let Some(seat) = self.seat.take() {
            seat.close(&shard.home, || shard.groups.drop_messages());
        }
    }
}

#[cold]
#[track_caller]
fn no_such_shard(shard: ShardId, shards: usize) -> ! {
    panic!("there is no shard {shard}: the program has {shards}")
}

#[cold]
fn elsewhere() -> ! {
    panic!("a message was sent on another shard than the one where its future was made");
}
