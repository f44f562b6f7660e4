//! Which keys there are, what is stored under each, and which is asked for.

use std::ops::Range;

use rand::rngs::SmallRng;
use rand::{Rng, RngExt};
use rand_distr::{Distribution, Zipf};

/// Values begin at one of so many places of the pattern, and are all different that begin at different ones if they are not short. It is prime,
/// and so no multiple of anything that goes wrong.
const PLACES: u16 = 65_521;

/// The keys, which are numbers in decimal, and the lengths of their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    /// At least one.
    pub(crate) count: u64,
    /// Of each key: enough for all digits.
    pub(crate) len_bytes: usize,
    /// The shortest and the longest value.
    pub(crate) value_bytes: (usize, usize),
}

impl Keys {
    /// Appends a key.
    pub(super) fn write(&self, number: u64, to: &mut Vec<u8>) {
        let begin = to.len();
        to.resize(begin + self.len_bytes, b'0');
        let (mut at, mut rest) = (to.len(), number);
        while rest > 0 && at > begin {
            at -= 1;
            to[at] = b'0' + u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
        }
    }

    /// The number of a key.
    pub(super) fn read(&self, key: &[u8]) -> Option<u64> {
        let number: u64 = std::str::from_utf8(key).ok()?.parse().ok()?;
        (key.len() == self.len_bytes && number < self.count).then_some(number)
    }

    pub(super) const fn longest_value(&self) -> usize {
        self.value_bytes.1
    }

    /// Bytes of which each value is a part.
    pub(super) fn pattern(&self) -> Vec<u8> {
        (0..PLACES)
            .map(|at| b'!' + u8::try_from(hash(at.into()) % 89).unwrap_or_default())
            .cycle()
            .take(self.longest_value() + usize::from(PLACES))
            .collect()
    }

    /// Which part of the pattern a key's value is.
    pub(super) fn value(&self, number: u64) -> Range<usize> {
        let (shortest, longest) = self.value_bytes;
        // Lengths differ between neighbours, however few there are.
        let lengths = (longest - shortest + 1) as u64;
        let begin = usize::try_from(number % u64::from(PLACES)).unwrap_or_default();
        begin..begin + shortest + usize::try_from(hash(number) % lengths).unwrap_or_default()
    }
}

/// Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4).
const fn hash(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
}

/// How often each key is asked for.
pub(super) struct Popularity {
    count: u64,
    zipf: Option<Zipf<f64>>,
}

impl Popularity {
    /// Of so many keys, all alike or by an exponent, which is positive.
    pub(super) fn new(count: u64, exponent: Option<f64>) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "the options let there be fewer keys than that")]
        let zipf = exponent.and_then(|exponent| Zipf::new(count as f64, exponent).ok());
        Self { count, zipf }
    }

    /// The next key.
    pub(super) fn draw(&self, random: &mut SmallRng) -> u64 {
        match &self.zipf {
            None => random.random_range(0..self.count),
            Some(zipf) => rank(zipf, random).min(self.count - 1),
        }
    }
}

fn rank(zipf: &Zipf<f64>, random: &mut impl Rng) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a whole number from one on")]
    let rank = zipf.sample(random) as u64;
    rank - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;

    proptest! {
        #[test]
        fn keys_are_read_as_they_were_written(number in 0_u64..1_000_000, len_bytes in 6_usize..250) {
            let keys = Keys { count: 1_000_000, len_bytes, value_bytes: (1, 1) };
            let mut bytes = b"x".to_vec();
            keys.write(number, &mut bytes);
            prop_assert_eq!(bytes.len(), 1 + len_bytes);
            prop_assert_eq!(keys.read(&bytes[1..]), Some(number));
        }

        #[test]
        fn values_lie_in_the_pattern(number: u64, shortest in 0_usize..3000, more in 0_usize..3000) {
            let keys = Keys { count: u64::MAX, len_bytes: 20, value_bytes: (shortest, shortest + more) };
            let value = keys.value(number);
            prop_assert!((shortest..=shortest + more).contains(&value.len()));
            prop_assert!(value.end <= keys.pattern().len());
        }
    }

    #[test]
    fn other_keys_have_other_values() {
        let keys = Keys { count: 1000, len_bytes: 20, value_bytes: (100, 100) };
        let pattern = keys.pattern();
        let value = |number| &pattern[keys.value(number)];
        assert!((1..1000).all(|number| value(number) != value(number - 1)));
        let all: std::collections::BTreeSet<&[u8]> = (0..1000).map(value).collect();
        assert_eq!(all.len(), 1000);
        let keys = Keys { value_bytes: (10, 19), ..keys };
        for len in 10..20 {
            let count = (0..1000).filter(|number| keys.value(*number).len() == len).count();
            assert!((80..=120).contains(&count), "{len}: {count}");
        }
        for foreign in [&b"00000000000000001000"[..], b"1", b"0000000000000000000x"] {
            assert_eq!(keys.read(foreign), None);
        }
    }

    #[test]
    fn popularity_is_even_or_falls_as_zipf_says() {
        let counts = |exponent| {
            let popularity = Popularity::new(100, exponent);
            let mut random = SmallRng::seed_from_u64(5);
            let mut counts = [0_u32; 100];
            (0..100_000).for_each(|_| counts[usize::try_from(popularity.draw(&mut random)).unwrap()] += 1);
            counts
        };
        assert!(counts(None).iter().all(|count| (850..1150).contains(count)));
        let zipf = counts(Some(1.0));
        // The first of a hundred has 1 / (1 + 1/2 + … + 1/100) of all, and twice as much as the second.
        assert!((18_500..20_100).contains(&zipf[0]), "{}", zipf[0]);
        assert!((9_200..10_100).contains(&zipf[1]), "{}", zipf[1]);
        assert!(zipf[99] > 100 && zipf[99] < 300, "{}", zipf[99]);
    }
}
