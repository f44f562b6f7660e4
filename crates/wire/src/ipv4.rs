//! IPv4 (RFC 791).

use core::net::Ipv4Addr;

use crate::addresses::AddressPair;
use crate::checksum::Sum;
use crate::error::{Error, TooLong};
use crate::header_bytes::HeaderBytes;
use crate::ip::{IpProtocol, TrafficClass};
use crate::options::OptionIter;

/// Bytes of a header without options.
const HEADER_BYTES: usize = 20;
/// Bytes of options at most: the header length has four bits and counts four bytes each.
const OPTIONS_BYTES: usize = 40;
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// A view of an IPv4 packet. What lies behind the total length, as padding of short frames does, is no part of it.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4Packet<'a> {
    header: &'a [u8; HEADER_BYTES],
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Ipv4Packet<'a> {
    /// Looks at a packet that lies in one piece.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Version`], [`Error::HeaderLength`], [`Error::TotalLength`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::parse_head(bytes, bytes.len())
    }

    /// Looks at the first piece of a packet of `len` bytes in all. It must have the whole header.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Version`], [`Error::HeaderLength`], [`Error::TotalLength`].
    #[inline]
    pub fn parse_head(head: &'a [u8], len: usize) -> Result<Self, Error> {
        let (header, rest) = head.split_first_chunk::<HEADER_BYTES>().ok_or(Error::Truncated)?;
        if header[0] >> 4 != 4 {
            return Err(Error::Version);
        }
        let header_len = usize::from(header[0] & 0xf) * 4;
        let options_len = header_len.checked_sub(HEADER_BYTES).ok_or(Error::HeaderLength)?;
        let (options, rest) = rest.split_at_checked(options_len).ok_or(Error::HeaderLength)?;
        let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let payload_len = total_len.checked_sub(header_len).ok_or(Error::TotalLength)?;
        if total_len > len {
            return Err(Error::TotalLength);
        }
        let payload = if planted::is("padding_kept") { rest } else { rest.get(..payload_len).unwrap_or(rest) };
        Ok(Self { header, options, payload })
    }

    /// The header as a value.
    pub fn header(&self) -> Ipv4Header {
        Ipv4Header {
            traffic_class: self.traffic_class(),
            identification: self.identification(),
            dont_fragment: self.dont_fragment(),
            fragment: self.fragment(),
            ttl: self.ttl(),
            protocol: self.protocol(),
            src: self.src(),
            dst: self.dst(),
            options: Ipv4Options::of(self.options),
        }
    }

    /// Bytes of the header with its options.
    pub const fn header_len(&self) -> usize {
        HEADER_BYTES + self.options.len()
    }

    /// Bytes of header and payload.
    pub const fn total_len(&self) -> u16 {
        self.word(2)
    }

    /// How the packet is to be treated.
    pub const fn traffic_class(&self) -> TrafficClass {
        TrafficClass(self.header[1])
    }

    /// What the fragments of one packet have in common.
    pub const fn identification(&self) -> u16 {
        self.word(4)
    }

    /// Whether routers must not cut the packet.
    pub const fn dont_fragment(&self) -> bool {
        self.word(6) & DONT_FRAGMENT != 0
    }

    /// Which part of a larger packet this is.
    pub const fn fragment(&self) -> Fragment {
        Fragment(self.word(6) & (OFFSET | MORE_FRAGMENTS))
    }

    /// How many routers may still forward it.
    pub const fn ttl(&self) -> u8 {
        self.header[8]
    }

    /// What it carries.
    pub const fn protocol(&self) -> IpProtocol {
        IpProtocol(self.header[9])
    }

    /// The header checksum as it came.
    pub const fn checksum(&self) -> u16 {
        self.word(10)
    }

    /// Whether the header checksum is right.
    #[inline]
    pub fn has_valid_checksum(&self) -> bool {
        let fixed = Sum::of(self.header);
        // Hardly any packet has options.
        let sum = if self.options.is_empty() { fixed } else { fixed + Sum::of(self.options) };
        sum.is_valid()
    }

    /// The source address.
    pub const fn src(&self) -> Ipv4Addr {
        let [.., a, b, c, d, _, _, _, _] = *self.header;
        Ipv4Addr::new(a, b, c, d)
    }

    /// The destination address.
    pub const fn dst(&self) -> Ipv4Addr {
        let [.., a, b, c, d] = *self.header;
        Ipv4Addr::new(a, b, c, d)
    }

    /// Both addresses.
    pub const fn addresses(&self) -> AddressPair {
        AddressPair::V4 { src: self.src(), dst: self.dst() }
    }

    /// The options, if any. The place of a malformed one and 20 make the pointer of a parameter problem.
    pub const fn options(&self) -> OptionIter<'a> {
        OptionIter::new(self.options)
    }

    /// The payload, or as much of it as lies in the first piece.
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Bytes of the payload, wherever they lie.
    pub const fn payload_len(&self) -> usize {
        // `parse_head` has seen that it is no less.
        (self.total_len() as usize).saturating_sub(self.header_len())
    }

    const fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.header[at], self.header[at + 1]])
    }
}

