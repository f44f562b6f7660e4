//! What may stand between the fixed header of IPv6 and what the packet carries (RFC 8200 §4).

use super::Fragment;
use crate::error::Error;
use crate::ip::IpProtocol;
use crate::options::MalformedOption;

/// Extension headers in one packet at most. RFC 8200 has each but one kind at most once, so more are of no use to anybody.
const MAX_EXTENSIONS: u8 = 8;

/// An extension header.
#[derive(Clone, Debug)]
pub enum Ipv6Extension<'a> {
    /// Options that every router may look at (§4.3).
    HopByHop(Ipv6OptionIter<'a>),
    /// Options for the destination (§4.6).
    Destination(Ipv6OptionIter<'a>),
    /// A list of stations to be visited (§4.4).
    Routing {
        /// What the list looks like.
        kind: u8,
        /// How many are still to be visited.
        segments_left: u8,
    },
    /// The packet is a part of a larger one (§4.5).
    Fragment(Ipv6Fragment),
}

/// Goes through the extension headers of a packet.
///
/// It ends in front of what the packet carries, behind a fragment header of a packet that is not whole, or with an error. What follows is
/// then told by [`Ipv6Extensions::protocol`], and where it begins by [`Ipv6Extensions::position`]. Of a fragment with the offset 0 the
/// headers behind can be gone through by another one ([`Ipv6Extensions::behind_fragment`]); it must have all of them (RFC 7112 §5).
#[derive(Clone, Debug)]
pub struct Ipv6Extensions<'a> {
    rest: &'a [u8],
    protocol: IpProtocol,
    /// Where the rest begins, and which byte has named its protocol, both from where the fixed header begins.
    position: usize,
    named_at: usize,
    seen: u8,
    /// Whether hop-by-hop options may stand here: right behind the fixed header (§4.1).
    is_first: bool,
    is_over: bool,
}

impl<'a> Ipv6Extensions<'a> {
    /// The headers right behind the fixed header, which names `protocol`.
    pub const fn behind_fixed(protocol: IpProtocol, payload: &'a [u8]) -> Self {
        let (position, named_at) = (super::HEADER_BYTES, super::NEXT_HEADER_AT);
        Self { rest: payload, protocol, position, named_at, seen: 0, is_first: true, is_over: false }
    }

    /// The headers behind a fragment header that names `protocol`, in a packet that is whole again, or in its first fragment.
    pub const fn behind_fragment(protocol: IpProtocol, payload: &'a [u8]) -> Self {
        Self { is_first: false, ..Self::behind_fixed(protocol, payload) }
    }

    /// What follows the headers that were gone through.
    pub const fn protocol(&self) -> IpProtocol {
        self.protocol
    }

    /// What lies behind the headers that were gone through.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Where that begins, in bytes from the begin of the fixed header.
    pub const fn position(&self) -> usize {
        self.position
    }

    /// Where the byte lies that says what follows, as the pointer of a parameter problem has it.
    pub const fn named_at(&self) -> usize {
        self.named_at
    }

    /// Cuts off a header whose length is told in units of eight bytes beyond the first eight.
    fn split_header(&mut self) -> Result<&'a [u8], Error> {
        let [_, units, ..] = *self.rest else { return Err(Error::Truncated) };
        let len = if self.protocol == IpProtocol::FRAGMENT { 8 } else { 8 + 8 * usize::from(units) };
        let (header, rest) = self.rest.split_at_checked(len).ok_or(Error::HeaderLength)?;
        self.rest = rest;
        Ok(header)
    }

    fn extension(&mut self) -> Result<Ipv6Extension<'a>, Error> {
        let kind = self.protocol;
        if kind == IpProtocol::HOP_BY_HOP && !self.is_first {
            return Err(Error::ExtensionOrder);
        }
        if self.seen >= MAX_EXTENSIONS {
            return Err(Error::TooManyExtensions);
        }
        let header = self.split_header()?;
        let [next, _, a, b, body @ ..] = header else { return Err(Error::Truncated) };
        let options = Ipv6OptionIter::new(header.get(2..).unwrap_or_default(), self.position + 2);
        self.protocol = IpProtocol(*next);
        self.named_at = self.position;
        self.position += header.len();
        self.seen += 1;
        self.is_first = false;
        Ok(match kind {
            IpProtocol::HOP_BY_HOP => Ipv6Extension::HopByHop(options),
            IpProtocol::ROUTING => Ipv6Extension::Routing { kind: *a, segments_left: *b },
            IpProtocol::FRAGMENT => {
                let field = u16::from_be_bytes([*a, *b]);
                let fragment = Fragment::new(field & !7, field & 1 != 0).unwrap_or_default();
                let identification = u32::from_be_bytes(*body.first_chunk().ok_or(Error::Truncated)?);
                self.is_over = !fragment.is_whole();
                Ipv6Extension::Fragment(Ipv6Fragment { next_header: self.protocol, fragment, identification })
            }
            _ => Ipv6Extension::Destination(options),
        })
    }
}

