//! Properties of any bytes as what IPv6 speaks below its transports, and of any of its messages.

use core::net::Ipv6Addr;

use proptest::collection::vec;
use proptest::prelude::*;

use super::views;
use crate::checksum::{Sum, pseudo_header_v6};
use crate::{
    DnsServers, Icmpv6Packet, IpProtocol, Ipv6Header, MacAddr, NdpMessage, NdpOption, PrefixInformation,
    RouteInformation, RouterAdvertisement, RouterPreference,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn property_chains_are_read_without_panic(chain in vec(extension(), 0..6), rest in vec(any::<u8>(), 0..60)) {
        let first = chain.first().map_or(IpProtocol::ICMPV6, |(kind, _)| IpProtocol(*kind));
        let mut payload = Vec::new();
        for (at, (_, bytes)) in chain.iter().enumerate() {
            let next = chain.get(at + 1).map_or(58, |(kind, _)| *kind);
            payload.extend_from_slice(&[&[next], &bytes[1..]].concat());
        }
        payload.extend_from_slice(&rest);
        let header = Ipv6Header::new(first, Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        let bytes = [&header.to_bytes(payload.len()).unwrap()[..], &payload].concat();
        views::check(&bytes);
        // Also as what an error is about.
        views::check(&[&[1, 4, 0, 0, 0, 0, 0, 0], &bytes[..]].concat());
    }

    #[test]
    fn property_likely_messages_are_read_without_panic(
        kind in prop_oneof![1..=4_u8, 128..=143_u8], front in any::<[u8; 6]>(), body in vec(any::<u8>(), 0..40),
        options in vec((0..40_u8, 0..4_u8, vec(any::<u8>(), 6..30)), 0..5),
    ) {
        let mut bytes = [&[kind, 0], &front[..], &body].concat();
        for (kind, units, data) in options {
            bytes.extend_from_slice(&[kind, units]);
            bytes.extend_from_slice(&data);
        }
        views::check(&bytes);
    }

    #[test]
    fn property_discovery_comes_back(
        message in message(), mac in any::<[u8; 6]>(), prefix in prefix(), route in route(), nonce in any::<[u8; 6]>(),
        servers in vec(any::<[u8; 16]>(), 1..8), numbers in any::<[u32; 2]>(),
    ) {
        let options = [
            NdpOption::SourceLinkLayer(MacAddr(mac)),
            NdpOption::TargetLinkLayer(MacAddr(mac)),
            NdpOption::Prefix(prefix),
            NdpOption::Mtu(numbers[0]),
            NdpOption::Nonce(nonce),
            NdpOption::Route(route),
            NdpOption::DnsServers(DnsServers::new(numbers[1], &servers)),
        ];
        let built: Vec<u8> = options.iter().flat_map(|option| option.to_bytes().unwrap().to_vec()).collect();
        let body = [&message.fixed()[..], &built].concat();
        let (src, dst) = (Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED);
        let len = u32::try_from(body.len() + 8).unwrap();
        let sum = pseudo_header_v6(src, dst, IpProtocol::ICMPV6, len) + Sum::of(&body);
        let bytes = [&message.header().to_bytes(sum)[..], &body].concat();
        let packet = Icmpv6Packet::parse(&bytes).unwrap();
        let addresses = crate::AddressPair::V6 { src, dst };
        prop_assert!(packet.has_valid_checksum(addresses));
        let (read, read_options) = NdpMessage::parse(&packet).unwrap();
        prop_assert_eq!(read, message);
        prop_assert_eq!(read_options.collect::<Vec<_>>(), options);
    }
}

/// The kind of an extension header, and its bytes, whose length now and then reaches too far.
fn extension() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let kind = prop_oneof![Just(0_u8), Just(43), Just(44), Just(60), Just(60), Just(59), any::<u8>()];
    (kind, 0..3_u8, vec(0..12_u8, 30), 0..20_u8).prop_map(|(kind, units, body, off)| {
        let len = 8 + 8 * usize::from(units);
        let mut bytes = [&[0, units + off / 18][..], &body].concat();
        bytes.truncate(len);
        (kind, bytes)
    })
}

fn address() -> impl Strategy<Value = Ipv6Addr> {
    any::<[u8; 16]>().prop_map(Ipv6Addr::from_octets)
}

fn preference() -> impl Strategy<Value = RouterPreference> {
    prop_oneof![Just(RouterPreference::Low), Just(RouterPreference::Medium), Just(RouterPreference::High)]
}

fn prefix() -> impl Strategy<Value = PrefixInformation> {
    (any::<u8>(), any::<[bool; 2]>(), any::<[u32; 2]>(), address()).prop_map(|(len, flags, seconds, prefix)| {
        let ([is_on_link, is_autonomous], [valid_s, preferred_s]) = (flags, seconds);
        PrefixInformation { len, is_on_link, is_autonomous, valid_s, preferred_s, prefix }
    })
}

fn route() -> impl Strategy<Value = RouteInformation> {
    (0..=128_u8, proptest::option::of(preference()), any::<u32>(), address())
        .prop_map(|(len, preference, lifetime_s, prefix)| RouteInformation { len, preference, lifetime_s, prefix })
}

fn message() -> impl Strategy<Value = NdpMessage> {
    let router = (any::<u8>(), any::<[bool; 2]>(), preference(), any::<u16>(), any::<[u32; 2]>()).prop_map(
        |(hop_limit, [is_managed, has_other_configuration], preference, lifetime_s, [reachable_ms, retransmit_ms])| {
            NdpMessage::RouterAdvertisement(RouterAdvertisement {
                hop_limit,
                is_managed,
                has_other_configuration,
                preference,
                lifetime_s,
                reachable_ms,
                retransmit_ms,
            })
        },
    );
    let advertisement = (address(), any::<[bool; 3]>()).prop_map(|(target, [is_router, is_solicited, is_override])| {
        NdpMessage::NeighbourAdvertisement { target, is_router, is_solicited, is_override }
    });
    prop_oneof![
        Just(NdpMessage::RouterSolicitation),
        router,
        address().prop_map(|target| NdpMessage::NeighbourSolicitation { target }),
        advertisement,
        [address(), address()].prop_map(|[target, destination]| NdpMessage::Redirect { target, destination }),
    ]
}
