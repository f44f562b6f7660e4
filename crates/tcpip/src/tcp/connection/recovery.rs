//! Recovering from losses.

use core::time::Duration;

use sunstar_wire::{SackBlock, Seq};

use super::Connection;
use super::input::Signs;
use super::search::DueProbe;
use super::timers::Purpose;
use crate::tcp::congestion::{Algorithm, CongestionControl, Window};
use crate::tcp::prr::Prr;
use crate::tcp::scoreboard::{Acknowledged, Scoreboard};
use crate::time::Instant;

/// So many duplicates of an acknowledgement show a loss, RFC 5681 §3.2.
const DUP_ACKS: u8 = 3;

/// A recovery, from the first sign of a loss until everything is acknowledged that had been sent by then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recovery {
    /// What were `snd_una` and `snd_nxt` when it began.
    begin: Seq,
    end: Seq,
    /// What was sent before was sent for the first time.
    begun_at: Instant,
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
    AfterTimeout(Frto),
}

/// Whether a timeout was one: forward RTO-recovery, RFC 5682 §2.1, with selective acknowledgements §3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frto {
    /// The first segment was sent again, and nothing else (step 1).
    Waits,
    /// That was acknowledged, and not all. New data leave instead of what seems to be lost; what the next acknowledgement says of data
    /// that were sent once decides (step 2b).
    Tries,
    /// It was one, or there is no telling.
    Real,
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

impl Recovery {
    /// So many segments of what was sent again had not been lost. Answers whether none had.
    fn take_back(&mut self, block: SackBlock, segments: u32) -> bool {
        if block.right.is_after(self.begin) {
            self.unneeded = self.unneeded.and_then(|count| count.checked_sub(segments));
        }
        self.unneeded == Some(0)
    }
}

impl Frto {
    /// After an acknowledgement that does not show that the timeout was none.
    fn next(self, has_advanced: bool, is_duplicate: bool, has_sack: bool, can_try: bool) -> Self {
        match self {
            Self::Waits if has_advanced && can_try => Self::Tries,
            // With selective acknowledgements duplicates before the first new one say nothing (§3.1, step 2).
            Self::Waits if !has_advanced && (has_sack || !is_duplicate) => Self::Waits,
            Self::Tries if !is_duplicate => Self::Tries,
            Self::Waits | Self::Tries | Self::Real => Self::Real,
        }
    }
}

impl Connection {
    pub(super) fn stage(&self) -> Option<Stage> {
        let recovery = self.recovery.as_deref()?;
        Some(if matches!(recovery.pace, Pace::Fast(_)) { Stage::Fast } else { Stage::AfterTimeout })
    }

    /// Since when something was sent again.
    pub(super) fn recovery_begun_at(&self) -> Option<Instant> {
        self.recovery.as_deref().map(|recovery| recovery.begun_at)
    }

    pub(super) fn is_in_fast_recovery(&self) -> bool {
        self.stage() == Some(Stage::Fast)
    }

    pub(super) fn is_after_timeout(&self) -> bool {
        self.stage() == Some(Stage::AfterTimeout)
    }

    /// Whether it is still to be found out if a timeout was one (RFC 5682): what arrives now must not be what was sent again.
    pub(super) fn doubts_timeout(&self) -> bool {
        let is_it = |recovery: &Recovery| matches!(recovery.pace, Pace::AfterTimeout(Frto::Waits | Frto::Tries));
        self.recovery.as_deref().is_some_and(is_it)
    }

    /// Whether new data leave to find that out.
    pub(super) fn is_trying(&self) -> bool {
        self.recovery.as_deref().is_some_and(|recovery| matches!(recovery.pace, Pace::AfterTimeout(Frto::Tries)))
    }

    /// What might have been only late should have arrived by now.
    pub(super) fn on_reordering_timeout(&mut self, now: Instant) {
        let was_recovering = self.recovery.is_some();
        let found_loss = self.detect_losses(now, self.in_flight() + self.lost());
        if found_loss && !was_recovering {
            // Nothing was delivered that would let out more than the first one (RFC 9937 §6.2).
            self.window.cwnd = self.in_flight() + self.snd_mss;
        }
        if self.retransmit_timer.is_none() {
            self.rearm(now);
        }
    }

    /// Looks for losses, and begins a recovery if there are any. `flight` bytes were in the network before the acknowledgement. Of peers
    /// that report nothing time tells nothing (RFC 8985 §3).
    pub(super) fn detect_losses(&mut self, now: Instant, flight: u32) -> bool {
        if !self.may_have_lost() {
            return false;
        }
        let srtt = self.rto.srtt().unwrap_or(Duration::MAX);
        let window = self.rack.reordering_window(self.recovery.is_some(), self.sacked_segments(), srtt);
        let (lost, look_again) = self.queues.get_or_insert_default().board.detect_losses(now, &self.rack, window);
        let is_congested = lost > 0 && !(self.recovery.is_none() && self.is_probe_lost(now, lost));
        if is_congested && self.recovery.is_none() {
            self.begin_recovery(now, flight);
        }
        if let Some(deadline) = look_again {
            self.set_timer(Purpose::Reordering, deadline);
        }
        is_congested
    }

