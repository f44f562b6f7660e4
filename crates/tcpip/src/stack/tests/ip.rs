//! RFC 791, RFC 894, RFC 1122 §3.2: what is taken in and what is not.

use core::net::Ipv4Addr;
use core::time::Duration;

use proptest::prelude::*;
use sunstar_packet::{Buffer, Packet};
use sunstar_wire::{EtherType, Icmpv4Header, IpProtocol, Ipv4Header, Ipv4Options};

use super::icmp::message;
use super::script::{PEER, Script, US, udp};
use super::world::{ADDRESSES, bare, ethernet, mac};
use crate::drops::DropReason;
use crate::interface::InterfaceId;
use crate::prefix::Prefix;
use crate::routes::Route;
use crate::stack::{ConfigError, Limits, Stack};
use crate::tcp::connection::Options;
use crate::time::Instant;
use crate::udp::UdpOptions;

fn echo() -> Vec<u8> {
    message(&Icmpv4Header::EchoRequest { identifier: 1, sequence: 1 }, b"")
}

fn dropped_from(src: Ipv4Addr, dst: Ipv4Addr) -> Option<DropReason> {
    let mut script = Script::with_peer();
    script.ip(&Ipv4Header::new(IpProtocol::ICMP, src, dst), &echo());
    let reasons = [DropReason::Source, DropReason::LoopbackOutside, DropReason::OtherHost, DropReason::IcmpEcho];
    reasons.into_iter().find(|reason| script.dropped(*reason) == 1)
}

/// RFC 1122 §3.2.1.3.
#[test]
fn addresses_must_make_sense() {
    let v4 = Ipv4Addr::from_bits;
    for src in [v4(0), v4(0x7f00_0001), v4(0xe000_0001), v4(0xf000_0001), Ipv4Addr::BROADCAST, v4(0xc000_02ff), US] {
        assert_eq!(dropped_from(src, US), Some(DropReason::Source), "{src}");
    }
    assert_eq!(dropped_from(PEER, Ipv4Addr::LOCALHOST), Some(DropReason::LoopbackOutside));
    assert_eq!(dropped_from(PEER, Ipv4Addr::new(192, 0, 2, 77)), Some(DropReason::OtherHost));
    assert_eq!(dropped_from(PEER, Ipv4Addr::new(224, 0, 0, 5)), Some(DropReason::OtherHost));
    assert_eq!(dropped_from(Ipv4Addr::new(203, 0, 113, 1), US), None);
}

#[test]
fn malformed_packets_are_dropped() {
    let mut script = Script::with_peer();
    let good = Ipv4Header::new(IpProtocol::ICMP, PEER, US).to_bytes(0).expect("short");
    let mut send = |ethertype, bytes: &[u8]| script.frame(mac(1), mac(0), ethertype, bytes);
    send(EtherType::IPV4, b"");
    send(EtherType::IPV4, &good[..19]);
    let mut damaged = good.to_vec();
    damaged[8] ^= 1;
    send(EtherType::IPV4, &damaged);
    send(EtherType::IPV4, &[0x50; 20]);
    send(EtherType::IPV6, &[0x60; 40]);
    send(EtherType::new(0x88cc).expect("a type"), b"");
    script.frame(mac(1), mac(7), EtherType::IPV4, &good);
    script.stack.handle_packets(script.now, script.link, [Packet::from(Buffer::from(vec![0; 13]))]);
    script.stack.handle_packets(script.now, InterfaceId(99), [Packet::new()]);
    for reason in [
        DropReason::Ipv4Malformed,
        DropReason::Ipv4Checksum,
        DropReason::Ipv6Malformed,
        DropReason::EtherType,
        DropReason::OtherStation,
        DropReason::EthernetMalformed,
        DropReason::Interface,
    ] {
        assert_eq!(script.dropped(reason), 1, "{reason:?}");
    }
    assert_eq!((script.dropped(DropReason::IpVersion), script.stack.drops().total()), (2, 9));
}

