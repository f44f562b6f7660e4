//! The lines of answers.

use sunstar_packet::Buffer;

use super::Item;
use crate::limits::MAX_KEY_BYTES;
use crate::number::unsigned;
use crate::reply::Reply;
use crate::value::Value;

/// What may answer a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    Storage,
    Items { with_cas: bool },
    Deletion,
    Number,
    Touch,
    Ok,
    Version,
    Figures,
}

/// What a line is.
pub(super) enum Parsed {
    Reply(Reply),
    Figure(Buffer, Buffer),
    /// An item, whose value of this many bytes follows.
    Item(Item, usize),
}

impl Expected {
    /// Reads a line; `None` if it is no answer to such a request.
    pub(super) fn parse(self, line: &Buffer) -> Option<Parsed> {
        let reply = match (self, &**line) {
            (Self::Items { with_cas }, _) if line.starts_with(b"VALUE ") => return item(line, with_cas),
            (Self::Figures, _) if line.starts_with(b"STAT ") => return figure(line),
            (Self::Storage, b"STORED") => Reply::Stored,
            (Self::Storage, b"NOT_STORED") => Reply::NotStored,
            (Self::Storage, b"EXISTS") => Reply::Exists,
            (Self::Storage | Self::Deletion | Self::Number | Self::Touch, b"NOT_FOUND") => Reply::NotFound,
            (Self::Deletion, b"DELETED") => Reply::Deleted,
            (Self::Touch, b"TOUCHED") => Reply::Touched,
            (Self::Items { .. } | Self::Figures, b"END") => Reply::End,
            // `stats reset` and `stats detail` answer in one line.
            (Self::Figures, b"RESET") | (Self::Ok | Self::Figures, b"OK") => Reply::Ok,
            (Self::Version, _) if line.starts_with(b"VERSION ") => Reply::Version(line.slice(8..)),
            (Self::Number, [b'0'..=b'9', ..]) => Reply::Number(unsigned(line)?),
            (_, b"ERROR") => Reply::Error,
            (_, _) if line.starts_with(b"CLIENT_ERROR ") => Reply::ClientError(line.slice(13..)),
            (_, _) if line.starts_with(b"SERVER_ERROR ") => Reply::ServerError(line.slice(13..)),
            _ => return None,
        };
        Some(Parsed::Reply(reply))
    }
}

/// Reads `VALUE key flags bytes [unique]`.
fn item(line: &Buffer, with_cas: bool) -> Option<Parsed> {
    let mut words = line[6..].split(|byte| *byte == b' ');
    let key = words.next().filter(|key| (1..=MAX_KEY_BYTES).contains(&key.len()))?;
    let flags = unsigned(words.next()?)?.try_into().ok()?;
    let len = unsigned(words.next()?)?.try_into().ok()?;
    let cas = if with_cas { Some(unsigned(words.next()?)?) } else { None };
    if words.next().is_some() {
        return None;
    }
    Some(Parsed::Item(Item { key: line.slice_of(key)?, flags, cas, value: Value::new() }, len))
}

/// Reads `STAT name value`, where the value may be empty and have spaces.
fn figure(line: &Buffer) -> Option<Parsed> {
    let text = &line[5..];
    let (name, value) = match memchr::memchr(b' ', text) {
        Some(space) => (&text[..space], &text[space + 1..]),
        None => (text, &text[text.len()..]),
    };
    (!name.is_empty()).then_some(())?;
    Some(Parsed::Figure(line.slice_of(name)?, line.slice_of(value)?))
}
