use core::hash::Hasher;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use siphasher::sip::SipHasher13;
use sunstar_wire::{AddressPair, FourTuple};

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
