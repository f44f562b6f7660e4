//! Bytes that are refused, and by which rule.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::hex;
use crate::checksum::{Fill, Sum};
use crate::{
    Arp, Error, EtherType, EthernetFrame, Fragment, Icmpv4Packet, IpProtocol, Ipv4Header, Ipv4Options, Ipv4Packet,
    Ipv6Header, Ipv6Packet, TcpSegment, TooLong, UdpDatagram, UdpHeader,
};

#[test]
fn frames() {
    let parse = |text: &str| EthernetFrame::parse(&hex(text)).map(drop);
    let addresses = "ffffffffffff 020000000001";
    let with = |rest: &str| parse(&[addresses, rest].concat());
    assert_eq!(parse(addresses), Err(Error::Truncated));
    assert_eq!(with("08"), Err(Error::Truncated));
    assert_eq!(with("0800"), Ok(()));
    assert_eq!(with("05dc"), Err(Error::NotEthernet2));
    assert_eq!(with("8100 0001 08"), Err(Error::Truncated));
    assert_eq!(with("8100 0001 0800"), Ok(()));
    assert_eq!(with("8100 0001 0020"), Err(Error::NotEthernet2));
    assert_eq!(with("88a8 0001 8100 0002 08"), Err(Error::Truncated));
    assert_eq!(with("88a8 0001 8100 0002 0800"), Ok(()));
    assert_eq!(with("88a8 0001 8100 0002 8100 0003 0800"), Err(Error::TooManyTags));
}

#[test]
fn types_that_are_none() {
    for value in [0, 0x5ff, 0x8100, 0x88a8] {
        assert_eq!(EtherType::new(value), None);
    }
    assert_eq!(EtherType::new(0x600).map(EtherType::value), Some(0x600));
}

#[test]
fn arp() {
    let good = Arp::announcement(crate::MacAddr([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(192, 0, 2, 1)).to_bytes();
    assert!(Arp::parse(&good).is_ok());
    assert_eq!(Arp::parse(&good[..27]), Err(Error::Truncated));
    for (at, error) in
        (0..6).map(|at| (at, Error::ArpAddresses)).chain([(6, Error::ArpOperation), (7, Error::ArpOperation)])
    {
        let mut bad = good;
        bad[at] += 4;
        assert_eq!(Arp::parse(&bad), Err(error), "byte {at}");
    }
}

#[test]
fn ipv4_packets() {
    let parse = |text: &str| Ipv4Packet::parse(&hex(text)).map(drop);
    let rest = "0000 0000 4006 0000 c0000201 c0000202";
    let with = |first: &str| parse(&[first, rest].concat());
    assert_eq!(parse("4500 0014"), Err(Error::Truncated));
    assert_eq!(with("4500 0014"), Ok(()));
    assert_eq!(with("6500 0014"), Err(Error::Version));
    assert_eq!(with("4400 0014"), Err(Error::HeaderLength));
    assert_eq!(with("4600 0018"), Err(Error::HeaderLength));
    assert_eq!(with("4500 0013"), Err(Error::TotalLength));
    assert_eq!(with("4500 0015"), Err(Error::TotalLength));
}

#[test]
fn ipv6_packets() {
    let parse = |text: &str| Ipv6Packet::parse(&hex(text)).map(drop);
    let addresses = "20010db8000000000000000000000001 20010db8000000000000000000000002";
    let with = |first: &str, rest: &str| parse(&[first, addresses, rest].concat());
    assert_eq!(parse("6000 0000"), Err(Error::Truncated));
    assert_eq!(with("60000000 0000 3b40", ""), Ok(()));
    assert_eq!(with("40000000 0000 3b40", ""), Err(Error::Version));
    assert_eq!(with("60000000 0002 3b40", "ff"), Err(Error::TotalLength));
    assert_eq!(with("60000000 0002 3b40", "ffff"), Ok(()));
    let header = Ipv6Header::new(IpProtocol::UDP, Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
    assert!(header.to_bytes(65_535).is_ok());
    assert_eq!(header.to_bytes(65_536), Err(TooLong));
}

#[test]
fn padding_is_no_payload() {
    let bytes = hex("4500 0016 0000 0000 4006 0000 c0000201 c0000202 abcd 00000000");
    assert_eq!(Ipv4Packet::parse(&bytes).unwrap().payload(), [0xab, 0xcd]);
}

#[test]
fn ipv4_packets_that_are_too_long() {
    let mut header = Ipv4Header::new(IpProtocol::UDP, Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST);
    assert!(header.to_bytes(65_515).is_ok());
    assert_eq!(header.to_bytes(65_516), Err(TooLong));
    assert_eq!(header.to_bytes(usize::MAX), Err(TooLong));
    header.options = Ipv4Options::new(&[7; 37]).unwrap();
    assert_eq!(header.header_len(), 60);
    assert_eq!(header.to_bytes(65_476), Err(TooLong));
    assert_eq!(Ipv4Options::new(&[1; 41]), Err(TooLong));
}

#[test]
fn fragments_begin_at_multiples_of_eight() {
    assert_eq!(Fragment::new(12, false), None);
    let last = Fragment::new(65_528, false).unwrap();
    assert_eq!((last.offset(), last.has_more(), last.is_whole()), (65_528, false, false));
    assert_eq!(Fragment::new(0, false), Some(Fragment::WHOLE));
    assert!(Fragment::new(0, true).unwrap().has_more());
}

#[test]
fn malformed_ipv4_options_are_pointed_at() {
    let options = Ipv4Options::new(&[1, 148, 4, 0, 0, 7, 4]).unwrap();
    let items: Vec<_> = options.iter().collect();
    assert_eq!(items[0].unwrap().kind, 148);
    assert_eq!(items[1].unwrap_err().at, 5, "four bytes do not fit into the three that are left");
}

#[test]
fn udp_datagrams() {
    let parse = |text: &str| UdpDatagram::parse(&hex(text)).map(drop);
    assert_eq!(parse("0007 0007 0008 00"), Err(Error::Truncated));
    assert_eq!(parse("0007 0007 0007 0000"), Err(Error::TotalLength));
    assert_eq!(parse("0007 0007 0009 0000"), Err(Error::TotalLength));
    assert_eq!(parse("0007 0007 0009 0000 ff ff"), Ok(()));
    let header = UdpHeader { src_port: 7, dst_port: 7 };
    assert!(header.to_bytes(65_527, Fill::Partial(Sum::ZERO)).is_ok());
    assert_eq!(header.to_bytes(65_528, Fill::Partial(Sum::ZERO)), Err(TooLong));
}

#[test]
fn tcp_segments() {
    let parse = |text: &str| TcpSegment::parse(&hex(text)).map(drop);
    let with = |offset: &str| parse(&["0050 0051 00000001 00000000 ", offset, "2 ffff 0000 0000"].concat());
    assert_eq!(parse("0050 0051"), Err(Error::Truncated));
    assert_eq!(with("500"), Ok(()));
    assert_eq!(with("400"), Err(Error::HeaderLength));
    assert_eq!(with("600"), Err(Error::HeaderLength));
}

#[test]
fn icmp_messages() {
    assert_eq!(Icmpv4Packet::parse(&[0; 7]).map(drop), Err(Error::Truncated));
}
