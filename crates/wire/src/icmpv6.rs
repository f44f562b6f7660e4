//! ICMP for IPv6 (RFC 4443).

use crate::addresses::{AddressPair, FourTuple};
use crate::checksum::{Sum, pseudo_header};
use crate::error::Error;
use crate::ip::IpProtocol;
use crate::ipv6::{Ipv6Extension, Ipv6Extensions, Ipv6Fragment, Ipv6Header, Ipv6Packet};
use crate::seq::Seq;

const HEADER_BYTES: usize = 8;
const DESTINATION_UNREACHABLE: u8 = 1;
const PACKET_TOO_BIG: u8 = 2;
const TIME_EXCEEDED: u8 = 3;
const PARAMETER_PROBLEM: u8 = 4;
const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;

/// A view of an ICMPv6 message.
#[derive(Clone, Copy, Debug)]
pub struct Icmpv6Packet<'a> {
    header: &'a [u8; HEADER_BYTES],
    body: &'a [u8],
}

impl<'a> Icmpv6Packet<'a> {
    /// Looks at a message, or at the first piece of one.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let (header, body) = bytes.split_first_chunk().ok_or(Error::Truncated)?;
        Ok(Self { header, body })
    }

    /// The header as a value.
    pub const fn header(&self) -> Icmpv6Header {
        let [kind, code, _, _, a, b, c, d] = *self.header;
        let (first, second) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let whole = u32::from_be_bytes([a, b, c, d]);
        match (kind, code) {
            (ECHO_REQUEST, 0) => Icmpv6Header::EchoRequest { identifier: first, sequence: second },
            (ECHO_REPLY, 0) => Icmpv6Header::EchoReply { identifier: first, sequence: second },
            (DESTINATION_UNREACHABLE, _) => Icmpv6Header::DestinationUnreachable { code: Icmpv6Unreachable(code) },
            // Whatever the code (§3.2).
            (PACKET_TOO_BIG, _) => Icmpv6Header::PacketTooBig { mtu: whole },
            (TIME_EXCEEDED, _) => Icmpv6Header::TimeExceeded { is_reassembly: code == 1 },
            (PARAMETER_PROBLEM, _) => {
                Icmpv6Header::ParameterProblem { code: Icmpv6ParameterProblem(code), pointer: whole }
            }
            _ => Icmpv6Header::Other { kind, code, rest: [a, b, c, d] },
        }
    }

    /// The type.
    pub const fn kind(&self) -> u8 {
        self.header[0]
    }

    /// The code.
    pub const fn code(&self) -> u8 {
        self.header[1]
    }

    /// The other half of the header, behind the checksum.
    pub const fn rest(&self) -> [u8; 4] {
        let [.., a, b, c, d] = *self.header;
        [a, b, c, d]
    }

    /// Whether the checksum of a message in one piece is right.
    pub fn has_valid_checksum(&self, addresses: AddressPair) -> bool {
        let Ok(len) = u32::try_from(HEADER_BYTES + self.body.len()) else { return false };
        (pseudo_header(addresses, IpProtocol::ICMPV6, len) + Sum::of(self.header) + Sum::of(self.body)).is_valid()
    }

    /// What lies behind the header: the data of an echo, of an error the packet that it is about ([`QuotedV6`]).
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }
}

/// The header of an ICMPv6 message, without its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Icmpv6Header {
    /// A packet could not be delivered.
    DestinationUnreachable {
        /// Why.
        code: Icmpv6Unreachable,
    },
    /// A packet was larger than a link takes.
    PacketTooBig {
        /// Bytes that the link takes.
        mtu: u32,
    },
    /// A packet was on its way for too long.
    TimeExceeded {
        /// Whether at the destination: not all fragments came. Otherwise the hop limit was reached.
        is_reassembly: bool,
    },
    /// A header was not understood.
    ParameterProblem {
        /// In which way.
        code: Icmpv6ParameterProblem,
        /// The place of the byte, from the begin of the fixed header.
        pointer: u32,
    },
    /// Asks for an echo of the body.
    EchoRequest {
        /// Whose echo it is.
        identifier: u16,
        /// Which one it is.
        sequence: u16,
    },
    /// Gives it back.
    EchoReply {
        /// As in the request.
        identifier: u16,
        /// As in the request.
        sequence: u16,
    },
    /// Something else.
    Other {
        /// The type.
        kind: u8,
        /// The code.
        code: u8,
        /// The other half of the header.
        rest: [u8; 4],
    },
}

/// Why a packet was not delivered (RFC 4443 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmpv6Unreachable(pub u8);

impl Icmpv6Unreachable {
    /// There is no way to the destination.
    pub const NO_ROUTE: Self = Self(0);
    /// A filter forbids it.
    pub const PROHIBITED: Self = Self(1);
    /// The destination lies beyond where the source address means something.
    pub const BEYOND_SCOPE: Self = Self(2);
    /// The address can't be reached.
    pub const ADDRESS: Self = Self(3);
    /// Nobody listens at the port.
    pub const PORT: Self = Self(4);
}

