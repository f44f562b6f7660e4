//! The binary protocol: what stands in its packets.
//!
//! A packet has a header of 24 bytes: magic, opcode, length of the key, length of the extras, data type, status (0 in a request),
//! length of the body (extras, key and value together), opaque, unique number. Numbers have their high byte first.

use crate::command::{Direction, StorageVerb};
use crate::output::Output;

/// What a request begins with. No command of the text protocol does.
pub(crate) const REQUEST_MAGIC: u8 = 0x80;

const RESPONSE_MAGIC: u8 = 0x81;

/// Of a header, in bytes.
pub(crate) const HEADER_BYTES: usize = 24;

/// The time with which a number is not made where there is none.
pub(crate) const NEVER_MADE: u32 = u32::MAX;

/// What the answer to a request repeats of its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BinaryTag {
    /// The command.
    pub opcode: u8,
    /// What the client knows the request by.
    pub opaque: [u8; 4],
}

/// How a request of the binary protocol went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryStatus {
    /// As it should.
    Ok,
    /// There is no such item.
    NotFound,
    /// There is one, or one with another unique number.
    Exists,
    /// The item is larger than [`Limits::item_bytes`](crate::Limits::item_bytes).
    TooLarge,
    /// The lengths in the header are not those of the command.
    InvalidArguments,
    /// What the command demands is not so.
    NotStored,
    /// What is to be changed is no number.
    NotANumber,
    /// There is no such command, or none that this server has.
    UnknownCommand,
    /// There is no memory for the item.
    NoMemory,
}

impl BinaryStatus {
    /// The number in the header.
    pub const fn code(self) -> u16 {
        match self {
            Self::Ok => 0,
            Self::NotFound => 1,
            Self::Exists => 2,
            Self::TooLarge => 3,
            Self::InvalidArguments => 4,
            Self::NotStored => 5,
            Self::NotANumber => 6,
            Self::UnknownCommand => 0x81,
            Self::NoMemory => 0x82,
        }
    }

    /// What stands in the body of such an answer, in memcached's words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Ok => "",
            Self::NotFound => "Not found",
            Self::Exists => "Data exists for key.",
            Self::TooLarge => "Too large.",
            Self::InvalidArguments => "Invalid arguments",
            Self::NotStored => "Not stored.",
            Self::NotANumber => "Non-numeric server-side value for incr or decr",
            Self::UnknownCommand => "Unknown command",
            Self::NoMemory => "Out of memory",
        }
    }
}

/// A request that concerns one item, without its key and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BinaryCommand {
    /// What the answer repeats.
    pub tag: BinaryTag,
    /// What it does.
    pub verb: BinaryVerb,
    /// No answer is wanted to what went as it should, or to an item that is not there.
    pub is_quiet: bool,
    /// The unique number that the item must have; 0 for any.
    pub cas: u64,
}

/// What is done with an item. Times are those of [`StorageCommand::exptime`](crate::StorageCommand::exptime);
/// a packet has none that is negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryVerb {
    /// To answer with it.
    Get {
        /// The answer has the key too.
        with_key: bool,
    },
    /// To answer with it, and to let it expire at another time.
    GetAndTouch {
        /// The answer has the key too.
        with_key: bool,
        /// When.
        exptime: i64,
    },
    /// To let it expire at another time; the answer has its flags.
    Touch {
        /// When.
        exptime: i64,
    },
    /// To store a value.
    Store {
        /// What is demanded besides the unique number, which is none of its own.
        verb: StorageVerb,
        /// What is stored with it.
        flags: u32,
        /// When it expires.
        exptime: i64,
    },
    /// To delete it.
    Delete,
    /// To change the number that it is.
    Count {
        /// Which way.
        direction: Direction,
        /// By how much.
        by: u64,
        /// What it becomes if there is none.
        initial: u64,
        /// When it expires then; `None` to make none.
        exptime: Option<i64>,
    },
}

impl BinaryVerb {
    pub(crate) fn exptime_mut(&mut self) -> Option<&mut i64> {
        match self {
            Self::GetAndTouch { exptime, .. } | Self::Touch { exptime } | Self::Store { exptime, .. } => Some(exptime),
            Self::Count { exptime, .. } => exptime.as_mut(),
            Self::Get { .. } | Self::Delete => None,
        }
    }
}

/// A request of the binary protocol, as a server gets it.
#[derive(Clone, Debug)]
pub enum BinaryRequest {
    /// To do something with the item of this key; the value is of no interest but to [`BinaryVerb::Store`].
    Item(BinaryCommand, sunstar_packet::Buffer, crate::Value),
    /// To delete all items, at this time.
    Flush {
        /// What the answer repeats.
        tag: BinaryTag,
        /// When, as for items; at once with 0.
        exptime: u32,
        /// No answer is wanted.
        is_quiet: bool,
    },
    /// To answer, which has no other effect: `noop`, and what is to be logged.
    Noop(BinaryTag),
    /// To tell the version.
    Version(BinaryTag),
    /// To tell figures; the key says which.
    Stats(BinaryTag, sunstar_packet::Buffer),
    /// To end the connection.
    Quit {
        /// What the answer repeats.
        tag: BinaryTag,
        /// No answer is wanted.
        is_quiet: bool,
    },
    /// Something that can't be done.
    Refused {
        /// What the answer repeats.
        tag: BinaryTag,
        /// Why.
        status: BinaryStatus,
        /// The item that must go, since a value could not be stored that would have replaced it.
        stale: Option<sunstar_packet::Buffer>,
    },
}

impl Output {
    /// Writes an answer of the binary protocol but for the end of its body, of which `value_bytes` follow.
    ///
    /// # Panics
    /// If the extras or the key are longer than a header can say, which no extras and keys of the protocol are.
    pub fn put_packet(
        &mut self,
        tag: BinaryTag,
        status: BinaryStatus,
        cas: u64,
        extras: &[u8],
        key: &[u8],
        value_bytes: usize,
    ) {
        let body = extras.len() + key.len() + value_bytes;
        let body = u32::try_from(body).expect("items are shorter").to_be_bytes();
        let key_bytes = u16::try_from(key.len()).expect("keys are short").to_be_bytes();
        let extras_bytes = u8::try_from(extras.len()).expect("extras are short");
        let front = [RESPONSE_MAGIC, tag.opcode, key_bytes[0], key_bytes[1], extras_bytes, 0];
        let (status, cas) = (status.code().to_be_bytes(), cas.to_be_bytes());
        self.put_all([&front, &status, &body, &tag.opaque, &cas, extras, key]);
    }

    /// Writes an answer that says how it went and nothing else.
    pub fn put_packet_status(&mut self, tag: BinaryTag, status: BinaryStatus) {
        let text = status.text().as_bytes();
        self.put_packet(tag, status, 0, &[], &[], text.len());
        self.put(text);
    }
}
