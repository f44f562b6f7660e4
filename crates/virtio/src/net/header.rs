//! The header before each packet, `struct virtio_net_hdr` (virtio 1.2 §5.1.6), and the metadata of packets.

use sunstar_packet::{Checksum, Offload, Packet, Segmentation, SegmentationKind};
use sunstar_wire::{EtherType, EthernetFrame, Ipv4Packet};

#[cfg(test)]
mod tests;

/// Bytes of the header, all little endian: flags and GSO type (8 bits each), then header length, GSO size, start and offset of the
/// checksum, and number of buffers (16 bits each).
pub const HEADER_BYTES: usize = 12;

const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

const IPV6_HEADER_BYTES: usize = 40;
const UDP_HEADER_BYTES: usize = 8;
/// Ethernet with two tags, and the longest header of IPv4: so much is looked at to find the transport header.
const LOOKED_AT_BYTES: usize = 22 + 60;

/// A header that makes no sense, or metadata that no header can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header before the packet makes no sense")]
pub struct Malformed;

/// The header of a packet that is sent.
///
/// # Errors
/// If positions are beyond what the header can tell.
pub fn encode(offload: &Offload) -> Result<[u8; HEADER_BYTES], Malformed> {
    let mut header = [0; HEADER_BYTES];
    if let Checksum::Partial { csum_start, csum_offset } = offload.checksum {
        header[0] = NEEDS_CSUM;
        let csum_start = u16::try_from(csum_start).map_err(|_| Malformed)?;
        header[6..8].copy_from_slice(&csum_start.to_le_bytes());
        header[8..10].copy_from_slice(&csum_offset.to_le_bytes());
    }
    if let Some(Segmentation { kind, has_ecn, gso_size, hdr_len }) = offload.segmentation {
        header[1] = match kind {
            SegmentationKind::Tcpv4 => GSO_TCPV4,
            SegmentationKind::Tcpv6 => GSO_TCPV6,
            SegmentationKind::UdpL4 => GSO_UDP_L4,
        };
        if has_ecn {
            header[1] |= GSO_ECN;
        }
        let hdr_len = u16::try_from(hdr_len).map_err(|_| Malformed)?;
        header[2..4].copy_from_slice(&hdr_len.to_le_bytes());
        header[4..6].copy_from_slice(&gso_size.to_le_bytes());
    }
    Ok(header)
}

/// The metadata of a packet that was received: their positions lie within the packet.
///
/// # Errors
/// If they would not, or the header tells something unknown. Such a packet must not go on.
pub fn decode(header: &[u8; HEADER_BYTES], packet: &Packet) -> Result<Offload, Malformed> {
    let [flags, gso_type, _, _, size_0, size_1, start_0, start_1, offset_0, offset_1, _, _] = *header;
    let mut offload = Offload::default();
    if flags & NEEDS_CSUM != 0 {
        let csum_start = u32::from(u16::from_le_bytes([start_0, start_1]));
        let csum_offset = u16::from_le_bytes([offset_0, offset_1]);
        let end = csum_start as usize + usize::from(csum_offset) + 2;
        if end > packet.len() && !planted::is("virtio_net_place_believed") {
            return Err(Malformed);
        }
        offload.checksum = Checksum::Partial { csum_start, csum_offset };
    } else if flags & DATA_VALID != 0 {
        offload.checksum = Checksum::Verified;
    }
    let kind = match gso_type & !GSO_ECN {
        GSO_NONE => return Ok(offload),
        GSO_TCPV4 => SegmentationKind::Tcpv4,
        GSO_TCPV6 => SegmentationKind::Tcpv6,
        GSO_UDP_L4 => SegmentationKind::UdpL4,
        _ => return Err(Malformed),
    };
    let gso_size = u16::from_le_bytes([size_0, size_1]);
    // The header length that comes is a hint at how the sender's memory lies, not at where the payload begins.
    let hdr_len = header_len(packet, kind, offload.checksum)?;
    if gso_size == 0 || hdr_len > packet.len() {
        return Err(Malformed);
    }
    let hdr_len = u32::try_from(hdr_len).map_err(|_| Malformed)?;
    offload.segmentation = Some(Segmentation { kind, has_ecn: gso_type & GSO_ECN != 0, gso_size, hdr_len });
    Ok(offload)
}

/// Whether a header asks for nothing and tells nothing: what follows is a packet as it goes over the wire.
#[inline]
pub(crate) fn is_plain(header: &[u8; HEADER_BYTES]) -> bool {
    header[0] & (NEEDS_CSUM | DATA_VALID) == 0 && header[1] & !GSO_ECN == GSO_NONE
}

/// How many chains the packet lies in, of which this header is in the first one, with mergeable buffers (§5.1.6.4).
pub fn num_buffers(header: &[u8; HEADER_BYTES]) -> u16 {
    u16::from_le_bytes([header[10], header[11]])
}

/// How many bytes of headers a large packet has.
fn header_len(packet: &Packet, kind: SegmentationKind, checksum: Checksum) -> Result<usize, Malformed> {
    let start = match checksum {
        Checksum::Partial { csum_start, .. } => csum_start as usize,
        _ => transport_start(packet)?,
    };
    if kind == SegmentationKind::UdpL4 {
        return Ok(start + UDP_HEADER_BYTES);
    }
    let mut data_offset = [0];
    packet.copy_to_slice(start + 12, &mut data_offset).map_err(|_| Malformed)?;
    let tcp = usize::from(data_offset[0] >> 4) * 4;
    if tcp < 20 { Err(Malformed) } else { Ok(start + tcp) }
}

/// Where the transport header begins. IPv6 is taken to have no extension headers: no large packet with them is made.
fn transport_start(packet: &Packet) -> Result<usize, Malformed> {
    let mut copy = [0; LOOKED_AT_BYTES];
    let head = &mut copy[..packet.len().min(LOOKED_AT_BYTES)];
    packet.copy_to_slice(0, head).map_err(|_| Malformed)?;
    let frame = EthernetFrame::parse(head).map_err(|_| Malformed)?;
    let ip = match frame.ethertype() {
        EtherType::IPV4 => {
            let len = packet.len() - frame.header_len();
            Ipv4Packet::parse_head(frame.payload(), len).map_err(|_| Malformed)?.header_len()
        }
        EtherType::IPV6 => IPV6_HEADER_BYTES,
        _ => return Err(Malformed),
    };
    Ok(frame.header_len() + ip)
}
