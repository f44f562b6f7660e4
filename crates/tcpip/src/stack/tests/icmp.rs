//! RFC 792, RFC 1122 §3.2.2, RFC 1812 §4.3.2.

use core::net::Ipv4Addr;
use core::time::Duration;

use sunstar_wire::checksum::Sum;
use sunstar_wire::{
    EtherType, Icmpv4Header, Icmpv4Packet, IpProtocol, Ipv4Header, MacAddr, Quoted, TrafficClass, UnreachableCode,
};

use super::script::{NETWORK, PEER, Script, US, udp};
use super::world::mac;
use crate::drops::DropReason;

const REQUEST: Icmpv4Header = Icmpv4Header::EchoRequest { identifier: 7, sequence: 9 };

pub(super) fn message(header: &Icmpv4Header, body: &[u8]) -> Vec<u8> {
    [&header.to_bytes(Sum::of(body))[..], body].concat()
}

/// RFC 1122 §3.2.2.6.
#[test]
fn echoes_come_back() {
    let mut script = Script::with_peer();
    let traffic_class = TrafficClass(0x20);
    let header = Ipv4Header { traffic_class, ..Ipv4Header::new(IpProtocol::ICMP, PEER, US) };
    script.ip(&header, &message(&REQUEST, b"an odd body"));
    let sent = script.sent_one();
    let ip = sent.ip();
    assert_eq!((ip.src(), ip.dst(), ip.traffic_class()), (US, PEER, traffic_class));
    let icmp = Icmpv4Packet::parse(ip.payload()).expect("well formed");
    assert!(icmp.has_valid_checksum());
    assert_eq!(icmp.header(), Icmpv4Header::EchoReply { identifier: 7, sequence: 9 });
    assert_eq!((icmp.body(), script.stack.counters().echo_replies_sent), (&b"an odd body"[..], 1));
}

/// Larger than the link takes: it came in pieces and goes back in pieces (RFC 791 §3.2).
#[test]
fn large_echoes_come_back_in_pieces() {
    use super::fragments::{gathered, send_in_pieces};

    let mut script = Script::with_peer();
    let body: Vec<u8> = (0..=u8::MAX).cycle().take(4_001).collect();
    send_in_pieces(&mut script, IpProtocol::ICMP, &message(&REQUEST, &body), 1_480);
    let whole = gathered(&script.sent());
    let icmp = Icmpv4Packet::parse(&whole).expect("well formed");
    assert!(icmp.has_valid_checksum());
    assert_eq!(icmp.body(), body);
}

#[test]
fn echo_replies_are_limited() {
    let mut script = Script::with_peer();
    for _ in 0..60 {
        script.payload(IpProtocol::ICMP, &message(&REQUEST, b""));
    }
    assert_eq!((script.sent().len(), script.dropped(DropReason::IcmpEcho)), (50, 10));
    script.wait(Duration::from_millis(5));
    for _ in 0..60 {
        script.payload(IpProtocol::ICMP, &message(&REQUEST, b""));
    }
    assert_eq!(script.sent().len(), 5);
}

/// RFC 1122 §3.2.2.6: an echo request to all stations may be ignored.
#[test]
fn broadcast_echoes_are_ignored() {
    let mut script = Script::with_peer();
    script.ip(&Ipv4Header::new(IpProtocol::ICMP, PEER, NETWORK), &message(&REQUEST, b""));
    script.ip(&Ipv4Header::new(IpProtocol::ICMP, PEER, Ipv4Addr::BROADCAST), &message(&REQUEST, b""));
    assert_eq!((script.sent().len(), script.dropped(DropReason::IcmpEcho)), (0, 2));
}

#[test]
fn damaged_and_unknown_messages_are_dropped() {
    let mut script = Script::with_peer();
    let mut damaged = message(&REQUEST, b"body");
    damaged[9] ^= 1;
    script.payload(IpProtocol::ICMP, &damaged);
    script.payload(IpProtocol::ICMP, &[0xff, 0xff, 0, 0]);
    script.payload(IpProtocol::ICMP, &message(&Icmpv4Header::Other { kind: 13, code: 0, rest: [0; 4] }, b""));
    script.payload(IpProtocol::ICMP, &message(&Icmpv4Header::EchoReply { identifier: 0, sequence: 0 }, b""));
    let dropped = [DropReason::IcmpChecksum, DropReason::IcmpMalformed, DropReason::IcmpKind];
    assert_eq!((script.sent().len(), dropped.map(|reason| script.dropped(reason))), (0, [1, 1, 2]));
}

/// RFC 1122 §4.1.3.1, §3.2.2.1; RFC 1812 §4.3.2.3: as much of the packet as fits 576 bytes.
#[test]
fn closed_ports_are_told() {
    let mut script = Script::with_peer();
    for len in [4, 2_000] {
        let datagram = udp(1_000, 53, &vec![7; len]);
        if len < 1_400 {
            script.payload(IpProtocol::UDP, &datagram);
        } else {
            super::fragments::send_in_pieces(&mut script, IpProtocol::UDP, &datagram, 1_480);
        }
        let sent = script.sent_one();
        let ip = sent.ip();
        let icmp = Icmpv4Packet::parse(ip.payload()).expect("well formed");
        assert!(icmp.has_valid_checksum());
        let expected = Icmpv4Header::DestinationUnreachable { code: UnreachableCode::PORT, next_hop_mtu: 0 };
        assert_eq!((icmp.header(), ip.src(), ip.dst()), (expected, US, PEER));
        assert_eq!(usize::from(ip.total_len()), (28 + 20 + datagram.len()).min(576));
        let quoted = Quoted::parse(icmp.body()).expect("well formed");
        assert!(quoted.packet().has_valid_checksum(), "as it came");
        assert_eq!(quoted.four_tuple().map(|flow| (flow.src_port, flow.dst_port)), Some((1_000, 53)));
    }
    assert_eq!((script.dropped(DropReason::UdpNoPort), script.stack.counters().icmp_errors_sent), (2, 2));
}

/// RFC 1122 §3.2.2.1.
#[test]
fn unknown_protocols_are_told() {
    let mut script = Script::with_peer();
    script.payload(IpProtocol(200), b"what");
    let sent = script.sent_one();
    let code = Icmpv4Packet::parse(sent.ip().payload()).expect("well formed").header();
    assert_eq!(code, Icmpv4Header::DestinationUnreachable { code: UnreachableCode::PROTOCOL, next_hop_mtu: 0 });
    assert_eq!(script.dropped(DropReason::Protocol), 1);
}

/// RFC 1122 §3.2.2: nothing about what was for all stations, and not too often.
#[test]
fn some_errors_are_not_sent() {
    let mut script = Script::with_peer();
    let datagram = udp(1_000, 53, b"");
    script.ip(&Ipv4Header::new(IpProtocol(200), PEER, NETWORK), b"to all by IP");
    let to_all = [&Ipv4Header::new(IpProtocol::UDP, PEER, US).to_bytes(datagram.len()).expect("short")[..], &datagram];
    script.frame(mac(1), MacAddr::BROADCAST, EtherType::IPV4, &to_all.concat());
    assert_eq!((script.sent().len(), script.dropped(DropReason::UdpNoPort)), (0, 1));
    for _ in 0..60 {
        script.payload(IpProtocol::UDP, &datagram);
    }
    assert_eq!((script.sent().len(), script.stack.counters().icmp_errors_suppressed), (50, 10));
}
