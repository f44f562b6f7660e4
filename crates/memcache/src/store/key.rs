//! Keys with their hashes.

use siphasher::sip::SipHasher13;

/// How keys are hashed: with a secret, so that nobody can choose keys that meet in one place.
#[derive(Clone, Copy, Debug)]
pub struct KeyHash(SipHasher13);

/// A key with its hash, which the shard that has its item and its place there follow from.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    bytes: &'a [u8],
    hash: u64,
}

impl KeyHash {
    /// With a secret that was drawn at random; all shards must have the same.
    pub fn new(secret: [u64; 2]) -> Self {
        Self(SipHasher13::new_with_keys(secret[0], secret[1]))
    }

    /// A key, of at most [`MAX_KEY_BYTES`](crate::MAX_KEY_BYTES).
    #[inline]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key { bytes, hash: self.0.hash(bytes) }
    }
}

impl<'a> Key<'a> {
    /// A key whose hash is known, from a [`KeyHash`] with the same secret; with another one its item is not found.
    pub const fn with_hash(bytes: &'a [u8], hash: u64) -> Self {
        Self { bytes, hash }
    }

    /// Its bytes.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Which of so many shards has it.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the result is smaller than the number of shards")]
    pub const fn shard(&self, shards: u16) -> u16 {
        (((self.hash >> 32) * shards as u64) >> 32) as u16
    }

    /// The part of the hash that shards don't follow from.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    pub(super) const fn low(&self) -> u32 {
        self.hash as u32
    }
}
