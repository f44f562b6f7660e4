//! Received bytes that were not looked at yet: lines and blocks of data are cut out of them.

use core::fmt;

use sunstar_packet::{Buffer, BufferMut};

use crate::endpoint::Endpoint;
use crate::joining::{Joined, Joining};
use crate::value::Value;

/// A line under way gets room for so many bytes at least.
const JOIN_BYTES: usize = 256;

/// A value that is put together lies in buffers of at most so many bytes, so that the heap has blocks of few sizes: with what the heap and the buffer
/// have in front, one takes no more than a page of the store, so that it finds room where one was.
pub(crate) const PIECE_BYTES: usize = (64 << 10) - 256;

/// The end of a line, and of a block of the text protocol.
pub(crate) const LINE_END: &[u8] = b"\r\n";

/// The connection has not looked at the input before; the buffer comes back.
#[derive(Debug)]
pub struct InputFull(pub Buffer);

impl fmt::Display for InputFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("input waits to be looked at")
    }
}

impl core::error::Error for InputFull {}

/// How far the reading of a line is.
pub(crate) enum Line {
    /// All of it is there; it comes without its end.
    Complete(Buffer),
    /// More input is needed.
    Partial,
    /// It is longer than it may be, and nothing of it was taken.
    TooLong,
}

/// How far the reading of a block of data is.
pub(crate) enum Block {
    /// All of it is there.
    Complete(Value),
    /// As many bytes as it has are there, but no line end follows.
    Unended,
    /// There is no memory for it. So many bytes of it and its end are yet to come.
    NoMemory(usize),
    /// More input is needed.
    Partial,
}

/// Received bytes, one buffer at a time, and what is put together of several.
#[derive(Debug, Default)]
pub(crate) struct Input {
    current: Buffer,
    /// The beginning of a line that did not lie in one buffer.
    joined: Option<BufferMut>,
    block: Option<Joining>,
}

impl Input {
    /// The next byte.
    pub(crate) fn first(&self) -> Option<u8> {
        self.current.first().copied()
    }

    /// Whether all that has come was looked at.
    pub(crate) fn is_empty(&self) -> bool {
        self.current.is_empty()
    }

    /// Whether nothing is under way either.
    pub(crate) fn is_as_new(&self) -> bool {
        self.is_empty() && self.joined.is_none() && self.block.is_none()
    }

    pub(crate) fn push(&mut self, buffer: Buffer) -> Result<(), InputFull> {
        if !self.is_empty() {
            return Err(InputFull(buffer));
        }
        self.current = buffer;
        Ok(())
    }

    /// Drops everything, as nobody will look at it.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Reads a line of at most `max_bytes`, which ends with a line feed that may follow a carriage return.
    pub(crate) fn read_line(&mut self, endpoint: &Endpoint, max_bytes: usize) -> Line {
        let so_far = self.joined.as_ref().map_or(0, |joined| joined.len());
        let room = max_bytes.saturating_sub(so_far);
        let visible = &self.current[..self.current.len().min(room)];
        match memchr::memchr(b'\n', visible) {
            Some(end) => {
                let rest = self.current.split_to(end + 1);
                let mut line = match self.joined.take() {
                    None => rest,
                    Some(mut joined) => {
                        append(&mut joined, &rest);
                        joined.freeze()
                    }
                };
                let is_long = line.ends_with(LINE_END);
                line.truncate(line.len() - if is_long { 2 } else { 1 });
                Line::Complete(line)
            }
            None if self.current.len() >= room => Line::TooLong,
            None => {
                self.join(endpoint);
                Line::Partial
            }
        }
    }

    /// Puts what there is of a line beside what comes next.
    fn join(&mut self, endpoint: &Endpoint) {
        if self.current.is_empty() {
            return;
        }
        let joined = self.joined.get_or_insert_with(|| {
            endpoint.count_joined_line();
            BufferMut::with_capacity(0, JOIN_BYTES.max(2 * self.current.len()))
        });
        append(joined, &self.current);
        self.current = Buffer::new();
    }

