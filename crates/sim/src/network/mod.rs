//! The simulated network: streams and datagrams between hosts, under the contract of `sunstar_net::socket`.

mod connect;
mod connection;
mod datagram;
mod half;
mod host_net;
mod listener;
mod stack;
mod stream;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use sunstar_net::Error;

use crate::options::{NETWORK_STREAM, NetworkOptions, draw_time};
use crate::random::Random;
use crate::trace::Side;
use crate::world::World;

pub(crate) use connection::Connection;
pub(crate) use stack::SimStack;

use datagram::Datagram;
use host_net::HostNet;
use stream::Tag;

/// What the network has to do at some time.
pub(crate) enum Event {
    /// The next thing that this side has sent arrives.
    Arrival(Rc<Connection>, Side),
    /// A request to connect arrives.
    Request(Rc<Connection>),
    /// Nobody has answered a request to connect.
    Unanswered(Rc<Connection>, Error),
    /// A closed side has had its time to send what was left.
    Lingered(Weak<Connection>, Side),
    /// A datagram arrives.
    Datagram(Box<Datagram>),
}

/// What the network has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkCounters {
    /// Connections that were asked for.
    pub connections: u64,
    /// Connections that were refused, because nobody listens or by chance.
    pub refused: u64,
    /// Requests to connect that met a full backlog.
    pub full_backlogs: u64,
    /// Connections that were reset by chance.
    pub injected_resets: u64,
    /// Segments sent on streams.
    pub segments: u64,
    /// Bytes in them.
    pub stream_bytes: u64,
    /// Datagrams sent.
    pub datagrams: u64,
    /// Datagrams lost by chance.
    pub lost_datagrams: u64,
    /// Datagrams doubled by chance.
    pub duplicated_datagrams: u64,
    /// Datagrams that met a full queue or nobody.
    pub dropped_datagrams: u64,
}

/// What exists of the network now.
#[derive(Default)]
pub(crate) struct Gauges {
    pub(crate) sockets: Cell<u64>,
    pub(crate) connections: Cell<u64>,
    /// Buffers that were read from sockets and still exist.
    pub(crate) buffers: Cell<u64>,
}

pub(crate) fn add(cell: &Cell<u64>, count: u64) {
    cell.set(cell.get() + count);
}

pub(crate) fn subtract(cell: &Cell<u64>, count: u64) {
    cell.set(cell.get() - count);
}

/// The network between all hosts of a world, and within each.
pub(crate) struct Network {
    pub(crate) world: Rc<World>,
    pub(crate) options: NetworkOptions,
    random: RefCell<Random>,
    hosts: RefCell<Vec<HostNet>>,
    next_connection: Cell<u64>,
    connections: RefCell<BTreeMap<u64, Weak<Connection>>>,
    /// Streams that belong to no shard.
    detached: RefCell<BTreeMap<u64, (Rc<Connection>, Side)>>,
    next_detached: Cell<u64>,
    tag: Arc<Tag>,
    pub(crate) gauges: Rc<Gauges>,
    counters: Cell<NetworkCounters>,
    violation: RefCell<Option<String>>,
    /// Addresses of IPv6 that hosts have made themselves, by the one of IPv4 that each has from the beginning.
    made_v6: RefCell<BTreeMap<Ipv4Addr, Ipv6Addr>>,
}

/// The address of the host with a number.
pub(crate) fn host_address(number: usize) -> Ipv4Addr {
    HostNet::address(number)
}

impl Network {
    pub(crate) fn new(world: Rc<World>, seed: u64, options: NetworkOptions) -> Self {
        let tag = Arc::new(Tag::new(world.sender()));
        Self {
            world,
            options,
            random: RefCell::new(Random::stream(seed, NETWORK_STREAM)),
            hosts: RefCell::default(),
            next_connection: Cell::new(0),
            connections: RefCell::default(),
            detached: RefCell::default(),
            next_detached: Cell::new(0),
            tag,
            gauges: Rc::default(),
            counters: Cell::default(),
            violation: RefCell::default(),
            made_v6: RefCell::default(),
        }
    }

