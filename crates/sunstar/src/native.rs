//! The native network of an application: its options, and what follows from them.

mod device;
mod dhcp;
mod ipv6;
mod opened;
mod ports;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use clap::{ArgAction, Args};
use sunstar_device::FaultOptions;
use sunstar_native::Prefix;

use crate::error::Error;
use crate::options::truth;
use device::DeviceOptions;
pub(crate) use opened::Opened;

const DEVICE_HELP: &str = "Device of the native stack: tap:NAME[,queues=N][,mtu=BYTES][,txqueue=PACKETS][,offload=on|off][,vlan=ID], \
     xdp:IFNAME[,queues=N][,checksum=ignore][,mac=shared][,tcp=PORTS][,udp=PORTS], or \
     vhost-user:PATH[,back][,server][,queues=N][,mtu=BYTES][,mac=ADDRESS][,offload=on|off][,rss=symmetric|secret][,ring=split|packed][,vlan=ID]; \
     may be repeated, also for other VLANs of a device";

#[derive(Args, Debug)]
#[group(skip)]
pub(crate) struct NativeOptions {
    #[arg(long, value_name = "DEVICE", value_parser = str::parse::<DeviceOptions>, help = DEVICE_HELP)]
    device: Vec<DeviceOptions>,

    /// Whether DHCP gives the devices their IPv4 addresses, 0 or 1; those of --host-ipv4-addr win [default: 1 without them]
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, value_parser = truth)]
    dhcp: Option<bool>,

    #[command(flatten)]
    clients: dhcp::ClientOptions,

    /// Address of the native stack, as in 192.0.2.2: one for each device, in their order
    #[arg(long, value_name = "ADDRESS")]
    host_ipv4_addr: Vec<Ipv4Addr>,

    /// Netmask that goes with it: one for all addresses, or one for each [default: 255.255.255.0]
    #[arg(long, value_name = "MASK", value_parser = netmask)]
    netmask_ipv4_addr: Vec<u8>,

    /// Gateway to other networks, in that of some device; of several the first one is taken [default: none]
    #[arg(long, value_name = "ADDRESS")]
    gw_ipv4_addr: Vec<Ipv4Addr>,

    /// IPv6 address of the native stack, as in 2001:db8::2/64, or NAME=2001:db8::2/64 if not for the first device; may be repeated
    #[arg(long, value_name = "ADDRESS/LEN")]
    host_ipv6_addr: Vec<ipv6::HostAddress>,

    /// IPv6 gateway to other networks: in that of some address, or link-local and then on the first device [default: none]
    #[arg(long, value_name = "ADDRESS")]
    gw_ipv6_addr: Option<Ipv6Addr>,

    /// Whether routers configure IPv6 on the devices, 0 or 1; --host-ipv6-addr wins [default: 1 without it]
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, value_parser = truth)]
    slaac: Option<bool>,

    /// Capture the native stack's packets in a file that tshark reads
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,

    /// Disturb the native stack's packets, as in drop=0.01,delay=10ms,seed=7
    #[arg(long, value_name = "FAULTS", value_parser = str::parse::<FaultOptions>)]
    fault: Option<FaultOptions>,

    /// Show the native stack's packets in the log
    #[arg(long)]
    trace: bool,
}

impl NativeOptions {
    /// What is asked for; nothing if the network is the kernel's.
    ///
    /// # Errors
    /// If options are missing, or make no sense together.
    pub(crate) fn plan(&self, is_native: bool) -> Result<Option<Plan>, Error> {
        if !is_native {
            return match self.first() {
                Some(option) => Err(Error::usage(format_args!("{option} needs --network-stack native"))),
                None => Ok(None),
            };
        }
        let interfaces = self.interfaces()?;
        let gateways = self.gw_ipv4_addr.iter().map(|gateway| Gateway::find(*gateway, &interfaces));
        let gateways = gateways.collect::<Result<_, _>>()?;
        let (pcap, fault, trace) = (self.pcap.clone(), self.fault, self.trace);
        let ipv6 = ipv6::Ipv6Plan::new(&self.host_ipv6_addr, self.gw_ipv6_addr, self.slaac, &interfaces)?;
        let ipv6 = ipv6.with_dhcp(self.clients.dhcpv6)?;
        let clients = self.clients.check(interfaces.iter().filter(|interface| interface.asks_dhcp).count())?;
        let ignores_dhcp = self.dhcp == Some(true) && !self.host_ipv4_addr.is_empty();
        Ok(Some(Plan { interfaces, ignores_dhcp, clients, gateways, ipv6, pcap, fault, trace }))
    }

