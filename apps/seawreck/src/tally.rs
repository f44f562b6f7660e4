//! What a shard counts, and how the counts of shards and of seconds become one.

use std::time::Duration;

use hdrhistogram::Histogram;
use sunstar::executor::Instant;

use crate::fault::{Fault, KINDS};

/// The longest time that is told apart from longer ones.
const LONGEST: Duration = Duration::from_secs(3600);
/// Digits of a latency and of a connection time that are kept.
const DIGITS: u8 = 3;
/// Digits of what is known of seawreck itself.
const OWN_DIGITS: u8 = 2;

/// Counts of one shard over some time, or of several together.
#[derive(Clone)]
pub(crate) struct Tally {
    /// Of requests that were answered well; and for how long those had waited that were given up without an answer, which were spared
    /// nothing. In nanoseconds.
    pub(crate) latencies: Histogram<u64>,
    /// How many of them were given up.
    pub(crate) given_up: u64,
    /// Requests that were given up too soon to tell how long they would have taken. They count as slower than all others: if what they had waited
    /// counted, latencies would fall when things get worse.
    pub(crate) lost: u64,
    /// Requests without an answer when it ended before its time, of which nothing is known: they had waited no longer than others took, or were
    /// never asked.
    pub(crate) unknown: u64,
    /// How much later than it could have requests of an open loop were sent by seawreck itself, in nanoseconds: after they were due, while there
    /// was a free connection.
    pub(crate) lateness: Histogram<u64>,
    /// For how long what happened at some time waited until a shard's round took notice of it, in nanoseconds.
    pub(crate) lag: Histogram<u64>,
    /// Of connections that were made, in nanoseconds.
    pub(crate) connects: Histogram<u64>,
    /// Requests without a good answer.
    pub(crate) failed: [u64; KINDS],
    /// Connections that could not be made.
    pub(crate) unconnected: [u64; KINDS],
    /// Requests whose answer had not come when the end was there.
    pub(crate) unanswered: u64,
    /// Requests that were due before the end, but for which there was no free connection as long as answers were waited for.
    pub(crate) unsent: u64,
    /// Connections that were held, or were to be, and that nobody got round to asking.
    pub(crate) unasked: u64,
    /// Connections without a request under way that the server has closed.
    pub(crate) closed_idle: u64,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
    /// When the last answer came.
    pub(crate) last_answer: Instant,
    /// The same of those requests that were due before the end and sent after it.
    pub(crate) last_overdue: Instant,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            latencies: times(DIGITS),
            given_up: 0,
            lost: 0,
            unknown: 0,
            lateness: times(OWN_DIGITS),
            lag: times(OWN_DIGITS),
            connects: times(DIGITS),
            failed: [0; KINDS],
            unconnected: [0; KINDS],
            unanswered: 0,
            unsent: 0,
            unasked: 0,
            closed_idle: 0,
            received_bytes: 0,
            sent_bytes: 0,
            last_answer: Instant::ORIGIN,
            last_overdue: Instant::ORIGIN,
        }
    }

    /// Takes note of a good answer.
    #[inline]
    pub(crate) fn answer(&mut self, latency: Duration) {
        self.latencies.saturating_record(nanos(latency));
    }

    /// Takes note of a request that is given up after it has waited so long.
    pub(crate) fn give_up(&mut self, waited: Duration) {
        self.latencies.saturating_record(nanos(waited));
        self.given_up += 1;
    }

    /// Takes note of a request that is given up, and of which nobody knows how long it would have taken.
    pub(crate) fn lose(&mut self) {
        self.lost += 1;
    }

    /// The latency at a part of the requests, between zero and one, in nanoseconds: the longest that is known where it is that of a request that
    /// was lost.
    pub(crate) fn latency_at(&self, quantile: f64) -> u64 {
        at_quantile(&self.latencies, self.lost, quantile)
    }

    /// Takes note of how late a request is sent by seawreck's fault.
    #[inline]
    pub(crate) fn late(&mut self, by: Duration) {
        self.lateness.saturating_record(nanos(by));
    }

    /// Takes note of how late a round looks.
    pub(crate) fn lag(&mut self, by: Duration) {
        self.lag.saturating_record(nanos(by));
    }

    /// Takes note of a connection.
    pub(crate) fn connected(&mut self, time: Duration) {
        self.connects.saturating_record(nanos(time));
    }

    /// Takes note of requests without a good answer.
    pub(crate) fn fail(&mut self, fault: Fault, requests: u64) {
        self.failed[fault as usize] += requests;
    }

    /// Takes note of a connection that could not be made.
    pub(crate) fn unconnect(&mut self, fault: Fault) {
        self.unconnected[fault as usize] += 1;
    }

    /// Requests that were answered well.
    pub(crate) fn good(&self) -> u64 {
        self.latencies.len() - self.given_up
    }

    /// Requests that were not.
    pub(crate) fn bad(&self) -> u64 {
        self.failed.iter().sum()
    }

    /// Adds what another shard has counted, or the same one at another time.
    pub(crate) fn add(&mut self, other: &Self) {
        // They have the same bounds and digits.
        let _ = self.latencies.add(&other.latencies);
        let _ = self.connects.add(&other.connects);
        let _ = self.lateness.add(&other.lateness);
        let _ = self.lag.add(&other.lag);
        self.given_up += other.given_up;
        self.lost += other.lost;
        self.unknown += other.unknown;
        let add =
            |to: &mut [u64; KINDS], from: &[u64; KINDS]| to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        add(&mut self.failed, &other.failed);
        add(&mut self.unconnected, &other.unconnected);
        self.unanswered += other.unanswered;
        self.unsent += other.unsent;
        self.unasked += other.unasked;
        self.closed_idle += other.closed_idle;
        self.received_bytes += other.received_bytes;
        self.sent_bytes += other.sent_bytes;
        self.last_answer = self.last_answer.max(other.last_answer);
        self.last_overdue = self.last_overdue.max(other.last_overdue);
    }
}