/// Which part of a larger packet a packet is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fragment(u16);

impl Fragment {
    /// No part, but a whole packet.
    pub const WHOLE: Self = Self(0);

    /// A part at `offset` bytes, which must be a multiple of 8, with or without more behind it.
    pub const fn new(offset: u16, has_more: bool) -> Option<Self> {
        match offset % 8 {
            0 if has_more => Some(Self((offset / 8) | MORE_FRAGMENTS)),
            0 => Some(Self(offset / 8)),
            _ => None,
        }
    }

    /// How many bytes of the larger packet's payload come before.
    pub const fn offset(self) -> u16 {
        (self.0 & OFFSET) * 8
    }

    /// Whether there are parts behind it.
    pub const fn has_more(self) -> bool {
        self.0 & MORE_FRAGMENTS != 0
    }

    /// Whether this is a whole packet.
    pub const fn is_whole(self) -> bool {
        self.0 == 0
    }
}

/// The header of an IPv4 packet, without the lengths and the checksum, which follow from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Header {
    /// How the packet is to be treated.
    pub traffic_class: TrafficClass,
    /// What the fragments of one packet have in common; it means nothing for what can't be cut (RFC 6864).
    pub identification: u16,
    /// Whether routers must not cut the packet.
    pub dont_fragment: bool,
    /// Which part of a larger packet this is.
    pub fragment: Fragment,
    /// How many routers may forward it.
    pub ttl: u8,
    /// What it carries.
    pub protocol: IpProtocol,
    /// The source address.
    pub src: Ipv4Addr,
    /// The destination address.
    pub dst: Ipv4Addr,
    /// Its options.
    pub options: Ipv4Options,
}

impl Ipv4Header {
    /// A header of a whole packet that must not be cut, with a time to live of 64 (RFC 1700), and nothing special.
    pub const fn new(protocol: IpProtocol, src: Ipv4Addr, dst: Ipv4Addr) -> Self {
        Self {
            traffic_class: TrafficClass(0),
            identification: 0,
            dont_fragment: true,
            fragment: Fragment::WHOLE,
            ttl: 64,
            protocol,
            src,
            dst,
            options: Ipv4Options::NONE,
        }
    }

    /// Bytes of the header with its options.
    pub fn header_len(&self) -> usize {
        HEADER_BYTES + self.options.0.len()
    }