/// RFC 7126 §4.3, §4.4: who prescribes the way is not listened to; other options change nothing.
#[test]
fn source_routes_are_refused() {
    let mut script = Script::with_peer();
    for (options, is_taken) in [
        (&[131, 7, 4, 10, 0, 0, 1][..], false),
        (&[137, 3, 4], false),
        (&[7, 200], false),
        (&[7, 7, 4, 0, 0, 0, 0], true),
        (&[0x94, 4, 0, 0], true),
    ] {
        let options = Ipv4Options::new(options).expect("short");
        script.ip(&Ipv4Header { options, ..Ipv4Header::new(IpProtocol::ICMP, PEER, US) }, &echo());
        assert_eq!(script.sent().len(), usize::from(is_taken));
    }
    assert_eq!(script.dropped(DropReason::Ipv4Options), 3);
}

/// IEEE 802.1Q §6.9.3: a priority is no VLAN.
#[test]
fn tags_with_priority_only_are_taken() {
    let mut script = Script::with_peer();
    for (vid, taken) in [(0, 1), (5, 0)] {
        let body = echo();
        let ip = Ipv4Header::new(IpProtocol::ICMP, PEER, US).to_bytes(body.len()).expect("short");
        let frame = [&mac(0).0[..], &mac(1).0, &[0x81, 0, 0x60, vid, 8, 0], &ip, &body].concat();
        script.stack.handle_packets(script.now, script.link, [Packet::from(Buffer::from(frame))]);
        assert_eq!(script.sent().len(), taken);
    }
    assert_eq!(script.dropped(DropReason::Vlan), 1);
}

/// RFC 1122 §3.3.1: through the router whose network has the longest prefix, from the address next to it.
#[test]
fn packets_go_through_routers() {
    let mut script = Script::new();
    let router = |last| Some(Ipv4Addr::new(192, 0, 2, last).into());
    let default = Route { prefix: Prefix::ALL_V4, gateway: router(254), interface: script.link, metric: 0 };
    let prefix = Prefix::new([10, 0, 0, 0], 8).expect("32 bits");
    script.stack.add_route(default).expect("there is room");
    script.stack.add_route(Route { prefix, gateway: router(253), ..default }).expect("there is room");
    for (to, hop) in [([198, 51, 100, 1], 254), ([10, 1, 2, 3], 253), ([192, 0, 2, 7], 7)] {
        script.stack.connect(script.now, None, (to, 80).into(), Options::DEFAULT).expect("there is a way");
        assert_eq!(script.sent_one().arp().tpa, Ipv4Addr::new(192, 0, 2, hop));
    }
    assert!(script.stack.remove_route(&default));
    assert!(script.stack.connect(script.now, None, ([198, 51, 100, 1], 80).into(), Options::DEFAULT).is_err());
}

#[test]
fn configuration_is_checked() {
    let now = Instant::from_micros(1);
    let mut stack = Stack::new([0; 16], Limits { routes: 2, ..Limits::DEFAULT });
    let link = stack.add_interface(bare()).expect("there is room");
    let prefix = |octets: [u8; 4]| Prefix::new(octets, 24).expect("32 bits");
    let mut add = |id, octets| stack.add_address(now, id, prefix(octets));
    assert_eq!(add(InterfaceId(9), [10, 0, 0, 1]), Err(ConfigError::NoInterface));
    for octets in [[0; 4], [224, 0, 0, 1], [255; 4]] {
        assert_eq!(add(link, octets), Err(ConfigError::Address));
    }
    assert_eq!([add(link, [10, 0, 0, 1]), add(link, [10, 0, 1, 1])], [Ok(()); 2]);
    assert_eq!(add(link, [10, 0, 2, 1]), Err(ConfigError::Full));
    assert_eq!(stack.interface(link).map(|link| link.addresses().len()), Some(2), "nothing is half done");
    assert!(stack.remove_address(link, [10, 0, 0, 1].into()));
    assert_eq!(stack.routes().count(), 1);
    assert!(stack.connect(now, None, ([10, 0, 0, 7], 80).into(), Options::DEFAULT).is_err());
}

