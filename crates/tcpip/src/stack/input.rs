//! Packets that come in, as far as IP goes.

use core::mem::take;
use core::net::IpAddr;

use sunstar_packet::Packet;
use sunstar_wire::{
    EtherType, EthernetFrame, EthernetHeader, IpProtocol, Ipv4Header, Ipv4Packet, MacAddr, UnreachableCode, Vlan,
};

use super::groups::ALL_SYSTEMS;
use super::{Stack, is_v4_station};
use crate::drops::DropReason;
use crate::filter::Direction;
use crate::head::Head;
use crate::interface::{InterfaceId, Link};
use crate::neighbours::Errand;
use crate::time::Instant;

/// Bytes of an Ethernet header without tags, and with two.
const ETHERNET_BYTES: usize = 14;
const TAGGED_BYTES: usize = 22;
/// Bytes of an IPv4 header without options.
const IPV4_BYTES: usize = 20;

/// Loose and strict source routes, as they stand among the options.
const SOURCE_ROUTES: [u8; 2] = [131, 137];

/// What the IP header of a packet said, and how it came.
#[derive(Clone, Debug)]
pub(super) struct Arrived {
    pub(super) interface: InterfaceId,
    pub(super) head: Head,
    /// Bytes behind the headers.
    pub(super) payload_len: usize,
    /// Whether it came to more stations than us, by either address.
    pub(super) is_broadcast: bool,
    /// The station that has sent it, if another one has.
    pub(super) station: Option<MacAddr>,
}

impl Arrived {
    /// Why it is answered.
    pub(super) fn errand(&self) -> Errand {
        Errand::Answer(self.station.map(|station| (self.interface, station)))
    }
}

/// How a packet came over its link.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByLink {
    pub(super) interface: InterfaceId,
    /// Whether it came to more stations than us.
    pub(super) is_broadcast: bool,
    /// See [`Arrived::station`].
    pub(super) station: Option<MacAddr>,
}

/// Whether a frame is one that is taken in as far as its tags go: a tag without a VLAN only has a priority (IEEE 802.1Q §6.9.3).
pub(super) fn is_of_no_vlan(header: &EthernetHeader, packet: &Packet) -> bool {
    let tag = match header.vlan {
        Vlan::Untagged => packet.offload.vlan,
        Vlan::Tagged(tag) => Some(tag),
        Vlan::DoubleTagged { .. } => return false,
    };
    tag.is_none_or(|tag| tag.vid() == 0)
}

impl Stack {
    pub(super) fn input(&mut self, now: Instant, id: InterfaceId, packet: &mut Packet) -> Result<(), DropReason> {
        let interface = self.network.interface(id).ok_or(DropReason::Interface)?;
        match interface.options().link {
            Link::Ethernet(_) => self.input_frame(now, id, packet),
            Link::Ip => self.input_ip(now, ByLink { interface: id, is_broadcast: false, station: None }, packet),
        }
    }

    fn input_frame(&mut self, now: Instant, id: InterfaceId, packet: &mut Packet) -> Result<(), DropReason> {
        let header = self.frame_header(packet)?;
        let own = self.network.interface(id).and_then(|interface| interface.mac());
        let is_broadcast = header.dst.is_multicast();
        if !is_broadcast && Some(header.dst) != own {
            return Err(DropReason::OtherStation);
        }
        if !is_of_no_vlan(&header, packet) {
            return Err(DropReason::Vlan);
        }
        let _ = packet.trim_front(header.header_len());
        match header.ethertype {
            EtherType::ARP => self.input_arp(now, id, take(packet)),
            EtherType::IPV4 | EtherType::IPV6 => {
                let station = Some(header.src).filter(|src| src.is_unicast() && Some(*src) != own);
                self.input_ip(now, ByLink { interface: id, is_broadcast, station }, packet)
            }
            _ => Err(DropReason::EtherType),
        }
    }

