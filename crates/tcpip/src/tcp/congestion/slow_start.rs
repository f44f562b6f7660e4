//! Slow start that ends before it overshoots: HyStart++.

use super::{Ack, Window};

/// The least rise of the round-trip time that counts, in microseconds, RFC 9406 §4.3.
const MIN_RTT_THRESH: u32 = 4_000;

/// The most that is waited for, in microseconds.
const MAX_RTT_THRESH: u32 = 16_000;

/// A rise by this part of the last round's time counts.
const MIN_RTT_DIVISOR: u32 = 8;

/// So many samples make the round-trip time of a round.
const N_RTT_SAMPLE: u8 = 8;

/// Conservative slow start grows by this part of slow start.
const CSS_GROWTH_DIVISOR: u32 = 4;

/// So many rounds of conservative slow start, and it was no false alarm.
const CSS_ROUNDS: u8 = 5;

/// At most so many segments are counted of one acknowledgement, since they are not paced: what a receiver gets as one, because its device or
/// its driver put it together (64 KiB), is acknowledged at once. RFC 9406 §4.3 recommends 8, with which the window would grow by a fifth in
/// such a round and not double.
const L: u32 = 45;

/// Not measured.
const INFINITY: u32 = u32::MAX;

/// Slow start, RFC 5681 §3.1, with HyStart++, RFC 9406, the first time.
///
/// When the round-trip time of a round rises above that of the round before, a queue builds up: the window grows at a quarter
/// of the pace for five rounds, and if the time has not fallen by then, slow start is over, without a loss. Later slow starts of a
/// connection end at the threshold that was found.
#[derive(Clone, Copy, Debug)]
pub struct SlowStart {
    phase: Phase,
    samples: u8,
    /// The least round-trip times in microseconds.
    last_round: u32,
    this_round: u32,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    First,
    Conservative { baseline: u32, rounds: u8 },
    Later,
}

impl Default for SlowStart {
    fn default() -> Self {
        Self { phase: Phase::First, samples: 0, last_round: INFINITY, this_round: INFINITY }
    }
}

impl SlowStart {
    /// Looks at an acknowledgement that came in slow start, and grows the window unless it was not in use.
    pub fn on_ack(&mut self, window: &mut Window, ack: &Ack) {
        if ack.begins_round {
            self.begin_round(window);
            if !window.is_in_slow_start() {
                return;
            }
        }
        if ack.is_cwnd_limited {
            let bytes = ack.bytes.min(L * window.mss);
            let is_conservative = matches!(self.phase, Phase::Conservative { .. });
            window.grow(if is_conservative { bytes / CSS_GROWTH_DIVISOR } else { bytes });
        }
        if let Some(rtt) = ack.rtt_micros {
            self.this_round = self.this_round.min(rtt);
            self.samples = self.samples.saturating_add(1);
        }
        if self.samples >= N_RTT_SAMPLE {
            self.judge();
        }
    }

    /// It ended by a loss or at the threshold.
    pub fn end(&mut self) {
        self.phase = Phase::Later;
    }

    fn begin_round(&mut self, window: &mut Window) {
        self.last_round = self.this_round;
        self.this_round = INFINITY;
        self.samples = 0;
        if let Phase::Conservative { rounds, .. } = &mut self.phase {
            *rounds += 1;
            if *rounds >= CSS_ROUNDS {
                window.ssthresh = window.cwnd;
                self.end();
            }
        }
    }

    /// RFC 9406 §4.2, with enough samples of this round.
    fn judge(&mut self) {
        match self.phase {
            Phase::First if self.this_round != INFINITY && self.last_round != INFINITY => {
                let threshold = (self.last_round / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH, MAX_RTT_THRESH);
                if self.this_round >= self.last_round.saturating_add(threshold) {
                    self.phase = Phase::Conservative { baseline: self.this_round, rounds: 0 };
                }
            }
            Phase::Conservative { baseline, .. } if self.this_round < baseline => self.phase = Phase::First,
            Phase::First | Phase::Conservative { .. } | Phase::Later => {}
        }
    }
}
