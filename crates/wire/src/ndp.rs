//! Neighbour discovery (RFC 4861): who is where on a link, and what its routers say.

mod options;

use core::net::Ipv6Addr;

use crate::error::Error;
use crate::header_bytes::HeaderBytes;
use crate::icmpv6::{Icmpv6Header, Icmpv6Packet};

pub use options::{DnsServers, NdpOption, NdpOptions, PrefixInformation, RouteInformation, RouterPreference};

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;

/// The hop limit of all these messages: one that was forwarded has a smaller one (§3.1).
pub const NDP_HOP_LIMIT: u8 = 255;

/// A message of neighbour discovery. Its [options](NdpMessage::parse) are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NdpMessage {
    /// Asks routers to advertise themselves (§4.1).
    RouterSolicitation,
    /// What a router says (§4.2).
    RouterAdvertisement(RouterAdvertisement),
    /// Asks who has an address (§4.3).
    NeighbourSolicitation {
        /// The address.
        target: Ipv6Addr,
    },
    /// Tells who has an address (§4.4).
    NeighbourAdvertisement {
        /// The address.
        target: Ipv6Addr,
        /// Whether who has it is a router.
        is_router: bool,
        /// Whether it answers a question.
        is_solicited: bool,
        /// Whether what was known before is wrong.
        is_override: bool,
    },
    /// A router knows a better next hop (§4.5).
    Redirect {
        /// The next hop, or the destination itself if that is on the link.
        target: Ipv6Addr,
        /// The destination.
        destination: Ipv6Addr,
    },
}

/// What a router says (RFC 4861 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouterAdvertisement {
    /// The hop limit of what is sent; zero if the router does not say.
    pub hop_limit: u8,
    /// Whether addresses are to be had by DHCPv6.
    pub is_managed: bool,
    /// Whether other configuration is to be had by DHCPv6.
    pub has_other_configuration: bool,
    /// How much this default router is liked (RFC 4191 §2.2).
    pub preference: RouterPreference,
    /// For so many seconds it is a default router; zero if it is none.
    pub lifetime_s: u16,
    /// For so many milliseconds a neighbour is taken for reachable; zero if the router does not say.
    pub reachable_ms: u32,
    /// So many milliseconds lie between solicitations; zero if the router does not say.
    pub retransmit_ms: u32,
}

impl NdpMessage {
    /// Reads a message and goes through its options once, so that none is malformed.
    ///
    /// # Errors
    /// [`Error::MessageKind`] if it is another message, or has a code; [`Error::Truncated`], [`Error::NdpOption`].
    pub fn parse<'a>(packet: &Icmpv6Packet<'a>) -> Result<(Self, NdpOptions<'a>), Error> {
        if packet.code() != 0 {
            return Err(Error::MessageKind);
        }
        let [first, flags, c, d] = packet.rest();
        let body = packet.body();
        let (message, options) = match packet.kind() {
            ROUTER_SOLICITATION => (Self::RouterSolicitation, body),
            ROUTER_ADVERTISEMENT => {
                let ([a_0, a_1, a_2, a_3, b_0, b_1, b_2, b_3], options) =
                    body.split_first_chunk().ok_or(Error::Truncated)?;
                let advertisement = RouterAdvertisement {
                    hop_limit: first,
                    is_managed: flags & 0x80 != 0,
                    has_other_configuration: flags & 0x40 != 0,
                    preference: RouterPreference::of_flags(flags),
                    lifetime_s: u16::from_be_bytes([c, d]),
                    reachable_ms: u32::from_be_bytes([*a_0, *a_1, *a_2, *a_3]),
                    retransmit_ms: u32::from_be_bytes([*b_0, *b_1, *b_2, *b_3]),
                };
                (Self::RouterAdvertisement(advertisement), options)
            }
            NEIGHBOUR_SOLICITATION => {
                let (target, options) = split_address(body)?;
                (Self::NeighbourSolicitation { target }, options)
            }
            NEIGHBOUR_ADVERTISEMENT => {
                let (target, options) = split_address(body)?;
                let [is_router, is_solicited, is_override] = [0x80, 0x40, 0x20].map(|flag| first & flag != 0);
                (Self::NeighbourAdvertisement { target, is_router, is_solicited, is_override }, options)
            }
            REDIRECT => {
                let (target, rest) = split_address(body)?;
                let (destination, options) = split_address(rest)?;
                (Self::Redirect { target, destination }, options)
            }
            _ => return Err(Error::MessageKind),
        };
        Ok((message, NdpOptions::new(options)?))
    }

    /// The ICMPv6 header of the message.
    pub const fn header(&self) -> Icmpv6Header {
        let (kind, rest) = match self {
            Self::RouterSolicitation => (ROUTER_SOLICITATION, [0; 4]),
            Self::RouterAdvertisement(router) => {
                let [c, d] = router.lifetime_s.to_be_bytes();
                let managed = (router.is_managed as u8) << 7;
                let flags = managed | ((router.has_other_configuration as u8) << 6) | router.preference.flags();
                (ROUTER_ADVERTISEMENT, [router.hop_limit, flags, c, d])
            }
            Self::NeighbourSolicitation { .. } => (NEIGHBOUR_SOLICITATION, [0; 4]),
            Self::NeighbourAdvertisement { is_router, is_solicited, is_override, .. } => {
                let flags = ((*is_router as u8) << 7) | ((*is_solicited as u8) << 6) | ((*is_override as u8) << 5);
                (NEIGHBOUR_ADVERTISEMENT, [flags, 0, 0, 0])
            }
            Self::Redirect { .. } => (REDIRECT, [0; 4]),
        };
        Icmpv6Header::Other { kind, code: 0, rest }
    }

    /// What lies between the header and the options.
    pub fn fixed(&self) -> HeaderBytes<32> {
        let mut bytes = HeaderBytes::EMPTY;
        match self {
            Self::RouterSolicitation => {}
            Self::RouterAdvertisement(router) => {
                bytes.extend(&router.reachable_ms.to_be_bytes());
                bytes.extend(&router.retransmit_ms.to_be_bytes());
            }
            Self::NeighbourSolicitation { target } | Self::NeighbourAdvertisement { target, .. } => {
                bytes.extend(&target.octets());
            }
            Self::Redirect { target, destination } => {
                bytes.extend(&target.octets());
                bytes.extend(&destination.octets());
            }
        }
        bytes
    }
}

fn split_address(bytes: &[u8]) -> Result<(Ipv6Addr, &[u8]), Error> {
    let (address, rest) = bytes.split_first_chunk::<16>().ok_or(Error::Truncated)?;
    Ok((Ipv6Addr::from_octets(*address), rest))
}
