//! Why packets were dropped.

/// Why a packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DropReason {
    /// No such interface, or one that nothing comes in by.
    Interface,
    /// An Ethernet header that is cut off, or no Ethernet II.
    EthernetMalformed,
    /// A frame with a VLAN tag; none is configured.
    Vlan,
    /// A frame for another station.
    OtherStation,
    /// A frame of neither IP nor ARP.
    EtherType,
    /// Malformed ARP.
    ArpMalformed,
    /// ARP about addresses that no station has: of groups, unspecified, or our own Ethernet address.
    ArpImplausible,
    /// An IP packet without version 4 or 6.
    IpVersion,
    /// A malformed IPv6 header.
    Ipv6Malformed,
    /// IPv6 on a link that takes fewer than 1280 bytes (RFC 8200 §5).
    Ipv6Unspoken,
    /// Extension headers of IPv6 that can't be read, stand where they must not, prescribe the way, or have options that are not known and
    /// forbid it.
    Ipv6Extension,
    /// A first fragment without all of its packet's headers (RFC 7112 §5).
    Ipv6IncompleteChain,
    /// A malformed message of neighbour discovery.
    NdpMalformed,
    /// A message of neighbour discovery that no neighbour sends: forwarded, or from or to addresses that it can't have (RFC 4861 §6.1,
    /// §7.1, §8.1).
    NdpImplausible,
    /// A message of neighbour discovery with a fragment header (RFC 6980 §5).
    NdpFragmented,
    /// A question about multicast groups that is malformed or that no router of the link has sent (RFC 3376 §9.1, RFC 3810 §10.1).
    GroupQuery,
    /// A malformed IPv4 header.
    Ipv4Malformed,
    /// A wrong IPv4 header checksum.
    Ipv4Checksum,
    /// IPv4 options that can't be read, or that prescribe the way (RFC 7126 §4.3, §4.4).
    Ipv4Options,
    /// A source address that nobody can have, or our own from outside (RFC 1122 §3.2.1.3).
    Source,
    /// A packet for another host; nothing is forwarded.
    OtherHost,
    /// A packet for a loopback address from outside (RFC 1122 §3.2.1.3).
    LoopbackOutside,
    /// A packet filter said so.
    Filtered,
    /// A protocol that is not spoken.
    Protocol,
    /// A malformed fragment: without bytes, no multiple of eight, beyond the largest packet, or after the last one.
    FragmentMalformed,
    /// Fragments that overlap: all of their packet is dropped (RFC 5722 §4).
    FragmentOverlap,
    /// A fragment that was there already.
    FragmentDuplicate,
    /// Fragments of a packet of which not all came in time (RFC 791 §3.2).
    FragmentTimeout,
    /// Fragments for which there was no memory, the oldest first.
    FragmentMemory,
    /// A malformed TCP header.
    TcpMalformed,
    /// A wrong TCP checksum.
    TcpChecksum,
    /// TCP to all or many stations (RFC 9293 §3.9.2).
    TcpBroadcast,
    /// A malformed UDP header.
    UdpMalformed,
    /// A wrong UDP checksum.
    UdpChecksum,
    /// A datagram for a port that nobody has bound.
    UdpNoPort,
    /// A datagram for a socket whose queue was full.
    UdpQueueFull,
    /// A malformed DHCP message for the client of an interface.
    Dhcpv4Malformed,
    /// A malformed DHCPv6 message for the client of an interface.
    Dhcpv6Malformed,
    /// A malformed ICMP message.
    IcmpMalformed,
    /// A wrong ICMP checksum.
    IcmpChecksum,
    /// An ICMP message that asks for nothing that is done.
    IcmpKind,
    /// An ICMP error about a packet that we have not sent.
    IcmpUnrelated,
    /// An ICMP error that tells of a path narrower than any link may be: 68 bytes for IPv4 (RFC 791 §3.2), 1280 for IPv6 (RFC 8201 §4).
    IcmpTooNarrow,
    /// An ICMP echo request over the rate, or to all stations (RFC 1122 §3.2.2.6).
    IcmpEcho,
    /// To be sent: no way to the destination.
    NoRoute,
    /// To be sent: larger than the MTU, and must not be cut.
    TooLong,
    /// To be sent: the neighbour did not answer.
    NeighbourSilent,
    /// To be sent: as many waited for the neighbour as may, the oldest one goes.
    NeighbourQueueFull,
    /// To be sent: forgotten with a neighbour for which there was no room any more.
    NeighbourForgotten,
    /// To be sent: as many neighbours were asked for as may be in this time.
    NeighbourRate,
    /// To be sent: the queue was full.
    OutgoingQueueFull,
    /// To be sent to ourselves: the queue was full.
    LoopbackQueueFull,
}