    /// Whether time may tell of a loss.
    #[inline]
    pub(super) fn may_have_lost(&self) -> bool {
        self.agreed.has_sack && !self.board().is_none_or(|board| board.has_no_suspect(&self.rack))
    }

    /// The same for peers that report nothing: three duplicates of an acknowledgement (RFC 5681 §3.2), and in fast recovery each
    /// acknowledgement that does not end it (RFC 6582 §3.2), show that the first segment is lost.
    pub(super) fn detect_by_duplicates(&mut self, now: Instant, news: &Acknowledged, flight: u32) -> bool {
        if self.agreed.has_sack {
            return false;
        }
        let is_lost = match self.recovery.as_deref() {
            Some(Recovery { pace: Pace::AfterTimeout(_), .. }) => false,
            Some(recovery) => news.acked > 0 && self.snd_una.is_before(recovery.end),
            None => self.duplicate_acks >= DUP_ACKS,
        };
        if !is_lost || self.queues.get_or_insert_default().board.lose_first(self.snd_mss) == 0 {
            return false;
        }
        if self.recovery.is_none() {
            // What was counted before the last one has left the network before (RFC 9937 §6.2).
            let before = u32::from(self.duplicate_acks).saturating_sub(1) * self.snd_mss;
            self.begin_recovery(now, flight.saturating_sub(before));
        }
        true
    }

    fn begin_recovery(&mut self, now: Instant, flight: u32) {
        let before = (self.window, self.algorithm);
        self.algorithm.on_loss(&mut self.window);
        self.enter(now, Pace::Fast(Prr::new(flight)), before);
    }

    /// Begins a recovery, or goes on with the one that there is in another way: what that has sent again counts.
    fn enter(&mut self, now: Instant, pace: Pace, before: (Window, Algorithm)) {
        let (una, end) = (self.snd_una, self.snd_nxt);
        let (begin, begun_at, unneeded) = match self.recovery.as_deref() {
            Some(recovery) => (recovery.begin, recovery.begun_at, recovery.unneeded),
            // A probe was sent again too.
            None if self.probe.is_some_and(|probe| probe.is_retransmission) => {
                let probed_at = self.board().and_then(Scoreboard::first_retransmission);
                (una, probed_at.unwrap_or(now), Some(1))
            }
            None => (una, now, Some(0)),
        };
        self.recovery = Some(Recovery { begin, end, begun_at, pace, before, unneeded }.into());
        self.probe = None;
        if let Some(history) = &mut self.history {
            history.take_past();
        }
    }

    /// The retransmission timer has rung (RFC 6298 §5.4 ff., RFC 5681 §3.1).
    pub(super) fn begin_loss(&mut self, now: Instant) {
        let is_again = self.is_after_timeout();
        // Who was sending again already can't tell what arrives (RFC 5682 §2.1, step 1).
        let frto = match self.recovery.as_deref() {
            None | Some(Recovery { pace: Pace::AfterTimeout(Frto::Waits | Frto::Tries), .. }) => Frto::Waits,
            Some(_) => Frto::Real,
        };
        let before = self.recovery.as_ref().map_or((self.window, self.algorithm), |recovery| recovery.before);
        if !is_again {
            self.algorithm.on_timeout(&mut self.window);
        }
        self.window.cwnd = self.window.mss;
        let srtt = self.rto.srtt().unwrap_or(Duration::MAX);
        let window = self.rack.reordering_window(true, self.sacked_segments(), srtt);
        self.queues.get_or_insert_default().board.on_timeout(now, &self.rack, window);
        self.must_resend = true;
        self.enter(now, Pace::AfterTimeout(frto), before);
        self.duplicate_acks = 0;
    }

    /// A timeout was one: what was sent before it is lost.
    pub(super) fn believe_timeout(&mut self) {
        if let Some(Recovery { pace: Pace::AfterTimeout(frto), .. }) = self.recovery.as_deref_mut() {
            *frto = Frto::Real;
        }
    }