    /// The devices with what belongs to them.
    fn interfaces(&self) -> Result<Vec<Interface>, Error> {
        let needs = |what| Err(Error::usage(format_args!("--network-stack native needs {what}")));
        let counts = [self.device.len(), self.host_ipv4_addr.len(), self.netmask_ipv4_addr.len()];
        match counts {
            [0, ..] => return needs("--device, as in --device tap:NAME"),
            [_, 0, _] => return self.interfaces_by_dhcp(),
            [devices, addresses, _] if devices != addresses => {
                let what = "each --device needs one --host-ipv4-addr, in the same order";
                return Err(Error::usage(format_args!("{what}: there are {devices} and {addresses}")));
            }
            [devices, _, masks] if masks > 1 && masks != devices => {
                let what = "--netmask-ipv4-addr stands once for all devices, or once for each";
                return Err(Error::usage(format_args!("{what}: there are {masks} for {devices}")));
            }
            _ => {}
        }
        let mut interfaces: Vec<Interface> = Vec::new();
        for (at, (device, address)) in self.device.iter().zip(&self.host_ipv4_addr).enumerate() {
            let mask = self.netmask_ipv4_addr.get(at).or(self.netmask_ipv4_addr.first());
            let interface = Interface::new(device.clone(), *address, mask.copied().unwrap_or(24))?;
            interfaces.iter().try_for_each(|other| interface.check_beside(other))?;
            interfaces.push(interface);
        }
        Ok(interfaces)
    }

    /// The devices, whose addresses others give.
    fn interfaces_by_dhcp(&self) -> Result<Vec<Interface>, Error> {
        let needs = |what: &str| Err(Error::usage(format_args!("{what} needs --host-ipv4-addr")));
        match () {
            () if !self.netmask_ipv4_addr.is_empty() => return needs("--netmask-ipv4-addr"),
            () if !self.gw_ipv4_addr.is_empty() => return needs("--gw-ipv4-addr"),
            () if self.dhcp == Some(false) && !self.speaks_v6() => {
                return needs("--network-stack native without DHCP");
            }
            () => {}
        }
        let mut interfaces: Vec<Interface> = Vec::new();
        for device in &self.device {
            if device.kind.shares_mac() && self.dhcp != Some(false) {
                let what = "with mac=shared needs --host-ipv4-addr, or --dhcp 0: servers tell hosts by that address";
                return Err(Error::usage(format_args!("--device {device} {what}")));
            }
            let interface = Interface { device: device.clone(), prefix: None, asks_dhcp: self.dhcp != Some(false) };
            interfaces.iter().try_for_each(|other| interface.check_beside(other))?;
            interfaces.push(interface);
        }
        Ok(interfaces)
    }

    /// Whether IPv6 is asked for.
    fn speaks_v6(&self) -> bool {
        !self.host_ipv6_addr.is_empty() || self.slaac == Some(true) || self.clients.speaks_v6()
    }

    /// The first option that was given.
    fn first(&self) -> Option<&'static str> {
        let given = [
            (!self.device.is_empty(), "--device"),
            (self.dhcp.is_some(), "--dhcp"),
            (self.clients.first().is_some(), self.clients.first().unwrap_or_default()),
            (!self.host_ipv4_addr.is_empty(), "--host-ipv4-addr"),
            (!self.netmask_ipv4_addr.is_empty(), "--netmask-ipv4-addr"),
            (!self.gw_ipv4_addr.is_empty(), "--gw-ipv4-addr"),
            (!self.host_ipv6_addr.is_empty(), "--host-ipv6-addr"),
            (self.gw_ipv6_addr.is_some(), "--gw-ipv6-addr"),
            (self.slaac.is_some(), "--slaac"),
            (self.pcap.is_some(), "--pcap"),
            (self.fault.is_some(), "--fault"),
            (self.trace, "--trace"),
        ];
        given.into_iter().find(|(is_given, _)| *is_given).map(|(_, option)| option)
    }
}

