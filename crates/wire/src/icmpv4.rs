//! ICMP for IPv4 (RFC 792).

use crate::addresses::FourTuple;
use crate::checksum::Sum;
use crate::error::Error;
use crate::ip::IpProtocol;
use crate::ipv4::Ipv4Packet;
use crate::seq::Seq;

const HEADER_BYTES: usize = 8;
const ECHO_REPLY: u8 = 0;
const DESTINATION_UNREACHABLE: u8 = 3;
const ECHO_REQUEST: u8 = 8;
const TIME_EXCEEDED: u8 = 11;
const PARAMETER_PROBLEM: u8 = 12;

/// A view of an ICMP message.
#[derive(Clone, Copy, Debug)]
pub struct Icmpv4Packet<'a> {
    header: &'a [u8; HEADER_BYTES],
    body: &'a [u8],
}

impl<'a> Icmpv4Packet<'a> {
    /// Looks at a message, or at the first piece of one.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let (header, body) = bytes.split_first_chunk().ok_or(Error::Truncated)?;
        Ok(Self { header, body })
    }

    /// The header as a value.
    pub const fn header(&self) -> Icmpv4Header {
        let [kind, code, _, _, a, b, c, d] = *self.header;
        let (first, second) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        match (kind, code) {
            (ECHO_REQUEST, 0) => Icmpv4Header::EchoRequest { identifier: first, sequence: second },
            (ECHO_REPLY, 0) => Icmpv4Header::EchoReply { identifier: first, sequence: second },
            (DESTINATION_UNREACHABLE, _) => {
                Icmpv4Header::DestinationUnreachable { code: UnreachableCode(code), next_hop_mtu: second }
            }
            (TIME_EXCEEDED, _) => Icmpv4Header::TimeExceeded { code: TimeExceededCode(code) },
            (PARAMETER_PROBLEM, _) => Icmpv4Header::ParameterProblem { code: ParameterProblemCode(code), pointer: a },
            _ => Icmpv4Header::Other { kind, code, rest: [a, b, c, d] },
        }
    }

    /// The checksum as it came.
    pub const fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    /// Whether the checksum of a message in one piece is right.
    pub fn has_valid_checksum(&self) -> bool {
        (Sum::of(self.header) + Sum::of(self.body)).is_valid()
    }

    /// What lies behind the header: the data of an echo, of an error the packet that it is about ([`Quoted`]).
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }
}

