//! What came of a load, for people and for programs.

pub(crate) mod csv;
pub(crate) mod html;
pub(crate) mod human;
pub(crate) mod json;

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::fault::{Fault, KINDS};
use crate::run::Outcome;

/// The parts of a hundred at which latencies are shown.
pub(crate) const PERCENTILES: [(&str, f64); 8] = [
    ("50", 0.5),
    ("75", 0.75),
    ("90", 0.9),
    ("99", 0.99),
    ("99.9", 0.999),
    ("99.99", 0.9999),
    ("99.999", 0.999_99),
    ("100", 1.0),
];

/// What was done, in words.
#[derive(Clone, Debug)]
pub(crate) struct Description {
    /// Where to, as it was given.
    pub(crate) target: String,
    /// How the load was driven.
    pub(crate) load: String,
}

/// So many in a second.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(crate) fn per_second(count: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { count as f64 / elapsed.as_secs_f64() }
}

/// The times at [`PERCENTILES`], in nanoseconds.
pub(crate) fn at_percentiles(times: &Histogram<u64>) -> impl Iterator<Item = (&'static str, u64)> {
    PERCENTILES.into_iter().map(|(name, quantile)| (name, times.value_at_quantile(quantile).min(times.max())))
}

impl Outcome {
    /// Whether anything was answered well or, where nothing is asked, anything was moved.
    pub(crate) fn is_success(&self, asks: bool) -> bool {
        self.total.good() > 0 || (!asks && self.total.sent_bytes + self.total.received_bytes > 0)
    }

    /// Why nothing was answered well, as far as one kind of fault stands out.
    pub(crate) fn failure(&self) -> String {
        let most = |counts: &[u64; KINDS]| {
            let most = Fault::ALL.into_iter().max_by_key(|fault| counts[*fault as usize])?;
            Some((most, counts[most as usize])).filter(|(_, count)| *count > 0)
        };
        match (most(&self.total.unconnected), most(&self.total.failed)) {
            (Some((fault, _)), None) => format!("no connection could be made: {}", fault.words()),
            (_, Some((fault, _))) => format!("no request was answered well: {}", fault.words()),
            (None, None) => "no request was answered".to_owned(),
        }
    }
}
