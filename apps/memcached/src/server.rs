//! A shard's server: its items, its connections, its end.

mod budget;
mod crawl;
mod heap;
mod hook;
mod sources;
pub(crate) mod udp;

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use sunstar::executor::combine::with_timeout;
use sunstar::executor::maybe_yield;
use sunstar::executor::sync::{AbortSource, Gate, GateHolder, Permit, Semaphore, with_abort};
use sunstar::executor::time::Instant;
use sunstar::executor::timer::{self, lowres, sleep};
use sunstar::executor::{Reserve, TaskBuilder, add_reserve, current};
use sunstar::metrics::Registration;
use sunstar::net::{self, Address, Listener, ListenerOptions, Stream};
use sunstar::prelude::*;
use sunstar_memcache::{Endpoint, Key, KeyHash, LARGE_VALUE_BYTES, Limits, Store, Value};

use crate::ahead::Ahead;
use crate::batch::Spares;
use crate::clock::Clock;
use crate::connection::{self, GRACE};
use crate::connections::{Connections, Served};
use crate::figures::{Base, ROWS, Snapshot};
use crate::options::Bounds;
use heap::Heap;

/// The store looks for dead items this often.
const SWEEP_EVERY: Duration = Duration::from_millis(100);

/// So many looks go over all of it.
const SWEEPS: usize = 600;

/// An incomplete value may be given up after some of these, so many sweeps each.
const SWEEPS_PER_TICK: u32 = 10;

/// When answers hold more than this part of the memory for items in values that are gone, slow clients are ended.
const HELD_PART: usize = 8;

/// Values that are incomplete may have this part of the memory for items.
const PENDING_PART: usize = 8;

/// What all shards have in common.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) bounds: Bounds,
    pub(crate) port: Option<u16>,
    /// 0 for none.
    pub(crate) udp_port: u16,
    /// What each shard may answer an address by datagrams beyond what it was asked, in bytes a second.
    pub(crate) udp_budget: usize,
    hash: KeyHash,
    pub(crate) clock: Clock,
}

impl Settings {
    /// With a secret of its own.
    pub(crate) fn new(bounds: Bounds, port: Option<u16>, udp_port: u16, udp_budget: usize) -> Self {
        let mut secret = [[0; 8]; 2];
        current::entropy(secret.as_flattened_mut());
        let (hash, clock) = (KeyHash::new(secret.map(u64::from_le_bytes)), Clock::start());
        Self { bounds, port, udp_port, udp_budget, hash, clock }
    }
}

/// What a shard has counted beside its store.
#[derive(Clone, Default)]
pub(crate) struct Counters {
    pub(crate) connections: Cell<u64>,
    pub(crate) live: Cell<u64>,
    /// How often no connections were accepted for a time, since as many as may be were served.
    pub(crate) held_back: Cell<u64>,
    /// How long that was, in microseconds, but for the time that has not ended.
    pub(crate) held_back_us: Cell<u64>,
    /// Since when none are accepted.
    pub(crate) held_since: Cell<Option<Instant>>,
    pub(crate) bytes_read: Cell<u64>,
    pub(crate) bytes_written: Cell<u64>,
    pub(crate) operations: Cell<u64>,
    /// Those of them on items of other shards.
    pub(crate) foreign: Cell<u64>,
    /// Messages that carried them.
    pub(crate) batches: Cell<u64>,
    /// Operations whose items were fetched from memory together with those of other connections.
    pub(crate) fetched_together: Cell<u64>,
    /// Values that were skipped since their items would have been too large.
    pub(crate) too_large: Cell<u64>,
    /// Connections that were ended since their clients did not take large values while memory was wanted.
    pub(crate) slow_ended: Cell<u64>,
    /// Connections that were ended since their clients did not take the last answers in time.
    pub(crate) cut_off: Cell<u64>,
    /// How often the heap was asked for what it could not use.
    pub(crate) heap_trims: Cell<u64>,
    /// Looks for dead items that clients have asked for.
    pub(crate) crawls: Cell<u64>,
    /// Connections that were not told to who asked for all.
    pub(crate) conns_left_out: Cell<u64>,
    /// Dumps of a class that were too long to be told in full.
    pub(crate) cachedumps_cut: Cell<u64>,
}

