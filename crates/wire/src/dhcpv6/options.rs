//! Options of DHCPv6 messages (RFC 8415 §21).

use core::net::Ipv6Addr;

/// What an option is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code(pub u16);

impl Code {
    /// The client, by its DUID.
    pub const CLIENT_ID: Self = Self(1);
    /// The server, by its DUID.
    pub const SERVER_ID: Self = Self(2);
    /// Addresses that are not temporary: [`IaNa`].
    pub const IA_NA: Self = Self(3);
    /// An address: [`IaAddress`].
    pub const IA_ADDRESS: Self = Self(5);
    /// The options that the client wants to know.
    pub const OPTION_REQUEST: Self = Self(6);
    /// How much a server wants to be chosen.
    pub const PREFERENCE: Self = Self(7);
    /// For how long the client has tried, in hundredths of a second.
    pub const ELAPSED_TIME: Self = Self(8);
    /// How something went: [`Status`].
    pub const STATUS_CODE: Self = Self(13);
    /// That two messages are enough.
    pub const RAPID_COMMIT: Self = Self(14);
    /// Name servers, the best one first (RFC 3646).
    pub const NAME_SERVERS: Self = Self(23);
    /// Domains in which names are looked for (RFC 3646).
    pub const DOMAIN_LIST: Self = Self(24);
    /// When to ask for information again, in seconds.
    pub const INFORMATION_REFRESH_TIME: Self = Self(32);
    /// The longest wait between solicitations, in seconds.
    pub const SOL_MAX_RT: Self = Self(82);
    /// The longest wait between requests for information, in seconds.
    pub const INF_MAX_RT: Self = Self(83);
}

/// Goes through options: codes, and what is in them. It ends where they can't be read.
#[derive(Clone, Debug)]
pub struct Options<'a>(&'a [u8]);

impl<'a> Options<'a> {
    pub(super) const fn new(options: &'a [u8]) -> Self {
        Self(options)
    }

    /// Whether nothing is cut off.
    pub fn is_whole(&self) -> bool {
        let mut options = self.clone();
        options.by_ref().for_each(drop);
        options.0.is_empty()
    }

    /// What is in the first option of a kind.
    pub fn find_code(&self, code: Code) -> Option<&'a [u8]> {
        self.clone().find(|(other, _)| *other == code).map(|(_, data)| data)
    }

    /// What is in all options of a kind, one by one.
    pub fn of_code(&self, code: Code) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.clone().filter(move |(other, _)| *other == code).map(|(_, data)| data)
    }

    /// A number of four bytes, such as a time.
    pub fn number(&self, code: Code) -> Option<u32> {
        self.find_code(code)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// The addresses in an option. What is behind the last whole one is left out.
    pub fn addresses(&self, code: Code) -> impl Iterator<Item = Ipv6Addr> + use<'a> {
        let bytes = self.find_code(code).unwrap_or_default();
        bytes.chunks_exact(16).filter_map(|chunk| <[u8; 16]>::try_from(chunk).ok()).map(Ipv6Addr::from)
    }

    /// How it went, which is well if nothing is said (RFC 8415 §21.13).
    pub fn status(&self) -> Status {
        match self.find_code(Code::STATUS_CODE) {
            None => Status::SUCCESS,
            Some([a, b, ..]) => Status(u16::from_be_bytes([*a, *b])),
            Some(_) => Status::UNSPECIFIED_FAILURE,
        }
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = (Code, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let ([a, b, c, d], rest) = self.0.split_first_chunk()?;
        let (data, rest) = rest.split_at_checked(u16::from_be_bytes([*c, *d]).into())?;
        self.0 = rest;
        Some((Code(u16::from_be_bytes([*a, *b])), data))
    }
}

/// How something went (RFC 8415 §21.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status(pub u16);

impl Status {
    /// Well.
    pub const SUCCESS: Self = Self(0);
    /// Not, for a reason that is not said.
    pub const UNSPECIFIED_FAILURE: Self = Self(1);
    /// There is no address to be given.
    pub const NO_ADDRS_AVAIL: Self = Self(2);
    /// The server knows nothing of these addresses.
    pub const NO_BINDING: Self = Self(3);
    /// An address does not suit the link.
    pub const NOT_ON_LINK: Self = Self(4);
    /// All servers are to be asked, by their group.
    pub const USE_MULTICAST: Self = Self(5);
}

/// Addresses that are not temporary (RFC 8415 §21.4).
#[derive(Clone, Debug)]
pub struct IaNa<'a> {
    /// Which of the client's, by a number that it chose.
    pub iaid: u32,
    /// When to ask the server that has given them, in seconds; zero leaves it to the client.
    pub t1_s: u32,
    /// When to ask any server, in seconds; zero leaves it to the client.
    pub t2_s: u32,
    /// The addresses, and how it went.
    pub options: Options<'a>,
}

impl<'a> IaNa<'a> {
    /// Reads what is in the option; nothing if it is cut off, or its times make no sense.
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let (iaid, rest) = data.split_first_chunk()?;
        let (t1, rest) = rest.split_first_chunk()?;
        let (t2, rest) = rest.split_first_chunk()?;
        let [iaid, t1_s, t2_s] = [iaid, t1, t2].map(|bytes| u32::from_be_bytes(*bytes));
        let options = Options::new(rest);
        let is_sound = options.is_whole() && (t1_s <= t2_s || t2_s == 0);
        is_sound.then_some(Self { iaid, t1_s, t2_s, options })
    }

    /// The addresses that can be read.
    pub fn addresses(&self) -> impl Iterator<Item = IaAddress<'a>> + use<'a> {
        self.options.of_code(Code::IA_ADDRESS).filter_map(IaAddress::parse)
    }
}

/// An address, for some time (RFC 8415 §21.6).
#[derive(Clone, Debug)]
pub struct IaAddress<'a> {
    /// The address.
    pub address: Ipv6Addr,
    /// Seconds for which new connections may use it.
    pub preferred_s: u32,
    /// Seconds for which it may be used at all.
    pub valid_s: u32,
    /// How it went.
    pub options: Options<'a>,
}

impl<'a> IaAddress<'a> {
    /// Reads what is in the option; nothing if it is cut off, or its times make no sense.
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let (address, rest) = data.split_first_chunk::<16>()?;
        let (preferred, rest) = rest.split_first_chunk()?;
        let (valid, rest) = rest.split_first_chunk()?;
        let [preferred_s, valid_s] = [preferred, valid].map(|bytes| u32::from_be_bytes(*bytes));
        let options = Options::new(rest);
        let is_sound = options.is_whole() && preferred_s <= valid_s;
        is_sound.then_some(Self { address: (*address).into(), preferred_s, valid_s, options })
    }
}
