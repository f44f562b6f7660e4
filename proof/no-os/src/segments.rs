//! Checks of the headers on the wire.

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use sunstar_wire::checksum::{Fill, Sum, pseudo_header_v4};
use sunstar_wire::{Error, IpProtocol, Ipv4Header, Ipv4Packet, Seq, TcpFlags, TcpHeader, TcpSegment};

pub(crate) fn checksums_are_those_of_the_rfc() -> bool {
    Sum::of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]).partial() == 0xddf2
}

pub(crate) fn segments_are_built_and_read() -> bool {
    built(b"hello").is_some_and(|packet| read(&packet) == Ok(true))
}

fn built(payload: &[u8]) -> Option<Vec<u8>> {
    let (src, dst) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
    let tcp = TcpHeader { seq: Seq::new(7), flags: TcpFlags::ACK, ..TcpHeader::new(1, 2) };
    let length = u16::try_from(tcp.header_len() + payload.len()).ok()?;
    let rest = pseudo_header_v4(src, dst, IpProtocol::TCP, length) + Sum::of(payload);
    let ip = Ipv4Header::new(IpProtocol::TCP, src, dst).to_bytes(length.into()).ok()?;
    Some([&ip, &tcp.to_bytes(Fill::Complete(rest))[..], payload].concat())
}

fn read(packet: &[u8]) -> Result<bool, Error> {
    let ip = Ipv4Packet::parse(packet)?;
    let tcp = TcpSegment::parse(ip.payload())?;
    Ok(ip.has_valid_checksum() && tcp.has_valid_checksum(ip.addresses()) && tcp.payload() == b"hello")
}
