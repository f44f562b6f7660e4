//! Adding up memory, with the widest registers that the processor has.

/// Bytes of a block: a cache line.
const BLOCK_BYTES: usize = 64;

/// The sum of the 64-bit words of some blocks in the machine's order, modulo 2⁶⁴, and that of the upper halves of these words, which
/// tells how often the other one has wrapped around. The halves have room for 32 GiB.
///
/// Internet checksums are made of it. Where the processor is one for which there is nothing better, and where nobody knows which it is,
/// portable code adds.
#[inline]
pub fn sum_words(blocks: &[[u8; BLOCK_BYTES]]) -> (u64, u64) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if let Some(sums) = wide::sum_words(blocks) {
        return sums;
    }
    sum_portably(blocks)
}

/// No lane waits for another or for a carry, so the compiler makes vectors of them.
fn sum_portably(blocks: &[[u8; BLOCK_BYTES]]) -> (u64, u64) {
    const LANES: usize = BLOCK_BYTES / 8;
    let (mut words, mut upper) = ([0_u64; LANES], [0_u64; LANES]);
    for block in blocks {
        let (block, _) = block.as_chunks();
        for lane in 0..LANES {
            let word = u64::from_ne_bytes(block[lane]);
            words[lane] = words[lane].wrapping_add(word);
            upper[lane] += word >> 32;
        }
    }
    (words.into_iter().fold(0, u64::wrapping_add), upper.into_iter().sum())
}

/// Left to itself the compiler gathers single words into wide registers, which takes longer than narrow ones do.
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod wide {
    use core::arch::x86_64::{
        __m256i, __m512i, _mm_add_epi64, _mm_cvtsi128_si64, _mm_unpackhi_epi64, _mm256_add_epi64,
        _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_setzero_si256, _mm256_srli_epi64,
        _mm512_add_epi64, _mm512_loadu_si512, _mm512_reduce_add_epi64, _mm512_setzero_si512, _mm512_srli_epi64,
    };

    use super::BLOCK_BYTES;

    cpufeatures::new!(has_avx2, "avx2");
    // Together with the first processors that do not slow down when they use them.
    cpufeatures::new!(has_avx512, "avx512f", "avx512vbmi2");

    #[inline]
    pub(super) fn sum_words(blocks: &[[u8; BLOCK_BYTES]]) -> Option<(u64, u64)> {
        if has_avx512::get() {
            // SAFETY: the processor has these registers, and the system keeps them.
            return Some(unsafe { sum_512(blocks) });
        }
        // SAFETY: as above.
        has_avx2::get().then(|| unsafe { sum_256(blocks) })
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn sum_512(blocks: &[[u8; BLOCK_BYTES]]) -> (u64, u64) {
        let (mut words, mut upper) = ([_mm512_setzero_si512(); 2], [_mm512_setzero_si512(); 2]);
        let mut add = |at: usize, block: &[u8; BLOCK_BYTES]| {
            // SAFETY: these are as many bytes as the register has, and may lie anywhere.
            let word: __m512i = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
            words[at] = _mm512_add_epi64(words[at], word);
            upper[at] = _mm512_add_epi64(upper[at], _mm512_srli_epi64::<32>(word));
        };
        let (pairs, odd) = blocks.as_chunks();
        for [one, other] in pairs {
            add(0, one);
            add(1, other);
        }
        odd.iter().for_each(|block| add(0, block));
        let sum = |[one, other]: [__m512i; 2]| _mm512_reduce_add_epi64(_mm512_add_epi64(one, other)).cast_unsigned();
        (sum(words), sum(upper))
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn sum_256(blocks: &[[u8; BLOCK_BYTES]]) -> (u64, u64) {
        let (mut words, mut upper) = ([_mm256_setzero_si256(); 2], [_mm256_setzero_si256(); 2]);
        for block in blocks {
            let (halves, _) = block.as_chunks::<{ BLOCK_BYTES / 2 }>();
            for (at, half) in halves.iter().enumerate() {
                // SAFETY: as above.
                let word: __m256i = unsafe { _mm256_loadu_si256(half.as_ptr().cast()) };
                words[at] = _mm256_add_epi64(words[at], word);
                upper[at] = _mm256_add_epi64(upper[at], _mm256_srli_epi64::<32>(word));
            }
        }
        let sum = |[one, other]: [__m256i; 2]| {
            let sum = _mm256_add_epi64(one, other);
            let sum = _mm_add_epi64(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
            _mm_cvtsi128_si64(_mm_add_epi64(sum, _mm_unpackhi_epi64(sum, sum))).cast_unsigned()
        };
        (sum(words), sum(upper))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use alloc::vec::Vec;

    use super::{BLOCK_BYTES, sum_portably, sum_words};

    fn blocks(count: u8) -> Vec<[u8; BLOCK_BYTES]> {
        (0..count).map(|block| core::array::from_fn(|at| block.wrapping_mul(37) ^ !at.to_le_bytes()[0])).collect()
    }

    #[test]
    fn words_and_their_upper_halves_are_added_up() {
        let mut block = [0; BLOCK_BYTES];
        block[..8].copy_from_slice(&u64::MAX.to_ne_bytes());
        block[56..].copy_from_slice(&0x0000_0002_0000_0003_u64.to_ne_bytes());
        assert_eq!(sum_words(&[]), (0, 0));
        assert_eq!(sum_words(&[block]), (0x0000_0002_0000_0002, 0xffff_ffff + 2));
        assert_eq!(sum_words(&[block; 3]), (0x0000_0006_0000_0006, 3 * (0xffff_ffff + 2)));
    }

    #[test]
    fn any_number_of_blocks_is_added_up() {
        for count in 0..40 {
            assert_eq!(sum_words(&blocks(count)), sum_portably(&blocks(count)), "{count} blocks");
        }
    }

    /// Whichever this processor would choose.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    #[test]
    fn all_registers_come_to_the_same() {
        use std::arch::is_x86_feature_detected as has;

        for count in 0..40 {
            let (blocks, sums) = (blocks(count), sum_portably(&blocks(count)));
            if has!("avx2") {
                // SAFETY: the processor has these registers.
                assert_eq!(unsafe { super::wide::sum_256(&blocks) }, sums, "{count} blocks");
            }
            if has!("avx512f") {
                // SAFETY: as above.
                assert_eq!(unsafe { super::wide::sum_512(&blocks) }, sums, "{count} blocks");
            }
        }
    }
}
