//! RFC 4443, RFC 8201, RFC 4291 §2.5.

use core::net::Ipv6Addr;

use sunstar_packet::{Buffer, Packet};
use sunstar_wire::checksum::{Fill, Sum};
use sunstar_wire::{
    AddressPair, Icmpv6Header, Icmpv6Unreachable, IpProtocol, Ipv6Header, QuotedV6, TrafficClass, UdpHeader,
};

use super::{ALL_NODES, PEER, Script, US, US_LOCAL, icmp, udp};
use crate::drops::DropReason;
use crate::path::PathError;
use crate::udp::UdpOptions;

const REQUEST: Icmpv6Header = Icmpv6Header::EchoRequest { identifier: 7, sequence: 9 };

/// RFC 4443 §4.2.
#[test]
fn echoes_come_back() {
    let mut script = Script::v6();
    let traffic_class = TrafficClass(0x20);
    for (to, from) in [(US, US), (ALL_NODES, US)] {
        let header = Ipv6Header { traffic_class, ..Ipv6Header::new(IpProtocol::ICMPV6, PEER, to) };
        script.ip_v6(&header, &icmp((PEER, to), &REQUEST, b"an odd body"));
        let sent = script.sent_one();
        let ip = sent.ip_v6();
        assert_eq!((ip.src(), ip.dst(), ip.traffic_class()), (from, PEER, traffic_class));
        assert_eq!(sent.icmp_v6().header(), Icmpv6Header::EchoReply { identifier: 7, sequence: 9 });
        assert_eq!(sent.icmp_v6().body(), b"an odd body");
    }
}

#[test]
fn damaged_messages_are_dropped() {
    let mut script = Script::v6();
    let mut damaged = icmp((PEER, US), &REQUEST, b"body");
    damaged[9] ^= 1;
    script.payload_v6(IpProtocol::ICMPV6, &damaged);
    script.payload_v6(IpProtocol::ICMPV6, &icmp((PEER, US_LOCAL), &REQUEST, b"for another address"));
    assert_eq!((script.sent().len(), script.dropped(DropReason::IcmpChecksum)), (0, 2));
}

/// §3.1, §2.4: as much of the packet as fits 1280 bytes.
#[test]
fn closed_ports_are_told() {
    let mut script = Script::v6();
    for len in [4, 1_400] {
        let datagram = udp(1_000, 53, &vec![7; len]);
        script.payload_v6(IpProtocol::UDP, &datagram);
        let sent = script.sent_one();
        let expected = Icmpv6Header::DestinationUnreachable { code: Icmpv6Unreachable::PORT };
        assert_eq!((sent.icmp_v6().header(), sent.ip_v6().dst()), (expected, PEER));
        assert_eq!(sent.bytes.len(), (48 + 40 + datagram.len()).min(1_280));
        let icmp = sent.icmp_v6();
        let quoted = QuotedV6::parse(icmp.body()).expect("well formed");
        assert_eq!(quoted.four_tuple().map(|flow| (flow.src_port, flow.dst_port)), Some((1_000, 53)));
    }
    assert_eq!((script.dropped(DropReason::UdpNoPort), script.stack.counters().icmp_errors_sent), (2, 2));
}

/// §2.4, e and f.
#[test]
fn some_errors_are_not_sent() {
    let mut script = Script::v6();
    script.ip_v6(&Ipv6Header::new(IpProtocol(200), PEER, ALL_NODES), b"to all");
    let error = Icmpv6Header::Other { kind: 99, code: 0, rest: [0; 4] };
    script.payload_v6(IpProtocol::ICMPV6, &icmp((PEER, US), &error, b"about what"));
    assert_eq!(script.sent().len(), 0);
    for _ in 0..60 {
        script.payload_v6(IpProtocol::UDP, &udp(1_000, 53, b""));
    }
    assert_eq!((script.sent().len(), script.stack.counters().icmp_errors_suppressed), (50, 10));
}

/// RFC 8200 §8.1: a datagram has a checksum.
#[test]
fn datagrams_without_checksum_are_dropped() {
    let mut script = Script::v6();
    let id = script.stack.udp_bind((US, 53).into(), UdpOptions::DEFAULT).expect("it is free");
    let mut datagram = udp(1_000, 53, b"hello");
    script.payload_v6(IpProtocol::UDP, &datagram);
    datagram[6..8].fill(0);
    script.payload_v6(IpProtocol::UDP, &datagram);
    let received = script.stack.udp().receive(id).expect("the first one");
    assert_eq!((received.from, received.to), ((PEER, 1_000).into(), US.into()));
    assert!(script.stack.udp().receive(id).is_none());
    assert_eq!(script.dropped(DropReason::UdpChecksum), 1);
}

