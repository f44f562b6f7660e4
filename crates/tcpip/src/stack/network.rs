//! Interfaces and the ways between them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use alloc::vec::Vec;
use sunstar_packet::Pool;
use sunstar_wire::FourTuple;

use super::{is_v4_station, selection};
use crate::configuration::Origin;
use crate::interface::{Interface, InterfaceId, InterfaceOptions};
use crate::neighbours::Key;
use crate::prefix::Prefix;
use crate::routes::{Route, Routes, TooManyRoutes};
use crate::tcp::sockets::OpenError;
use crate::time::Instant;
use crate::zone;

/// The way of a packet: where it leaves, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) interface: InterfaceId,
    pub(super) next_hop: IpAddr,
    pub(super) cast: Cast,
}

/// To how many a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cast {
    /// To ourselves.
    Local,
    Unicast,
    Broadcast,
    Multicast,
}

/// Bytes of the headers of IP and TCP at most.
const MAX_HEADER_BYTES: u32 = 100;

/// Routers of which it is known that they are silent, at most.
const MAX_SILENT: usize = 16;

/// After so long a silent router is tried again, as if it were not known.
const SILENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Network {
    interfaces: Vec<Interface>,
    routes: Routes,
    /// The addresses of all interfaces.
    own: Vec<Ipv4Addr>,
    own_v6: Vec<Ipv6Addr>,
    /// How many bytes of TCP payload each way takes at once, if that is the same for all.
    max_segment: Option<u32>,
    /// Interfaces whose devices take nothing for now.
    paused: usize,
    /// Routers that have not answered lately, and until when others are preferred to them.
    silent: Vec<(InterfaceId, IpAddr, Instant)>,
    /// Grows with each change.
    version: u32,
}

impl Network {
    pub(super) fn new(max_routes: usize) -> Self {
        let (interfaces, routes) = (alloc::vec![Interface::loopback()], Routes::new(max_routes));
        let (own, own_v6) = (Vec::new(), Vec::new());
        let mut network =
            Self { interfaces, routes, own, own_v6, max_segment: None, paused: 0, silent: Vec::new(), version: 0 };
        network.follow();
        network
    }

    /// A number that is another one after every change of interfaces, addresses and routes.
    pub(super) fn version(&self) -> u32 {
        self.version
    }

    /// After every change: what follows from the rest.
    fn follow(&mut self) {
        self.version = self.version.wrapping_add(1);
        let addresses = self.interfaces.iter().flat_map(|interface| interface.addresses());
        let v4 = |address| if let IpAddr::V4(v4) = address { Some(v4) } else { None };
        self.own = addresses.filter_map(|prefix| v4(prefix.address())).collect();
        self.own_v6 = self.interfaces.iter().flat_map(Interface::addresses_v6).collect();
        let first = self.interfaces.first().map(segment_bytes);
        self.max_segment = first.filter(|first| self.interfaces.iter().all(|other| segment_bytes(other) == *first));
    }

    pub(super) fn add_interface(&mut self, options: InterfaceOptions) -> Option<InterfaceId> {
        let id = InterfaceId(u16::try_from(self.interfaces.len()).ok()?);
        self.interfaces.push(Interface::new(options));
        self.follow();
        Some(id)
    }

    /// All interfaces but loopback, which alone is none of a device's; and that if there is no other.
    pub(super) fn devices(&self) -> impl Iterator<Item = InterfaceId> {
        let count = u16::try_from(self.interfaces.len()).unwrap_or(u16::MAX);
        (count.min(2) - 1..count).map(InterfaceId)
    }

    pub(super) fn routes(&self) -> &Routes {
        &self.routes
    }

    pub(super) fn add_route(&mut self, route: Route) -> Result<(), TooManyRoutes> {
        self.routes.add(route)?;
        self.follow();
        Ok(())
    }

    pub(super) fn remove_route(&mut self, route: &Route) -> bool {
        let was_there = self.routes.remove(route);
        self.follow();
        was_there
    }

    pub(super) fn interface(&self, id: InterfaceId) -> Option<&Interface> {
        self.interfaces.get(id.index())
    }

    /// Where the headers of segments lie that leave by an interface, if it has memory of its own.
    #[inline]
    pub(super) fn headers(&self, id: InterfaceId) -> Option<&Pool> {
        self.interfaces.get(id.index())?.headers.as_ref()
    }

