//! How much may be under way: congestion control.
//!
//! The connection owns the [`Window`] and asks an [`Algorithm`] to move it. It tells the algorithm what was acknowledged and what
//! was lost; it does not tell it about single losses within one recovery, where proportional rate reduction moves the window.
//! An algorithm is a small value: who may have to take back a reduction, because a loss turned out to be none, keeps a copy.

mod cubic;
mod newreno;
mod slow_start;

#[cfg(test)]
mod tests;

use core::fmt;
use core::str::FromStr;

pub use cubic::Cubic;
pub use newreno::NewReno;
pub use slow_start::SlowStart;

use crate::time::Instant;

/// At most so many segments are sent before the first acknowledgement, RFC 6928 §2.
const INITIAL_SEGMENTS: u32 = 10;

/// RFC 6928 §2: ten segments of usual size in bytes, at which larger ones are bounded.
const INITIAL_BYTES: u32 = 14_600;

/// No window is larger: what the largest scaled window can announce, RFC 7323 §2.3.
const MAX_BYTES: u32 = 1 << 30;

/// The congestion window, RFC 5681 §2. All in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// At most so much may be in the network.
    pub cwnd: u32,
    /// Below it the window grows by slow start.
    pub ssthresh: u32,
    /// The largest payload of a segment (SMSS).
    pub mss: u32,
}

impl Window {
    /// The window of a connection over which nothing was sent yet, RFC 6928.
    ///
    /// # Panics
    /// If `mss` is 0.
    pub fn new(mss: u32) -> Self {
        assert!(mss > 0, "a segment carries at least one byte");
        Self { cwnd: Self::initial_bytes(mss), ssthresh: u32::MAX, mss }
    }

    /// RFC 6928 §2, equation 1.
    fn initial_bytes(mss: u32) -> u32 {
        (INITIAL_SEGMENTS * mss).min(INITIAL_BYTES.max(2 * mss))
    }

    /// Whether the window grows by slow start.
    pub fn is_in_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }

    /// The path takes segments of another size: keeps the bytes, but lets at least one segment out.
    pub fn set_mss(&mut self, mss: u32) {
        self.mss = mss.max(1);
        self.cwnd = self.cwnd.max(self.mss);
    }

    /// Nothing was sent for longer than a timeout: what the window says about the path is old (RFC 5681 §4.1). It gets back to three
    /// quarters of what it was by slow start (RFC 7661 §4.4.3).
    pub fn restart(&mut self) {
        let initial = Self::initial_bytes(self.mss);
        if self.cwnd > initial && !planted::is("no_restart") {
            self.ssthresh = self.ssthresh.max(self.cwnd / 4 * 3);
            self.cwnd = initial;
        }
    }

    fn grow(&mut self, bytes: u32) {
        self.cwnd = self.cwnd.saturating_add(bytes).min(MAX_BYTES);
    }

    /// Sets the threshold to a part of the window, but at least two segments (RFC 5681 §3.1, equation 4).
    fn reduce(&mut self, numerator: u32, denominator: u32) {
        let (numerator, denominator) =
            if planted::is("window_not_reduced") { (1, 1) } else { (numerator, denominator) };
        let reduced = u64::from(self.cwnd) * u64::from(numerator) / u64::from(denominator);
        self.ssthresh = u32::try_from(reduced).unwrap_or(u32::MAX).max(2 * self.mss);
    }
}

/// What an acknowledgement of new data says.
#[derive(Clone, Copy, Debug)]
pub struct Ack {
    /// When it came.
    pub now: Instant,
    /// Payload that is acknowledged for the first time, by whatever means.
    pub bytes: u32,
    /// The round-trip time that it measures, if it does, in microseconds.
    pub rtt_micros: Option<u32>,
    /// The smoothed round-trip time in microseconds.
    pub srtt_micros: u32,
    /// Whether it is the first of a round: it acknowledges what was sent after the round before had begun.
    pub begins_round: bool,
    /// Whether the window kept more from being sent. If not, the path was not tried, and the window does not grow (RFC 7661).
    pub is_cwnd_limited: bool,
}

/// How a congestion window moves.
pub trait CongestionControl {
    /// New data were acknowledged, and no recovery is under way: grow.
    fn on_ack(&mut self, window: &mut Window, ack: &Ack);

    /// Something was lost, and a recovery begins: set `ssthresh`. The window itself follows by proportional rate reduction.
    fn on_loss(&mut self, window: &mut Window);

    /// Nothing was acknowledged for a retransmission timeout: set `ssthresh`, and `cwnd` to one segment. Told once per
    /// episode, since a second timeout without progress says nothing new about the window (RFC 5681 §3.1).
    fn on_timeout(&mut self, window: &mut Window);
}

/// One of the algorithms that there are. The default is CUBIC.
#[derive(Clone, Copy, Debug)]
pub enum Algorithm {
    /// RFC 9438.
    Cubic(Cubic),
    /// RFC 5681, 6582.
    NewReno(NewReno),
}

/// The name of an algorithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AlgorithmName {
    /// `cubic`, RFC 9438.
    #[default]
    Cubic,
    /// `reno`, RFC 5681, 6582.
    NewReno,
}

impl AlgorithmName {
    const ALL: [Self; 2] = [Self::Cubic, Self::NewReno];

    /// The name by which Linux knows it (`TCP_CONGESTION`, tcp(7)).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cubic => "cubic",
            Self::NewReno => "reno",
        }
    }
}

/// There is no algorithm of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownAlgorithm;

impl fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such congestion control; there are cubic and reno")
    }
}

impl core::error::Error for UnknownAlgorithm {}

impl FromStr for AlgorithmName {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name).ok_or(UnknownAlgorithm)
    }
}

impl Algorithm {
    /// The algorithm of that name, for a connection over which nothing was sent yet.
    pub fn new(name: AlgorithmName) -> Self {
        match name {
            AlgorithmName::Cubic => Self::Cubic(Cubic::default()),
            AlgorithmName::NewReno => Self::NewReno(NewReno::default()),
        }
    }

    /// Its name.
    pub fn name(&self) -> AlgorithmName {
        match self {
            Self::Cubic(_) => AlgorithmName::Cubic,
            Self::NewReno(_) => AlgorithmName::NewReno,
        }
    }

    fn as_dyn(&mut self) -> &mut dyn CongestionControl {
        match self {
            Self::Cubic(cubic) => cubic,
            Self::NewReno(newreno) => newreno,
        }
    }
}

impl CongestionControl for Algorithm {
    #[inline]
    fn on_ack(&mut self, window: &mut Window, ack: &Ack) {
        match self {
            Self::Cubic(cubic) => cubic.on_ack(window, ack),
            Self::NewReno(newreno) => newreno.on_ack(window, ack),
        }
    }

    fn on_loss(&mut self, window: &mut Window) {
        self.as_dyn().on_loss(window);
    }

    fn on_timeout(&mut self, window: &mut Window) {
        self.as_dyn().on_timeout(window);
    }
}
