//! Which segments are lost, told by time: RACK.

use core::time::Duration;

use sunstar_wire::Seq;

use crate::time::Instant;

#[cfg(test)]
mod tests;

/// So many segments that arrived out of order show a loss, as long as nothing was ever reordered (RFC 5681 §3.2).
pub const DUP_THRESH: u32 = 3;

/// For so many recoveries without a duplicate a grown reordering window is kept, RFC 8985 §6.2 step 4.
const PERSIST: u8 = 16;

/// The least round-trip time is that of the last five minutes, since paths change. In units of [`AGE_SHIFT`].
const MIN_RTT_WINDOW: u32 = 4_578;

/// Its age is measured in so many binary digits of microseconds.
const AGE_SHIFT: u32 = 16;

/// What a sender remembers of a transmission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmission {
    /// When it was sent last.
    pub sent_at: Instant,
    /// The number behind its last byte.
    pub end: Seq,
    /// Whether it was sent more than once.
    pub is_retransmission: bool,
}

impl Transmission {
    /// Whether it was sent after another one; of two at one instant that with the later bytes (RFC 8985 §6.1).
    fn is_after(&self, other: &Self) -> bool {
        self.sent_at > other.sent_at || (self.sent_at == other.sent_at && self.end.is_after(other.end))
    }
}

/// What RACK says of a segment that was not acknowledged yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing that was sent after it has arrived.
    Open,
    /// It is lost if it has not arrived by then.
    LostAt(Instant),
    /// It is lost.
    Lost,
}

/// Recent acknowledgement, RFC 8985: a segment is lost if one that was sent sufficiently later has arrived.
///
/// How much is sufficient adapts to how much the path reorders. Lives as long as the connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rack {
    /// The transmission that was sent last of those that have arrived.
    newest: Option<Transmission>,
    /// The round-trip time of that one, and the least one, in microseconds.
    rtt: u32,
    min_rtt: u32,
    min_rtt_at: u32,
    /// The highest number that has arrived (`RACK.fack`).
    fack: Option<Seq>,
    /// How often a segment was seen to be overtaken.
    overtaken: u16,
    /// By how many quarters of the least round-trip time segments may be late, without the one that they always may.
    extra_quarters: u8,
    persist: u8,
    /// The end of the round in which a duplicate was reported.
    dsack_round: Option<Seq>,
}

impl Rack {
    /// A transmission has arrived, for the first time. `acks_original` tells if timestamps prove that an earlier transmission of
    /// the same bytes arrived instead (RFC 8985 §6.2, steps 1 to 3). Answers whether it is seen to have been overtaken.
    pub fn on_delivered(&mut self, now: Instant, transmission: &Transmission, acks_original: bool) -> bool {
        let rtt = u32::try_from(now.micros_since(transmission.sent_at)).unwrap_or(u32::MAX).max(1);
        let is_overtaken = self.note_order(transmission);
        // A retransmission that "arrived" faster than anything ever did has not: the original has.
        if transmission.is_retransmission && (acks_original || rtt < self.min_rtt) {
            return is_overtaken;
        }
        // Which transmission has arrived is only known of what was sent once (RFC 6298 §3).
        if !transmission.is_retransmission {
            self.measure(now, rtt);
        }
        if self.newest.is_none_or(|newest| transmission.is_after(&newest)) {
            self.newest = Some(*transmission);
            self.rtt = rtt;
        }
        is_overtaken
    }

