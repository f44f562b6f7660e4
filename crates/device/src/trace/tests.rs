use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::num::NonZero;
use std::rc::Rc;

use sunstar_packet::{Buffer, Checksum, Segmentation, SegmentationKind, VlanTag};
use sunstar_wire::checksum::{Fill, Sum};
use sunstar_wire::{
    Arp, EtherType, EthernetHeader, Fragment, Icmpv4Header, IpProtocol, Ipv4Header, MacAddr, SackBlock, Seq, TcpFlags,
    TcpHeader, UdpHeader, Vlan, WindowScale,
};

use super::*;
use crate::link::{LinkOptions, link};

const SRC: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const DST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

fn packet(parts: &[&[u8]]) -> Packet {
    let mut packet = Packet::new();
    for part in parts {
        packet.push_back(Buffer::copy_from_slice(part)).unwrap();
    }
    packet
}

fn frame(ethertype: u16, parts: &[&[u8]]) -> Packet {
    let (dst, src) = (MacAddr::BROADCAST, MacAddr([2; 6]));
    let header = EthernetHeader { dst, src, vlan: Vlan::Untagged, ethertype: EtherType::new(ethertype).unwrap() };
    packet(&[&[&header.to_bytes()[..]], parts].concat())
}

fn ipv4(protocol: IpProtocol, fragment: Fragment, parts: &[&[u8]]) -> Packet {
    let header = Ipv4Header { fragment, ..Ipv4Header::new(protocol, SRC, DST) };
    let len = parts.iter().map(|part| part.len()).sum();
    frame(0x800, &[&[&header.to_bytes(len).unwrap()[..]], parts].concat())
}

fn tcp(edit: impl FnOnce(&mut TcpHeader)) -> Packet {
    let mut header = TcpHeader::new(49152, 80);
    (header.seq, header.ack, header.window) = (Seq::new(100), Seq::new(200), 300);
    edit(&mut header);
    ipv4(IpProtocol::TCP, Fragment::WHOLE, &[&header.to_bytes(Fill::Complete(Sum::ZERO)), &[0; 1000]])
}

#[test]
fn packets_are_shown_by_their_headers() {
    let udp = UdpHeader { src_port: 68, dst_port: 67 }.to_bytes(5, Fill::Complete(Sum::ZERO)).unwrap();
    let ping = Icmpv4Header::EchoRequest { identifier: 1, sequence: 2 }.to_bytes(Sum::ZERO);
    let arp = Arp::request(MacAddr([2; 6]), SRC, DST);
    let mut syn = tcp(|header| {
        header.flags = TcpFlags::SYN;
        header.options.mss = NonZero::new(1460);
        header.options.window_scale = Some(WindowScale::new(7));
    });
    syn.offload.checksum = Checksum::Verified;
    let mut large = tcp(|header| {
        header.flags = TcpFlags::ACK | TcpFlags::PSH;
        header.options.sack = [SackBlock { left: Seq::new(7), right: Seq::new(9) }].into_iter().collect();
    });
    large.offload.checksum = Checksum::Partial { csum_start: 34, csum_offset: 16 };
    large.offload.segmentation =
        Some(Segmentation { kind: SegmentationKind::Tcpv4, has_ecn: false, gso_size: 536, hdr_len: 66 });
    large.offload.vlan = Some(VlanTag(5));
    large.offload.rss_hash = Some(0xabc);
    let cases = [
        (frame(0x806, &[&arp.to_bytes()]), "42 bytes, ARP who has 10.0.0.2, tell 10.0.0.1 (02:02:02:02:02:02)"),
        (frame(0x806, &[&arp.reply(MacAddr([4; 6])).to_bytes()]), "42 bytes, ARP 10.0.0.2 is at 04:04:04:04:04:04"),
        (frame(0x86dd, &[b"x"]), "15 bytes, 02:02:02:02:02:02 > ff:ff:ff:ff:ff:ff IPv6"),
        (frame(0x88cc, &[b"x"]), "15 bytes, 02:02:02:02:02:02 > ff:ff:ff:ff:ff:ff type 0x88cc"),
        (ipv4(IpProtocol::UDP, Fragment::WHOLE, &[&udp, b"hello"]), "47 bytes, 10.0.0.1:68 > 10.0.0.2:67 UDP, 5 bytes"),
        (
            ipv4(IpProtocol::ICMP, Fragment::WHOLE, &[&ping]),
            "42 bytes, 10.0.0.1 > 10.0.0.2 ICMP EchoRequest { identifier: 1, sequence: 2 }",
        ),
        (ipv4(IpProtocol(99), Fragment::WHOLE, &[b"abc"]), "37 bytes, 10.0.0.1 > 10.0.0.2 protocol 99, 3 bytes"),
        (
            ipv4(IpProtocol::UDP, Fragment::new(8, false).unwrap(), &[b"abc"]),
            "37 bytes, 10.0.0.1 > 10.0.0.2 protocol 17 fragment at 8, 3 bytes",
        ),
        (
            syn,
            "1062 bytes, 10.0.0.1:49152 > 10.0.0.2:80 TCP SYN seq 100 ack 200 window 300 mss 1460 scale 7, 1000 bytes, \
             checksum verified",
        ),
        (
            large,
            "1066 bytes, 10.0.0.1:49152 > 10.0.0.2:80 TCP PSH|ACK seq 100 ack 200 window 300 sack 7-9, 1000 bytes, \
             checksum partial at 34+16, Tcpv4 in pieces of 536, vlan 5, hash 0x00000abc",
        ),
    ];
    for (packet, expected) in cases {
        assert_eq!(Summary(&packet).to_string(), expected);
    }
}

