//! How a host is configured while it runs, and how the stacks of its shards learn of it.
//!
//! One stack of a host is told by others how to be configured: it speaks DHCP and listens to routers. What it decides is a [`Change`],
//! which it makes ([`Stack::configure`](crate::stack::Stack::configure)) and hands out
//! ([`Stack::poll_change`](crate::stack::Stack::poll_change)). The stacks of the other shards make it too
//! ([`Stack::apply`](crate::stack::Stack::apply)), in the same order, and tell nobody: one host announces an address once.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::interface::InterfaceId;
use crate::prefix::Prefix;
use crate::routes::Route;
use crate::zone;

/// Name servers, and search domains, of one origin at most; further ones are left out.
pub const MAX_NAME_SERVERS: usize = 8;

/// Changes that wait to be handed out at most. Removals are taken beyond that, since there are no more of them than of what was added: what
/// waits and means nothing any more because of them is not handed out.
pub const MAX_CHANGES: usize = 1_024;

/// Who says how a host is to be configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// Whoever runs the host.
    Static,
    /// A router, by router advertisements (RFC 4861, RFC 8106).
    RouterAdvertisement,
    /// A DHCPv6 server (RFC 8415).
    Dhcpv6,
    /// A DHCP server (RFC 2131).
    Dhcpv4,
}

/// A change of the configuration of a host, of either version of IP. Interfaces have the same numbers on all shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An interface gets an address, and the route to its network.
    AddAddress {
        /// Which one.
        interface: InterfaceId,
        /// The address in its network.
        address: Prefix,
    },
    /// An interface loses an address, and the route to its network if it has no other address there. Connections from it end, unless
    /// another interface has it.
    RemoveAddress {
        /// Which one.
        interface: InterfaceId,
        /// The address.
        address: IpAddr,
    },
    /// Whether an address is to be chosen for what is new (RFC 4862 §5.5.4).
    SetPreferred {
        /// On which interface.
        interface: InterfaceId,
        /// The address.
        address: IpAddr,
        /// Whether it is; new ones are.
        is_preferred: bool,
    },
    /// A way to a network.
    AddRoute(Route),
    /// There is no such way any more.
    RemoveRoute(Route),
    /// Packets on an interface are at most so large; never larger than its device takes. DHCP says that of IPv4, a router of IPv6, whoever
    /// runs the host of both; the least counts, for IPv6 not less than 1280 bytes.
    SetMtu {
        /// Which one.
        interface: InterfaceId,
        /// By whom.
        origin: Origin,
        /// Bytes of the largest IP packet; zero for what the device takes.
        mtu: u16,
    },
    /// What routers say of a link beside addresses and ways, in the place of what they have said before.
    SetLink {
        /// Which one.
        interface: InterfaceId,
        /// What they say.
        parameters: LinkParameters,
    },
    /// The servers to be asked for names, in the place of those that came from the same origin by the same interface.
    SetNameServers {
        /// Where they were heard of.
        interface: InterfaceId,
        /// By whom.
        origin: Origin,
        /// The first one is asked first.
        servers: Vec<IpAddr>,
    },
    /// The domains in which names without dots are looked for, in the place of those that came from the same origin by the same interface.
    SetSearchDomains {
        /// Where they were heard of.
        interface: InterfaceId,
        /// By whom.
        origin: Origin,
        /// The first one is tried first.
        domains: Vec<Box<str>>,
    },
}

/// How stations of a link speak IPv6, as routers say (RFC 4861 §6.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkParameters {
    /// How many routers packets may pass (`CurHopLimit`).
    pub hop_limit: u8,
    /// For so long a neighbour that has shown itself is taken for reachable (`BaseReachableTime`).
    pub reachable: Duration,
    /// Between two questions for a neighbour (`RetransTimer`).
    pub retransmit: Duration,
}

impl LinkParameters {
    /// What holds before any router has said something (RFC 4861 §10; the hop limit of RFC 1700, as everywhere).
    pub const DEFAULT: Self =
        Self { hop_limit: 64, reachable: Duration::from_secs(30), retransmit: Duration::from_secs(1) };
}

impl Change {
    /// Whether it takes something away that was there.
    pub(crate) const fn is_removal(&self) -> bool {
        match self {
            Self::RemoveAddress { .. } | Self::RemoveRoute(_) | Self::SetMtu { mtu: 0, .. } => true,
            Self::SetNameServers { servers, .. } => servers.is_empty(),
            Self::SetSearchDomains { domains, .. } => domains.is_empty(),
            Self::AddAddress { .. }
            | Self::SetPreferred { .. }
            | Self::AddRoute(_)
            | Self::SetMtu { .. }
            | Self::SetLink { .. } => false,
        }
    }

