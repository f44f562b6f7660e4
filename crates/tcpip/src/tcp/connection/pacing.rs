//! Pacing: what the congestion window lets out leaves evenly, and not all at once when an acknowledgement has opened it.
//!
//! The pace is that of Linux (`fq`, `SO_MAX_PACING_RATE`): somewhat more than a window per round trip, so that the window stays what
//! bounds the sender. On short paths a timer would cost more than the bursts do harm. What is sent again is paced by proportional rate
//! reduction (RFC 9937), and not here.

use super::Connection;
use super::timers::Purpose;
use crate::tcp::congestion::Window;
use crate::time::Instant;

/// Paces in tenths of a window per round trip: while the window doubles, and else (`tcp_pacing_ss_ratio`, `tcp_pacing_ca_ratio`).
const SLOW_START: u64 = 20;
const AVOIDANCE: u64 = 12;

/// A timer that rings too late by up to so many microseconds slows nobody down.
const SLACK_MICROS: u64 = 1_000;

/// When more may leave.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Departure {
    at: Instant,
    /// When something left last.
    last_at: Instant,
    /// Something waits for that.
    is_awaited: bool,
}

impl Departure {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.is_awaited.then_some(self.at)
    }

    /// What waits looks again.
    pub(super) fn on_timeout(&mut self, now: Instant) {
        self.is_awaited &= self.at > now;
    }
}

impl Connection {
    /// Whether new data have to wait, though both windows let them out.
    #[inline]
    pub(super) fn is_held_by_pace(&mut self, now: Instant) -> bool {
        self.is_paced() && self.awaits_departure(now) && !planted::is("pace_ignored")
    }

    /// So many new bytes leave now. If nothing was under way, as many are free as a new connection may send at once.
    #[inline]
    pub(super) fn pace(&mut self, now: Instant, bytes: u32, is_alone: bool) {
        if self.is_paced() {
            self.delay_next(now, bytes, is_alone);
        }
    }

    #[inline]
    fn is_paced(&self) -> bool {
        self.rto.srtt_micros().unwrap_or(0) >= self.options.paced_from_micros
            || self.options.max_pacing_rate != u64::MAX
    }

    /// Whether less leaves at once than on a new connection, because of the pace that was asked for: who forgets that sends too fast.
    pub(super) fn owes_pace(&self, now: Instant) -> bool {
        let is_asked = self.options.max_pacing_rate != u64::MAX;
        is_asked
            && self.queues.as_deref().is_some_and(|queues| queues.departure.at.after_micros(self.free_micros()) > now)
    }

    /// How long the initial window takes, which leaves at once if nothing is under way.
    fn free_micros(&self) -> u64 {
        self.micros_for(Window::new(self.snd_mss).cwnd)
    }

    fn awaits_departure(&mut self, now: Instant) -> bool {
        let departure = &mut self.queues.get_or_insert_default().departure;
        departure.is_awaited = departure.at > now;
        let is_held = departure.is_awaited;
        if is_held {
            // Not the other side's window is what is in the way.
            self.retransmit_timer.take_if(|timer| timer.is_for(Purpose::Persist));
        }
        is_held
    }

    fn delay_next(&mut self, now: Instant, bytes: u32, is_alone: bool) {
        let micros = self.micros_for(bytes);
        let free_micros = if is_alone { self.free_micros() } else { SLACK_MICROS };
        let departure = &mut self.queues.get_or_insert_default().departure;
        // What is free is so for all that leaves together.
        let at = if departure.last_at == now && !is_alone {
            departure.at
        } else {
            departure.at.max(Instant::from_micros(now.as_micros().saturating_sub(free_micros)))
        };
        *departure = Departure { at: at.after_micros(micros), last_at: now, is_awaited: false };
    }

    /// For how long so many bytes keep others from leaving.
    fn micros_for(&self, bytes: u32) -> u64 {
        let bytes = u64::from(bytes);
        let limit = self.options.max_pacing_rate.max(1);
        let by_limit = if limit == u64::MAX { 0 } else { bytes * 1_000_000 / limit };
        let srtt = self.rto.srtt_micros().filter(|srtt| *srtt >= self.options.paced_from_micros);
        let Some(srtt) = srtt else { return by_limit };
        let Window { cwnd, ssthresh, .. } = self.window;
        let tenths = if cwnd < ssthresh / 2 { SLOW_START } else { AVOIDANCE };
        let window = u64::from(cwnd.max(self.in_flight()).max(1));
        by_limit.max(bytes * u64::from(srtt) * 10 / (window * tenths))
    }
}
