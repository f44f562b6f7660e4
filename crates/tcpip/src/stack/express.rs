//! What nearly every packet is: a segment of TCP over IPv4 without IP options, whole, for us, with all headers in one piece.
//!
//! Such a packet is understood at one look. Whatever is unusual or wrong about another one is for the way that all packets can take
//! (`input`), which then sees it untouched and knows the reason for which to drop it.

use sunstar_packet::{Checksum, Packet};
use sunstar_wire::checksum::{Sum, pseudo_header};
use sunstar_wire::{AddressPair, EtherType, FourTuple, IpProtocol, Ipv4Packet, TcpHeader, TcpSegment};

use super::Stack;
use crate::interface::{InterfaceId, Link};
use crate::time::Instant;

/// Bytes of an Ethernet header without tags, and of an IPv4 header without options.
const ETHERNET_BYTES: usize = 14;
const IPV4_BYTES: usize = 20;

/// What the headers of such a packet say.
struct Express {
    flow: FourTuple,
    header: TcpHeader,
    /// Bytes of all headers.
    len: usize,
}

impl Stack {
    /// Takes in such a packet; answers whether it was one. If not, nothing has changed.
    #[inline]
    pub(super) fn input_express(&mut self, now: Instant, id: InterfaceId, packet: &mut Packet) -> bool {
        let Some(Express { flow, header, len }) = self.express(id, packet) else { return false };
        // They are there: all of them were looked at.
        let _ = packet.trim_front(len);
        self.input_segment(now, id, &flow, &header, packet);
        true
    }

    #[inline]
    fn express(&self, id: InterfaceId, packet: &Packet) -> Option<Express> {
        let interface = self.network.interface(id)?;
        let front: &[u8] = packet.buffers().first()?;
        let (front, link_len) = match interface.options().link {
            Link::Ethernet(mac) => {
                let ([dst @ .., _, _, _, _, _, _, type_0, type_1], front) =
                    front.split_first_chunk::<ETHERNET_BYTES>()?;
                let is_for_us = *dst == mac.0 && [*type_0, *type_1] == EtherType::IPV4.value().to_be_bytes();
                (is_for_us && packet.offload.vlan.is_none()).then_some((front, ETHERNET_BYTES))?
            }
            Link::Ip => (front, 0),
        };
        let ip = Ipv4Packet::parse_head(front, packet.len() - link_len).ok()?;
        let is_plain = ip.header_len() == IPV4_BYTES && ip.fragment().is_whole() && ip.protocol() == IpProtocol::TCP;
        let has_padding = usize::from(ip.total_len()) != packet.len() - link_len;
        let (src, dst) = (ip.src(), ip.dst());
        if !is_plain || has_padding || !ip.has_valid_checksum() || !self.network.is_between_hosts(interface, src, dst) {
            return None;
        }
        let segment = &front[IPV4_BYTES..];
        let view = TcpSegment::parse(segment).ok()?;
        let addresses = AddressPair::V4 { src, dst };
        if packet.offload.checksum == Checksum::Complete {
            let rest = packet.buffers()[1..].iter().map(|buffer| &buffer[..]);
            let sum = Sum::of_chain(core::iter::once(segment).chain(rest));
            let len = u32::from(ip.total_len()) - 20;
            if !(sum + pseudo_header(addresses, IpProtocol::TCP, len)).is_valid() {
                return None;
            }
        }
        let flow = FourTuple { addresses, src_port: view.src_port(), dst_port: view.dst_port() };
        Some(Express { flow, header: view.header(), len: link_len + IPV4_BYTES + view.header_len() })
    }
}