/// What was not understood (RFC 4443 §3.4, RFC 7112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmpv6ParameterProblem(pub u8);

impl Icmpv6ParameterProblem {
    /// A field that the pointer points at.
    pub const FIELD: Self = Self(0);
    /// The kind of a header.
    pub const NEXT_HEADER: Self = Self(1);
    /// An option.
    pub const OPTION: Self = Self(2);
    /// A first fragment has not all headers.
    pub const INCOMPLETE_CHAIN: Self = Self(3);
}

impl Icmpv6Header {
    /// Bytes of a header.
    pub const LEN: usize = HEADER_BYTES;

    /// Whether the message is an error, about which no errors are sent (RFC 4443 §2.1, §2.4 e.1).
    pub const fn is_error(&self) -> bool {
        self.parts().0 < ECHO_REQUEST
    }

    /// The header to be put in front of a body; `rest` is the sum of the pseudo-header and the body.
    pub fn to_bytes(&self, rest: Sum) -> [u8; Self::LEN] {
        let (kind, code, [a, b, c, d]) = self.parts();
        let mut bytes = [kind, code, 0, 0, a, b, c, d];
        let checksum = (Sum::of(&bytes) + rest).checksum();
        bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// Type, code, and the other half.
    const fn parts(&self) -> (u8, u8, [u8; 4]) {
        match *self {
            Self::DestinationUnreachable { code } => (DESTINATION_UNREACHABLE, code.0, [0; 4]),
            Self::PacketTooBig { mtu } => (PACKET_TOO_BIG, 0, mtu.to_be_bytes()),
            Self::TimeExceeded { is_reassembly } => (TIME_EXCEEDED, is_reassembly as u8, [0; 4]),
            Self::ParameterProblem { code, pointer } => (PARAMETER_PROBLEM, code.0, pointer.to_be_bytes()),
            Self::EchoRequest { identifier, sequence } => (ECHO_REQUEST, 0, words(identifier, sequence)),
            Self::EchoReply { identifier, sequence } => (ECHO_REPLY, 0, words(identifier, sequence)),
            Self::Other { kind, code, rest } => (kind, code, rest),
        }
    }
}

const fn words(first: u16, second: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (first.to_be_bytes(), second.to_be_bytes());
    [a, b, c, d]
}

/// A view of the packet that an ICMPv6 error is about: as much of it as was quoted.
#[derive(Clone, Copy, Debug)]
pub struct QuotedV6<'a> {
    packet: Ipv6Packet<'a>,
    protocol: IpProtocol,
    /// What it carries, as far as it was quoted; nothing if it is a later fragment.
    carried: &'a [u8],
}

impl<'a> QuotedV6<'a> {
    /// Looks at the body of an error. The packet's length may be more than what is quoted.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Version`], and those of [extension headers](Ipv6Packet::extensions).
    pub fn parse(body: &'a [u8]) -> Result<Self, Error> {
        let packet = Ipv6Packet::parse_head(body, usize::MAX)?;
        let mut extensions = packet.extensions();
        let mut is_later = false;
        while let Some(extension) = extensions.next() {
            if let Ipv6Extension::Fragment(Ipv6Fragment { fragment, next_header, .. }) = extension?
                && !fragment.is_whole()
            {
                is_later = fragment.offset() != 0;
                if is_later {
                    break;
                }
                extensions = Ipv6Extensions::behind_fragment(next_header, extensions.rest());
            }
        }
        let carried = if is_later { &[] } else { extensions.rest() };
        Ok(Self { packet, protocol: extensions.protocol(), carried })
    }

    /// The packet; its payload is what was quoted of it.
    pub const fn packet(&self) -> Ipv6Packet<'a> {
        self.packet
    }

    /// What it carries.
    pub const fn protocol(&self) -> IpProtocol {
        self.protocol
    }

    /// Bytes of the packet that was sent.
    pub const fn total_len(&self) -> usize {
        Ipv6Header::LEN + self.packet.payload_len()
    }

    /// The flow that the packet belongs to, if it is the first fragment of a TCP segment or a UDP datagram, or all of one.
    pub fn four_tuple(&self) -> Option<FourTuple> {
        let (IpProtocol::TCP | IpProtocol::UDP) = self.protocol else { return None };
        let ([src_0, src_1, dst_0, dst_1], _) = self.carried.split_first_chunk()?;
        Some(FourTuple {
            addresses: self.packet.addresses(),
            src_port: u16::from_be_bytes([*src_0, *src_1]),
            dst_port: u16::from_be_bytes([*dst_0, *dst_1]),
        })
    }

    /// The sequence number of a TCP segment, by which forged errors are told (RFC 5927 §4.1).
    pub fn seq(&self) -> Option<Seq> {
        let IpProtocol::TCP = self.protocol else { return None };
        let (seq, _) = self.carried.get(4..)?.split_first_chunk()?;
        Some(Seq::new(u32::from_be_bytes(*seq)))
    }
}
