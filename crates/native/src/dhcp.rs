//! Interfaces that are configured by DHCP.

use sunstar_tcpip::dhcpv4::Options;
use sunstar_tcpip::dhcpv6;
use sunstar_tcpip::interface::{InterfaceId, Link};
use sunstar_tcpip::stack::ConfigError;
use sunstar_wire::dhcpv4::CLIENT_PORT;
use sunstar_wire::{IpProtocol, MacAddr};

use crate::network::Network;
use crate::spread::{Claim, Lease};

impl Network {
    /// Has an interface be configured by DHCP from now on, on all shards if this one [tells them](Network::share_configuration), which
    /// is to be done before. [`Network::configured`] waits for an address. When the shard ends, it is given back.
    ///
    /// # Errors
    /// [`ConfigError::NoInterface`] if there is no such interface, or it is no Ethernet; [`ConfigError::Full`] if the port of DHCP clients
    /// is in use.
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn start_dhcp(&self, interface: InterfaceId, options: Options) -> Result<(), ConfigError> {
        let lease = self.lease_for_clients(CLIENT_PORT)?;
        let now = self.shared().now();
        let mut state = self.shared().state();
        state.stack.start_dhcpv4(now, interface, options)?;
        state.leases.extend(lease);
        Ok(())
    }

    /// The same by DHCPv6: addresses and name servers, or name servers alone, as `mode` says, or else routers. The interface is to
    /// be [configured](Network::autoconfigure) for IPv6, since messages come from its link-local address.
    ///
    /// # Errors
    /// Those of [`Network::start_dhcp`]; [`ConfigError::Address`] if the link does not take packets of 1,280 bytes.
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn start_dhcpv6(
        &self,
        interface: InterfaceId,
        mode: Option<dhcpv6::Mode>,
        options: dhcpv6::Options,
    ) -> Result<(), ConfigError> {
        let lease = self.lease_for_clients(sunstar_wire::dhcpv6::CLIENT_PORT)?;
        let now = self.shared().now();
        let mut state = self.shared().state();
        state.stack.start_dhcpv6(now, interface, mode, options)?;
        state.leases.extend(lease);
        Ok(())
    }

    /// How DHCPv6 servers are to know an interface: by what names the host, if something does, or else by the first interface's address; and by
    /// its own address and VLAN, which is zero if it has none.
    pub fn dhcpv6_identity(&self, interface: InterfaceId, vlan: u16, host: Option<[u8; 16]>) -> dhcpv6::Options {
        let mac = |id| {
            let link = self.with_stack(|stack| stack.interface(id).map(|interface| interface.options().link));
            if let Some(Link::Ethernet(mac)) = link { mac } else { MacAddr([0; 6]) }
        };
        let first = self.with_ports(|ports| ports.first().map(|port| port.interface));
        let duid = match host {
            Some(host) => dhcpv6::duid_of_host(host),
            None => dhcpv6::duid_of_link(mac(first.unwrap_or(interface))),
        };
        dhcpv6::Options { duid, iaid: dhcpv6::iaid(mac(interface), vlan), hints: Vec::new() }
    }

    /// Has what comes to a port come to this shard, if there are others.
    fn lease_for_clients(&self, port: u16) -> Result<Option<Lease>, ConfigError> {
        let Some(spread) = self.spread() else { return Ok(None) };
        spread.open(IpProtocol::UDP, port, Claim::Alone, 0).map(Some).ok_or(ConfigError::Full)
    }
}
