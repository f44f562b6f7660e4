//! A packet in one line.

use std::fmt;

use sunstar_packet::{Checksum, Packet};
use sunstar_wire::{
    Arp, ArpOperation, EtherType, EthernetFrame, Icmpv4Packet, IpProtocol, Ipv4Packet, TcpSegment, UdpDatagram,
};

/// So much is looked at: the longest headers of Ethernet with tags, IPv4 and TCP.
const HEAD_BYTES: usize = 22 + 60 + 60;

/// Shows what a packet is, by its headers, and what the device has done or shall do. Whatever the bytes are, it is one line.
///
/// ```
/// use sunstar_device::Summary;
/// use sunstar_packet::{Buffer, Packet};
///
/// let packet = Packet::from(Buffer::from_static(b"anything"));
/// assert_eq!(Summary(&packet).to_string(), "8 bytes, malformed: there are fewer bytes than the header has");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Summary<'a>(
    /// The packet.
    pub &'a Packet,
);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packet = self.0;
        let mut copy = [0; HEAD_BYTES];
        let len = packet.len().min(HEAD_BYTES);
        let head = match packet.buffers().first() {
            Some(first) if first.len() >= len => &first[..len],
            // Headers that lie in pieces: so few bytes are nobody's payload.
            _ => {
                packet.copy_to_slice(0, &mut copy[..len]).map_err(|_| fmt::Error)?;
                &copy[..len]
            }
        };
        write!(f, "{} bytes, ", packet.len())?;
        let shown = Line { f, packet_bytes: packet.len() }.frame(head)?;
        if let Err(error) = shown {
            write!(f, "malformed: {error}")?;
        }
        self.offload(f)
    }
}

impl Summary<'_> {
    fn offload(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offload = self.0.offload;
        match offload.checksum {
            Checksum::Complete => {}
            Checksum::Verified => f.write_str(", checksum verified")?,
            Checksum::Partial { csum_start, csum_offset } => {
                write!(f, ", checksum partial at {csum_start}+{csum_offset}")?;
            }
        }
        if let Some(segmentation) = offload.segmentation {
            write!(f, ", {:?} in pieces of {}", segmentation.kind, segmentation.gso_size)?;
        }
        if let Some(vlan) = offload.vlan {
            write!(f, ", vlan {}", vlan.vid())?;
        }
        match offload.rss_hash {
            Some(hash) => write!(f, ", hash {hash:#010x}"),
            None => Ok(()),
        }
    }
}

/// What came of looking at a layer: shown, or malformed.
type Shown = Result<Result<(), sunstar_wire::Error>, fmt::Error>;

/// A line that is being written.
struct Line<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    packet_bytes: usize,
}

impl Line<'_, '_> {
    fn frame(&mut self, head: &[u8]) -> Shown {
        let frame = match EthernetFrame::parse(head) {
            Ok(frame) => frame,
            Err(error) => return Ok(Err(error)),
        };
        match frame.ethertype() {
            EtherType::ARP => self.arp(frame.payload()),
            EtherType::IPV4 => self.ipv4(frame.payload(), self.packet_bytes - frame.header_len()),
            EtherType::IPV6 => self.other(&frame, format_args!("IPv6")),
            other => self.other(&frame, format_args!("type {:#06x}", other.value())),
        }
    }

    fn other(&mut self, frame: &EthernetFrame<'_>, what: fmt::Arguments<'_>) -> Shown {
        write!(self.f, "{} > {} {what}", frame.src(), frame.dst())?;
        Ok(Ok(()))
    }

    fn arp(&mut self, bytes: &[u8]) -> Shown {
        let arp = match Arp::parse(bytes) {
            Ok(arp) => arp,
            Err(error) => return Ok(Err(error)),
        };
        match arp.operation {
            ArpOperation::Request => write!(self.f, "ARP who has {}, tell {} ({})", arp.tpa, arp.spa, arp.sha)?,
            ArpOperation::Reply => write!(self.f, "ARP {} is at {}", arp.spa, arp.sha)?,
        }
        Ok(Ok(()))
    }

    fn ipv4(&mut self, bytes: &[u8], len: usize) -> Shown {
        let ip = match Ipv4Packet::parse_head(bytes, len) {
            Ok(ip) => ip,
            Err(error) => return Ok(Err(error)),
        };
        if ip.fragment().offset() > 0 {
            let (src, dst, IpProtocol(protocol), offset) = (ip.src(), ip.dst(), ip.protocol(), ip.fragment().offset());
            write!(self.f, "{src} > {dst} protocol {protocol} fragment at {offset}, {} bytes", ip.payload_len())?;
            return Ok(Ok(()));
        }
        match ip.protocol() {
            IpProtocol::TCP => self.tcp(&ip),
            IpProtocol::UDP => self.udp(&ip),
            IpProtocol::ICMP => self.icmp(&ip),
            IpProtocol(other) => {
                write!(self.f, "{} > {} protocol {other}, {} bytes", ip.src(), ip.dst(), ip.payload_len())?;
                Ok(Ok(()))
            }
        }
    }

    fn tcp(&mut self, ip: &Ipv4Packet<'_>) -> Shown {
        let tcp = match TcpSegment::parse(ip.payload()) {
            Ok(tcp) => tcp,
            Err(error) => return Ok(Err(error)),
        };
        let (src, dst) = (ip.src(), ip.dst());
        write!(self.f, "{src}:{} > {dst}:{} TCP {:?}", tcp.src_port(), tcp.dst_port(), tcp.flags())?;
        write!(self.f, " seq {} ack {} window {}", tcp.seq(), tcp.ack(), tcp.window())?;
        let options = tcp.options();
        if let Some(mss) = options.mss {
            write!(self.f, " mss {mss}")?;
        }
        if let Some(scale) = options.window_scale {
            write!(self.f, " scale {}", scale.shift())?;
        }
        for block in options.sack.iter() {
            write!(self.f, " sack {}-{}", block.left, block.right)?;
        }
        write!(self.f, ", {} bytes", ip.payload_len().saturating_sub(tcp.header_len()))?;
        Ok(Ok(()))
    }

    fn udp(&mut self, ip: &Ipv4Packet<'_>) -> Shown {
        let udp = match UdpDatagram::parse_head(ip.payload(), ip.payload_len()) {
            Ok(udp) => udp,
            Err(error) => return Ok(Err(error)),
        };
        let (src, dst) = (ip.src(), ip.dst());
        write!(self.f, "{src}:{} > {dst}:{} UDP, {} bytes", udp.src_port(), udp.dst_port(), udp.payload_len())?;
        Ok(Ok(()))
    }

    fn icmp(&mut self, ip: &Ipv4Packet<'_>) -> Shown {
        let icmp = match Icmpv4Packet::parse(ip.payload()) {
            Ok(icmp) => icmp,
            Err(error) => return Ok(Err(error)),
        };
        write!(self.f, "{} > {} ICMP {:?}", ip.src(), ip.dst(), icmp.header())?;
        Ok(Ok(()))
    }
}
