//! How a host comes by its addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sunstar_device::{Queue, split};
use sunstar_executor::local;
use sunstar_native::{InterfaceId, Network, Prefix};
use sunstar_tcpip::configuration::Change;
use sunstar_tcpip::dhcpv4;
use sunstar_tcpip::stack::AutoconfOptions;
use sunstar_wire::MacAddr;

use super::gateway::Gateway;
use super::{Native, NativeShard, address_v6};
use crate::network::{SimStack, host_address};

/// No link that carries IPv6 takes less.
const MIN_MTU_V6_BYTES: usize = 1_280;

/// The prefix lengths of all local networks.
const LEN_V4: u8 = 8;
const LEN_V6: u8 = 64;

impl Native {
    /// A queue of a device as the network sees it: in its VLAN, and with the gateway behind the first one.
    pub(super) fn behind(&self, port: usize, vlan: Option<u16>, queue: Box<dyn Queue>) -> Box<dyn Queue> {
        let queue = match vlan {
            Some(_) => Box::new(split(queue, &[vlan]).remove(0)) as Box<dyn Queue>,
            None => queue,
        };
        match self.options.gateway.filter(|_| port == 0) {
            Some(options) => {
                let address = self.addresses[port];
                let prefix = Ipv6Addr::from_bits(address_v6(address).to_bits() >> LEN_V6 << LEN_V6);
                Box::new(Gateway::new(queue, options, (address, prefix), reserved))
            }
            None => queue,
        }
    }

    /// Gives an interface the addresses that nobody else gives it; that of IPv6 if the link takes its packets (RFC 8200 §5).
    pub(super) fn add_addresses(&self, network: &Network, interface: InterfaceId, port: usize) {
        let address = self.addresses[port];
        if port > 0 || !self.options.asks_dhcp {
            let v4 = Prefix::new(IpAddr::V4(address), LEN_V4).expect("8 bits are fewer than 32");
            network.add_address(interface, v4).expect("a host may have it");
        }
        if self.options.ports[port].mtu_bytes >= MIN_MTU_V6_BYTES && (port > 0 || !self.options.follows_routers) {
            let v6 = Prefix::new(IpAddr::V6(address_v6(address)), LEN_V6).expect("64 bits are fewer than 128");
            network.add_address(interface, v6).expect("a host may have it");
        }
    }

    /// Has the first interface be configured by others, as far as that is wanted, for all shards; on shard 0 when all have a network.
    pub(super) fn configure(&self) {
        let Some(NativeShard { network, first, .. }) = self.shards.first() else { return };
        let follows_routers = self.options.follows_routers && self.options.ports[0].mtu_bytes >= MIN_MTU_V6_BYTES;
        if !self.options.asks_dhcp && !follows_routers {
            return;
        }
        let interface = *first;
        network.share_configuration();
        if self.options.asks_dhcp {
            network.start_dhcp(interface, dhcpv4::Options::default()).expect("nobody else is a client");
        }
        if follows_routers {
            self.follow_routers(network, interface);
        }
    }

    fn follow_routers(&self, network: &Network, interface: InterfaceId) {
        let (own, world) = (self.addresses[0], local::get::<SimStack>().expect("shards of a world have it"));
        network.follow_configuration(move |change| {
            if let Change::AddAddress { address, .. } = change
                && let IpAddr::V6(v6) = address.address()
                && !v6.is_unicast_link_local()
            {
                world.network().note_v6(own, v6);
            }
        });
        let mut secret = [0; 16];
        secret[..4].copy_from_slice(&own.octets());
        let options = AutoconfOptions { secret, follows_routers: true };
        network.autoconfigure(interface, options).expect("it is an Ethernet that takes packets of IPv6");
    }
}

/// The address that a gateway gives a device.
fn reserved(mac: MacAddr) -> Option<Ipv4Addr> {
    let MacAddr([2, 0, 0, 0, high, low]) = mac else { return None };
    Some(host_address(u16::from_be_bytes([high, low]).into()))
}
