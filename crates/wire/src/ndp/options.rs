//! Options of neighbour discovery (RFC 4861 §4.6, RFC 3971 §5.3.2, RFC 4191 §2.3, RFC 8106 §5).

use core::net::Ipv6Addr;

use crate::error::{Error, TooLong};
use crate::header_bytes::HeaderBytes;
use crate::mac::MacAddr;

const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
const PREFIX: u8 = 3;
const MTU: u8 = 5;
const NONCE: u8 = 14;
const ROUTE: u8 = 24;
const DNS_SERVERS: u8 = 25;
const DNS_SEARCH: u8 = 31;

/// Lengths count so many bytes.
const UNIT: usize = 8;

/// Bytes of an option that is built, at most.
const BUILT_BYTES: usize = 120;

/// An option. One of a known kind with a length that the kind does not have is [`NdpOption::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NdpOption<'a> {
    /// The Ethernet address of who sends.
    SourceLinkLayer(MacAddr),
    /// The Ethernet address of the target.
    TargetLinkLayer(MacAddr),
    /// What is said of a prefix.
    Prefix(PrefixInformation),
    /// Bytes that the link takes.
    Mtu(u32),
    /// By which a solicitation is known again (RFC 7527 §4.1).
    Nonce([u8; 6]),
    /// A network to which the router is a way.
    Route(RouteInformation),
    /// Servers of names.
    DnsServers(DnsServers<'a>),
    /// Domains in which names are looked for.
    DnsSearch {
        /// For so many seconds.
        lifetime_s: u32,
        /// As in messages of DNS, without compression, filled up with zeros.
        names: &'a [u8],
    },
    /// Another one.
    Other {
        /// What it is.
        kind: u8,
        /// What lies behind kind and length, 6 bytes or 8 more and so on.
        data: &'a [u8],
    },
}

/// How much a router is liked (RFC 4191 §2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouterPreference {
    /// Less than others.
    Low,
    /// As others.
    #[default]
    Medium,
    /// More than others.
    High,
}

impl RouterPreference {
    /// The reserved value is taken for the middle one, as that of a default router (§2.2).
    pub(super) const fn of_flags(flags: u8) -> Self {
        match (flags >> 3) & 3 {
            1 => Self::High,
            3 => Self::Low,
            _ => Self::Medium,
        }
    }

    pub(super) const fn flags(self) -> u8 {
        match self {
            Self::Medium => 0,
            Self::High => 1 << 3,
            Self::Low => 3 << 3,
        }
    }
}

/// What a router says of a prefix (RFC 4861 §4.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixInformation {
    /// Bits of the prefix; there may be more than 128, which is nonsense.
    pub len: u8,
    /// Whether its addresses are on the link.
    pub is_on_link: bool,
    /// Whether stations choose addresses with it (RFC 4862).
    pub is_autonomous: bool,
    /// For so many seconds it means something; all ones for ever.
    pub valid_s: u32,
    /// For so many seconds addresses with it are preferred; all ones for ever.
    pub preferred_s: u32,
    /// The prefix; what lies behind its bits means nothing.
    pub prefix: Ipv6Addr,
}

/// What a router says of a network behind it (RFC 4191 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteInformation {
    /// Bits of the prefix, at most 128.
    pub len: u8,
    /// How much the router is liked for it; none if the field has the reserved value.
    pub preference: Option<RouterPreference>,
    /// For so many seconds; all ones for ever.
    pub lifetime_s: u32,
    /// The network.
    pub prefix: Ipv6Addr,
}

/// Servers of names, as a router tells them (RFC 8106 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsServers<'a> {
    /// For so many seconds; all ones for ever.
    pub lifetime_s: u32,
    /// Their addresses.
    addresses: &'a [[u8; 16]],
}

impl<'a> DnsServers<'a> {
    /// Servers from the bytes of their addresses.
    pub const fn new(lifetime_s: u32, addresses: &'a [[u8; 16]]) -> Self {
        Self { lifetime_s, addresses }
    }

    /// Their addresses.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv6Addr> + 'a {
        self.addresses.iter().map(|octets| Ipv6Addr::from_octets(*octets))
    }
}

/// The options of a message, none of them malformed.
#[derive(Clone, Debug)]
pub struct NdpOptions<'a>(&'a [u8]);

impl<'a> NdpOptions<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = split(rest).ok_or(Error::NdpOption)?.2;
        }
        Ok(Self(bytes))
    }
}

/// The first option: kind, what is in it, and what is behind it.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [kind, units, ..] = *bytes else { return None };
    let units = if planted::is("ndp_option_length_zero") { units.max(1) } else { units };
    // A length of zero would not lead on.
    if units == 0 {
        return None;
    }
    let (option, rest) = bytes.split_at_checked(usize::from(units) * UNIT)?;
    Some((kind, option.get(2..).unwrap_or_default(), rest))
}

impl<'a> Iterator for NdpOptions<'a> {
    type Item = NdpOption<'a>;

    fn next(&mut self) -> Option<NdpOption<'a>> {
        let (kind, data, rest) = split(self.0)?;
        self.0 = rest;
        Some(known(kind, data).unwrap_or(NdpOption::Other { kind, data }))
    }
}

impl core::iter::FusedIterator for NdpOptions<'_> {}

