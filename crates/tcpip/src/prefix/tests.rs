use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Prefix, PrefixTooLong};

fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::from([a, b, c, d])
}

#[test]
fn holds_what_shares_its_bits() {
    let net = Prefix::new([192, 0, 2, 77], 26).expect("32 bits");
    assert!(net.contains(v4(192, 0, 2, 64)) && net.contains(v4(192, 0, 2, 127)));
    assert!(!net.contains(v4(192, 0, 2, 63)) && !net.contains(v4(192, 0, 2, 128)));
    assert!(!net.contains(Ipv6Addr::LOCALHOST.into()), "of another version");
    assert!(Prefix::ALL_V4.contains(v4(1, 2, 3, 4)));
    assert!(!Prefix::ALL_V4.contains(Ipv6Addr::UNSPECIFIED.into()));
    assert!(net.is_same_network(Prefix::new([192, 0, 2, 65], 26).expect("32 bits")));
    assert!(!net.is_same_network(Prefix::new([192, 0, 2, 65], 27).expect("32 bits")));
}

/// RFC 919 §7; RFC 3021 §2.1: networks of two stations have no broadcast address.
#[test]
fn has_a_broadcast_address() {
    let broadcast = |len| Prefix::new([10, 1, 2, 3], len).expect("32 bits").broadcast();
    assert_eq!(broadcast(24), Some(Ipv4Addr::new(10, 1, 2, 255)));
    assert_eq!(broadcast(30), Some(Ipv4Addr::new(10, 1, 2, 3)));
    assert_eq!((broadcast(31), broadcast(32)), (None, None));
    assert_eq!(Prefix::ALL_V4.broadcast(), Some(Ipv4Addr::BROADCAST));
}

#[test]
fn has_no_more_bits_than_its_address() {
    assert_eq!(Prefix::new([0; 4], 33), Err(PrefixTooLong));
    assert!(Prefix::new(Ipv6Addr::LOCALHOST, 128).is_ok());
    assert_eq!(Prefix::new(Ipv6Addr::LOCALHOST, 129), Err(PrefixTooLong));
}
