//! Received bytes that were not looked at yet: lines and blocks of data are cut out of them.

use core::fmt;

use sunstar_packet::{Buffer, BufferMut};

use crate::endpoint::{Endpoint, Reservation};
use crate::value::Value;

/// A line under way gets room for so many bytes at least.
const JOIN_BYTES: usize = 256;

/// A value that is put together lies in buffers of at most so many bytes, so that the heap has blocks of few sizes.
pub(crate) const PIECE_BYTES: usize = 64 << 10;

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
    /// There is no memory for it.
    NoMemory,
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

/// A block that did not lie in one buffer.
#[derive(Debug)]
struct Joining {
    complete: Value,
    piece: BufferMut,
    ending: &'static [u8],
    /// Of its end, how many bytes have come, and whether they are right.
    end: (usize, bool),
    _memory: Reservation,
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
            let Some(memory) = endpoint.reserve_value(len) else { return Block::NoMemory };
            endpoint.count_joined_value();
            self.block = Some(Joining {
                complete: Value::new(),
                piece: BufferMut::with_capacity(0, len.min(PIECE_BYTES)),
                ending,
                end: (0, true),
                _memory: memory,
            });
            return self.read_block(endpoint, len, ending);
        };
        joining.take(len, &mut self.current);
        if joining.complete.len() < len || joining.end.0 < ending.len() {
            return Block::Partial;
        }
        let joining = self.block.take().expect("it was just looked at");
        if joining.end.1 { Block::Complete(joining.complete.into_owned()) } else { Block::Unended }
    }

    /// Skips up to `count` bytes, and answers how many that were.
    pub(crate) fn skip(&mut self, count: usize) -> usize {
        let count = count.min(self.current.len());
        self.current.advance(count);
        count
    }
}

impl Joining {
    fn take(&mut self, len: usize, from: &mut Buffer) {
        while self.complete.len() < len {
            let missing = len - self.complete.len() - self.piece.len();
            let count = missing.min(PIECE_BYTES - self.piece.len()).min(from.len());
            self.piece.extend_from_slice(&from[..count]).expect("a piece has room for what is missing");
            from.advance(count);
            if count < missing && self.piece.len() < PIECE_BYTES {
                return;
            }
            let next = BufferMut::with_capacity(0, (missing - count).min(PIECE_BYTES));
            self.complete.push(core::mem::replace(&mut self.piece, next).freeze());
        }
        while self.end.0 < self.ending.len()
            && let Some(byte) = from.first()
        {
            if !planted::is("memcache_end_split") {
                self.end.1 &= *byte == self.ending[self.end.0];
            }
            self.end.0 += 1;
            from.advance(1);
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
