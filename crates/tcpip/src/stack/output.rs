//! Packets that leave, from IP down.

use core::net::IpAddr;

use sunstar_packet::Packet;
use sunstar_wire::{AddressPair, EtherType, EthernetHeader, Fragment, Ipv4Header, MacAddr, Vlan};

use super::Stack;
use super::network::{Cast, Way};
use super::paths::ethertype_of;
use crate::drops::DropReason;
use crate::interface::{InterfaceId, MIN_MTU};
use crate::neighbours::{Errand, Output};
use crate::time::Instant;

impl Stack {
    /// Sends a packet whose IP header is in front: it leaves at once, or waits somewhere, or is dropped.
    pub(super) fn link_output(
        &mut self,
        now: Instant,
        way: &Way,
        errand: Errand,
        packet: Packet,
    ) -> Option<(InterfaceId, Packet)> {
        if way.cast == Cast::Local {
            if self.local.len() >= self.limits.loopback_packets {
                self.drop(DropReason::LoopbackQueueFull);
            } else {
                self.local.push_back(packet);
            }
            return None;
        }
        if self.network.interface(way.interface)?.mac().is_none() {
            return Some((way.interface, packet));
        }
        let (dst, packet, is_sent_back) = self.resolve(now, way, errand, packet)?;
        let frame = self.frame(way.interface, dst, ethertype_of(way.next_hop), packet)?;
        self.counters.answers_sent_back += u64::from(is_sent_back);
        Some((way.interface, frame))
    }

    /// The station that gets a packet, if it is known, and whether it is that from which what it answers has come, whoever has its address.
    fn resolve(&mut self, now: Instant, way: &Way, errand: Errand, packet: Packet) -> Option<(MacAddr, Packet, bool)> {
        match way.cast {
            Cast::Broadcast => return Some((MacAddr::BROADCAST, packet, false)),
            Cast::Multicast => {
                let group = match way.next_hop {
                    IpAddr::V4(group) => MacAddr::from_ipv4_multicast(group),
                    IpAddr::V6(group) => MacAddr::from_ipv6_multicast(group),
                };
                return Some((group, packet, false));
            }
            Cast::Unicast | Cast::Local => {}
        }
        let leaving = match self.neighbours.output(now, (way.interface, way.next_hop), errand, packet) {
            Output::Send(mac, packet) => return Some((mac, packet, false)),
            Output::SendBack(mac, packet) => Some((mac, packet, true)),
            Output::Waits { dropped } => {
                if dropped {
                    self.drop(DropReason::NeighbourQueueFull);
                }
                None
            }
            Output::Refused => {
                self.drop(DropReason::NeighbourRate);
                None
            }
        };
        // Who is asked for has taken somebody's place, perhaps: no timer tells of that.
        if self.neighbours.has_forgotten() {
            self.give_up_neighbours(now);
        }
        leaving
    }

    /// Puts an Ethernet header in front.
    pub(super) fn frame(
        &mut self,
        id: InterfaceId,
        dst: MacAddr,
        ethertype: EtherType,
        mut packet: Packet,
    ) -> Option<Packet> {
        let src = self.network.interface(id)?.mac()?;
        let header = EthernetHeader { dst, src, vlan: Vlan::Untagged, ethertype };
        if packet.prepend(&header.to_bytes()).is_err() {
            self.drop(DropReason::TooLong);
            return None;
        }
        Some(packet)
    }

    /// Sends a packet that comes from no connection. What does not fit its way is cut; what fits may be cut by routers only if
    /// the header says so.
    pub(super) fn emit(&mut self, now: Instant, errand: Errand, header: Ipv4Header, packet: Packet) {
        let Some(way) = self.way(header.dst.into()) else { return };
        let mtu = self.mtu(now, &way, header.dst.into());
        if header.header_len() + packet.len() > mtu {
            self.emit_fragments(now, (&way, errand), header, packet, mtu);
            return;
        }
        let header = if header.dont_fragment { header } else { self.identified(header) };
        self.emit_one(now, (&way, errand), &header, packet);
    }

    /// Bytes of the largest packet that goes through to a destination, as far as is known.
    pub(super) fn mtu(&self, now: Instant, way: &Way, dst: IpAddr) -> usize {
        let link = self.network.interface(way.interface).map_or(MIN_MTU, |interface| interface.mtu_to(dst));
        self.path_mtus.lookup(now, dst).map_or(link, |path| path.min(link)).into()
    }

    fn emit_one(&mut self, now: Instant, (way, errand): (&Way, Errand), header: &Ipv4Header, packet: Packet) {
        let Some(packet) = self.with_ipv4_header(header, packet) else { return };
        if let Some(ready) = self.link_output(now, way, errand, packet) {
            self.enqueue(ready);
        }
    }

    /// RFC 791 §3.2.
    fn emit_fragments(
        &mut self,
        now: Instant,
        way: (&Way, Errand),
        header: Ipv4Header,
        mut packet: Packet,
        mtu: usize,
    ) {
        let header = self.identified(Ipv4Header { dont_fragment: false, ..header });
        let room = (mtu - header.header_len()) / 8 * 8;
        let mut offset = 0;
        while !packet.is_empty() {
            let len = room.min(packet.len());
            let Ok(part) = packet.split_to(len) else { return };
            let fragment = u16::try_from(offset).ok().and_then(|offset| Fragment::new(offset, !packet.is_empty()));
            let Some(fragment) = fragment else {
                self.drop(DropReason::TooLong);
                return;
            };
            self.counters.fragments_sent += 1;
            self.emit_one(now, way, &Ipv4Header { fragment, ..header }, part);
            offset += len;
        }
    }

    /// RFC 6864 §4.3: what may be cut has a number that is not used again soon between the same addresses, and that tells
    /// nothing about what is sent elsewhere.
    fn identified(&mut self, header: Ipv4Header) -> Ipv4Header {
        let addresses = AddressPair::V4 { src: header.src, dst: header.dst };
        let [a, b, _, slot] = self.secret.identification(addresses, header.protocol).to_be_bytes();
        let count = &mut self.identifications[usize::from(slot)];
        *count = count.wrapping_add(1);
        Ipv4Header { identification: u16::from_be_bytes([a, b]).wrapping_add(*count), ..header }
    }

    /// Puts a packet into the queue of those that leave next.
    pub(super) fn enqueue(&mut self, ready: (InterfaceId, Packet)) {
        if self.outgoing.has_room(ready.0, self.limits.outgoing_packets) {
            self.outgoing.push(ready);
        } else {
            self.drop(DropReason::OutgoingQueueFull);
        }
    }

    /// Puts an IP header in front.
    pub(super) fn with_ipv4_header(&mut self, header: &Ipv4Header, mut packet: Packet) -> Option<Packet> {
        let is_done = header.to_bytes(packet.len()).is_ok_and(|bytes| packet.prepend(&bytes).is_ok());
        if !is_done {
            self.drop(DropReason::TooLong);
        }
        is_done.then_some(packet)
    }

    /// The way to a destination; that there is none is counted.
    pub(super) fn way(&mut self, dst: IpAddr) -> Option<Way> {
        let way = self.network.way(dst);
        if way.is_none() {
            self.drop(DropReason::NoRoute);
        }
        way
    }
}
