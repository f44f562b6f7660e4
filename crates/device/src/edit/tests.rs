use std::net::Ipv4Addr;

use sunstar_wire::checksum::{Fill, pseudo_header_v4};
use sunstar_wire::{IpProtocol, UdpHeader};

use super::*;

fn chain(parts: &[&[u8]]) -> Packet {
    let mut packet = Packet::new();
    for part in parts {
        packet.push_back(Buffer::copy_from_slice(part)).unwrap();
    }
    packet
}

#[test]
fn a_duplicate_shares_the_bytes() {
    let mut packet = chain(&[b"ab", b"cd"]);
    packet.offload.rss_hash = Some(7);
    let twin = duplicate(&packet);
    assert_eq!(twin.buffers()[1].as_ptr(), packet.buffers()[1].as_ptr());
    assert_eq!((twin.len(), twin.offload), (4, packet.offload));
}

#[test]
fn only_buffers_that_change_are_copied() {
    let copies = CopyCounter::default();
    let packet = chain(&[b"ab", b"cde", b"fg", b"hi"]);
    let others = duplicate(&packet);
    let changed = overwrite(packet, 4, b"XYZ", &copies);
    assert_eq!(changed.buffers().concat(), b"abcdXYZhi");
    assert_eq!((copies.copies(), copies.bytes()), (2, 5));
    assert_eq!(others.buffers().concat(), b"abcdefghi", "whoever shares the bytes sees no change");
    assert_eq!(
        overwrite(changed, 8, b"!?", &copies).buffers().concat(),
        b"abcdXYZh!",
        "beyond the end there is nothing"
    );
}

#[test]
fn checksums_are_completed_as_a_device_does() {
    let (src, dst) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
    let payload = b"odd length!";
    let length = u16::try_from(UdpHeader::LEN + payload.len()).unwrap();
    let pseudo = pseudo_header_v4(src, dst, IpProtocol::UDP, length);
    let header = UdpHeader { src_port: 1, dst_port: 2 };
    let partial = header.to_bytes(payload.len(), Fill::Partial(pseudo)).unwrap();
    let complete = header.to_bytes(payload.len(), Fill::Complete(pseudo + Sum::of(payload))).unwrap();
    // The checksum lies in two buffers.
    let mut packet = chain(&[b"lower", &partial[..7], &partial[7..], &payload[..5], &payload[5..]]);
    packet.offload.checksum = Checksum::Partial { csum_start: 5, csum_offset: 6 };
    let packet = complete_checksum(packet, &CopyCounter::default());
    assert_eq!(packet.buffers().concat(), [&b"lower"[..], &complete, payload].concat());
    assert_eq!(packet.offload.checksum, Checksum::Complete);
}

#[test]
fn what_was_verified_must_be_verified_again() {
    let mut packet = chain(&[b"x"]);
    packet.offload.checksum = Checksum::Verified;
    assert_eq!(complete_checksum(packet, &CopyCounter::default()).offload.checksum, Checksum::Complete);
}
