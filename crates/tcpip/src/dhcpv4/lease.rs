//! What a server gives.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use sunstar_wire::dhcpv4::{Code, Message};

use super::names::domain_names;
use crate::configuration::MAX_NAME_SERVERS;
use crate::prefix::Prefix;

/// Routes of one lease at most; further ones are left out.
pub const MAX_ROUTES: usize = 32;

/// What is asked for. RFC 3442: the classless routes before the routers.
pub(super) const PARAMETERS: [Code; 10] = [
    Code::SUBNET_MASK,
    Code::CLASSLESS_ROUTES,
    Code::ROUTERS,
    Code::NAME_SERVERS,
    Code::DOMAIN_NAME,
    Code::DOMAIN_SEARCH,
    Code::MTU,
    Code::LEASE_TIME,
    Code::RENEWAL_TIME,
    Code::REBINDING_TIME,
];

/// Seconds that stand for ever (RFC 2131 §3.3).
const FOR_EVER: u32 = u32::MAX;

/// An address, for some time, and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address in its network.
    pub address: Prefix,
    /// Who gave it.
    pub server: Ipv4Addr,
    /// Ways to networks, and who forwards; nobody if they are on the link.
    pub routes: Vec<(Prefix, Option<Ipv4Addr>)>,
    /// Bytes of the largest packet.
    pub mtu: Option<u16>,
    /// Who is asked for names.
    pub name_servers: Vec<IpAddr>,
    /// The domains in which names are looked for.
    pub search_domains: Vec<Box<str>>,
    /// How long the address may be used; none if for ever.
    pub duration: Option<Duration>,
    /// When to ask to keep it (T1).
    pub(super) renew: Option<Duration>,
    /// When to ask anybody (T2).
    pub(super) rebind: Option<Duration>,
}

impl Lease {
    /// What an offer or an acknowledgement gives; nothing if no host could use it, or it is not said by whom and for how long.
    pub fn read(message: &Message<'_>) -> Option<Self> {
        let address = address(message)?;
        let server = message.fixed_option(Code::SERVER_ID).map(Ipv4Addr::from).filter(is_usable)?;
        let seconds = |code| message.fixed_option(code).map(u32::from_be_bytes);
        let lease = seconds(Code::LEASE_TIME).filter(|lease| *lease > 0)?;
        let (renew, rebind) = times(lease, seconds(Code::RENEWAL_TIME), seconds(Code::REBINDING_TIME));
        let lasting = |duration| (lease != FOR_EVER).then_some(duration);
        Some(Self {
            address,
            server,
            routes: routes(message, address),
            mtu: message.fixed_option(Code::MTU).map(u16::from_be_bytes).filter(|mtu| *mtu > 0),
            name_servers: name_servers(message),
            search_domains: search_domains(message),
            duration: lasting(Duration::from_secs(lease.into())),
            renew: lasting(renew),
            rebind: lasting(rebind),
        })
    }

    /// The address.
    pub fn ip(&self) -> Ipv4Addr {
        match self.address.address() {
            IpAddr::V4(v4) => v4,
            // It was read as one of version 4.
            IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        }
    }
}

/// RFC 2131 §4.4.5: half of the time, and seven eighths, unless the server says something else that makes sense.
fn times(lease: u32, renew: Option<u32>, rebind: Option<u32>) -> (Duration, Duration) {
    let whole = Duration::from_secs(lease.into());
    let said = |seconds: u32| Duration::from_secs(seconds.into());
    let rebind = rebind.filter(|rebind| (1..lease).contains(rebind)).map_or(whole / 8 * 7, said);
    let renew = renew.filter(|renew| *renew > 0).map_or(whole / 2, said);
    // Who gave only one of them may have meant another whole.
    (if renew < rebind { renew } else { rebind / 2 }, rebind)
}

/// Whether one station can have an address.
fn is_usable(address: &Ipv4Addr) -> bool {
    crate::stack::is_v4_station(*address) && !address.is_loopback()
}

fn address(message: &Message<'_>) -> Option<Prefix> {
    let address = Some(message.header().yiaddr).filter(is_usable)?;
    let len = match message.fixed_option(Code::SUBNET_MASK) {
        Some(mask) => {
            let mask = u32::from_be_bytes(mask);
            Some(mask.leading_ones()).filter(|ones| *ones > 0 && ones + mask.trailing_zeros() == 32)?
        }
        None => default_len(address),
    };
    let prefix = Prefix::new(address, u8::try_from(len).ok()?).ok()?;
    let names_network = len < 31 && address.to_bits() & (u32::MAX >> len) == 0;
    (!names_network && prefix.broadcast() != Some(address)).then_some(prefix)
}

/// Of a network whose mask nobody tells: that of its class (RFC 791 §2.3).
const fn default_len(address: Ipv4Addr) -> u32 {
    match address.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        _ => 24,
    }
}

/// RFC 3442: routers count only if there are no classless routes.
fn routes(message: &Message<'_>, own: Prefix) -> Vec<(Prefix, Option<Ipv4Addr>)> {
    let has_classless = message.options().any(|(code, _)| code == Code::CLASSLESS_ROUTES);
    let mut routes = Vec::new();
    if has_classless {
        let read = message.classless_routes().filter_map(|route| {
            let router = Some(route.router).filter(|router| !router.is_unspecified());
            let prefix = Prefix::new(route.network, route.prefix_len).ok()?;
            router.as_ref().is_none_or(is_usable).then_some((prefix, router))
        });
        routes.extend(read.take(MAX_ROUTES));
    } else if let Some(router) = message.addresses(Code::ROUTERS).find(is_usable) {
        // Where addresses have networks of their own, the router is on the link all the same.
        let host = Prefix::new(router, 32).ok().filter(|_| !own.contains(router.into()));
        routes.extend(host.map(|host| (host, None)));
        routes.push((Prefix::ALL_V4, Some(router)));
    }
    // The way to the own network comes, and goes, with the address.
    routes.retain(|(prefix, router)| router.is_some() || !prefix.is_same_network(own));
    // A router that has our address would forward to us.
    routes.retain(|(_, router)| router.is_none_or(|router| IpAddr::V4(router) != own.address()));
    routes
}

fn name_servers(message: &Message<'_>) -> Vec<IpAddr> {
    let usable = message.addresses(Code::NAME_SERVERS).filter(|server| is_usable(server) || server.is_loopback());
    usable.map(IpAddr::V4).take(MAX_NAME_SERVERS).collect()
}

/// RFC 3397, or else the domain of the client.
fn search_domains(message: &Message<'_>) -> Vec<Box<str>> {
    let listed: Vec<u8> = message.bytes_of(Code::DOMAIN_SEARCH).take(4_096).collect();
    let listed = domain_names(&listed, MAX_NAME_SERVERS);
    if !listed.is_empty() {
        return listed;
    }
    let plain: Vec<u8> = message.bytes_of(Code::DOMAIN_NAME).take(256).collect();
    super::names::plain_name(&plain).into_iter().collect()
}
