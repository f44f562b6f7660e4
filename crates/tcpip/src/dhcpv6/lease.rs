//! What a server gives.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use sunstar_wire::dhcpv6::{Code, IaNa, Message, Status};

use crate::configuration::MAX_NAME_SERVERS;
use crate::dhcpv4::names::domain_names;
use crate::time::Instant;

/// Addresses of one lease at most; further ones are left out.
pub const MAX_ADDRESSES: usize = 8;

/// Seconds that stand for ever (RFC 8415 §7.7).
const FOR_EVER: u32 = u32::MAX;

/// RFC 8415 §11.1: bytes of what names a client or server, its type included.
pub(super) const MAX_DUID_BYTES: usize = 130;

/// An address, for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeasedAddress {
    /// The address.
    pub address: Ipv6Addr,
    /// Until when new connections may use it; none if for ever.
    pub preferred_until: Option<Instant>,
    /// Until when it may be used at all; none if for ever.
    pub valid_until: Option<Instant>,
    /// Whether new connections may use it now.
    pub is_preferred: bool,
}

/// Addresses, and what goes with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// Who gave them, by its DUID.
    pub server: Vec<u8>,
    /// The addresses; none if only the rest was asked for.
    pub addresses: Vec<LeasedAddress>,
    /// Who is asked for names (RFC 3646).
    pub name_servers: Vec<IpAddr>,
    /// The domains in which names are looked for (RFC 3646).
    pub search_domains: Vec<Box<str>>,
    /// When to ask the server to keep them (T1); never if there is no such time.
    pub(super) renew_at: Option<Instant>,
    /// When to ask anybody (T2).
    pub(super) rebind_at: Option<Instant>,
}

/// What an answer says of the addresses that were asked for.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Nothing.
    Nothing,
    /// They are not given, for a reason.
    Refused(Status),
    /// They are, or some of them; of those that are not, the time is over.
    Given,
}

impl Lease {
    /// What an answer gives to the client's addresses of this number; the times count from `asked_at`.
    pub(super) fn read(message: &Message<'_>, iaid: u32, asked_at: Instant) -> Option<(Self, Verdict)> {
        let server = server_of(message)?;
        let mut lease = Self { server: server.to_vec(), ..Self::information(message) };
        let ia = message.options().of_code(Code::IA_NA).filter_map(IaNa::parse).find(|ia| ia.iaid == iaid);
        let Some(ia) = ia else { return Some((lease, Verdict::Nothing)) };
        let status = ia.options.status();
        if status != Status::SUCCESS {
            return Some((lease, Verdict::Refused(status)));
        }
        let mut shortest = FOR_EVER;
        for given in ia.addresses().filter(|given| is_usable(given.address)) {
            let is_known = lease.addresses.iter().any(|other| other.address == given.address);
            if is_known || lease.addresses.len() >= MAX_ADDRESSES {
                continue;
            }
            let is_given = given.options.status() == Status::SUCCESS;
            let [preferred_s, valid_s] = [given.preferred_s, given.valid_s].map(|time| if is_given { time } else { 0 });
            if valid_s > 0 {
                shortest = shortest.min(if preferred_s > 0 { preferred_s } else { valid_s });
            }
            lease.addresses.push(LeasedAddress {
                address: given.address,
                preferred_until: end_of(asked_at, preferred_s),
                valid_until: end_of(asked_at, valid_s),
                is_preferred: preferred_s > 0,
            });
        }
        if lease.addresses.is_empty() {
            return Some((lease, Verdict::Refused(Status::NO_ADDRS_AVAIL)));
        }
        (lease.renew_at, lease.rebind_at) = times(asked_at, ia.t1_s, ia.t2_s, shortest);
        Some((lease, Verdict::Given))
    }

