//! ARP: who asks for us, whom we ask for.

use alloc::collections::VecDeque;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use sunstar_packet::{Buffer, BufferMut, Packet};
use sunstar_wire::{Arp, ArpOperation, EtherType, MacAddr};

use super::network::{Cast, Way};
use super::paths::ethertype_of;
use super::{Event, MAX_CONFLICT_EVENTS, Stack};
use crate::drops::DropReason;
use crate::interface::InterfaceId;
use crate::neighbours::{Key, Station};
use crate::time::Instant;
use crate::zone;

/// RFC 5227 §1.1: an address is announced so often, so far apart.
const ANNOUNCEMENTS: u8 = 2;
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);

/// RFC 5227 §2.4: an address is not defended more often than this.
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// An address of which everybody is to be told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announcement {
    pub(super) interface: InterfaceId,
    pub(super) address: Ipv4Addr,
    pub(super) due: Instant,
    left: u8,
    /// Not before may it be defended again.
    may_defend_at: Instant,
}

impl Stack {
    /// Tells everybody who has an address: now, and again a little later.
    pub(super) fn announce(&mut self, now: Instant, interface: InterfaceId, address: Ipv4Addr) {
        self.announcements.retain(|other| (other.interface, other.address) != (interface, address));
        let left = ANNOUNCEMENTS;
        self.announcements.push_back(Announcement { interface, address, due: now, left, may_defend_at: now });
        self.send_announcements(now);
    }

    /// Sends the announcements that are due.
    pub(super) fn send_announcements(&mut self, now: Instant) {
        for at in 0..self.announcements.len() {
            let announcement = &mut self.announcements[at];
            if announcement.due > now || announcement.left == 0 {
                continue;
            }
            announcement.left -= 1;
            announcement.due = now + ANNOUNCE_INTERVAL;
            let (interface, address) = (announcement.interface, announcement.address);
            if let Some(mac) = self.mac(interface) {
                self.send_arp(interface, MacAddr::BROADCAST, &Arp::announcement(mac, address));
            }
        }
        let left = self.announcements.iter().filter(|announcement| announcement.left > 0);
        self.next_announcement = left.map(|announcement| announcement.due).min();
    }

    /// Sends the requests that are due.
    pub(super) fn send_requests(&mut self, now: Instant) {
        while let Some(request) = self.neighbours.poll_request() {
            let Some(interface) = self.network.interface(request.interface) else { continue };
            let target = match request.target {
                IpAddr::V4(target) => target,
                IpAddr::V6(target) => {
                    self.solicit(now, &request, target);
                    continue;
                }
            };
            let source = interface.source_for(request.target);
            let (Some(mac), Some(IpAddr::V4(source))) = (interface.mac(), source) else { continue };
            self.counters.arp_requests_sent += 1;
            self.send_arp(request.interface, request.to, &Arp::request(mac, source, target));
        }
    }

    /// Who has an address has confirmed what we have answered to this station.
    pub(super) fn introduce(&mut self, now: Instant, address: IpAddr, (id, mac): Station) {
        if self.neighbours.is_introduced(id, zone::plain(address)) {
            return;
        }
        let Some(way) = self.network.way(address) else { return };
        if way == (Way { interface: id, next_hop: zone::plain(address), cast: Cast::Unicast }) {
            let waiting = self.neighbours.introduce(now, (id, way.next_hop), mac);
            self.send_waiting(now, (id, way.next_hop), mac, waiting);
        }
    }

    /// Sends what has waited for a neighbour.
    pub(super) fn send_waiting(&mut self, now: Instant, (id, address): Key, mac: MacAddr, waiting: VecDeque<Packet>) {
        for packet in waiting {
            if let Some(frame) = self.frame(id, mac, ethertype_of(address), packet) {
                self.enqueue((id, frame));
            }
        }
        self.give_up_neighbours(now);
    }