/// Two stacks that answer everything each other says come to an end.
#[test]
fn queues_to_itself_are_bounded() {
    let mut stack = Stack::new([0; 16], Limits { loopback_packets: 3, ..Limits::DEFAULT });
    let now = Instant::from_micros(1);
    let to = (Ipv4Addr::LOCALHOST, 80).into();
    for _ in 0..300 {
        stack.connect(now, None, to, Options::DEFAULT).expect("there is room");
    }
    let mut calls = 0;
    while stack.deadline() == Some(Instant::default()) || calls == 0 {
        assert!(stack.poll_transmit(now).is_none());
        calls += 1;
    }
    assert!(calls > 1, "others get a turn");
}

/// A stack with everything there is.
fn busy() -> Script {
    let mut script = Script::with_peer();
    let any = Ipv4Addr::UNSPECIFIED;
    script.stack.listen((any, 80).into(), 4, Options::DEFAULT).expect("it is free");
    script.stack.udp_bind((any, 53).into(), UdpOptions::DEFAULT).expect("it is free");
    script.stack.connect(script.now, None, (PEER, 80).into(), Options::DEFAULT).expect("there is a way");
    script.stack.connect(script.now, None, ([192, 0, 2, 9], 80).into(), Options::DEFAULT).expect("there is a way");
    script
}

/// Frames that are nearly right: valid ones, damaged at some places behind their checksums' backs.
fn nearly_right() -> impl Strategy<Value = Vec<u8>> {
    let tcp: Vec<u8> = vec![0, 7, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 1, 1, 0, 0, 0, 0];
    let payloads = prop_oneof![
        Just((IpProtocol::ICMP, echo())),
        Just((IpProtocol::UDP, udp(9, 53, b"hello"))),
        Just((IpProtocol::UDP, udp(9, 54, b"hello"))),
        Just((IpProtocol::TCP, tcp)),
        (any::<u8>(), prop::collection::vec(any::<u8>(), 0..80)).prop_map(|(kind, body)| (IpProtocol(kind), body)),
    ];
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (payloads, damage, any::<bool>()).prop_map(|((protocol, payload), damage, is_resummed)| {
        let header = Ipv4Header::new(protocol, ADDRESSES[1], ADDRESSES[0]).to_bytes(payload.len()).expect("short");
        let mut packet = [&header[..], &payload].concat();
        for (at, value) in damage {
            let at = at.index(packet.len());
            packet[at] = value;
        }
        if is_resummed {
            [packet[10], packet[11]] = [0, 0];
            let sum = sunstar_wire::checksum::Sum::of(&packet[..20]).checksum().to_be_bytes();
            [packet[10], packet[11]] = sum;
        }
        [&mac(0).0[..], &mac(1).0, &[8, 0], &packet].concat()
    })
}

/// The bytes of a frame in a packet of several buffers, which says anything about itself.
fn scattered(bytes: &[u8], cut: usize, is_verified: bool) -> Packet {
    let (front, back) = bytes.split_at(cut.min(bytes.len()));
    let mut packet = Packet::from(Buffer::copy_from_slice(front));
    packet.push_back(Buffer::copy_from_slice(back)).expect("there is room");
    if is_verified {
        packet.offload.checksum = sunstar_packet::Checksum::Verified;
    }
    packet
}

proptest! {
    /// Nothing that comes in makes it panic, or answer without end.
    #[test]
    fn any_bytes_are_survived(
        frames in prop::collection::vec(
            (prop_oneof![nearly_right(), prop::collection::vec(any::<u8>(), 0..120)], 0_usize..64, any::<bool>()),
            1..40,
        ),
        is_bare in any::<bool>(),
    ) {
        let mut script = busy();
        let other = script.stack.add_interface(if is_bare { bare() } else { ethernet(7) }).expect("there is room");
        for (bytes, cut, is_verified) in frames {
            let packet = scattered(&bytes, cut, is_verified);
            script.stack.handle_packets(script.now, script.link, [packet]);
            let bytes = bytes.get(14..).unwrap_or_default();
            script.stack.handle_packets(script.now, other, [scattered(bytes, cut, is_verified)]);
            script.wait(Duration::from_millis(200));
            for _ in 0..200 {
                if script.stack.poll_transmit(script.now).is_none() { break; }
            }
            prop_assert!(script.stack.poll_transmit(script.now).is_none(), "it never ends");
            while script.stack.poll_event().is_some() {}
        }
    }
}