/// What stands at a part, between zero and one, of some times and of so many more of which it is only known that they are longer.
#[expect(clippy::cast_precision_loss, reason = "a histogram's places are no finer")]
pub(crate) fn at_quantile(times: &Histogram<u64>, longer: u64, quantile: f64) -> u64 {
    let known = times.len();
    let of_known = if longer == 0 { quantile } else { quantile * (known + longer) as f64 / known.max(1) as f64 };
    times.value_at_quantile(of_known.min(1.0)).min(times.max())
}

fn times(digits: u8) -> Histogram<u64> {
    Histogram::new_with_bounds(1, nanos(LONGEST), digits).expect("the bounds and the digits are valid ones")
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn three_digits_are_kept() {
        for micros in [1, 17, 1_234, 98_765, 7_654_321, 3_000_000_000] {
            let mut tally = Tally::new();
            tally.answer(Duration::from_micros(micros));
            let seen = tally.latencies.value_at_quantile(0.5);
            assert!(seen.abs_diff(micros * 1000) <= micros, "{micros}: {seen}");
        }
        let mut tally = Tally::new();
        tally.answer(Duration::MAX);
        assert_eq!(tally.good(), 1, "what is too long counts as the longest");
    }

    #[test]
    fn what_is_lost_counts_as_slower_than_all_that_is_known() {
        let mut tally = Tally::new();
        (1..=100).for_each(|millis| tally.answer(Duration::from_millis(millis)));
        let millis = |tally: &Tally, quantile| tally.latency_at(quantile) / 1_000_000;
        assert_eq!([0.5, 0.8, 1.0].map(|quantile| millis(&tally, quantile)), [50, 80, 100]);
        (0..25).for_each(|_| tally.lose());
        // A fifth of all is lost.
        assert_eq!([0.4, 0.72, 0.8, 0.9, 1.0].map(|quantile| millis(&tally, quantile)), [50, 90, 100, 100, 100]);
        assert_eq!((tally.good(), tally.latencies.len()), (100, 100));
        let mut none = Tally::new();
        none.lose();
        assert_eq!(none.latency_at(0.5), 0);
    }

    proptest! {
        #[test]
        fn parts_that_are_added_are_the_whole(parts in prop::collection::vec(prop::collection::vec(1_u64..1 << 40, 0..40), 1..5)) {
            let count = |latencies: &[u64]| {
                let mut tally = Tally::new();
                for &nanos in latencies {
                    tally.answer(Duration::from_nanos(nanos));
                    tally.fail(Fault::Reset, nanos % 3);
                    if nanos % 5 == 0 {
                        tally.give_up(Duration::from_nanos(nanos));
                    }
                    if nanos % 7 == 0 {
                        tally.lose();
                    }
                    tally.late(Duration::from_nanos(nanos));
                    tally.lag(Duration::from_nanos(nanos));
                    tally.received_bytes += nanos;
                    tally.last_answer = tally.last_answer.max(Instant::from_nanos(nanos));
                }
                tally
            };
            let whole = count(&parts.concat());
            let mut sum = Tally::new();
            parts.iter().for_each(|part| sum.add(&count(part)));
            prop_assert_eq!((&sum.latencies, &sum.lateness, &sum.lag), (&whole.latencies, &whole.lateness, &whole.lag));
            prop_assert_eq!((sum.good(), sum.bad(), sum.received_bytes), (whole.good(), whole.bad(), whole.received_bytes));
            prop_assert_eq!((sum.last_answer, sum.given_up, sum.lost), (whole.last_answer, whole.given_up, whole.lost));
        }
    }
}
