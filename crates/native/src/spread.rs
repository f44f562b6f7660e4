//! How the flows of a device come to the shards.
//!
//! Each flow belongs to one shard, by the hash of its addresses and ports, whether the device has a queue for each shard, fewer or one.
//! What comes to another shard than its own is forwarded by messages; what a shard without a queue sends goes to one that has one.
//! Connections that are opened here take a port whose hash brings the answers back. Only ports that one shard alone has opened are
//! that shard's, whatever the hash says.

mod placement;
mod ports;
mod queue;
mod reach;
mod steer;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use sunstar_device::{Capabilities, FlowHash, Queue};
use sunstar_executor::{ShardId, current};
use sunstar_packet::Packet;
use sunstar_tcpip::free_ports::FreePorts;
use sunstar_wire::{AddressPair, FourTuple, IpProtocol};

use placement::{Choice, Placement};
pub(crate) use ports::Claim;
use ports::Ports;
pub use queue::{MAX_FORWARDED_PACKETS, SharedQueue, SpreadCounters};
pub(crate) use steer::CONFIGURED;

/// What the shards agree upon about the devices that all of them use. One for all of them.
pub struct Spread {
    shards: u32,
    placement: Placement,
    reaches_all: bool,
    follows_devices: bool,
    tcp: Ports,
    udp: Ports,
    /// Shards that end and have nothing more to say.
    quiet: AtomicU32,
}

/// How flows are spread.
#[derive(Clone, Debug, Default)]
pub struct SpreadOptions {
    /// The hash by which a device chooses queues, as it tells it ([`Capabilities::rss`]): its packets come to their shards then, and none of
    /// them is forwarded if there is a queue for each shard. Without it, or if by it shards would have no flows, or no ports for connections
    /// that they have otherwise, the key is one that nobody knows, and so nobody can aim many flows at one shard.
    pub rss: Option<FlowHash>,
    /// The ports of TCP from which one is chosen if none is named: for networks that
    /// [know no others](crate::Network::with_free_ports).
    pub free_tcp: FreePorts,
    /// The same of UDP.
    pub free_udp: FreePorts,
}

impl Spread {
    /// For the program's shards, on one of which this is to be called. No device yet.
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn new() -> Arc<Self> {
        Self::with_options(SpreadOptions::default())
    }

    /// The same with options.
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn with_options(options: SpreadOptions) -> Arc<Self> {
        let shards = at_least_one(current::shard_count());
        let Choice { placement, reaches_all, is_told } = placement::choose(shards, options.rss, &options.free_tcp);
        let (tcp, udp) = (Ports::choosing_from(options.free_tcp), Ports::choosing_from(options.free_udp));
        Arc::new(Self { shards, placement, reaches_all, follows_devices: is_told, tcp, udp, quiet: AtomicU32::new(0) })
    }

    /// For so many shards, with a key that everybody knows.
    #[cfg(test)]
    pub(crate) fn of(shards: u32) -> Self {
        Self {
            shards,
            placement: Placement::of(shards),
            reaches_all: true,
            follows_devices: false,
            tcp: Ports::default(),
            udp: Ports::default(),
            quiet: AtomicU32::new(0),
        }
    }

    /// Whether each shard finds a port of TCP for a connection, wherever that leads, as long as all are free. It may not if few ports were given: answers
    /// come to the shard that the hash chooses, so a shard takes only such ports as lead to it.
    pub fn reaches_all_shards(&self) -> bool {
        self.reaches_all
    }

    /// Whether flows have the shards that the devices' own hash says ([`SpreadOptions::rss`]).
    pub fn follows_devices(&self) -> bool {
        self.follows_devices
    }

    /// The current shard ends, and its last connection is gone. To be called once.
    pub(crate) fn note_quiet(&self) {
        self.quiet.fetch_add(1, Ordering::Relaxed);
    }

    /// How many shards end and have no connections any more.
    pub(crate) fn quiet(&self) -> u32 {
        self.quiet.load(Ordering::Relaxed)
    }

