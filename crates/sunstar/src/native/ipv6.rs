//! IPv6 on the native network: addresses that are given, and what routers say.

use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::current;
use sunstar_native::{InterfaceId, Network, Prefix};
use sunstar_tcpip::configuration::Change;
use sunstar_tcpip::routes::Route;
use sunstar_tcpip::stack::{AutoconfOptions, ConfigError};

use super::Interface;
use super::dhcp::Dhcpv6;
use crate::error::Error;

/// How long the start waits for addresses that are given: nobody may have them already, which takes a second to find out.
const PATIENCE: Duration = Duration::from_secs(5);

/// What names this host, if anything does.
const MACHINE_ID: &str = "/etc/machine-id";

/// An address that is given, and for which device.
#[derive(Clone, Debug)]
pub(super) struct HostAddress {
    device: Option<String>,
    prefix: Prefix,
}

impl FromStr for HostAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let what = || format!("{text} is no address with the length of its prefix, as 2001:db8::2/64 is");
        let (device, rest) = text.split_once('=').map_or((None, text), |(name, rest)| (Some(name.to_owned()), rest));
        let (address, len) = rest.split_once('/').ok_or_else(what)?;
        let address: Ipv6Addr = address.parse().map_err(|_| what())?;
        let prefix = Prefix::new(address, len.parse().map_err(|_| what())?).map_err(|error| error.to_string())?;
        if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
            return Err(format!("{address}: no host can have that address"));
        }
        Ok(Self { device, prefix })
    }
}

/// What is to be done about IPv6.
#[derive(Clone, Debug)]
pub(super) struct Ipv6Plan {
    /// By the places of their interfaces.
    addresses: Vec<(usize, Prefix)>,
    gateway: Option<(usize, Ipv6Addr)>,
    follows_routers: bool,
    is_spoken: bool,
    dhcp: Dhcpv6,
    /// Of the interfaces; zero for what has no tag.
    vlans: Vec<u16>,
}

impl Ipv6Plan {
    pub(super) fn new(
        given: &[HostAddress],
        gateway: Option<Ipv6Addr>,
        slaac: Option<bool>,
        interfaces: &[Interface],
    ) -> Result<Self, Error> {
        let mut addresses = Vec::new();
        for HostAddress { device, prefix } in given {
            let is_it = |interface: &Interface| device.as_ref().is_none_or(|name| *name == interface.device.name());
            let at = interfaces.iter().position(is_it).ok_or_else(|| {
                let name = device.as_deref().unwrap_or_default();
                Error::usage(format_args!("--host-ipv6-addr {name}={prefix}: there is no --device of that name"))
            })?;
            addresses.push((at, *prefix));
        }
        let find = |gateway: Ipv6Addr| {
            let here = addresses.iter().find(|(_, prefix)| prefix.contains(gateway.into())).map(|(at, _)| *at);
            let at = here.or(gateway.is_unicast_link_local().then_some(0));
            let what = "is neither link-local nor in the network of any --host-ipv6-addr";
            at.map(|at| (at, gateway)).ok_or_else(|| Error::usage(format_args!("--gw-ipv6-addr {gateway} {what}")))
        };
        let gateway = gateway.map(find).transpose()?;
        let follows_routers = slaac.unwrap_or(given.is_empty()) && given.is_empty();
        if slaac == Some(true) && !given.is_empty() {
            log::warn!("--slaac 1 is not followed, since --host-ipv6-addr is given");
        }
        let is_spoken = follows_routers || !given.is_empty();
        let vlans = interfaces.iter().map(|interface| interface.device.vlan.unwrap_or(0)).collect();
        Ok(Self { is_spoken, addresses, gateway, follows_routers, dhcp: Dhcpv6::Off, vlans })
    }

    /// With what is asked for by DHCPv6; if nothing is said, that is left to routers, where they are followed.
    pub(super) fn with_dhcp(self, asked: Option<Dhcpv6>) -> Result<Self, Error> {
        let usual = if self.follows_routers { Dhcpv6::Auto } else { Dhcpv6::Off };
        let dhcp = asked.unwrap_or(usual);
        if dhcp == Dhcpv6::Auto && !self.follows_routers {
            return Err(Error::usage("--dhcpv6 auto does what routers say, who are not followed: it needs --slaac 1"));
        }
        let is_spoken = self.is_spoken || dhcp != Dhcpv6::Off;
        Ok(Self { is_spoken, dhcp, ..self })
    }

