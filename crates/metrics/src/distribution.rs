//! How many values lie where: buckets whose widths grow with the values.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::Cell;
use core::time::Duration;

/// The ranges of a histogram: from one power of two to another, each doubling divided evenly.
///
/// The first bucket holds all values up to `2^first`, the last one all above `2^last`. So the place of a value is found by a few
/// bit operations, whatever the number of buckets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Buckets {
    first: u8,
    last: u8,
    /// Each doubling has `2^split` buckets.
    split: u8,
    are_times: bool,
}

impl Buckets {
    /// Times from 4 µs to 17 s, two buckets to a doubling: 46 buckets.
    pub const LATENCY: Self = Self::of_times(12, 34, 1);

    /// Sizes from 64 bytes to 1 GiB, one bucket to a doubling: 26 buckets.
    pub const SIZES: Self = Self::of_numbers(6, 30, 0);

    /// Buckets of numbers, given as they are.
    ///
    /// # Panics
    /// Unless `split ≤ first < last < 64`, and if there are more than 1,024 buckets.
    pub const fn of_numbers(first: u8, last: u8, split: u8) -> Self {
        assert!(split <= first && first < last && last < 64, "buckets lie between powers of two");
        let buckets = Self { first, last, split, are_times: false };
        assert!(buckets.count() <= 1024, "so many buckets tell nothing more");
        buckets
    }

    /// Buckets of times: the powers of two are nanoseconds, and values are given in seconds.
    ///
    /// # Panics
    /// As [`Buckets::of_numbers`].
    pub const fn of_times(first: u8, last: u8, split: u8) -> Self {
        Self { are_times: true, ..Self::of_numbers(first, last, split) }
    }

    /// Whether values are times, recorded in nanoseconds and given in seconds.
    pub const fn are_times(self) -> bool {
        self.are_times
    }

    /// How many buckets there are, the one without upper bound included.
    pub const fn count(self) -> usize {
        2 + ((self.last - self.first) as usize) * (1 << self.split)
    }

    /// The largest value that belongs to a bucket, as it is recorded; none for the last one.
    pub const fn upper_bound(self, index: usize) -> Option<u64> {
        if index == 0 {
            return Some(1 << self.first);
        }
        if index + 1 >= self.count() {
            return None;
        }
        let (doubling, part) = ((index - 1) >> self.split, (index - 1) & ((1 << self.split) - 1));
        let start = 1_u64 << (self.first as usize + doubling);
        Some(start + ((part as u64 + 1) << (self.first as usize + doubling - self.split as usize)))
    }

    /// The bucket of a value.
    #[inline]
    pub fn index_of(self, value: u64) -> usize {
        // Upper bounds belong to their buckets, and those are powers of two and the like.
        let below = if planted::is("bound_outside") { value } else { value.saturating_sub(1) };
        if below >> self.first == 0 {
            return 0;
        }
        if below >> self.last != 0 {
            return self.count() - 1;
        }
        let power = 63 - below.leading_zeros();
        #[expect(clippy::cast_possible_truncation, reason = "the part of a doubling is a small number")]
        let part = (below >> (power - self.split as u32) & ((1 << self.split) - 1)) as usize;
        1 + (((power - self.first as u32) as usize) << self.split) + part
    }

    /// A recorded number as it is given: times in seconds.
    pub(crate) fn given(self, recorded: u64) -> f64 {
        if self.are_times { recorded as f64 / 1e9 } else { recorded as f64 }
    }
}

/// How many values were recorded in which range, and their sum. Of one shard.
#[derive(Debug)]
pub struct Distribution {
    buckets: Buckets,
    counts: Box<[Cell<u64>]>,
    sum: Cell<u64>,
}

impl Distribution {
    /// Without values.
    pub fn new(buckets: Buckets) -> Self {
        Self { buckets, counts: (0..buckets.count()).map(|_| Cell::new(0)).collect(), sum: Cell::new(0) }
    }

    /// The ranges.
    pub fn buckets(&self) -> Buckets {
        self.buckets
    }

    /// Records a value: a number, or a time in nanoseconds. Neither allocates nor searches.
    #[inline]
    pub fn record(&self, value: u64) {
        self.record_many(value, 1);
    }

    /// Records the same value several times.
    #[inline]
    pub fn record_many(&self, value: u64, times: u64) {
        let count = &self.counts[self.buckets.index_of(value)];
        count.set(count.get().wrapping_add(times));
        self.sum.set(self.sum.get().wrapping_add(value.wrapping_mul(times)));
    }