    /// Drops what waited for neighbours that do not answer, and tells those who have sent it.
    pub(super) fn give_up_neighbours(&mut self, now: Instant) {
        let Some(given_up) = self.neighbours.take_given_up() else { return };
        for (id, address) in given_up.gone {
            self.network.note_silent(now, id, address);
            self.forget_redirects_to(now, id, address);
        }
        self.drops.add_many(DropReason::NeighbourForgotten, given_up.forgotten);
        for (neighbour, packet) in given_up.silent {
            self.drop(DropReason::NeighbourSilent);
            self.on_undeliverable(now, neighbour, packet);
        }
        for ((id, address), mac, packet) in given_up.back {
            if let Some(frame) = self.frame(id, mac, ethertype_of(address), packet) {
                self.counters.answers_sent_back += 1;
                self.enqueue((id, frame));
            }
        }
    }

    pub(super) fn input_arp(&mut self, now: Instant, id: InterfaceId, mut packet: Packet) -> Result<(), DropReason> {
        let bytes = packet.contiguous(Arp::LEN, &self.copies).map_err(|_| DropReason::ArpMalformed)?;
        let arp = Arp::parse(bytes).map_err(|_| DropReason::ArpMalformed)?;
        let interface = self.network.interface(id).ok_or(DropReason::Interface)?;
        let own = interface.mac().ok_or(DropReason::Interface)?;
        let is_probe = arp.spa.is_unspecified();
        if !arp.sha.is_unicast() || arp.sha == own || (!is_probe && !super::is_v4_station(arp.spa)) {
            return Err(DropReason::ArpImplausible);
        }
        self.look_for_dhcpv4_conflict(now, id, &arp);
        let interface = self.network.interface(id).ok_or(DropReason::Interface)?;
        let is_for_us = interface.has_address(arp.tpa.into());
        let is_on_link = interface.is_on_link(arp.spa.into());
        if interface.has_address(arp.spa.into()) {
            self.on_conflict(now, id, arp.spa, arp.sha);
            return Ok(());
        }
        if !is_probe {
            // Only who wants something of us is remembered without having been asked (RFC 826).
            self.network.note_heard(id, arp.spa.into());
            let waiting = self.neighbours.learn(now, id, arp.spa.into(), arp.sha, is_for_us && is_on_link);
            self.send_waiting(now, (id, arp.spa.into()), arp.sha, waiting);
        }
        if is_for_us && arp.operation == ArpOperation::Request {
            self.counters.arp_replies_sent += 1;
            self.send_arp(id, arp.sha, &arp.reply(own));
        }
        Ok(())
    }

    /// Another station has one of our addresses: it is told that we have it, not too often. If it goes on, what DHCP has given is given
    /// up (RFC 5227 §2.4, b); whoever runs the host knows better of other addresses.
    fn on_conflict(&mut self, now: Instant, interface: InterfaceId, address: Ipv4Addr, mac: MacAddr) {
        self.counters.arp_conflicts += 1;
        if self.conflicts.len() < MAX_CONFLICT_EVENTS {
            self.conflicts.push_back(Event::AddressConflict { interface, address, mac });
        }
        let is_it = |other: &&mut Announcement| (other.interface, other.address) == (interface, address);
        let Some(announcement) = self.announcements.iter_mut().find(is_it) else { return };
        if announcement.may_defend_at > now {
            self.give_up_dhcpv4(now, interface, address);
            return;
        }
        announcement.may_defend_at = now + DEFEND_INTERVAL;
        if let Some(own) = self.mac(interface) {
            self.send_arp(interface, MacAddr::BROADCAST, &Arp::announcement(own, address));
        }
    }

    pub(super) fn mac(&self, id: InterfaceId) -> Option<MacAddr> {
        self.network.interface(id)?.mac()
    }

    pub(super) fn send_arp(&mut self, id: InterfaceId, dst: MacAddr, arp: &Arp) {
        let mut message = BufferMut::with_capacity(64, Arp::LEN);
        // There is room: it was made for it.
        let _ = message.extend_from_slice(&arp.to_bytes());
        let message: Buffer = message.freeze();
        if let Some(frame) = self.frame(id, dst, EtherType::ARP, Packet::from(message)) {
            self.enqueue((id, frame));
        }
    }
}
