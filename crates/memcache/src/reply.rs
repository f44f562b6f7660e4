//! The lines that answer requests.

use sunstar_packet::Buffer;

use crate::number::Decimal;
use crate::output::Output;

/// What ends items and figures.
pub(crate) const END: &[u8] = b"END\r\n";

/// The answer to a request. Each request that is not quiet has one, which follows items and figures if it has such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The value was stored.
    Stored,
    /// It was not, since what the command demands is not so.
    NotStored,
    /// It was not, since somebody has changed the item.
    Exists,
    /// There is no such item.
    NotFound,
    /// The item was deleted.
    Deleted,
    /// The item's time was changed.
    Touched,
    /// The number as it is now.
    Number(u64),
    /// It was done.
    Ok,
    /// No items or figures follow.
    End,
    /// The server's version.
    Version(Buffer),
    /// The server does not know the command.
    Error,
    /// The server finds fault with the request, in its own words.
    ClientError(Buffer),
    /// The server can't do it, in its own words.
    ServerError(Buffer),
}

/// Why a request can't be done, as servers say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such command, or it has another number of parameters.
    UnknownCommand,
    /// A parameter is none.
    BadFormat,
    /// A parameter of `delete` is none.
    BadDelete,
    /// No line end follows the value.
    BadDataChunk,
    /// The line is longer than [`Limits::line_bytes`](crate::Limits::line_bytes); the connection ends.
    LineTooLong,
    /// What `incr` or `decr` shall add or take is no number.
    BadDelta,
    /// A time is no number.
    BadExptime,
    /// What `incr` or `decr` shall change is no number.
    NotANumber,
    /// The item is larger than [`Limits::item_bytes`](crate::Limits::item_bytes).
    TooLarge,
    /// There is no memory for the item.
    NoMemory,
    /// `stats detail` wants to be told what.
    BadDetail,
    /// `cache_memlimit` was told less than 8 MiB.
    MemlimitTooSmall,
    /// `cache_memlimit` was told more than there can be.
    MemlimitTooLarge,
    /// A meta command has a flag twice.
    DuplicateFlag,
    /// There is no such flag of meta commands.
    InvalidFlag,
    /// One of the two, or what follows a flag is none, of `md` and `ma`.
    InvalidOrDuplicateFlag,
    /// `mg` has more flags than it may have.
    TooManyGetFlags,
    /// Another meta command has more flags than it may have.
    TooManyFlags,
    /// What follows a flag is none.
    BadToken,
    /// The key is no base64.
    BadKeyCoding,
    /// A mode has one letter.
    BadModeLength,
    /// `ms` knows no such mode.
    BadStoreMode,
    /// `ma` knows no such mode.
    BadCountMode,
    /// What `ma` shall begin with is no number.
    BadInitial,
    /// What `ma` shall add or take is no number.
    BadMetaDelta,
    /// What is to be sent back is longer than 31 bytes.
    OpaqueTooLong,
    /// A client can't stop the server.
    NoShutdown,
    /// There is no log that a client may watch.
    NoWatching,
    /// A client can't move pages to other classes.
    NoReassignment,
    /// There is nothing that could be set so.
    NoSetting,
    /// What looks for dead items does so already.
    CrawlerRuns,
    /// It can't be stopped.
    CrawlerStays,
    /// It looks for somebody else just now.
    CrawlerBusy,
    /// There is no such class.
    BadClass,
}