    /// Records a time, at most 584 years.
    #[inline]
    pub fn record_duration(&self, time: Duration) {
        self.record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// What was recorded.
    pub fn value(&self) -> DistributionValue {
        let counts = self.counts.iter().map(Cell::get).collect();
        DistributionValue { buckets: self.buckets, counts, sum: self.sum.get() }
    }
}

/// What a [`Distribution`] has recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DistributionValue {
    buckets: Buckets,
    counts: Vec<u64>,
    sum: u64,
}

impl DistributionValue {
    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.wrapping_add(*count))
    }

    /// Their sum; of times, in seconds.
    pub fn sum(&self) -> f64 {
        self.buckets.given(self.sum)
    }

    /// For each bucket its upper bound (times in seconds; the last one has none) and how many values lie at or below it.
    pub fn cumulative(&self) -> impl Iterator<Item = (Option<f64>, u64)> {
        let mut below = 0_u64;
        self.counts.iter().enumerate().map(move |(index, count)| {
            below = below.wrapping_add(*count);
            (self.buckets.upper_bound(index).map(|bound| self.buckets.given(bound)), below)
        })
    }

    /// Adds another one; answers false if its buckets are different.
    pub(crate) fn add(&mut self, other: &Self) -> bool {
        if self.buckets != other.buckets {
            return false;
        }
        for (sum, count) in self.counts.iter_mut().zip(&other.counts) {
            *sum = sum.wrapping_add(*count);
        }
        self.sum = self.sum.wrapping_add(other.sum);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn buckets() -> impl Strategy<Value = Buckets> {
        (0_u8..63).prop_flat_map(|first| {
            (Just(first), first + 1..64, 0..=first.min(4))
                .prop_map(|(first, last, split)| Buckets::of_numbers(first, last, split))
        })
    }

    /// Numbers of all magnitudes, and those about powers of two, which are bounds.
    fn value() -> impl Strategy<Value = u64> {
        let any_magnitude = (any::<u64>(), 0_u32..64).prop_map(|(number, shift)| number >> shift);
        let near_a_bound = (0_u32..63, 0_u64..3).prop_map(|(power, further)| (1 << power) - 1 + further);
        prop_oneof![any_magnitude, near_a_bound]
    }

    #[test]
    fn bounds_divide_each_doubling_evenly() {
        let buckets = Buckets::of_numbers(2, 4, 1);
        let bounds: Vec<_> = (0..buckets.count()).map(|index| buckets.upper_bound(index)).collect();
        assert_eq!(bounds, [Some(4), Some(6), Some(8), Some(12), Some(16), None]);
        assert_eq!([0, 4, 5, 6, 7, 16, 17, u64::MAX].map(|value| buckets.index_of(value)), [0, 0, 1, 1, 2, 4, 5, 5]);
        assert_eq!((Buckets::LATENCY.count(), Buckets::SIZES.count()), (46, 26));
    }

    #[test]
    fn times_are_given_in_seconds() {
        let distribution = Distribution::new(Buckets::of_times(10, 11, 0));
        distribution.record_duration(Duration::from_nanos(1024));
        distribution.record_many(1_500, 2);
        let value = distribution.value();
        assert_eq!(
            value.cumulative().collect::<Vec<_>>(),
            [(Some(0.000_001_024), 1), (Some(0.000_002_048), 3), (None, 3)]
        );
        assert_eq!((value.count(), value.sum()), (3, 0.000_004_024));
    }

    proptest! {
        #[test]
        fn a_value_lies_between_the_bounds_of_its_bucket(buckets in buckets(), value in value()) {
            let index = buckets.index_of(value);
            prop_assert!(index < buckets.count());
            prop_assert!(buckets.upper_bound(index).is_none_or(|upper| value <= upper));
            if index > 0 {
                prop_assert!(buckets.upper_bound(index - 1).is_some_and(|lower| value > lower));
            }
        }

        #[test]
        fn a_sum_is_what_one_would_have_recorded(values in prop::collection::vec((value(), any::<bool>()), 0..50)) {
            let [one, other, both] = [(); 3].map(|()| Distribution::new(Buckets::LATENCY));
            for (value, is_one) in values {
                if is_one { one.record(value) } else { other.record(value) }
                both.record(value);
            }
            let mut sum = one.value();
            prop_assert!(sum.add(&other.value()));
            prop_assert_eq!(sum, both.value());
        }
    }

    #[test]
    fn other_buckets_do_not_add_up() {
        let mut one = Distribution::new(Buckets::SIZES).value();
        assert!(!one.add(&Distribution::new(Buckets::LATENCY).value()));
    }
}
