//! How seawreck itself fares: whether it was the server that was measured, or seawreck.

use std::time::Duration;

use sunstar::reactor::TimeStats;

use crate::run::Outcome;

/// From this part of its time on a shard is busy: there is no more to be had from it.
const BUSY: f64 = 0.95;
/// Requests that are sent late by less than this do not matter, whatever the latencies are.
const LATE: Duration = Duration::from_micros(200);

/// What the shards have done with their time while it was measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct LoadSide {
    shards: Vec<Shard>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Shard {
    before: TimeStats,
    last: TimeStats,
}

impl LoadSide {
    /// Takes note of what a shard has done with its time until now.
    pub(crate) fn see(&mut self, shard: usize, times: TimeStats) {
        if self.shards.len() <= shard {
            self.shards.resize(shard + 1, Shard::default());
        }
        self.shards[shard].last = times;
    }

    /// What was seen last is where it begins.
    pub(crate) fn begin(&mut self) {
        self.shards.iter_mut().for_each(|shard| shard.before = shard.last);
    }

    /// Which shard had something to do for the largest part of its time, and that part.
    pub(crate) fn busiest(&self) -> Option<(usize, f64)> {
        let shares = self.shards.iter().map(Shard::busy_share).enumerate();
        shares.max_by(|one, other| one.1.total_cmp(&other.1))
    }

    /// Whether a shard had no time left, so that what was measured may be what seawreck can do.
    pub(crate) fn is_saturated(&self) -> bool {
        self.busiest().is_some_and(|(_, share)| share >= BUSY)
    }
}

impl Shard {
    fn busy_share(&self) -> f64 {
        let up = self.last.up.saturating_sub(self.before.up).as_secs_f64();
        let busy = self.last.busy().saturating_sub(self.before.busy()).as_secs_f64();
        if up > 0.0 { (busy / up).min(1.0) } else { 0.0 }
    }
}

impl Outcome {
    /// Whether latencies of an open loop are to a large part seawreck's own: of every hundred requests one was sent so late by itself as is half of
    /// what the slowest took.
    pub(crate) fn is_late(&self) -> bool {
        let total = &self.total;
        let lateness = Duration::from_nanos(total.lateness.value_at_quantile(0.99));
        let latency = Duration::from_nanos(total.latency_at(0.99));
        !total.lateness.is_empty() && lateness >= LATE && lateness * 2 >= latency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a shard has done after so many milliseconds, of which it slept some.
    fn times(up_ms: u64, asleep_ms: u64) -> TimeStats {
        let mut times = TimeStats::default();
        (times.up, times.asleep) = (Duration::from_millis(up_ms), Duration::from_millis(asleep_ms));
        times
    }

    #[test]
    fn the_busiest_shard_counts_and_only_while_it_is_measured() {
        let mut side = LoadSide::default();
        assert!(side.busiest().is_none() && !side.is_saturated());
        side.see(0, times(1000, 0));
        side.see(1, times(1000, 1000));
        side.begin();
        side.see(0, times(3000, 1000));
        side.see(1, times(3000, 1200));
        assert_eq!(side.busiest(), Some((1, 0.9)));
        assert!(!side.is_saturated());
        side.see(1, times(11_000, 1200));
        assert!(side.is_saturated());
    }
}
