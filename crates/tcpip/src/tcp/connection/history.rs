//! What is remembered of connections that have lost, repeated or moved much. Others have none of it.

use alloc::boxed::Box;

use sunstar_wire::Seq;

use super::recovery::Recovery;
use super::tuning::Receiving;

#[derive(Debug, Default)]
pub(super) struct History {
    /// The last recovery, and up to where it may still turn out that nothing had been lost.
    past: Option<(Box<Recovery>, Seq)>,
    /// Segments that the other side has got twice, as it says.
    pub(super) duplicates: u32,
    /// Bytes that were sent again.
    pub(super) retransmitted_bytes: u64,
    pub(super) receiving: Receiving,
    /// What was added to the capacities of the options.
    pub(super) receive_growth: u32,
    pub(super) send_growth: u32,
}

impl History {
    /// A recovery is over; reports of duplicates may come until what is under way now is acknowledged.
    pub(super) fn keep(&mut self, recovery: Box<Recovery>, until: Seq) {
        self.past = Some((recovery, until));
    }

    /// Whether nothing is in it but measurements.
    pub(super) fn is_plain(&self) -> bool {
        let has_grown = self.receive_growth > 0 || self.send_growth > 0;
        self.past.is_none() && self.duplicates == 0 && self.retransmitted_bytes == 0 && !has_grown
    }

    pub(super) fn past_mut(&mut self) -> Option<&mut Recovery> {
        self.past.as_mut().map(|(recovery, _)| &mut **recovery)
    }

    pub(super) fn take_past(&mut self) -> Option<Box<Recovery>> {
        self.past.take().map(|(recovery, _)| recovery)
    }

    /// `snd_una` has moved.
    pub(super) fn on_acked(&mut self, snd_una: Seq) {
        self.past.take_if(|(_, until)| snd_una.is_after(*until));
    }
}