    pub(super) fn frame_header(&self, packet: &mut Packet) -> Result<EthernetHeader, DropReason> {
        let malformed = DropReason::EthernetMalformed;
        let head = packet.contiguous(ETHERNET_BYTES, &self.copies).map_err(|_| malformed)?;
        if let Ok(frame) = EthernetFrame::parse(head) {
            return Ok(frame.header());
        }
        // Tags make it longer.
        let len = packet.len().min(TAGGED_BYTES);
        let head = packet.contiguous(len, &self.copies).map_err(|_| malformed)?;
        EthernetFrame::parse(head).map(|frame| frame.header()).map_err(|_| malformed)
    }

    fn input_ip(&mut self, now: Instant, by: ByLink, packet: &mut Packet) -> Result<(), DropReason> {
        let id = by.interface;
        let head = packet.contiguous(1, &self.copies).map_err(|_| DropReason::IpVersion)?;
        match head[0] >> 4 {
            4 => {}
            6 => return self.input_v6(now, by, packet),
            _ => return Err(DropReason::IpVersion),
        }
        let (header, payload_len) = self.ipv4_header(packet)?;
        // It may be for an address that is not ours yet.
        if self.is_for_dhcpv4(id, &header) && self.input_dhcpv4(now, id, &header, packet)? {
            return Ok(());
        }
        let is_ip_broadcast = self.check_addresses(id, &header)?;
        let is_broadcast = by.is_broadcast || is_ip_broadcast;
        let fragment = header.fragment;
        let head = Head::V4(header);
        let mut arrived = Arrived { interface: id, head, payload_len, is_broadcast, station: by.station };
        if !fragment.is_whole() {
            let whole = self.reassembly.push(now, id, &arrived.head, take(packet), &mut self.drops, &self.copies)?;
            self.counters.fragments_received += 1;
            let Some((head, whole)) = whole else { return Ok(()) };
            arrived = Arrived { head, payload_len: whole.len(), ..arrived };
            *packet = whole;
            if !self.goes_on_as_one(now, &arrived, packet)? {
                return Ok(());
            }
        }
        self.deliver(now, &arrived, packet)
    }

    /// Whether a packet that is whole again goes on here. Otherwise filters have stopped it, or it is in the queue of those that are
    /// taken in, and filtered, elsewhere.
    pub(super) fn goes_on_as_one(
        &mut self,
        now: Instant,
        arrived: &Arrived,
        packet: &mut Packet,
    ) -> Result<bool, DropReason> {
        let is_elsewhere = self.reassembled.is_some();
        if !is_elsewhere && self.filters.is_empty(Direction::Input) {
            return Ok(true);
        }
        let payload_len = packet.len();
        // What was too long has been counted.
        let Some(mut whole) = self.with_headers(arrived, take(packet)) else { return Ok(false) };
        if is_elsewhere {
            self.hand_out(arrived.interface, whole)?;
            return Ok(false);
        }
        let goes_on = self.passes(Direction::Input, now, arrived.interface, &mut whole);
        let _ = whole.trim_front(whole.len().saturating_sub(payload_len));
        *packet = whole;
        Ok(goes_on)
    }

    /// A packet as it would have come, a frame where there are frames. It is not known any more which station has sent it: we.
    fn with_headers(&mut self, arrived: &Arrived, packet: Packet) -> Option<Packet> {
        let (packet, ethertype) = match &arrived.head {
            Head::V4(header) => (self.with_ipv4_header(header, packet)?, EtherType::IPV4),
            Head::V6(head) => (self.with_ipv6_header(&head.header, packet)?, EtherType::IPV6),
        };
        let id = arrived.interface;
        match self.network.interface(id).and_then(|interface| interface.mac()) {
            Some(_) if arrived.is_broadcast => self.frame(id, MacAddr::BROADCAST, ethertype, packet),
            Some(mac) => self.frame(id, mac, ethertype, packet),
            None => Some(packet),
        }
    }

