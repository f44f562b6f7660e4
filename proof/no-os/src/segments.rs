//! Checks of the headers on the wire.

use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};

use sunstar_packet::Buffer;
use sunstar_tcpip::tcp::connection::{Options, Segment};
use sunstar_tcpip::tcp::secret::Secret;
use sunstar_tcpip::tcp::sockets::{Limits, Sockets};
use sunstar_tcpip::time::Instant;
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

/// Two stacks, one of which sends the other a few bytes.
pub(crate) fn streams_are_carried() -> bool {
    let now = Instant::from_micros(1);
    let at = |host: u8, port| SocketAddr::from((Ipv4Addr::new(192, 0, 2, host), port));
    let mut ends = [1, 2].map(|key| Sockets::new(Secret::new([key; 16]), Limits::DEFAULT));
    let Ok(listener) = ends[1].listen(at(2, 80), 1, Options::DEFAULT) else { return false };
    let Ok(client) = ends[0].connect(now, at(1, 0), at(2, 80), Options::DEFAULT) else { return false };
    let is_sent = ends[0].send(client, Buffer::copy_from_slice(b"hello")).is_ok();
    while carry(&mut ends, now, 0) | carry(&mut ends, now, 1) {}
    let server = ends[1].accept(listener);
    is_sent && server.and_then(|server| ends[1].receive(server)).is_some_and(|bytes| &bytes[..] == b"hello")
}

fn carry(ends: &mut [Sockets; 2], now: Instant, from: usize) -> bool {
    let Some((flow, sent)) = ends[from].poll_transmit(now, 1_460) else { return false };
    ends[1 - from].handle_segment(now, flow, Segment { header: sent.header, payload: sent.payload });
    true
}
