//! How the stack is configured while it runs, see [`configuration`](crate::configuration).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::{ConfigError, Stack, is_station};
use crate::configuration::Change;
use crate::interface::{Interface, InterfaceId};
use crate::prefix::Prefix;
use crate::routes::Route;
use crate::time::Instant;

impl Stack {
    /// Makes a change, and has it handed out for the stacks of other shards. An address is announced; one of IPv6 is asked for first, and
    /// handed out when it is ours ([`Stack::add_address`]).
    ///
    /// # Errors
    /// See [`ConfigError`]; nothing has changed then. [`ConfigError::Full`] also if
    /// [`MAX_CHANGES`](crate::configuration::MAX_CHANGES) wait to be handed out.
    pub fn configure(&mut self, now: Instant, change: Change) -> Result<(), ConfigError> {
        if !self.configuration.has_room_for(&change) {
            return Err(ConfigError::Full);
        }
        match change {
            // The others hear of it when it is ours.
            Change::AddAddress { interface, address } if self.must_probe(interface, address) => {
                return self.probe(now, interface, address, true);
            }
            Change::AddAddress { interface, address } => self.add_address(now, interface, address)?,
            _ => self.apply(now, &change)?,
        }
        self.configuration.tell(change);
        Ok(())
    }

    /// Makes a change that the stack of another shard has made.
    ///
    /// # Errors
    /// See [`ConfigError`]; nothing has changed then.
    pub fn apply(&mut self, now: Instant, change: &Change) -> Result<(), ConfigError> {
        match change {
            Change::AddAddress { interface, address } => self.own_address(*interface, *address)?,
            Change::RemoveAddress { interface, address } => {
                self.network.interface(*interface).ok_or(ConfigError::NoInterface)?;
                self.remove_address(*interface, *address);
                self.cut_off_strangers(now);
            }
            Change::AddRoute(route) => self.add_route(*route)?,
            Change::RemoveRoute(route) => {
                self.remove_route(route);
            }
            Change::SetPreferred { interface, address, is_preferred } => {
                self.network.set_preferred(*interface, *address, *is_preferred);
            }
            Change::SetMtu { interface, mtu } => {
                if !self.network.set_mtu(*interface, *mtu) {
                    return Err(ConfigError::NoInterface);
                }
            }
            Change::SetNameServers { interface, origin, servers } => {
                self.configuration.set_name_servers(*origin, *interface, servers);
            }
            Change::SetSearchDomains { interface, origin, domains } => {
                self.configuration.set_search_domains(*origin, *interface, domains);
            }
        }
        Ok(())
    }

    /// The next change that was made by [`Stack::configure`], for the stacks of other shards.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.configuration.poll_change()
    }

    /// Whether [`Stack::poll_change`] has something.
    pub fn has_change(&self) -> bool {
        self.configuration.has_change()
    }

    /// The servers to be asked for names, the first one first.
    pub fn name_servers(&self) -> Vec<IpAddr> {
        self.configuration.name_servers()
    }

    /// The domains in which names without dots are looked for, the first one first.
    pub fn search_domains(&self) -> Vec<Box<str>> {
        self.configuration.search_domains()
    }

    /// Whether it must be asked first whether an address is free.
    fn must_probe(&self, id: InterfaceId, address: Prefix) -> bool {
        let is_ethernet = self.network.interface(id).is_some_and(|interface| interface.mac().is_some());
        is_ethernet && address.address().is_ipv6()
    }

    /// Gives an interface an address and the route to its network, and tells nobody.
    pub(super) fn own_address(&mut self, id: InterfaceId, address: Prefix) -> Result<(), ConfigError> {
        self.network.interface(id).ok_or(ConfigError::NoInterface)?;
        let speaks = address.address().is_ipv4() || self.network.interface(id).is_some_and(Interface::speaks_v6);
        if !is_station(address.address()) || !speaks {
            return Err(ConfigError::Address);
        }
        let route = Route { prefix: address, gateway: None, interface: id, metric: 0 };
        self.network.add_route(route)?;
        self.remove_address(id, address.address());
        self.network.add_address(id, address);
        // Perhaps it was removed with the same address.
        self.network.add_route(route)?;
        Ok(())
    }

    /// Ends the connections from addresses that are none of ours any more.
    pub(super) fn cut_off_strangers(&mut self, now: Instant) {
        let network = &self.network;
        self.tcp.cut_off(now, |address| !network.is_own_ip(address));
    }
}
