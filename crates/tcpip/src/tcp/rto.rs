//! When to give up waiting for an acknowledgement.

use core::time::Duration;

#[cfg(test)]
mod tests;

/// The timeout before anything was measured, RFC 6298 §2.1.
pub const RTO_INITIAL: Duration = Duration::from_secs(1);

/// The least that is added to the smoothed round-trip time, as Linux does it: RFC 6298 §2.4 wants a whole second, of a time when
/// clocks ticked twice in one and receivers held back acknowledgements for half of one.
pub const RTO_MIN: Duration = Duration::from_millis(200);

/// No timeout is longer, RFC 6298 §2.5.
pub const RTO_MAX: Duration = Duration::from_secs(120);

const MIN_MICROS: u32 = 200_000;
const MAX_MICROS: u32 = 120_000_000;
const INITIAL_MICROS: u32 = 1_000_000;

/// Further doublings would exceed [`RTO_MAX`] anyhow.
const MAX_BACKOFF: u8 = 10;

/// The retransmission timeout, RFC 6298.
///
/// Holds the smoothed round-trip time and its variation and answers with a timeout between [`RTO_MIN`] and [`RTO_MAX`]. It takes
/// one sample per round trip. Samples of segments that were sent more than once must not be fed (Karn's rule, §3), unless
/// timestamps tell which one was acknowledged: the caller, who knows, leaves them out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rto {
    /// Microseconds times 8, zero as long as there is no sample.
    srtt_8: u32,
    /// Microseconds times 4.
    rttvar_4: u32,
    backoff: u8,
}

impl Rto {
    /// Takes a round-trip time into account (§2.2, §2.3), and ends the doubling.
    pub fn on_sample(&mut self, rtt: Duration) {
        self.on_sample_micros(u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX));
    }

    /// The same for one in microseconds.
    pub(super) fn on_sample_micros(&mut self, rtt: u32) {
        // A round trip that took no measurable time is one all the same, and zero means that there was none.
        let rtt = rtt.clamp(1, MAX_MICROS);
        if self.srtt_8 == 0 {
            self.srtt_8 = rtt * 8;
            self.rttvar_4 = rtt * 2;
        } else {
            let deviation = (self.srtt_8 / 8).abs_diff(rtt);
            self.rttvar_4 = self.rttvar_4 - self.rttvar_4 / 4 + deviation;
            self.srtt_8 = (self.srtt_8 - self.srtt_8 / 8 + rtt).max(1);
        }
        self.backoff = 0;
    }

    /// The timer has rung: doubles the timeout (§5.5).
    pub fn on_timeout(&mut self) {
        if !planted::is("no_backoff") {
            self.backoff = (self.backoff + 1).min(MAX_BACKOFF);
        }
    }

    /// Takes back all doublings: new data were acknowledged, or what had rung the timer was no loss (RFC 5682).
    pub fn reset_backoff(&mut self) {
        self.backoff = 0;
    }

    /// How often the timer has rung since the last sample, at most 10.
    pub fn backoff(&self) -> u8 {
        self.backoff
    }

    /// The timeout.
    pub fn timeout(&self) -> Duration {
        Duration::from_micros(self.timeout_micros())
    }

    /// The same in microseconds.
    #[inline]
    pub(super) fn timeout_micros(&self) -> u64 {
        let micros = u64::from(self.base_micros()) << self.backoff;
        micros.min(u64::from(MAX_MICROS))
    }

    /// The smoothed round-trip time in microseconds; none before the first sample.
    #[inline]
    pub(super) fn srtt_micros(&self) -> Option<u32> {
        (self.srtt_8 != 0).then_some(self.srtt_8 / 8)
    }

    /// The smoothed round-trip time; none before the first sample.
    pub fn srtt(&self) -> Option<Duration> {
        (self.srtt_8 != 0).then(|| Duration::from_micros(u64::from(self.srtt_8 / 8)))
    }

    /// The mean deviation of round-trip times; zero before the first sample.
    pub fn rttvar(&self) -> Duration {
        Duration::from_micros(u64::from(self.rttvar_4 / 4))
    }

    fn base_micros(&self) -> u32 {
        match self.srtt_8 {
            0 => INITIAL_MICROS,
            // Four times the variation, of which the quarter is kept.
            srtt_8 => (srtt_8 / 8 + self.rttvar_4.max(MIN_MICROS)).min(MAX_MICROS),
        }
    }
}