    /// The window after an acknowledgement. Answers whether it follows the losses, and not the algorithm.
    pub(super) fn follow(&mut self, news: &Acknowledged, signs: Signs, found_loss: bool) -> bool {
        if self.recovery.is_none() {
            return false;
        }
        let (pipe, can_try, has_sack) = (self.pipe(), self.can_try(), self.agreed.has_sack);
        let Some(recovery) = &mut self.recovery else { return false };
        let is_over = self.snd_una.is_at_or_after(recovery.end);
        match &mut recovery.pace {
            Pace::Fast(prr) => {
                let is_safe = news.acked > 0 && !found_loss;
                prr.on_ack(&mut self.window, signs.delivered, pipe, is_safe);
            }
            Pace::AfterTimeout(frto) => {
                // Step 3b of either: without selective acknowledgements all that is new counts, since only the first segment was sent
                // again; with them what was sent once, before the timeout.
                let is_original = match news.original {
                    Some(end) if has_sack => end.is_at_or_before(recovery.end),
                    _ => !has_sack && news.acked > 0,
                };
                let is_late = *frto == Frto::Tries && is_original && !planted::is("timeout_believed");
                // Timestamps may tell it at once (RFC 3522).
                if news.has_original || is_late {
                    self.undo();
                    return false;
                }
                let next = frto.next(news.acked > 0, signs.is_duplicate, has_sack, can_try && !is_over);
                let was = core::mem::replace(frto, next);
                if !is_over {
                    let mss = self.window.mss;
                    match (was, next) {
                        // What arrives before the answer lets nothing out.
                        (Frto::Waits, Frto::Waits) => {}
                        // Two new segments, whatever seems to be in the network.
                        (Frto::Waits, Frto::Tries) => self.window.cwnd = pipe.saturating_add(2 * mss),
                        // RFC 5682 §2.1, step 3a.
                        (Frto::Tries, Frto::Real) => self.window.cwnd = 3 * mss,
                        _ => return false,
                    }
                    return true;
                }
            }
        }
        if is_over {
            self.end_recovery();
        }
        // In slow start after a timeout the window grows like any other.
        self.recovery.as_ref().is_some_and(|recovery| matches!(recovery.pace, Pace::Fast(_)))
    }

    /// Whether new data may leave in place of what seems to be lost (RFC 5682 §2.1, step 2b).
    fn can_try(&self) -> bool {
        let mss = self.segment_mss();
        let len = self.unsent_bytes.min(self.peer_room()).min(mss);
        len > 0 && self.is_worth_sending(len, mss, mss)
    }

    fn end_recovery(&mut self) {
        let Some(recovery) = self.recovery.take() else { return };
        if let Pace::Fast(prr) = recovery.pace {
            prr.end(&mut self.window);
        }
        self.rack.on_recovery_end();
        self.duplicate_acks = 0;
        if self.agreed.has_sack && recovery.unneeded.is_some_and(|count| count > 0) {
            let until = self.snd_nxt;
            self.history().keep(recovery, until);
        }
    }

    /// Nothing was lost: what was sent again had only been late. The window is what it was (RFC 4015).
    fn undo(&mut self) {
        let past = || self.history.as_mut().and_then(|history| history.take_past());
        let Some(recovery) = self.recovery.take().or_else(past) else { return };
        let (window, algorithm) = recovery.before;
        let ssthresh = window.ssthresh.max(self.window.ssthresh);
        self.window = Window { cwnd: window.cwnd.max(self.window.cwnd), ssthresh, ..self.window };
        self.algorithm = algorithm;
        self.rto.reset_backoff();
        self.rack.on_undone();
        self.duplicate_acks = 0;
        if let Some(queues) = &mut self.queues {
            queues.board.keep_in_flight();
        }
    }

    /// Something was sent again.
    pub(super) fn on_retransmitted(&mut self, bytes: u32) {
        let segments = self.segments(bytes);
        self.doubt_probe();
        self.history().retransmitted_bytes += u64::from(bytes);
        if let Some(recovery) = &mut self.recovery {
            recovery.unneeded = recovery.unneeded.map(|count| count + segments);
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

    /// A duplicate was reported (RFC 2883): if all that was sent again in a recovery turns out to be, nothing was lost. That may
    /// come after its end: what was late has ended it, and what was sent again arrives later still.
    pub(super) fn on_duplicate(&mut self, block: SackBlock) {
        let is_sane = block.left.is_before(block.right) && block.right.is_at_or_before(self.snd_nxt);
        if !is_sane {
            return;
        }
        let segments = self.segments(block.right - block.left);
        let duplicates = &mut self.history().duplicates;
        *duplicates = duplicates.saturating_add(segments);
        // Who has sent nothing twice hears of what the network has doubled, and a probe of the tail tells nothing of the order, nor of
        // what was lost before it.
        let is_probe = self.probe.is_some_and(|probe| probe.is_retransmission && probe.end == block.right);
        if is_probe || !self.totals.has_retransmitted() {
            return;
        }
        self.rack.on_duplicate(self.snd_nxt);
        let has_lost = self.lost() > 0;
        let past = self.history.as_mut().and_then(|history| history.past_mut());
        let is_undone = match self.recovery.as_deref_mut().or(past) {
            Some(recovery) => recovery.take_back(block, segments) && !has_lost,
            None => false,
        };
        if is_undone {
            self.undo();
        }
    }

    /// The time for a probe has come (RFC 8985 §7.3).
    pub(super) fn on_probe_timeout(&mut self, now: Instant) {
        self.due_probe = DueProbe::Tail;
        self.set_timer(Purpose::Timeout, now + self.rto.timeout());
    }

    pub(super) fn on_probe_sent(&mut self, is_retransmission: bool) {
        self.due_probe = DueProbe::None;
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
