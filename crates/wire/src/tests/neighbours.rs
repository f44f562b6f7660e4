//! Messages of neighbour discovery and their options.

use core::net::Ipv6Addr;

use super::hex;
use crate::{
    DnsServers, Error, Icmpv6Packet, IpProtocol, Ipv6Packet, MacAddr, NDP_HOP_LIMIT, NdpMessage, NdpOption,
    PrefixInformation, RouteInformation, RouterAdvertisement, RouterPreference,
};

fn parse(bytes: &[u8]) -> Result<(NdpMessage, Vec<NdpOption<'_>>), Error> {
    let (message, options) = NdpMessage::parse(&Icmpv6Packet::parse(bytes)?)?;
    Ok((message, options.collect()))
}

#[test]
fn a_solicitation() {
    let bytes = hex("6000000000203aff fe800000000000000000000000000001 ff0200000000000000000001ff000002
         8700 7a97 00000000 fe800000000000000000000000000002 0101 020000000001");
    let packet = Ipv6Packet::parse(&bytes).unwrap();
    assert_eq!((packet.hop_limit(), packet.next_header()), (NDP_HOP_LIMIT, IpProtocol::ICMPV6));
    let icmp = Icmpv6Packet::parse(packet.payload()).unwrap();
    assert!(icmp.has_valid_checksum(packet.addresses()));
    let target = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
    let (message, options) = parse(packet.payload()).unwrap();
    assert_eq!(message, NdpMessage::NeighbourSolicitation { target });
    assert_eq!(options, [NdpOption::SourceLinkLayer(MacAddr([2, 0, 0, 0, 0, 1]))]);
}

#[test]
fn an_advertisement_of_a_router() {
    let bytes = hex("8600 0000 40 48 0708 00007530 000003e8
         0304 40c0 00015180 00003840 00000000 20010db8000000000000000000000000
         0501 0000 000005dc
         1802 3018 00000708 20010db8ffff0000
         1903 0000 0000012c 20010db8000000000000000000000053
         1f03 0000 0000012c 07 6578616d706c65 03 636f6d 00000000
         6301 010203040506");
    let (message, options) = parse(&bytes).unwrap();
    let router = RouterAdvertisement {
        hop_limit: 64,
        is_managed: false,
        has_other_configuration: true,
        preference: RouterPreference::High,
        lifetime_s: 1_800,
        reachable_ms: 30_000,
        retransmit_ms: 1_000,
    };
    assert_eq!(message, NdpMessage::RouterAdvertisement(router));
    let prefix = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0);
    let (is_on_link, is_autonomous) = (true, true);
    let prefix = PrefixInformation { len: 64, is_on_link, is_autonomous, valid_s: 86_400, preferred_s: 14_400, prefix };
    let route = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0);
    let preference = Some(RouterPreference::Low);
    let server = [Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53).octets()];
    let expected = [
        NdpOption::Prefix(prefix),
        NdpOption::Mtu(1_500),
        NdpOption::Route(RouteInformation { len: 48, preference, lifetime_s: 1_800, prefix: route }),
        NdpOption::DnsServers(DnsServers::new(300, &server)),
        NdpOption::DnsSearch { lifetime_s: 300, names: b"\x07example\x03com\0\0\0\0" },
        NdpOption::Other { kind: 0x63, data: &[1, 2, 3, 4, 5, 6] },
    ];
    assert_eq!(options, expected);
    let NdpOption::DnsServers(servers) = options[3] else { panic!() };
    assert_eq!(servers.addresses().next(), Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53)));
}

/// RFC 4861 §4.6: nodes must drop a packet with an option of length zero.
#[test]
fn malformed_messages_are_refused() {
    let solicitation = |options: &str| hex(&format!("8700 0000 00000000 fe80000000000000 0000000000000002 {options}"));
    assert!(parse(&solicitation("")).is_ok());
    assert_eq!(parse(&solicitation("0100 000000000000")).map(drop), Err(Error::NdpOption));
    assert_eq!(parse(&solicitation("0102 000000000000")).map(drop), Err(Error::NdpOption));
    assert_eq!(parse(&solicitation("01")).map(drop), Err(Error::NdpOption));
    assert_eq!(parse(&solicitation("")[..23]).map(drop), Err(Error::Truncated));
    assert_eq!(parse(&hex("8700 0000 00000000")).map(drop), Err(Error::Truncated));
    assert_eq!(parse(&hex("8701 0000 00000000")).map(drop), Err(Error::MessageKind));
    assert_eq!(parse(&hex("8000 0000 00000000")).map(drop), Err(Error::MessageKind));
    let bytes = solicitation("0302 000000000000 0000000000000000");
    assert!(matches!(parse(&bytes).unwrap().1[..], [NdpOption::Other { kind: 3, .. }]), "a prefix has four units");
}

#[test]
fn what_is_too_long_is_not_built() {
    let servers = [[7; 16]; 8];
    assert!(NdpOption::DnsServers(DnsServers::new(1, &servers[..7])).to_bytes().is_ok());
    assert!(NdpOption::DnsServers(DnsServers::new(1, &servers)).to_bytes().is_err());
}
