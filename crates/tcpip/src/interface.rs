//! Where packets come in and leave.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use alloc::vec::Vec;
use sunstar_packet::Pool;
use sunstar_wire::{AddressPair, MacAddr};

use crate::configuration::{LinkParameters, Origin};
use crate::prefix::Prefix;

/// Names an interface of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId(pub(crate) u16);

impl InterfaceId {
    /// What every stack has: packets to its own addresses stay inside.
    pub const LOOPBACK: Self = Self(0);

    /// Its place in a table.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What is below IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Ethernet frames, sent from this address; neighbours are found by ARP and neighbour discovery.
    Ethernet(MacAddr),
    /// Nothing: packets are exchanged with one peer as they are, as with TUN devices.
    Ip,
}

/// What a device does for packets that are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Completes checksums of TCP and UDP ([`sunstar_packet::Checksum::Partial`]).
    pub completes_checksums: bool,
    /// Cuts TCP segments ([`sunstar_packet::Segmentation`]) of at most so many bytes, IP header included; implies that it
    /// completes checksums.
    pub segmentation_bytes: Option<u32>,
}

/// What an interface is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceOptions {
    /// What is below IP.
    pub link: Link,
    /// Bytes of the largest IP packet. Less than 576, which every host takes (RFC 791 §3.1), is taken for 576.
    pub mtu: u16,
    /// What the device does.
    pub capabilities: Capabilities,
}

/// The least MTU that is taken seriously.
pub(crate) const MIN_MTU: u16 = 576;

/// The MTU that every link has over which IPv6 is spoken (RFC 8200 §5).
pub(crate) const MIN_MTU_V6: u16 = 1_280;

/// Bytes that the header of IPv6 has more than that of IPv4.
pub(crate) const LONGER_V6: u16 = 20;

/// Bytes of the IP and TCP headers without options, which are not in the maximum segment size (RFC 6691 §2).
const IPV4_AND_TCP_BYTES: u16 = 40;

/// An interface of a stack.
#[derive(Debug)]
pub struct Interface {
    options: InterfaceOptions,
    /// What the device takes.
    link_mtu: u16,
    /// What was said of IPv4 by DHCP, and of IPv6 by routers; zero if nothing.
    dhcp_mtu: u16,
    router_mtu: u16,
    hop_limit: u8,
    is_loopback: bool,
    /// Its device takes nothing for now.
    is_paused: bool,
    addresses: Vec<Prefix>,
    /// Those that are not to be chosen for what is new (RFC 4862 §5.5.4).
    deprecated: Vec<IpAddr>,
    /// Where the headers of segments lie, if the device has memory of its own.
    pub(crate) headers: Option<Pool>,
}

impl Interface {
    pub(crate) fn new(options: InterfaceOptions) -> Self {
        let options = InterfaceOptions { mtu: options.mtu.max(MIN_MTU), ..options };
        Self {
            options,
            link_mtu: options.mtu,
            dhcp_mtu: 0,
            router_mtu: 0,
            hop_limit: LinkParameters::DEFAULT.hop_limit,
            is_loopback: false,
            is_paused: false,
            addresses: Vec::new(),
            deprecated: Vec::new(),
            headers: None,
        }
    }

    pub(crate) fn loopback() -> Self {
        // Nobody looks at checksums that never leave the stack.
        let capabilities = Capabilities { completes_checksums: true, segmentation_bytes: None };
        let options = InterfaceOptions { link: Link::Ip, mtu: u16::MAX, capabilities };
        let localhost = [Prefix::new(Ipv4Addr::LOCALHOST, 8), Prefix::new(Ipv6Addr::LOCALHOST, 128)];
        let addresses = localhost.into_iter().filter_map(Result::ok).collect();
        Self { is_loopback: true, addresses, ..Self::new(options) }
    }

    /// What it was made with, and the MTU that whoever runs the host has said since; see [`Interface::mtu_v4`], [`Interface::mtu_v6`].
    pub const fn options(&self) -> &InterfaceOptions {
        &self.options
    }

    /// Has packets be at most so large; zero stands for what the device takes, which is the most.
    pub(crate) fn set_mtu(&mut self, origin: Origin, mtu: u16) {
        match origin {
            Origin::Static => self.options.mtu = self.bounded(mtu),
            Origin::Dhcpv4 => self.dhcp_mtu = mtu,
            Origin::RouterAdvertisement | Origin::Dhcpv6 => self.router_mtu = mtu,
        }
    }

    fn bounded(&self, mtu: u16) -> u16 {
        let mtu = if mtu == 0 { self.link_mtu } else { mtu };
        mtu.max(MIN_MTU).min(self.link_mtu)
    }