    /// The header to be put in front of `payload_len` bytes.
    ///
    /// # Errors
    /// When both together are longer than 65,535 bytes.
    pub fn to_bytes(&self, payload_len: usize) -> Result<HeaderBytes<60>, TooLong> {
        let header_len = self.header_len();
        let total_len = header_len.checked_add(payload_len).and_then(|len| u16::try_from(len).ok()).ok_or(TooLong)?;
        let mut fixed = [0; HEADER_BYTES];
        fixed[0] = 0x40 | u8::try_from(header_len / 4).map_err(|_| TooLong)?;
        fixed[1] = self.traffic_class.0;
        fixed[2..4].copy_from_slice(&total_len.to_be_bytes());
        fixed[4..6].copy_from_slice(&self.identification.to_be_bytes());
        let flags = if self.dont_fragment { DONT_FRAGMENT } else { 0 };
        fixed[6..8].copy_from_slice(&(self.fragment.0 | flags).to_be_bytes());
        fixed[8] = self.ttl;
        fixed[9] = self.protocol.0;
        fixed[12..16].copy_from_slice(&self.src.octets());
        fixed[16..20].copy_from_slice(&self.dst.octets());
        let checksum = (Sum::of(&fixed) + Sum::of(&self.options.0)).checksum();
        fixed[10..12].copy_from_slice(&checksum.to_be_bytes());
        let mut bytes = HeaderBytes::EMPTY;
        bytes.extend(&fixed);
        bytes.extend(&self.options.0);
        Ok(bytes)
    }
}

/// The headers of packets that differ in their lengths only.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4Template {
    /// Without length and checksum.
    bytes: [u8; HEADER_BYTES],
    sum: Sum,
}

impl Ipv4Template {
    /// Bytes of the header.
    pub const LEN: usize = HEADER_BYTES;

    /// Packets with this header, or nothing if it has options.
    pub fn new(header: &Ipv4Header) -> Option<Self> {
        let whole = header.to_bytes(0).ok()?;
        let mut bytes = *whole.as_array()?;
        bytes[2..4].fill(0);
        bytes[10..12].fill(0);
        Some(Self { bytes, sum: Sum::of(&bytes) })
    }

    /// The header to be put in front of `payload_len` bytes.
    ///
    /// # Errors
    /// When both together are longer than 65,535 bytes.
    #[inline]
    pub fn to_bytes(&self, payload_len: usize) -> Result<[u8; HEADER_BYTES], TooLong> {
        let total_len = payload_len.checked_add(HEADER_BYTES).and_then(|len| u16::try_from(len).ok()).ok_or(TooLong)?;
        let mut bytes = self.bytes;
        [bytes[2], bytes[3]] = total_len.to_be_bytes();
        [bytes[10], bytes[11]] = (self.sum + Sum::of_word(total_len)).checksum().to_be_bytes();
        Ok(bytes)
    }
}

/// Up to 40 bytes of options. They are not checked: [`Ipv4Options::iter`] says which are malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Options(HeaderBytes<OPTIONS_BYTES>);

impl Ipv4Options {
    /// No options.
    pub const NONE: Self = Self(HeaderBytes::EMPTY);

    /// Asks every router to look at the packet (RFC 2113), as IGMP wants it.
    pub const ROUTER_ALERT: Self = {
        let mut bytes = [0; OPTIONS_BYTES];
        [bytes[0], bytes[1]] = [0x94, 4];
        Self(HeaderBytes::new(bytes, 4))
    };

    /// Options from their bytes, filled up to a multiple of four.
    ///
    /// # Errors
    /// When there are more than 40.
    pub fn new(options: &[u8]) -> Result<Self, TooLong> {
        if options.len() > OPTIONS_BYTES { Err(TooLong) } else { Ok(Self::of(options)) }
    }

    /// From at most 40 bytes.
    fn of(options: &[u8]) -> Self {
        let mut bytes = [0; OPTIONS_BYTES];
        bytes[..options.len()].copy_from_slice(options);
        Self(HeaderBytes::new(bytes, options.len().next_multiple_of(4)))
    }

    /// Goes through the options.
    pub fn iter(&self) -> OptionIter<'_> {
        OptionIter::new(&self.0)
    }
}