    /// A host has made itself an address.
    pub(crate) fn note_v6(&self, host: Ipv4Addr, address: Ipv6Addr) {
        self.made_v6.borrow_mut().insert(host, address);
    }

    /// The newest address that a host has made itself.
    pub(crate) fn made_v6(&self, host: Ipv4Addr) -> Option<Ipv6Addr> {
        self.made_v6.borrow().get(&host).copied()
    }

    /// Gives the next host its place in the network.
    pub(crate) fn add_host(&self, name: &str) -> Ipv4Addr {
        let mut hosts = self.hosts.borrow_mut();
        let ip = HostNet::address(hosts.len());
        let first_port = self.random.borrow_mut().index(HostNet::EPHEMERAL_PORTS);
        hosts.push(HostNet::new(name.to_owned(), ip, first_port));
        ip
    }

    /// The address of the host with this name.
    pub(crate) fn resolve(&self, name: &str) -> Option<Ipv4Addr> {
        self.hosts.borrow().iter().find(|host| host.name == name).map(|host| host.ip)
    }

    fn with_host<R>(&self, host: usize, f: impl FnOnce(&mut HostNet) -> R) -> R {
        f(&mut self.hosts.borrow_mut()[host])
    }

    pub(crate) fn random(&self) -> std::cell::RefMut<'_, Random> {
        self.random.borrow_mut()
    }

    /// How long something is under way.
    fn delay(&self, is_local: bool) -> Duration {
        let random = &mut *self.random.borrow_mut();
        let options = &self.options;
        if is_local {
            return draw_time(random, &options.local_latency);
        }
        let held_up = options.hold_up.happens(random).then(|| draw_time(random, &options.hold_up_time));
        draw_time(random, &options.latency) + held_up.unwrap_or_default()
    }

    fn count(&self, change: impl FnOnce(&mut NetworkCounters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    pub(crate) fn counters(&self) -> NetworkCounters {
        self.counters.get()
    }

    /// Notes that the network's promises were broken. The first time counts.
    fn violate(&self, what: String) {
        self.violation.borrow_mut().get_or_insert(what);
    }

    pub(crate) fn take_violation(&self) -> Option<String> {
        self.violation.take()
    }

    /// Does what is due.
    pub(crate) fn handle(self: &Rc<Self>, event: Event) {
        match event {
            Event::Arrival(connection, from) => connection.arrive(from),
            Event::Request(connection) => self.requested(&connection),
            Event::Unanswered(connection, error) => connection.fail(Side::Client, error),
            Event::Lingered(connection, side) => {
                if let Some(connection) = connection.upgrade() {
                    connection.lingered(side);
                }
            }
            Event::Datagram(datagram) => self.arrive(*datagram),
        }
    }

    /// A stream that belonged to no shard is not wanted.
    pub(crate) fn abandon(&self, number: u64) {
        if planted::is("leaked_stream") {
            return;
        }
        let abandoned = self.detached.borrow_mut().remove(&number);
        if let Some((connection, side)) = abandoned {
            connection.close(side);
        }
    }

    /// What tasks wait for on connections, for the report of a deadlock.
    pub(crate) fn waits(&self) -> Vec<String> {
        let connections = self.connections.borrow();
        connections.values().filter_map(Weak::upgrade).flat_map(|connection| connection.waits()).collect()
    }

    /// What still exists although nobody should have it, by name and number.
    pub(crate) fn leaks(&self) -> Vec<(&'static str, u64)> {
        let kinds = [
            ("sockets", self.gauges.sockets.get()),
            ("streams between shards", self.detached.borrow().len() as u64),
            ("connections", self.gauges.connections.get()),
            ("buffers read from sockets", self.gauges.buffers.get()),
        ];
        kinds.into_iter().filter(|&(_, count)| count > 0).collect()
    }

    /// Breaks the circles of references, so that all is freed.
    pub(crate) fn clear(&self) {
        drop(self.detached.take());
    }
}
