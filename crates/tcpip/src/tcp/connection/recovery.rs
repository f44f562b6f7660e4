//! Recovering from losses.

use core::time::Duration;

use sunstar_wire::Seq;

use super::Connection;
use super::timers::Purpose;
use crate::tcp::congestion::{Algorithm, CongestionControl, Window};
use crate::tcp::prr::Prr;
use crate::tcp::scoreboard::Acknowledged;
use crate::time::Instant;

/// So many duplicates of an acknowledgement show a loss, RFC 5681 §3.2.
const DUP_ACKS: u8 = 3;

/// A recovery, from the first sign of a loss until everything is acknowledged that had been sent by then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recovery {
    /// What was `snd_nxt` when it began.
    end: Seq,
    pace: Pace,
    /// How things stood, for the case that nothing was lost.
    before: (Window, Algorithm),
    /// Segments that were sent again and not reported as duplicates.
    unneeded: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
enum Pace {
    /// Losses were found by what arrived (RFC 9937).
    Fast(Prr),
    /// Nothing arrived for a whole timeout: slow start.
    AfterTimeout,
}

/// How far a recovery is, for those who look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Fast,
    AfterTimeout,
}

/// A tail loss probe that was sent and not answered (RFC 8985 §7.4).
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    /// What was `snd_nxt` behind it.
    end: Seq,
    is_retransmission: bool,
}

impl Connection {
    pub(super) fn stage(&self) -> Option<Stage> {
        let recovery = self.recovery.as_deref()?;
        Some(if matches!(recovery.pace, Pace::Fast(_)) { Stage::Fast } else { Stage::AfterTimeout })
    }

    /// What might have been only late should have arrived by now.
    pub(super) fn on_reordering_timeout(&mut self, now: Instant) {
        self.detect_losses(now, self.in_flight() + self.lost());
        if self.retransmit_timer.is_none() {
            self.rearm(now);
        }
    }

    /// Looks for losses, and begins a recovery if there are any. `flight` bytes were in the network before the acknowledgement.
    pub(super) fn detect_losses(&mut self, now: Instant, flight: u32) -> bool {
        if self.board().is_none_or(|board| board.has_no_suspect(&self.rack)) {
            return false;
        }
        let srtt = self.rto.srtt().unwrap_or(Duration::MAX);
        let window = self.rack.reordering_window(self.recovery.is_some(), self.sacked_segments(), srtt);
        let (lost, look_again) = self.queues.get_or_insert_default().board.detect_losses(now, &self.rack, window);
        if lost > 0 && self.recovery.is_none() {
            self.begin_recovery(flight);
        }
        if let Some(deadline) = look_again {
            self.set_timer(Purpose::Reordering, deadline);
        }
        lost > 0
    }

    /// The same for peers that report nothing: three duplicates of an acknowledgement (RFC 5681 §3.2), and in a recovery each
    /// acknowledgement that does not end it (RFC 6582 §3.2), show that the first segment is lost.
    pub(super) fn detect_by_duplicates(&mut self, news: &Acknowledged, flight: u32) -> bool {
        if self.agreed.has_sack {
            return false;
        }
        let is_lost = match &self.recovery {
            Some(recovery) => news.acked > 0 && self.snd_una.is_before(recovery.end),
            None => self.duplicate_acks >= DUP_ACKS,
        };
        if !is_lost || self.queues.get_or_insert_default().board.lose_first() == 0 {
            return false;
        }
        if self.recovery.is_none() {
            self.begin_recovery(flight);
        }
        true
    }

    fn begin_recovery(&mut self, flight: u32) {
        let before = (self.window, self.algorithm);
        self.algorithm.on_loss(&mut self.window);
        let pace = Pace::Fast(Prr::new(flight));
        self.recovery = Some(Recovery { end: self.snd_nxt, pace, before, unneeded: Some(0) }.into());
        self.probe = None;
    }

    /// The retransmission timer has rung (RFC 6298 §5.4 ff., RFC 5681 §3.1).
    pub(super) fn begin_loss(&mut self, now: Instant) {
        let is_again = self.recovery.as_ref().is_some_and(|recovery| matches!(recovery.pace, Pace::AfterTimeout));
        let before = self.recovery.as_ref().map_or((self.window, self.algorithm), |recovery| recovery.before);
        if !is_again {
            self.algorithm.on_timeout(&mut self.window);
        }
        self.window.cwnd = self.window.mss;
        let srtt = self.rto.srtt().unwrap_or(Duration::MAX);
        let window = self.rack.reordering_window(true, self.sacked_segments(), srtt);
        self.queues.get_or_insert_default().board.on_timeout(now, &self.rack, window);
        self.must_resend = true;
        self.recovery =
            Some(Recovery { end: self.snd_nxt, pace: Pace::AfterTimeout, before, unneeded: Some(0) }.into());
        self.probe = None;
        self.duplicate_acks = 0;
    }