impl DropReason {
    /// All of them.
    pub const ALL: [Self; REASONS] = [
        Self::Interface,
        Self::EthernetMalformed,
        Self::Vlan,
        Self::OtherStation,
        Self::EtherType,
        Self::ArpMalformed,
        Self::ArpImplausible,
        Self::IpVersion,
        Self::Ipv6Malformed,
        Self::Ipv6Unspoken,
        Self::Ipv6Extension,
        Self::Ipv6IncompleteChain,
        Self::NdpMalformed,
        Self::NdpImplausible,
        Self::NdpFragmented,
        Self::GroupQuery,
        Self::Ipv4Malformed,
        Self::Ipv4Checksum,
        Self::Ipv4Options,
        Self::Source,
        Self::OtherHost,
        Self::LoopbackOutside,
        Self::Filtered,
        Self::Protocol,
        Self::FragmentMalformed,
        Self::FragmentOverlap,
        Self::FragmentDuplicate,
        Self::FragmentTimeout,
        Self::FragmentMemory,
        Self::TcpMalformed,
        Self::TcpChecksum,
        Self::TcpBroadcast,
        Self::UdpMalformed,
        Self::UdpChecksum,
        Self::UdpNoPort,
        Self::UdpQueueFull,
        Self::Dhcpv4Malformed,
        Self::Dhcpv6Malformed,
        Self::IcmpMalformed,
        Self::IcmpChecksum,
        Self::IcmpKind,
        Self::IcmpUnrelated,
        Self::IcmpTooNarrow,
        Self::IcmpEcho,
        Self::NoRoute,
        Self::TooLong,
        Self::NeighbourSilent,
        Self::NeighbourQueueFull,
        Self::NeighbourForgotten,
        Self::NeighbourRate,
        Self::OutgoingQueueFull,
        Self::LoopbackQueueFull,
    ];

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interface => "interface",
            Self::EthernetMalformed => "ethernet_malformed",
            Self::Vlan => "vlan",
            Self::OtherStation => "other_station",
            Self::EtherType => "ether_type",
            Self::ArpMalformed => "arp_malformed",
            Self::ArpImplausible => "arp_implausible",
            Self::IpVersion => "ip_version",
            Self::Ipv6Malformed => "ipv6_malformed",
            Self::Ipv6Unspoken => "ipv6_unspoken",
            Self::Ipv6Extension => "ipv6_extension",
            Self::Ipv6IncompleteChain => "ipv6_incomplete_chain",
            Self::NdpMalformed => "ndp_malformed",
            Self::NdpImplausible => "ndp_implausible",
            Self::NdpFragmented => "ndp_fragmented",
            Self::GroupQuery => "group_query",
            Self::Ipv4Malformed => "ipv4_malformed",
            Self::Ipv4Checksum => "ipv4_checksum",
            Self::Ipv4Options => "ipv4_options",
            Self::Source => "source",
            Self::OtherHost => "other_host",
            Self::LoopbackOutside => "loopback_outside",
            Self::Filtered => "filtered",
            Self::Protocol => "protocol",
            Self::FragmentMalformed => "fragment_malformed",
            Self::FragmentOverlap => "fragment_overlap",
            Self::FragmentDuplicate => "fragment_duplicate",
            Self::FragmentTimeout => "fragment_timeout",
            Self::FragmentMemory => "fragment_memory",
            Self::TcpMalformed => "tcp_malformed",
            Self::TcpChecksum => "tcp_checksum",
            Self::TcpBroadcast => "tcp_broadcast",
            Self::UdpMalformed => "udp_malformed",
            Self::UdpChecksum => "udp_checksum",
            Self::UdpNoPort => "udp_no_port",
            Self::UdpQueueFull => "udp_queue_full",
            Self::Dhcpv4Malformed => "dhcpv4_malformed",
            Self::Dhcpv6Malformed => "dhcpv6_malformed",
            Self::IcmpMalformed => "icmp_malformed",
            Self::IcmpChecksum => "icmp_checksum",
            Self::IcmpKind => "icmp_kind",
            Self::IcmpUnrelated => "icmp_unrelated",
            Self::IcmpTooNarrow => "icmp_too_narrow",
            Self::IcmpEcho => "icmp_echo",
            Self::NoRoute => "no_route",
            Self::TooLong => "too_long",
            Self::NeighbourSilent => "neighbour_silent",
            Self::NeighbourQueueFull => "neighbour_queue_full",
            Self::NeighbourForgotten => "neighbour_forgotten",
            Self::NeighbourRate => "neighbour_rate",
            Self::OutgoingQueueFull => "outgoing_queue_full",
            Self::LoopbackQueueFull => "loopback_queue_full",
        }
    }
}

/// How many reasons there are.
const REASONS: usize = DropReason::LoopbackQueueFull as usize + 1;

/// A counter for each reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drops([u64; REASONS]);

impl Default for Drops {
    fn default() -> Self {
        Self([0; REASONS])
    }
}

impl Drops {
    /// How many packets were dropped for a reason.
    pub const fn count(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// How many packets were dropped.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn add(&mut self, reason: DropReason) {
        self.add_many(reason, 1);
    }

    pub(crate) fn add_many(&mut self, reason: DropReason, count: usize) {
        self.0[reason as usize] += count as u64;
    }
}