impl Refusal {
    /// The line, without its end. These are the words of memcached, by which some clients know them.
    pub const fn line(self) -> &'static str {
        match self {
            Self::UnknownCommand => "ERROR",
            Self::BadFormat => "CLIENT_ERROR bad command line format",
            Self::BadDelete => "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]",
            Self::BadDataChunk => "CLIENT_ERROR bad data chunk",
            Self::LineTooLong => "CLIENT_ERROR line too long",
            Self::BadDelta => "CLIENT_ERROR invalid numeric delta argument",
            Self::BadExptime => "CLIENT_ERROR invalid exptime argument",
            Self::NotANumber => "CLIENT_ERROR cannot increment or decrement non-numeric value",
            Self::TooLarge => "SERVER_ERROR object too large for cache",
            Self::NoMemory => "SERVER_ERROR out of memory storing object",
            Self::BadDetail => "CLIENT_ERROR usage: stats detail on|off|dump",
            Self::MemlimitTooSmall => "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m",
            Self::MemlimitTooLarge => "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes",
            Self::DuplicateFlag => "CLIENT_ERROR duplicate flag",
            Self::InvalidFlag => "CLIENT_ERROR invalid flag",
            Self::InvalidOrDuplicateFlag => "CLIENT_ERROR invalid or duplicate flag",
            Self::TooManyGetFlags => "CLIENT_ERROR options flags are too long",
            Self::TooManyFlags => "CLIENT_ERROR options flags too long",
            Self::BadToken => "CLIENT_ERROR bad token in command line format",
            Self::BadKeyCoding => "CLIENT_ERROR error decoding key",
            Self::BadModeLength => "CLIENT_ERROR incorrect length for M token",
            Self::BadStoreMode => "CLIENT_ERROR invalid mode for ms M token",
            Self::BadCountMode => "CLIENT_ERROR invalid mode for ma M token",
            Self::BadInitial => "CLIENT_ERROR invalid numeric initial value",
            Self::BadMetaDelta => "CLIENT_ERROR invalid numeric delta value",
            Self::OpaqueTooLong => "CLIENT_ERROR opaque token too long",
            Self::NoShutdown => "ERROR: shutdown not enabled",
            Self::NoWatching => "CLIENT_ERROR watch commands not allowed",
            Self::NoReassignment => "CLIENT_ERROR slab reassignment disabled",
            Self::NoSetting => "CLIENT_ERROR there is no such setting",
            Self::CrawlerRuns => "ERROR failed to start lru crawler thread",
            Self::CrawlerStays => "ERROR failed to stop lru crawler thread",
            Self::CrawlerBusy => "BUSY currently processing crawler request",
            Self::BadClass => "BADCLASS invalid class id",
        }
    }
}

impl Output {
    /// Writes the line of an answer.
    pub fn put_reply(&mut self, reply: &Reply) {
        match reply {
            Reply::Stored => self.put(b"STORED\r\n"),
            Reply::NotStored => self.put(b"NOT_STORED\r\n"),
            Reply::Exists => self.put(b"EXISTS\r\n"),
            Reply::NotFound => self.put(b"NOT_FOUND\r\n"),
            Reply::Deleted => self.put(b"DELETED\r\n"),
            Reply::Touched => self.put(b"TOUCHED\r\n"),
            Reply::Number(number) => self.put_all([Decimal::new(*number).as_bytes(), b"\r\n"]),
            Reply::Ok => self.put(b"OK\r\n"),
            Reply::End => self.put(END),
            Reply::Version(version) => self.put_all([b"VERSION ", version, b"\r\n"]),
            Reply::Error => self.put(b"ERROR\r\n"),
            Reply::ClientError(text) => self.put_all([b"CLIENT_ERROR ", text, b"\r\n"]),
            Reply::ServerError(text) => self.put_all([b"SERVER_ERROR ", text, b"\r\n"]),
        }
    }

    /// Writes that a request can't be done.
    pub fn put_refusal(&mut self, refusal: Refusal) {
        self.put_all([refusal.line().as_bytes(), b"\r\n"]);
    }

    /// Writes the line before an item's value, which is followed by `\r\n`.
    #[inline]
    pub fn put_item(&mut self, key: &[u8], flags: u32, cas: Option<u64>, value_bytes: usize) {
        let flags = Decimal::new(flags.into());
        let len = Decimal::new(value_bytes as u64);
        let unique = cas.map(Decimal::new);
        let (space, unique) = unique.as_ref().map_or((&b""[..], &b""[..]), |unique| (b" ", unique.as_bytes()));
        self.put_all([b"VALUE ", key, b" ", flags.as_bytes(), b" ", len.as_bytes(), space, unique, b"\r\n"]);
    }

    /// Writes a figure.
    pub fn put_figure(&mut self, name: &[u8], value: &[u8]) {
        self.put_all([b"STAT ", name, b" ", value, b"\r\n"]);
    }
}
