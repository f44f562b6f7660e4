//! How the stack is configured while it runs, see [`configuration`](crate::configuration).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::{ConfigError, Stack, is_station};
use crate::configuration::Change;
use crate::interface::{Interface, InterfaceId};
use crate::prefix::Prefix;
use crate::routes::Route;
use crate::time::Instant;

impl Stack {
    /// Gives an interface an address, and the route to its network. On Ethernet one of IPv4 is announced (RFC 5227 §2.3), and one of IPv6
    /// is asked for first and ours a second later, unless another station has it (RFC 4862 §5.4,
    /// [`Event::AddressTaken`](super::Event::AddressTaken)).
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn add_address(&mut self, now: Instant, id: InterfaceId, address: Prefix) -> Result<(), ConfigError> {
        if self.must_probe(id, address) {
            return self.probe(now, id, address, false);
        }
        self.own_address(id, address)?;
        let is_ethernet = self.network.interface(id).is_some_and(|interface| interface.mac().is_some());
        if let (true, IpAddr::V4(v4)) = (is_ethernet, address.address()) {
            self.announce(now, id, v4);
        }
        Ok(())
    }

    /// Takes an address from an interface, with the route to its network. Answers whether it had it.
    pub fn remove_address(&mut self, id: InterfaceId, address: IpAddr) -> bool {
        self.forget_tentative(id, address);
        let Some(prefix) = self.network.remove_address(id, address) else { return false };
        let Some(interface) = self.network.interface(id) else { return false };
        // Another address of the same network keeps the route.
        if !interface.addresses().iter().any(|other| other.is_same_network(prefix)) {
            self.network.remove_route(&Route { prefix, gateway: None, interface: id, metric: 0 });
        }
        self.announcements
            .retain(|announcement| (announcement.interface, announcement.address.into()) != (id, address));
        true
    }

    /// Takes an interface out of use: it loses its addresses, all routes that lead over it, what routers have said there and what waits to leave by it. Connections from
    /// addresses that are none of ours any more end with
    /// [`Failure::Unreachable`](crate::tcp::connection::Failure::Unreachable), and tell so; strangers of theirs are forgotten.
    /// The interface itself stays, and can get addresses again. Answers whether there is such an interface.
    pub fn take_down(&mut self, now: Instant, id: InterfaceId) -> bool {
        let Some(interface) = self.network.interface(id) else { return false };
        let addresses: Vec<IpAddr> = interface.addresses().iter().map(|prefix| prefix.address()).collect();
        for address in addresses {
            self.remove_address(id, address);
        }
        let routes: Vec<Route> = self.routes().filter(|route| route.interface == id).copied().collect();
        for route in &routes {
            self.network.remove_route(route);
        }
        self.forget_autoconf(id);
        self.end_dhcpv4(now, id);
        self.forget_dhcpv6(now, id);
        self.tentative.retain(|tentative| tentative.interface != id);
        self.groups.forget_reports(id);
        self.outgoing.forget(id);
        self.resume(id);
        self.cut.take_if(|cut| cut.leaves_by(id));
        self.neighbours.forget_interface(id);
        self.cut_off_strangers(now);
        true
    }

    /// Adds a route; [`Prefix::ALL_V4`] with a gateway is the default route.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn add_route(&mut self, route: Route) -> Result<(), ConfigError> {
        self.network.interface(route.interface).ok_or(ConfigError::NoInterface)?;
        Ok(self.network.add_route(route)?)
    }

    /// Removes a route. Answers whether there was one.
    pub fn remove_route(&mut self, route: &Route) -> bool {
        self.network.remove_route(route)
    }

    /// All routes, in the order in which they are looked at.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.network.routes().iter()
    }

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
            Change::SetMtu { interface, origin, mtu } => {
                if !self.network.set_mtu(*interface, *origin, *mtu) {
                    return Err(ConfigError::NoInterface);
                }
            }
            Change::SetLink { interface, parameters } => {
                if !self.network.set_hop_limit(*interface, parameters.hop_limit) {
                    return Err(ConfigError::NoInterface);
                }
                self.neighbours.set_parameters(*interface, *parameters);
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

    /// The same with a port, the first one first; those that are link-local with the number of their link (RFC 8106 §5.1, RFC 4007 §6).
    pub fn name_servers_at(&self, port: u16) -> Vec<SocketAddr> {
        self.configuration.name_servers_at(port)
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
        self.tcp.cut_off(now, |flow| !network.is_from_us(flow));
    }
}
