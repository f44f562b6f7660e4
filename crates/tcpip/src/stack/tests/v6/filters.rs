//! Packet filters.

use core::net::Ipv6Addr;

use sunstar_wire::checksum::{Fill, Sum, pseudo_header_v6};
use sunstar_wire::{IpProtocol, Ipv6Header, UdpDatagram, UdpHeader};

use super::super::filters::echo;
use super::super::script::Script;
use super::super::world::mac;
use super::{ALL_NODES, PEER, US, udp};

#[test]
fn datagrams_are_answered_before_the_stack() {
    let mut script = Script::v6();
    echo(&mut script);
    script.payload_v6(IpProtocol::UDP, &udp(1_000, 7, b"again"));
    let sent = script.sent_one();
    assert_eq!((sent.ethernet.src, sent.ethernet.dst), (mac(0), mac(1)));
    let ip = sent.ip_v6();
    let datagram = UdpDatagram::parse(ip.payload()).expect("well formed");
    assert!(datagram.has_valid_checksum(ip.addresses()));
    assert_eq!((ip.src(), ip.dst(), datagram.payload()), (US, PEER, &b"again"[..]));
}

/// What is damaged, has no checksum, is for all, or comes from nobody.
#[test]
fn what_must_not_be_answered_is_no_request() {
    let mut script = Script::v6();
    echo(&mut script);
    let mut damaged = udp(1_000, 7, b"again");
    damaged[9] ^= 1;
    script.payload_v6(IpProtocol::UDP, &damaged);
    [damaged[6], damaged[7]] = [0, 0];
    script.payload_v6(IpProtocol::UDP, &damaged);
    for (src, dst) in [(PEER, ALL_NODES), (Ipv6Addr::UNSPECIFIED, US), (ALL_NODES, US), (US, US)] {
        let sum = pseudo_header_v6(src, dst, IpProtocol::UDP, 13) + Sum::of(b"again");
        let header = UdpHeader { src_port: 1_000, dst_port: 7 }.to_bytes(5, Fill::Complete(sum)).expect("short");
        script.ip_v6(&Ipv6Header::new(IpProtocol::UDP, src, dst), &[&header[..], b"again"].concat());
    }
    assert_eq!(script.stack.counters().packets_answered, 0);
}
