//! Messages to be sent.

use core::fmt;
use core::net::Ipv6Addr;

use super::{Code, Kind};
use crate::error::TooLong;

/// Bytes of the largest message that every link takes: a packet of 1,280 bytes without the headers of IPv6 and UDP.
pub const MAX_MESSAGE_BYTES: usize = 1_232;

/// Bytes of an option's code and length.
const OPTION_HEADER_BYTES: usize = 4;

/// A message that is being written.
#[derive(Clone)]
pub struct Writer {
    bytes: [u8; MAX_MESSAGE_BYTES],
    len: usize,
}

impl Writer {
    /// A message of this kind without options. Of `transaction_id` the low three bytes are sent.
    pub fn new(kind: Kind, transaction_id: u32) -> Self {
        let mut bytes = [0; MAX_MESSAGE_BYTES];
        bytes[..4].copy_from_slice(&transaction_id.to_be_bytes());
        bytes[0] = kind.value();
        Self { bytes, len: 4 }
    }

    /// Adds an option.
    ///
    /// # Errors
    /// If there is no room for it; nothing has changed then.
    pub fn option(&mut self, code: Code, data: &[u8]) -> Result<(), TooLong> {
        self.nested(code, |writer| writer.push(data))
    }

    /// Adds an option that has others in it, or bytes that are written one after the other.
    ///
    /// # Errors
    /// If there is no room for it; nothing has changed then.
    pub fn nested(&mut self, code: Code, fill: impl FnOnce(&mut Self) -> Result<(), TooLong>) -> Result<(), TooLong> {
        let begin = self.len;
        let filled = self.push(&code.0.to_be_bytes()).and_then(|()| self.push(&[0; 2])).and_then(|()| fill(self));
        let len = u16::try_from(self.len.saturating_sub(begin + OPTION_HEADER_BYTES));
        match (filled, len) {
            (Ok(()), Ok(len)) => {
                self.bytes[begin + 2..begin + OPTION_HEADER_BYTES].copy_from_slice(&len.to_be_bytes());
                Ok(())
            }
            _ => {
                self.len = begin;
                Err(TooLong)
            }
        }
    }

    /// Adds addresses that are not temporary, as clients ask for them: without times (RFC 8415 §21.4, §21.6).
    ///
    /// # Errors
    /// If there is no room for them; nothing has changed then.
    pub fn ia_na(&mut self, iaid: u32, addresses: impl IntoIterator<Item = Ipv6Addr>) -> Result<(), TooLong> {
        self.nested(Code::IA_NA, |writer| {
            writer.push(&iaid.to_be_bytes())?;
            writer.push(&[0; 8])?;
            for address in addresses {
                writer.nested(Code::IA_ADDRESS, |writer| {
                    writer.push(&address.octets())?;
                    writer.push(&[0; 8])
                })?;
            }
            Ok(())
        })
    }

    /// Adds bytes to the option that is being [written](Self::nested).
    ///
    /// # Errors
    /// If there is no room for them; nothing has changed then.
    pub fn push(&mut self, data: &[u8]) -> Result<(), TooLong> {
        let end = self.len + data.len();
        self.bytes.get_mut(self.len..end).ok_or(TooLong)?.copy_from_slice(data);
        self.len = end;
        Ok(())
    }

    /// The message as it is sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("len", &self.len).finish_non_exhaustive()
    }
}
