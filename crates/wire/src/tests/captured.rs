//! Packets as they look on a wire, and what is in them. They were put together by another program than this one.

use core::net::Ipv4Addr;
use core::num::NonZeroU16;

use super::hex;
use crate::checksum::{Fill, Sum, pseudo_header};
use crate::{
    AddressPair, Arp, ArpOperation, Ecn, EtherType, EthernetFrame, EthernetHeader, FlowLabel, FourTuple, Icmpv4Header,
    Icmpv4Packet, IpProtocol, Ipv4Header, Ipv4Options, Ipv4Packet, Ipv6Header, Ipv6Packet, MacAddr, Quoted, RawOption,
    SackBlock, SackBlocks, Seq, TcpFlags, TcpHeader, TcpOptions, TcpSegment, TcpTimestamps, TrafficClass, UdpDatagram,
    UdpHeader, UnreachableCode, Vlan, VlanTag, WindowScale,
};

const A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const B: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const MAC_A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const MAC_B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

/// Takes a frame apart down to a segment with good checksums.
fn segment(bytes: &[u8]) -> (EthernetHeader, Ipv4Header, TcpHeader, &[u8]) {
    let frame = EthernetFrame::parse(bytes).unwrap();
    let packet = Ipv4Packet::parse(frame.payload()).unwrap();
    assert!(packet.has_valid_checksum());
    let segment = TcpSegment::parse(packet.payload()).unwrap();
    assert!(segment.has_valid_checksum(packet.addresses()));
    (frame.header(), packet.header(), segment.header(), segment.payload())
}

/// Puts a frame together again.
fn frame(ethernet: EthernetHeader, ip: Ipv4Header, tcp: TcpHeader, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(tcp.header_len() + payload.len()).unwrap();
    let addresses = AddressPair::V4 { src: ip.src, dst: ip.dst };
    let rest = pseudo_header(addresses, IpProtocol::TCP, length) + Sum::of(payload);
    let tcp = tcp.to_bytes(Fill::Complete(rest));
    let ip = ip.to_bytes(tcp.len() + payload.len()).unwrap();
    [&ethernet.to_bytes()[..], &ip, &tcp, payload].concat()
}

