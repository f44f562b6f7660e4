//! Where a body in chunks ends (RFC 9112 §7.1).

use crate::fault::Fault;

/// Digits of the largest size that is taken; more would overflow.
const MAX_DIGITS: u8 = 15;

/// How far one is in a body of chunks. What the chunks hold is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunks {
    /// In the digits of a size.
    Size { size: u64, digits: u8 },
    /// Behind them, in what may be extensions.
    Extension { size: u64 },
    /// The size's line must end with the next byte.
    SizeEnd { size: u64 },
    /// In a chunk, with so many bytes to come.
    Data { left: u64 },
    /// Behind a chunk's data.
    DataEnd { has_return: bool },
    /// Behind the last chunk, in a line that is empty so far or not.
    Trailer { is_empty: bool },
}

impl Chunks {
    pub(super) const fn new() -> Self {
        Self::Size { size: 0, digits: 0 }
    }

    /// Answers after how many bytes the body ends, if it does.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if let Self::Data { left } = *self {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                at += here;
                let left = left - here as u64;
                *self = if left == 0 { Self::DataEnd { has_return: false } } else { Self::Data { left } };
                continue;
            }
            at += 1;
            match self.step(byte)? {
                Some(next) => *self = next,
                None => return Ok(Some(at)),
            }
        }
        Ok(None)
    }

    /// What comes after a byte outside of data; nothing after the last one.
    fn step(self, byte: u8) -> Result<Option<Self>, Fault> {
        let next = match (self, byte) {
            (Self::Size { size, digits }, _) if byte.is_ascii_hexdigit() && digits < MAX_DIGITS => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                Self::Size { size: size * 16 + digit, digits: digits + 1 }
            }
            (Self::Size { digits: 0, .. }, _) => return Err(Fault::BadAnswer),
            (Self::Size { size, .. } | Self::Extension { size }, b'\r') => Self::SizeEnd { size },
            (Self::Size { size, .. }, b';' | b' ' | b'\t') => Self::Extension { size },
            (Self::Extension { size }, _) if byte != b'\n' => Self::Extension { size },
            (Self::SizeEnd { size: 0 }, b'\n') => Self::Trailer { is_empty: true },
            (Self::SizeEnd { size }, b'\n') => Self::Data { left: size },
            (Self::DataEnd { has_return: false }, b'\r') => Self::DataEnd { has_return: true },
            (Self::DataEnd { has_return: true }, b'\n') => Self::new(),
            (Self::Trailer { is_empty: true }, b'\n') => return Ok(None),
            (Self::Trailer { .. }, b'\n') => Self::Trailer { is_empty: true },
            (Self::Trailer { is_empty }, b'\r') => Self::Trailer { is_empty },
            (Self::Trailer { .. }, _) => Self::Trailer { is_empty: false },
            _ => return Err(Fault::BadAnswer),
        };
        Ok(Some(next))
    }
}
