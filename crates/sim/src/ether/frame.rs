//! A frame on its way.

use std::rc::Rc;

use sunstar_packet::{Checksum, Packet};
use sunstar_wire::checksum::{Fill, Sum, pseudo_header};
use sunstar_wire::{IpProtocol, Ipv4Packet, Ipv6Packet, TcpFlags, TcpHeader, TcpSegment};

use crate::random::Random;
use crate::trace;

/// Bytes of an Ethernet header: addresses and type.
pub(super) const ETHERNET_BYTES: usize = 14;

/// Bytes at the beginning that stand for all of it in the trace: as many as headers have that differ.
const HEAD_BYTES: usize = 64;

/// Where the checksum lies in a UDP header, in which zero says that there is none.
const UDP_CSUM_OFFSET: u16 = 6;

/// The addresses of Ethernet.
pub(super) type Mac = [u8; 6];

/// A frame on its way. It owns its bytes: what becomes of the sender does not matter to it.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) bytes: Rc<[u8]>,
    /// The host that has sent it.
    pub(super) from_host: usize,
    /// What is left of its sender's offload. It is completed on the wire as soon as anybody could tell.
    pub(super) checksum: Checksum,
    is_damaged: bool,
}

impl Frame {
    /// A copy of a packet, made in `scratch`.
    pub(super) fn of(packet: &Packet, from_host: usize, scratch: &mut Vec<u8>) -> Self {
        scratch.clear();
        packet.buffers().iter().for_each(|buffer| scratch.extend_from_slice(buffer));
        Self { bytes: Rc::from(&scratch[..]), from_host, checksum: packet.offload.checksum, is_damaged: false }
    }

    /// A frame that no host has made.
    pub(super) fn made(bytes: &[u8]) -> Self {
        Self { bytes: Rc::from(bytes), from_host: usize::MAX, checksum: Checksum::Complete, is_damaged: false }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn dst(&self) -> Mac {
        self.mac(0)
    }

    pub(super) fn src(&self) -> Mac {
        self.mac(6)
    }

    fn mac(&self, at: usize) -> Mac {
        self.bytes.get(at..at + 6).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default()
    }

    /// Whether a wrong bit can be found: it carries a whole packet of IP, since nothing else has a checksum, and two wrong bits in fragments
    /// of one packet may hide each other.
    fn has_checksum(&self) -> bool {
        match self.bytes.get(12..22) {
            Some([0x08, 0x00, _, _, _, _, _, _, flags, fragment]) => (flags & 0x3f) | fragment == 0,
            Some([0x86, 0xdd, _, _, _, _, _, _, next, _]) => *next != 44,
            _ => false,
        }
    }

    /// What stands for its content in the trace.
    pub(super) fn head(&self) -> u64 {
        trace::content(&self.bytes[..self.bytes.len().min(HEAD_BYTES)])
    }

    /// A number for the flow that it belongs to, as network cards choose queues: the same for all packets of a flow in a direction.
    pub(super) fn flow(&self) -> u64 {
        let addresses = match self.bytes.get(12..24) {
            Some([0x08, 0x00, 0x45, _, _, _, _, _, flags, fragment, _, 6 | 17]) if (flags & 0x3f) | fragment == 0 => {
                26..38
            }
            Some([0x86, 0xdd, _, _, _, _, _, _, 6 | 17, ..]) => 22..58,
            _ => return 0,
        };
        self.bytes.get(addresses).map_or(0, trace::content)
    }

    /// The same with one bit wrong that a checksum covers; none if there is none, or one is wrong already: a second one may hide it.
    pub(super) fn damaged(&self, random: &mut Random) -> Option<Self> {
        let can_be = !self.is_damaged && self.has_checksum();
        let room = self.bytes.len().checked_sub(ETHERNET_BYTES).filter(|room| *room > 0 && can_be)?;
        let mut bytes = self.completed().to_vec();
        let bit = random.index(room * 8);
        bytes[ETHERNET_BYTES + bit / 8] ^= 1 << (bit % 8);
        let (bytes, from_host) = (Rc::from(bytes), self.from_host);
        Some(Self { bytes, from_host, checksum: Checksum::Complete, is_damaged: true })
    }

    /// The same with a part of the bytes of its segment; none if that has fewer than two, or does more than bring bytes.
    pub(super) fn part(&self, random: &mut Random) -> Option<Self> {
        let bytes = self.completed();
        let (ethernet, packet) = bytes.split_at_checked(ETHERNET_BYTES).filter(|_| !self.is_damaged)?;
        let (v4, v6) = (Ipv4Packet::parse(packet), Ipv6Packet::parse(packet));
        let (addresses, payload) = match ethernet[12..] {
            [0x08, 0x00] => {
                let packet = v4.as_ref().ok().filter(|packet| packet.protocol() == IpProtocol::TCP)?;
                (packet.addresses(), packet.payload())
            }
            [0x86, 0xdd] => {
                let packet = v6.as_ref().ok().filter(|packet| packet.next_header() == IpProtocol::TCP)?;
                (packet.addresses(), packet.payload())
            }
            _ => return None,
        };
        let segment = TcpSegment::parse(payload).ok()?;
        let header = segment.header();
        let brings_bytes = header.flags == TcpFlags::ACK || header.flags == TcpFlags::ACK | TcpFlags::PSH;
        let len = segment.payload().len();
        if !brings_bytes || len < 2 || !segment.has_valid_checksum(addresses) {
            return None;
        }
        let cut = 1 + random.index(len - 1);
        let range = if random.below(2) == 0 { 0..cut } else { cut..len };
        let header = TcpHeader { seq: header.seq + u32::try_from(range.start).ok()?, ..header };
        let part = &segment.payload()[range];
        let tcp_bytes = u32::try_from(header.header_len() + part.len()).ok()?;
        let sum = pseudo_header(addresses, IpProtocol::TCP, tcp_bytes) + Sum::of(part);
        let tcp = header.to_bytes(Fill::Complete(sum));
        let ip = match (v4, v6) {
            (Ok(packet), _) => packet.header().to_bytes(tcp.len() + part.len()).ok()?.to_vec(),
            (_, packet) => packet.ok()?.header().to_bytes(tcp.len() + part.len()).ok()?.to_vec(),
        };
        let made = [ethernet, &ip, &tcp, part].concat();
        Some(Self { from_host: self.from_host, ..Self::made(&made) })
    }

    /// The bytes with their checksum.
    pub(super) fn completed(&self) -> Rc<[u8]> {
        let Checksum::Partial { csum_start, csum_offset } = self.checksum else { return Rc::clone(&self.bytes) };
        let (start, at) = (csum_start as usize, csum_start as usize + usize::from(csum_offset));
        let mut bytes = self.bytes.to_vec();
        let sum = Sum::of(bytes.get(start..).unwrap_or_default());
        let checksum = if csum_offset == UDP_CSUM_OFFSET { sum.udp_checksum() } else { sum.checksum() };
        if let Some(field) = bytes.get_mut(at..at + 2) {
            field.copy_from_slice(&checksum.to_be_bytes());
        }
        Rc::from(bytes)
    }
}
