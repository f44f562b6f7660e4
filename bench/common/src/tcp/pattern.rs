//! What a bulk transfer carries.

use super::CHUNK;

/// Bytes after which it begins again: a prime, so that no packet and no buffer is as long as a whole number of them.
const PERIOD: usize = 65_521;

/// A stream of bytes that looks random, of which any chunk lies in one piece.
#[derive(Debug)]
pub struct Pattern(Vec<u8>);

impl Default for Pattern {
    fn default() -> Self {
        let mut state = 0x9E37_79B9_u32;
        let period: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            let [low, ..] = state.to_le_bytes();
            low
        })
        .take(PERIOD)
        .collect();
        Self(period.iter().copied().cycle().take(PERIOD + CHUNK).collect())
    }
}

impl Pattern {
    /// Where in [`Pattern::whole`] the bytes from this place of the stream on lie.
    pub fn offset(place: u64) -> usize {
        usize::try_from(place % PERIOD as u64).unwrap_or(0)
    }

    /// The [`CHUNK`] bytes from this place of the stream on.
    pub fn at(&self, place: u64) -> &[u8] {
        let begin = Self::offset(place);
        &self.0[begin..begin + CHUNK]
    }

    /// A period and a [`CHUNK`] more.
    pub fn whole(&self) -> &[u8] {
        &self.0
    }
}
