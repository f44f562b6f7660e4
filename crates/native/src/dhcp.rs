//! Interfaces that are configured by DHCP.

use sunstar_tcpip::dhcpv4::Options;
use sunstar_tcpip::interface::InterfaceId;
use sunstar_tcpip::stack::ConfigError;
use sunstar_wire::IpProtocol;
use sunstar_wire::dhcpv4::CLIENT_PORT;

use crate::network::Network;
use crate::spread::Claim;

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
        // Answers are to come to this shard.
        let spread = self.spread();
        let lease = spread.map(|spread| spread.open(IpProtocol::UDP, CLIENT_PORT, Claim::Alone, 0));
        if matches!(lease, Some(None)) {
            return Err(ConfigError::Full);
        }
        let now = self.shared().now();
        let mut state = self.shared().state();
        state.stack.start_dhcpv4(now, interface, options)?;
        state.leases.extend(lease.flatten());
        Ok(())
    }
}
