//! When requests are due in an open loop: a sequence of instants that depends on nothing that the server does.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use sunstar::executor::Instant;

/// How the times between requests are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spacing {
    /// All are equal.
    Constant,
    /// They are exponentially distributed, as those of very many clients that know nothing of each other.
    Poisson,
}

/// Requests per second, which may change evenly over a time and stay then as they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate {
    pub(crate) from: f64,
    pub(crate) to: f64,
    /// How long the change takes; not zero if there is any.
    pub(crate) over: Duration,
}

impl Rate {
    /// A rate that does not change.
    #[cfg(test)]
    pub(crate) const fn constant(per_second: f64) -> Self {
        Self { from: per_second, to: per_second, over: Duration::ZERO }
    }

    /// A share of it, between zero and one.
    pub(crate) fn share(self, share: f64) -> Self {
        Self { from: self.from * share, to: self.to * share, over: self.over }
    }

    /// After how many seconds so many requests are expected; infinite if never.
    ///
    /// The inverse of the rate's integral, in the form that loses no digits where the slope is small.
    fn seconds_until(self, requests: f64) -> f64 {
        let over = self.over.as_secs_f64();
        let while_changing = f64::midpoint(self.from, self.to) * over;
        // Where the rate begins with nothing, what follows would divide by it.
        if requests <= 0.0 {
            return 0.0;
        }
        if requests < while_changing {
            let slope = (self.to - self.from) / over;
            return 2.0 * requests / (self.from + (self.from * self.from + 2.0 * slope * requests).max(0.0).sqrt());
        }
        over + (requests - while_changing) / self.to
    }
}

/// The instants at which requests are due, in order.
///
/// It holds the next one only. What is due and was not taken yet is not stored anywhere, so a server that stalls costs no memory.
pub(crate) struct Schedule {
    rate: Rate,
    spacing: Spacing,
    begin: Instant,
    /// Requests so far, as the rate's integral counts them.
    expected: f64,
    next: Instant,
    random: SmallRng,
}

impl Schedule {
    /// A schedule that begins at `begin`. Its first request is due after `phase`, between zero and one, of a mean space, if the spaces
    /// are constant: so the shards of a load don't send at the same instants.
    pub(crate) fn new(rate: Rate, spacing: Spacing, begin: Instant, phase: f64, seed: u64) -> Self {
        let random = SmallRng::seed_from_u64(seed);
        let mut schedule = Self { rate, spacing, begin, expected: 0.0, next: begin, random };
        schedule.expected = match spacing {
            Spacing::Constant => phase,
            Spacing::Poisson => schedule.step(),
        };
        schedule.next = schedule.instant();
        schedule
    }

    /// When the next request is due.
    pub(crate) const fn next(&self) -> Instant {
        self.next
    }

    /// Takes the next request, if it is due.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Instant> {
        if self.next > now {
            return None;
        }
        let due = self.next;
        self.expected += self.step();
        self.next = self.instant();
        Some(due)
    }

    fn step(&mut self) -> f64 {
        match self.spacing {
            Spacing::Constant => 1.0,
            // The logarithm of zero is never asked for: what is drawn is less than one.
            Spacing::Poisson => -(1.0 - self.random.random::<f64>()).ln(),
        }
    }

    fn instant(&self) -> Instant {
        let after = Duration::try_from_secs_f64(self.rate.seconds_until(self.expected));
        after.map_or(Instant::FAR_FUTURE, |after| self.begin + after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: Instant = Instant::from_nanos(1_000_000_000);

    fn all(schedule: &mut Schedule, seconds: f64) -> Vec<f64> {
        let end = BEGIN + Duration::from_secs_f64(seconds);
        std::iter::from_fn(|| schedule.take(end)).map(|due| (due - BEGIN).as_secs_f64()).collect()
    }

    #[test]
    fn constant_spaces_are_equal_and_begin_with_the_phase() {
        let mut schedule = Schedule::new(Rate::constant(1000.0), Spacing::Constant, BEGIN, 0.5, 1);
        assert_eq!(schedule.next(), BEGIN + Duration::from_micros(500));
        assert_eq!(schedule.take(BEGIN), None);
        let due = all(&mut schedule, 10.0);
        assert_eq!(due.len(), 10_000);
        // No error adds up.
        for (number, due) in due.iter().enumerate() {
            let number = u32::try_from(number).unwrap();
            assert!((due - (f64::from(number) + 0.5) / 1000.0).abs() < 2e-9, "{due}");
        }
    }

    #[test]
    fn poisson_spaces_have_the_mean_and_the_spread_of_the_exponential_distribution() {
        let mut schedule = Schedule::new(Rate::constant(1000.0), Spacing::Poisson, BEGIN, 0.5, 7);
        let due = all(&mut schedule, 100.0);
        let spaces: Vec<f64> = due.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let count = f64::from(u32::try_from(spaces.len()).unwrap());
        let mean = spaces.iter().sum::<f64>() / count;
        let variance = spaces.iter().map(|space| (space - mean).powi(2)).sum::<f64>() / count;
        assert!((mean / 0.001 - 1.0).abs() < 0.02, "{mean}");
        assert!((variance.sqrt() / 0.001 - 1.0).abs() < 0.03, "{variance}");
        let same: Vec<f64> = all(&mut Schedule::new(Rate::constant(1000.0), Spacing::Poisson, BEGIN, 0.5, 7), 100.0);
        assert_eq!(due, same, "the seed says all");
    }

    #[test]
    fn a_rate_that_grows_sends_as_many_as_its_integral_says() {
        for spacing in [Spacing::Constant, Spacing::Poisson] {
            let rate = Rate { from: 0.0, to: 2000.0, over: Duration::from_secs(10) };
            let due = all(&mut Schedule::new(rate, spacing, BEGIN, 0.0, 3), 20.0);
            let before = |seconds: f64| due.iter().filter(|due| **due < seconds).count();
            for (seconds, expected) in [(5.0, 2_500_usize), (10.0, 10_000), (20.0, 30_000)] {
                let off = before(seconds).abs_diff(expected);
                assert!(off <= if spacing == Spacing::Constant { 1 } else { expected / 20 }, "{seconds}: {off}");
            }
        }
    }

    #[test]
    fn a_rate_that_falls_to_nothing_ends() {
        let rate = Rate { from: 100.0, to: 0.0, over: Duration::from_secs(2) };
        let mut schedule = Schedule::new(rate, Spacing::Constant, BEGIN, 0.5, 3);
        assert_eq!(all(&mut schedule, 1e6).len(), 100);
        assert_eq!(schedule.next(), Instant::FAR_FUTURE);
    }

    #[test]
    fn shares_make_up_the_whole() {
        let rate = Rate { from: 100.0, to: 300.0, over: Duration::from_secs(10) };
        let of = |share: f64| all(&mut Schedule::new(rate.share(share), Spacing::Constant, BEGIN, 0.5, 3), 10.0).len();
        assert_eq!((of(1.0), of(0.25) + of(0.75)), (2000, 2000));
    }
}