impl Counters {
    pub(crate) fn add(counter: &Cell<u64>, count: usize) {
        counter.set(counter.get() + count as u64);
    }
}

/// The server of one shard.
pub(crate) struct Server {
    pub(crate) settings: Settings,
    pub(crate) endpoint: Endpoint,
    pub(crate) store: RefCell<Store>,
    pub(crate) counters: Counters,
    ahead: Ahead,
    pub(crate) udp: udp::Udp,
    /// All shards are looked over for dead items; the first one knows.
    is_crawled: Cell<bool>,
    pub(crate) published: OnceCell<Registration>,
    /// What `stats` begins to count from.
    pub(crate) base: Cell<Base>,
    peers: OnceCell<Sharded<Server>>,
    address: OnceCell<Address>,
    last_s: Cell<u32>,
    pub(crate) connections: Connections,
    /// Bytes of values that wait for other shards.
    pub(crate) under_way: Rc<Cell<usize>>,
    pub(crate) spares: Spares,
    /// What the store has been told about memory that is used beside it.
    lent_bytes: Cell<usize>,
    heap: Heap,
    stop: AbortSource,
    inside: Rc<Gate>,
    /// How many more connections may be served.
    room: Semaphore,
}

impl Server {
    pub(crate) fn new(settings: Settings) -> Self {
        let shards = shard_count();
        let memory_bytes = settings.bounds.memory_bytes / shards;
        let room = settings.bounds.connections_of(shard_id().index(), shards);
        let limits = Limits {
            item_bytes: settings.bounds.item_bytes,
            pending_value_bytes: (memory_bytes / PENDING_PART).max(settings.bounds.item_bytes),
            ..Limits::DEFAULT
        };
        let mut store = Store::new(settings.hash, memory_bytes);
        store.set_item_limit(settings.bounds.item_bytes);
        Self {
            settings,
            endpoint: Endpoint::new(limits),
            store: RefCell::new(store),
            counters: Counters::default(),
            ahead: Ahead::default(),
            udp: udp::Udp::new(settings.udp_budget),
            is_crawled: Cell::new(false),
            published: OnceCell::new(),
            base: Cell::new([0; ROWS.len()]),
            peers: OnceCell::new(),
            address: OnceCell::new(),
            last_s: Cell::new(0),
            connections: Connections::default(),
            under_way: Rc::default(),
            spares: Spares::default(),
            lent_bytes: Cell::new(0),
            heap: Heap::new(),
            stop: AbortSource::new(),
            inside: Rc::new(Gate::new()),
            room: Semaphore::new(room),
        }
    }

    /// Tells the server of the others, and lets it look after its items.
    pub(crate) fn join(self: Rc<Self>, peers: Sharded<Server>) {
        let _ = self.peers.set(peers);
        add_reserve(Rc::downgrade(&self) as Weak<dyn Reserve>);
        let Ok(inside) = self.inside.enter_owned() else { return };
        let server = Rc::clone(&self);
        TaskBuilder::new().name("memcached sweep").spawn(async move {
            let _inside = inside;
            let _ = with_abort(&self.stop, server.sweep()).await;
        });
    }

    /// The servers of all shards.
    pub(crate) fn peers(&self) -> Sharded<Server> {
        *self.peers.get().expect("servers join before they listen")
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> Option<&Address> {
        self.address.get()
    }

    /// A key as all shards know it.
    pub(crate) fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        self.settings.hash.key(bytes)
    }

    /// The shard that has a key.
    pub(crate) fn shard_of(&self, key: Key<'_>) -> ShardId {
        let shards = u16::try_from(shard_count()).expect("shards have numbers of 16 bits");
        ShardId::new(key.shard(shards))
    }

