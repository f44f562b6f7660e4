//! UDP (RFC 768).

use crate::addresses::AddressPair;
use crate::checksum::{Fill, Sum, pseudo_header};
use crate::error::{Error, TooLong};
use crate::ip::IpProtocol;

const HEADER_BYTES: usize = 8;

/// A view of a UDP datagram. What lies behind its length is no part of it.
#[derive(Clone, Copy, Debug)]
pub struct UdpDatagram<'a> {
    header: &'a [u8; HEADER_BYTES],
    payload: &'a [u8],
}

impl<'a> UdpDatagram<'a> {
    /// Looks at a datagram that lies in one piece.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::TotalLength`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::parse_head(bytes, bytes.len())
    }

    /// Looks at the first piece of a datagram that the IP packet has `len` bytes for. It must have the whole header.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::TotalLength`].
    pub fn parse_head(head: &'a [u8], len: usize) -> Result<Self, Error> {
        let (header, rest) = head.split_first_chunk().ok_or(Error::Truncated)?;
        let datagram = Self { header, payload: rest };
        let length = usize::from(datagram.length());
        let payload_len = length.checked_sub(HEADER_BYTES).ok_or(Error::TotalLength)?;
        if length > len {
            return Err(Error::TotalLength);
        }
        Ok(Self { payload: rest.get(..payload_len).unwrap_or(rest), ..datagram })
    }

    /// The header as a value.
    pub const fn header(&self) -> UdpHeader {
        UdpHeader { src_port: self.src_port(), dst_port: self.dst_port() }
    }

    /// The source port; zero if no answer is expected.
    pub const fn src_port(&self) -> u16 {
        self.word(0)
    }

    /// The destination port.
    pub const fn dst_port(&self) -> u16 {
        self.word(2)
    }

    /// Bytes of header and payload.
    pub const fn length(&self) -> u16 {
        self.word(4)
    }

    /// The checksum as it came, or nothing if the sender made none.
    pub const fn checksum(&self) -> Option<u16> {
        match self.word(6) {
            0 => None,
            checksum => Some(checksum),
        }
    }

    /// Whether the checksum of a datagram in one piece is right. Over IPv4 there may be none; over IPv6 there must
    /// (RFC 8200 §8.1).
    pub fn has_valid_checksum(&self, addresses: AddressPair) -> bool {
        if self.checksum().is_none() {
            return matches!(addresses, AddressPair::V4 { .. });
        }
        let pseudo_header = pseudo_header(addresses, IpProtocol::UDP, self.length().into());
        (pseudo_header + Sum::of(self.header) + Sum::of(self.payload)).is_valid()
    }

    /// The payload, or as much of it as lies in the first piece.
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Bytes of the payload, wherever they lie.
    pub const fn payload_len(&self) -> usize {
        // `parse_head` has seen that it is no less.
        (self.length() as usize).saturating_sub(HEADER_BYTES)
    }

    const fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.header[at], self.header[at + 1]])
    }
}

/// The header of a UDP datagram, without length and checksum, which follow from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpHeader {
    /// The source port; zero if no answer is expected.
    pub src_port: u16,
    /// The destination port.
    pub dst_port: u16,
}

impl UdpHeader {
    /// Bytes of a header.
    pub const LEN: usize = HEADER_BYTES;

    /// The header to be put in front of `payload_len` bytes.
    ///
    /// # Errors
    /// When both together are longer than 65,535 bytes.
    pub fn to_bytes(&self, payload_len: usize, fill: Fill) -> Result<[u8; Self::LEN], TooLong> {
        let length = payload_len.checked_add(Self::LEN).and_then(|len| u16::try_from(len).ok()).ok_or(TooLong)?;
        let mut bytes = [0; Self::LEN];
        bytes[..2].copy_from_slice(&self.src_port.to_be_bytes());
        bytes[2..4].copy_from_slice(&self.dst_port.to_be_bytes());
        bytes[4..6].copy_from_slice(&length.to_be_bytes());
        let field = match fill {
            Fill::Complete(rest) => (rest + Sum::of(&bytes)).udp_checksum(),
            Fill::Partial(_) => fill.field(&bytes),
        };
        bytes[6..].copy_from_slice(&field.to_be_bytes());
        Ok(bytes)
    }
}
