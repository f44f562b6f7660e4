//! Interfaces and the ways between them.

use core::net::{IpAddr, Ipv4Addr};

use alloc::vec::Vec;
use sunstar_wire::FourTuple;

use crate::interface::{Interface, InterfaceId, InterfaceOptions};
use crate::routes::Routes;

/// The way of a packet: where it leaves, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) interface: InterfaceId,
    pub(super) next_hop: Ipv4Addr,
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

/// Bytes of the headers of IPv4 and TCP at most.
const MAX_HEADER_BYTES: u32 = 80;

#[derive(Debug)]
pub(super) struct Network {
    interfaces: Vec<Interface>,
    pub(super) routes: Routes,
}

impl Network {
    pub(super) fn new(max_routes: usize) -> Self {
        Self { interfaces: alloc::vec![Interface::loopback()], routes: Routes::new(max_routes) }
    }

    pub(super) fn add_interface(&mut self, options: InterfaceOptions) -> Option<InterfaceId> {
        let id = InterfaceId(u16::try_from(self.interfaces.len()).ok()?);
        self.interfaces.push(Interface::new(options));
        Some(id)
    }

    pub(super) fn interface(&self, id: InterfaceId) -> Option<&Interface> {
        self.interfaces.get(id.index())
    }

    pub(super) fn interface_mut(&mut self, id: InterfaceId) -> Option<&mut Interface> {
        self.interfaces.get_mut(id.index())
    }

    /// Whether an address is one of ours, on whichever interface (RFC 1122 §3.3.4.2, the weak model).
    pub(super) fn is_own(&self, address: Ipv4Addr) -> bool {
        address.is_loopback() || self.interfaces.iter().any(|interface| interface.has_address(address.into()))
    }

    /// Whether an address stands for all stations of one of our networks.
    pub(super) fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        self.interfaces.iter().any(|interface| !interface.is_loopback() && interface.is_broadcast(address))
    }

    /// The way to a destination.
    pub(super) fn way(&self, dst: Ipv4Addr) -> Option<Way> {
        if self.is_own(dst) {
            return Some(Way { interface: InterfaceId::LOOPBACK, next_hop: dst, cast: Cast::Local });
        }
        if dst.is_broadcast() {
            // It goes no further than the network, so the first one is as good as any.
            let has_address = |interface: &&Interface| !interface.is_loopback() && !interface.addresses().is_empty();
            let at = self.interfaces.iter().position(|interface| has_address(&interface))?;
            return Some(Way { interface: InterfaceId(u16::try_from(at).ok()?), next_hop: dst, cast: Cast::Broadcast });
        }
        let route = self.routes.lookup(dst.into())?;
        let interface = self.interface(route.interface)?;
        let cast = match dst {
            _ if dst.is_multicast() => Cast::Multicast,
            _ if interface.is_broadcast(dst) => Cast::Broadcast,
            _ => Cast::Unicast,
        };
        let next_hop = match route.gateway {
            Some(IpAddr::V4(gateway)) if cast == Cast::Unicast => gateway,
            _ => dst,
        };
        Some(Way { interface: route.interface, next_hop, cast })
    }

    /// The address that packets on this way come from.
    pub(super) fn source(&self, way: &Way) -> Option<Ipv4Addr> {
        if way.cast == Cast::Local {
            return Some(way.next_hop);
        }
        match self.interface(way.interface)?.source_for(way.next_hop.into())? {
            IpAddr::V4(source) => Some(source),
            IpAddr::V6(_) => None,
        }
    }

    /// How many bytes of TCP payload the way of a flow takes at once.
    pub(super) fn max_segment(&self, flow: &FourTuple) -> u32 {
        let IpAddr::V4(dst) = flow.addresses.dst() else { return 1 };
        let interface = self.way(dst).and_then(|way| self.interface(way.interface));
        let bytes = interface.and_then(|interface| interface.options().capabilities.segmentation_bytes);
        // Who does not cut gets what we have cut, last of all.
        bytes.unwrap_or(u32::MAX).min(u16::MAX.into()).saturating_sub(MAX_HEADER_BYTES)
    }
}
