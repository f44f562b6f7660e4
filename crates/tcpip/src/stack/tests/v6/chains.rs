//! RFC 8200 §4, RFC 6946, RFC 5722, RFC 7112.

use sunstar_wire::{
    Fragment, Icmpv6Header, Icmpv6ParameterProblem, IpProtocol, Ipv6Fragment, Ipv6Header, NdpMessage, NdpOption,
    ipv6_router_alert,
};

use super::{ALL_NODES, PEER, Script, US, icmp, mac, ndp_bytes, other_than_discovery, udp};
use crate::drops::DropReason;
use crate::udp::{UdpId, UdpOptions};

const OPTIONS: IpProtocol = IpProtocol::DESTINATION_OPTIONS;

fn bound() -> (Script, UdpId) {
    let mut script = Script::v6();
    let id = script.stack.udp_bind((US, 9).into(), UdpOptions::DEFAULT).expect("it is free");
    (script, id)
}

fn received(script: &mut Script, id: UdpId) -> Option<Vec<u8>> {
    let received = script.stack.udp().receive(id)?;
    Some(received.payload.into_buffer(&sunstar_packet::CopyCounter::default()).to_vec())
}

fn piece(next_header: IpProtocol, identification: u32, offset: u16, has_more: bool, part: &[u8]) -> Vec<u8> {
    let fragment = Fragment::new(offset, has_more).expect("a multiple of eight");
    [&Ipv6Fragment { next_header, fragment, identification }.to_bytes()[..], part].concat()
}

/// What the sender of a packet is told, if anything.
fn problem(first: IpProtocol, payload: &[u8]) -> Option<(Icmpv6ParameterProblem, u32)> {
    problem_to(US, first, payload)
}

fn problem_to(dst: core::net::Ipv6Addr, first: IpProtocol, payload: &[u8]) -> Option<(Icmpv6ParameterProblem, u32)> {
    let mut script = Script::v6();
    script.ip_v6(&Ipv6Header::new(first, PEER, dst), payload);
    assert_eq!(script.stack.drops().total(), 1);
    let sent = script.sent();
    let sent = sent.first()?;
    let Icmpv6Header::ParameterProblem { code, pointer } = sent.icmp_v6().header() else { panic!("{sent:?}") };
    let quoted = sent.icmp_v6().body();
    assert!(quoted.ends_with(payload), "as it came");
    Some((code, pointer))
}

/// §4.1: what is known is gone through.
#[test]
fn extension_headers_are_gone_through() {
    let (mut script, id) = bound();
    let routing = [OPTIONS.0, 0, 0, 0, 0, 0, 0, 0];
    let options = [IpProtocol::UDP.0, 0, 1, 0, 0x1e, 2, 7, 7];
    let chain = [&ipv6_router_alert(IpProtocol::ROUTING)[..], &routing, &options, &udp(7, 9, b"hello")].concat();
    script.payload_v6(IpProtocol::HOP_BY_HOP, &chain);
    assert_eq!(received(&mut script, id).as_deref(), Some(&b"hello"[..]));
    assert_eq!((script.stack.drops().total(), script.sent().len()), (0, 0));
}

/// §4.2: the upper bits of an option say what is to be done by who does not know it.
#[test]
fn unknown_options_are_told() {
    let with = |kind| [IpProtocol::UDP.0, 0, 1, 0, kind, 2, 0, 0];
    let told = Some((Icmpv6ParameterProblem::OPTION, 44));
    assert_eq!(problem(OPTIONS, &with(0x41)), None);
    assert_eq!(problem(OPTIONS, &with(0x81)), told);
    assert_eq!(problem(OPTIONS, &with(0xc1)), told);
    assert_eq!(problem(IpProtocol::HOP_BY_HOP, &with(0xc1)), told);
    assert_eq!(problem_to(ALL_NODES, OPTIONS, &with(0x81)), told, "also of groups");
    assert_eq!(problem_to(ALL_NODES, OPTIONS, &with(0xc1)), None, "not of groups");
}

