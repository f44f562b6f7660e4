//! Large packets cut into those that go over the wire, as a device would.

use sunstar_packet::{BufferMut, Checksum, Packet, Segmentation, SegmentationKind};
use sunstar_wire::checksum::{Sum, pseudo_header};
use sunstar_wire::{AddressPair, EtherType, EthernetFrame, IpProtocol, Ipv4Packet, Ipv6Packet};

#[cfg(test)]
mod tests;

/// Ethernet with two tags, and the longest headers of IPv4 and TCP.
const MAX_HEADER_BYTES: usize = 22 + 60 + 60;

const TCP_BYTES: usize = 20;
const UDP_BYTES: usize = 8;
const TCP_CSUM_OFFSET: u16 = 16;
const UDP_CSUM_OFFSET: u16 = 6;
const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

/// How a large packet is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    headers: [u8; MAX_HEADER_BYTES],
    /// How many of those bytes there are.
    headers_len: usize,
    ip: Ip,
    ip_start: usize,
    transport_start: usize,
    kind: SegmentationKind,
    gso_size: usize,
    payload_len: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ip {
    V4,
    V6,
}

impl Cut {
    /// How a packet is to be cut. None if it is a packet of the wire already, or if it can't be cut: its headers make no sense, or its
    /// checksum is a matter of all of it.
    pub(crate) fn of(packet: &Packet) -> Option<Self> {
        let Segmentation { kind, gso_size, hdr_len, .. } = packet.offload.segmentation?;
        let headers_len = usize::try_from(hdr_len).ok().filter(|len| *len <= MAX_HEADER_BYTES)?;
        let payload_len = packet.len().checked_sub(headers_len)?;
        let gso_size = usize::from(gso_size);
        if gso_size == 0 || payload_len <= gso_size || packet.offload.checksum == Checksum::Complete {
            return None;
        }
        let mut headers = [0; MAX_HEADER_BYTES];
        packet.copy_to_slice(0, &mut headers[..headers_len]).ok()?;
        let frame = EthernetFrame::parse(&headers[..headers_len]).ok()?;
        let ip_start = frame.header_len();
        let (ip, ip_len) = match frame.ethertype() {
            EtherType::IPV4 => {
                (Ip::V4, Ipv4Packet::parse_head(frame.payload(), packet.len() - ip_start).ok()?.header_len())
            }
            EtherType::IPV6 => {
                Ipv6Packet::parse_head(frame.payload(), packet.len() - ip_start).ok()?;
                (Ip::V6, 40)
            }
            _ => return None,
        };
        let transport_start = ip_start + ip_len;
        let transport = headers.get(transport_start..headers_len)?;
        let is_whole = match kind {
            SegmentationKind::UdpL4 => transport.len() == UDP_BYTES,
            _ => transport.len() >= TCP_BYTES && transport.len() == usize::from(transport[12] >> 4) * 4,
        };
        let fits = matches!(
            (kind, ip),
            (SegmentationKind::Tcpv4, Ip::V4) | (SegmentationKind::Tcpv6, Ip::V6) | (SegmentationKind::UdpL4, _)
        );
        let cut = Self { headers, headers_len, ip, ip_start, transport_start, kind, gso_size, payload_len };
        (is_whole && fits).then_some(cut)
    }

    /// How many packets it becomes.
    pub(crate) const fn count(&self) -> usize {
        self.payload_len.div_ceil(self.gso_size)
    }

    /// How long each of those is, in bytes.
    pub(crate) fn lens(&self) -> impl Iterator<Item = usize> + use<> {
        let Self { headers_len, gso_size, payload_len, .. } = *self;
        (0..payload_len).step_by(gso_size).map(move |begin| headers_len + gso_size.min(payload_len - begin))
    }

