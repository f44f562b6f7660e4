//! Messages to be sent.

use core::fmt;

use super::{BROADCAST_FLAG, COOKIE, Code, ETHERNET, FIXED_BYTES, Header, Kind, REPLY, REQUEST};
use crate::error::TooLong;

/// Bytes of the largest message that everybody takes: an IP packet of 576 bytes without its headers (RFC 2131 §2).
pub const MAX_MESSAGE_BYTES: usize = 548;

/// Relays have dropped what is shorter (RFC 1542 §2.1).
const MIN_MESSAGE_BYTES: usize = 300;

/// A message that is being written.
#[derive(Clone)]
pub struct Writer {
    bytes: [u8; MAX_MESSAGE_BYTES],
    /// Where the next option goes.
    len: usize,
}

impl Writer {
    /// A message of this kind, without further options.
    pub fn new(header: &Header, kind: Kind) -> Self {
        let mut bytes = [0; MAX_MESSAGE_BYTES];
        bytes[0] = if header.is_reply { REPLY } else { REQUEST };
        bytes[1..3].copy_from_slice(&ETHERNET);
        bytes[4..8].copy_from_slice(&header.xid.to_be_bytes());
        bytes[8..10].copy_from_slice(&header.secs.to_be_bytes());
        bytes[10] = if header.is_broadcast { BROADCAST_FLAG } else { 0 };
        bytes[12..16].copy_from_slice(&header.ciaddr.octets());
        bytes[16..20].copy_from_slice(&header.yiaddr.octets());
        bytes[28..34].copy_from_slice(&header.chaddr.0);
        bytes[FIXED_BYTES - COOKIE.len()..FIXED_BYTES].copy_from_slice(&COOKIE);
        bytes[FIXED_BYTES..FIXED_BYTES + 4].copy_from_slice(&[Code::MESSAGE_TYPE.0, 1, kind.value(), Code::END.0]);
        Self { bytes, len: FIXED_BYTES + 3 }
    }

    /// Adds an option. What is longer than 255 bytes is split (RFC 3396).
    ///
    /// # Errors
    /// If there is no room for it; nothing has changed then.
    pub fn option(&mut self, code: Code, data: &[u8]) -> Result<(), TooLong> {
        let parts = data.len().div_ceil(usize::from(u8::MAX)).max(1);
        // One more for the end.
        if self.len + 2 * parts + data.len() + 1 > MAX_MESSAGE_BYTES {
            return Err(TooLong);
        }
        let mut rest = data;
        for _ in 0..parts {
            let (part, later) = rest.split_at(rest.len().min(usize::from(u8::MAX)));
            let len = u8::try_from(part.len()).map_err(|_| TooLong)?;
            self.bytes[self.len..self.len + 2].copy_from_slice(&[code.0, len]);
            self.bytes[self.len + 2..self.len + 2 + part.len()].copy_from_slice(part);
            self.len += 2 + part.len();
            rest = later;
        }
        self.bytes[self.len] = Code::END.0;
        Ok(())
    }

    /// The message as it is sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..(self.len + 1).max(MIN_MESSAGE_BYTES)]
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("len", &self.len).finish_non_exhaustive()
    }
}