    /// Bytes of the largest packet of IPv4.
    pub fn mtu_v4(&self) -> u16 {
        self.bounded(self.dhcp_mtu).min(self.options.mtu)
    }

    /// Bytes of the largest packet of IPv6, if that is spoken.
    pub fn mtu_v6(&self) -> u16 {
        self.bounded(self.router_mtu).min(self.options.mtu).max(MIN_MTU_V6)
    }

    /// Bytes of the largest packet to an address.
    pub(crate) fn mtu_to(&self, dst: IpAddr) -> u16 {
        if dst.is_ipv4() { self.mtu_v4() } else { self.mtu_v6() }
    }

    /// Bytes that its device takes.
    pub(crate) const fn link_mtu(&self) -> u16 {
        self.link_mtu
    }

    /// How many routers packets of IPv6 may pass.
    pub const fn hop_limit(&self) -> u8 {
        self.hop_limit
    }

    pub(crate) const fn set_hop_limit(&mut self, hop_limit: u8) {
        self.hop_limit = hop_limit;
    }

    /// Its addresses with their prefixes, in the order in which they were added.
    pub fn addresses(&self) -> &[Prefix] {
        &self.addresses
    }

    pub(crate) const fn is_loopback(&self) -> bool {
        self.is_loopback
    }

    pub(crate) const fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Notes whether its device takes something; answers whether that is news.
    pub(crate) const fn set_paused(&mut self, is_paused: bool) -> bool {
        core::mem::replace(&mut self.is_paused, is_paused) != is_paused
    }

    /// Its Ethernet address.
    pub(crate) const fn mac(&self) -> Option<MacAddr> {
        match self.options.link {
            Link::Ethernet(mac) => Some(mac),
            Link::Ip => None,
        }
    }

    /// Bytes of the largest TCP payload without options, in packets between these addresses.
    pub(crate) fn mss(&self, addresses: AddressPair) -> u16 {
        match addresses {
            AddressPair::V4 { .. } => mss_of(self.mtu_v4()),
            AddressPair::V6 { .. } => mss_of(self.mtu_v6().saturating_sub(LONGER_V6)),
        }
    }

    /// Whether IPv6 can be spoken: that is a matter of the device, not of what IPv4 is told.
    pub(crate) const fn speaks_v6(&self) -> bool {
        self.link_mtu >= MIN_MTU_V6
    }

    /// Its link-local address, if it has one.
    pub(crate) fn link_local(&self) -> Option<Ipv6Addr> {
        self.addresses_v6().find(|address| address.is_unicast_link_local())
    }

    /// Its addresses of IPv6.
    pub(crate) fn addresses_v6(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.addresses.iter().filter_map(|prefix| match prefix.address() {
            IpAddr::V6(v6) => Some(v6),
            IpAddr::V4(_) => None,
        })
    }

    /// Whether an address may be chosen for what is new.
    pub(crate) fn is_preferred(&self, address: IpAddr) -> bool {
        !self.deprecated.contains(&address)
    }

    pub(crate) fn set_preferred(&mut self, address: IpAddr, is_preferred: bool) {
        self.deprecated.retain(|other| *other != address);
        if !is_preferred && self.has_address(address) {
            self.deprecated.push(address);
        }
    }

    pub(crate) fn add_address(&mut self, address: Prefix) {
        self.remove_address(address.address());
        self.addresses.push(address);
    }

    pub(crate) fn remove_address(&mut self, address: IpAddr) -> Option<Prefix> {
        self.deprecated.retain(|other| *other != address);
        let at = self.addresses.iter().position(|other| other.address() == address)?;
        Some(self.addresses.remove(at))
    }

    pub(crate) fn has_address(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.address() == address)
    }

    /// Whether an address stands for all stations here (RFC 1122 §3.2.1.3).
    pub(crate) fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        address.is_broadcast() || self.addresses.iter().any(|own| own.broadcast() == Some(address))
    }

    /// Whether an address belongs to a network that is directly here.
    pub(crate) fn is_on_link(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.contains(address))
    }

    /// The address that packets to `next_hop` come from: of the network in which that is, or else the first one.
    pub(crate) fn source_for(&self, next_hop: IpAddr) -> Option<IpAddr> {
        let same = |own: &&Prefix| own.contains(next_hop);
        let any = |own: &&Prefix| own.address().is_ipv4() == next_hop.is_ipv4();
        let found = self.addresses.iter().find(same).or_else(|| self.addresses.iter().find(any));
        found.map(|own| own.address())
    }
}

/// Bytes of the largest TCP payload without options in packets of so many bytes.
pub(crate) const fn mss_of(mtu: u16) -> u16 {
    mtu.saturating_sub(IPV4_AND_TCP_BYTES)
}
