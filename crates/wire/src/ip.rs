//! What both versions of IP have.

/// What follows an IP header: the field *protocol* of IPv4, *next header* of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpProtocol(pub u8);

impl IpProtocol {
    /// ICMP for IPv4.
    pub const ICMP: Self = Self(1);
    /// IGMP.
    pub const IGMP: Self = Self(2);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// ICMP for IPv6.
    pub const ICMPV6: Self = Self(58);
    /// Hop-by-hop options of IPv6.
    pub const HOP_BY_HOP: Self = Self(0);
    /// The routing header of IPv6.
    pub const ROUTING: Self = Self(43);
    /// The fragment header of IPv6.
    pub const FRAGMENT: Self = Self(44);
    /// Nothing follows (RFC 8200 §4.7).
    pub const NO_NEXT_HEADER: Self = Self(59);
    /// Destination options of IPv6.
    pub const DESTINATION_OPTIONS: Self = Self(60);

    /// Whether it is an extension header of IPv6 that is understood here.
    pub const fn is_extension(self) -> bool {
        matches!(self, Self::HOP_BY_HOP | Self::ROUTING | Self::FRAGMENT | Self::DESTINATION_OPTIONS)
    }
}

/// How a packet is to be treated: *type of service* of IPv4, *traffic class* of IPv6 (RFC 2474, RFC 3168).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TrafficClass(pub u8);

impl TrafficClass {
    /// The differentiated services code point, 6 bits.
    pub const fn dscp(self) -> u8 {
        self.0 >> 2
    }

    /// The notice of congestion.
    pub const fn ecn(self) -> Ecn {
        match self.0 & 3 {
            0 => Ecn::NotEct,
            1 => Ecn::Ect1,
            2 => Ecn::Ect0,
            _ => Ecn::Ce,
        }
    }

    /// The same treatment with another notice of congestion.
    #[must_use]
    pub const fn with_ecn(self, ecn: Ecn) -> Self {
        Self((self.0 & !3) | ecn as u8)
    }
}

/// Explicit congestion notification (RFC 3168 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Ecn {
    /// The transport does not take part.
    NotEct = 0,
    /// It takes part, ECT(1).
    Ect1 = 1,
    /// It takes part, ECT(0).
    Ect0 = 2,
    /// Congestion was experienced.
    Ce = 3,
}
