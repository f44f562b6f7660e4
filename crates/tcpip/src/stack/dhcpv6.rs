//! Interfaces that are configured by DHCPv6 (RFC 8415): what the client's wishes mean for the stack.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use sunstar_packet::{Buffer, Packet};
use sunstar_wire::checksum::{Fill, Sum, pseudo_header_v6};
use sunstar_wire::dhcpv6::{ALL_SERVERS, CLIENT_PORT, Message, SERVER_PORT};
use sunstar_wire::{IpProtocol, Ipv6Header, RouterAdvertisement, UdpHeader};

use super::input::Arrived;
use super::network::{Cast, Way};
use super::{ConfigError, Stack, earliest};
use crate::configuration::{Change, Origin};
use crate::dhcpv6::{Client, Counters, Lease, Mode, Options, Output, State};
use crate::drops::DropReason;
use crate::interface::InterfaceId;
use crate::neighbours::Errand;
use crate::prefix::Prefix;
use crate::time::Instant;

/// So long the host stays for an answer to what it gives back. A server of the link answers at once; without an answer it may keep the
/// address until its time is over.
const RELEASE_TIME: Duration = Duration::from_millis(250);

/// Draws other numbers than the interface's client of DHCPv4.
const SEED: usize = 0x8000;

/// The client of an interface, and what the stack has from it.
#[derive(Debug)]
pub(super) struct Dhcpv6 {
    interface: InterfaceId,
    client: Box<Client>,
    /// What is asked for whatever routers say; none if they say it.
    mode: Option<Mode>,
    /// What the stack has of the lease.
    made: Vec<Change>,
    /// Until when the end of the host waits for an answer, if it is to end.
    leaves_at: Option<Instant>,
    is_stopped: bool,
}

impl Stack {
    /// Has an interface be configured by DHCPv6 from now on, until [`Stack::stop_dhcpv6`]: addresses, name servers and search domains.
    /// What is asked for is said by `mode`, or else by routers (RFC 4861 §4.2, the flags M and O), who are listened to where
    /// [`Stack::autoconfigure`] says so. It begins as soon as the interface has a link-local address. On one shard only; the others follow by
    /// [`Stack::poll_change`].
    ///
    /// # Errors
    /// [`ConfigError::NoInterface`] if there is no such interface, or it has no Ethernet address; [`ConfigError::Address`] if its link does
    /// not take packets of 1,280 bytes.
    pub fn start_dhcpv6(
        &mut self,
        now: Instant,
        id: InterfaceId,
        mode: Option<Mode>,
        options: Options,
    ) -> Result<(), ConfigError> {
        let interface = self.network.interface(id).ok_or(ConfigError::NoInterface)?;
        interface.mac().ok_or(ConfigError::NoInterface)?;
        if !interface.speaks_v6() {
            return Err(ConfigError::Address);
        }
        let local = interface.link_local();
        self.forget_dhcpv6(now, id);
        let client = Box::new(Client::new(self.secret.seed(now, id.index() | SEED), options));
        self.dhcpv6.push(Dhcpv6 { interface: id, client, mode, made: Vec::new(), leaves_at: None, is_stopped: false });
        if let Some(local) = local {
            self.follow_dhcpv6(now, id, local.into());
        }
        Ok(())
    }

    /// Takes the addresses off and gives them back, which may take some seconds if nobody answers. Answers whether DHCPv6 was running
    /// there.
    pub fn stop_dhcpv6(&mut self, now: Instant, id: InterfaceId) -> bool {
        self.with_dhcpv6(now, id, |dhcp| {
            dhcp.is_stopped = true;
            dhcp.client.stop(now);
        })
    }

    /// Gives back all addresses since the host ends; answers whether that takes a moment more.
    pub(super) fn leave_dhcpv6(&mut self, now: Instant) -> bool {
        let running = self.dhcpv6.iter().filter(|dhcp| dhcp.leaves_at.is_none());
        let interfaces: Vec<InterfaceId> = running.map(|dhcp| dhcp.interface).collect();
        for id in interfaces {
            self.with_dhcpv6(now, id, |dhcp| dhcp.leaves_at = Some(now + RELEASE_TIME));
            self.stop_dhcpv6(now, id);
        }
        let waits = |dhcp: &Dhcpv6| dhcp.client.state() == State::Releasing && dhcp.leaves_at > Some(now);
        self.dhcpv6.iter().any(waits)
    }