    /// The window after an acknowledgement. `is_spurious` says that timestamps or originals show that a timeout was none.
    pub(super) fn follow(&mut self, news: &Acknowledged, found_loss: bool, is_spurious: bool) -> bool {
        let in_flight = self.in_flight();
        let Some(recovery) = &mut self.recovery else { return false };
        let is_over = self.snd_una.is_at_or_after(recovery.end);
        match &mut recovery.pace {
            Pace::Fast(prr) => {
                let is_safe = news.acked > 0 && !found_loss;
                prr.on_ack(&mut self.window, news.delivered, in_flight, is_safe);
            }
            Pace::AfterTimeout if is_spurious => {
                self.undo();
                return false;
            }
            Pace::AfterTimeout => {}
        }
        if is_over {
            self.end_recovery();
        }
        // In slow start after a timeout the window grows like any other.
        self.recovery.as_ref().is_some_and(|recovery| matches!(recovery.pace, Pace::Fast(_)))
    }

    fn end_recovery(&mut self) {
        if let Some(Pace::Fast(prr)) = self.recovery.take().map(|recovery| recovery.pace) {
            prr.end(&mut self.window);
        }
        self.rack.on_recovery_end();
    }

    /// Nothing was lost: what was sent again had only been late. The window is what it was (RFC 4015).
    fn undo(&mut self) {
        let Some(recovery) = self.recovery.take() else { return };
        let (window, algorithm) = recovery.before;
        self.window = Window { cwnd: window.cwnd.max(self.window.cwnd), ssthresh: window.ssthresh, ..self.window };
        self.algorithm = algorithm;
        self.rto.reset_backoff();
        self.queues.get_or_insert_default().board.keep_in_flight();
    }

    /// Something was sent again.
    pub(super) fn on_retransmitted(&mut self, bytes: u32) {
        if let Some(recovery) = &mut self.recovery {
            recovery.unneeded = recovery.unneeded.map(|count| count + 1);
            if let Pace::Fast(prr) = &mut recovery.pace {
                prr.on_sent(bytes);
            }
        }
    }

    /// New data were sent.
    pub(super) fn on_sent(&mut self, bytes: u32) {
        if let Some(Recovery { pace: Pace::Fast(prr), .. }) = self.recovery.as_deref_mut() {
            prr.on_sent(bytes);
        }
    }

    /// A duplicate was reported (RFC 2883): if all that was sent again in this recovery turns out to be, nothing was lost.
    pub(super) fn on_duplicate(&mut self) {
        self.rack.on_duplicate(self.snd_nxt);
        let Some(recovery) = &mut self.recovery else { return };
        recovery.unneeded = recovery.unneeded.and_then(|count| count.checked_sub(1));
        if recovery.unneeded == Some(0) && self.lost() == 0 {
            self.undo();
        }
    }

    /// The time for a probe has come (RFC 8985 §7.3).
    pub(super) fn on_probe_timeout(&mut self, now: Instant) {
        self.must_probe = true;
        self.set_timer(Purpose::Timeout, now + self.rto.timeout());
    }

    pub(super) fn on_probe_sent(&mut self, is_retransmission: bool) {
        self.must_probe = false;
        self.probe = Some(Probe { end: self.snd_nxt, is_retransmission });
    }

    /// RFC 8985 §7.4.2: if a probe that was sent again arrived once, not twice, it has repaired a loss, which counts.
    pub(super) fn on_probe_answer(&mut self, has_duplicate: bool) {
        let Some(probe) = self.probe.filter(|probe| self.snd_una.is_at_or_after(probe.end)) else { return };
        if !probe.is_retransmission || has_duplicate {
            self.probe = None;
        } else if self.snd_una.is_after(probe.end) {
            self.probe = None;
            if self.recovery.is_none() {
                self.algorithm.on_loss(&mut self.window);
                self.window.cwnd = self.window.ssthresh;
            }
        }
    }
}
