//! IPv6 (RFC 8200): the fixed header, and what may follow it.

mod extensions;

use core::net::Ipv6Addr;

use crate::addresses::AddressPair;
use crate::error::{Error, TooLong};
use crate::ip::{IpProtocol, TrafficClass};
use crate::ipv4::Fragment;

pub use extensions::{
    Ipv6Extension, Ipv6Extensions, Ipv6Fragment, Ipv6Option, Ipv6OptionIter, UnknownOption, ipv6_router_alert,
};

const HEADER_BYTES: usize = 40;
/// Where the fixed header names what follows.
const NEXT_HEADER_AT: usize = 6;

/// A view of an IPv6 packet. What lies behind the payload length, as padding of short frames does, is no part of it.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6Packet<'a> {
    header: &'a [u8; HEADER_BYTES],
    payload: &'a [u8],
}

impl<'a> Ipv6Packet<'a> {
    /// Looks at a packet that lies in one piece. Jumbograms (RFC 2675) are taken for packets without payload.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Version`], [`Error::TotalLength`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::parse_head(bytes, bytes.len())
    }

    /// Looks at the first piece of a packet of `len` bytes in all. It must have the whole header.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Version`], [`Error::TotalLength`].
    pub fn parse_head(head: &'a [u8], len: usize) -> Result<Self, Error> {
        let (header, rest) = head.split_first_chunk::<HEADER_BYTES>().ok_or(Error::Truncated)?;
        if header[0] >> 4 != 6 {
            return Err(Error::Version);
        }
        let packet = Self { header, payload: rest };
        let payload_len = packet.payload_len();
        if HEADER_BYTES + payload_len > len {
            return Err(Error::TotalLength);
        }
        Ok(Self { payload: rest.get(..payload_len).unwrap_or(rest), ..packet })
    }

    /// The header as a value.
    pub const fn header(&self) -> Ipv6Header {
        Ipv6Header {
            traffic_class: self.traffic_class(),
            flow_label: self.flow_label(),
            next_header: self.next_header(),
            hop_limit: self.hop_limit(),
            src: self.src(),
            dst: self.dst(),
        }
    }

    /// How the packet is to be treated.
    pub const fn traffic_class(&self) -> TrafficClass {
        TrafficClass((self.header[0] << 4) | (self.header[1] >> 4))
    }

    /// What packets of one flow have in common.
    pub const fn flow_label(&self) -> FlowLabel {
        FlowLabel::new(u32::from_be_bytes([0, self.header[1], self.header[2], self.header[3]]))
    }

    /// What follows the header: an extension header, or what the packet carries.
    pub const fn next_header(&self) -> IpProtocol {
        IpProtocol(self.header[6])
    }

    /// How many routers may still forward it.
    pub const fn hop_limit(&self) -> u8 {
        self.header[7]
    }

    /// The source address.
    pub const fn src(&self) -> Ipv6Addr {
        let [_, _, _, _, _, _, _, _, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = *self.header;
        Ipv6Addr::from_octets([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }

    /// The destination address.
    pub const fn dst(&self) -> Ipv6Addr {
        let [.., a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *self.header;
        Ipv6Addr::from_octets([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }

    /// Both addresses.
    pub const fn addresses(&self) -> AddressPair {
        AddressPair::V6 { src: self.src(), dst: self.dst() }
    }

    /// The extension headers, as far as they lie in the first piece.
    pub const fn extensions(&self) -> Ipv6Extensions<'a> {
        Ipv6Extensions::behind_fixed(self.next_header(), self.payload)
    }

    /// What follows the header, or as much of it as lies in the first piece.
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Bytes of the payload, wherever they lie.
    pub const fn payload_len(&self) -> usize {
        u16::from_be_bytes([self.header[4], self.header[5]]) as usize
    }
}

/// What packets of one flow have in common, 20 bits (RFC 6437).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowLabel(u32);

impl FlowLabel {
    /// No flow.
    pub const NONE: Self = Self(0);

    /// A label from the lower 20 bits.
    pub const fn new(value: u32) -> Self {
        Self(value & 0xf_ffff)
    }

    /// The label, below 2²⁰.
    pub const fn value(self) -> u32 {
        self.0
    }
}

/// The fixed header of an IPv6 packet, without the payload length, which follows from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Header {
    /// How the packet is to be treated.
    pub traffic_class: TrafficClass,
    /// What packets of one flow have in common.
    pub flow_label: FlowLabel,
    /// What follows the header.
    pub next_header: IpProtocol,
    /// How many routers may forward it.
    pub hop_limit: u8,
    /// The source address.
    pub src: Ipv6Addr,
    /// The destination address.
    pub dst: Ipv6Addr,
}

impl Ipv6Header {
    /// Bytes of a header.
    pub const LEN: usize = HEADER_BYTES;

    /// A header with a hop limit of 64 and nothing special.
    pub const fn new(next_header: IpProtocol, src: Ipv6Addr, dst: Ipv6Addr) -> Self {
        Self { traffic_class: TrafficClass(0), flow_label: FlowLabel::NONE, next_header, hop_limit: 64, src, dst }
    }

    /// The header to be put in front of `payload_len` bytes, extension headers included.
    ///
    /// # Errors
    /// When these are more than 65,535.
    pub fn to_bytes(&self, payload_len: usize) -> Result<[u8; Self::LEN], TooLong> {
        let payload_len = u16::try_from(payload_len).map_err(|_| TooLong)?;
        let version_class_label = (6 << 28) | (u32::from(self.traffic_class.0) << 20) | self.flow_label.0;
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&version_class_label.to_be_bytes());
        bytes[4..6].copy_from_slice(&payload_len.to_be_bytes());
        bytes[6] = self.next_header.0;
        bytes[7] = self.hop_limit;
        bytes[8..24].copy_from_slice(&self.src.octets());
        bytes[24..].copy_from_slice(&self.dst.octets());
        Ok(bytes)
    }
}