#[test]
fn cut_packets_are_malformed_and_nothing_worse() {
    let whole = tcp(|_| {});
    for len in 0..whole.len() - 1 {
        let mut cut = duplicate(&whole);
        cut.trim_back(whole.len() - len).unwrap();
        let line = Summary(&cut).to_string();
        assert!(line.contains("malformed: "), "{line}");
    }
}

#[test]
fn both_directions_are_shown_when_they_go() {
    let lines = Rc::new(RefCell::new(Vec::new()));
    let (mut here, there) = link(LinkOptions { ring_packets: 1, ..LinkOptions::default() });
    let shown = Rc::clone(&lines);
    let mut there = Trace::with(there, "link0/0", move |line| shown.borrow_mut().push(line.to_string()));
    let now = Instant::ORIGIN;
    here.tx_burst(now, &mut [frame(0x88cc, &[b"x"])].into()).unwrap();
    there.rx_burst(now, &mut VecDeque::new(), 1).unwrap();
    let mut packets = VecDeque::from([packet(&[b"1"]), packet(&[b"22"])]);
    there.tx_burst(now, &mut packets).unwrap();
    there.tx_burst(now, &mut packets).unwrap();
    let malformed = "malformed: there are fewer bytes than the header has";
    let expected = [
        "link0/0 rx 15 bytes, 02:02:02:02:02:02 > ff:ff:ff:ff:ff:ff type 0x88cc".to_owned(),
        format!("link0/0 tx 1 bytes, {malformed}"),
    ];
    assert_eq!(*lines.borrow(), expected, "the second one has not gone");
}

#[test]
fn middleware_composes() {
    let (mut here, there) = link(LinkOptions::default());
    let boxed: Box<dyn Queue> = Box::new(there);
    let faulty = crate::Fault::new(boxed, "duplicate=1".parse().unwrap(), 0);
    let lines = Rc::new(RefCell::new(0));
    let shown = Rc::clone(&lines);
    let mut queue: Box<dyn Queue> = Box::new(Trace::with(faulty, "x", move |_| *shown.borrow_mut() += 1));
    here.tx_burst(Instant::ORIGIN, &mut [packet(&[b"x"])].into()).unwrap();
    assert_eq!(queue.rx_burst(Instant::ORIGIN, &mut VecDeque::new(), 8).unwrap(), 2);
    assert_eq!((*lines.borrow(), queue.counters().rx_packets), (2, 1));
}
