//! How fast the network delivers (draft-ietf-ccwg-bbr §4.1, delivery rate samples).

use crate::time::Instant;

#[cfg(test)]
mod tests;

/// A clock in microseconds that turns: what is measured is far shorter than a turn, of an hour.
#[expect(clippy::cast_possible_truncation, reason = "it turns")]
const fn micros(now: Instant) -> u32 {
    now.as_micros() as u32
}

/// Less tells how long a round trip takes, and not how much the network takes in one.
const MIN_BYTES: u32 = 500;

/// How things stood when a segment was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// What had been delivered (`P.delivered`), and when the last of that (`P.delivered_time`).
    delivered: u32,
    delivered_at: u32,
    /// When what was delivered last had been sent (`P.first_send_time`).
    first_sent_at: u32,
    /// Whether the application had less to send than could have been.
    is_app_limited: bool,
}

/// So much was delivered in so much time; in no time, if nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    delivered: u32,
    micros: u32,
    is_app_limited: bool,
}

/// What is delivered of the bytes that are under way. Of an idle connection nothing of this matters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delivery {
    delivered: u32,
    delivered_at: u32,
    first_sent_at: u32,
    /// Once more than this was delivered (`C.app_limited`), the application has not been short of bytes since.
    app_limited_until: Option<u32>,
}

impl Delivery {
    /// A segment is sent, and `is_first` if nothing was under way.
    #[inline]
    pub fn stamp(&mut self, now: Instant, is_first: bool) -> Stamp {
        if is_first {
            (self.first_sent_at, self.delivered_at) = (micros(now), micros(now));
        }
        let Self { delivered, delivered_at, first_sent_at, app_limited_until, .. } = *self;
        Stamp { delivered, delivered_at, first_sent_at, is_app_limited: app_limited_until.is_some() }
    }

    /// The application has less to send than may be sent, with `in_flight` bytes under way.
    #[inline]
    pub fn on_drained(&mut self, in_flight: u32) {
        self.app_limited_until = Some(self.delivered.wrapping_add(in_flight));
    }

    /// So many bytes have arrived that had not before, as an acknowledgement says. Of their segments the one that was sent last was sent then,
    /// with this stamp. Nothing arrives faster than ever anything did, in `min_rtt` microseconds: what seems to shows only how
    /// acknowledgements were held up. Before that was measured, at zero, nothing can be told.
    #[inline]
    pub fn on_ack(&mut self, now: Instant, delivered: u32, newest: (Instant, Stamp), min_rtt: u32) -> Sample {
        let (sent_at, stamp) = newest;
        let times = if planted::is("delivered_twice") { 2 } else { 1 };
        self.delivered = self.delivered.wrapping_add(times * delivered);
        self.delivered_at = micros(now);
        let is_over = |until: u32| self.delivered.wrapping_sub(until).cast_signed() > 0;
        if self.app_limited_until.is_some_and(is_over) {
            self.app_limited_until = None;
        }
        self.first_sent_at = micros(sent_at);
        let delivered = self.delivered.wrapping_sub(stamp.delivered);
        if delivered < MIN_BYTES {
            return Sample::default();
        }
        let sending = self.first_sent_at.wrapping_sub(stamp.first_sent_at);
        let receiving = self.delivered_at.wrapping_sub(stamp.delivered_at);
        let micros = sending.max(receiving);
        let micros = if planted::is("rate_by_sending") { sending } else { micros };
        let is_possible = min_rtt != 0 && micros >= min_rtt;
        let micros = if is_possible || planted::is("rate_by_sending") { micros } else { 0 };
        Sample { delivered, micros, is_app_limited: stamp.is_app_limited }
    }
}

/// The newest delivery rate, small: 31 bits of bytes per microsecond, of which `Rate::SHIFT` lie behind the point, and whether the
/// application was what bounded it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate(u32);

impl Rate {
    const SHIFT: u32 = 15;
    const MAX: u64 = (1 << 31) - 1;

    /// Takes a sample into account: the path may be faster than a sample says for which the application had not enough, so that one
    /// counts only if it is faster than what was known.
    #[inline]
    pub fn take(&mut self, sample: Sample) {
        let scaled = u64::from(sample.delivered) << Self::SHIFT;
        // Dividing takes long.
        let is_slower = || scaled < u64::from(self.0 >> 1) * u64::from(sample.micros);
        if sample.micros == 0 || sample.is_app_limited && is_slower() {
            return;
        }
        let rate = (scaled / u64::from(sample.micros)).min(Self::MAX);
        self.0 = u32::try_from(rate << 1).unwrap_or(u32::MAX) | u32::from(sample.is_app_limited);
    }

    /// In bytes per second, in steps of 30; zero before the first sample, and at most 65 GB/s.
    pub fn bytes_per_second(self) -> u64 {
        (u64::from(self.0 >> 1) * 1_000_000) >> Self::SHIFT
    }

    /// Whether it is bounded by what the application had to send.
    pub fn is_app_limited(self) -> bool {
        self.0 & 1 == 1
    }
}
