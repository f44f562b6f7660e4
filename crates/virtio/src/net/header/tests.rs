use alloc::vec::Vec;
use core::net::Ipv4Addr;

use sunstar_packet::Buffer;
use sunstar_wire::checksum::{Fill, Sum};
use sunstar_wire::{EthernetHeader, IpProtocol, Ipv4Header, MacAddr, TcpHeader, Vlan};

use super::*;

const HEADERS: usize = 14 + 20 + 20;

fn tcp_packet() -> Packet {
    let ethernet = EthernetHeader {
        dst: MacAddr::BROADCAST,
        src: MacAddr([2; 6]),
        vlan: Vlan::Untagged,
        ethertype: EtherType::IPV4,
    };
    let ip = Ipv4Header::new(IpProtocol::TCP, Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST);
    let tcp = TcpHeader::new(1, 2).to_bytes(Fill::Partial(Sum::ZERO));
    let mut packet = Packet::new();
    for part in [&ethernet.to_bytes()[..], &ip.to_bytes(3020).unwrap(), &tcp, &[7; 3000]] {
        packet.push_back(Buffer::copy_from_slice(part)).unwrap();
    }
    packet
}

fn large() -> Offload {
    Offload {
        checksum: Checksum::Partial { csum_start: 34, csum_offset: 16 },
        segmentation: Some(Segmentation {
            kind: SegmentationKind::Tcpv4,
            has_ecn: true,
            gso_size: 1448,
            hdr_len: HEADERS.try_into().unwrap(),
        }),
        ..Offload::default()
    }
}

#[test]
fn the_header_is_that_of_the_specification() {
    assert_eq!(encode(&Offload::default()), Ok([0; 12]));
    assert_eq!(encode(&large()), Ok([1, 0x81, 54, 0, 0xa8, 0x05, 34, 0, 16, 0, 0, 0]));
}

#[test]
fn metadata_come_back() {
    let packet = tcp_packet();
    for offload in [Offload::default(), large(), Offload { segmentation: None, ..large() }] {
        assert_eq!(decode(&encode(&offload).unwrap(), &packet), Ok(offload));
    }
    let verified = Offload { checksum: Checksum::Verified, ..Offload::default() };
    assert_eq!(decode(&[DATA_VALID, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &packet), Ok(verified));
}

#[test]
fn the_header_length_is_found_in_the_packet() {
    let packet = tcp_packet();
    let mut header = encode(&large()).unwrap();
    header[2..4].copy_from_slice(&2000_u16.to_le_bytes());
    assert_eq!(decode(&header, &packet), Ok(large()));
    header[0] = DATA_VALID;
    let expected = Offload { checksum: Checksum::Verified, ..large() };
    assert_eq!(decode(&header, &packet), Ok(expected), "without the start of the checksum, too");
}

#[test]
fn positions_beyond_the_packet_are_malformed() {
    let packet = tcp_packet();
    let mut header = encode(&large()).unwrap();
    header[6..8].copy_from_slice(&3040_u16.to_le_bytes());
    assert_eq!(decode(&header, &packet), Err(Malformed));
    let mut header = encode(&large()).unwrap();
    header[4..6].fill(0);
    assert_eq!(decode(&header, &packet), Err(Malformed), "pieces without bytes");
    let mut header = encode(&large()).unwrap();
    header[1] = 3;
    assert_eq!(decode(&header, &packet), Err(Malformed), "an unknown kind");
    let header = encode(&large()).unwrap();
    assert_eq!(decode(&header, &Packet::from(Buffer::copy_from_slice(&[0; 52]))), Err(Malformed), "too short");
    let beyond = Offload { checksum: Checksum::Partial { csum_start: 70_000, csum_offset: 0 }, ..Offload::default() };
    assert_eq!(encode(&beyond), Err(Malformed));
}

/// No header and no packet make it panic, and what it lets through lies within the packet.
#[test]
fn anything_may_come() {
    let packets: Vec<Packet> = (0..=HEADERS + 1)
        .map(|len| {
            let mut packet = tcp_packet();
            packet.trim_back(packet.len() - len).unwrap();
            packet
        })
        .collect();
    for flags in [0, NEEDS_CSUM, DATA_VALID] {
        for gso_type in 0..=255 {
            for start in [0_u16, 14, 33, 34, 50, u16::MAX] {
                let [low, high] = start.to_le_bytes();
                for packet in &packets {
                    let header = [flags, gso_type, 0, 0, 1, 0, low, high, 16, 0, 0, 0];
                    let Ok(offload) = decode(&header, packet) else { continue };
                    if let Some(segmentation) = offload.segmentation {
                        assert!(segmentation.hdr_len as usize <= packet.len());
                    }
                }
            }
        }
    }
}
