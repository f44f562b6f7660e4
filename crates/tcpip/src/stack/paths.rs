//! How segments get to where they go, as it was found out a moment ago.

use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

use sunstar_wire::checksum::{Sum, pseudo_header};
use sunstar_wire::{AddressPair, EtherType, EthernetHeader, IpProtocol, Ipv4Header, Ipv4Template, MacAddr, Vlan};

use super::Stack;
use super::network::{Cast, Way};
use crate::interface::{Capabilities, InterfaceOptions};
use crate::time::Instant;

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
    pub(super) ip: Ipv4Template,
    /// The sum of the pseudo-header, without the length.
    pub(super) pseudo_header: Sum,
    /// Whether packets can leave as they are made.
    pub(super) is_direct: bool,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    src: Ipv4Addr,
    dst: Ipv4Addr,
    path: Path,
    /// As those of interfaces and neighbours were.
    versions: [u32; 2],
    until: Instant,
}

/// Paths by their destinations.
#[derive(Debug, Default)]
pub(super) struct Paths(Vec<Option<Known>>);

/// The place of a destination: neighbours differ in their last bytes, and networks in those before.
const fn slot(dst: Ipv4Addr) -> usize {
    let [a, b, c, d] = dst.octets();
    (a ^ b ^ c ^ d) as usize % SLOTS
}

impl Stack {
    /// The path from one of our addresses to a destination; that there is none is counted.
    #[inline]
    pub(super) fn path(&mut self, now: Instant, src: Ipv4Addr, dst: Ipv4Addr) -> Option<Path> {
        let versions = [self.network.version(), self.neighbours.version()];
        if let Some(Some(known)) = self.paths.0.get(slot(dst))
            && (known.src, known.dst, known.versions) == (src, dst, versions)
            && now < known.until
        {
            return Some(known.path);
        }
        self.find_path(now, src, dst)
    }

    fn find_path(&mut self, now: Instant, src: Ipv4Addr, dst: Ipv4Addr) -> Option<Path> {
        let way = self.way(dst)?;
        let InterfaceOptions { mtu, capabilities, .. } = *self.network.interface(way.interface)?.options();
        let own = self.network.interface(way.interface)?.mac();
        let stations = own.zip(self.neighbour(now, &way));
        let ethernet = stations.map(|(src, dst)| ethernet_header(src, dst));
        let ip = Ipv4Template::new(&Ipv4Header::new(IpProtocol::TCP, src, dst))?;
        let pseudo_header = pseudo_header(AddressPair::V4 { src, dst }, IpProtocol::TCP, 0);
        let is_direct = way.cast == Cast::Unicast && (ethernet.is_some() || own.is_none());
        let path = Path { way, mtu, capabilities, ethernet, ip, pseudo_header, is_direct };
        if is_direct {
            let versions = [self.network.version(), self.neighbours.version()];
            self.paths.0.resize(SLOTS, None);
            self.paths.0[slot(dst)] = Some(Known { src, dst, path, versions, until: now + LIFETIME });
        }
        Some(path)
    }

    /// The station to which packets on a way go, if there is nothing to do but to write it down.
    fn neighbour(&mut self, now: Instant, way: &Way) -> Option<MacAddr> {
        (way.cast == Cast::Unicast).then(|| self.neighbours.known(now, way.interface, way.next_hop)).flatten()
    }
}

fn ethernet_header(src: MacAddr, dst: MacAddr) -> [u8; ETHERNET_BYTES] {
    let header = EthernetHeader { dst, src, vlan: Vlan::Untagged, ethertype: EtherType::IPV4 };
    let mut bytes = [0; ETHERNET_BYTES];
    // One without tags is as long as that.
    bytes.copy_from_slice(&header.to_bytes());
    bytes
}
