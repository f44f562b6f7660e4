//! Where filters are asked.

use alloc::boxed::Box;
use core::net::IpAddr;

use sunstar_packet::Packet;
use sunstar_wire::{EtherType, Ipv4Packet, Ipv6Header, Ipv6Packet};

use super::Stack;
use super::input::is_of_no_vlan;
use super::paths::ethertype_of;
use super::transmit::TRANSMIT_BUDGET;
use crate::drops::DropReason;
use crate::filter::{Direction, Filter, FilterId, Filtered, Headers, TooManyFilters, Verdict};
use crate::interface::{InterfaceId, Link};
use crate::neighbours::Errand;
use crate::tcp::connection::Outgoing;
use crate::time::Instant;

impl Stack {
    /// Has a function asked what becomes of each packet that comes in, or leaves, after those that were added before. It runs inside of the stack:
    /// it can neither use the stack nor sockets on it, and should be quick.
    ///
    /// # Errors
    /// If there are [`MAX_FILTERS`](crate::filter::MAX_FILTERS) of that direction.
    pub fn add_filter(
        &mut self,
        direction: Direction,
        filter: impl FnMut(&mut Filtered<'_>) -> Verdict + 'static,
    ) -> Result<FilterId, TooManyFilters> {
        self.filters.add(direction, Box::new(filter))
    }

    /// Asks a filter no more. It is returned, if there was one: what it owns may need the stack when it is dropped.
    pub fn remove_filter(&mut self, id: FilterId) -> Option<Filter> {
        self.filters.remove(id)
    }

    /// Whether there may be one more filter of a direction.
    pub fn has_room_for_filter(&self, direction: Direction) -> bool {
        self.filters.has_room(direction)
    }

    /// Whether a packet goes on.
    pub(super) fn passes(&mut self, direction: Direction, now: Instant, id: InterfaceId, packet: &mut Packet) -> bool {
        // What is malformed has its own reasons to be dropped.
        let Some(headers) = self.headers_of(direction, id, packet) else { return true };
        let mut filtered = Filtered { now, interface: id, direction, headers, packet, copies: &self.copies };
        match self.filters.judge(&mut filtered) {
            Verdict::Pass => return true,
            Verdict::Drop => self.drop(DropReason::Filtered),
            Verdict::Consume => self.counters.packets_consumed += 1,
            Verdict::Answer(_) if planted::is("filter_answer_lost") => {}
            Verdict::Answer(answer) => self.answer(now, direction, id, &headers, answer),
        }
        packet.clear();
        false
    }

    /// The first packet that goes on, from one that is to leave on.
    pub(super) fn next_passing(
        &mut self,
        now: Instant,
        first: Option<InterfaceId>,
        segment: &mut Outgoing,
        packet: &mut Packet,
    ) -> Option<InterfaceId> {
        let mut next = first;
        for _ in 0..TRANSMIT_BUDGET {
            let id = next?;
            if self.passes(Direction::Output, now, id, packet) {
                return next;
            }
            next = self.next_packet(now, segment, packet);
        }
        next.filter(|id| {
            let goes_on = self.passes(Direction::Output, now, *id, packet);
            self.is_interrupted |= !goes_on;
            goes_on
        })
    }

    fn headers_of(&self, direction: Direction, id: InterfaceId, packet: &mut Packet) -> Option<Headers> {
        let interface = self.network.interface(id).filter(|interface| !interface.is_loopback())?;
        let (mut station, mut link_len) = (None, 0);
        if let Link::Ethernet(own) = interface.options().link {
            let frame = self.frame_header(packet).ok()?;
            let is_seen = direction == Direction::Output || frame.dst == own || frame.dst.is_multicast();
            let is_ip = matches!(frame.ethertype, EtherType::IPV4 | EtherType::IPV6);
            if !is_seen || !is_ip || !is_of_no_vlan(&frame, packet) {
                return None;
            }
            (station, link_len) = (Some(frame.src), frame.header_len());
        }
        let headers = self.ip_headers(packet, link_len)?;
        let is_for_us = direction == Direction::Input && self.is_for_us(id, &headers);
        Some(Headers { station, is_for_us, ..headers })
    }

    fn ip_headers(&self, packet: &mut Packet, link_len: usize) -> Option<Headers> {
        let len = packet.len().checked_sub(link_len)?;
        let version = packet.contiguous(link_len + 1, &self.copies).ok()?[link_len] >> 4;
        let fixed = if version == 4 { 20 } else { 40 };
        let front = &packet.contiguous(link_len + fixed, &self.copies).ok()?[link_len..];
        if version == 6 {
            let ip = Ipv6Packet::parse_head(front, len).ok()?;
            return Some(Headers {
                station: None,
                link_len,
                ip_len: fixed,
                payload_len: ip.payload_len(),
                addresses: ip.addresses(),
                protocol: ip.next_header(),
                is_fragment: false,
                is_for_us: false,
            });
        }
        let ip_len = usize::from(front[0] & 0xf) * 4;
        let front = &packet.contiguous(link_len + ip_len.max(fixed), &self.copies).ok()?[link_len..];
        let ip = Ipv4Packet::parse_head(front, len).ok().filter(Ipv4Packet::has_valid_checksum)?;
        Some(Headers {
            station: None,
            link_len,
            ip_len: ip.header_len(),
            payload_len: ip.payload_len(),
            addresses: ip.addresses(),
            protocol: ip.protocol(),
            is_fragment: !ip.fragment().is_whole(),
            is_for_us: false,
        })
    }

    /// Whether a packet was sent by another host to one of our addresses.
    fn is_for_us(&self, id: InterfaceId, headers: &Headers) -> bool {
        let Some(interface) = self.network.interface(id) else { return false };
        match (headers.addresses.src(), headers.addresses.dst()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => self.network.is_between_hosts(interface, src, dst),
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let header = Ipv6Header::new(headers.protocol, src, dst);
                self.check_addresses_v6(id, &header) == Ok(false)
            }
            _ => false,
        }
    }

    fn answer(&mut self, now: Instant, direction: Direction, id: InterfaceId, headers: &Headers, answer: Packet) {
        self.counters.packets_answered += 1;
        if direction == Direction::Output {
            if self.local.len() < self.limits.loopback_packets {
                self.local.push_back(answer);
            } else {
                self.drop(DropReason::LoopbackQueueFull);
            }
            return;
        }
        let mtu =
            self.network.interface(id).map_or(0, |interface| usize::from(interface.mtu_to(headers.addresses.src())));
        if answer.len() > mtu {
            self.drop(DropReason::TooLong);
            return;
        }
        let dst = headers.addresses.src();
        let own = self.mac(id);
        let ready = match headers.station {
            None => Some((id, answer)),
            // Whoever sent what was put together here.
            Some(station) if Some(station) == own => {
                let way = match dst {
                    IpAddr::V4(_) => self.way(dst),
                    IpAddr::V6(v6) => self.way_back(id, v6),
                };
                way.and_then(|way| self.link_output(now, &way, Errand::Answer(None), answer))
            }
            Some(station) if station.is_unicast() => {
                self.frame(id, station, ethertype_of(dst), answer).map(|frame| (id, frame))
            }
            Some(_) => {
                self.drop(DropReason::Source);
                None
            }
        };
        if let Some(ready) = ready {
            self.enqueue(ready);
        }
    }
}