#[test]
fn wrong_headers_are_told() {
    let next = Icmpv6ParameterProblem::NEXT_HEADER;
    let second = [0, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0];
    assert_eq!(problem(OPTIONS, &second), Some((next, 40)), "§4.1");
    let routing = [17, 0, 0, 3, 0, 0, 0, 0];
    assert_eq!(problem(IpProtocol::ROUTING, &routing), Some((Icmpv6ParameterProblem::FIELD, 42)), "§4.4");
    assert_eq!(problem(IpProtocol(200), b"what"), Some((next, 6)), "§4");
    assert_eq!(problem(OPTIONS, &[200, 0, 1, 4, 0, 0, 0, 0]), Some((next, 40)));
    assert_eq!(problem(IpProtocol::NO_NEXT_HEADER, b"what"), None, "§4.7");
    assert_eq!(problem(OPTIONS, &[17, 9, 1, 4, 0, 0, 0, 0]), None, "cut off");
}

/// §4.5.
#[test]
fn pieces_are_put_together() {
    let (mut script, id) = bound();
    let body: Vec<u8> = (0..=u8::MAX).cycle().take(3_001).collect();
    let datagram = udp(7, 9, &body);
    let options = [IpProtocol::UDP.0, 0, 1, 4, 0, 0, 0, 0];
    let whole = [&options[..], &datagram].concat();
    for (at, part) in whole.chunks(1_000).enumerate().rev() {
        let offset = u16::try_from(at * 1_000).expect("short");
        script.payload_v6(IpProtocol::FRAGMENT, &piece(OPTIONS, 5, offset, at < 3, part));
    }
    assert_eq!(received(&mut script, id), Some(body));
    assert_eq!((script.stack.counters().fragments_received, script.stack.incomplete_packets()), (4, (0, 0)));
}

/// RFC 6946 §4: what is whole is taken alone, whatever else has its number.
#[test]
fn atomic_fragments_stand_alone() {
    let (mut script, id) = bound();
    let datagram = udp(7, 9, b"whole");
    script.payload_v6(IpProtocol::FRAGMENT, &piece(IpProtocol::UDP, 5, 0, true, &udp(7, 9, &[1; 8])));
    script.payload_v6(IpProtocol::FRAGMENT, &piece(IpProtocol::UDP, 5, 0, false, &datagram));
    assert_eq!(received(&mut script, id).as_deref(), Some(&b"whole"[..]));
    assert_eq!(script.stack.incomplete_packets().0, 1);
}

/// RFC 5722 §4: a packet with overlapping pieces is dropped, also what comes later of it.
#[test]
fn overlapping_pieces_condemn_their_packet() {
    let (mut script, id) = bound();
    let datagram = udp(7, 9, &[1; 40]);
    let mut send = |offset: u16, has_more, part: &[u8]| {
        script.payload_v6(IpProtocol::FRAGMENT, &piece(IpProtocol::UDP, 5, offset, has_more, part));
    };
    send(0, true, &datagram[..24]);
    send(16, true, &datagram[16..32]);
    send(24, false, &datagram[24..]);
    assert_eq!(received(&mut script, id), None);
    assert_eq!(script.dropped(DropReason::FragmentOverlap), 3);
}

/// §4.5: what can't be a piece is told; RFC 7112 §5: the first one has all headers.
#[test]
fn pieces_that_can_not_be_are_told() {
    let field = Icmpv6ParameterProblem::FIELD;
    let of = |offset, has_more, part: &[u8]| piece(IpProtocol::UDP, 5, offset, has_more, part);
    assert_eq!(problem(IpProtocol::FRAGMENT, &of(8, true, &[0; 7])), Some((field, 4)));
    assert_eq!(problem(IpProtocol::FRAGMENT, &of(65_528, false, &[0; 16])), Some((field, 42)));
    let incomplete = Some((Icmpv6ParameterProblem::INCOMPLETE_CHAIN, 0));
    assert_eq!(problem(IpProtocol::FRAGMENT, &piece(IpProtocol::TCP, 5, 0, true, &[0; 16])), incomplete);
    assert_eq!(problem(IpProtocol::FRAGMENT, &piece(OPTIONS, 5, 0, true, &[17, 1, 1, 4, 0, 0, 0, 0])), incomplete);
}