    /// Fetches what is needed to find the items of these keys, as far as they are here and not too many, if there are several.
    pub(crate) fn look_ahead<'k>(&self, keys: impl Iterator<Item = Key<'k>> + Clone) {
        if keys.clone().nth(1).is_none() {
            return;
        }
        if shard_count() == 1 {
            return self.store.borrow().look_ahead(keys);
        }
        let here = shard_id();
        self.store.borrow().look_ahead(keys.filter(|key| self.shard_of(*key) == here));
    }

    /// Fetches what is needed to find the item of a key that is here, together with those of other connections.
    pub(crate) async fn look_ahead_with_others(&self, key: Key<'_>) {
        // Who is alone would wait for nobody.
        if self.counters.live.get() > 1 && (shard_count() == 1 || self.shard_of(key) == shard_id()) {
            Counters::add(&self.counters.fetched_together, self.ahead.join(&self.store, key).await);
        }
    }

    /// The second since 1970 on the clock of items, which never goes backwards.
    pub(crate) fn now_s(&self) -> u32 {
        let now_s = self.settings.clock.now_s().max(self.last_s.get());
        self.last_s.set(now_s);
        now_s
    }

    /// Whether the server is to end.
    pub(crate) fn stop(&self) -> &AbortSource {
        &self.stop
    }

    /// Listens at an address until the server stops; answers the address with the port that it got.
    pub(crate) async fn listen(
        self: Rc<Self>,
        address: Address,
        options: ListenerOptions,
    ) -> Result<Address, net::Error> {
        let listener = Listener::bind(address, options).await?;
        let address = listener.local_address().clone();
        let _ = self.address.set(address.clone());
        let inside = self.inside.enter_owned().map_err(|_| net::Error::Stopped)?;
        TaskBuilder::new().name("memcached accept").spawn(async move {
            let _inside = inside;
            self.accept(listener).await;
        });
        Ok(address)
    }

    async fn accept(self: Rc<Self>, mut listener: Listener) {
        loop {
            let Some(place) = self.place().await else { return };
            let Ok(Ok(stream)) = with_abort(&self.stop, listener.accept()).await else { return };
            let Ok(inside) = self.inside.enter_owned() else { return };
            place.forget();
            let live = Live::new(Rc::clone(&self), inside, stream.peer_address().ok());
            TaskBuilder::new().name("memcached connection").spawn(live.serve(stream));
            maybe_yield().await;
        }
    }

    /// Waits until one more connection may be served; `None` if the server stops.
    async fn place(&self) -> Option<Permit<&Semaphore>> {
        if self.room.available_units() > 0 {
            return self.room.acquire_unless(&self.stop, 1).await.ok();
        }
        Counters::add(&self.counters.held_back, 1);
        let since = timer::now();
        self.counters.held_since.set(Some(since));
        let place = self.room.acquire_unless(&self.stop, 1).await.ok();
        self.counters.held_since.set(None);
        let held_us = timer::now().saturating_duration_since(since).as_micros();
        Counters::add(&self.counters.held_back_us, usize::try_from(held_us).unwrap_or(usize::MAX));
        place
    }

    /// Begins `stats` anew. What Prometheus is shown goes on.
    pub(crate) fn reset_stats(&self) {
        self.base.set(Snapshot::of(self).base());
        self.store.borrow_mut().reset_class_counters();
    }

    pub(crate) fn is_crawled(&self) -> bool {
        self.is_crawled.get()
    }

    /// Makes room for a value that this shard may store, a part of it at a time. Others have their turns meanwhile; when it is done,
    /// nobody has until the caller waits for something else.
    pub(crate) async fn prepare_for(&self, value: &Value) {
        // Smaller ones need a page at most.
        if value.len() >= LARGE_VALUE_BYTES {
            self.prepare(value.len()).await;
        }
    }

    /// Tells the store what is used beside it, and makes room for that.
    pub(crate) async fn settle(&self) {
        if self.beside_bytes() != self.lent_bytes.get() {
            self.prepare(0).await;
        }
        self.look_at_heap();
    }

    fn look_at_heap(&self) {
        let store = self.store.borrow();
        let cap_bytes = (store.limit_bytes() * shard_count()) as u64;
        if self.heap.look(store.freed_bytes(), cap_bytes) {
            Counters::add(&self.counters.heap_trims, 1);
        }
    }

    async fn prepare(&self, value_bytes: usize) {
        loop {
            self.lend();
            if self.store.borrow_mut().prepare(value_bytes, self.now_s()) {
                return;
            }
            maybe_yield().await;
        }
    }

    fn lend(&self) {
        self.lent_bytes.set(self.beside_bytes());
        self.store.borrow_mut().lend(self.lent_bytes.get());
    }

    /// What is used beside the store: values that are not complete, or on their way to other shards.
    fn beside_bytes(&self) -> usize {
        self.endpoint.pending_value_bytes() + self.under_way.get()
    }

    /// Looks for dead items, a part of them at a time, for too much memory, and for clients that keep it from being free.
    async fn sweep(&self) {
        for turn in 1_u32.. {
            sleep(SWEEP_EVERY).await;
            if turn.is_multiple_of(SWEEPS_PER_TICK) {
                self.endpoint.tick();
            }
            self.lend();
            let looks = self.store.borrow().pages() / SWEEPS + 1;
            for _ in 0..looks {
                self.store.borrow_mut().poll(self.now_s());
                maybe_yield().await;
            }
            self.prepare(0).await;
            self.look_at_heap();
            let figures = self.store.borrow().figures();
            if figures.held_bytes > figures.limit_bytes / HELD_PART {
                let end_slow = |server: Rc<Self>| async move { server.end_slow() };
                // If other shards have stopped, so will this one.
                let _ = self.peers().invoke_on_all(end_slow).await;
            }
        }
    }

    fn end_slow(&self) {
        let ended = self.connections.end_slow(lowres::now());
        Counters::add(&self.counters.slow_ended, ended);
    }
}

