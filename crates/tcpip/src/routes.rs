//! Which way packets go.

use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use crate::interface::InterfaceId;
use crate::prefix::Prefix;

#[cfg(test)]
mod tests;

/// A way to a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// What lies there.
    pub prefix: Prefix,
    /// The router that forwards packets; none if the network is at the interface itself.
    pub gateway: Option<IpAddr>,
    /// Where the packets leave.
    pub interface: InterfaceId,
    /// Of several routes with equal prefixes the one with the smallest metric is taken.
    pub metric: u32,
}

impl Route {
    /// Whether it is another one's way, perhaps liked otherwise.
    pub(crate) fn is_same_way(&self, other: &Self) -> bool {
        self.prefix.is_same_network(other.prefix) && self.gateway == other.gateway && self.interface == other.interface
    }
}

/// There are as many routes as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyRoutes;

impl fmt::Display for TooManyRoutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there are as many routes as may be")
    }
}

impl core::error::Error for TooManyRoutes {}

/// Routes, of which the one with the longest prefix is taken, then the one with the smallest metric, then the oldest.
///
/// A host has few, so they are looked through: the first that fits is the one.
#[derive(Debug)]
pub struct Routes {
    routes: Vec<Route>,
    limit: usize,
}

impl Routes {
    /// At most `limit` routes.
    pub fn new(limit: usize) -> Self {
        Self { routes: Vec::new(), limit }
    }

    /// Adds a route. One with the same prefix, gateway and interface is replaced.
    ///
    /// # Errors
    /// [`TooManyRoutes`].
    pub fn add(&mut self, route: Route) -> Result<(), TooManyRoutes> {
        self.routes.retain(|other| !other.is_same_way(&route));
        if self.routes.len() >= self.limit {
            return Err(TooManyRoutes);
        }
        let rank = |route: &Route| {
            let metric_before = if planted::is("metric_first") { route.metric } else { 0 };
            (metric_before, u8::MAX - route.prefix.len(), route.metric)
        };
        let at = self.routes.partition_point(|other| rank(other) <= rank(&route));
        self.routes.insert(at, route);
        Ok(())
    }

    /// Removes the route with this prefix, gateway and interface. Answers whether there was one.
    pub fn remove(&mut self, route: &Route) -> bool {
        let before = self.routes.len();
        self.routes.retain(|other| !other.is_same_way(route));
        self.routes.len() < before
    }

    /// The route with this prefix, gateway and interface.
    pub fn same_way(&self, route: &Route) -> Option<&Route> {
        self.routes.iter().find(|other| other.is_same_way(route))
    }

    /// The route to a destination.
    pub fn lookup(&self, dst: IpAddr) -> Option<&Route> {
        self.routes.iter().find(|route| route.prefix.contains(dst))
    }

    /// All routes, in the order in which they are looked at.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }
}