    fn hand_out(&mut self, id: InterfaceId, packet: Packet) -> Result<(), DropReason> {
        let limit = self.limits.loopback_packets;
        match &mut self.reassembled {
            Some(queue) if queue.len() < limit => queue.push_back((id, packet)),
            _ => return Err(DropReason::LoopbackQueueFull),
        }
        Ok(())
    }

    /// Reads the header and leaves the payload.
    fn ipv4_header(&self, packet: &mut Packet) -> Result<(Ipv4Header, usize), DropReason> {
        let malformed = DropReason::Ipv4Malformed;
        let len = packet.len();
        let fixed = packet.contiguous(IPV4_BYTES, &self.copies).map_err(|_| malformed)?;
        let header_len = usize::from(fixed[0] & 0xf) * 4;
        let head = packet.contiguous(header_len.max(IPV4_BYTES), &self.copies).map_err(|_| malformed)?;
        let view = Ipv4Packet::parse_head(head, len).map_err(|_| malformed)?;
        if !view.has_valid_checksum() {
            return Err(DropReason::Ipv4Checksum);
        }
        let is_forbidden = |option: Result<sunstar_wire::RawOption<'_>, _>| {
            option.map_or(true, |option| SOURCE_ROUTES.contains(&option.kind))
        };
        if header_len > IPV4_BYTES && view.options().any(is_forbidden) {
            return Err(DropReason::Ipv4Options);
        }
        let (header, payload_len) = (view.header(), view.payload_len());
        // Both are there: the view has seen them.
        let _ = packet.trim_back(len - header_len - payload_len);
        let _ = packet.trim_front(header_len);
        Ok((header, payload_len))
    }

    /// RFC 1122 §3.2.1.3. Answers whether the packet is for all stations.
    fn check_addresses(&self, id: InterfaceId, header: &Ipv4Header) -> Result<bool, DropReason> {
        let interface = self.network.interface(id).ok_or(DropReason::Interface)?;
        if interface.is_loopback() {
            return if self.network.is_own(header.dst) { Ok(false) } else { Err(DropReason::OtherHost) };
        }
        if !is_v4_station(header.src) || interface.is_broadcast(header.src) || self.network.is_own(header.src) {
            return Err(DropReason::Source);
        }
        if header.dst.is_loopback() {
            return Err(DropReason::LoopbackOutside);
        }
        if self.network.is_own(header.dst) {
            return Ok(false);
        }
        let is_group =
            header.dst.is_multicast() && (header.dst == ALL_SYSTEMS || self.groups.has(id, header.dst.into()));
        if is_group || interface.is_broadcast(header.dst) { Ok(true) } else { Err(DropReason::OtherHost) }
    }

    /// Hands a packet to its protocol.
    pub(super) fn deliver(&mut self, now: Instant, arrived: &Arrived, packet: &mut Packet) -> Result<(), DropReason> {
        match (arrived.head.protocol(), &arrived.head) {
            (IpProtocol::TCP, _) => self.input_tcp(now, arrived, packet),
            (IpProtocol::UDP, _) => self.input_udp(now, arrived, take(packet)),
            (IpProtocol::ICMP, Head::V4(header)) => self.input_icmp(now, arrived, header, take(packet)),
            (IpProtocol::IGMP, Head::V4(header)) => self.input_igmp(now, arrived, header, take(packet)),
            (IpProtocol::ICMPV6, Head::V6(head)) => self.input_icmp_v6(now, arrived, head, take(packet)),
            (_, Head::V4(header)) => {
                self.unreachable(now, arrived, header, packet, UnreachableCode::PROTOCOL);
                Err(DropReason::Protocol)
            }
            (_, Head::V6(head)) => {
                self.refuse_protocol(now, arrived, head, packet);
                Err(DropReason::Protocol)
            }
        }
    }

    /// Whether an address is one of ours.
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.network.is_own_ip(address)
    }
}
