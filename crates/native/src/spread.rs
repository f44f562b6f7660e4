//! How the flows of a device come to the shards.
//!
//! Each flow belongs to one shard, by the hash of its addresses and ports, whether the device has a queue for each shard, fewer or one.
//! What comes to another shard than its own is forwarded by messages; what a shard without a queue sends goes to one that has one.
//! Connections that are opened here take a port whose hash brings the answers back. Only ports that one shard alone has opened are
//! that shard's, whatever the hash says.

mod ports;
mod queue;
mod reach;
mod steer;

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use sunstar_device::{Capabilities, Queue};
use sunstar_executor::{ShardId, current};
use sunstar_packet::Packet;
use sunstar_tcpip::free_ports::FreePorts;
use sunstar_wire::toeplitz::{KEY_BYTES, Toeplitz};
use sunstar_wire::{AddressPair, FourTuple, IpProtocol};

pub(crate) use ports::Claim;
use ports::{FREE_BITS, Ports};
pub use queue::{MAX_FORWARDED_PACKETS, SharedQueue, SpreadCounters};
pub(crate) use steer::CONFIGURED;

/// What the shards agree upon about the devices that all of them use. One for all of them.
pub struct Spread {
    shards: u32,
    hash: Toeplitz,
    reaches_all: bool,
    tcp: Ports,
    udp: Ports,
    /// Shards that end and have nothing more to say.
    quiet: AtomicU32,
}