    /// Of a line that is too long, takes what stands before the last space among its first `max_bytes`; `None` if there is none.
    ///
    /// What follows the space is the beginning of what is read next. Without a space, nothing good can be read any more.
    pub(crate) fn split_line(&mut self, endpoint: &Endpoint, max_bytes: usize) -> Option<Buffer> {
        let Some(mut joined) = self.joined.take() else {
            let visible = &self.current[..self.current.len().min(max_bytes)];
            let mut part = self.current.split_to(memchr::memrchr(b' ', visible)? + 1);
            part.truncate(part.len() - 1);
            return Some(part);
        };
        let count = self.current.len().min(max_bytes.saturating_sub(joined.len()));
        append(&mut joined, &self.current[..count]);
        self.current.advance(count);
        let joined = joined.freeze();
        let space = memchr::memrchr(b' ', &joined)?;
        let rest = &joined[space + 1..];
        if !rest.is_empty() {
            endpoint.count_joined_line();
            let mut begun = BufferMut::with_capacity(0, JOIN_BYTES.max(2 * rest.len()));
            append(&mut begun, rest);
            self.joined = Some(begun);
        }
        Some(joined.slice(..space))
    }

    /// Reads so many bytes, which are few, into one buffer.
    pub(crate) fn read_bytes(&mut self, endpoint: &Endpoint, len: usize) -> Option<Buffer> {
        if self.joined.is_none() && self.current.len() >= len {
            return Some(self.current.split_to(len));
        }
        let so_far = self.joined.as_ref().map_or(0, |joined| joined.len());
        let rest = self.current.split_to((len - so_far).min(self.current.len()));
        let behind = core::mem::replace(&mut self.current, rest);
        self.join(endpoint);
        self.current = behind;
        self.let_go();
        self.joined.take_if(|joined| joined.len() == len).map(BufferMut::freeze)
    }

    /// Reads a block of `len` bytes and its end.
    pub(crate) fn read_block(&mut self, endpoint: &Endpoint, len: usize, ending: &'static [u8]) -> Block {
        let Some(joining) = &mut self.block else {
            if self.current.len() >= len + ending.len() {
                let value = self.current.split_to(len);
                let is_ended = self.current.starts_with(ending);
                self.current.advance(ending.len());
                return if is_ended { Block::Complete(value.into()) } else { Block::Unended };
            }
            if self.is_empty() {
                return Block::Partial;
            }
            let Some(joining) = Joining::begin(endpoint, len, ending) else {
                endpoint.count_refused_value();
                return Block::NoMemory(len + ending.len());
            };
            endpoint.count_joined_value();
            self.block = Some(joining);
            return self.read_block(endpoint, len, ending);
        };
        let joined = joining.take(&mut self.current);
        self.let_go();
        let block = match joined {
            Joined::Partial => return Block::Partial,
            Joined::Complete(value, true) => Block::Complete(value),
            Joined::Complete(_, false) => Block::Unended,
            Joined::NoMemory(left) => Block::NoMemory(left),
        };
        self.block = None;
        block
    }

    /// The key of a command before whose value and its end, of so many bytes, it may take long: then it must not keep what was received.
    pub(crate) fn key_before(&self, key: Buffer, bytes: usize) -> Buffer {
        if self.current.len() >= bytes { key } else { Buffer::copy_from_slice(&key) }
    }

    /// Skips up to `count` bytes, and answers how many that were.
    pub(crate) fn skip(&mut self, count: usize) -> usize {
        let count = count.min(self.current.len());
        self.current.advance(count);
        self.let_go();
        count
    }

    /// Keeps nothing of what was received and looked at, while more is awaited.
    fn let_go(&mut self) {
        if self.current.is_empty() {
            self.current = Buffer::new();
        }
    }
}

fn append(joined: &mut BufferMut, piece: &[u8]) {
    if joined.tailroom() < piece.len() {
        let room = piece.len().max(joined.len());
        joined.grow(0, room).expect("there is memory for a line");
    }
    joined.extend_from_slice(piece).expect("room was made");
}
