//! What nearly every packet is: a segment of TCP over IPv4 without IP options, or over IPv6 without extension headers, whole, for us, with
//! all headers in one piece.
//!
//! Such a packet is understood at one look. Whatever is unusual or wrong about another one is for the way that all packets can take
//! (`input`), which then sees it untouched and knows the reason for which to drop it.

use core::net::Ipv4Addr;

use smallvec::SmallVec;
use sunstar_packet::{Checksum, Packet};
use sunstar_wire::checksum::{Sum, pseudo_header};
use sunstar_wire::{
    AddressPair, EtherType, FourTuple, IpProtocol, Ipv4Packet, Ipv6Header, Ipv6Packet, MacAddr, TcpSegment,
};

use super::Stack;
use crate::interface::{InterfaceId, Link};
use crate::tcp::sockets::AHEAD;
use crate::time::Instant;

/// Bytes of an Ethernet header without tags, and of an IPv4 header without options.
const ETHERNET_BYTES: usize = 14;
const IPV4_BYTES: usize = 20;

/// What the headers of such a packet say.
struct Express<'a> {
    flow: FourTuple,
    /// The station that has sent it, where there are stations.
    station: MacAddr,
    view: TcpSegment<'a>,
    /// Bytes of all headers.
    len: usize,
}

impl Stack {
    /// A burst has come by an interface and is going to be handed to [`Stack::handle_packets`]: has what is known of its connections fetched
    /// meanwhile, all at the same time. That pays where there are many, and does nothing where there are few. `also` is told the small
    /// number of each, see [`SocketId::index`](crate::tcp::sockets::SocketId::index), for what others know of it.
    pub fn prefetch<'a>(
        &self,
        id: InterfaceId,
        burst: impl IntoIterator<Item = &'a Packet>,
        mut also: impl FnMut(usize),
    ) {
        if !self.tcp.is_far() {
            return;
        }
        let Some(interface) = self.network.interface(id) else { return };
        let link_len = if interface.mac().is_some() { ETHERNET_BYTES } else { 0 };
        let mut flows: SmallVec<[FourTuple; AHEAD]> = SmallVec::new();
        for packet in burst {
            let flow = packet.buffers().first().and_then(|front| probable_flow(front.get(link_len..)?));
            let Some(flow) = flow.filter(|flow| flows.last() != Some(flow)) else { continue };
            flows.push(flow);
            if flows.len() == AHEAD {
                self.tcp.prefetch(&flows, &mut also);
                flows.clear();
            }
        }
        self.tcp.prefetch(&flows, &mut also);
    }

    /// Takes in such a packet; answers whether it was one. If not, nothing has changed.
    #[inline]
    pub(super) fn input_express(&mut self, now: Instant, id: InterfaceId, packet: &mut Packet) -> bool {
        let Some(Express { flow, station, view, len }) = self.express(id, packet) else {
            return self.input_express_v6(now, id, packet);
        };
        if let AddressPair::V4 { src, dst } = flow.addresses {
            self.batch.hosts = Some((id, self.network.version(), src, dst));
        }
        self.begin_segment(now, (id, station), &flow, &view, packet.len() - len);
        self.take_payload(len, packet);
        true
    }

    /// Whether a packet goes from another host to us. Those of a burst mostly go between the same two.
    #[inline]
    fn is_between_hosts(&self, id: InterfaceId, src: Ipv4Addr, dst: Ipv4Addr) -> bool {
        let is_known = |(of, version, from, to)| {
            (of, from, to) == (id, src, dst) && (version == self.network.version() || planted::is("hosts_kept"))
        };
        self.batch.hosts.is_some_and(is_known)
            || self.network.interface(id).is_some_and(|interface| self.network.is_between_hosts(interface, src, dst))
    }

    #[inline]
    fn express<'a>(&self, id: InterfaceId, packet: &'a Packet) -> Option<Express<'a>> {
        let interface = self.network.interface(id)?;
        let front: &[u8] = packet.buffers().first()?;
        let (front, link_len, station) = match interface.options().link {
            Link::Ethernet(mac) => {
                let ([dst @ .., a, b, c, d, e, f, type_0, type_1], front) =
                    front.split_first_chunk::<ETHERNET_BYTES>()?;
                let is_for_us = *dst == mac.0 && [*type_0, *type_1] == EtherType::IPV4.value().to_be_bytes();
                (is_for_us && packet.offload.vlan.is_none()).then_some((
                    front,
                    ETHERNET_BYTES,
                    MacAddr([*a, *b, *c, *d, *e, *f]),
                ))?
            }
            Link::Ip => (front, 0, MacAddr::BROADCAST),
        };
        let ip = Ipv4Packet::parse_head(front, packet.len() - link_len).ok()?;
        let is_plain = ip.header_len() == IPV4_BYTES && ip.fragment().is_whole() && ip.protocol() == IpProtocol::TCP;
        let has_padding = usize::from(ip.total_len()) != packet.len() - link_len;
        let (src, dst) = (ip.src(), ip.dst());
        if !is_plain || has_padding || !ip.has_valid_checksum() || !self.is_between_hosts(id, src, dst) {
            return None;
        }
        let segment = &front[IPV4_BYTES..];
        let view = TcpSegment::parse(segment).ok()?;
        let addresses = AddressPair::V4 { src, dst };
        if packet.offload.checksum == Checksum::Complete {
            let sum = Sum::of(segment).and_chain(segment.len(), &packet.buffers()[1..]);
            let len = u32::from(ip.total_len()) - 20;
            if !(sum + pseudo_header(addresses, IpProtocol::TCP, len)).is_valid() {
                return None;
            }
        }
        let flow = FourTuple { addresses, src_port: view.src_port(), dst_port: view.dst_port() };
        Some(Express { flow, station, view, len: link_len + IPV4_BYTES + view.header_len() })
    }

    /// The same for IPv6.
    #[inline(never)]
    fn input_express_v6(&mut self, now: Instant, id: InterfaceId, packet: &mut Packet) -> bool {
        let Some(Express { flow, station, view, len }) = self.express_v6(id, packet) else { return false };
        self.begin_segment(now, (id, station), &flow, &view, packet.len() - len);
        self.take_payload(len, packet);
        true
    }

    fn express_v6<'a>(&self, id: InterfaceId, packet: &'a Packet) -> Option<Express<'a>> {
        let interface = self.network.interface(id)?;
        let front: &[u8] = packet.buffers().first()?;
        let link_len = if interface.mac().is_some() { ETHERNET_BYTES } else { 0 };
        let (link, front) = front.split_at_checked(link_len)?;
        let mut station = MacAddr::BROADCAST;
        if let (Some(mac), [dst @ .., a, b, c, d, e, f, type_0, type_1]) = (interface.mac(), link) {
            station = MacAddr([*a, *b, *c, *d, *e, *f]);
            let is_for_us = *dst == mac.0 && [*type_0, *type_1] == EtherType::IPV6.value().to_be_bytes();
            (is_for_us && packet.offload.vlan.is_none()).then_some(())?;
        }
        let len = packet.len() - link_len;
        let ip = Ipv6Packet::parse_head(front, len).ok().filter(|ip| ip.next_header() == IpProtocol::TCP)?;
        let (src, dst) = (ip.src(), ip.dst());
        // Addresses that mean something on one link only are for the other way.
        let is_wide = !src.is_unicast_link_local() && !dst.is_unicast_link_local();
        let is_station = !src.is_multicast() && !src.is_unspecified() && !src.is_loopback() && !dst.is_loopback();
        let is_ours = self.network.is_own_v6(dst) && !self.network.is_own_v6(src);
        let is_spoken = interface.speaks_v6() && !interface.is_loopback();
        if Ipv6Header::LEN + ip.payload_len() != len || !is_wide || !is_station || !is_ours || !is_spoken {
            return None;
        }
        let segment = &front[Ipv6Header::LEN..];
        let view = TcpSegment::parse(segment).ok()?;
        let addresses = AddressPair::V6 { src, dst };
        if packet.offload.checksum == Checksum::Complete {
            let sum = Sum::of(segment).and_chain(segment.len(), &packet.buffers()[1..]);
            let len = u32::try_from(ip.payload_len()).ok()?;
            if !(sum + pseudo_header(addresses, IpProtocol::TCP, len)).is_valid() {
                return None;
            }
        }
        let flow = FourTuple { addresses, src_port: view.src_port(), dst_port: view.dst_port() };
        Some(Express { flow, station, view, len: link_len + Ipv6Header::LEN + view.header_len() })
    }
}

/// The flow of a segment as the usual headers have it; nothing is verified.
fn probable_flow(front: &[u8]) -> Option<FourTuple> {
    let (protocol, addresses, payload) = match Ipv4Packet::parse_head(front, usize::MAX) {
        Ok(ip) => (ip.protocol(), ip.addresses(), ip.payload()),
        Err(_) => {
            let ip = Ipv6Packet::parse_head(front, usize::MAX).ok()?;
            (ip.next_header(), ip.addresses(), ip.payload())
        }
    };
    let [a, b, c, d] = *payload.first_chunk().filter(|_| protocol == IpProtocol::TCP)?;
    let (src_port, dst_port) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    Some(FourTuple { addresses, src_port, dst_port })
}
