//! Bytes to be sent: heads and small bodies one behind the other in frames, large bodies as they are.

use alloc::vec::Vec;

use sunstar_packet::{Buffer, BufferMut, Pool};

use crate::headers::{BadValue, HeaderLines, HeaderName};
use crate::text;

/// Of one frame; holds the small responses to a handful of pipelined requests.
pub(crate) const FRAME_BYTES: usize = 4096;

/// Room in front of a frame's first byte, for the headers of lower layers.
pub(crate) const HEADROOM_BYTES: usize = 128;

/// A head is begun where there is room for so many bytes, so that it rarely has to move to a larger buffer.
const HEAD_ROOM_BYTES: usize = 512;

/// Bodies and parts of them up to this size are copied behind what is sent before them: one buffer costs a device or system
/// call more than copying it.
pub const COPIED_BODY_BYTES: usize = 1024;

#[derive(Default)]
pub(crate) struct Output {
    /// What is complete, first bytes first.
    ready: Vec<Buffer>,
    ready_bytes: usize,
    /// What follows it, and is being written.
    tail: Option<BufferMut>,
}

impl Output {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    /// How many bytes wait.
    pub(crate) fn bytes(&self) -> usize {
        self.ready_bytes + self.tail.as_ref().map_or(0, |tail| tail.len())
    }

    /// Moves everything to `out`, and answers how many bytes that were.
    pub(crate) fn take(&mut self, out: &mut impl Extend<Buffer>) -> usize {
        let bytes = self.bytes();
        // Most often all of it lies in one frame.
        if !self.ready.is_empty() {
            out.extend(self.ready.drain(..));
            self.ready_bytes = 0;
        }
        out.extend(self.tail.take().filter(|tail| !tail.is_empty()).map(BufferMut::freeze));
        bytes
    }

    /// Begins a head. What was answered is where it starts, for [`Output::put_back`].
    pub(crate) fn begin(&mut self, frames: &Pool) -> usize {
        self.tail(frames, HEAD_ROOM_BYTES).len()
    }

    /// Takes a head back that was begun at `start`.
    pub(crate) fn put_back(&mut self, start: usize) {
        if let Some(tail) = &mut self.tail {
            tail.truncate(start);
        }
    }

    /// Goes on with a head that was begun.
    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.put_all([bytes]);
    }

    /// Goes on with a head that was begun, by several parts.
    #[inline]
    pub(crate) fn put_all<const N: usize>(&mut self, parts: [&[u8]; N]) {
        let tail = self.tail.as_mut().expect("a head was begun");
        if tail.extend_from_slices(parts).is_err() {
            enlarge(tail, parts.iter().map(|part| part.len()).sum());
            tail.extend_from_slices(parts).expect("room was made");
        }
    }

    pub(crate) fn put_header(&mut self, name: HeaderName<'_>, value: &[u8]) -> Result<(), BadValue> {
        if !text::is_value(value) {
            return Err(BadValue);
        }
        self.put_all([name.as_str().as_bytes(), b": ", value, b"\r\n"]);
        Ok(())
    }

    /// Ends a head whose body has a known length.
    pub(crate) fn put_length(&mut self, length: u64) {
        self.put_all([b"Content-Length: ", text::Decimal::new(length).as_bytes(), b"\r\n\r\n"]);
    }

    /// Puts bytes behind that may lie elsewhere.
    pub(crate) fn push(&mut self, frames: &Pool, buffer: Buffer) {
        if buffer.len() <= COPIED_BODY_BYTES {
            let tail = self.tail(frames, buffer.len());
            tail.extend_from_slice(&buffer).expect("there is room for a small body");
        } else {
            self.retire();
            self.ready_bytes += buffer.len();
            self.ready.push(buffer);
        }
    }

    /// What is being written, with room for so many bytes.
    fn tail(&mut self, frames: &Pool, bytes: usize) -> &mut BufferMut {
        debug_assert!(bytes <= FRAME_BYTES, "more than a frame has");
        if self.tail.as_ref().is_none_or(|tail| tail.tailroom() < bytes) {
            self.retire();
        }
        self.tail.get_or_insert_with(|| {
            frames.take().unwrap_or_else(|| BufferMut::with_capacity(HEADROOM_BYTES, FRAME_BYTES))
        })
    }

    /// What was written is complete.
    fn retire(&mut self) {
        if let Some(tail) = self.tail.take()
            && !tail.is_empty()
        {
            self.ready_bytes += tail.len();
            self.ready.push(tail.freeze());
        }
    }
}

