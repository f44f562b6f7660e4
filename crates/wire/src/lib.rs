//! What lies on the wire: Ethernet, VLAN tags, ARP, IPv4, IPv6 and its extension headers, ICMP of both versions, neighbour discovery,
//! IGMP and MLD, UDP, TCP and DHCP, read and built.
//!
//! Nothing here allocates, waits, or looks at anything but its arguments, and no bytes make it panic. There are two levels:
//!
//! | level | examples | what it is |
//! |---|---|---|
//! | views | [`EthernetFrame`], [`Ipv4Packet`], [`Ipv6Packet`], [`UdpDatagram`], [`TcpSegment`], [`Icmpv4Packet`], [`Icmpv6Packet`] | references into received bytes whose lengths were checked once, by `parse`; accessors can't fail |
//! | headers | [`EthernetHeader`], [`Arp`], [`Ipv4Header`], [`Ipv6Header`], [`UdpHeader`], [`TcpHeader`], [`Icmpv4Header`], [`Icmpv6Header`], [`NdpMessage`] | plain values that can't hold what the wire can't; `to_bytes` makes them a small array to be put in front of a payload |
//!
//! [`dhcpv4`] and [`dhcpv6`] have the messages of DHCP in the same two forms.
//!
//! `header()` leads from a view to its header, `to_bytes` and `parse` lead back. What `parse` refuses breaks a rule that
//! [`Error`] names.
//!
//! ```
//! use core::net::Ipv4Addr;
//! use sunstar_wire::checksum::{Fill, Sum, pseudo_header_v4};
//! use sunstar_wire::{IpProtocol, Ipv4Header, Ipv4Packet, Seq, TcpFlags, TcpHeader, TcpSegment};
//!
//! let (src, dst) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
//! let payload = b"hello";
//!
//! // Out: from the inside to the outside, each header in front of what there is.
//! let mut tcp = TcpHeader::new(49152, 80);
//! tcp.seq = Seq::new(u32::MAX);
//! tcp.flags = TcpFlags::ACK | TcpFlags::PSH;
//! let length = u16::try_from(tcp.header_len() + payload.len())?;
//! let rest = pseudo_header_v4(src, dst, IpProtocol::TCP, length) + Sum::of(payload);
//! let segment = [&tcp.to_bytes(Fill::Complete(rest))[..], payload].concat();
//! let ip = Ipv4Header::new(IpProtocol::TCP, src, dst);
//! let packet = [&ip.to_bytes(segment.len())?[..], &segment].concat();
//!
//! // In: a view in a view.
//! let ip = Ipv4Packet::parse(&packet)?;
//! assert!(ip.has_valid_checksum());
//! let tcp = TcpSegment::parse(ip.payload())?;
//! assert!(tcp.has_valid_checksum(ip.addresses()));
//! assert_eq!(tcp.payload(), payload);
//! assert!(tcp.seq().is_before(tcp.seq() + 5), "sequence numbers wrap");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Packets in several pieces
//!
//! A large packet is a chain of buffers. Its headers lie in the first one, or are brought there
//! (`sunstar_packet::Packet::contiguous`), and the views look at that one: `parse_head` takes the length of the whole chain, so
//! that lengths are checked against what there is. [`checksum::Sum`] adds up pieces of any lengths.
//!
//! # Checksums
//!
//! `parse` verifies none: often the device has. Who must asks `has_valid_checksum`, or adds up a chain. To be sent, a transport
//! header gets its checksum complete or, if the device finishes it, partial: [`checksum::Fill`].
//!
//! # Both versions of IP
//!
//! What does not depend on the version takes an [`AddressPair`], two addresses of one version: pseudo-headers, [`FourTuple`]s,
//! [Toeplitz hashes](toeplitz).
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

// The tests are used by the fuzz target too, which knows the crate by its name.
#[cfg(test)]
extern crate self as sunstar_wire;

mod addresses;
mod arp;
pub mod checksum;
pub mod dhcpv4;
pub mod dhcpv6;
mod error;
mod ethernet;
mod header_bytes;
mod icmpv4;
mod icmpv6;
mod ip;
mod ipv4;
mod ipv6;
mod mac;
mod multicast;
mod ndp;
mod options;
mod seq;
mod tcp;
pub mod toeplitz;
mod udp;

#[cfg(test)]
mod tests;

pub use addresses::{AddressPair, FourTuple};
pub use arp::{Arp, ArpOperation};
pub use error::{Error, TooLong};
pub use ethernet::{EtherType, EthernetFrame, EthernetHeader, Vlan};
pub use header_bytes::HeaderBytes;
pub use icmpv4::{Icmpv4Header, Icmpv4Packet, ParameterProblemCode, Quoted, TimeExceededCode, UnreachableCode};
pub use icmpv6::{Icmpv6Header, Icmpv6Packet, Icmpv6ParameterProblem, Icmpv6Unreachable, QuotedV6};
pub use ip::{Ecn, IpProtocol, TrafficClass};
pub use ipv4::{Fragment, Ipv4Header, Ipv4Options, Ipv4Packet, Ipv4Template};
pub use ipv6::{
    FlowLabel, Ipv6Extension, Ipv6Extensions, Ipv6Fragment, Ipv6Header, Ipv6Option, Ipv6OptionIter, Ipv6Packet,
    UnknownOption, ipv6_router_alert,
};
pub use mac::MacAddr;
pub use multicast::{
    GroupQuery, GroupRecord, IGMP_REPORTS_TO, MLD_REPORTS_TO, OldGroupMessage, igmp_report, mld_report,
};
pub use ndp::{
    DnsServers, NDP_HOP_LIMIT, NdpMessage, NdpOption, NdpOptions, PrefixInformation, RouteInformation,
    RouterAdvertisement, RouterPreference,
};
pub use options::{MalformedOption, OptionIter, RawOption};
pub use seq::Seq;
pub use sunstar_packet::VlanTag;
pub use tcp::{
    FastOpenOption, SackBlock, SackBlocks, TcpFlags, TcpHeader, TcpOptions, TcpSegment, TcpTimestamps, WindowScale,
};
pub use udp::{UdpDatagram, UdpHeader};