    /// The addresses that are given to the interface at a place.
    pub(super) fn given(&self, at: usize) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().filter(move |(place, _)| *place == at).map(|(_, prefix)| prefix.address())
    }

    /// Whether addresses are asked for, whatever routers say.
    pub(super) fn waits_for_dhcp(&self) -> bool {
        self.dhcp == Dhcpv6::Stateful
    }

    /// Has the stack speak IPv6, and asks whether the addresses that are given are free. To be called on the shard that configures the
    /// others.
    ///
    /// # Errors
    /// If an address can't be had on its device.
    pub(super) fn begin(&self, network: &Network, interfaces: &[InterfaceId]) -> Result<(), Error> {
        if !self.is_spoken {
            return Ok(());
        }
        let options = AutoconfOptions { secret: secret(), follows_routers: self.follows_routers };
        for (at, id) in interfaces.iter().enumerate() {
            let is_given = self.addresses.iter().any(|(place, _)| *place == at);
            let outcome = network.autoconfigure(*id, options).and_then(|()| self.begin_dhcp(network, at, *id));
            // A link that is too narrow only matters if somebody wants an address there.
            let wants = if is_given { Some("--host-ipv6-addr") } else { self.dhcp.asks().map(|_| "--dhcpv6") };
            if let (Some(option), true) = (wants, outcome.is_err()) {
                let what = "IPv6 needs an Ethernet with an MTU of 1280 bytes";
                return Err(Error::usage(format_args!("{option}: {what}")));
            }
        }
        for (at, address) in &self.addresses {
            let Some(&interface) = interfaces.get(*at) else { continue };
            network.configure(Change::AddAddress { interface, address: *address })?;
        }
        if let Some((at, gateway)) = self.gateway
            && let Some(&interface) = interfaces.get(at)
        {
            let gateway = Some(gateway.into());
            network.configure(Change::AddRoute(Route { prefix: Prefix::ALL_V6, gateway, interface, metric: 0 }))?;
        }
        Ok(())
    }

    fn begin_dhcp(&self, network: &Network, at: usize, id: InterfaceId) -> Result<(), ConfigError> {
        if self.dhcp == Dhcpv6::Off {
            return Ok(());
        }
        let vlan = self.vlans.get(at).copied().unwrap_or(0);
        network.start_dhcpv6(id, self.dhcp.asks(), network.dhcpv6_identity(id, vlan, machine_id()))
    }

    /// Waits until the addresses that are given are ours.
    ///
    /// # Errors
    /// If another station has one.
    pub(super) async fn wait(&self, network: &Network, interfaces: &[InterfaceId]) -> Result<(), Error> {
        let wanted: Vec<(InterfaceId, IpAddr)> =
            self.addresses.iter().filter_map(|(at, prefix)| Some((*interfaces.get(*at)?, prefix.address()))).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let are_ours = network.configured(|stack| wanted.iter().all(|(_, address)| stack.is_own(*address)));
        if with_timeout(PATIENCE, are_ours).await.is_ok() {
            return Ok(());
        }
        let lacking = wanted.iter().find(|(_, address)| network.with_stack(|stack| !stack.is_own(*address)));
        let address = lacking.map_or_else(String::new, |(_, address)| address.to_string());
        Err(Error::failure(format!("another station has --host-ipv6-addr {address}")))
    }
}

/// From which the lower halves of addresses follow: the same on each start of this host, if it has a name.
fn secret() -> [u8; 16] {
    machine_id().unwrap_or_else(|| {
        let mut secret = [0; 16];
        current::entropy(&mut secret);
        secret
    })
}

/// The name of this host, if it has one.
fn machine_id() -> Option<[u8; 16]> {
    let id = fs::read_to_string(MACHINE_ID).ok()?;
    u128::from_str_radix(id.trim(), 16).ok().map(u128::to_be_bytes)
}
