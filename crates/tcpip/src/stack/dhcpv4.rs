//! Interfaces that are configured by DHCP: what the client's wishes mean for the stack.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use sunstar_packet::{Buffer, Packet};
use sunstar_wire::checksum::{Fill, Sum, pseudo_header_v4};
use sunstar_wire::dhcpv4::{CLIENT_PORT, Message, SERVER_PORT};
use sunstar_wire::{
    AddressPair, Arp, ArpOperation, EtherType, IpProtocol, Ipv4Header, MacAddr, UdpDatagram, UdpHeader,
};

use super::tcp::has_valid_checksum;
use super::{ConfigError, Stack, earliest};
use crate::configuration::{Change, Origin};
use crate::dhcpv4::{Client, Counters, Lease, Options, Output, State};
use crate::drops::DropReason;
use crate::interface::InterfaceId;
use crate::neighbours::Errand;
use crate::routes::Route;
use crate::time::Instant;

/// So long an address stays that was given back: the server may have to be found first.
const RELEASE_TIME: Duration = Duration::from_millis(100);

/// The client of an interface, and what the stack has from it.
#[derive(Debug)]
pub(super) struct Dhcpv4 {
    interface: InterfaceId,
    client: Box<Client>,
    lease: Option<Box<Lease>>,
    /// What the stack has of the lease: all of it, unless something did not fit.
    made: Vec<Change>,
    /// When what was given back is taken off.
    released_at: Option<Instant>,
}

impl Stack {
    /// Has an interface be configured by DHCP from now on, until [`Stack::stop_dhcpv4`]: address, routes, MTU, name servers. What it
    /// has from elsewhere stays. On one shard only; the others follow by [`Stack::poll_change`].
    ///
    /// # Errors
    /// [`ConfigError::NoInterface`] if there is no such interface, or it has no Ethernet address.
    pub fn start_dhcpv4(&mut self, now: Instant, id: InterfaceId, options: Options) -> Result<(), ConfigError> {
        let mac = self.mac(id).ok_or(ConfigError::NoInterface)?;
        let mtu = self.network.interface(id).map_or(0, |interface| interface.options().mtu);
        self.end_dhcpv4(now, id);
        let seed = self.secret.seed(now, id.index());
        let client = Box::new(Client::new(now, mac, seed, Options { mtu, ..options }));
        self.dhcpv4.push(Dhcpv4 { interface: id, client, lease: None, made: Vec::new(), released_at: None });
        self.handle_dhcpv4_timeout(now);
        Ok(())
    }

    /// Gives the address back, if there is one. A moment later it is gone, and [`Stack::dhcpv4_lease`] answers so. Answers whether DHCP
    /// was running there.
    pub fn stop_dhcpv4(&mut self, now: Instant, id: InterfaceId) -> bool {
        let Some(mut dhcp) = self.take_dhcpv4(id) else { return false };
        let is_given = dhcp.client.lease().is_some() || dhcp.client.probed().is_some();
        dhcp.client.stop(now);
        dhcp.released_at = Some(if is_given { now + RELEASE_TIME } else { now });
        self.serve_dhcpv4(now, &mut dhcp);
        self.dhcpv4.push(dhcp);
        true
    }

    /// Leaves all groups and gives back all addresses that were given by DHCP, of both versions of IP, since the host ends. Answers whether
    /// that takes a moment more: let time pass and packets leave, and ask again.
    pub fn leave(&mut self, now: Instant) -> bool {
        let has_left = self.leave_groups(now);
        let running = self.dhcpv4.iter().filter(|dhcp| dhcp.released_at.is_none());
        let interfaces: Vec<InterfaceId> = running.map(|dhcp| dhcp.interface).collect();
        for id in interfaces {
            self.stop_dhcpv4(now, id);
        }
        let has_more = self.leave_dhcpv6(now);
        has_left || has_more || self.dhcpv4.iter().any(|dhcp| dhcp.released_at > Some(now))
    }

    /// The lease that an interface has by DHCP, and until when; never if no time is said.
    pub fn dhcpv4_lease(&self, id: InterfaceId) -> Option<(&Lease, Option<Instant>)> {
        let dhcp = self.dhcpv4.iter().find(|dhcp| dhcp.interface == id)?;
        let lease = dhcp.lease.as_deref()?;
        let has_address = self.network.interface(id)?.has_address(lease.address.address());
        has_address.then(|| (lease, dhcp.client.expires_at()))
    }