    /// All of those pools.
    pub(super) fn all_headers(&self) -> impl Iterator<Item = &Pool> {
        self.interfaces.iter().filter_map(|interface| interface.headers.as_ref())
    }

    /// Answers whether there is such an interface.
    pub(super) fn set_headers(&mut self, id: InterfaceId, headers: Pool) -> bool {
        let interface = self.interfaces.get_mut(id.index());
        interface.map(|interface| interface.headers = Some(headers)).is_some()
    }

    pub(super) fn set_preferred(&mut self, id: InterfaceId, address: IpAddr, is_preferred: bool) {
        if let Some(interface) = self.interfaces.get_mut(id.index()) {
            interface.set_preferred(address, is_preferred);
        }
    }

    /// Answers whether there is such an interface.
    pub(super) fn set_hop_limit(&mut self, id: InterfaceId, hop_limit: u8) -> bool {
        let interface = self.interfaces.get_mut(id.index());
        let is_there = interface.map(|interface| interface.set_hop_limit(hop_limit)).is_some();
        self.follow();
        is_there
    }

    /// Answers whether there is such an interface.
    pub(super) fn set_mtu(&mut self, id: InterfaceId, origin: Origin, mtu: u16) -> bool {
        let interface = self.interfaces.get_mut(id.index());
        let is_there = interface.map(|interface| interface.set_mtu(origin, mtu)).is_some();
        self.follow();
        is_there
    }

    pub(super) fn add_address(&mut self, id: InterfaceId, address: Prefix) {
        if let Some(interface) = self.interfaces.get_mut(id.index()) {
            interface.add_address(address);
            self.follow();
        }
    }

    pub(super) fn remove_address(&mut self, id: InterfaceId, address: IpAddr) -> Option<Prefix> {
        let removed = self.interfaces.get_mut(id.index())?.remove_address(address);
        self.follow();
        removed
    }

    /// Whether an address is one of ours, on whichever interface (RFC 1122 §3.3.4.2, the weak model).
    pub(super) fn is_own(&self, address: Ipv4Addr) -> bool {
        address.is_loopback() || self.own.contains(&address)
    }

    /// The same of IPv6.
    pub(super) fn is_own_v6(&self, address: Ipv6Addr) -> bool {
        self.own_v6.contains(&address)
    }

