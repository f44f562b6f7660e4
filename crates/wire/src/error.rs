//! Which rule received bytes break.

use core::fmt;

/// The rule that received bytes break. They are to be dropped; the variant is the reason to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Error {
    /// There are fewer bytes than the fixed part of the header has.
    Truncated,
    /// The field that says what follows is a length: an IEEE 802.3 frame, not Ethernet II (RFC 894, RFC 1042).
    NotEthernet2,
    /// There are more than two VLAN tags.
    TooManyTags,
    /// The version is another one (RFC 791 §3.1, RFC 8200 §3).
    Version,
    /// The header length is less than the fixed part, or more than there is: IHL (RFC 791 §3.1), data offset
    /// (RFC 9293 §3.1).
    HeaderLength,
    /// The total length is less than the header, or more than there is: IPv4 (RFC 791 §3.1), IPv6 (RFC 8200 §3),
    /// UDP (RFC 768).
    TotalLength,
    /// ARP that is not about IPv4 over Ethernet (RFC 826).
    ArpAddresses,
    /// ARP that neither asks nor answers (RFC 826).
    ArpOperation,
    /// Hop-by-hop options that do not follow the fixed header (RFC 8200 §4.1).
    ExtensionOrder,
    /// More extension headers than any use has.
    TooManyExtensions,
    /// A message of another kind, or with a code that the kind does not have.
    MessageKind,
    /// An option of neighbour discovery without length, or beyond the message (RFC 4861 §4.6).
    NdpOption,
    /// DHCP that is not about Ethernet, or is neither question nor answer, or BOOTP, which has no options (RFC 2131 §2, §3).
    Dhcpv4,
    /// DHCPv6 of no kind that clients know (RFC 8415 §7.3).
    Dhcpv6,
}

impl Error {
    const fn text(self) -> &'static str {
        match self {
            Self::Truncated => "there are fewer bytes than the header has",
            Self::NotEthernet2 => "the frame is not of Ethernet II",
            Self::TooManyTags => "the frame has more than two VLAN tags",
            Self::Version => "the IP version is another one",
            Self::HeaderLength => "the header length is below its minimum or beyond the bytes",
            Self::TotalLength => "the total length is less than the header or beyond the bytes",
            Self::ArpAddresses => "the ARP message is not about IPv4 over Ethernet",
            Self::ArpOperation => "the ARP message is neither a request nor a reply",
            Self::ExtensionOrder => "hop-by-hop options do not follow the fixed header",
            Self::TooManyExtensions => "there are more extension headers than any use has",
            Self::MessageKind => "the message is of another kind",
            Self::NdpOption => "an option of neighbour discovery has no length that can be",
            Self::Dhcpv6 => "the DHCPv6 message is of no kind that clients know",
            Self::Dhcpv4 => "the DHCP message is not about Ethernet, or is BOOTP",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl core::error::Error for Error {}

/// What is to be sent is longer than its length field can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the packet is longer than its length field can say")
    }
}

impl core::error::Error for TooLong {}
