use std::net::{Ipv4Addr, Ipv6Addr};

use sunstar_packet::{Buffer, CopyCounter};
use sunstar_wire::checksum::Fill;
use sunstar_wire::{
    EthernetHeader, Ipv4Header, Ipv6Header, MacAddr, Seq, TcpFlags, TcpHeader, TcpSegment, UdpDatagram, UdpHeader, Vlan,
};

use super::*;
use crate::edit::complete_checksum;

const GSO_SIZE: u16 = 100;

fn v4() -> AddressPair {
    AddressPair::V4 { src: Ipv4Addr::new(10, 0, 0, 1), dst: Ipv4Addr::new(10, 0, 0, 2) }
}

fn v6() -> AddressPair {
    AddressPair::V6 { src: Ipv6Addr::LOCALHOST, dst: Ipv6Addr::from_bits(7) }
}

/// A large packet with a partial checksum.
fn large(addresses: AddressPair, kind: SegmentationKind, transport: &[u8], payload: &[u8]) -> Packet {
    let protocol = if kind == SegmentationKind::UdpL4 { IpProtocol::UDP } else { IpProtocol::TCP };
    let len = transport.len() + payload.len();
    let (ethertype, ip) = match addresses {
        AddressPair::V4 { src, dst } => {
            let header = Ipv4Header { identification: 0xffff, ..Ipv4Header::new(protocol, src, dst) };
            (EtherType::IPV4, header.to_bytes(len).unwrap().to_vec())
        }
        AddressPair::V6 { src, dst } => {
            (EtherType::IPV6, Ipv6Header::new(protocol, src, dst).to_bytes(len).unwrap().to_vec())
        }
    };
    let mac = MacAddr([2; 6]);
    let ethernet = EthernetHeader { dst: mac, src: mac, vlan: Vlan::Untagged, ethertype };
    let headers = [&ethernet.to_bytes()[..], &ip, transport].concat();
    let mut packet = Packet::from(Buffer::copy_from_slice(&headers));
    // In two buffers, of which neither ends where a piece does.
    for part in payload.chunks(payload.len() * 2 / 3) {
        packet.push_back(Buffer::copy_from_slice(part)).unwrap();
    }
    let csum_offset = if protocol == IpProtocol::UDP { 6 } else { 16 };
    let csum_start = u32::try_from(headers.len() - transport.len()).unwrap();
    packet.offload.checksum = Checksum::Partial { csum_start, csum_offset };
    let hdr_len = u32::try_from(headers.len()).unwrap();
    packet.offload.segmentation = Some(Segmentation { kind, has_ecn: true, gso_size: GSO_SIZE, hdr_len });
    packet
}

fn tcp(flags: TcpFlags) -> Vec<u8> {
    let header = TcpHeader { seq: Seq::new(u32::MAX - 50), flags, window: 9, ..TcpHeader::new(1, 2) };
    header.to_bytes(Fill::Partial(Sum::ZERO)).to_vec()
}

/// The pieces as a device puts them on the wire.
fn on_the_wire(packet: Packet) -> Vec<Vec<u8>> {
    let cut = Cut::of(&packet).expect("it is large");
    let lens: Vec<usize> = cut.lens().collect();
    let pieces: Vec<_> = cut.pieces(packet).collect();
    assert_eq!(pieces.len(), cut.count());
    assert_eq!(lens, pieces.iter().map(Packet::len).collect::<Vec<_>>());
    let complete = |piece| complete_checksum(piece, &CopyCounter::default());
    pieces.into_iter().map(|piece| complete(piece).into_buffer(&CopyCounter::default()).to_vec()).collect()
}

#[test]
fn tcp_is_cut_as_devices_do() {
    let payload: Vec<u8> = (0..250_u8).collect();
    for addresses in [v4(), v6()] {
        let kind = if addresses == v4() { SegmentationKind::Tcpv4 } else { SegmentationKind::Tcpv6 };
        let flags = TcpFlags::ACK | TcpFlags::PSH | TcpFlags::FIN | TcpFlags::CWR;
        let pieces = on_the_wire(large(addresses, kind, &tcp(flags), &payload));
        let mut rest = &payload[..];
        for (index, piece) in pieces.iter().enumerate() {
            let frame = EthernetFrame::parse(piece).unwrap();
            let (found, segment) = match addresses {
                AddressPair::V4 { .. } => {
                    let packet = Ipv4Packet::parse(frame.payload()).unwrap();
                    assert!(packet.has_valid_checksum());
                    assert_eq!(packet.identification(), 0xffff_u16.wrapping_add(u16::try_from(index).unwrap()));
                    (packet.addresses(), packet.payload())
                }
                AddressPair::V6 { .. } => {
                    let packet = Ipv6Packet::parse(frame.payload()).unwrap();
                    (packet.addresses(), packet.payload())
                }
            };
            assert_eq!(found, addresses);
            let segment = TcpSegment::parse(segment).unwrap();
            assert!(segment.has_valid_checksum(addresses), "piece {index}");
            assert_eq!(segment.seq(), Seq::new(u32::MAX - 50) + u32::try_from(index * 100).unwrap());
            let expected = match index {
                0 => TcpFlags::ACK | TcpFlags::CWR,
                1 => TcpFlags::ACK,
                _ => TcpFlags::ACK | TcpFlags::PSH | TcpFlags::FIN,
            };
            assert_eq!((segment.flags(), segment.window()), (expected, 9));
            let (here, behind) = rest.split_at(rest.len().min(100));
            assert_eq!(segment.payload(), here);
            rest = behind;
        }
        assert_eq!((pieces.len(), rest.len()), (3, 0));
    }
}

#[test]
fn udp_is_cut_into_datagrams() {
    let payload: Vec<u8> = (0..200_u8).collect();
    for addresses in [v4(), v6()] {
        let header = UdpHeader { src_port: 1, dst_port: 2 };
        let header = header.to_bytes(payload.len(), Fill::Partial(Sum::ZERO)).unwrap();
        let pieces = on_the_wire(large(addresses, SegmentationKind::UdpL4, &header, &payload));
        for (piece, expected) in pieces.iter().zip(payload.chunks(100)) {
            let ip_bytes = if addresses == v4() { 20 } else { 40 };
            let datagram = UdpDatagram::parse(&piece[14 + ip_bytes..]).unwrap();
            assert!(datagram.has_valid_checksum(addresses));
            assert_eq!(datagram.payload(), expected);
        }
        assert_eq!(pieces.len(), 2);
    }
}

#[test]
fn what_is_small_or_makes_no_sense_is_not_cut() {
    let good = || large(v4(), SegmentationKind::Tcpv4, &tcp(TcpFlags::ACK), &[7; 101]);
    assert!(Cut::of(&good()).is_some());
    let broken: [fn(&mut Packet); 7] = [
        |packet| packet.offload.segmentation = None,
        |packet| packet.trim_back(1).unwrap(),
        |packet| packet.offload.checksum = Checksum::Complete,
        |packet| packet.offload.segmentation.as_mut().unwrap().gso_size = 0,
        |packet| packet.offload.segmentation.as_mut().unwrap().hdr_len = 53,
        |packet| packet.offload.segmentation.as_mut().unwrap().hdr_len = 50_000,
        |packet| packet.offload.segmentation.as_mut().unwrap().kind = SegmentationKind::Tcpv6,
    ];
    for (index, spoil) in broken.into_iter().enumerate() {
        let mut packet = good();
        spoil(&mut packet);
        assert!(Cut::of(&packet).is_none(), "{index}");
    }
}