#[test]
fn a_syn() {
    let bytes = hex("020000000002020000000001 0800 4500003c1c4640004006323fc0000201c6336402
         c0000050fffffffe00000000a002faf03e7e0000 020405b40402080a00bc614e0000000001030307");
    let (ethernet, ip, tcp, payload) = segment(&bytes);
    let expected = EthernetHeader { dst: MAC_B, src: MAC_A, vlan: Vlan::Untagged, ethertype: EtherType::IPV4 };
    assert_eq!(ethernet, expected);
    assert_eq!(ip, Ipv4Header { identification: 0x1c46, ..Ipv4Header::new(IpProtocol::TCP, A, B) });
    let options = TcpOptions {
        mss: NonZeroU16::new(1460),
        window_scale: Some(WindowScale::new(7)),
        is_sack_permitted: true,
        timestamps: Some(TcpTimestamps { tsval: 12_345_678, tsecr: 0 }),
        sack: SackBlocks::NONE,
        fast_open: None,
    };
    let flags = TcpFlags::SYN;
    let expected =
        TcpHeader { seq: Seq::new(0xffff_fffe), flags, window: 64_240, options, ..TcpHeader::new(49_152, 80) };
    assert_eq!((tcp, payload), (expected, &[][..]));
    assert_eq!(frame(ethernet, ip, tcp, payload), bytes);
}

#[test]
fn data_in_a_vlan() {
    let bytes = hex("020000000002020000000001 8100602a 0800 450200451c46400040063234c6336402c0000201
         0050c00000001000000000058018 01f5343c0000 0101080a00bc615a00bc614e 485454502f312e3120323030204f4b0d0a");
    let (ethernet, ip, tcp, payload) = segment(&bytes);
    let Vlan::Tagged(tag) = ethernet.vlan else { panic!("{ethernet:?}") };
    assert_eq!((tag.vid(), tag.pcp(), tag.is_drop_eligible()), (42, 3, false));
    assert_eq!((ip.traffic_class.ecn(), ip.traffic_class.dscp()), (Ecn::Ect0, 0));
    assert_eq!(ip.traffic_class.with_ecn(Ecn::Ce), TrafficClass(3));
    assert_eq!((tcp.ack, tcp.flags), (Seq::new(5), TcpFlags::PSH | TcpFlags::ACK));
    assert_eq!(payload, b"HTTP/1.1 200 OK\r\n");
    assert_eq!(frame(ethernet, ip, tcp, payload), bytes);
}

#[test]
fn a_selective_acknowledgment() {
    let bytes = hex("020000000002020000000001 0800 450000401c4640004006323bc0000201c6336402
         c00000500000000500001011b01001f56de00000 0101080a00bc616000bc615a 0101050a0000200000003000");
    let (ethernet, ip, tcp, payload) = segment(&bytes);
    assert_eq!(tcp.options.sack[..], [SackBlock { left: Seq::new(0x2000), right: Seq::new(0x3000) }]);
    assert_eq!(frame(ethernet, ip, tcp, payload), bytes);
}

#[test]
fn a_query_in_two_vlans() {
    let bytes = hex("020000000002020000000001 88a80064 8100000a 0800 450000391c46000040117237c0000201c6336402
         9c40003500258d5e 1a2b01000001000000000000076578616d706c6503636f6d0000010001");
    let frame = EthernetFrame::parse(&bytes).unwrap();
    assert_eq!(frame.vlan(), Vlan::DoubleTagged { outer: VlanTag(100), inner: VlanTag(10) });
    assert_eq!(frame.header().to_bytes()[..], bytes[..22]);
    let packet = Ipv4Packet::parse(frame.payload()).unwrap();
    assert!(packet.has_valid_checksum() && !packet.dont_fragment() && packet.fragment().is_whole());
    let datagram = UdpDatagram::parse(packet.payload()).unwrap();
    assert!(datagram.has_valid_checksum(packet.addresses()));
    let header = UdpHeader { src_port: 40_000, dst_port: 53 };
    assert_eq!((datagram.header(), datagram.payload_len()), (header, 29));
    let rest = pseudo_header(packet.addresses(), IpProtocol::UDP, 37) + Sum::of(datagram.payload());
    assert_eq!(header.to_bytes(29, Fill::Complete(rest)).unwrap(), bytes[42..50]);
}

#[test]
fn a_datagram_over_ipv6() {
    let bytes = hex(
        "020000000002020000000001 86dd 6b812345000d1140 20010db8000000000000000000000001 20010db8000000000000000000000002
         14e90035000d4b6f 68656c6c6f",
    );
    let frame = EthernetFrame::parse(&bytes).unwrap();
    assert_eq!(frame.ethertype(), EtherType::IPV6);
    let packet = Ipv6Packet::parse(frame.payload()).unwrap();
    let (src, dst) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
    let header = Ipv6Header {
        traffic_class: TrafficClass(0xb8),
        flow_label: FlowLabel::new(0x12345),
        ..Ipv6Header::new(IpProtocol::UDP, src, dst)
    };
    assert_eq!(packet.header(), header);
    let datagram = UdpDatagram::parse(packet.payload()).unwrap();
    assert!(datagram.has_valid_checksum(packet.addresses()));
    assert!(!datagram.has_valid_checksum(AddressPair::V6 { src: dst, dst }));
    assert_eq!(
        (datagram.payload(), header.to_bytes(13).unwrap()),
        (&b"hello"[..], *bytes[14..].first_chunk().unwrap())
    );
}

#[test]
fn a_router_that_needs_fragments() {
    let bytes = hex("45c000381c46000040015fbccb007101c0000201 0304f2cc00000578
         450005dc1c46400040062c9fc0000201c6336402 c000005011223344");
    let packet = Ipv4Packet::parse(&bytes).unwrap();
    let icmp = Icmpv4Packet::parse(packet.payload()).unwrap();
    assert!(packet.has_valid_checksum() && icmp.has_valid_checksum());
    let header =
        Icmpv4Header::DestinationUnreachable { code: UnreachableCode::FRAGMENTATION_NEEDED, next_hop_mtu: 1400 };
    assert_eq!(icmp.header(), header);
    assert!(header.is_error());
    assert_eq!(header.to_bytes(Sum::of(icmp.body())), bytes[20..28]);

    let quoted = Quoted::parse(icmp.body()).unwrap();
    assert_eq!((quoted.packet().payload_len(), quoted.packet().payload().len()), (1480, 8));
    let flow = FourTuple { addresses: quoted.packet().addresses(), src_port: 49_152, dst_port: 80 };
    assert_eq!((quoted.four_tuple(), quoted.seq()), (Some(flow), Some(Seq::new(0x1122_3344))));
    assert_eq!((flow.src(), flow.dst()), ((A, 49_152).into(), (B, 80).into()));
}

#[test]
fn later_fragments_have_no_ports() {
    let text = "450005dc1c462001400600 00c0000201c6336402 c000005011223344";
    let bytes = hex(text);
    let quoted = Quoted::parse(&bytes).unwrap();
    assert_eq!((quoted.packet().fragment().offset(), quoted.four_tuple(), quoted.seq()), (8, None, None));
}

#[test]
fn a_ping() {
    let bytes = hex("4500003c1c46400040013244c0000201c6336402 080081a504d20007
         08090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252627");
    let packet = Ipv4Packet::parse(&bytes).unwrap();
    let icmp = Icmpv4Packet::parse(packet.payload()).unwrap();
    assert!(icmp.has_valid_checksum());
    assert_eq!(icmp.header(), Icmpv4Header::EchoRequest { identifier: 1234, sequence: 7 });
    let reply = Icmpv4Header::EchoReply { identifier: 1234, sequence: 7 };
    let bytes = [&reply.to_bytes(Sum::of(icmp.body()))[..], icmp.body()].concat();
    let pong = Icmpv4Packet::parse(&bytes).unwrap();
    assert!(pong.has_valid_checksum() && !pong.header().is_error());
    assert_eq!((pong.header(), pong.body()), (reply, icmp.body()));
}

#[test]
fn a_question_and_its_answer() {
    let bytes = hex("ffffffffffff 020000000001 0806 0001080006040001 020000000001 c0000201 000000000000 c0000202
         000000000000000000000000000000000000");
    let frame = EthernetFrame::parse(&bytes).unwrap();
    assert!(frame.dst().is_broadcast() && frame.dst().is_multicast() && frame.src().is_unicast());
    let request = Arp::parse(frame.payload()).unwrap();
    assert_eq!(request, Arp::request(MAC_A, A, Ipv4Addr::new(192, 0, 2, 2)));
    assert_eq!(request.to_bytes(), bytes[14..42]);
    let reply = request.reply(MAC_B);
    let expected =
        Arp { operation: ArpOperation::Reply, sha: MAC_B, spa: Ipv4Addr::new(192, 0, 2, 2), tha: MAC_A, tpa: A };
    assert_eq!(reply, expected);
    assert_eq!(Arp::announcement(MAC_A, A).tpa, A);
}

#[test]
fn a_report_with_router_alert() {
    let bytes = hex("46c000281c464000010225b2c0000201e0000016 94040000 2200f9fd0000000104000000e00000fb");
    let packet = Ipv4Packet::parse(&bytes).unwrap();
    assert!(packet.has_valid_checksum());
    let options: Vec<_> = packet.options().collect();
    assert_eq!(options, [Ok(RawOption { kind: 148, data: &[0, 0] })]);
    let header = Ipv4Header {
        traffic_class: TrafficClass(0xc0),
        identification: 0x1c46,
        ttl: 1,
        options: Ipv4Options::ROUTER_ALERT,
        ..Ipv4Header::new(IpProtocol::IGMP, A, Ipv4Addr::new(224, 0, 0, 22))
    };
    assert_eq!(packet.header(), header);
    assert_eq!(header.to_bytes(packet.payload_len()).unwrap()[..], bytes[..24]);
}

#[test]
fn groups_have_addresses_of_stations() {
    assert_eq!(MacAddr::from_ipv4_multicast(Ipv4Addr::new(239, 129, 2, 3)).to_string(), "01:00:5e:01:02:03");
    let solicited = "ff02::1:ff28:9c5a".parse().unwrap();
    assert_eq!(MacAddr::from_ipv6_multicast(solicited).to_string(), "33:33:ff:28:9c:5a");
}