    /// Whether an earlier change means nothing any more after this one.
    fn overtakes(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::RemoveAddress { interface, address }, Self::AddAddress { interface: at, address: other }) => {
                (*interface, *address) == (*at, other.address())
            }
            (
                Self::RemoveAddress { interface, address },
                Self::RemoveAddress { interface: at, address: other }
                | Self::SetPreferred { interface: at, address: other, .. },
            ) => (interface, address) == (at, other),
            (Self::RemoveRoute(route), Self::AddRoute(other) | Self::RemoveRoute(other)) => route.is_same_way(other),
            (Self::SetMtu { interface, origin, .. }, Self::SetMtu { interface: at, origin: by, .. })
            | (
                Self::SetNameServers { interface, origin, .. },
                Self::SetNameServers { interface: at, origin: by, .. },
            )
            | (
                Self::SetSearchDomains { interface, origin, .. },
                Self::SetSearchDomains { interface: at, origin: by, .. },
            ) => (interface, origin) == (at, by),
            (Self::SetLink { interface, .. }, Self::SetLink { interface: at, .. }) => interface == at,
            _ => false,
        }
    }
}

/// Things that came from somewhere, the most trusted origin first.
#[derive(Debug)]
struct Heard<T>(Vec<(Origin, InterfaceId, Vec<T>)>);

impl<T: Clone + PartialEq> Heard<T> {
    fn set(&mut self, origin: Origin, interface: InterfaceId, things: &[T]) {
        self.0.retain(|(other, at, _)| (*other, *at) != (origin, interface));
        let things: Vec<T> = things.iter().take(MAX_NAME_SERVERS).cloned().collect();
        if !things.is_empty() {
            let at = self.0.partition_point(|(other, at, _)| (*other, *at) < (origin, interface));
            self.0.insert(at, (origin, interface, things));
        }
    }

    /// Each of them once.
    fn all(&self) -> Vec<T> {
        let mut all = Vec::new();
        for thing in self.0.iter().flat_map(|(.., things)| things) {
            if !all.contains(thing) {
                all.push(thing.clone());
            }
        }
        all
    }
}

/// What a stack knows of names, and which changes wait to be handed out.
#[derive(Debug)]
pub(crate) struct Configuration {
    servers: Heard<IpAddr>,
    domains: Heard<Box<str>>,
    changes: VecDeque<Change>,
}

impl Default for Configuration {
    fn default() -> Self {
        Self { servers: Heard(Vec::new()), domains: Heard(Vec::new()), changes: VecDeque::new() }
    }
}

impl Configuration {
    pub(crate) fn set_name_servers(&mut self, origin: Origin, interface: InterfaceId, servers: &[IpAddr]) {
        self.servers.set(origin, interface, servers);
    }

    pub(crate) fn set_search_domains(&mut self, origin: Origin, interface: InterfaceId, domains: &[Box<str>]) {
        self.domains.set(origin, interface, domains);
    }

    pub(crate) fn name_servers(&self) -> Vec<IpAddr> {
        self.servers.all()
    }

    /// The same with their port, and, if they are link-local, with the link where they were heard of.
    pub(crate) fn name_servers_at(&self, port: u16) -> Vec<SocketAddr> {
        let mut all = Vec::new();
        for (_, interface, servers) in &self.servers.0 {
            let at = |server: &IpAddr| zone::shown(SocketAddr::new(zone::marked(*server, *interface), port));
            all.extend(servers.iter().map(at));
        }
        let mut known = Vec::new();
        all.retain(|server| {
            !known.contains(server) && {
                known.push(*server);
                true
            }
        });
        all
    }

    pub(crate) fn search_domains(&self) -> Vec<Box<str>> {
        self.domains.all()
    }

    /// Whether a change may be made now.
    pub(crate) fn has_room_for(&self, change: &Change) -> bool {
        self.changes.len() < MAX_CHANGES || change.is_removal()
    }

    pub(crate) fn tell(&mut self, change: Change) {
        self.changes.retain(|earlier| !change.overtakes(earlier));
        self.changes.push_back(change);
    }

    pub(crate) fn has_change(&self) -> bool {
        !self.changes.is_empty()
    }

    pub(crate) fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }
}