    /// What an interface has by DHCPv6. Of the addresses those are there to which nobody has objected.
    pub fn dhcpv6_lease(&self, id: InterfaceId) -> Option<&Lease> {
        self.dhcpv6.iter().find(|dhcp| dhcp.interface == id)?.client.lease()
    }

    /// How far DHCPv6 is on an interface.
    pub fn dhcpv6_state(&self, id: InterfaceId) -> State {
        let dhcp = self.dhcpv6.iter().find(|dhcp| dhcp.interface == id);
        dhcp.map_or(State::Stopped, |dhcp| dhcp.client.state())
    }

    /// What DHCPv6 has counted on an interface since it was started there.
    pub fn dhcpv6_counters(&self, id: InterfaceId) -> Counters {
        let dhcp = self.dhcpv6.iter().find(|dhcp| dhcp.interface == id);
        dhcp.map(|dhcp| dhcp.client.counters()).unwrap_or_default()
    }

    /// When [`Stack::handle_dhcpv6_timeout`] is due.
    pub(super) fn dhcpv6_deadline(&self) -> Option<Instant> {
        self.dhcpv6.iter().map(|dhcp| dhcp.client.deadline()).fold(None, earliest)
    }

    /// Time has passed.
    pub(super) fn handle_dhcpv6_timeout(&mut self, now: Instant) {
        if self.dhcpv6_deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        let interfaces: Vec<InterfaceId> = self.dhcpv6.iter().map(|dhcp| dhcp.interface).collect();
        for id in interfaces {
            self.with_dhcpv6(now, id, |dhcp| dhcp.client.handle_timeout(now));
        }
    }

    /// An address is ours: with the link-local one a client can begin, and what its server would rather have used no more is not.
    pub(super) fn follow_dhcpv6(&mut self, now: Instant, id: InterfaceId, address: IpAddr) {
        let is_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        self.with_dhcpv6(now, id, |dhcp| {
            if let Some(mode) = dhcp.mode.filter(|_| is_local && !dhcp.is_stopped) {
                dhcp.client.start(now, mode);
            }
        });
        let is_old = |change: &&Change| matches!(change, Change::SetPreferred { address: old, .. } if *old == address);
        let all = self.dhcpv6.iter().filter(|dhcp| dhcp.interface == id).flat_map(|dhcp| &dhcp.made);
        if let Some(change) = all.clone().find(is_old).cloned() {
            let _ = self.configure(now, change);
        }
    }

    /// A router has said what is to be had by DHCPv6. What it does not say is no reason to let go of what was had.
    pub(super) fn hear_dhcpv6_flags(&mut self, now: Instant, id: InterfaceId, router: &RouterAdvertisement) {
        let mode = match router {
            RouterAdvertisement { is_managed: true, .. } => Mode::Stateful,
            RouterAdvertisement { has_other_configuration: true, .. } => Mode::Stateless,
            _ => return,
        };
        self.with_dhcpv6(now, id, |dhcp| {
            if dhcp.mode.is_none() && !dhcp.is_stopped {
                dhcp.client.start(now, mode);
            }
        });
    }

    /// Takes in a datagram if it is for the client of its interface: answers whether it is.
    pub(super) fn input_dhcpv6(
        &mut self,
        now: Instant,
        arrived: &Arrived,
        packet: &mut Packet,
    ) -> Result<bool, DropReason> {
        let id = arrived.interface;
        // The client asks from its link-local address, where nobody beyond the link can send an answer to.
        let addresses = arrived.head.addresses();
        let is_for_us = matches!(addresses.dst(), IpAddr::V6(dst) if dst.is_unicast_link_local());
        if !is_for_us || self.dhcpv6.iter().all(|dhcp| dhcp.interface != id) {
            return Ok(false);
        }
        let bytes = packet.contiguous(packet.len(), &self.copies).map_err(|_| DropReason::UdpMalformed)?;
        let payload = bytes.get(UdpHeader::LEN..).unwrap_or_default();
        let message = Message::parse(payload).map_err(|_| DropReason::Dhcpv6Malformed)?;
        self.with_dhcpv6(now, id, |dhcp| dhcp.client.handle_message(now, &message));
        Ok(true)
    }

