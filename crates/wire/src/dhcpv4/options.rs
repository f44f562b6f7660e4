//! Options of DHCP messages (RFC 2132).

use core::net::Ipv4Addr;

/// What an option is (RFC 2132, and later ones).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code(pub u8);

impl Code {
    /// One byte that means nothing.
    pub const PAD: Self = Self(0);
    /// The mask of the network.
    pub const SUBNET_MASK: Self = Self(1);
    /// Routers, the best one first.
    pub const ROUTERS: Self = Self(3);
    /// Name servers, the best one first.
    pub const NAME_SERVERS: Self = Self(6);
    /// The client's name.
    pub const HOST_NAME: Self = Self(12);
    /// The domain in which the client is.
    pub const DOMAIN_NAME: Self = Self(15);
    /// Bytes of the largest IP packet.
    pub const MTU: Self = Self(26);
    /// The address that the client asks for.
    pub const REQUESTED_ADDRESS: Self = Self(50);
    /// How long the address may be used, in seconds.
    pub const LEASE_TIME: Self = Self(51);
    /// Whether there are options where the boot file and the server's name would be.
    pub const OVERLOAD: Self = Self(52);
    /// What the message is for.
    pub const MESSAGE_TYPE: Self = Self(53);
    /// The server, by an address.
    pub const SERVER_ID: Self = Self(54);
    /// The options that the client wants to know.
    pub const PARAMETER_LIST: Self = Self(55);
    /// Bytes of the largest message that the client takes.
    pub const MAX_MESSAGE_SIZE: Self = Self(57);
    /// When to ask the server that has given the address, in seconds (T1).
    pub const RENEWAL_TIME: Self = Self(58);
    /// When to ask any server, in seconds (T2).
    pub const REBINDING_TIME: Self = Self(59);
    /// The client, by whatever bytes.
    pub const CLIENT_ID: Self = Self(61);
    /// Domains in which names are looked for (RFC 3397).
    pub const DOMAIN_SEARCH: Self = Self(119);
    /// Ways to networks, in the place of [`Code::ROUTERS`] (RFC 3442).
    pub const CLASSLESS_ROUTES: Self = Self(121);
    /// Nothing comes behind it.
    pub const END: Self = Self(255);
}

/// Goes through the options of a message: codes, and what is in them.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    rest: &'a [u8],
    /// Where it goes on.
    later: [&'a [u8]; 2],
}

impl<'a> Options<'a> {
    pub(super) const fn new(options: &'a [u8]) -> Self {
        Self { rest: options, later: [&[]; 2] }
    }

    pub(super) const fn followed_by(self, later: [&'a [u8]; 2]) -> Self {
        Self { later, ..self }
    }

    fn next_here(&mut self) -> Option<(Code, &'a [u8])> {
        while let [0, rest @ ..] = self.rest {
            self.rest = rest;
        }
        let [code, len, rest @ ..] = core::mem::take(&mut self.rest) else { return None };
        if Code(*code) == Code::END {
            return None;
        }
        let len = usize::from(*len);
        let (data, rest) = if planted::is("dhcp_option_beyond") {
            (rest.get(..len).unwrap_or(rest), rest.get(len..).unwrap_or_default())
        } else {
            rest.split_at_checked(len)?
        };
        self.rest = rest;
        Some((Code(*code), data))
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = (Code, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(option) = self.next_here() {
                return Some(option);
            }
            let [first, second] = core::mem::take(&mut self.later);
            if first.is_empty() && second.is_empty() {
                return None;
            }
            (self.rest, self.later) = (first, [second, &[]]);
        }
    }
}

impl core::iter::FusedIterator for Options<'_> {}

/// A way to a network (RFC 3442).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClasslessRoute {
    /// An address of the network; bits behind the prefix are zero.
    pub network: Ipv4Addr,
    /// How many of its first bits name the network.
    pub prefix_len: u8,
    /// Who forwards; unspecified if the network is on the link itself.
    pub router: Ipv4Addr,
}

impl ClasslessRoute {
    /// The bytes that a route takes at most.
    pub const MAX_LEN: usize = 9;

    pub(super) fn read(bytes: &mut impl Iterator<Item = u8>) -> Option<Self> {
        let prefix_len = bytes.next().filter(|len| *len <= 32)?;
        let mut network = [0; 4];
        for place in network.iter_mut().take(usize::from(prefix_len.div_ceil(8))) {
            *place = bytes.next()?;
        }
        let router = Ipv4Addr::new(bytes.next()?, bytes.next()?, bytes.next()?, bytes.next()?);
        // RFC 3442: bits behind the prefix mean nothing.
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or(0);
        Some(Self { network: Ipv4Addr::from_bits(u32::from_be_bytes(network) & mask), prefix_len, router })
    }

    /// The bytes that say it, and how many of them there are.
    pub fn to_bytes(&self) -> ([u8; Self::MAX_LEN], usize) {
        let mut bytes = [0; Self::MAX_LEN];
        let named = usize::from(self.prefix_len.min(32).div_ceil(8));
        bytes[0] = self.prefix_len.min(32);
        bytes[1..=named].copy_from_slice(&self.network.octets()[..named]);
        bytes[1 + named..5 + named].copy_from_slice(&self.router.octets());
        (bytes, 5 + named)
    }
}
