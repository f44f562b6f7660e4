//! The pseudo-random generator: fixed for ever, so that a seed always means the same.

/// SplitMix64 (Steele, Lea, Flood: *Fast splittable pseudorandom number generators*, 2014).
///
/// It spreads a seed over the state of the other generator, and mixes words.
#[derive(Clone, Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
}

/// The output function of SplitMix64: every bit of the answer depends on every bit of the word, and no two words collide.
pub(crate) fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// xoshiro256** 1.0 (Blackman, Vigna: *Scrambled linear pseudorandom number generators*, 2021).
///
/// Nothing here will ever answer differently for the same seed. It is not for secrets.
#[derive(Clone, Debug)]
pub struct Random([u64; 4]);

impl Random {
    /// A generator whose numbers follow from the seed.
    pub fn new(seed: u64) -> Self {
        let mut spread = SplitMix(seed);
        Self([spread.next(), spread.next(), spread.next(), spread.next()])
    }

    /// One of many generators of the same seed, each for a purpose of its own: how often one is asked does not change what
    /// the others answer.
    pub fn stream(seed: u64, stream: u64) -> Self {
        Self::new(mix(seed) ^ mix(!stream))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let answer = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        answer
    }

    /// A number below `end`, or 0 if that is 0. By one multiplication, so some numbers are likelier than others by `end` in
    /// 2⁶⁴.
    pub fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(end);
        (wide >> 64) as u64
    }

    /// A number from `first` to `last`; `first` if that is not below `last`.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        match last.checked_sub(first) {
            None | Some(0) => first,
            Some(u64::MAX) => self.next_u64(),
            Some(width) => first + self.below(width + 1),
        }
    }

    /// One of the indices of a collection of `len` things; 0 if there are none.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of the authors' program for the seed 1234567.
    #[test]
    fn splitmix_is_the_papers() {
        let mut splitmix = SplitMix(1_234_567);
        let expected: [u64; 5] = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(expected.map(|_| splitmix.next()), expected);
    }

    /// The first numbers of the authors' program for the state 1, 2, 3, 4.
    #[test]
    fn xoshiro_is_the_papers() {
        let mut random = Random([1, 2, 3, 4]);
        let expected: [u64; 10] = [
            11_520,
            0,
            1_509_978_240,
            1_215_971_899_390_074_240,
            1_216_172_134_540_287_360,
            607_988_272_756_665_600,
            16_172_922_978_634_559_625,
            8_476_171_486_693_032_832,
            10_595_114_339_597_558_777,
            2_904_607_092_377_533_576,
        ];
        assert_eq!(expected.map(|_| random.next_u64()), expected);
    }

    #[test]
    fn numbers_stay_in_their_ranges() {
        let mut random = Random::new(1);
        assert_eq!((random.below(0), random.between(5, 5), random.between(7, 3), random.index(0)), (0, 5, 7, 0));
        let mut seen = [0_u32; 6];
        for _ in 0..6000 {
            seen[usize::try_from(random.between(10, 15) - 10).unwrap()] += 1;
        }
        assert!(seen.iter().all(|&count| (850..1150).contains(&count)), "{seen:?}");
    }

    #[test]
    fn streams_of_a_seed_differ_and_stay() {
        let first = |seed, stream| Random::stream(seed, stream).next_u64();
        assert_ne!(first(1, 0), first(1, 1));
        assert_ne!(first(1, 0), first(2, 0));
        assert_eq!(first(1, 0), first(1, 0));
        let mut bytes = [0; 11];
        Random::new(3).fill(&mut bytes);
        assert_eq!(bytes[..8], Random::new(3).next_u64().to_le_bytes());
        assert_ne!(bytes[8..], [0; 3]);
    }
}
