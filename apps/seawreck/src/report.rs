//! What came of a load, for people and for programs.

pub(crate) mod csv;
pub(crate) mod html;
pub(crate) mod human;
pub(crate) mod json;

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::fault::{Fault, KINDS};
use crate::run::{Outcome, Why};
use crate::tally::{Tally, at_quantile};

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

/// What stands at [`PERCENTILES`] of some times and so many longer ones, in nanoseconds.
pub(crate) fn at_percentiles(times: &Histogram<u64>, longer: u64) -> impl Iterator<Item = (&'static str, u64)> {
    PERCENTILES.into_iter().map(move |(name, quantile)| (name, at_quantile(times, longer, quantile)))
}

impl Outcome {
    /// What did not go well, in words; nothing if all did.
    ///
    /// That answers were missing when somebody asked for the end is no failure.
    pub(crate) fn failure(&self, asks: bool) -> Option<String> {
        let Tally { failed, unconnected, .. } = &self.total;
        let has_worked = self.total.good() > 0 || (!asks && self.total.sent_bytes + self.total.received_bytes > 0);
        let is_stopped = self.why == Why::Stopped;
        let undone = self.total.unanswered + self.total.unsent + self.total.unasked;
        let bad = self.total.bad() + if is_stopped { 0 } else { undone };
        match (most(unconnected), most(failed)) {
            (Some(fault), None) if !has_worked => Some(format!("no connection could be made: {}", fault.words())),
            (_, Some(fault)) if !has_worked => Some(format!("no request was answered well: {}", fault.words())),
            (None, None) if !has_worked && !is_stopped => Some("no request was answered".to_owned()),
            _ if bad > 0 => {
                let (bad, all) = (human::count(bad), human::count(bad + self.total.good()));
                Some(format!("{bad} of {all} requests were not answered well"))
            }
            (Some(fault), _) => Some(format!("connections could not be made: {}", fault.words())),
            _ => None,
        }
    }

    /// What has to be known to read the figures, in words.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let total = &self.total;
        let mut warnings = Vec::new();
        if let Some((shard, share)) = self.load_side.busiest().filter(|_| self.load_side.is_saturated()) {
            warnings.push(format!(
                "the load side was saturated (shard {shard} was busy for {:.0} % of the time): what was measured is what seawreck can do here",
                share * 100.0
            ));
        }
        if self.is_late() {
            warnings.push(
                "requests were sent late by seawreck itself, so the longest latencies are to a large part its own"
                    .to_owned(),
            );
        }
        if total.given_up > 0 {
            warnings.push(format!(
                "{} requests had no answer when they were given up; the latencies count them with the time for which they had waited by then",
                human::count(total.given_up)
            ));
        }
        if total.lost > 0 {
            let (known, lost) = (total.latencies.len(), total.lost);
            #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
            let percent = known as f64 / (known + lost) as f64 * 100.0;
            warnings.push(format!(
                "{} requests were given up too soon to tell how long they would have taken, with an older one on the same connection; \
                 the percentiles count them as the slowest, and what stands above {percent:.3} % is less than it took; mean and deviation leave them out",
                human::count(lost)
            ));
        }
        if total.unknown > 0 {
            warnings.push(format!(
                "{} requests were not asked, or had waited no longer than others took, when it ended before its time; the latencies do not count them",
                human::count(total.unknown)
            ));
        }
        let other = total.bad() - total.failed[Fault::TimedOut as usize];
        if other > 0 {
            warnings
                .push(format!("{} requests got no good answer; the latencies do not count them", human::count(other)));
        }
        warnings
    }
}

/// The most frequent fault.
fn most(counts: &[u64; KINDS]) -> Option<Fault> {
    let most = Fault::ALL.into_iter().max_by_key(|fault| counts[*fault as usize])?;
    (counts[most as usize] > 0).then_some(most)
}
