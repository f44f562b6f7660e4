//! Packets that leave, from IP down.

use core::net::Ipv4Addr;

use sunstar_packet::Packet;
use sunstar_wire::{EtherType, EthernetHeader, Ipv4Header, MacAddr, Vlan};

use super::Stack;
use super::network::{Cast, Way};
use crate::drops::DropReason;
use crate::interface::InterfaceId;
use crate::neighbours::Output;
use crate::time::Instant;

impl Stack {
    /// Sends a packet whose IP header is in front: it leaves at once, or waits somewhere, or is dropped.
    pub(super) fn link_output(&mut self, now: Instant, way: &Way, packet: Packet) -> Option<(InterfaceId, Packet)> {
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
        let (dst, packet) = self.resolve(now, way, packet)?;
        self.frame(way.interface, dst, EtherType::IPV4, packet).map(|frame| (way.interface, frame))
    }

    /// The station that gets a packet, if it is known.
    fn resolve(&mut self, now: Instant, way: &Way, packet: Packet) -> Option<(MacAddr, Packet)> {
        match way.cast {
            Cast::Broadcast => return Some((MacAddr::BROADCAST, packet)),
            Cast::Multicast => return Some((MacAddr::from_ipv4_multicast(way.next_hop), packet)),
            Cast::Unicast | Cast::Local => {}
        }
        match self.neighbours.output(now, way.interface, way.next_hop, packet) {
            Output::Send(mac, packet) => Some((mac, packet)),
            Output::Waits { dropped } => {
                if dropped {
                    self.drop(DropReason::NeighbourQueueFull);
                }
                None
            }
        }
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

    /// Puts a packet into the queue of those that leave next.
    pub(super) fn enqueue(&mut self, ready: (InterfaceId, Packet)) {
        if self.outgoing.len() >= self.limits.outgoing_packets {
            self.drop(DropReason::OutgoingQueueFull);
        } else {
            self.outgoing.push_back(ready);
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
    pub(super) fn way(&mut self, dst: Ipv4Addr) -> Option<Way> {
        let way = self.network.way(dst);
        if way.is_none() {
            self.drop(DropReason::NoRoute);
        }
        way
    }
}
