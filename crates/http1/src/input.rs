//! Received bytes that were not looked at yet, and the head that is put together from several buffers.

use alloc::collections::VecDeque;
use core::fmt;

use sunstar_packet::{Buffer, BufferMut};

use crate::endpoint::Shared;
use crate::error::Error;
use crate::head::EndFinder;
use crate::limits::Limits;

/// A head under way gets room for so many bytes at least.
const JOIN_BYTES: usize = 512;

/// Empty lines that are skipped before a head (RFC 9112 §2.2); some clients send one after a body.
const EMPTY_LINES: u8 = 1;

/// There is more unread input than the limits allow; the buffer comes back.
#[derive(Debug)]
pub struct InputFull(pub Buffer);

impl fmt::Display for InputFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("as much input as the limits allow waits to be looked at")
    }
}

impl core::error::Error for InputFull {}

/// How far the reading of a head is.
pub(crate) enum Progress<T> {
    /// All of it is there.
    Complete(Buffer, T),
    /// More input is needed.
    Partial,
    /// No input will come, and none of a head is there.
    Ended,
}

#[derive(Default)]
pub(crate) struct Input {
    /// The first bytes that nobody has looked at.
    current: Buffer,
    /// What follows them.
    queue: VecDeque<Buffer>,
    /// Of both.
    bytes: usize,
    /// The beginning of a head, when it did not lie in one buffer.
    joined: Option<BufferMut>,
    end: EndFinder,
    empty_lines: u8,
    /// A carriage return came where a head may begin.
    in_empty_line: bool,
    ended: bool,
}

