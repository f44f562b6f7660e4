//! DHCP for IPv4 (RFC 2131, options of RFC 2132).

mod options;
mod writer;

use core::net::Ipv4Addr;

use crate::error::Error;
use crate::mac::MacAddr;

pub use options::{ClasslessRoute, Code, Options};
pub use writer::{MAX_MESSAGE_BYTES, Writer};

/// The port at which clients listen.
pub const CLIENT_PORT: u16 = 68;
/// The port at which servers listen.
pub const SERVER_PORT: u16 = 67;

/// Bytes before the options, the cookie included.
const FIXED_BYTES: usize = 240;
/// Where the server's name and the boot file lie, which may have options instead (RFC 2132 §9.3).
const SNAME: core::ops::Range<usize> = 44..108;
const FILE: core::ops::Range<usize> = 108..236;
/// RFC 2131 §3: with these bytes the options begin.
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Hardware type and length of the addresses of Ethernet.
const ETHERNET: [u8; 2] = [1, 6];
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const BROADCAST_FLAG: u8 = 0x80;

/// What a message is for (RFC 2132 §9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A client looks for servers.
    Discover,
    /// A server offers an address.
    Offer,
    /// A client asks for an address, or to keep one.
    Request,
    /// A client has found that an address is in use.
    Decline,
    /// A server gives an address.
    Ack,
    /// A server refuses it.
    Nak,
    /// A client gives an address back.
    Release,
    /// A client with an address asks for the rest.
    Inform,
}

impl Kind {
    const ALL: [Self; 8] =
        [Self::Discover, Self::Offer, Self::Request, Self::Decline, Self::Ack, Self::Nak, Self::Release, Self::Inform];

    /// The kind of a number; nothing for those that RFC 2132 does not have.
    pub fn new(value: u8) -> Option<Self> {
        Self::ALL.get(usize::from(value).checked_sub(1)?).copied()
    }

    /// Its number.
    pub const fn value(self) -> u8 {
        self as u8 + 1
    }
}

/// What stands before the options, as far as it means something to clients on Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether it comes from a server.
    pub is_reply: bool,
    /// Ties answers to questions.
    pub xid: u32,
    /// Seconds since the client began.
    pub secs: u16,
    /// Whether answers are to be broadcast, since the client can't be reached by its address yet.
    pub is_broadcast: bool,
    /// The address that the client has and answers for.
    pub ciaddr: Ipv4Addr,
    /// The address that the client gets.
    pub yiaddr: Ipv4Addr,
    /// The client.
    pub chaddr: MacAddr,
}

/// A view of a message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    fixed: &'a [u8; FIXED_BYTES],
    options: &'a [u8],
}

impl<'a> Message<'a> {
    /// Looks at a message that lies in one piece.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Dhcpv4`] if it is not about Ethernet, or has no options: BOOTP.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let (fixed, options) = bytes.split_first_chunk::<FIXED_BYTES>().ok_or(Error::Truncated)?;
        let is_known = fixed[1..3] == ETHERNET && fixed[FIXED_BYTES - 4..] == COOKIE;
        if !is_known || !matches!(fixed[0], REQUEST | REPLY) {
            return Err(Error::Dhcpv4);
        }
        Ok(Self { fixed, options })
    }

    /// What stands before the options.
    pub fn header(&self) -> Header {
        Header {
            is_reply: self.fixed[0] == REPLY,
            xid: u32::from_be_bytes(self.four(4)),
            secs: u16::from_be_bytes([self.fixed[8], self.fixed[9]]),
            is_broadcast: self.fixed[10] & BROADCAST_FLAG != 0,
            ciaddr: self.four(12).into(),
            yiaddr: self.four(16).into(),
            chaddr: MacAddr(core::array::from_fn(|at| self.fixed[28 + at])),
        }
    }

    /// What it is for; nothing if it does not say so.
    pub fn kind(&self) -> Option<Kind> {
        let [value] = self.fixed_option(Code::MESSAGE_TYPE)?;
        Kind::new(value)
    }

    /// All options, in the order in which they are to be read (RFC 3396 §5). They end where they can't be read.
    pub fn options(&self) -> Options<'a> {
        let own = Options::new(self.options);
        let overload = own.clone().find(|(code, _)| *code == Code::OVERLOAD);
        // RFC 2132 §9.3.
        let is_overloaded = |bit: u8| matches!(overload, Some((_, [value])) if value & bit != 0);
        own.followed_by([(1, FILE), (2, SNAME)].map(|(bit, place)| {
            let part: &'a [u8] = if is_overloaded(bit) { self.fixed.get(place).unwrap_or_default() } else { &[] };
            part
        }))
    }

    /// The bytes of an option, in one piece however it was split (RFC 3396 §7).
    pub fn bytes_of(&self, code: Code) -> impl Iterator<Item = u8> + 'a {
        self.options().filter(move |(other, _)| *other == code).flat_map(|(_, data)| data.iter().copied())
    }

    /// An option of so many bytes; nothing if it is not there, or longer or shorter.
    pub fn fixed_option<const N: usize>(&self, code: Code) -> Option<[u8; N]> {
        let mut bytes = self.bytes_of(code);
        let mut value = [0; N];
        for place in &mut value {
            *place = bytes.next()?;
        }
        bytes.next().is_none().then_some(value)
    }

    /// The addresses in an option. What is behind the last whole one is left out.
    pub fn addresses(&self, code: Code) -> impl Iterator<Item = Ipv4Addr> + 'a {
        let mut bytes = self.bytes_of(code);
        core::iter::from_fn(move || Some(Ipv4Addr::new(bytes.next()?, bytes.next()?, bytes.next()?, bytes.next()?)))
    }

    /// The ways to networks (RFC 3442); they end where they can't be read.
    pub fn classless_routes(&self) -> impl Iterator<Item = ClasslessRoute> + 'a {
        let mut bytes = self.bytes_of(Code::CLASSLESS_ROUTES);
        core::iter::from_fn(move || ClasslessRoute::read(&mut bytes))
    }

    fn four(&self, at: usize) -> [u8; 4] {
        core::array::from_fn(|place| self.fixed[at + place])
    }
}