impl<'a> Iterator for Ipv6Extensions<'a> {
    type Item = Result<Ipv6Extension<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over || !self.protocol.is_extension() {
            return None;
        }
        let extension = self.extension();
        self.is_over |= extension.is_err();
        Some(extension)
    }
}

impl core::iter::FusedIterator for Ipv6Extensions<'_> {}

/// A fragment header (RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Fragment {
    /// What follows it in the packet that is whole.
    pub next_header: IpProtocol,
    /// Which part this is. A whole packet may have such a header too (RFC 6946).
    pub fragment: Fragment,
    /// What the fragments of one packet have in common.
    pub identification: u32,
}

impl Ipv6Fragment {
    /// Bytes of a header.
    pub const LEN: usize = 8;

    /// The header as it is sent.
    pub const fn to_bytes(&self) -> [u8; Self::LEN] {
        let field = self.fragment.offset() | self.fragment.has_more() as u16;
        let ([a, b], [c, d, e, f]) = (field.to_be_bytes(), self.identification.to_be_bytes());
        [self.next_header.0, 0, a, b, c, d, e, f]
    }
}

/// Hop-by-hop options that ask every router to look at a packet of multicast listeners (RFC 2711, RFC 3810 §5), in front of `next`.
pub const fn ipv6_router_alert(next: IpProtocol) -> [u8; 8] {
    [next.0, 0, ROUTER_ALERT, 2, 0, 0, PAD_N, 0]
}

const PAD_1: u8 = 0;
const PAD_N: u8 = 1;
const ROUTER_ALERT: u8 = 5;

/// An option of hop-by-hop or destination options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Option<'a> {
    /// What it is.
    pub kind: u8,
    /// What is in it.
    pub data: &'a [u8],
    /// Where it begins, from the begin of the fixed header.
    pub at: usize,
}

impl Ipv6Option<'_> {
    /// Whether it is that of multicast listeners' packets (RFC 2711).
    pub const fn is_router_alert(&self) -> bool {
        self.kind == ROUTER_ALERT
    }

    /// What is to be done with the packet by who does not know the option (RFC 8200 §4.2).
    pub const fn unknown(&self) -> UnknownOption {
        match self.kind >> 6 {
            0 => UnknownOption::Skip,
            1 => UnknownOption::Discard,
            2 => UnknownOption::Tell,
            _ => UnknownOption::TellUnlessMulticast,
        }
    }
}

/// What is to be done with a packet that has an option which is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownOption {
    /// The option means nothing.
    Skip,
    /// The packet is dropped.
    Discard,
    /// The packet is dropped, and its sender is told.
    Tell,
    /// The packet is dropped, and its sender is told if it was not for a group.
    TellUnlessMulticast,
}

/// Goes through options, leaving out padding. A malformed one is the last item.
#[derive(Clone, Debug)]
pub struct Ipv6OptionIter<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Ipv6OptionIter<'a> {
    const fn new(rest: &'a [u8], at: usize) -> Self {
        Self { rest, at }
    }
}

impl<'a> Iterator for Ipv6OptionIter<'a> {
    type Item = Result<Ipv6Option<'a>, MalformedOption>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let kind = *self.rest.first()?;
            let at = self.at;
            let whole = if kind == PAD_1 { Some(1) } else { self.rest.get(1).map(|len| 2 + usize::from(*len)) };
            let Some((option, rest)) = whole.and_then(|len| self.rest.split_at_checked(len)) else {
                self.rest = &[];
                return Some(Err(MalformedOption { at }));
            };
            self.rest = rest;
            self.at += option.len();
            if !matches!(kind, PAD_1 | PAD_N) {
                return Some(Ok(Ipv6Option { kind, data: option.get(2..).unwrap_or_default(), at }));
            }
        }
    }
}

impl core::iter::FusedIterator for Ipv6OptionIter<'_> {}