    /// How far DHCP is on an interface.
    pub fn dhcpv4_state(&self, id: InterfaceId) -> State {
        let dhcp = self.dhcpv4.iter().find(|dhcp| dhcp.interface == id);
        dhcp.map_or(State::Stopped, |dhcp| dhcp.client.state())
    }

    /// What DHCP has counted on an interface since it was started there.
    pub fn dhcpv4_counters(&self, id: InterfaceId) -> Counters {
        let dhcp = self.dhcpv4.iter().find(|dhcp| dhcp.interface == id);
        dhcp.map(|dhcp| dhcp.client.counters()).unwrap_or_default()
    }

    /// When [`Stack::handle_dhcpv4_timeout`] is due.
    pub(super) fn dhcpv4_deadline(&self) -> Option<Instant> {
        let deadlines = self.dhcpv4.iter().map(|dhcp| earliest(dhcp.client.deadline(), dhcp.released_at));
        deadlines.fold(None, earliest)
    }

    /// Time has passed.
    pub(super) fn handle_dhcpv4_timeout(&mut self, now: Instant) {
        for _ in 0..self.dhcpv4.len() {
            let mut dhcp = self.dhcpv4.remove(0);
            if dhcp.released_at.is_some_and(|at| at <= now) {
                self.unmake(now, &mut dhcp);
                continue;
            }
            dhcp.client.handle_timeout(now);
            self.serve_dhcpv4(now, &mut dhcp);
            self.dhcpv4.push(dhcp);
        }
    }

    /// Whether a packet may be for the client of an interface. Most hosts have none.
    pub(super) fn is_for_dhcpv4(&self, id: InterfaceId, header: &Ipv4Header) -> bool {
        header.protocol == IpProtocol::UDP
            && header.fragment.is_whole()
            && self.dhcpv4.iter().any(|dhcp| dhcp.interface == id)
    }

    /// Takes in a datagram if it is for the client of its interface: answers whether it is.
    pub(super) fn input_dhcpv4(
        &mut self,
        now: Instant,
        id: InterfaceId,
        header: &Ipv4Header,
        packet: &mut Packet,
    ) -> Result<bool, DropReason> {
        let len = packet.len();
        let bytes = packet.contiguous(len, &self.copies).map_err(|_| DropReason::UdpMalformed)?;
        let datagram = UdpDatagram::parse(bytes).map_err(|_| DropReason::UdpMalformed)?;
        if (datagram.src_port(), datagram.dst_port()) != (SERVER_PORT, CLIENT_PORT) {
            return Ok(false);
        }
        let has_checksum = datagram.checksum().is_some();
        let (from, to) = (UdpHeader::LEN, usize::from(datagram.length()));
        let _ = packet.trim_back(len - to);
        let addresses = AddressPair::V4 { src: header.src, dst: header.dst };
        if has_checksum && !has_valid_checksum(packet, addresses, IpProtocol::UDP) {
            return Err(DropReason::UdpChecksum);
        }
        let bytes = packet.contiguous(to, &self.copies).map_err(|_| DropReason::UdpMalformed)?;
        let payload = bytes.get(from..).unwrap_or_default();
        let message = Message::parse(payload).map_err(|_| DropReason::Dhcpv4Malformed)?;
        let Some(at) = self.dhcpv4.iter().position(|dhcp| dhcp.interface == id) else { return Ok(false) };
        let mut dhcp = self.dhcpv4.remove(at);
        dhcp.client.handle_message(now, &message);
        self.serve_dhcpv4(now, &mut dhcp);
        self.dhcpv4.push(dhcp);
        Ok(true)
    }

    /// RFC 5227 §2.1.1: an address that is being probed is in use if anybody speaks as it, or probes it too.
    pub(super) fn look_for_dhcpv4_conflict(&mut self, now: Instant, id: InterfaceId, arp: &Arp) {
        let is_it = |dhcp: &Dhcpv4| {
            let probed = dhcp.client.probed().filter(|_| dhcp.interface == id)?;
            let also_probes = arp.operation == ArpOperation::Request && arp.spa.is_unspecified() && arp.tpa == probed;
            (arp.spa == probed || also_probes).then_some(probed)
        };
        if let Some(probed) = self.dhcpv4.iter().find_map(is_it) {
            self.give_up_dhcpv4(now, id, probed);
        }
    }

    /// Another station has an address, and keeps it: if it is ours by DHCP, or was to be, the server is told.
    pub(super) fn give_up_dhcpv4(&mut self, now: Instant, id: InterfaceId, address: Ipv4Addr) {
        if let Some(mut dhcp) = self.take_dhcpv4(id) {
            dhcp.client.handle_conflict(now, address);
            self.serve_dhcpv4(now, &mut dhcp);
            self.dhcpv4.push(dhcp);
        }
    }