fn known(kind: u8, data: &[u8]) -> Option<NdpOption<'_>> {
    Some(match kind {
        SOURCE_LINK_LAYER => NdpOption::SourceLinkLayer(MacAddr(data.try_into().ok()?)),
        TARGET_LINK_LAYER => NdpOption::TargetLinkLayer(MacAddr(data.try_into().ok()?)),
        PREFIX => NdpOption::Prefix(prefix(data)?),
        MTU => NdpOption::Mtu(u32::from_be_bytes(*exactly::<6>(data)?.last_chunk()?)),
        NONCE => NdpOption::Nonce(data.try_into().ok()?),
        ROUTE => NdpOption::Route(route(data)?),
        DNS_SERVERS => {
            let ([_, _, a, b, c, d], addresses) = data.split_first_chunk()?;
            let (addresses, []) = addresses.as_chunks() else { return None };
            NdpOption::DnsServers(DnsServers { lifetime_s: u32::from_be_bytes([*a, *b, *c, *d]), addresses })
        }
        DNS_SEARCH => {
            let ([_, _, a, b, c, d], names) = data.split_first_chunk()?;
            NdpOption::DnsSearch { lifetime_s: u32::from_be_bytes([*a, *b, *c, *d]), names }
        }
        _ => return None,
    })
}

fn exactly<const N: usize>(data: &[u8]) -> Option<&[u8; N]> {
    data.try_into().ok()
}

fn prefix(data: &[u8]) -> Option<PrefixInformation> {
    let [len, flags, v_0, v_1, v_2, v_3, p_0, p_1, p_2, p_3, _, _, _, _, prefix @ ..] = exactly::<30>(data)?;
    Some(PrefixInformation {
        len: *len,
        is_on_link: flags & 0x80 != 0,
        is_autonomous: flags & 0x40 != 0,
        valid_s: u32::from_be_bytes([*v_0, *v_1, *v_2, *v_3]),
        preferred_s: u32::from_be_bytes([*p_0, *p_1, *p_2, *p_3]),
        prefix: Ipv6Addr::from_octets(*prefix),
    })
}

/// As much of the prefix is there as has bits, at least.
fn route(data: &[u8]) -> Option<RouteInformation> {
    let ([len, flags, a, b, c, d], prefix) = data.split_first_chunk()?;
    let mut octets = [0; 16];
    octets.get_mut(..prefix.len())?.copy_from_slice(prefix);
    if *len > 128 || usize::from(*len).div_ceil(8) > prefix.len() {
        return None;
    }
    Some(RouteInformation {
        len: *len,
        preference: (flags >> 3 & 3 != 2).then(|| RouterPreference::of_flags(*flags)),
        lifetime_s: u32::from_be_bytes([*a, *b, *c, *d]),
        prefix: Ipv6Addr::from_octets(octets),
    })
}

impl NdpOption<'_> {
    /// The option as it is sent.
    ///
    /// # Errors
    /// When it is longer than 120 bytes, as more than seven servers of names are.
    pub fn to_bytes(&self) -> Result<HeaderBytes<BUILT_BYTES>, TooLong> {
        let mut data = HeaderBytes::<BUILT_BYTES>::EMPTY;
        self.write(&mut data)?;
        let len: usize = (2 + data.len()).next_multiple_of(UNIT);
        let units = u8::try_from(len / UNIT).map_err(|_| TooLong)?;
        let mut bytes = HeaderBytes::EMPTY;
        bytes.extend(&[self.kind(), units]);
        put(&mut bytes, &data)?;
        put(&mut bytes, &[0; UNIT][..len - 2 - data.len()])?;
        Ok(bytes)
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::SourceLinkLayer(_) => SOURCE_LINK_LAYER,
            Self::TargetLinkLayer(_) => TARGET_LINK_LAYER,
            Self::Prefix(_) => PREFIX,
            Self::Mtu(_) => MTU,
            Self::Nonce(_) => NONCE,
            Self::Route(_) => ROUTE,
            Self::DnsServers(_) => DNS_SERVERS,
            Self::DnsSearch { .. } => DNS_SEARCH,
            Self::Other { kind, .. } => *kind,
        }
    }

    /// Writes what lies behind kind and length.
    fn write(&self, data: &mut HeaderBytes<BUILT_BYTES>) -> Result<(), TooLong> {
        match self {
            Self::SourceLinkLayer(MacAddr(bytes)) | Self::TargetLinkLayer(MacAddr(bytes)) | Self::Nonce(bytes) => {
                put(data, bytes)
            }
            Self::Prefix(prefix) => {
                let flags = (u8::from(prefix.is_on_link) << 7) | (u8::from(prefix.is_autonomous) << 6);
                put(data, &[prefix.len, flags])?;
                put(data, &prefix.valid_s.to_be_bytes())?;
                put(data, &prefix.preferred_s.to_be_bytes())?;
                put(data, &[0; 4])?;
                put(data, &prefix.prefix.octets())
            }
            Self::Mtu(mtu) => timed(data, *mtu, &[]),
            Self::Route(route) => {
                put(data, &[route.len, route.preference.map_or(2 << 3, RouterPreference::flags)])?;
                put(data, &route.lifetime_s.to_be_bytes())?;
                put(data, &route.prefix.octets())
            }
            Self::DnsServers(servers) => timed(data, servers.lifetime_s, servers.addresses.as_flattened()),
            Self::DnsSearch { lifetime_s, names } => timed(data, *lifetime_s, names),
            Self::Other { data: other, .. } => put(data, other),
        }
    }
}

/// Two bytes that are reserved, a number, and the rest.
fn timed(data: &mut HeaderBytes<BUILT_BYTES>, number: u32, rest: &[u8]) -> Result<(), TooLong> {
    put(data, &[0; 2])?;
    put(data, &number.to_be_bytes())?;
    put(data, rest)
}

fn put<const N: usize>(bytes: &mut HeaderBytes<N>, part: &[u8]) -> Result<(), TooLong> {
    if bytes.len() + part.len() > N {
        return Err(TooLong);
    }
    bytes.extend(part);
    Ok(())
}