    /// All but addresses.
    pub(super) fn information(message: &Message<'_>) -> Self {
        let options = message.options();
        let is_usable = |server: &Ipv6Addr| !server.is_unspecified() && !server.is_multicast();
        let servers = options.addresses(Code::NAME_SERVERS).filter(is_usable).map(IpAddr::V6);
        let domains = options.find_code(Code::DOMAIN_LIST).unwrap_or_default();
        Self {
            server: server_of(message).unwrap_or_default().to_vec(),
            name_servers: servers.take(MAX_NAME_SERVERS).collect(),
            search_domains: domain_names(domains, MAX_NAME_SERVERS),
            ..Self::default()
        }
    }

    /// Takes over what was there before and the answer to a renewal does not mention (RFC 8415 §18.2.10.1).
    pub(super) fn keep(&mut self, now: Instant, before: &Self) {
        for old in &before.addresses {
            if self.addresses.len() < MAX_ADDRESSES && self.addresses.iter().all(|new| new.address != old.address) {
                self.addresses.push(*old);
            }
        }
        // An answer that gives nothing, or for ever, says of no time for what is kept (§21.4).
        let ends = self.addresses.iter().filter_map(|address| address.preferred_until.or(address.valid_until));
        let until = ends.filter(|until| *until > now).min();
        if let (None, Some(until)) = (self.renew_at, until) {
            let left = until - now;
            (self.renew_at, self.rebind_at) = (Some(now + left / 2), Some(now + left * 4 / 5));
        }
    }

    /// Lets go of addresses whose time is over, and notes which ones are old; answers whether anything has changed.
    pub(super) fn age(&mut self, now: Instant) -> bool {
        let is_over = |until: Option<Instant>| until.is_some_and(|until| until <= now);
        let before = self.addresses.len();
        self.addresses.retain(|address| !is_over(address.valid_until));
        let mut has_changed = self.addresses.len() < before;
        for address in &mut self.addresses {
            let is_preferred = !is_over(address.preferred_until);
            has_changed |= core::mem::replace(&mut address.is_preferred, is_preferred) != is_preferred;
        }
        has_changed
    }

    /// When [`Lease::age`] has something to do.
    pub(super) fn next_change(&self) -> Option<Instant> {
        let ends = self.addresses.iter().flat_map(|address| {
            let preferred_until = address.preferred_until.filter(|_| address.is_preferred);
            [preferred_until, address.valid_until]
        });
        ends.flatten().min()
    }

    pub(super) fn has(&self, address: Ipv6Addr) -> bool {
        self.addresses.iter().any(|other| other.address == address)
    }
}

/// The server that says something, by its DUID; none if it does not say so, as it must (RFC 8415 §16.3, §16.10).
pub(super) fn server_of<'a>(message: &Message<'a>) -> Option<&'a [u8]> {
    message.options().find_code(Code::SERVER_ID).filter(|duid| (3..=MAX_DUID_BYTES).contains(&duid.len()))
}

/// Whether one station can have an address that a server gives.
fn is_usable(address: Ipv6Addr) -> bool {
    let is_special = address.is_unspecified() || address.is_loopback() || address.is_multicast();
    !is_special && !address.is_unicast_link_local() && address.to_ipv4_mapped().is_none()
}

fn end_of(now: Instant, seconds: u32) -> Option<Instant> {
    (seconds != FOR_EVER).then(|| now + Duration::from_secs(seconds.into()))
}

/// RFC 8415 §21.4: half, and four fifths, of the shortest time for which an address is preferred, unless the server says something else.
fn times(asked_at: Instant, t1_s: u32, t2_s: u32, shortest_s: u32) -> (Option<Instant>, Option<Instant>) {
    let share = |of_ten: u64| match shortest_s {
        FOR_EVER => FOR_EVER,
        shortest => u32::try_from(u64::from(shortest) * of_ten / 10).unwrap_or(FOR_EVER),
    };
    let t2_s = if t2_s == 0 { share(8).max(t1_s) } else { t2_s };
    let t1_s = if t1_s == 0 { share(5).min(t2_s) } else { t1_s };
    // Who gives addresses for moments would have us ask all the time.
    (end_of(asked_at, t1_s.max(1)), end_of(asked_at, t2_s.max(1)))
}
