//! Which of our addresses of IPv6 a packet comes from (RFC 6724 §5).

use core::cmp::Reverse;
use core::net::{IpAddr, Ipv6Addr};

use crate::interface::Interface;
use crate::prefix::Prefix;

/// RFC 6724 §2.1, the labels: prefix, its bits, label. The longest one that fits counts.
const LABELS: [(u128, u32, u8); 9] = [
    (1, 128, 0),
    (0xffff << 32, 96, 4),
    (0, 96, 3),
    (0x2001 << 112, 32, 5),
    (0x2002 << 112, 16, 2),
    (0x3ffe << 112, 16, 12),
    (0xfec0 << 112, 10, 11),
    (0xfc00 << 112, 7, 13),
    (0, 0, 1),
];

fn label(address: Ipv6Addr) -> u8 {
    let bits = address.to_bits();
    let fits = |(prefix, len, _): &&(u128, u32, u8)| (bits ^ prefix).leading_zeros() >= *len;
    LABELS.iter().find(fits).map_or(1, |(.., label)| *label)
}

/// RFC 6724 §3.1, RFC 4291 §2.7.
fn scope(address: Ipv6Addr) -> u8 {
    const LINK: u8 = 2;
    const GLOBAL: u8 = 14;
    let [first, second, ..] = address.octets();
    match address {
        _ if first == 0xff => second & 0xf,
        _ if address.is_unicast_link_local() || address.is_loopback() => LINK,
        _ => GLOBAL,
    }
}

/// Bits that two addresses begin with in common, within the prefix of ours (§2.2).
fn common_bits(ours: Prefix, src: Ipv6Addr, dst: Ipv6Addr) -> u32 {
    (src.to_bits() ^ dst.to_bits()).leading_zeros().min(ours.len().into())
}

/// The best of an interface's addresses for packets to `dst`.
pub(super) fn source(dst: Ipv6Addr, interface: &Interface, candidates: &[Prefix]) -> Option<Ipv6Addr> {
    let wanted = scope(dst);
    let v6 = candidates.iter().filter_map(|prefix| match prefix.address() {
        IpAddr::V6(src) => Some((*prefix, src)),
        IpAddr::V4(_) => None,
    });
    // Of equal ones the first.
    let rank = |(prefix, src): &(Prefix, Ipv6Addr)| {
        let scope = scope(*src);
        // Rule 2: the smallest that suffices, or else the largest.
        let by_scope = if scope >= wanted { (0, scope) } else { (1, u8::MAX - scope) };
        (
            // Rule 1.
            *src != dst,
            by_scope,
            // Rule 3.
            !interface.is_preferred((*src).into()),
            // Rule 6.
            label(*src) != label(dst),
            // Rule 8.
            Reverse(common_bits(*prefix, *src, dst)),
        )
    };
    v6.min_by_key(rank).map(|(_, src)| src)
}