    fn take_dhcpv4(&mut self, id: InterfaceId) -> Option<Dhcpv4> {
        let at = self.dhcpv4.iter().position(|dhcp| dhcp.interface == id)?;
        Some(self.dhcpv4.remove(at))
    }

    /// Lets go of a client without a word, and of what it has brought.
    pub(super) fn end_dhcpv4(&mut self, now: Instant, id: InterfaceId) {
        if let Some(mut dhcp) = self.take_dhcpv4(id) {
            self.unmake(now, &mut dhcp);
        }
    }

    /// Does what a client wants done.
    fn serve_dhcpv4(&mut self, now: Instant, dhcp: &mut Dhcpv4) {
        let id = dhcp.interface;
        while let Some(output) = dhcp.client.poll_output() {
            match output {
                Output::Send { from, to, message } => self.send_dhcpv4(now, id, from, to, message.as_bytes()),
                // Who runs the host has given it that address: it would go with the lease.
                Output::Probe(address) if self.is_own(address.into()) => dhcp.client.handle_conflict(now, address),
                Output::Probe(address) => {
                    if let Some(mac) = self.mac(id) {
                        self.send_arp(id, MacAddr::BROADCAST, &Arp::request(mac, Ipv4Addr::UNSPECIFIED, address));
                    }
                }
                Output::Bound(lease) => self.make(now, dhcp, lease),
                // What is given back stays until that has been said.
                Output::Lost if dhcp.released_at.is_some() => {}
                Output::Lost => self.unmake(now, dhcp),
            }
        }
    }

    fn send_dhcpv4(&mut self, now: Instant, id: InterfaceId, from: Ipv4Addr, to: Ipv4Addr, message: &[u8]) {
        let ports = UdpHeader { src_port: CLIENT_PORT, dst_port: SERVER_PORT };
        let mut packet = Packet::from(Buffer::copy_from_slice(message));
        let ip = Ipv4Header::new(IpProtocol::UDP, from, to);
        if to.is_broadcast() {
            let len = u16::try_from(message.len() + UdpHeader::LEN).unwrap_or(u16::MAX);
            let rest = pseudo_header_v4(from, to, IpProtocol::UDP, len) + Sum::of(message);
            let is_done =
                ports.to_bytes(message.len(), Fill::Complete(rest)).is_ok_and(|bytes| packet.prepend(&bytes).is_ok());
            let packet = self.with_ipv4_header(&ip, packet).filter(|_| is_done);
            if let Some(frame) = packet.and_then(|packet| self.frame(id, MacAddr::BROADCAST, EtherType::IPV4, packet)) {
                self.enqueue((id, frame));
            }
            return;
        }
        let Some(way) = self.way(to.into()) else { return };
        let mtu = self.mtu(now, &way, to.into());
        let addresses = AddressPair::V4 { src: from, dst: to };
        if let Ok(packet) = self.udp_packet(&way, addresses, ports, packet, mtu) {
            self.emit(now, Errand::Own, ip, packet);
        }
    }

    fn make(&mut self, now: Instant, dhcp: &mut Dhcpv4, lease: Box<Lease>) {
        let wanted = changes(dhcp.interface, &lease);
        dhcp.lease = Some(lease);
        self.remake(now, &mut dhcp.made, wanted);
    }

    /// Takes everything off that a lease has brought, the address last.
    fn unmake(&mut self, now: Instant, dhcp: &mut Dhcpv4) {
        dhcp.lease = None;
        self.remake(now, &mut dhcp.made, Vec::new());
    }
}

/// What a lease means, the address first.
fn changes(interface: InterfaceId, lease: &Lease) -> Vec<Change> {
    let origin = Origin::Dhcpv4;
    let mut changes = vec![Change::AddAddress { interface, address: lease.address }];
    if let Some(mtu) = lease.mtu {
        changes.push(Change::SetMtu { interface, origin, mtu });
    }
    changes.extend(lease.routes.iter().map(|(prefix, router)| {
        let gateway = router.map(IpAddr::V4);
        Change::AddRoute(Route { prefix: *prefix, gateway, interface, metric: 0 })
    }));
    if !lease.name_servers.is_empty() {
        changes.push(Change::SetNameServers { interface, origin, servers: lease.name_servers.clone() });
    }
    if !lease.search_domains.is_empty() {
        changes.push(Change::SetSearchDomains { interface, origin, domains: lease.search_domains.clone() });
    }
    changes
}