    /// Our SYN was sent once, and answered after so long (§6.2 step 1).
    pub fn on_opened(&mut self, now: Instant, rtt: Duration) {
        self.measure(now, u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX).max(1));
    }

    /// Something took `rtt` microseconds that measures a round trip.
    #[inline]
    fn measure(&mut self, now: Instant, rtt: u32) {
        let age = u32::try_from(now.as_micros() >> AGE_SHIFT).unwrap_or(u32::MAX);
        if self.min_rtt == 0 || rtt <= self.min_rtt || age - self.min_rtt_at > MIN_RTT_WINDOW {
            (self.min_rtt, self.min_rtt_at) = (rtt, age);
        }
    }

    /// The highest number that has arrived, if anything has.
    pub(crate) fn highest_delivered(&self) -> Option<Seq> {
        self.fack
    }

    /// When the newest of what has arrived was sent.
    pub(crate) fn last_delivered(&self) -> Option<Instant> {
        self.newest.map(|newest| newest.sent_at)
    }

    fn note_order(&mut self, transmission: &Transmission) -> bool {
        match self.fack {
            Some(fack) if transmission.end.is_at_or_before(fack) => {
                let is_overtaken = transmission.end.is_before(fack) && !transmission.is_retransmission;
                self.overtaken = self.overtaken.saturating_add(is_overtaken.into());
                is_overtaken
            }
            _ => {
                self.fack = Some(transmission.end);
                false
            }
        }
    }

    /// An acknowledgement told of a duplicate (RFC 2883): something was sent again that was only late. `snd_nxt` ends the
    /// round, in which it counts once (step 4).
    pub fn on_duplicate(&mut self, snd_nxt: Seq) {
        if self.dsack_round.is_none() {
            self.dsack_round = Some(snd_nxt);
            self.extra_quarters = self.extra_quarters.saturating_add(1);
            self.persist = PERSIST;
        }
    }

    /// `snd_una` has moved.
    pub fn on_acked(&mut self, snd_una: Seq) {
        self.dsack_round = self.dsack_round.filter(|round| snd_una.is_before(*round));
    }

    /// A recovery is over.
    pub fn on_recovery_end(&mut self) {
        self.persist = self.persist.saturating_sub(1);
        if self.persist == 0 {
            self.extra_quarters = 0;
        }
    }

    /// Something was sent again though it was not lost: which transmission has arrived is not known, and the next one tells.
    pub fn on_undone(&mut self) {
        self.newest = None;
    }

    /// By how much a segment may be late. `sacked_segments` have arrived behind a gap.
    pub fn reordering_window(&self, is_in_recovery: bool, sacked_segments: u32, srtt: Duration) -> Duration {
        if self.overtaken == 0 && (is_in_recovery || sacked_segments >= DUP_THRESH) {
            return Duration::ZERO;
        }
        let quarters = u32::from(self.extra_quarters) + 1;
        (Duration::from_micros(u64::from(self.min_rtt)) * quarters / 4).min(srtt)
    }

    /// Judges a transmission that has not been acknowledged in any way (step 5).
    pub fn judge(&self, now: Instant, transmission: &Transmission, reordering_window: Duration) -> Verdict {
        if !self.newest.is_some_and(|newest| newest.is_after(transmission)) {
            return Verdict::Open;
        }
        let lost_at = transmission.sent_at + Duration::from_micros(u64::from(self.rtt)) + reordering_window;
        if lost_at <= now { Verdict::Lost } else { Verdict::LostAt(lost_at) }
    }

    /// Whether a transmission is older than a round trip and the window for reordering: what a timeout says is lost
    /// beside the first segment (§6.3).
    pub fn is_overdue(&self, now: Instant, transmission: &Transmission, reordering_window: Duration) -> bool {
        transmission.sent_at + Duration::from_micros(u64::from(self.rtt)) + reordering_window <= now
    }

    /// Whether a transmission was sent so late that neither it nor any later one can be judged; of those sent at one instant the
    /// one with the later bytes is the later one.
    pub fn is_beyond(&self, transmission: &Transmission) -> bool {
        self.newest.is_none_or(|newest| !newest.is_after(transmission))
    }

    /// The least round-trip time of the last five minutes; none before the first sample.
    pub fn min_rtt(&self) -> Option<Duration> {
        (self.min_rtt != 0).then(|| Duration::from_micros(u64::from(self.min_rtt)))
    }

    /// The same in microseconds; zero before the first sample.
    #[inline]
    pub(super) fn min_rtt_micros(&self) -> u32 {
        self.min_rtt
    }

    /// The round-trip time of what was sent last of all that has arrived, in microseconds; zero before the first sample.
    #[inline]
    pub(super) fn rtt_micros(&self) -> u32 {
        self.rtt
    }

    /// How often the path was seen to change the order of segments; counts to 65,535.
    pub fn overtaken(&self) -> u32 {
        self.overtaken.into()
    }
}
