//! Bytes in one direction, as many as go through.

use sunstar::packet::Buffer;

use super::{Heard, Protocol};
use crate::fault::Fault;

/// Sends for ever to a server that takes it, or takes for ever what a server sends.
pub(crate) struct Flow {
    block: Option<Buffer>,
}

impl Flow {
    /// Sends a block of so many bytes again and again, which `place` puts where it is sent from.
    pub(crate) fn to_sink(len_bytes: usize, place: impl Fn(&[u8]) -> Buffer) -> Self {
        Self { block: Some(place(&vec![b'x'; len_bytes])) }
    }

    /// Sends nothing.
    pub(crate) const fn from_source() -> Self {
        Self { block: None }
    }
}

impl Protocol for Flow {
    const ASKS: bool = false;

    type Session = ();

    fn session(&self) {}

    fn ask(&self, (): &mut (), _count: usize, _is_last: bool, _send: impl FnMut(Buffer)) {}

    fn hear(&self, (): &mut (), _bytes: &mut Buffer) -> Result<Heard, Fault> {
        Ok(Heard::More)
    }

    fn block(&self) -> Option<&Buffer> {
        self.block.as_ref()
    }
}