/// Makes room for so many bytes more of a head.
#[cold]
fn enlarge(tail: &mut BufferMut, bytes: usize) {
    let room = bytes.max(FRAME_BYTES).max(tail.len());
    tail.grow(HEADROOM_BYTES, room).expect("there is memory for a head");
}

/// Why a part of a body, or its end, was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// No body is being sent.
    NotStreaming,
    /// The body would become longer than was announced; the part was not taken.
    TooLong,
    /// The body is shorter than was announced. The connection ends, so that the peer notices.
    TooShort,
    /// The body goes in chunks, so all of it must pass through the connection.
    Chunked,
    /// A field may not stand behind a body (RFC 9110 §6.5.1); the body was not ended.
    Trailer,
}

impl core::fmt::Display for BodyError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NotStreaming => "no body is being sent",
            Self::TooLong => "the body is longer than was announced",
            Self::TooShort => "the body is shorter than was announced",
            Self::Chunked => "the body goes in chunks",
            Self::Trailer => "a field may not stand behind a body",
        })
    }
}

impl core::error::Error for BodyError {}

/// A body that is being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyWriter {
    /// So many bytes are missing.
    Known(u64),
    Chunked,
    UntilClose,
    /// The message has none, whatever is written: the answer to `HEAD`, or a status that forbids it.
    Nothing,
}

impl BodyWriter {
    pub(crate) fn write(&mut self, output: &mut Output, frames: &Pool, buffer: Buffer) -> Result<(), BodyError> {
        // An empty chunk would end the body.
        if buffer.is_empty() {
            return Ok(());
        }
        match self {
            Self::Nothing => {}
            Self::Known(left) => {
                *left = left.checked_sub(buffer.len() as u64).ok_or(BodyError::TooLong)?;
                output.push(frames, buffer);
            }
            Self::UntilClose => output.push(frames, buffer),
            Self::Chunked => {
                let mut line = [0; 18];
                output.begin(frames);
                output.put(chunk_line(buffer.len() as u64, &mut line));
                output.push(frames, buffer);
                output.begin(frames);
                output.put(b"\r\n");
            }
        }
        Ok(())
    }

    /// Takes note of bytes that are sent by somebody else; answers how many of them are to be sent.
    pub(crate) fn skip(&mut self, len_bytes: u64) -> Result<u64, BodyError> {
        match self {
            Self::Nothing => return Ok(0),
            Self::Known(left) => *left = left.checked_sub(len_bytes).ok_or(BodyError::TooLong)?,
            Self::UntilClose => {}
            Self::Chunked => return Err(BodyError::Chunked),
        }
        Ok(len_bytes)
    }

    pub(crate) fn finish(self, output: &mut Output, frames: &Pool, trailers: &HeaderLines) -> Result<(), BodyError> {
        match self {
            Self::Known(1..) => return Err(BodyError::TooShort),
            Self::Chunked => {
                output.begin(frames);
                output.put_all([b"0\r\n", trailers.as_bytes(), b"\r\n"]);
            }
            Self::Known(0) | Self::UntilClose | Self::Nothing => {}
        }
        Ok(())
    }
}

/// The line before a chunk, at the end of `line`.
fn chunk_line(mut size: u64, line: &mut [u8; 18]) -> &[u8] {
    let mut start = 16;
    line[16..].copy_from_slice(b"\r\n");
    while size > 0 {
        start -= 1;
        line[start] = b"0123456789abcdef"[usize::from(size.to_le_bytes()[0] & 0xf)];
        size >>= 4;
    }
    &line[start..]
}
