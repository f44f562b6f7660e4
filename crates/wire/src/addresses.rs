//! Who speaks to whom, in either version of IP.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Source and destination of a packet, two addresses of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressPair {
    /// Of an IPv4 packet.
    V4 {
        /// The source.
        src: Ipv4Addr,
        /// The destination.
        dst: Ipv4Addr,
    },
    /// Of an IPv6 packet.
    V6 {
        /// The source.
        src: Ipv6Addr,
        /// The destination.
        dst: Ipv6Addr,
    },
}

impl AddressPair {
    /// A pair of two addresses, or nothing if their versions differ.
    pub const fn new(src: IpAddr, dst: IpAddr) -> Option<Self> {
        match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => Some(Self::V4 { src, dst }),
            (IpAddr::V6(src), IpAddr::V6(dst)) => Some(Self::V6 { src, dst }),
            _ => None,
        }
    }

    /// The source.
    pub const fn src(self) -> IpAddr {
        match self {
            Self::V4 { src, .. } => IpAddr::V4(src),
            Self::V6 { src, .. } => IpAddr::V6(src),
        }
    }

    /// The destination.
    pub const fn dst(self) -> IpAddr {
        match self {
            Self::V4 { dst, .. } => IpAddr::V4(dst),
            Self::V6 { dst, .. } => IpAddr::V6(dst),
        }
    }

    /// The pair of what is sent the other way.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::V4 { src, dst } => Self::V4 { src: dst, dst: src },
            Self::V6 { src, dst } => Self::V6 { src: dst, dst: src },
        }
    }
}

/// A flow in one direction: the addresses and ports of its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FourTuple {
    /// Source and destination address.
    pub addresses: AddressPair,
    /// The source's port.
    pub src_port: u16,
    /// The destination's port.
    pub dst_port: u16,
}

impl FourTuple {
    /// Who sends.
    pub const fn src(self) -> SocketAddr {
        SocketAddr::new(self.addresses.src(), self.src_port)
    }

    /// Who is to receive.
    pub const fn dst(self) -> SocketAddr {
        SocketAddr::new(self.addresses.dst(), self.dst_port)
    }

    /// Whether this is the other flow the other way.
    #[inline]
    pub fn is_reverse_of(&self, other: &Self) -> bool {
        (self.src_port, self.dst_port) == (other.dst_port, other.src_port)
            && match (&self.addresses, &other.addresses) {
                (AddressPair::V4 { src, dst }, AddressPair::V4 { src: from, dst: to }) => src == to && dst == from,
                (AddressPair::V6 { src, dst }, AddressPair::V6 { src: from, dst: to }) => src == to && dst == from,
                _ => false,
            }
    }

    /// The flow the other way.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self { addresses: self.addresses.reversed(), src_port: self.dst_port, dst_port: self.src_port }
    }
}
