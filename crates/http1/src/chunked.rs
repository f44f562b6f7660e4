//! The chunked transfer coding (RFC 9112 §7.1), decoded byte by byte outside of data, so that splits don't matter.

use alloc::boxed::Box;

use crate::body::within;
use crate::error::Error;
use crate::headers::Headers;
use crate::limits::Limits;
use crate::text::{is_token_byte, is_value_byte};
use crate::trailers::TrailerReader;

/// A size has at most so many digits; a 64-bit number needs no more.
const SIZE_DIGITS: u8 = 16;

/// What the first bytes of the input are.
pub(crate) enum Item {
    /// So many bytes of the coding itself.
    Skip(usize),
    /// So many bytes of data, at least one.
    Data(usize),
    /// So many bytes, the last of the message.
    End(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first digit of a size.
    Size,
    /// Within a size.
    SizeDigits,
    /// In the whitespace that some put before an extension.
    SizeSpace,
    Extension,
    /// After the carriage return of a size's line.
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    /// At the start of a trailer line, or of the empty one.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLineFeed,
    EndLineFeed,
}

/// The decoder's state.
pub(crate) struct Chunked {
    state: State,
    /// The size of the chunk so far, then what is missing of its data.
    size: u64,
    digits: u8,
    /// How much of each may still come.
    body_bytes: u64,
    extension_bytes: usize,
    trailers: TrailerReader,
}

impl Chunked {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            state: State::Size,
            size: 0,
            digits: 0,
            body_bytes: limits.body_bytes,
            extension_bytes: limits.chunk_extension_bytes,
            trailers: TrailerReader::new(limits),
        }
    }

    /// Allows at most so many bytes of data more.
    pub(crate) fn limit(&mut self, body_bytes: u64) {
        self.body_bytes = self.body_bytes.min(body_bytes);
    }

    /// The fields behind the body, when it has ended.
    pub(crate) fn take_trailers(&mut self) -> Option<Box<Headers>> {
        self.trailers.finish()
    }

    /// Says what `bytes`, of which there is at least one, begins with; the caller takes as many away.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<Item, Error> {
        if planted::is("digits_per_piece") {
            self.digits = 0;
        }
        for (at, &byte) in bytes.iter().enumerate() {
            if self.state == State::Data {
                if at > 0 {
                    return Ok(Item::Skip(at));
                }
                let count = within(bytes.len(), self.size);
                self.size -= count as u64;
                if self.size == 0 {
                    self.state = State::DataReturn;
                }
                return Ok(Item::Data(count));
            }
            if self.state == State::EndLineFeed {
                return if byte == b'\n' { Ok(Item::End(at + 1)) } else { Err(Error::Trailer) };
            }
            self.state = self.step(byte)?;
        }
        Ok(Item::Skip(bytes.len()))
    }

    fn step(&mut self, byte: u8) -> Result<State, Error> {
        match self.state {
            State::Size | State::SizeDigits => self.on_size(byte),
            State::SizeSpace | State::Extension => self.on_extension(byte),
            State::SizeLineFeed => match byte {
                b'\n' => self.on_chunk(),
                _ => Err(Error::Chunk),
            },
            State::DataReturn => expect(byte, b'\r', State::DataLineFeed, Error::Chunk),
            State::DataLineFeed => expect(byte, b'\n', State::Size, Error::Chunk),
            State::TrailerLineFeed => expect(byte, b'\n', State::TrailerStart, Error::Trailer),
            State::TrailerStart | State::TrailerName | State::TrailerValue => self.on_trailer(byte),
            State::Data | State::EndLineFeed => Ok(self.state),
        }
    }

    fn on_size(&mut self, byte: u8) -> Result<State, Error> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if self.state == State::SizeDigits => return Ok(State::SizeLineFeed),
            b';' | b' ' | b'\t' if self.state == State::SizeDigits => return self.on_extension(byte),
            _ => return Err(Error::Chunk),
        };
        if self.digits == SIZE_DIGITS {
            return Err(Error::Chunk);
        }
        self.digits += 1;
        self.size = (self.size << 4) | u64::from(digit);
        Ok(State::SizeDigits)
    }

    /// Extensions are not understood, and skipped (RFC 9112 §7.1.1), but a line feed in one is never harmless.
    fn on_extension(&mut self, byte: u8) -> Result<State, Error> {
        let next = match byte {
            b'\r' if self.state == State::Extension => return Ok(State::SizeLineFeed),
            b' ' | b'\t' if self.state != State::Extension => State::SizeSpace,
            b';' => State::Extension,
            _ if self.state == State::Extension && is_value_byte(byte) => State::Extension,
            _ => return Err(Error::Chunk),
        };
        self.extension_bytes = self.extension_bytes.checked_sub(1).ok_or(Error::Chunk)?;
        Ok(next)
    }

    /// The line with the size is complete.
    fn on_chunk(&mut self) -> Result<State, Error> {
        self.digits = 0;
        if self.size == 0 {
            return Ok(State::TrailerStart);
        }
        self.body_bytes = self.body_bytes.checked_sub(self.size).ok_or(Error::BodyTooLarge)?;
        if planted::is("chunk_one_short") && self.size > 0xf {
            self.size -= 1;
        }
        Ok(State::Data)
    }

    fn on_trailer(&mut self, byte: u8) -> Result<State, Error> {
        if byte == b'\r' {
            return match self.state {
                State::TrailerStart => Ok(State::EndLineFeed),
                State::TrailerValue => {
                    self.trailers.end_line()?;
                    Ok(State::TrailerLineFeed)
                }
                _ => Err(Error::Trailer),
            };
        }
        self.trailers.push(byte)?;
        match self.state {
            State::TrailerValue if is_value_byte(byte) => Ok(State::TrailerValue),
            State::TrailerName if byte == b':' => Ok(State::TrailerValue),
            State::TrailerStart | State::TrailerName if is_token_byte(byte) => Ok(State::TrailerName),
            _ => Err(Error::Trailer),
        }
    }
}

fn expect(byte: u8, expected: u8, next: State, otherwise: Error) -> Result<State, Error> {
    if byte == expected { Ok(next) } else { Err(otherwise) }
}
