//! What clients ask for.

use alloc::boxed::Box;

use sunstar_packet::Buffer;

use crate::binary::BinaryRequest;
use crate::command::{Direction, RetrievalCommand, StorageCommand};
use crate::meta::MetaCommand;
use crate::reply::Refusal;
use crate::value::Value;

/// A request, as a server gets it.
#[derive(Clone, Debug)]
pub enum Request {
    /// To store a value.
    Store(StorageCommand<Buffer>, Value),
    /// To answer with the items that have these keys; after the last part of the keys by the end.
    Retrieve {
        /// How.
        command: RetrievalCommand,
        /// Of which items.
        keys: Keys,
        /// Whether no further keys of this request follow. Those of a line of any length come in parts.
        is_last: bool,
    },
    /// To delete an item.
    Delete {
        /// Its key.
        key: Buffer,
        /// Whether to keep silent about it.
        noreply: bool,
    },
    /// To change a number.
    Count {
        /// Which way.
        direction: Direction,
        /// The item's key.
        key: Buffer,
        /// By how much.
        by: u64,
        /// Whether to keep silent about it.
        noreply: bool,
    },
    /// To let an item expire at another time.
    Touch {
        /// Its key.
        key: Buffer,
        /// As [`StorageCommand::exptime`] says.
        exptime: i64,
        /// Whether to keep silent about it.
        noreply: bool,
    },
    /// To delete all items.
    FlushAll {
        /// When, as [`StorageCommand::exptime`] says; at once with 0.
        exptime: i64,
        /// Whether to keep silent about it.
        noreply: bool,
    },
    /// To tell the version.
    Version,
    /// To log more or less, which is answered and has no effect.
    Verbosity {
        /// Whether to keep silent about it.
        noreply: bool,
    },
    /// To tell figures. The parameters are as they came.
    Stats(Buffer),
    /// To use so much memory.
    CacheMemlimit {
        /// In mebibytes, at least 8.
        mebibytes: u64,
        /// Whether to keep silent about it.
        noreply: bool,
    },
    /// To tell of all items, or of those of some classes.
    List {
        /// What is told of each.
        form: ListForm,
        /// The classes whose bits are set, that with the number 1 the second lowest.
        classes: u64,
    },
    /// To look for dead items now.
    Crawl {
        /// Whether to keep silent about it.
        noreply: bool,
    },
    /// To do what a meta command says with the item of this key; the value is that of `ms`.
    Meta(Box<MetaCommand>, Buffer, Value),
    /// What a client of the binary protocol asks for.
    Binary(BinaryRequest),
    /// To answer with `MN`.
    MetaNoop,
    /// To end the connection without an answer.
    Quit,
    /// Something that can't be done.
    Refused {
        /// Why.
        refusal: Refusal,
        /// Whether to keep silent about it.
        noreply: bool,
        /// The item that must go, since a value could not be stored that would have replaced it.
        stale: Option<Buffer>,
    },
}

/// What is told of each item when all are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListForm {
    /// What is known of it, with its key as in URIs.
    Facts,
    /// The meta command that gets it.
    Requests,
}

impl Request {
    /// The value, of a request that may have one; it may be empty.
    pub fn value(&self) -> Option<&Value> {
        match self {
            Self::Store(_, value) | Self::Meta(_, _, value) | Self::Binary(BinaryRequest::Item(_, _, value)) => {
                Some(value)
            }
            _ => None,
        }
    }

    /// The key, of a request for one item; `None` if it concerns several items, or none.
    pub fn key(&self) -> Option<&[u8]> {
        match self {
            Self::Store(command, _) => Some(&command.key),
            Self::Retrieve { keys, .. } => keys.only(),
            Self::Binary(BinaryRequest::Item(_, key, _)) => Some(key),
            Self::Delete { key, .. } | Self::Count { key, .. } | Self::Touch { key, .. } | Self::Meta(_, key, _) => {
                Some(key)
            }
            _ => None,
        }
    }
}

/// Keys of one retrieval command, none of them empty or too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    bytes: Buffer,
    is_one: bool,
}

impl Keys {
    /// Those of a part of a line, of which the first word is known to have so many bytes and to stand at the beginning.
    pub(crate) fn with_first(bytes: Buffer, first_bytes: usize) -> Self {
        let is_one = first_bytes > 0 && first_bytes == bytes.len();
        Self { bytes, is_one }
    }

    /// Those of a part of a line.
    pub(crate) fn new(bytes: Buffer) -> Self {
        let is_one = !bytes.is_empty() && memchr::memchr(b' ', &bytes).is_none();
        Self { bytes, is_one }
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> + Clone {
        words(&self.bytes)
    }

    /// The key, if there is but one.
    pub fn only(&self) -> Option<&[u8]> {
        self.is_one.then_some(&self.bytes)
    }

    /// The key that was found by [`iter`](Self::iter) as a part of what was received.
    pub fn buffer(&self, key: &[u8]) -> Buffer {
        self.bytes.slice_of(key).unwrap_or_else(|| Buffer::copy_from_slice(key))
    }
}

/// Whether a key can stand in a line: what was sent in base64 or by the binary protocol may have any bytes, and must not become lines of
/// its own.
pub(crate) fn is_word(key: &[u8]) -> bool {
    key.iter().all(|byte| *byte > b' ' && *byte != 0x7f)
}

/// The words of a line, which are separated by any number of spaces.
pub(crate) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let mut rest = line;
    core::iter::from_fn(move || {
        let start = rest.iter().position(|byte| *byte != b' ')?;
        let from = &rest[start..];
        let (word, behind) = from.split_at(memchr::memchr(b' ', from).unwrap_or(from.len()));
        rest = behind;
        Some(word)
    })
}
