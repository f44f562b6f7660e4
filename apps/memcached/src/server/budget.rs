//! How much an address may be answered beyond what it has sent: so many bytes a second, and a second's worth at once.

use sunstar::executor::time::Instant;
use sunstar_memcache::MAX_DATAGRAM_BYTES;

/// An answer has so many datagrams at most. That is enough for a value of 64 KiB.
const MOST_DATAGRAMS: usize = 48;

/// An answer has so many bytes at most, with its frame headers.
pub(crate) const MOST_ANSWER_BYTES: usize = MOST_DATAGRAMS * MAX_DATAGRAM_BYTES;

/// How fast budgets fill, and how full they become.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    bytes_per_s: u64,
    most_bytes: u64,
}

/// What is left of it for one address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    bytes: u64,
    at: Instant,
}

impl Rate {
    /// A budget that fills has room for the longest answer at least; one that does not stays empty.
    pub(crate) fn new(bytes_per_s: usize) -> Self {
        let most_bytes = if bytes_per_s == 0 { 0 } else { bytes_per_s.max(MOST_ANSWER_BYTES) };
        Self { bytes_per_s: bytes_per_s as u64, most_bytes: most_bytes as u64 }
    }
}

impl Budget {
    /// One of which nothing was taken.
    pub(crate) fn full(rate: Rate, now: Instant) -> Self {
        Self { bytes: rate.most_bytes, at: now }
    }

    /// Takes so many bytes, if they are left.
    pub(crate) fn take(&mut self, rate: Rate, bytes: usize, now: Instant) -> bool {
        self.fill(rate, now);
        let left = self.bytes.checked_sub(bytes as u64);
        self.bytes = left.unwrap_or(self.bytes);
        left.is_some()
    }

    /// Puts back what was taken and is not needed.
    pub(crate) fn give_back(&mut self, rate: Rate, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64).min(rate.most_bytes);
    }

    /// Whether nothing is missing.
    pub(crate) fn is_full(&mut self, rate: Rate, now: Instant) -> bool {
        self.fill(rate, now);
        self.bytes == rate.most_bytes
    }

    /// Adds what has come since, in whole bytes; until there is one, the time is not looked at.
    fn fill(&mut self, rate: Rate, now: Instant) {
        const SECOND: u128 = 1_000_000_000;
        let passed = now.saturating_duration_since(self.at).as_nanos();
        let come = passed * u128::from(rate.bytes_per_s) / SECOND;
        if come == 0 {
            return;
        }
        self.bytes = u64::try_from(come).unwrap_or(u64::MAX).saturating_add(self.bytes).min(rate.most_bytes);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn a_budget_fills_as_time_passes_and_not_beyond_a_second() {
        let rate = Rate::new(100_000);
        let mut budget = Budget::full(rate, at(0));
        assert!(budget.take(rate, 60_000, at(0)) && !budget.take(rate, 60_000, at(0)));
        assert!(!budget.take(rate, 60_000, at(199)) && budget.take(rate, 60_000, at(200)));
        assert!(!budget.take(rate, 1, at(200)) && !budget.is_full(rate, at(1_199)) && budget.is_full(rate, at(1_200)));
        assert!(budget.take(rate, 100_000, at(9_000)) && !budget.take(rate, 1, at(9_000)));
        budget.give_back(rate, 40_000);
        assert!(budget.take(rate, 40_000, at(9_000)) && !budget.take(rate, 1, at(9_000)));
    }

    #[test]
    fn who_asks_often_loses_nothing_of_a_slow_budget() {
        let rate = Rate::new(10);
        let mut budget = Budget::full(rate, at(0));
        assert!(budget.take(rate, MOST_ANSWER_BYTES, at(0)), "the longest answer fits");
        assert!((1..100).all(|ms| !budget.take(rate, 1, at(ms))));
        assert!(budget.take(rate, 1, at(100)));
    }

    #[test]
    fn without_a_rate_there_is_nothing() {
        let rate = Rate::new(0);
        assert!(!Budget::full(rate, at(0)).take(rate, 1, at(1_000_000)));
    }
}