/// RFC 4291 §2.5.2, §2.5.3, §2.5.6, §2.7.
#[test]
fn addresses_that_can_not_be_are_dropped() {
    let dropped = |src, dst| {
        let mut script = Script::v6();
        script.ip_v6(&Ipv6Header::new(IpProtocol::UDP, src, dst), &[0; 8]);
        let reasons = [DropReason::Source, DropReason::LoopbackOutside, DropReason::OtherHost];
        reasons.into_iter().find(|reason| script.dropped(*reason) > 0)
    };
    assert_eq!(dropped(ALL_NODES, US), Some(DropReason::Source));
    assert_eq!(dropped(Ipv6Addr::UNSPECIFIED, US), Some(DropReason::Source));
    assert_eq!(dropped(US, US_LOCAL), Some(DropReason::Source));
    assert_eq!(dropped(Ipv6Addr::LOCALHOST, US), Some(DropReason::LoopbackOutside));
    assert_eq!(dropped(PEER, Ipv6Addr::LOCALHOST), Some(DropReason::LoopbackOutside));
    assert_eq!(dropped(PEER, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb)), Some(DropReason::OtherHost));
    assert_eq!(dropped(PEER, Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7)), Some(DropReason::OtherHost));
}

/// Sockets hear of what became of their packets, and paths of how wide they are (RFC 8201 §4).
#[test]
fn errors_reach_who_has_sent() {
    let mut script = Script::v6();
    let id = script.stack.udp_bind((US, 0).into(), UdpOptions::DEFAULT).expect("there is a port");
    script.stack.udp_connect(id, (PEER, 9).into()).expect("there is a way");
    let send = |script: &mut Script| {
        let payload = Packet::from(Buffer::from(vec![7; 1_400]));
        script.stack.udp_send(script.now, id, None, payload).expect("there is room");
        script.sent()
    };
    let quoted = send(&mut script).remove(0).bytes;
    let tell = |script: &mut Script, error: &Icmpv6Header| {
        script.payload_v6(IpProtocol::ICMPV6, &icmp((PEER, US), error, &quoted[..1_200]));
        script.stack.udp().take_error(id)
    };
    let refused = Icmpv6Header::DestinationUnreachable { code: Icmpv6Unreachable::PORT };
    assert_eq!(tell(&mut script, &refused), Some(PathError::Port));
    let told = tell(&mut script, &Icmpv6Header::PacketTooBig { mtu: 1_300 });
    assert_eq!(told, Some(PathError::TooBig { mtu: 1_300 }));
    let pieces: Vec<usize> = send(&mut script).iter().map(|sent| sent.bytes.len()).collect();
    assert_eq!(pieces, [1_296, 40 + 8 + 1_408 - 1_248]);
    // Nobody's link is narrower (RFC 8201 §4).
    let told = tell(&mut script, &Icmpv6Header::PacketTooBig { mtu: 1_279 });
    assert_eq!((told, script.dropped(DropReason::IcmpTooNarrow)), (None, 1));
    assert_eq!(send(&mut script)[0].bytes.len(), 1_296);
    assert_eq!(tell(&mut script, &Icmpv6Header::PacketTooBig { mtu: 1_280 }), Some(PathError::TooBig { mtu: 1_280 }));
    assert_eq!(send(&mut script)[0].bytes.len(), 1_280);
    assert_eq!(AddressPair::V6 { src: US, dst: PEER }.reversed().dst(), core::net::IpAddr::V6(US));
}

/// Whoever makes up that paths are narrow has to know with whom we speak.
#[test]
fn narrow_paths_are_believed_of_who_was_sent_much() {
    let believed = |bytes: usize, told_of: Ipv6Addr| {
        let mut script = Script::v6();
        let id = script.stack.udp_bind((US, 9).into(), UdpOptions::DEFAULT).expect("it is free");
        let payload = Packet::from(Buffer::from(vec![0; bytes]));
        script.stack.udp_send(script.now, id, Some((PEER, 7).into()), payload).expect("there is a way");
        let header = UdpHeader { src_port: 9, dst_port: 7 }.to_bytes(1_400, Fill::Complete(Sum::default()));
        let ip = Ipv6Header::new(IpProtocol::UDP, US, told_of).to_bytes(1_408).expect("short");
        let quoted = [&ip[..], &header.expect("short"), &[0; 1_000]].concat();
        let message = icmp((PEER, US), &Icmpv6Header::PacketTooBig { mtu: 1_300 }, &quoted);
        script.payload_v6(IpProtocol::ICMPV6, &message);
        script.stack.counters().icmp_errors_received == 1
    };
    let other = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 7, 2);
    assert_eq!([believed(1_400, PEER), believed(1_400, other), believed(100, PEER)], [true, false, false]);
}

/// RFC 4443 §2.4, e.1.
#[test]
fn errors_with_wrong_headers_are_not_answered() {
    let answers = |header: &Icmpv6Header| {
        let mut script = Script::v6();
        let options = [IpProtocol::ICMPV6.0, 0, 1, 0, 0x81, 2, 0, 0];
        let message = icmp((PEER, US), header, &[0; 48]);
        script.payload_v6(IpProtocol::DESTINATION_OPTIONS, &[&options[..], &message].concat());
        script.sent().len()
    };
    let (identifier, sequence) = (1, 1);
    let request = Icmpv6Header::EchoRequest { identifier, sequence };
    assert_eq!((answers(&request), answers(&Icmpv6Header::PacketTooBig { mtu: 1_300 })), (1, 0));
}