    /// The same of both versions.
    pub(super) fn is_own_ip(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.is_own(v4),
            IpAddr::V6(v6) => self.is_own_v6(v6),
        }
    }

    /// Whether what a flow has as its source is an address of ours: of the link by which it goes, if that is link-local (RFC 4007 §6).
    pub(super) fn is_from_us(&self, flow: &FourTuple) -> bool {
        let src = flow.addresses.src();
        let link = zone::split(flow.addresses.dst()).1;
        match link.filter(|_| matches!(src, IpAddr::V6(v6) if v6.is_unicast_link_local())) {
            Some(link) => self.interface(link).is_some_and(|interface| interface.has_address(src)),
            None => self.is_own_ip(src),
        }
    }

    /// Whether a packet that came in goes from another host to one of our addresses, none of them being loopback's (RFC 1122
    /// §3.2.1.3).
    pub(super) fn is_between_hosts(&self, interface: &Interface, src: Ipv4Addr, dst: Ipv4Addr) -> bool {
        let is_host = is_v4_station(src) && !interface.is_broadcast(src) && !self.is_own(src);
        is_host && self.own.contains(&dst) && !dst.is_loopback() && !interface.is_loopback()
    }

    /// Whether an address stands for all stations of one of our networks.
    pub(super) fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        self.interfaces.iter().any(|interface| !interface.is_loopback() && interface.is_broadcast(address))
    }

    /// The way to a destination.
    pub(super) fn way(&self, dst: IpAddr) -> Option<Way> {
        match dst {
            IpAddr::V4(v4) => self.way_v4(v4),
            IpAddr::V6(v6) => self.way_v6(v6),
        }
    }

    /// An address that an application has named, as the stack knows it ([`zone`]). Without a link there must be one at most.
    pub(super) fn scoped(&self, address: SocketAddr) -> Result<SocketAddr, OpenError> {
        let SocketAddr::V6(v6) = address else { return Ok(address) };
        let plain = SocketAddr::new(address.ip(), address.port());
        let is_own = match v6.scope_id() {
            0 => self.is_own_v6(*v6.ip()),
            scope => u16::try_from(scope)
                .is_ok_and(|id| self.interface(InterfaceId(id)).is_some_and(|link| link.has_address(address.ip()))),
        };
        if !v6.ip().is_unicast_link_local() || is_own {
            return Ok(plain);
        }
        if zone::is_marked(*v6.ip()) {
            return Err(OpenError::NoRoute);
        }
        let has_one = |id: &InterfaceId| self.interface(*id).is_some_and(|link| link.link_local().is_some());
        let mut links = self.devices().filter(has_one);
        let id = match (u16::try_from(v6.scope_id()), links.next(), links.next()) {
            (Ok(0), None, _) => return Ok(plain),
            (Ok(0), Some(only), None) => only,
            (Ok(0), ..) => return Err(OpenError::NoScope),
            (Ok(scope), ..) => Some(InterfaceId(scope)).filter(has_one).ok_or(OpenError::NoRoute)?,
            (Err(_), ..) => return Err(OpenError::NoRoute),
        };
        Ok(SocketAddr::new(zone::marked(address.ip(), id), address.port()))
    }

    /// The route to a destination. Of several to the same network one whose router is not known to be silent is preferred (RFC 1122
    /// §3.3.1.4, RFC 4861 §6.3.6).
    fn route(&self, dst: IpAddr) -> Option<&Route> {
        let first = self.routes.lookup(dst)?;
        if self.silent.is_empty() {
            return Some(first);
        }
        let is_silent = |route: &Route| route.gateway.is_some_and(|gateway| self.is_silent((route.interface, gateway)));
        let mut others = self.routes.iter().filter(|other| other.prefix.is_same_network(first.prefix));
        others.find(|route| !is_silent(route)).or(Some(first))
    }

    /// Whether it is known of a router that it does not answer.
    pub(super) fn is_silent(&self, router: Key) -> bool {
        self.silent.iter().any(|(id, address, _)| (*id, *address) == router)
    }

    /// A neighbour does not answer. Only of routers that is of interest.
    pub(super) fn note_silent(&mut self, now: Instant, id: InterfaceId, neighbour: IpAddr) {
        let is_router = self.routes.iter().any(|route| (route.interface, route.gateway) == (id, Some(neighbour)));
        self.note_heard(id, neighbour);
        if is_router && self.silent.len() < MAX_SILENT {
            self.silent.push((id, neighbour, now + SILENCE));
            self.follow();
        }
    }

    /// A neighbour has said something.
    pub(super) fn note_heard(&mut self, id: InterfaceId, neighbour: IpAddr) {
        let before = self.silent.len();
        self.silent.retain(|(other, router, _)| (*other, *router) != (id, neighbour));
        if self.silent.len() < before {
            self.follow();
        }
    }

    /// Routers that were silent are tried again.
    pub(super) fn forgive(&mut self, now: Instant) {
        let before = self.silent.len();
        self.silent.retain(|(.., until)| *until > now);
        if self.silent.len() < before {
            self.follow();
        }
    }

    fn way_v4(&self, dst: Ipv4Addr) -> Option<Way> {
        let next_hop = dst.into();
        if self.is_own(dst) {
            return Some(Way { interface: InterfaceId::LOOPBACK, next_hop, cast: Cast::Local });
        }
        if dst.is_broadcast() {
            // It goes no further than the network, so the first one is as good as any.
            let interface = self.first_with(IpAddr::is_ipv4)?;
            return Some(Way { interface, next_hop, cast: Cast::Broadcast });
        }
        let route = self.route(next_hop)?;
        let interface = self.interface(route.interface)?;
        let cast = match dst {
            _ if dst.is_multicast() => Cast::Multicast,
            _ if interface.is_broadcast(dst) => Cast::Broadcast,
            _ => Cast::Unicast,
        };
        let gateway = route.gateway.filter(|gateway| gateway.is_ipv4() && cast == Cast::Unicast);
        Some(Way { interface: route.interface, next_hop: gateway.unwrap_or(next_hop), cast })
    }

    fn way_v6(&self, dst: Ipv6Addr) -> Option<Way> {
        if let (next_hop, Some(interface)) = zone::split(dst.into()) {
            self.interface(interface)?;
            return Some(Way { interface, next_hop, cast: Cast::Unicast });
        }
        let next_hop = dst.into();
        if self.is_own_v6(dst) {
            return Some(Way { interface: InterfaceId::LOOPBACK, next_hop, cast: Cast::Local });
        }
        if dst.is_unspecified() || dst.is_loopback() {
            return None;
        }
        if dst.is_multicast() {
            // Without a route to groups, by the first interface that has an address.
            let route = self.route(next_hop).filter(|route| route.prefix.len() >= 8);
            let interface = route.map(|route| route.interface).or_else(|| self.first_with(IpAddr::is_ipv6))?;
            return Some(Way { interface, next_hop, cast: Cast::Multicast });
        }
        let route = self.route(next_hop)?;
        // What is link-local is never behind a router.
        let gateway = route.gateway.filter(|_| !dst.is_unicast_link_local());
        Some(Way { interface: route.interface, next_hop: gateway.unwrap_or(next_hop), cast: Cast::Unicast })
    }

    /// The first interface beside loopback that has an address of a kind.
    fn first_with(&self, is_kind: impl Fn(&IpAddr) -> bool) -> Option<InterfaceId> {
        let has_address = |interface: &Interface| {
            let mut addresses = interface.addresses().iter();
            !interface.is_loopback() && addresses.any(|prefix| is_kind(&prefix.address()))
        };
        let at = self.interfaces.iter().position(has_address)?;
        Some(InterfaceId(u16::try_from(at).ok()?))
    }

    /// The address that packets to a destination on this way come from.
    pub(super) fn source(&self, way: &Way, dst: IpAddr) -> Option<IpAddr> {
        if way.cast == Cast::Local {
            return Some(way.next_hop);
        }
        let interface = self.interface(way.interface)?;
        match dst {
            IpAddr::V4(_) => interface.source_for(way.next_hop),
            IpAddr::V6(dst) => {
                let here = selection::source(dst, interface, interface.addresses());
                // Without an address of a sufficient scope there, any other one of ours (RFC 6724 §4).
                let elsewhere = || {
                    let others = self.interfaces.iter().filter(|other| !other.is_loopback());
                    others
                        .filter_map(|other| selection::source(dst, other, other.addresses()))
                        .find(|src| !src.is_unicast_link_local())
                };
                let is_wide =
                    |src: &Ipv6Addr| !src.is_unicast_link_local() || dst.is_unicast_link_local() || dst.is_multicast();
                here.filter(is_wide).or_else(elsewhere).map(IpAddr::V6)
            }
        }
    }

    /// Notes whether the device of an interface takes something; answers whether that is news.
    pub(super) fn set_paused(&mut self, id: InterfaceId, is_paused: bool) -> bool {
        let is_news = self.interfaces.get_mut(id.index()).is_some_and(|interface| interface.set_paused(is_paused));
        match is_paused {
            _ if !is_news => {}
            true => self.paused += 1,
            false => self.paused -= 1,
        }
        is_news
    }

    /// Whether the device of an interface takes nothing for now.
    pub(super) fn is_paused(&self, id: InterfaceId) -> bool {
        self.paused > 0 && self.interface(id).is_some_and(Interface::is_paused)
    }

    /// How many bytes of TCP payload the way of a flow takes at once; the interface for which it has to wait if it takes nothing for now.
    pub(super) fn max_segment(&self, flow: &FourTuple) -> Result<u32, InterfaceId> {
        if let Some(bytes) = self.max_segment.filter(|_| self.paused == 0) {
            return Ok(bytes);
        }
        let Some(way) = self.way(flow.addresses.dst()) else { return Ok(MAX_SEGMENT) };
        match self.interface(way.interface) {
            Some(interface) if interface.is_paused() && !planted::is("pause_ignored") => Err(way.interface),
            interface => Ok(interface.map_or(MAX_SEGMENT, segment_bytes)),
        }
    }
}

/// Of who does not cut: it gets what we have cut, last of all.
const MAX_SEGMENT: u32 = u16::MAX as u32 - MAX_HEADER_BYTES;

fn segment_bytes(interface: &Interface) -> u32 {
    let bytes = interface.options().capabilities.segmentation_bytes;
    bytes.map_or(MAX_SEGMENT, |bytes| bytes.min(u16::MAX.into()).saturating_sub(MAX_HEADER_BYTES))
}
