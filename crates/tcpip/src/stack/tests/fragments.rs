//! RFC 791 §3.2, RFC 815, RFC 6864.

use core::net::Ipv4Addr;
use core::time::Duration;

use sunstar_packet::{Buffer, Packet};
use sunstar_wire::{Fragment, Icmpv4Header, Icmpv4Packet, IpProtocol, Ipv4Header, TimeExceededCode};

use super::script::{PEER, Script, Sent, US, udp};
use crate::drops::DropReason;
use crate::interface::{Capabilities, InterfaceOptions};
use crate::udp::UdpOptions;

/// The peer sends a packet in pieces of so many bytes, the last one first.
pub(super) fn send_in_pieces(script: &mut Script, protocol: IpProtocol, payload: &[u8], len: usize) {
    let pieces: Vec<(usize, &[u8])> = payload.chunks(len).enumerate().collect();
    for (index, piece) in pieces.iter().rev() {
        let offset = u16::try_from(index * len).expect("short");
        let fragment = Fragment::new(offset, index + 1 < pieces.len()).expect("a multiple of eight");
        let header =
            Ipv4Header { fragment, identification: 99, dont_fragment: false, ..Ipv4Header::new(protocol, PEER, US) };
        script.ip(&header, piece);
    }
}

/// The payload of a packet that was sent in pieces, in order.
pub(super) fn gathered(sent: &[Sent]) -> Vec<u8> {
    let mut whole = Vec::new();
    for (index, piece) in sent.iter().enumerate() {
        let ip = piece.ip();
        assert_eq!(ip.identification(), sent[0].ip().identification());
        assert_eq!((usize::from(ip.fragment().offset()), ip.dont_fragment()), (whole.len(), false));
        assert_eq!(ip.fragment().has_more(), index + 1 < sent.len());
        assert!(ip.total_len() <= 1_500);
        whole.extend_from_slice(ip.payload());
    }
    whole
}

fn bind(script: &mut Script, port: u16) -> crate::udp::UdpId {
    script.stack.udp_bind((Ipv4Addr::UNSPECIFIED, port).into(), UdpOptions::DEFAULT).expect("it is free")
}

#[test]
fn pieces_reach_the_socket_as_one() {
    let mut script = Script::with_peer();
    let socket = bind(&mut script, 53);
    let body: Vec<u8> = (0..=u8::MAX).cycle().take(5_000).collect();
    send_in_pieces(&mut script, IpProtocol::UDP, &udp(9, 53, &body), 1_480);
    let received = script.stack.udp().receive(socket).expect("it is complete");
    assert_eq!(received.payload.buffers().len(), 4, "where they came");
    assert_eq!(received.payload.into_buffer(&sunstar_packet::CopyCounter::default()), body);
    assert_eq!((script.stack.counters().fragments_received, script.stack.incomplete_packets()), (4, (0, 0)));
}

/// RFC 792, page 6.
#[test]
fn who_sends_pieces_is_told_when_time_is_over() {
    let mut script = Script::with_peer();
    let fragment = Fragment::new(0, true).expect("a multiple of eight");
    let first = Ipv4Header { fragment, dont_fragment: false, ..Ipv4Header::new(IpProtocol::UDP, PEER, US) };
    let datagram = udp(9, 53, &[0; 8]);
    script.ip(&first, &datagram);
    let later = Fragment::new(8, true).expect("a multiple of eight");
    script.ip(&Ipv4Header { fragment: later, identification: 5, ..first }, &datagram);
    assert_eq!(script.stack.deadline(), Some(script.now + Duration::from_secs(30)));
    script.wait(Duration::from_secs(30));
    let sent = script.sent_one();
    let icmp = Icmpv4Packet::parse(sent.ip().payload()).expect("well formed");
    assert_eq!(icmp.header(), Icmpv4Header::TimeExceeded { code: TimeExceededCode::REASSEMBLY });
    assert_eq!((script.dropped(DropReason::FragmentTimeout), script.stack.incomplete_packets()), (2, (0, 0)));
}

#[test]
fn datagrams_are_cut_to_the_link() {
    let mut script = Script::with_peer();
    let socket = bind(&mut script, 53);
    let body: Vec<u8> = (0..=u8::MAX).cycle().take(10_001).collect();
    let packet = Packet::from(Buffer::copy_from_slice(&body));
    script.stack.udp_send(script.now, socket, Some((PEER, 9).into()), packet).expect("there is a way");
    let sent = script.sent();
    assert_eq!((sent.len(), script.stack.counters().fragments_sent), (7, 7));
    let whole = gathered(&sent);
    let datagram = sunstar_wire::UdpDatagram::parse(&whole).expect("well formed");
    assert!(datagram.has_valid_checksum(sent[0].ip().addresses()));
    assert_eq!(datagram.payload(), body);
}

/// What is cut has its checksum whole, though the device would complete it.
#[test]
fn cut_datagrams_have_their_checksum() {
    use super::world::{World, address, ethernet};

    let capabilities = Capabilities { completes_checksums: true, segmentation_bytes: None };
    let mut world = World::new([0, 1].map(|host| InterfaceOptions { capabilities, ..ethernet(host) }));
    let sockets = [0, 1].map(|host| {
        let any = (Ipv4Addr::UNSPECIFIED, 53).into();
        world.stack(host).udp_bind(any, UdpOptions::DEFAULT).expect("it is free")
    });
    for len in [100, 3_000] {
        let now = world.now;
        let payload = Packet::from(crate::tcp::test_stream::data(5, len));
        world.stack(0).udp_send(now, sockets[0], Some(address(1, 53)), payload).expect("there is a way");
        world.run_for(Duration::from_secs(1));
        let received = world.stack(1).udp().receive(sockets[1]).expect("it has come");
        assert_eq!(received.from, address(0, 53));
        let bytes = received.payload.into_buffer(&sunstar_packet::CopyCounter::default());
        assert_eq!(bytes, crate::tcp::test_stream::data(5, len));
    }
}

/// RFC 6864 §4.1, §4.3: what can't be cut needs no number; others have numbers that differ.
#[test]
fn identifications_do_not_repeat() {
    let mut script = Script::with_peer();
    let socket = bind(&mut script, 53);
    let mut numbers = Vec::new();
    for _ in 0..200 {
        let send = |script: &mut Script, len| {
            let packet = Packet::from(Buffer::from(vec![0; len]));
            script.stack.udp_send(script.now, socket, Some((PEER, 9).into()), packet).expect("there is a way");
        };
        send(&mut script, 10);
        let sent = script.sent_one();
        assert_eq!((sent.ip().identification(), sent.ip().dont_fragment()), (0, true));
        send(&mut script, 2_000);
        numbers.push(script.sent()[0].ip().identification());
    }
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 200);
}