/// §4.5: not all pieces within the time; who has sent the first one is told.
#[test]
fn late_pieces_are_told() {
    let mut script = Script::v6();
    script.payload_v6(IpProtocol::FRAGMENT, &piece(IpProtocol::UDP, 5, 0, true, &udp(7, 9, &[1; 8])));
    script.wait(core::time::Duration::from_secs(61));
    let sent = other_than_discovery(script.sent());
    assert_eq!(sent.icmp_v6().header(), Icmpv6Header::TimeExceeded { is_reassembly: true });
}

/// What is larger than the link is cut, and can be put together.
#[test]
fn large_echoes_come_back_in_pieces() {
    let mut script = Script::v6();
    let body: Vec<u8> = (0..=u8::MAX).cycle().take(4_001).collect();
    let message = icmp((PEER, US), &Icmpv6Header::EchoRequest { identifier: 7, sequence: 9 }, &body);
    for (at, part) in message.chunks(1_448).enumerate() {
        let offset = u16::try_from(at * 1_448).expect("short");
        let has_more = (at + 1) * 1_448 < message.len();
        script.payload_v6(IpProtocol::FRAGMENT, &piece(IpProtocol::ICMPV6, 5, offset, has_more, part));
    }
    let sent = script.sent();
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|sent| sent.bytes.len() <= 1_500));
    let reply = icmp((US, PEER), &Icmpv6Header::EchoReply { identifier: 7, sequence: 9 }, &body);
    let gathered: Vec<u8> = sent.iter().flat_map(|sent| sent.bytes[48..].to_vec()).collect();
    assert_eq!(gathered, reply);
    let numbers: Vec<_> = sent.iter().map(|sent| sent.bytes[44..48].to_vec()).collect();
    assert!(numbers.windows(2).all(|two| two[0] == two[1]));
}

/// RFC 6980 §5: neighbour discovery never comes in pieces, and not as the only one either.
#[test]
fn discovery_in_pieces_is_dropped() {
    for hands_out in [false, true] {
        let mut script = Script::v6();
        if hands_out {
            script.stack.hand_out_reassembled();
        }
        let target = US;
        let option = NdpOption::SourceLinkLayer(mac(1));
        let message = ndp_bytes((PEER, US), &NdpMessage::NeighbourSolicitation { target }, &[option]);
        let header = Ipv6Header { hop_limit: 255, ..Ipv6Header::new(IpProtocol::FRAGMENT, PEER, US) };
        let options = [&[IpProtocol::ICMPV6.0, 0, 1, 4, 0, 0, 0, 0][..], &message].concat();
        script.ip_v6(&header, &piece(OPTIONS, 1, 0, true, &options[..16]));
        script.ip_v6(&header, &piece(OPTIONS, 1, 16, false, &options[16..]));
        assert_eq!(script.dropped(DropReason::NdpFragmented), 1);
        script.ip_v6(&header, &piece(IpProtocol::ICMPV6, 2, 0, false, &message));
        assert_eq!(script.dropped(DropReason::NdpFragmented), 2);
        assert!(script.sent().is_empty() && script.stack.poll_reassembled().is_none());
    }
}

/// Pieces within pieces would be put together as deep as a packet is long.
#[test]
fn pieces_of_pieces_are_dropped() {
    let (mut script, id) = bound();
    let inner = piece(IpProtocol::UDP, 2, 0, false, &udp(7, 9, b"hello"));
    script.payload_v6(IpProtocol::FRAGMENT, &piece(IpProtocol::FRAGMENT, 1, 0, true, &inner[..16]));
    script.payload_v6(IpProtocol::FRAGMENT, &piece(IpProtocol::FRAGMENT, 1, 16, false, &inner[16..]));
    assert_eq!((received(&mut script, id), script.dropped(DropReason::FragmentMalformed)), (None, 1));
}