    /// How many shards there are.
    pub(crate) const fn shards(&self) -> u32 {
        self.shards
    }

    /// A device with so many queues, of which shard 0 has the first one, shard 1 the second one and so on.
    pub fn add_device(self: &Arc<Self>, queues: usize) -> SharedDevice {
        SharedDevice { spread: Arc::clone(self), id: next_id(), queues: at_least_one(queues) }
    }

    /// Who has opened which ports.
    fn ports(&self, protocol: IpProtocol) -> &Ports {
        if protocol == IpProtocol::UDP { &self.udp } else { &self.tcp }
    }

    /// The current shard opens a port of TCP or UDP. Port 0 stands for one that is free: with [`Claim::Shared`] that of the other
    /// shards' `nth` such call. None if the port is in use.
    pub(crate) fn open(self: &Arc<Self>, protocol: IpProtocol, port: u16, claim: Claim, nth: usize) -> Option<Lease> {
        let (ports, shard) = (self.ports(protocol), u16::try_from(current::shard_id().index()).ok()?);
        let lease = |port| Lease { spread: Arc::clone(self), protocol, port };
        let port = match claim {
            _ if port != 0 => port,
            Claim::Alone => return ports.open_any(crate::network::random(), shard).map(lease),
            Claim::Shared => ports.shared_port(nth, crate::network::random())?,
        };
        ports.open(port, claim, shard).then(|| lease(port))
    }

    /// The shard to which a flow belongs; `flow` is that of what comes.
    pub(crate) fn owner(&self, protocol: IpProtocol, flow: FourTuple) -> usize {
        match self.ports(protocol).pinned_to(flow.dst_port) {
            Some(shard) => shard.into(),
            None => self.placement.of_flow(flow),
        }
    }

    /// The shard that puts the pieces of packets together.
    fn owner_of_fragments(&self, addresses: AddressPair) -> usize {
        self.placement.of_addresses(addresses)
    }
}

/// A number that nothing else here has.
fn next_id() -> u64 {
    static NEXT_ID: AtomicU64 = AtomicU64::new(0);
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

fn at_least_one(count: usize) -> u32 {
    u32::try_from(count.max(1)).unwrap_or(u32::MAX)
}

/// A device that all shards use.
#[derive(Clone, Debug)]
pub struct SharedDevice {
    spread: Arc<Spread>,
    /// Tells it from others of the process.
    id: u64,
    queues: u32,
}

impl SharedDevice {
    /// The current shard's end of the device, if the shard has a queue of it.
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn attach(&self, queue: Box<dyn Queue>) -> SharedQueue {
        let capabilities = queue.capabilities().clone();
        SharedQueue::new(self.clone(), Some(queue), capabilities)
    }

    /// The current shard's end of the device, if the shard has no queue of it; the others' have these capabilities.
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn attach_without_queue(&self, capabilities: Capabilities) -> SharedQueue {
        SharedQueue::new(self.clone(), None, capabilities)
    }

    /// What the current shard has forwarded.
    ///
    /// # Panics
    /// Outside of any shard.
    pub(crate) fn counters(&self) -> SpreadCounters {
        queue::counters(self.id)
    }

    /// Hands a packet to the current shard's end of the device as if it had just come.
    pub(crate) fn give_back(&self, packet: Packet) {
        queue::give_back(self.id, packet);
    }

    /// The shard that sends for one that has no queue.
    fn sender_for(&self, shard: ShardId) -> usize {
        shard.index() % self.queues as usize
    }
}

/// A port that is open, until this is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    spread: Arc<Spread>,
    protocol: IpProtocol,
    pub(crate) port: u16,
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Connections outlive their listener.
        self.spread.ports(self.protocol).close(self.port, self.protocol == IpProtocol::TCP);
    }
}

impl fmt::Debug for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spread").field("shards", &self.shards).finish_non_exhaustive()
    }
}
