//! Checksums from the RFCs.

use core::net::{Ipv4Addr, Ipv6Addr};

use sunstar_packet::{Buffer, Packet};

use super::hex;
use crate::checksum::{Fill, Sum, pseudo_header, pseudo_header_v4, pseudo_header_v6, update};
use crate::{AddressPair, IpProtocol, UdpDatagram, UdpHeader};

/// RFC 1071 §3.
const EXAMPLE: [u8; 8] = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];

#[test]
fn the_example_of_rfc_1071_holds() {
    assert_eq!(Sum::of(&EXAMPLE).partial(), 0xddf2);
    assert_eq!(Sum::of(&EXAMPLE).checksum(), 0x220d);
    assert!(Sum::of(&[&EXAMPLE[..], &[0x22, 0x0d]].concat()).is_valid());
    assert!(!Sum::of(&[&EXAMPLE[..], &[0x22, 0x0e]].concat()).is_valid());
}

#[test]
fn the_example_may_be_cut_at_odd_places() {
    for (one, other) in (0..=8).flat_map(|one| (one..=8).map(move |other| (one, other))) {
        let pieces = [&EXAMPLE[..one], &EXAMPLE[one..other], &EXAMPLE[other..]];
        assert_eq!(Sum::of_chain(pieces).partial(), 0xddf2, "cut at {one} and {other}");
    }
}

#[test]
fn a_last_half_word_is_followed_by_a_zero() {
    assert_eq!(Sum::of(&[1, 2, 3]).partial(), 0x0402);
    assert_eq!(Sum::of(&[1, 2, 3]).partial(), Sum::of(&[1, 2, 3, 0]).partial());
}

#[test]
fn carries_of_all_ones_are_kept() {
    for len in [2, 8, 10, 64, 66, 128, 1460, 65534] {
        assert_eq!(Sum::of(&vec![0xff; len]).partial(), 0xffff, "{len} bytes");
    }
    assert_eq!((Sum::of(&[0xff; 8]) + Sum::of(&[0, 2])).partial(), 2);
}

#[test]
fn the_example_of_rfc_1624_comes_upon_the_right_zero() {
    // §4: the checksum is 0xdd2f, a word goes from 0x5555 to 0x3285, and the right one of the zeros is 0x0000.
    assert_eq!(update(0xdd2f, Sum::of_word(0x5555), Sum::of_word(0x3285)), 0x0000);
}

#[test]
fn several_words_are_updated_at_once() {
    let mut header = hex("4500 0073 0000 4000 4011 0000 c0a8 0001 c0a8 00c7");
    assert_eq!(Sum::of(&header).checksum(), 0xb861);
    let (old, new) = ([192, 168, 0, 1], [203, 0, 113, 9]);
    header[12..16].copy_from_slice(&new);
    assert_eq!(update(0xb861, Sum::of(&old), Sum::of(&new)), Sum::of(&header).checksum());
}

#[test]
fn chains_of_buffers_are_added_up() {
    let mut packet = Packet::new();
    for piece in EXAMPLE.chunks(3) {
        packet.push_back(Buffer::copy_from_slice(piece)).unwrap();
    }
    assert_eq!(Sum::of_chain(packet.buffers()).partial(), 0xddf2);
}

#[test]
fn pseudo_headers_are_those_of_the_rfcs() {
    let (src, dst) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 7));
    let bytes = hex("c0000201 c6336407 00 06 1234");
    assert_eq!(pseudo_header_v4(src, dst, IpProtocol::TCP, 0x1234).partial(), Sum::of(&bytes).partial());
    assert_eq!(
        pseudo_header(AddressPair::V4 { src, dst }, IpProtocol::TCP, 0x1234).partial(),
        Sum::of(&bytes).partial()
    );

    let (src, dst) = (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0xfe80, 0, 0, 0, 1, 2, 3, 4));
    let bytes = hex("20010db8 00000000 00000000 00000001 fe800000 00000000 00010002 00030004 00012345 000000 3a");
    assert_eq!(pseudo_header_v6(src, dst, IpProtocol::ICMPV6, 0x12345).partial(), Sum::of(&bytes).partial());
}

#[test]
fn a_udp_checksum_of_zero_is_sent_as_its_other_form() {
    let addresses = AddressPair::V4 { src: Ipv4Addr::LOCALHOST, dst: Ipv4Addr::LOCALHOST };
    let pseudo_header = pseudo_header(addresses, IpProtocol::UDP, 10);
    let header = UdpHeader { src_port: 7, dst_port: 7 };
    let without = header.to_bytes(2, Fill::Complete(pseudo_header)).unwrap();
    // A payload that makes the sum all ones, so that the checksum is zero.
    let payload = [without[6], without[7]];
    let bytes =
        [header.to_bytes(2, Fill::Complete(pseudo_header + Sum::of(&payload))).unwrap().as_slice(), &payload].concat();
    let datagram = UdpDatagram::parse(&bytes).unwrap();
    assert_eq!(datagram.checksum(), Some(0xffff));
    assert!(datagram.has_valid_checksum(addresses));
}

#[test]
fn a_udp_checksum_may_be_missing_over_ipv4_only() {
    let bytes = hex("0007 0007 0008 0000");
    let datagram = UdpDatagram::parse(&bytes).unwrap();
    assert_eq!(datagram.checksum(), None);
    assert!(datagram.has_valid_checksum(AddressPair::V4 { src: Ipv4Addr::LOCALHOST, dst: Ipv4Addr::LOCALHOST }));
    assert!(!datagram.has_valid_checksum(AddressPair::V6 { src: Ipv6Addr::LOCALHOST, dst: Ipv6Addr::LOCALHOST }));
}
