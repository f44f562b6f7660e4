//! A shard's server: its items, its connections, its end.

mod hook;
mod sources;
pub(crate) mod udp;

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use sunstar::executor::maybe_yield;
use sunstar::executor::sync::{AbortSource, Semaphore, with_abort};
use sunstar::executor::timer::{sleep, unix_time};
use sunstar::executor::{TaskBuilder, current};
use sunstar::metrics::Registration;
use sunstar::net::{self, Address, Listener, ListenerOptions};
use sunstar::prelude::*;
use sunstar_memcache::{Endpoint, KEYS_AHEAD, KeyHash, Limits, Store};

use crate::connection;
use crate::options::Bounds;

/// The store looks for dead items this often.
const SWEEP_EVERY: Duration = Duration::from_millis(100);

/// So many looks go over all of it.
const SWEEPS: usize = 600;

/// Values that are incomplete may have this part of the memory for items.
const PENDING_PART: usize = 8;

/// What all shards have in common.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) bounds: Bounds,
    pub(crate) port: Option<u16>,
    /// 0 for none.
    pub(crate) udp_port: u16,
    hash: KeyHash,
    pub(crate) started_s: u32,
}

impl Settings {
    /// With a secret of its own.
    pub(crate) fn new(bounds: Bounds, port: Option<u16>, udp_port: u16) -> Self {
        let mut secret = [[0; 8]; 2];
        current::entropy(secret.as_flattened_mut());
        Self { bounds, port, udp_port, hash: KeyHash::new(secret.map(u64::from_le_bytes)), started_s: seconds() }
    }
}

/// What a shard has counted beside its store.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) connections: Cell<u64>,
    pub(crate) live: Cell<u64>,
    pub(crate) held_back: Cell<u64>,
    pub(crate) bytes_read: Cell<u64>,
    pub(crate) bytes_written: Cell<u64>,
    pub(crate) operations: Cell<u64>,
    /// Those of them on items of other shards.
    pub(crate) foreign: Cell<u64>,
    /// Messages that carried them.
    pub(crate) batches: Cell<u64>,
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
    pub(crate) udp: udp::Udp,
    pub(crate) published: OnceCell<Registration>,
    peers: OnceCell<Sharded<Server>>,
    last_s: Cell<u32>,
    stop: AbortSource,
    inside: Rc<Gate>,
    /// How many more connections may be served.
    room: Semaphore,
}

impl Server {
    pub(crate) fn new(settings: Settings) -> Self {
        let shards = shard_count();
        let memory_bytes = settings.bounds.memory_bytes / shards;
        let room = settings.bounds.connections.div_ceil(shards);
        let limits = Limits {
            item_bytes: settings.bounds.item_bytes,
            pending_value_bytes: (memory_bytes / PENDING_PART).max(settings.bounds.item_bytes),
            ..Limits::DEFAULT
        };
        Self {
            settings,
            endpoint: Endpoint::new(limits),
            store: RefCell::new(Store::new(settings.hash, memory_bytes)),
            counters: Counters::default(),
            udp: udp::Udp::default(),
            published: OnceCell::new(),
            peers: OnceCell::new(),
            last_s: Cell::new(0),
            stop: AbortSource::new(),
            inside: Rc::new(Gate::new()),
            room: Semaphore::new(room),
        }
    }

    /// Tells the server of the others, and lets it look after its items.
    pub(crate) fn join(self: Rc<Self>, peers: Sharded<Server>) {
        let _ = self.peers.set(peers);
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

    /// The shard that has a key.
    pub(crate) fn shard_of(&self, key: &[u8]) -> ShardId {
        let shards = u16::try_from(shard_count()).expect("shards have numbers of 16 bits");
        ShardId::new(self.settings.hash.key(key).shard(shards))
    }

    /// Fetches what is needed to find the items of these keys, as far as they are here and not too many, if there are several.
    pub(crate) fn look_ahead<'k>(&self, keys: impl Iterator<Item = &'k [u8]> + Clone) {
        if keys.clone().nth(1).is_none() {
            return;
        }
        let (here, shards) = (shard_id(), shard_count());
        let keys = keys.take(KEYS_AHEAD).map(|key| self.settings.hash.key(key));
        if shards == 1 {
            return self.store.borrow().look_ahead(keys);
        }
        let shards = u16::try_from(shards).expect("shards have numbers of 16 bits");
        self.store.borrow().look_ahead(keys.filter(|key| ShardId::new(key.shard(shards)) == here));
    }

    /// The second since 1970, which never goes backwards.
    pub(crate) fn now_s(&self) -> u32 {
        let now_s = seconds().max(self.last_s.get());
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
        let inside = self.inside.enter_owned().map_err(|_| net::Error::Stopped)?;
        TaskBuilder::new().name("memcached accept").spawn(async move {
            let _inside = inside;
            self.accept(listener).await;
        });
        Ok(address)
    }

    async fn accept(self: Rc<Self>, mut listener: Listener) {
        loop {
            if self.room.available_units() == 0 {
                Counters::add(&self.counters.held_back, 1);
            }
            let Ok(place) = self.room.acquire_unless(&self.stop, 1).await else { return };
            let Ok(Ok(stream)) = with_abort(&self.stop, listener.accept()).await else { return };
            let Ok(inside) = self.inside.enter_owned() else { return };
            place.forget();
            let server = Rc::clone(&self);
            TaskBuilder::new().name("memcached connection").spawn(async move {
                let _inside = inside;
                let live = Live::new(server);
                // The peer's end is no news, and so are its errors.
                let ended = live.0.known(stream.peer_address().ok(), connection::serve(&live.0, stream)).await;
                if ended.is_err() && planted::is("memcached_connection_kept") {
                    std::future::pending().await
                }
            });
            maybe_yield().await;
        }
    }

    fn look(&self) {
        let mut store = self.store.borrow_mut();
        store.lend(self.endpoint.pending_value_bytes());
        store.poll(self.now_s());
    }

    /// Looks for dead items, a part of them at a time.
    async fn sweep(&self) {
        loop {
            sleep(SWEEP_EVERY).await;
            let looks = self.store.borrow().pages() / SWEEPS + 1;
            for _ in 0..looks {
                self.look();
                maybe_yield().await;
            }
        }
    }
}

impl Service for Server {
    /// Ends all connections after the requests that have arrived.
    async fn stop(&self) {
        self.stop.request_abort();
        self.inside.close().await;
        let (operations, connections) = (self.counters.operations.get(), self.counters.connections.get());
        log::info!("served {operations} operations on {connections} connections");
    }
}

/// Counts a connection for as long as it is there.
struct Live(Rc<Server>);

impl Live {
    fn new(server: Rc<Server>) -> Self {
        Counters::add(&server.counters.connections, 1);
        Counters::add(&server.counters.live, 1);
        Self(server)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.counters.live.update(|live| live - 1);
        self.0.room.add_units(1);
    }
}

fn seconds() -> u32 {
    u32::try_from(unix_time().as_secs()).unwrap_or(u32::MAX)
}