    /// Another station has an address that was to be ours.
    pub(super) fn give_up_dhcpv6(&mut self, now: Instant, id: InterfaceId, address: Ipv6Addr) {
        self.with_dhcpv6(now, id, |dhcp| dhcp.client.handle_conflict(now, address));
    }

    /// Lets go of a client without a word, and of what it has brought.
    pub(super) fn forget_dhcpv6(&mut self, now: Instant, id: InterfaceId) {
        if let Some(at) = self.dhcpv6.iter().position(|dhcp| dhcp.interface == id) {
            let mut dhcp = self.dhcpv6.remove(at);
            self.remake(now, &mut dhcp.made, Vec::new());
        }
    }

    /// Tells the client of an interface something, and does what it wants done then; answers whether there is one.
    fn with_dhcpv6(&mut self, now: Instant, id: InterfaceId, tell: impl FnOnce(&mut Dhcpv6)) -> bool {
        let Some(at) = self.dhcpv6.iter().position(|dhcp| dhcp.interface == id) else { return false };
        let mut dhcp = self.dhcpv6.remove(at);
        tell(&mut dhcp);
        while let Some(output) = dhcp.client.poll_output() {
            match output {
                Output::Send(message) => self.send_dhcpv6(now, id, message.as_bytes()),
                Output::Bound(lease) => {
                    let wanted = self.changes_of(&dhcp, &lease);
                    self.remake(now, &mut dhcp.made, wanted);
                }
                Output::Lost => self.remake(now, &mut dhcp.made, Vec::new()),
            }
        }
        self.dhcpv6.push(dhcp);
        true
    }

    /// From the link-local address to all servers of the link (RFC 8415 §14, §16). Without one nothing is sent, and it is asked again.
    fn send_dhcpv6(&mut self, now: Instant, id: InterfaceId, message: &[u8]) {
        let Some(src) = self.network.interface(id).and_then(|interface| interface.link_local()) else { return };
        let ports = UdpHeader { src_port: CLIENT_PORT, dst_port: SERVER_PORT };
        let mut packet = Packet::from(Buffer::copy_from_slice(message));
        let Ok(len) = u32::try_from(message.len() + UdpHeader::LEN) else { return };
        let rest = pseudo_header_v6(src, ALL_SERVERS, IpProtocol::UDP, len) + Sum::of(message);
        let header = ports.to_bytes(message.len(), Fill::Complete(rest));
        if header.is_ok_and(|bytes| packet.prepend(&bytes).is_ok())
            && let Some(packet) = self.with_ipv6_header(&Ipv6Header::new(IpProtocol::UDP, src, ALL_SERVERS), packet)
            && let way = (Way { interface: id, next_hop: ALL_SERVERS.into(), cast: Cast::Multicast })
            && let Some(ready) = self.link_output(now, &way, Errand::Own, packet)
        {
            self.enqueue(ready);
        }
    }

    /// What a lease means. An address that the interface has from elsewhere stays as it is.
    fn changes_of(&self, dhcp: &Dhcpv6, lease: &Lease) -> Vec<Change> {
        let (interface, origin) = (dhcp.interface, Origin::Dhcpv6);
        let link = self.network.interface(interface);
        let mut changes = Vec::new();
        for leased in &lease.addresses {
            let address = IpAddr::V6(leased.address);
            let Ok(prefix) = Prefix::new(leased.address, 128) else { continue };
            let change = Change::AddAddress { interface, address: prefix };
            let is_elsewhere = link.is_some_and(|link| link.has_address(address)) && !dhcp.made.contains(&change);
            if is_elsewhere {
                continue;
            }
            changes.push(change);
            if !leased.is_preferred {
                changes.push(Change::SetPreferred { interface, address, is_preferred: false });
            }
        }
        if !lease.name_servers.is_empty() {
            changes.push(Change::SetNameServers { interface, origin, servers: lease.name_servers.clone() });
        }
        if !lease.search_domains.is_empty() {
            changes.push(Change::SetSearchDomains { interface, origin, domains: lease.search_domains.clone() });
        }
        changes
    }
}
