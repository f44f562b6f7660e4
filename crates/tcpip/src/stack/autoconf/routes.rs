//! Ways that routers tell of (RFC 4861 §6.3.4, §8.3, RFC 4191).
//!
//! They stand in the table of routes beside those of others, and never in their place: a route that somebody else has configured is
//! neither replaced nor removed.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use alloc::vec::Vec;
use sunstar_wire::RouterPreference;

use super::{MAX_HEARD, Timed, end_of};
use crate::configuration::Change;
use crate::interface::InterfaceId;
use crate::prefix::Prefix;
use crate::routes::Route;
use crate::stack::Stack;
use crate::time::Instant;

/// For so long a redirected destination is remembered.
const REDIRECT_LIFETIME: Duration = Duration::from_secs(600);

/// Redirected destinations of a link at most; for a further one the oldest is forgotten.
const MAX_REDIRECTS: usize = 16;

/// A route of which a router has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeardRoute {
    pub(super) route: Route,
    /// Whether it is in the table because of that. Otherwise somebody else had put it there.
    is_ours: bool,
}

impl HeardRoute {
    fn leads_over(&self, router: Ipv6Addr) -> bool {
        self.route.gateway == Some(IpAddr::V6(router))
    }
}

impl Stack {
    /// Remembers a route for so many seconds, or forgets it.
    pub(super) fn hear_route(&mut self, now: Instant, route: Route, seconds: u32) {
        let Some(link) = self.autoconf.link_mut(route.interface) else { return };
        let known = link.routes.iter().position(|other| other.what.route.is_same_way(&route));
        let before = known.map(|at| link.routes.remove(at).what);
        let has_room = link.routes.len() < MAX_HEARD;
        if seconds > 0 && (before.is_some() || has_room) {
            let what = self.install(now, before, route);
            self.remember(Timed { what, until: end_of(now, seconds) }, known);
        } else if let Some(before) = before {
            self.retract(now, before);
        } else if seconds > 0 {
            self.counters.router_routes_refused += 1;
        }
    }

    /// At a place, or behind all others.
    fn remember(&mut self, heard: Timed<HeardRoute>, at: Option<usize>) {
        let Some(link) = self.autoconf.link_mut(heard.what.route.interface) else { return };
        link.routes.insert(at.unwrap_or(link.routes.len()), heard);
    }

    /// Puts a route into the table, in the place of what was heard before, unless somebody else has put it there.
    fn install(&mut self, now: Instant, before: Option<HeardRoute>, route: Route) -> HeardRoute {
        let there = self.network.routes().same_way(&route).copied();
        let was_ours = before.is_some_and(|before| before.is_ours && there == Some(before.route));
        let is_free = there.is_none() || was_ours;
        if is_free && there != Some(route) {
            let is_ours = self.configure(now, Change::AddRoute(route)).is_ok();
            return HeardRoute { route, is_ours };
        }
        HeardRoute { route, is_ours: was_ours }
    }

    /// Takes a route from the table if it is there because it was heard of.
    pub(super) fn retract(&mut self, now: Instant, heard: HeardRoute) {
        let is_there = self.network.routes().same_way(&heard.route) == Some(&heard.route);
        if heard.is_ours && is_there {
            let _ = self.configure(now, Change::RemoveRoute(heard.route));
        }
    }

    /// A router knows a better way (RFC 4861 §8.3).
    pub(in crate::stack) fn redirect(
        &mut self,
        now: Instant,
        id: InterfaceId,
        target: Ipv6Addr,
        destination: Ipv6Addr,
    ) {
        let Ok(prefix) = Prefix::new(destination, 128) else { return };
        let gateway = (target != destination).then_some(target);
        let route = Route { metric: 128, ..self.route_to(id, prefix, gateway, RouterPreference::Medium) };
        let Some(link) = self.autoconf.link_mut(id) else { return };
        // The last word counts.
        let same = link.redirects.iter().position(|other| other.what.route.prefix == prefix);
        let before = same.map(|at| link.redirects.remove(at).what);
        let oldest = (link.redirects.len() >= MAX_REDIRECTS).then(|| link.redirects.remove(0).what);
        self.counters.redirects_forgotten += u64::from(oldest.is_some());
        let other = before.filter(|before| before.route != route);
        for gone in [other, oldest].into_iter().flatten() {
            self.retract(now, gone);
        }
        let what = self.install(now, before.filter(|before| before.route == route), route);
        if let Some(link) = self.autoconf.link_mut(id) {
            link.redirects.push(Timed { what, until: Some(now + REDIRECT_LIFETIME) });
        }
    }

    /// A neighbour does not answer: what was redirected to it goes where it went before (RFC 4861 §7.3.3).
    pub(in crate::stack) fn forget_redirects_to(&mut self, now: Instant, id: InterfaceId, neighbour: IpAddr) {
        let Some(link) = self.autoconf.link_mut(id) else { return };
        let is_to = |route: &Route| route.gateway.unwrap_or(route.prefix.address()) == neighbour;
        let gone = link.redirects.extract_if(.., |heard| is_to(&heard.what.route));
        for heard in gone.map(|heard| heard.what).collect::<Vec<HeardRoute>>() {
            self.retract(now, heard);
        }
    }

    /// A neighbour says that it is no router: nothing goes by it any more of what routers have told (RFC 4861 §7.2.5).
    pub(in crate::stack) fn on_mere_host(&mut self, now: Instant, id: InterfaceId, neighbour: Ipv6Addr) {
        let Some(link) = self.autoconf.link_mut(id) else { return };
        let routes = link.routes.extract_if(.., |heard| heard.what.leads_over(neighbour));
        let redirects = link.redirects.extract_if(.., |heard| heard.what.leads_over(neighbour));
        for heard in routes.chain(redirects).map(|heard| heard.what).collect::<Vec<HeardRoute>>() {
            self.retract(now, heard);
        }
    }
}
