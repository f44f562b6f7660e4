//! Addresses that are to be ours once it is seen that nobody else has them (RFC 4862 §5.4, RFC 7527).

use core::net::{IpAddr, Ipv6Addr};

use sunstar_wire::{MacAddr, NdpMessage, NdpOption, NdpOptions};

use super::ndp::solicited_node;
use super::{ConfigError, Event, MAX_CONFLICT_EVENTS, Stack};
use crate::configuration::Change;
use crate::interface::InterfaceId;
use crate::prefix::Prefix;
use crate::time::Instant;

/// Addresses that are looked for at the same time at most.
const MAX_TENTATIVE: usize = 64;

/// An address that is to be ours.
#[derive(Debug)]
pub(super) struct Tentative {
    pub(super) interface: InterfaceId,
    pub(super) prefix: Prefix,
    /// When it is ours, if nobody objects.
    due: Instant,
    nonce: [u8; 6],
    /// Whether the stacks of other shards are to be told.
    is_shared: bool,
}

impl Tentative {
    pub(super) const fn address(&self) -> Ipv6Addr {
        match self.prefix.address() {
            IpAddr::V6(v6) => v6,
            IpAddr::V4(_) => Ipv6Addr::UNSPECIFIED,
        }
    }
}

impl Stack {
    /// Asks whether somebody has an address of IPv6 on an Ethernet; if not, it is ours a second later.
    pub(super) fn probe(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        prefix: Prefix,
        is_shared: bool,
    ) -> Result<(), ConfigError> {
        let link = self.network.interface(interface).ok_or(ConfigError::NoInterface)?;
        if !super::is_station(prefix.address()) || !link.speaks_v6() {
            return Err(ConfigError::Address);
        }
        if link.has_address(prefix.address()) || self.tentative.len() >= MAX_TENTATIVE {
            return if link.has_address(prefix.address()) { Ok(()) } else { Err(ConfigError::Full) };
        }
        self.forget_tentative(interface, prefix.address());
        let [_, _, nonce @ ..] = self.secret.draw(&mut self.draws).to_be_bytes();
        // RFC 4862 §5.4: for so long others may object.
        let due = now + self.neighbours.parameters(interface).retransmit;
        self.tentative.push(Tentative { interface, prefix, due, nonce, is_shared });
        self.report_joins(now, interface);
        if let IpAddr::V6(target) = prefix.address() {
            let message = NdpMessage::NeighbourSolicitation { target };
            let addresses = (Ipv6Addr::UNSPECIFIED, solicited_node(target));
            self.counters.neighbour_solicitations_sent += 1;
            self.send_ndp(now, interface, addresses, None, &message, Some(NdpOption::Nonce(nonce)));
        }
        Ok(())
    }

    pub(super) fn forget_tentative(&mut self, interface: InterfaceId, address: IpAddr) -> bool {
        let before = self.tentative.len();
        self.tentative.retain(|other| (other.interface, other.prefix.address()) != (interface, address));
        self.tentative.len() < before
    }

    /// Somebody asks whether an address is free that we ask for too. Answers whether that is so; an echo of our own question is none.
    pub(super) fn on_rival(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        target: Ipv6Addr,
        mut options: NdpOptions<'_>,
    ) -> bool {
        let is_it = |other: &&Tentative| (other.interface, other.address()) == (interface, target);
        let Some(tentative) = self.tentative.iter().find(is_it) else { return false };
        let nonce = tentative.nonce;
        if options.any(|option| option == NdpOption::Nonce(nonce)) {
            return true;
        }
        self.on_taken(now, interface, target, None)
    }

    /// Another station has an address. Answers whether we wanted it, or have it: it is left to the other one, or kept.
    pub(super) fn on_taken(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        address: Ipv6Addr,
        mac: Option<MacAddr>,
    ) -> bool {
        let is_wanted = !planted::is("rival_ignored") && self.forget_tentative(interface, address.into());
        let link = self.network.interface(interface);
        let own = link.and_then(|link| link.mac());
        let is_ours = link.is_some_and(|link| link.has_address(address.into())) && mac != own;
        if !is_wanted && !is_ours {
            return false;
        }
        self.counters.address_conflicts_v6 += 1;
        if self.conflicts.len() < MAX_CONFLICT_EVENTS {
            self.conflicts.push_back(Event::AddressTaken { interface, address });
        }
        if is_wanted {
            self.on_address_taken(now, interface, address);
            self.give_up_dhcpv6(now, interface, address);
        }
        true
    }

    /// Takes the addresses to which nobody has objected.
    pub(super) fn adopt_tentative(&mut self, now: Instant) {
        while let Some(at) = self.tentative.iter().position(|tentative| tentative.due <= now) {
            let Tentative { interface, prefix, is_shared, .. } = self.tentative.remove(at);
            if self.own_address(interface, prefix).is_err() {
                continue;
            }
            if is_shared {
                self.configuration.tell(Change::AddAddress { interface, address: prefix });
            }
            self.on_adopted(now, interface, prefix);
        }
    }

    pub(super) fn tentative_deadline(&self) -> Option<Instant> {
        self.tentative.iter().map(|tentative| tentative.due).min()
    }
}
