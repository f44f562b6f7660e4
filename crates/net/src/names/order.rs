//! In which order addresses and services are tried.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use super::Service;

/// RFC 6724 §2.1: how much an address is preferred. Which of our own addresses would be used is not known here, so the rules that compare
/// with it are left out.
fn precedence(ip: &IpAddr) -> u8 {
    let IpAddr::V6(v6) = ip else { return 35 };
    match v6.segments() {
        _ if v6.is_loopback() => 50,
        [0, 0, 0, 0, 0, 0xffff, ..] => 35,
        [0x2002, ..] => 30,
        [0x2001, 0, ..] => 5,
        [first, ..] if first & 0xfe00 == 0xfc00 => 3,
        [first, ..] if first & 0xffc0 == 0xfec0 => 1,
        [0x3ffe, ..] => 1,
        _ if is_v4_compatible(v6) => 1,
        _ => 40,
    }
}

fn is_v4_compatible(v6: &Ipv6Addr) -> bool {
    v6.to_bits() >> 32 == 0
}

/// Sorts by preference; of equal ones the order stays, since it may be a server's way to share load out. Then both versions of IP
/// take turns (RFC 8305 §4).
pub(super) fn sort(addresses: &mut Vec<IpAddr>) {
    addresses.sort_by_key(|ip| u8::MAX - precedence(ip));
    let Some(first) = addresses.first().map(IpAddr::is_ipv4) else { return };
    let (mut one, mut other): (Vec<IpAddr>, Vec<IpAddr>) = addresses.drain(..).partition(|ip| ip.is_ipv4() == first);
    let (mut one, mut other) = (one.drain(..), other.drain(..));
    loop {
        let turn = [one.next(), other.next()];
        if turn == [None, None] {
            return;
        }
        addresses.extend(turn.into_iter().flatten());
    }
}

/// RFC 2782: by priority; of equal ones by chance, in proportion to their weights.
pub(super) fn draw(services: &mut [Service], mut random: impl FnMut() -> u32) {
    services.sort_by_key(|service| (service.priority, service.weight != 0));
    let mut begin = 0;
    while begin < services.len() {
        let priority = services[begin].priority;
        let end = begin + services[begin..].iter().take_while(|service| service.priority == priority).count();
        for place in begin..end {
            let total: u64 = services[place..end].iter().map(|service| u64::from(service.weight)).sum();
            let mut left = u64::from(random()) % (total + 1);
            let chosen = services[place..end].iter().position(|service| {
                let is_it = u64::from(service.weight) >= left;
                left = left.saturating_sub(service.weight.into());
                is_it
            });
            services[place..=place + chosen.unwrap_or(0)].rotate_right(1);
        }
        begin = end;
    }
}
