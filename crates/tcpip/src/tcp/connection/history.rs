//! What is remembered of connections that have lost, repeated or moved much. Others have none of it.

use alloc::boxed::Box;
use core::time::Duration;

use sunstar_wire::Seq;

use super::busy::HeldUp;
use super::fast_open::Opening;
use super::recovery::Recovery;
use super::search::Search;
use super::tuning::Receiving;
use crate::time::Instant;

#[derive(Debug, Default)]
pub(super) struct History {
    /// The last recovery, and up to where it may still turn out that nothing had been lost.
    past: Option<(Box<Recovery>, Seq)>,
    /// Segments that the other side has got twice, as it says.
    pub(super) duplicates: u32,
    /// Bytes that were sent again.
    pub(super) retransmitted_bytes: u64,
    pub(super) receiving: Receiving,
    /// What our SYN carries beside the usual.
    pub(super) fast_open: Option<Opening>,
    /// Data went or came with the SYN.
    pub(super) has_syn_data: bool,
    /// What was added to the capacities of the options.
    pub(super) receive_growth: u32,
    pub(super) send_growth: u32,
    /// Pieces that have come behind gaps.
    pub(super) out_of_order: u32,
    /// Where in the other side's stream urgent data end.
    pub(super) urgent_end: Option<u64>,
    /// So many segments long was the longest stretch of which the first one was overtaken by the last one.
    pub(super) reordering: u16,
    pub(super) timeouts: Timeouts,
    pub(super) held_up: HeldUp,
    /// How large segments may be, if that has to be found out.
    pub(super) search: Option<Box<Search>>,
}

/// Retransmission timeouts, and the time that it took to recover from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Timeouts {
    pub(super) count: u32,
    pub(super) recoveries: u32,
    time: Duration,
    since: Option<Instant>,
}

impl Timeouts {
    pub(super) fn on_timeout(&mut self, now: Instant) {
        self.count = self.count.saturating_add(1);
        if self.since.is_none() {
            self.recoveries = self.recoveries.saturating_add(1);
            self.since = Some(now);
        }
    }

    /// What was lost by then has arrived.
    pub(super) fn on_recovered(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.time += now - since;
        }
    }

    /// The time of all recoveries, that of the present one included.
    pub(super) fn time(&self, now: Instant) -> Duration {
        self.time + self.since.map_or(Duration::ZERO, |since| now - since)
    }
}

impl History {
    /// A recovery is over; reports of duplicates may come until what is under way now is acknowledged.
    pub(super) fn keep(&mut self, recovery: Box<Recovery>, until: Seq) {
        self.past = Some((recovery, until));
    }

    /// Whether nothing is in it but measurements.
    pub(super) fn is_plain(&self) -> bool {
        let has_grown = self.receive_growth > 0 || self.send_growth > 0;
        let has_counted =
            self.reordering > 0 || self.duplicates > 0 || self.retransmitted_bytes > 0 || self.out_of_order > 0;
        let has_waited = self.timeouts != Timeouts::default() || self.held_up != HeldUp::default();
        let is_urgent = self.urgent_end.is_some();
        let is_fast = self.fast_open.is_some() || self.has_syn_data;
        let is_special = is_urgent || is_fast || self.search.is_some();
        self.past.is_none() && !is_special && !has_counted && !has_grown && !has_waited
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
