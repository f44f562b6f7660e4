//! What routers say of how to be configured (RFC 4861 §6.3, RFC 4862 §5.5, RFC 4191, RFC 8106), with addresses that are stable and
//! tell nothing (RFC 7217).

mod parameters;
mod routes;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use sunstar_wire::{
    NdpMessage, NdpOption, NdpOptions, PrefixInformation, RouteInformation, RouterAdvertisement, RouterPreference,
};

use super::{ConfigError, Stack};
use crate::configuration::{Change, LinkParameters, MAX_NAME_SERVERS, Origin};
use crate::interface::{InterfaceId, MIN_MTU_V6};
use crate::prefix::Prefix;
use crate::routes::Route;
use crate::tcp::secret::Secret;
use crate::time::Instant;
use routes::HeardRoute;

/// RFC 4861 §10: routers are asked so often, so far apart.
const SOLICITATIONS: u8 = 3;
const SOLICITATION_INTERVAL: Duration = Duration::from_secs(4);

/// All routers of a link (RFC 4291 §2.7.1).
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// Of each kind of things that routers of one link say, so many are remembered; further ones mean nothing.
const MAX_HEARD: usize = 16;

/// RFC 4862 §5.5.3, e: nobody makes an address live shorter than this.
const TWO_HOURS: Duration = Duration::from_secs(7_200);

/// Nobody needs a new address for fewer seconds; each one that ends has all connections looked at.
const MIN_VALID_S: u32 = 10;

/// So often another address is tried if somebody has the one (RFC 7217 §6).
const RETRIES: u8 = 3;

/// How an interface is configured by its link.
#[derive(Clone, Copy)]
pub struct AutoconfOptions {
    /// What makes its addresses hard to guess (RFC 7217); the same one leads to the same addresses.
    pub secret: [u8; 16],
    /// Whether routers are asked and followed. Otherwise there is a link-local address and nothing else.
    pub follows_routers: bool,
}

impl core::fmt::Debug for AutoconfOptions {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("AutoconfOptions").field("follows_routers", &self.follows_routers).finish_non_exhaustive()
    }
}

/// Something that ends at some time, or never.
#[derive(Clone, Copy, Debug)]
struct Timed<T> {
    what: T,
    until: Option<Instant>,
}

/// An address that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Chosen {
    prefix: Prefix,
    preferred_until: Option<Instant>,
    is_preferred: bool,
    retries: u8,
}

/// What was heard on a link.
#[derive(Debug)]
struct Link {
    interface: InterfaceId,
    secret: Secret,
    follows_routers: bool,
    solicitations: u8,
    solicit_at: Option<Instant>,
    routes: Vec<Timed<HeardRoute>>,
    /// The oldest first.
    redirects: Vec<Timed<HeardRoute>>,
    addresses: Vec<Timed<Chosen>>,
    servers: Vec<Timed<IpAddr>>,
    domains: Vec<Timed<Box<str>>>,
}

/// The links on which routers are listened to.
#[derive(Debug, Default)]
pub(super) struct Autoconf(Vec<Link>);

impl Autoconf {
    /// Whether no interface is configured by routers.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn link_mut(&mut self, interface: InterfaceId) -> Option<&mut Link> {
        self.0.iter_mut().find(|link| link.interface == interface)
    }
}

impl Link {
    /// When something ends or is due.
    fn deadline(&self) -> Option<Instant> {
        let routes = self.routes.iter().chain(&self.redirects).filter_map(|route| route.until);
        let servers = self.servers.iter().filter_map(|server| server.until);
        let domains = self.domains.iter().filter_map(|domain| domain.until);
        let addresses = self.addresses.iter().flat_map(|address| {
            let preferred = address.what.preferred_until.filter(|_| address.what.is_preferred);
            [address.until, preferred]
        });
        routes.chain(servers).chain(domains).chain(addresses.flatten()).chain(self.solicit_at).min()
    }
}

/// A lifetime in seconds, of which the longest is for ever.
fn end_of(now: Instant, seconds: u32) -> Option<Instant> {
    (seconds != u32::MAX).then(|| now + Duration::from_secs(seconds.into()))
}

