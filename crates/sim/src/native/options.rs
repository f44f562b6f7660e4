//! What a host with a native network is made with.

use sunstar_native::NetworkOptions;
use sunstar_tcpip::tcp::congestion::AlgorithmName;
use sunstar_tcpip::tcp::connection;

use super::gateway::GatewayOptions;
use crate::ether::{LanId, PortOptions};
use crate::random::Random;

/// What a host with a native network is made with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NativeOptions {
    /// How many shards it has.
    pub shards: usize,
    /// Its devices, which all shards share.
    pub ports: Vec<PortOptions>,
    /// Its TCP/IP.
    pub network: NetworkOptions,
    /// Whether it asks a DHCP server for its address of IPv4 on the first device, which is the one that [`resolve`](crate::resolve) tells.
    pub asks_dhcp: bool,
    /// Whether it makes its address of IPv6 on the first device of what a router advertises (RFC 4862). [`resolve_v6`](crate::resolve_v6)
    /// tells it when there is one.
    pub follows_routers: bool,
    /// What it gives others.
    pub gateway: Option<GatewayOptions>,
}

impl NativeOptions {
    /// A host of one shard with these devices.
    pub fn new(ports: impl IntoIterator<Item = PortOptions>) -> Self {
        Self {
            shards: 1,
            ports: ports.into_iter().collect(),
            network: NetworkOptions::DEFAULT,
            asks_dhcp: false,
            follows_routers: false,
            gateway: None,
        }
    }

    /// Options drawn at random, for a host with a device on a local network, or two.
    pub fn drawn(random: &mut Random, lan: LanId) -> Self {
        let shards = 1 + random.index(3);
        let count = 1 + u64::from(random.below(4) == 0);
        let ports: Vec<_> = (0..count).map(|_| PortOptions::drawn(random, lan, shards)).collect();
        let size = |random: &mut Random| 2_048 << random.between(0, 8);
        let (receive_capacity, send_capacity) = (size(random), size(random));
        let mut network = NetworkOptions::DEFAULT;
        network.tcp = connection::Options {
            receive_capacity,
            max_receive_capacity: if random.below(2) == 0 { 1 << 20 } else { receive_capacity },
            send_capacity,
            max_send_capacity: if random.below(2) == 0 { 1 << 20 } else { send_capacity },
            congestion: if random.below(2) == 0 { AlgorithmName::Cubic } else { AlgorithmName::NewReno },
            is_no_delay: random.below(2) == 0,
            offers_timestamps: random.below(4) != 0,
            offers_sack: random.below(4) != 0,
            paced_from_micros: [0, 5_000, u32::MAX][random.index(3)],
            max_pacing_rate: if random.below(8) == 0 { 50_000 << random.between(0, 10) } else { u64::MAX },
            ..network.tcp
        };
        // Small enough to be reached.
        network.limits.tcp.time_wait = 2 << random.between(0, 8);
        network.limits.tcp.replies = 2 << random.between(0, 8);
        network.limits.outgoing_packets = 16 << random.between(0, 8);
        Self { shards, network, ..Self::new(ports) }
    }
}
