//! How often something may happen.

use core::time::Duration;

use crate::time::Instant;

/// A bucket of tokens: so many at once, then one per interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenBucket {
    interval: Duration,
    burst: u32,
    /// When the bucket would be full again: each token taken moves it further.
    full_at: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub(crate) const fn new(interval: Duration, burst: u32) -> Self {
        Self { interval, burst, full_at: Instant::from_micros(0) }
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let next = self.full_at.max(now) + self.interval;
        let is_empty = next - now > self.interval * self.burst;
        if !is_empty {
            self.full_at = next;
        }
        !is_empty
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_a_burst_and_then_one_per_interval() {
        let mut bucket = TokenBucket::new(Duration::from_millis(10), 3);
        let at = |ms: u64| Instant::from_micros(1_000 * ms);
        let mut taken = |ms, tries| (0..tries).filter(|_| bucket.take(at(ms))).count();
        assert_eq!([taken(1, 10), taken(5, 10), taken(11, 10), taken(35, 10), taken(1_000, 10)], [3, 0, 1, 2, 3]);
    }
}