impl Input {
    /// Whether nothing is left to look at, nor a part of a head waits for the rest.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0 && self.joined.is_none()
    }

    /// Whether there is nothing to remember of what has come.
    pub(crate) fn is_as_new(&self) -> bool {
        self.is_empty() && !self.ended && !self.in_empty_line && self.empty_lines == 0
    }

    /// Whether the peer has sent its last byte.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether there is room for another buffer.
    pub(crate) fn has_room(&self, limits: &Limits) -> bool {
        self.bytes < limits.input_bytes.max(1) && self.queue.len() < limits.input_buffers.max(1)
    }

    pub(crate) fn push(&mut self, buffer: Buffer) {
        debug_assert!(!self.ended, "input after its end");
        self.bytes += buffer.len();
        if self.current.is_empty() {
            self.current = buffer;
        } else if !buffer.is_empty() {
            self.queue.push_back(buffer);
        }
    }

    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// Drops everything, as nobody will look at it.
    pub(crate) fn clear(&mut self) {
        let ended = self.ended;
        *self = Self { ended, ..Self::default() };
    }

    /// The next bytes that lie in one piece; empty only when there are none.
    pub(crate) fn peek(&self) -> &[u8] {
        &self.current
    }

    /// Takes the next `count` bytes, which must lie in the current piece.
    pub(crate) fn take(&mut self, count: usize) -> Buffer {
        self.bytes -= count;
        let taken = self.current.split_to(count);
        self.refill();
        taken
    }

    /// Drops the next `count` bytes, which must lie in the current piece.
    pub(crate) fn skip(&mut self, count: usize) {
        self.bytes -= count;
        self.current.advance(count);
        self.refill();
    }

    #[inline]
    fn refill(&mut self) {
        if self.current.is_empty() {
            self.current = self.queue.pop_front().unwrap_or_default();
        }
    }

    /// Reads a head with `parse`, which gets its beginning and answers with its length and parts when all of it is there.
    ///
    /// A head that lies in one buffer is parsed where it is. Any other one is put together: each byte is looked at
    /// thrice at most, however small the pieces are (by the first attempt, to find the end, by the second attempt).
    pub(crate) fn read_head<T>(
        &mut self,
        shared: &Shared,
        mut parse: impl FnMut(&[u8]) -> Result<Option<(usize, T)>, Error>,
    ) -> Result<Progress<T>, Error> {
        if self.joined.is_none() {
            self.skip_empty_lines()?;
            if self.current.is_empty() {
                return Ok(if self.ended { Progress::Ended } else { Progress::Partial });
            }
            let visible = self.current.len().min(shared.limits.head_bytes());
            match parse(&self.current[..visible]) {
                Ok(Some((len, parts))) => {
                    self.empty_lines = 0;
                    return Ok(Progress::Complete(self.take(len), parts));
                }
                Ok(None) => {}
                // In memory of its own a head can be changed.
                Err(Error::Version) if later_version(&self.current).is_some() => {}
                Err(error) => return Err(error),
            }
            self.joined = Some(BufferMut::with_capacity(0, JOIN_BYTES.max(2 * visible)));
            self.end = EndFinder::default();
            shared.counters.joined_heads.add(1);
        }
        self.join(shared, parse)
    }

    /// Goes on with a head whose beginning did not suffice.
    fn join<T>(
        &mut self,
        shared: &Shared,
        mut parse: impl FnMut(&[u8]) -> Result<Option<(usize, T)>, Error>,
    ) -> Result<Progress<T>, Error> {
        let limits = &shared.limits;
        let mut joined = self.joined.take().expect("the caller has begun to join");
        let mut parse = |joined: &mut BufferMut| {
            if let Some(digit) = later_version(joined) {
                joined[digit] = b'1';
            }
            parse(joined)
        };
        while !self.current.is_empty() {
            let room = limits.head_bytes() - joined.len();
            let visible = &self.current[..self.current.len().min(room)];
            let found = self.end.find(visible);
            let count = found.unwrap_or(visible.len());
            append(&mut joined, &visible[..count]);
            shared.counters.joined_bytes.add(count as u64);
            self.skip(count);
            if found.is_some() {
                if !planted::is("empty_lines_pile_up") {
                    self.empty_lines = 0;
                }
                // What looks like an end is one to the parser too, unless it complains before.
                let (_, parts) = parse(&mut joined)?.ok_or(Error::LineEnd)?;
                return Ok(Progress::Complete(joined.freeze(), parts));
            }
            if joined.len() == limits.head_bytes() {
                parse(&mut joined)?;
                return Err(too_large(&joined, limits));
            }
        }
        if self.ended {
            // What is wrong already is told; the rest of a head that is right so far will never come.
            parse(&mut joined)?;
            return Err(Error::Truncated);
        }
        self.joined = Some(joined);
        Ok(Progress::Partial)
    }

    /// Skips what may stand before a first line.
    fn skip_empty_lines(&mut self) -> Result<(), Error> {
        loop {
            match (self.current.first(), self.in_empty_line) {
                (Some(b'\r'), false) if self.empty_lines < EMPTY_LINES => self.in_empty_line = true,
                (Some(b'\n'), true) => {
                    self.in_empty_line = false;
                    self.empty_lines += 1;
                }
                (None, _) => return Ok(()),
                (Some(b'\r' | b'\n'), _) | (Some(_), true) => return Err(Error::StartLine),
                (Some(_), false) => return Ok(()),
            }
            self.skip(1);
        }
    }
}

/// Where a head has the last digit of a later version of HTTP/1 than the parser knows: it is taken for the latest of those
/// (RFC 9110 §2.5).
#[cold]
fn later_version(head: &[u8]) -> Option<usize> {
    let mut spaces = head.iter().enumerate().filter(|(_, byte)| **byte == b' ').map(|(at, _)| at + 1);
    // It stands behind method and target, or, of a response, in front.
    let start = if head.starts_with(b"HTTP/") { 0 } else { spaces.nth(1)? };
    let version = b"HTTP/1.";
    let digit = start + version.len();
    (head[start..].starts_with(version) && matches!(head.get(digit), Some(b'2'..=b'9'))).then_some(digit)
}

/// A head has as many bytes as it may, and no end.
fn too_large(head: &[u8], limits: &Limits) -> Error {
    match head.iter().position(|&byte| byte == b'\n') {
        Some(end) if end < limits.start_line_bytes => Error::HeadersTooLarge,
        _ => Error::StartLineTooLong,
    }
}

fn append(joined: &mut BufferMut, piece: &[u8]) {
    if joined.tailroom() < piece.len() {
        let room = piece.len().max(joined.len());
        joined.grow(0, room).expect("there is memory for a head");
    }
    joined.extend_from_slice(piece).expect("room was made");
}
