//! Received bodies: how their bytes are found in the input (RFC 9112 §6, §7.1).

use alloc::boxed::Box;

use sunstar_packet::Buffer;

use crate::chunked::{Chunked, Item};
use crate::error::Error;
use crate::framing::BodyLength;
use crate::headers::Headers;
use crate::input::Input;
use crate::limits::Limits;

/// What comes next of a body.
pub(crate) enum Piece {
    Data(Buffer),
    End,
    /// More input is needed.
    Pending,
}

/// A body that is being received.
pub(crate) enum BodyReader {
    /// So many bytes are missing.
    Known(u64),
    Chunked(Chunked),
    /// So many bytes may still come.
    UntilClose(u64),
    /// More is missing than may come.
    TooLarge,
}

impl BodyReader {
    /// The reader of a body, `None` when there is none.
    pub(crate) fn new(length: BodyLength, limits: &Limits) -> Result<Option<Self>, Error> {
        match length {
            BodyLength::Empty => Ok(None),
            BodyLength::Known(bytes) if bytes > limits.body_bytes => Err(Error::BodyTooLarge),
            BodyLength::Known(bytes) => Ok(Some(Self::Known(bytes))),
            BodyLength::Chunked => Ok(Some(Self::Chunked(Chunked::new(limits)))),
            BodyLength::UntilClose => Ok(Some(Self::UntilClose(limits.body_bytes))),
        }
    }

    /// Allows at most so many bytes more.
    pub(crate) fn limit(&mut self, body_bytes: u64) {
        match self {
            Self::Known(left) if *left > body_bytes => *self = Self::TooLarge,
            Self::Known(_) | Self::TooLarge => {}
            Self::Chunked(chunked) => chunked.limit(body_bytes),
            Self::UntilClose(left) => *left = body_bytes.min(*left),
        }
    }

    /// The fields behind the body, when it has ended.
    pub(crate) fn take_trailers(&mut self) -> Option<Box<Headers>> {
        match self {
            Self::Chunked(chunked) => chunked.take_trailers(),
            Self::Known(_) | Self::UntilClose(_) | Self::TooLarge => None,
        }
    }

    /// Takes the next piece from the input, without copying it.
    pub(crate) fn poll(&mut self, input: &mut Input) -> Result<Piece, Error> {
        match self {
            Self::TooLarge => Err(Error::BodyTooLarge),
            Self::Known(0) => Ok(Piece::End),
            Self::Known(left) => {
                let count = within(input.peek().len(), *left);
                *left -= count as u64;
                data(input, count)
            }
            Self::UntilClose(_) if input.peek().is_empty() && input.has_ended() => Ok(Piece::End),
            Self::UntilClose(0) if !input.peek().is_empty() => Err(Error::BodyTooLarge),
            Self::UntilClose(left) => {
                let count = within(input.peek().len(), *left);
                if !planted::is("until_close_unbounded") {
                    *left -= count as u64;
                }
                data(input, count)
            }
            Self::Chunked(chunked) => loop {
                if input.peek().is_empty() {
                    return pending(input);
                }
                match chunked.read(input.peek())? {
                    Item::Skip(count) => input.skip(count),
                    Item::Data(count) => return Ok(Piece::Data(input.take(count))),
                    Item::End(count) => {
                        input.skip(count);
                        return Ok(Piece::End);
                    }
                }
            },
        }
    }
}

fn data(input: &mut Input, count: usize) -> Result<Piece, Error> {
    if count == 0 { pending(input) } else { Ok(Piece::Data(input.take(count))) }
}

fn pending(input: &Input) -> Result<Piece, Error> {
    if input.has_ended() { Err(Error::Truncated) } else { Ok(Piece::Pending) }
}

/// The smaller of a count and a number that may be larger than any count.
pub(crate) fn within(count: usize, bound: u64) -> usize {
    usize::try_from(bound).map_or(count, |bound| bound.min(count))
}