/// The header of an ICMP message, without its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Icmpv4Header {
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
    /// A packet could not be delivered.
    DestinationUnreachable {
        /// Why.
        code: UnreachableCode,
        /// With [`UnreachableCode::FRAGMENTATION_NEEDED`] the bytes that go through, or zero from routers that don't tell
        /// (RFC 1191 §4). With other codes it means nothing.
        next_hop_mtu: u16,
    },
    /// A packet was on its way for too long.
    TimeExceeded {
        /// Where.
        code: TimeExceededCode,
    },
    /// A header was not understood.
    ParameterProblem {
        /// In which way.
        code: ParameterProblemCode,
        /// The place of the byte, from the begin of the IP header, if the code says that it is meant.
        pointer: u8,
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

/// Why a packet was not delivered (RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnreachableCode(pub u8);

impl UnreachableCode {
    /// There is no way to the network.
    pub const NET: Self = Self(0);
    /// There is no way to the host.
    pub const HOST: Self = Self(1);
    /// The host does not speak the protocol.
    pub const PROTOCOL: Self = Self(2);
    /// Nobody listens at the port.
    pub const PORT: Self = Self(3);
    /// The packet is too large for a link and must not be cut.
    pub const FRAGMENTATION_NEEDED: Self = Self(4);
    /// A source route leads nowhere.
    pub const SOURCE_ROUTE_FAILED: Self = Self(5);
    /// A filter forbids it.
    pub const ADMINISTRATIVELY_PROHIBITED: Self = Self(13);
}

/// Where the time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeExceededCode(pub u8);

impl TimeExceededCode {
    /// On the way: the time to live.
    pub const TTL: Self = Self(0);
    /// At the destination: not all fragments came.
    pub const REASSEMBLY: Self = Self(1);
}

/// What was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParameterProblemCode(pub u8);

impl ParameterProblemCode {
    /// What the pointer points at.
    pub const POINTER: Self = Self(0);
    /// A required option is missing.
    pub const MISSING_OPTION: Self = Self(1);
    /// A length is wrong.
    pub const BAD_LENGTH: Self = Self(2);
}

impl Icmpv4Header {
    /// Bytes of a header.
    pub const LEN: usize = HEADER_BYTES;

    /// Whether the message is an error, about which no errors are sent (RFC 1122 §3.2.2). Unknown ones are none.
    pub const fn is_error(&self) -> bool {
        matches!(self, Self::DestinationUnreachable { .. } | Self::TimeExceeded { .. } | Self::ParameterProblem { .. })
    }

    /// The header to be put in front of a body with the sum given.
    pub fn to_bytes(&self, body: Sum) -> [u8; Self::LEN] {
        let (kind, code, [a, b, c, d]) = self.parts();
        let mut bytes = [kind, code, 0, 0, a, b, c, d];
        let checksum = (Sum::of(&bytes) + body).checksum();
        bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// Type, code, and the other half.
    const fn parts(&self) -> (u8, u8, [u8; 4]) {
        match *self {
            Self::EchoRequest { identifier, sequence } => (ECHO_REQUEST, 0, words(identifier, sequence)),
            Self::EchoReply { identifier, sequence } => (ECHO_REPLY, 0, words(identifier, sequence)),
            Self::DestinationUnreachable { code, next_hop_mtu } => {
                (DESTINATION_UNREACHABLE, code.0, words(0, next_hop_mtu))
            }
            Self::TimeExceeded { code } => (TIME_EXCEEDED, code.0, [0; 4]),
            Self::ParameterProblem { code, pointer } => (PARAMETER_PROBLEM, code.0, [pointer, 0, 0, 0]),
            Self::Other { kind, code, rest } => (kind, code, rest),
        }
    }
}

const fn words(first: u16, second: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (first.to_be_bytes(), second.to_be_bytes());
    [a, b, c, d]
}

/// A view of the packet that an ICMP error is about: its IP header and at least the 8 bytes behind it, as it was when it was
/// refused. Its sender is whom the error is sent to.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(Ipv4Packet<'a>);

impl<'a> Quoted<'a> {
    /// Looks at the body of an error. The packet's total length may be more than what is quoted.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Version`], [`Error::HeaderLength`], [`Error::TotalLength`].
    pub fn parse(body: &'a [u8]) -> Result<Self, Error> {
        Ipv4Packet::parse_head(body, usize::MAX).map(Self)
    }

    /// The packet; its payload is what was quoted of it.
    pub const fn packet(&self) -> Ipv4Packet<'a> {
        self.0
    }

    /// The flow that the packet belongs to, if it is the first fragment of a TCP segment or a UDP datagram, or all of one.
    pub fn four_tuple(&self) -> Option<FourTuple> {
        let (IpProtocol::TCP | IpProtocol::UDP, 0) = (self.0.protocol(), self.0.fragment().offset()) else {
            return None;
        };
        let ([src_0, src_1, dst_0, dst_1], _) = self.0.payload().split_first_chunk()?;
        Some(FourTuple {
            addresses: self.0.addresses(),
            src_port: u16::from_be_bytes([*src_0, *src_1]),
            dst_port: u16::from_be_bytes([*dst_0, *dst_1]),
        })
    }

    /// The sequence number of a TCP segment, by which forged errors are told (RFC 5927 §4.1).
    pub fn seq(&self) -> Option<Seq> {
        let (IpProtocol::TCP, 0) = (self.0.protocol(), self.0.fragment().offset()) else { return None };
        let (seq, _) = self.0.payload().get(4..)?.split_first_chunk()?;
        Some(Seq::new(u32::from_be_bytes(*seq)))
    }
}