/// Whether a host of the network may have an address (RFC 1122 §3.2.1.3).
fn is_host(address: Ipv4Addr, prefix: Prefix) -> bool {
    let first = address.octets()[0];
    let host_bits = u32::MAX.checked_shr(prefix.len().into()).unwrap_or(0);
    // Networks of one or two addresses have no address that stands for all (RFC 3021).
    let names_network = prefix.len() < 31 && address.to_bits() & host_bits == 0;
    (1..224).contains(&first) && first != 127 && prefix.broadcast() != Some(address) && !names_network
}

fn netmask(text: &str) -> Result<u8, String> {
    let mask: Ipv4Addr = text.parse().map_err(|_| "it must be a mask such as 255.255.255.0".to_owned())?;
    let bits = u32::from(mask);
    if bits.leading_ones() + bits.trailing_zeros() != 32 && bits != 0 {
        return Err("its ones must come before its zeros, as in 255.255.255.0".to_owned());
    }
    u8::try_from(bits.leading_ones()).map_err(|error| error.to_string())
}

/// A native network that is to be.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    interfaces: Vec<Interface>,
    /// DHCP was asked for beside addresses, which win.
    ignores_dhcp: bool,
    clients: dhcp::ClientOptions,
    /// In the order in which they are preferred.
    gateways: Vec<Gateway>,
    ipv6: ipv6::Ipv6Plan,
    pcap: Option<PathBuf>,
    fault: Option<FaultOptions>,
    trace: bool,
}

/// A device, or a VLAN of it, and its address.
#[derive(Clone, Debug)]
struct Interface {
    device: DeviceOptions,
    /// None if others give it.
    prefix: Option<Prefix>,
    asks_dhcp: bool,
}

impl Interface {
    fn new(device: DeviceOptions, address: Ipv4Addr, mask: u8) -> Result<Self, Error> {
        let prefix = Prefix::new(address, mask).map_err(Error::usage)?;
        if !is_host(address, prefix) {
            return Err(Error::usage(format_args!("--host-ipv4-addr {address}: no host can have that address")));
        }
        Ok(Self { device, prefix: Some(prefix), asks_dhcp: false })
    }

    /// Whether it can be told from another one: what goes to a network goes by one device.
    fn check_beside(&self, other: &Self) -> Result<(), Error> {
        self.device.check_beside(&other.device)?;
        let Some((own, others)) = self.prefix.zip(other.prefix) else { return Ok(()) };
        let (here, there) = (own.address(), others.address());
        if own.contains(there) || others.contains(here) {
            let what = "one network, in which only one device can be";
            return Err(Error::usage(format_args!("--host-ipv4-addr {there} and {here} are in {what}")));
        }
        Ok(())
    }
}

/// A way to other networks.
#[derive(Clone, Copy, Debug)]
struct Gateway {
    address: Ipv4Addr,
    /// The place of the interface in whose network it is.
    interface: usize,
}

impl Gateway {
    fn find(address: Ipv4Addr, interfaces: &[Interface]) -> Result<Self, Error> {
        let contains = |prefix: Prefix| prefix.contains(address.into());
        let interface = interfaces.iter().position(|interface| interface.prefix.is_some_and(contains));
        let interface = interface.ok_or_else(|| {
            let network = |of: &Interface| of.prefix.map(|prefix| prefix.to_string());
            let networks = interfaces.iter().filter_map(network).collect::<Vec<_>>().join(" or ");
            Error::usage(format_args!("--gw-ipv4-addr {address} is not in the network of {networks}"))
        })?;
        Ok(Self { address, interface })
    }
}