impl Stack {
    /// Gives an Ethernet interface a link-local address, and has it configured by the routers of its link, if that is wanted (RFC 4862).
    ///
    /// What is decided is handed out by [`Stack::poll_change`].
    ///
    /// # Errors
    /// [`ConfigError::NoInterface`]; [`ConfigError::Address`] if the link is no Ethernet or takes less than 1280 bytes.
    pub fn autoconfigure(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        options: AutoconfOptions,
    ) -> Result<(), ConfigError> {
        let link = self.network.interface(interface).ok_or(ConfigError::NoInterface)?;
        if link.mac().is_none() || !link.speaks_v6() {
            return Err(ConfigError::Address);
        }
        if self.autoconf.link_mut(interface).is_some() {
            return Ok(());
        }
        self.autoconf.0.push(Link {
            interface,
            secret: Secret::new(options.secret),
            follows_routers: options.follows_routers,
            solicitations: 0,
            solicit_at: None,
            routes: Vec::new(),
            redirects: Vec::new(),
            addresses: Vec::new(),
            servers: Vec::new(),
            domains: Vec::new(),
        });
        let local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);
        self.choose(now, interface, local, (None, None), 0)
    }

    /// Chooses an address with a prefix of 64 bits and asks whether it is free.
    fn choose(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        network: Ipv6Addr,
        (until, preferred_until): (Option<Instant>, Option<Instant>),
        retries: u8,
    ) -> Result<(), ConfigError> {
        let mac = self.network.interface(interface).and_then(|link| link.mac()).ok_or(ConfigError::Address)?;
        let link = self.autoconf.link_mut(interface).ok_or(ConfigError::NoInterface)?;
        let identifier = link.secret.interface_identifier(network, mac, retries);
        let [a, b, c, d, ..] = network.segments();
        let [e, f, g, h] = [48, 32, 16, 0].map(|shift| u16::try_from(identifier >> shift & 0xffff).unwrap_or(0));
        let prefix = Prefix::new(Ipv6Addr::new(a, b, c, d, e, f, g, h), 64).map_err(|_| ConfigError::Address)?;
        let is_preferred = true;
        link.addresses.retain(|other| !other.what.prefix.is_same_network(prefix));
        let what = Chosen { prefix, preferred_until, is_preferred, retries };
        link.addresses.push(Timed { what, until });
        // That others of the prefix are on the link is another thing (RFC 5942 §4).
        let is_local = network.is_unicast_link_local();
        let owned =
            if is_local { prefix } else { Prefix::new(prefix.address(), 128).map_err(|_| ConfigError::Address)? };
        self.probe(now, interface, owned, true)
    }

    /// Somebody has an address that was chosen: another one is tried (RFC 7217 §6).
    pub(super) fn on_address_taken(&mut self, now: Instant, interface: InterfaceId, address: Ipv6Addr) {
        let Some(link) = self.autoconf.link_mut(interface) else { return };
        let is_it = |chosen: &Timed<Chosen>| chosen.what.prefix.address() == IpAddr::V6(address);
        let Some(at) = link.addresses.iter().position(is_it) else { return };
        let Timed { what, until } = link.addresses.remove(at);
        if what.retries < RETRIES {
            let lifetimes = (until, what.preferred_until);
            // Without room for it there is none.
            let _ = self.choose(now, interface, address, lifetimes, what.retries + 1);
        }
    }

    /// An address is ours: routers are asked when the link-local one is.
    pub(super) fn on_adopted(&mut self, now: Instant, interface: InterfaceId, prefix: Prefix) {
        let is_local = matches!(prefix.address(), IpAddr::V6(v6) if v6.is_unicast_link_local());
        if let Some(link) = self.autoconf.link_mut(interface)
            && is_local
            && link.solicitations == 0
            && link.follows_routers
        {
            link.solicit_at = Some(now);
            self.solicit_routers(now);
        }
        // It may have become old while it was asked for.
        let address = prefix.address();
        let is_it = |chosen: &Timed<Chosen>| chosen.what.prefix.address() == address;
        let link = self.autoconf.link_mut(interface);
        let chosen = link.and_then(|link| link.addresses.iter().find(|chosen| is_it(chosen)));
        if chosen.is_some_and(|chosen| !chosen.what.is_preferred) {
            let _ = self.configure(now, Change::SetPreferred { interface, address, is_preferred: false });
        }
        self.follow_dhcpv6(now, interface, address);
    }

    /// §6.3.7.
    fn solicit_routers(&mut self, now: Instant) {
        for at in 0..self.autoconf.0.len() {
            let link = &mut self.autoconf.0[at];
            if link.solicit_at.is_none_or(|due| due > now) {
                continue;
            }
            link.solicitations += 1;
            link.solicit_at = (link.solicitations < SOLICITATIONS).then(|| now + SOLICITATION_INTERVAL);
            let interface = link.interface;
            let Some(here) = self.network.interface(interface) else { continue };
            let Some((mac, src)) = here.mac().zip(here.link_local()) else { continue };
            let option = Some(NdpOption::SourceLinkLayer(mac));
            self.send_ndp(now, interface, (src, ALL_ROUTERS), None, &NdpMessage::RouterSolicitation, option);
        }
    }

    /// A router has said something (§6.3.4).
    pub(super) fn on_router(
        &mut self,
        now: Instant,
        id: InterfaceId,
        from: Ipv6Addr,
        router: &RouterAdvertisement,
        options: NdpOptions<'_>,
    ) {
        let Some(link) = self.autoconf.link_mut(id).filter(|link| link.follows_routers) else { return };
        // §6.3.7: who is no default router is not the one that is looked for.
        if router.lifetime_s > 0 {
            link.solicit_at = None;
        }
        self.counters.router_advertisements_received += 1;
        self.hear_dhcpv6_flags(now, id, router);
        self.on_parameters(now, id, router);
        let default = self.route_to(id, Prefix::ALL_V6, Some(from), router.preference);
        self.hear_route(now, default, router.lifetime_s.into());
        for option in options {
            match option {
                NdpOption::Prefix(prefix) => self.on_prefix(now, id, &prefix),
                NdpOption::Route(route) => self.on_route(now, id, from, &route),
                NdpOption::Mtu(mtu) => self.on_mtu(now, id, mtu),
                NdpOption::DnsServers(servers) => {
                    self.on_servers(now, id, servers.lifetime_s, servers.addresses().map(IpAddr::V6));
                }
                NdpOption::DnsSearch { lifetime_s, names } => self.on_domains(now, id, lifetime_s, names),
                _ => {}
            }
        }
    }

    fn route_to(
        &self,
        interface: InterfaceId,
        prefix: Prefix,
        from: Option<Ipv6Addr>,
        liked: RouterPreference,
    ) -> Route {
        let metric = match liked {
            RouterPreference::High => 512,
            RouterPreference::Medium => 1_024,
            RouterPreference::Low => 2_048,
        };
        Route { prefix, gateway: from.map(IpAddr::V6), interface, metric }
    }

    /// RFC 4191 §3.1.
    fn on_route(&mut self, now: Instant, id: InterfaceId, from: Ipv6Addr, route: &RouteInformation) {
        let (Some(liked), Ok(prefix)) = (route.preference, Prefix::new(route.prefix, route.len)) else { return };
        let route_to = self.route_to(id, prefix.network(), Some(from), liked);
        self.hear_route(now, route_to, route.lifetime_s);
    }

    /// RFC 4861 §6.3.4, RFC 4862 §5.5.3.
    fn on_prefix(&mut self, now: Instant, id: InterfaceId, prefix: &PrefixInformation) {
        if prefix.prefix.is_unicast_link_local() || prefix.prefix.is_multicast() {
            return;
        }
        let Ok(network) = Prefix::new(prefix.prefix, prefix.len) else { return };
        let network = network.network();
        if prefix.is_on_link {
            let route = Route { metric: 256, ..self.route_to(id, network, None, RouterPreference::Medium) };
            self.hear_route(now, route, prefix.valid_s);
        }
        let is_usable = prefix.is_autonomous && prefix.len == 64 && prefix.preferred_s <= prefix.valid_s;
        if !is_usable {
            return;
        }
        let IpAddr::V6(base) = network.address() else { return };
        let Some(link) = self.autoconf.link_mut(id) else { return };
        let (until, preferred_until) = (end_of(now, prefix.valid_s), end_of(now, prefix.preferred_s));
        let is_it = |chosen: &&mut Timed<Chosen>| chosen.what.prefix.is_same_network(network);
        if let Some(chosen) = link.addresses.iter_mut().find(is_it) {
            // Not so short as to throw us off by a forged message (§5.5.3, e).
            let is_believed = match (chosen.until, until) {
                (_, None) => true,
                (known, Some(until)) => until - now > TWO_HOURS || known.is_some_and(|known| until > known),
            };
            chosen.what.preferred_until = preferred_until;
            let floor = now + TWO_HOURS;
            if is_believed && !planted::is("prefix_not_prolonged") {
                chosen.until = until;
            } else if chosen.until.is_none_or(|known| known > floor) {
                chosen.until = Some(floor);
            }
            self.age_addresses(now, id);
        } else if prefix.valid_s >= MIN_VALID_S && link.addresses.len() < MAX_HEARD {
            // Without room for it there is none.
            let _ = self.choose(now, id, base, (until, preferred_until), 0);
        }
    }

    fn on_mtu(&mut self, now: Instant, interface: InterfaceId, mtu: u32) {
        let link_mtu = self.network.interface(interface).map_or(0, |link| link.link_mtu());
        // What the link can't do, or what IPv6 can't live with, is nonsense (§6.3.4).
        let Some(mtu) = u16::try_from(mtu).ok().filter(|mtu| (MIN_MTU_V6..=link_mtu).contains(mtu)) else { return };
        if self.network.interface(interface).is_some_and(|link| link.mtu_v6() != mtu) {
            let origin = Origin::RouterAdvertisement;
            let _ = self.configure(now, Change::SetMtu { interface, origin, mtu });
        }
    }

    /// RFC 8106 §5.3.1.
    fn on_servers(&mut self, now: Instant, id: InterfaceId, seconds: u32, servers: impl Iterator<Item = IpAddr>) {
        let Some(link) = self.autoconf.link_mut(id) else { return };
        let until = end_of(now, seconds);
        let mut has_changed = false;
        for server in servers {
            match link.servers.iter().position(|other| other.what == server) {
                Some(at) if seconds == 0 => {
                    link.servers.remove(at);
                    has_changed = true;
                }
                Some(at) => link.servers[at].until = until,
                None if seconds > 0 && link.servers.len() < MAX_NAME_SERVERS => {
                    link.servers.push(Timed { what: server, until });
                    has_changed = true;
                }
                None => {}
            }
        }
        if has_changed {
            self.tell_servers(now, id);
        }
    }

    fn tell_servers(&mut self, now: Instant, interface: InterfaceId) {
        let Some(link) = self.autoconf.link_mut(interface) else { return };
        let servers = link.servers.iter().map(|server| server.what).collect();
        let _ = self.configure(now, Change::SetNameServers { interface, origin: Origin::RouterAdvertisement, servers });
    }

    /// Routers of a link are followed no more, and nothing is left of what they have said but routes and addresses, which others remove.
    pub(super) fn forget_autoconf(&mut self, interface: InterfaceId) {
        self.autoconf.0.retain(|link| link.interface != interface);
        self.configuration.set_name_servers(Origin::RouterAdvertisement, interface, &[]);
        self.configuration.set_search_domains(Origin::RouterAdvertisement, interface, &[]);
        self.network.set_hop_limit(interface, LinkParameters::DEFAULT.hop_limit);
        self.neighbours.set_parameters(interface, LinkParameters::DEFAULT);
    }

    pub(super) fn autoconf_deadline(&self) -> Option<Instant> {
        self.autoconf.0.iter().filter_map(Link::deadline).min()
    }

    /// Ends what is over.
    pub(super) fn age_autoconf(&mut self, now: Instant) {
        if self.autoconf_deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        self.solicit_routers(now);
        for at in 0..self.autoconf.0.len() {
            let link = &mut self.autoconf.0[at];
            let id = link.interface;
            let is_over = |until: Option<Instant>| until.is_some_and(|until| until <= now);
            let servers = link.servers.len();
            link.servers.retain(|server| !is_over(server.until));
            let has_lost_servers = link.servers.len() < servers;
            let domains = link.domains.len();
            link.domains.retain(|domain| !is_over(domain.until));
            let has_lost_domains = link.domains.len() < domains;
            let routes = link.routes.extract_if(.., |route| is_over(route.until));
            let redirects = link.redirects.extract_if(.., |route| is_over(route.until));
            for route in routes.chain(redirects).map(|route| route.what).collect::<Vec<HeardRoute>>() {
                self.retract(now, route);
            }
            if has_lost_servers {
                self.tell_servers(now, id);
            }
            if has_lost_domains {
                self.tell_domains(now, id);
            }
            self.age_addresses(now, id);
        }
    }

    /// RFC 4862 §5.5.4: addresses are deprecated, and then gone.
    fn age_addresses(&mut self, now: Instant, interface: InterfaceId) {
        let Some(link) = self.autoconf.link_mut(interface) else { return };
        let is_over = |until: Option<Instant>| until.is_some_and(|until| until <= now);
        let gone: Vec<Timed<Chosen>> = link.addresses.extract_if(.., |chosen| is_over(chosen.until)).collect();
        let mut changed = Vec::new();
        for chosen in &mut link.addresses {
            let is_preferred = !is_over(chosen.what.preferred_until);
            if core::mem::replace(&mut chosen.what.is_preferred, is_preferred) != is_preferred {
                changed.push((chosen.what.prefix.address(), is_preferred));
            }
        }
        for (address, is_preferred) in changed {
            let _ = self.configure(now, Change::SetPreferred { interface, address, is_preferred });
        }
        let mut has_lost = false;
        for chosen in gone {
            let address = chosen.what.prefix.address();
            // What was never ours nobody has to hear of.
            self.forget_tentative(interface, address);
            if self.remove_address(interface, address) {
                has_lost = true;
                self.configuration.tell(Change::RemoveAddress { interface, address });
            }
        }
        // All connections are looked at, so once for all of them.
        if has_lost {
            self.cut_off_strangers(now);
        }
    }
}