impl Reserve for Server {
    fn free_unused_memory(&self) {
        self.endpoint.free_unused_memory();
        self.spares.free();
    }
}

impl Service for Server {
    /// Ends all connections after the requests that have arrived. A client has [`GRACE`] to take its answers, and is cut off then.
    async fn stop(&self) {
        self.stop.request_abort();
        if with_timeout(GRACE, self.inside.close()).await.is_err() {
            Counters::add(&self.counters.cut_off, self.connections.end_all());
            self.inside.close().await;
        }
        let Counters { operations, connections, cut_off, .. } = &self.counters;
        let (operations, connections, cut_off) = (operations.get(), connections.get(), cut_off.get());
        log::info!("served {operations} operations on {connections} connections: {cut_off} cut off");
    }
}

/// A connection for as long as it is there.
struct Live {
    server: Rc<Server>,
    served: Rc<Served>,
    _inside: GateHolder<Rc<Gate>>,
}

impl Live {
    fn new(server: Rc<Server>, inside: GateHolder<Rc<Gate>>, peer: Option<Address>) -> Self {
        Counters::add(&server.counters.connections, 1);
        Counters::add(&server.counters.live, 1);
        let served = server.connections.enter(peer, server.now_s());
        Self { server, served, _inside: inside }
    }

    /// Serves it until its end. The peer's end is no news, and so are its errors.
    #[expect(
        clippy::manual_async_fn,
        reason = "what an async function is given lies in its future twice, what a block takes once"
    )]
    fn serve(self, mut stream: Stream) -> impl Future<Output = ()> {
        async move {
            let source = self.server.make_known(self.served.peer.as_ref()).await;
            let served = &self.served;
            let ended = with_abort(&served.end, connection::serve(&self.server, &mut stream, served)).await;
            if ended.is_err() {
                stream.abort();
            }
            if let Some(source) = source {
                self.server.forget(source).await;
            }
            if let Ok(Err(_)) = ended
                && planted::is("memcached_connection_kept")
            {
                std::future::pending().await
            }
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.server.connections.leave(&self.served);
        self.server.counters.live.update(|live| live - 1);
        self.server.room.add_units(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It is copied when it is spawned, and an idle connection has all of it.
    #[test]
    fn the_task_of_a_connection_is_small() {
        fn bytes<F>(_: impl Fn(Live, Stream) -> F) -> usize {
            size_of::<F>()
        }
        assert!(bytes(Live::serve) <= 1088, "it has {} bytes", bytes(Live::serve));
    }
}
