//! Packets of IPv6 that leave.

use core::net::Ipv6Addr;

use sunstar_packet::Packet;
use sunstar_wire::{AddressPair, Fragment, IpProtocol, Ipv6Fragment, Ipv6Header};

use super::Stack;
use super::network::{Cast, Way};
use crate::drops::DropReason;
use crate::interface::{InterfaceId, MIN_MTU_V6};
use crate::neighbours::Errand;
use crate::time::Instant;

impl Stack {
    /// Sends a packet that comes from no connection. What does not fit its way is cut (RFC 8200 §4.5).
    pub(super) fn emit_v6(&mut self, now: Instant, (way, errand): (&Way, Errand), header: Ipv6Header, packet: Packet) {
        let mtu = self.mtu(now, way, header.dst.into());
        // What goes to groups is for those nearby (RFC 3493 §5.2).
        let link = || self.network.interface(way.interface).map_or(header.hop_limit, |interface| interface.hop_limit());
        let hop_limit = if way.cast == Cast::Multicast { 1 } else { link() };
        let header = Ipv6Header { hop_limit, ..header };
        if Ipv6Header::LEN + packet.len() > mtu {
            self.emit_pieces(now, (way, errand), header, packet, mtu);
            return;
        }
        self.emit_one_v6(now, (way, errand), &header, packet);
    }

    fn emit_one_v6(&mut self, now: Instant, (way, errand): (&Way, Errand), header: &Ipv6Header, packet: Packet) {
        let Some(packet) = self.with_ipv6_header(header, packet) else { return };
        if let Some(ready) = self.link_output(now, way, errand, packet) {
            self.enqueue(ready);
        }
    }

    fn emit_pieces(&mut self, now: Instant, way: (&Way, Errand), header: Ipv6Header, mut packet: Packet, mtu: usize) {
        let identification = self.identification_v6(&header);
        let mtu = mtu.max(MIN_MTU_V6.into());
        let room = (mtu - Ipv6Header::LEN - Ipv6Fragment::LEN) / 8 * 8;
        let next_header = header.next_header;
        let mut offset = 0;
        while !packet.is_empty() {
            let len = room.min(packet.len());
            let Ok(mut part) = packet.split_to(len) else { return };
            let fragment = u16::try_from(offset).ok().and_then(|offset| Fragment::new(offset, !packet.is_empty()));
            let fragment = fragment.map(|fragment| Ipv6Fragment { next_header, fragment, identification }.to_bytes());
            if fragment.is_none_or(|bytes| part.prepend(&bytes).is_err()) {
                self.drop(DropReason::TooLong);
                return;
            }
            self.counters.fragments_sent += 1;
            self.emit_one_v6(now, way, &Ipv6Header { next_header: IpProtocol::FRAGMENT, ..header }, part);
            offset += len;
        }
    }

    /// RFC 7739 §5.3: numbers that are not used again soon, and that tell nothing of what is sent elsewhere.
    fn identification_v6(&mut self, header: &Ipv6Header) -> u32 {
        let addresses = AddressPair::V6 { src: header.src, dst: header.dst };
        let hash = self.secret.identification(addresses, header.next_header);
        let [.., slot] = hash.to_be_bytes();
        let count = &mut self.identifications_v6[usize::from(slot)];
        *count = count.wrapping_add(1);
        hash.wrapping_add(*count)
    }

    /// Puts an IP header in front.
    pub(super) fn with_ipv6_header(&mut self, header: &Ipv6Header, mut packet: Packet) -> Option<Packet> {
        let is_done = header.to_bytes(packet.len()).is_ok_and(|bytes| packet.prepend(&bytes).is_ok());
        if !is_done {
            self.drop(DropReason::TooLong);
        }
        is_done.then_some(packet)
    }

    /// The way to a destination; what means something on one link only leaves by the interface where that was heard of.
    pub(super) fn way_back(&mut self, id: InterfaceId, dst: Ipv6Addr) -> Option<Way> {
        let (interface, next_hop) = (id, dst.into());
        if dst.is_multicast() {
            return Some(Way { interface, next_hop, cast: Cast::Multicast });
        }
        let is_here = dst.is_unicast_link_local() && !self.network.is_own_v6(dst);
        if is_here { Some(Way { interface, next_hop, cast: Cast::Unicast }) } else { self.way(next_hop) }
    }
}
