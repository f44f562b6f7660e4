use core::hash::Hasher;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use siphasher::sip::SipHasher13;
use sunstar_wire::{AddressPair, FourTuple, MacAddr};

use super::{Secret, sip_13_of_12_bytes};
use crate::time::Instant;

fn flow(src: u8, src_port: u16) -> FourTuple {
    let address = |last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
    let addresses = AddressPair::new(address(src), address(200)).expect("one version");
    FourTuple { addresses, src_port, dst_port: 80 }
}

/// RFC 6528 §3.
#[test]
fn initial_sequence_grows_with_time_and_differs_by_flow() {
    let (secret, now) = (Secret::new([7; 16]), Instant::from_micros(1_000_000));
    let first = secret.flow_hash(&flow(1, 1_000)).initial_sequence(now);
    let later = secret.flow_hash(&flow(1, 1_000)).initial_sequence(now + Duration::from_millis(4));
    assert_eq!(later - first, 1_000);
    assert_ne!(secret.flow_hash(&flow(1, 1_001)).initial_sequence(now), first);
    assert_ne!(Secret::new([8; 16]).flow_hash(&flow(1, 1_000)).initial_sequence(now), first);
}

/// RFC 6191: timestamps of a pair of addresses grow from connection to connection.
#[test]
fn timestamp_offset_is_that_of_the_addresses() {
    let secret = Secret::new([7; 16]);
    assert_eq!(secret.timestamp_offset(&flow(1, 1_000)), secret.timestamp_offset(&flow(1, 2_000)));
    assert_ne!(secret.timestamp_offset(&flow(1, 1_000)), secret.timestamp_offset(&flow(2, 1_000)));
}

#[test]
fn purposes_are_unrelated() {
    let (secret, flow) = (Secret::new([7; 16]), flow(1, 0));
    let values = [
        u64::from(secret.flow_hash(&flow).slot()),
        u64::from(secret.flow_hash(&flow).initial_sequence(Instant::default()).value()),
        u64::from(secret.timestamp_offset(&flow)),
        secret.port_offset(&flow) & 0xffff_ffff,
    ];
    for (at, value) in values.iter().enumerate() {
        assert!(!values[..at].contains(value));
    }
    assert_eq!(format!("{secret:?}"), "Secret", "it is in no log");
}

#[test]
fn twelve_bytes_have_the_hash_that_any_others_would_have() {
    for seed in 0..200_u64 {
        let word = |nth: u64| (seed * 4 + nth).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let (key, first, [.., a, b, c, d]) = ([word(0), word(1)], word(2), word(3).to_be_bytes());
        let last = u32::from_be_bytes([a, b, c, d]);
        let mut hasher = SipHasher13::new_with_keys(key[0], key[1]);
        hasher.write(&[&first.to_le_bytes()[..], &last.to_le_bytes()].concat());
        assert_eq!(sip_13_of_12_bytes(key, first, last), hasher.finish());
    }
}

/// RFC 7217 §5: a host has the same address each time. Name servers and filters have it stored: none of these numbers may change.
#[test]
fn addresses_stay_the_same() {
    let (secret, mac) = (Secret::new([7; 16]), MacAddr([2, 0, 0, 0, 0, 1]));
    let network = Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 0, 0, 0, 0);
    let identifiers = [0, 1].map(|retries| secret.interface_identifier(network, mac, retries));
    assert_eq!(identifiers, [0x63f0_f8a6_e2ca_1966, 0x2017_8a21_1632_14c5]);
}

/// RFC 8415 §11: a DUID must not change over time, and servers have it stored with what they have leased to it.
#[test]
fn names_for_dhcp_stay_the_same() {
    assert_eq!(Secret::new([7; 16]).uuid(), 0x290c_c7a1_433e_700f_f1bd_32ed_1794_332a_u128.to_be_bytes());
}
