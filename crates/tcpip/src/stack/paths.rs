//! How segments get to where they go, as it was found out a moment ago.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use sunstar_packet::{BufferMut, SegmentationKind};
use sunstar_wire::checksum::{Sum, pseudo_header};
use sunstar_wire::{
    AddressPair, EtherType, EthernetHeader, FourTuple, IpProtocol, Ipv4Header, Ipv4Template, Ipv6Header, MacAddr,
    TooLong, Vlan,
};

use super::Stack;
use super::network::{Cast, Way};
use crate::interface::Capabilities;
use crate::time::Instant;
use crate::zone;

/// Destinations whose paths are remembered at most; others take their places.
const SLOTS: usize = 64;

/// For so long: neighbours that are in use must be known to be.
const LIFETIME: Duration = Duration::from_millis(250);

/// Bytes of an Ethernet header without tags.
const ETHERNET_BYTES: usize = 14;

/// What the packets of segments from one address to another have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    pub(super) way: Way,
    pub(super) mtu: u16,
    pub(super) capabilities: Capabilities,
    /// The header of Ethernet frames to a neighbour that is known.
    pub(super) ethernet: Option<[u8; ETHERNET_BYTES]>,
    pub(super) ip: IpFront,
    /// The sum of the pseudo-header, without the length.
    pub(super) pseudo_header: Sum,
    /// Whether packets can leave as they are made.
    pub(super) is_direct: bool,
}

/// The IP header of the packets of a path, without what differs.
#[derive(Clone, Copy, Debug)]
pub(super) enum IpFront {
    V4(Ipv4Template),
    V6(Ipv6Header),
}

impl IpFront {
    fn new(addresses: AddressPair, hop_limit: u8) -> Option<Self> {
        Some(match addresses {
            AddressPair::V4 { src, dst } => Self::V4(Ipv4Template::new(&Ipv4Header::new(IpProtocol::TCP, src, dst))?),
            AddressPair::V6 { src, dst } => {
                Self::V6(Ipv6Header { hop_limit, ..Ipv6Header::new(IpProtocol::TCP, src, dst) })
            }
        })
    }

    /// Bytes of the header.
    #[inline]
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::V4(_) => 20,
            Self::V6(_) => Ipv6Header::LEN,
        }
    }

    /// Bytes of payload that have room in a packet of `mtu` bytes, behind a TCP header of so many.
    #[inline]
    pub(super) fn room(&self, mtu: u16, header_len: usize) -> usize {
        usize::from(mtu) - self.len() - header_len
    }

    /// Puts the header in front of `payload_len` bytes.
    #[inline]
    pub(super) fn push(&self, payload_len: usize, front: &mut BufferMut) -> Result<(), TooLong> {
        match self {
            Self::V4(template) => front.push_front(&template.to_bytes(payload_len)?),
            Self::V6(header) => front.push_front(&header.to_bytes(payload_len)?),
        }
        .map_err(|_| TooLong)
    }

    /// What a device has to know to cut what has it.
    pub(super) const fn segmentation(&self) -> SegmentationKind {
        match self {
            Self::V4(_) => SegmentationKind::Tcpv4,
            Self::V6(_) => SegmentationKind::Tcpv6,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Known {
    addresses: AddressPair,
    path: Path,
    /// As those of interfaces and neighbours were.
    versions: [u32; 2],
    until: Instant,
}

/// Paths by their destinations.
#[derive(Debug, Default)]
pub(super) struct Paths(Vec<Option<Known>>);

/// The place of a destination: neighbours differ in their last bytes, and networks in those before.
#[inline]
const fn slot(addresses: &AddressPair) -> usize {
    let bits = match addresses {
        AddressPair::V4 { dst, .. } => dst.to_bits(),
        AddressPair::V6 { dst, .. } => {
            let [.., net_0, net_1, _, _, _, _, _, _, c, d] = dst.octets();
            u32::from_be_bytes([net_0, net_1, c, d])
        }
    };
    let half = bits ^ (bits >> 16);
    (half ^ (half >> 8)) as usize % SLOTS
}

impl Stack {
    /// The path from one of our addresses to a destination, if it was found out a moment ago: then packets can leave as they are made.
    #[inline]
    pub(super) fn known_path(&self, now: Instant, addresses: &AddressPair) -> Option<&Path> {
        let known = self.paths.0.get(slot(addresses))?.as_ref()?;
        let versions = [self.network.version(), self.neighbours.version()];
        let is_it = known.addresses == *addresses && known.versions == versions && now < known.until;
        is_it.then_some(&known.path)
    }

    /// The path from one of our addresses to a destination, found out anew; that there is none is counted.
    pub(super) fn find_path(&mut self, now: Instant, flow: &FourTuple) -> Option<Path> {
        let addresses = flow.addresses;
        let way = self.way(addresses.dst())?;
        if let (IpAddr::V6(_), Some(sent)) = (way.next_hop, self.tcp.last_delivered(flow)) {
            self.neighbours.confirm(sent, way.interface, way.next_hop);
        }
        let interface = self.network.interface(way.interface)?;
        let (mtu, capabilities) = (interface.mtu_to(way.next_hop), interface.options().capabilities);
        let own = interface.mac();
        let stations = own.zip(self.neighbour(now, &way));
        let ethernet = stations.map(|(src, dst)| ethernet_header(src, dst, ethertype_of(way.next_hop)));
        let on_wire = zone::plain_pair(addresses);
        let ip = IpFront::new(on_wire, self.network.interface(way.interface)?.hop_limit())?;
        let pseudo_header = pseudo_header(on_wire, IpProtocol::TCP, 0);
        let is_direct = way.cast == Cast::Unicast && (ethernet.is_some() || own.is_none());
        let path = Path { way, mtu, capabilities, ethernet, ip, pseudo_header, is_direct };
        if is_direct {
            let versions = [self.network.version(), self.neighbours.version()];
            self.paths.0.resize(SLOTS, None);
            self.paths.0[slot(&addresses)] = Some(Known { addresses, path, versions, until: now + LIFETIME });
        }
        Some(path)
    }

    /// The station to which packets on a way go, if there is nothing to do but to write it down.
    fn neighbour(&mut self, now: Instant, way: &Way) -> Option<MacAddr> {
        (way.cast == Cast::Unicast).then(|| self.neighbours.known(now, way.interface, way.next_hop)).flatten()
    }
}

/// What frames to a station of IP carry.
pub(super) const fn ethertype_of(next_hop: IpAddr) -> EtherType {
    match next_hop {
        IpAddr::V4(_) => EtherType::IPV4,
        IpAddr::V6(_) => EtherType::IPV6,
    }
}

fn ethernet_header(src: MacAddr, dst: MacAddr, ethertype: EtherType) -> [u8; ETHERNET_BYTES] {
    let header = EthernetHeader { dst, src, vlan: Vlan::Untagged, ethertype };
    let mut bytes = [0; ETHERNET_BYTES];
    // One without tags is as long as that.
    bytes.copy_from_slice(&header.to_bytes());
    bytes
}