    /// The packets that the packet becomes of which this was made; they share its payload, and their checksums are partial.
    pub(crate) fn pieces(self, mut packet: Packet) -> impl Iterator<Item = Packet> {
        // It is as long as it was when this was made.
        let _ = packet.trim_front(self.headers_len);
        let count = self.count();
        (0..count).map(move |index| {
            let len = self.gso_size.min(packet.len());
            let mut piece = packet.split_to(len).unwrap_or_default();
            let headers = self.headers_of(index, len);
            let mut front = BufferMut::with_capacity(0, headers.len());
            // There is room for them, and a part of a packet has fewer buffers than that.
            let _ = front.extend_from_slice(&headers);
            let _ = piece.push_front(front.freeze());
            let csum_offset = match self.kind {
                SegmentationKind::UdpL4 => UDP_CSUM_OFFSET,
                _ => TCP_CSUM_OFFSET,
            };
            let csum_start = u32::try_from(self.transport_start).unwrap_or(u32::MAX);
            piece.offload.checksum = Checksum::Partial { csum_start, csum_offset };
            piece
        })
    }

    /// The headers of a piece with so many bytes of payload.
    fn headers_of(&self, index: usize, len: usize) -> Vec<u8> {
        let mut headers = self.headers[..self.headers_len].to_vec();
        let transport_len = self.headers_len - self.transport_start + len;
        let (front, transport) = headers.split_at_mut(self.transport_start);
        let addresses = self.write_ip(&mut front[self.ip_start..], index, transport_len);
        let pseudo = |protocol| pseudo_header(addresses, protocol, u32::try_from(transport_len).unwrap_or(u32::MAX));
        if self.kind == SegmentationKind::UdpL4 {
            put(transport, 4, transport_len);
            put(transport, UDP_CSUM_OFFSET.into(), pseudo(IpProtocol::UDP).partial().into());
            return headers;
        }
        let [a, b, c, d] = [4, 5, 6, 7].map(|at| transport[at]);
        let offset = u32::try_from(index * self.gso_size).unwrap_or(0);
        let seq = u32::from_be_bytes([a, b, c, d]).wrapping_add(offset);
        transport[4..8].copy_from_slice(&seq.to_be_bytes());
        if index > 0 {
            transport[13] &= !CWR;
        }
        if index + 1 < self.count() {
            transport[13] &= !(FIN | PSH);
        }
        put(transport, TCP_CSUM_OFFSET.into(), pseudo(IpProtocol::TCP).partial().into());
        headers
    }

    /// Makes the IP header that of a piece; answers whose it is.
    fn write_ip(&self, header: &mut [u8], index: usize, transport_len: usize) -> AddressPair {
        match self.ip {
            Ip::V4 => {
                put(header, 2, header.len() + transport_len);
                let identification = u16::from_be_bytes([header[4], header[5]]);
                put(header, 4, usize::from(identification.wrapping_add(u16::try_from(index).unwrap_or(0))));
                put(header, 10, 0);
                let checksum = Sum::of(header).checksum();
                put(header, 10, checksum.into());
                let [src, dst] = [12, 16].map(|at| [0, 1, 2, 3].map(|byte| header[at + byte]));
                AddressPair::V4 { src: src.into(), dst: dst.into() }
            }
            Ip::V6 => {
                put(header, 4, transport_len);
                let address = |at: usize| <[u8; 16]>::try_from(&header[at..at + 16]).unwrap_or_default();
                AddressPair::V6 { src: address(8).into(), dst: address(24).into() }
            }
        }
    }
}

/// Does what a device does that cuts large packets: hands those that go over the wire to `each`, in order. What is no large packet, or can't
/// be cut, is handed over as it is. Pieces share the payload of the packet, and their checksums are partial.
pub fn cut(packet: Packet, each: impl FnMut(Packet)) {
    match Cut::of(&packet) {
        Some(cut) => cut.pieces(packet).for_each(each),
        None => std::iter::once(packet).for_each(each),
    }
}

/// Writes a number of 16 bits.
fn put(bytes: &mut [u8], at: usize, value: usize) {
    bytes[at..at + 2].copy_from_slice(&u16::try_from(value).unwrap_or(u16::MAX).to_be_bytes());
}
