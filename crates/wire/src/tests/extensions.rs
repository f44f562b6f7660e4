//! Extension headers of IPv6 (RFC 8200 §4), and what errors quote.

use core::net::Ipv6Addr;

use crate::{
    Error, Fragment, Icmpv6Header, Icmpv6Packet, IpProtocol, Ipv6Extension, Ipv6Fragment, Ipv6Header, Ipv6Packet,
    QuotedV6, UnknownOption, ipv6_router_alert,
};

const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

fn packet(next_header: IpProtocol, payload: &[u8]) -> Vec<u8> {
    let header = Ipv6Header::new(next_header, A, B);
    [&header.to_bytes(payload.len()).unwrap()[..], payload].concat()
}

/// The error with which the extension headers end.
fn error_of(next_header: IpProtocol, payload: &[u8]) -> Option<Error> {
    let bytes = packet(next_header, payload);
    Ipv6Packet::parse(&bytes).unwrap().extensions().find_map(Result::err)
}

#[test]
fn a_chain_is_gone_through() {
    let routing = [60, 0, 4, 0, 0, 0, 0, 0];
    let destination = [6, 1, 1, 0, 0x1e, 2, 7, 7, 0, 0xc1, 1, 9, 1, 2, 0, 0];
    let payload = [&ipv6_router_alert(IpProtocol::ROUTING)[..], &routing, &destination, b"rest"].concat();
    let bytes = packet(IpProtocol::HOP_BY_HOP, &payload);
    let mut extensions = Ipv6Packet::parse(&bytes).unwrap().extensions();
    let Some(Ok(Ipv6Extension::HopByHop(mut options))) = extensions.next() else { panic!() };
    let alert = options.next().unwrap().unwrap();
    assert!(alert.is_router_alert() && alert.data == [0, 0] && alert.at == 42 && options.next().is_none());
    let Some(Ok(Ipv6Extension::Routing { kind: 4, segments_left: 0 })) = extensions.next() else { panic!() };
    let Some(Ok(Ipv6Extension::Destination(options))) = extensions.next() else { panic!() };
    let options: Vec<_> = options.map(Result::unwrap).collect();
    let told: Vec<_> = options.iter().map(|option| (option.kind, option.at, option.unknown())).collect();
    let expected = [(0x1e, 60, UnknownOption::Skip), (0xc1, 65, UnknownOption::TellUnlessMulticast)];
    assert_eq!(told, expected);
    assert!(extensions.next().is_none());
    assert_eq!((extensions.protocol(), extensions.position(), extensions.named_at()), (IpProtocol::TCP, 72, 56));
    assert_eq!(extensions.rest(), b"rest");
}

#[test]
fn what_is_malformed_ends_it() {
    let option = [58, 0, 1, 4, 0, 0, 0, 0];
    assert_eq!(error_of(IpProtocol::DESTINATION_OPTIONS, &[58]), Some(Error::Truncated));
    assert_eq!(error_of(IpProtocol::DESTINATION_OPTIONS, &option[..7]), Some(Error::HeaderLength));
    assert_eq!(error_of(IpProtocol::DESTINATION_OPTIONS, &option), None);
    let second = [&[0, 0, 1, 4, 0, 0, 0, 0], &option[..]].concat();
    assert_eq!(error_of(IpProtocol::HOP_BY_HOP, &second), Some(Error::ExtensionOrder), "RFC 8200 §4.1");
    let many = [60, 0, 1, 4, 0, 0, 0, 0].repeat(9);
    assert_eq!(error_of(IpProtocol::DESTINATION_OPTIONS, &many), Some(Error::TooManyExtensions));
}

#[test]
fn options_that_reach_too_far_are_pointed_at() {
    let bytes = packet(IpProtocol::DESTINATION_OPTIONS, &[58, 0, 0, 0, 5, 9, 1, 1]);
    let Some(Ok(Ipv6Extension::Destination(mut options))) = Ipv6Packet::parse(&bytes).unwrap().extensions().next()
    else {
        panic!()
    };
    assert_eq!(options.next().unwrap().unwrap_err().at, 44);
    assert!(options.next().is_none());
}

#[test]
fn a_fragment_ends_it_unless_it_is_the_whole() {
    let rest = [6, 0, 1, 4, 0, 0, 0, 0];
    for (fragment, count) in [(Fragment::new(0, true), 1), (Fragment::new(8, false), 1), (Fragment::new(0, false), 2)] {
        let next_header = IpProtocol::DESTINATION_OPTIONS;
        let fragment = Ipv6Fragment { next_header, fragment: fragment.unwrap(), identification: 0x0102_0304 };
        let bytes = packet(IpProtocol::FRAGMENT, &[&fragment.to_bytes()[..], &rest].concat());
        let extensions = Ipv6Packet::parse(&bytes).unwrap().extensions();
        assert_eq!(extensions.clone().count(), count, "RFC 6946");
        let Some(Ok(Ipv6Extension::Fragment(read))) = extensions.clone().next() else { panic!() };
        assert_eq!(read, fragment);
    }
}

#[test]
fn the_flow_of_what_was_quoted_is_found() {
    let ports = [0, 80, 1, 0, 0, 0, 0, 7];
    let fragment = |offset, has_more| {
        let fragment = Fragment::new(offset, has_more).unwrap();
        Ipv6Fragment { next_header: IpProtocol::TCP, fragment, identification: 9 }.to_bytes()
    };
    for (payload, is_found) in [(fragment(0, true), true), (fragment(0, false), true), (fragment(8, true), false)] {
        let bytes = packet(IpProtocol::FRAGMENT, &[&payload[..], &ports].concat());
        let quoted = QuotedV6::parse(&bytes).unwrap();
        assert_eq!((quoted.four_tuple().is_some(), quoted.seq().is_some()), (is_found, is_found));
        assert_eq!((quoted.protocol(), quoted.total_len()), (IpProtocol::TCP, 56));
    }
    let cut = &packet(IpProtocol::UDP, &[0; 100])[..44];
    assert_eq!(QuotedV6::parse(cut).unwrap().four_tuple().map(|flow| flow.src_port), Some(0));
}

#[test]
fn icmp_messages() {
    assert_eq!(Icmpv6Packet::parse(&[0; 7]).map(drop), Err(Error::Truncated));
    let too_big = Icmpv6Packet::parse(&[2, 3, 0, 0, 0, 0, 5, 0]).unwrap().header();
    assert_eq!(too_big, Icmpv6Header::PacketTooBig { mtu: 1_280 });
    assert!(too_big.is_error() && !Icmpv6Header::EchoRequest { identifier: 1, sequence: 2 }.is_error());
}