/// How flows are spread.
#[derive(Clone, Debug, Default)]
pub struct SpreadOptions {
    /// The key of the hash, as a device tells it that chooses queues by it ([`Capabilities::rss_key`]): its packets come to their shards
    /// then, and none of them is forwarded if there is a queue for each shard. Without it, or if it hides ports from the hash, nobody knows
    /// the key, and so nobody can aim many flows at one shard.
    pub rss_key: Option<[u8; KEY_BYTES]>,
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
        let (hash, reaches_all) = hash_reaching_all(shards, &options);
        let (tcp, udp) = (Ports::choosing_from(options.free_tcp), Ports::choosing_from(options.free_udp));
        Arc::new(Self { shards, hash, reaches_all, tcp, udp, quiet: AtomicU32::new(0) })
    }

    /// For so many shards, with a key that everybody knows.
    #[cfg(test)]
    pub(crate) fn of(shards: u32) -> Self {
        Self {
            shards,
            hash: Toeplitz::new(&[0x55; KEY_BYTES]),
            reaches_all: true,
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
            None => self.place(self.hash.hash_flow(flow)),
        }
    }

    /// The shard that puts the pieces of packets together.
    fn owner_of_fragments(&self, addresses: AddressPair) -> usize {
        self.place(self.hash.hash_addresses(addresses))
    }

    fn place(&self, hash: u32) -> usize {
        place(hash, self.shards)
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

/// A hash by which some of the ports that connections are opened from lead to each shard, and whether it does so: if none is found, ports are missing.
fn hash_reaching_all(shards: u32, options: &SpreadOptions) -> (Toeplitz, bool) {
    let (key, ports) = (options.rss_key, &options.free_tcp);
    let most = if key.is_some() || ports.count() < reach::fewest(shards) { 1 } else { reach::MAX_KEYS };
    let mut hashes = (0..most).map(|_| hash(shards, key));
    let found = hashes.find(|hash| reach::reaches_all(hash, shards, ports));
    let reaches_all = found.is_some();
    (found.unwrap_or_else(|| hash(shards, key)), reaches_all)
}

/// A hash with that key, or one that nobody knows. One in some thousand keys hides ports from those bits of the hash that choose the shard:
/// with some of them a shard would find no port for a connection, so none is taken.
fn hash(shards: u32, key: Option<[u8; KEY_BYTES]>) -> Toeplitz {
    if let Some(hash) = key.map(|key| Toeplitz::new(&key)).filter(|hash| shares_out(hash, shards)) {
        return hash;
    }
    loop {
        let mut key = [0; KEY_BYTES];
        current::entropy(&mut key);
        let hash = Toeplitz::new(&key);
        if shares_out(&hash, shards) {
            return hash;
        }
    }
}

/// Whether ports alone lead to all shards, whatever the addresses: those of either side that are chosen for connections, over either version
/// of IP.
///
/// The hash is linear. If the port's bits reach all values of the hash's highest bits, of which a shard has four values at least, they do so
/// beside any other input.
fn shares_out(hash: &Toeplitz, shards: u32) -> bool {
    let bits = (u32::BITS - shards.saturating_sub(1).leading_zeros() + 2).min(FREE_BITS);
    let pairs = [
        AddressPair::V4 { src: Ipv4Addr::UNSPECIFIED, dst: Ipv4Addr::UNSPECIFIED },
        AddressPair::V6 { src: Ipv6Addr::UNSPECIFIED, dst: Ipv6Addr::UNSPECIFIED },
    ];
    let reaches_all = |addresses, is_src| {
        let mut basis: Vec<u32> = Vec::new();
        for port in (0..FREE_BITS).map(|bit| 1_u16 << bit) {
            let (src_port, dst_port) = if is_src { (port, 0) } else { (0, port) };
            let highest = hash.hash_flow(FourTuple { addresses, src_port, dst_port }) >> (u32::BITS - bits);
            let rest = basis.iter().fold(highest, |rest, known| rest.min(rest ^ known));
            basis.extend((rest != 0).then_some(rest));
        }
        basis.len() == bits as usize
    };
    pairs.into_iter().all(|addresses| reaches_all(addresses, false) && reaches_all(addresses, true))
}

/// The shard of so many that a hash stands for.
fn place(hash: u32, shards: u32) -> usize {
    usize::try_from((u64::from(hash) * u64::from(shards)) >> 32).unwrap_or(0)
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::SocketAddr;
    use std::rc::Rc;

    use sunstar_tcpip::tcp::connection::Options;
    use sunstar_tcpip::tcp::secret::Secret;
    use sunstar_tcpip::tcp::sockets::{Limits, Sockets};
    use sunstar_tcpip::time::Instant;
    use sunstar_wire::toeplitz::{MICROSOFT_KEY, SYMMETRIC_KEY};

    use super::*;

    /// As many as there are shards, on average, each of which would be found by chance: not more since there are many, or since many are in use.
    #[test]
    fn each_shard_finds_ports_for_its_answers_among_few() {
        let (src, dst) = (Ipv4Addr::new(10, 0, 0, 1), SocketAddr::from(([10, 0, 0, 2], 80)));
        for (shards, key) in [2, 4, 8].into_iter().flat_map(|shards| [(shards, MICROSOFT_KEY), (shards, SYMMETRIC_KEY)])
        {
            let spread = Rc::new(Spread { hash: hash(shards, Some(key)), ..Spread::of(shards) });
            for here in 0..shards as usize {
                let (looked_at, known) = (Rc::new(Cell::new(0)), Rc::clone(&spread));
                let counted = Rc::clone(&looked_at);
                let mut sockets = Sockets::new(Secret::new([7; 16]), Limits::DEFAULT);
                sockets.set_port_filter(move |flow| {
                    counted.set(counted.get() + 1);
                    known.owner(IpProtocol::TCP, flow.reversed()) == here
                });
                // Most of the ports that this shard can have.
                let most = 28_232 * 8 / 10 / shards;
                for _ in 0..most {
                    let id = sockets.connect(Instant::from_micros(0), (src, 0).into(), dst, Options::DEFAULT);
                    let flow = sockets.flow(id.expect("there are more")).expect("it is ours");
                    assert_eq!(spread.owner(IpProtocol::TCP, flow.reversed()), here);
                }
                let (looked_at, bound) = (looked_at.get(), 2 * shards * most);
                assert!(looked_at < bound, "shard {here} of {shards}: {looked_at} for {most} connections");
            }
        }
    }

    /// Both ends of a flow find the same shard, if both have as many.
    #[test]
    fn a_symmetric_key_leads_both_directions_to_one_shard() {
        let spread = Spread { hash: hash(4, Some(SYMMETRIC_KEY)), ..Spread::of(4) };
        let mut counts = [0; 4];
        for src_port in 1_000..2_000 {
            let addresses = AddressPair::V4 { src: Ipv4Addr::new(10, 0, 0, 1), dst: Ipv4Addr::new(10, 0, 0, 2) };
            let flow = FourTuple { addresses, src_port, dst_port: 80 };
            let shard = spread.owner(IpProtocol::TCP, flow);
            assert_eq!(shard, spread.owner(IpProtocol::TCP, flow.reversed()));
            counts[shard] += 1;
        }
        assert!(counts.iter().all(|count| (200..300).contains(count)), "{counts:?}");
    }

    /// A key whose bits are the same wherever ports lie makes one shard of all ports.
    #[test]
    fn keys_that_hide_ports_are_not_taken() {
        for byte in [0, 0xff] {
            assert!(!shares_out(&Toeplitz::new(&[byte; KEY_BYTES]), 2));
        }
        let published = MICROSOFT_KEY;
        for shards in [1, 2, 3, 7, 64] {
            for key in [published, SYMMETRIC_KEY] {
                assert!(shares_out(&Toeplitz::new(&key), shards), "{shards} shards");
            }
        }
        let mut hidden = published;
        // What the highest bits of the hash take of the destination's port over IPv4.
        hidden[10..14].fill(0);
        assert!(!shares_out(&Toeplitz::new(&hidden), 2));
        // The same but for the highest bit of the port, which all have that are chosen.
        hidden[10] = 0x80;
        assert!(!shares_out(&Toeplitz::new(&hidden), 2));
    }
}
