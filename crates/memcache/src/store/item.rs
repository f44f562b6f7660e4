//! What stands in a chunk: a header, the key, and the value or the number of a large one.
//!
//! ```text
//! 0      4        8       12        16         20    28      32             36    37      38
//! chain | newer | older | expires | accessed | cas | flags | value's bytes | key | state | key … value …
//! ```
//! Numbers are in the order of bytes that the protocol does not care about, little endian. Of a free chunk only the state counts,
//! which is zero, and the first two bytes, which name the next free one.

/// Before the key.
pub(super) const HEADER_BYTES: usize = 38;

/// The number of a large value, behind the key.
pub(super) const LARGE_NUMBER_BYTES: usize = 4;

/// A number of the header.
#[derive(Clone, Copy)]
pub(super) struct Field(usize);

/// The next item of the same bucket.
pub(super) const CHAIN: Field = Field(0);
/// The next item of its list towards the newest.
pub(super) const NEWER: Field = Field(4);
/// The next one towards the oldest.
pub(super) const OLDER: Field = Field(8);
/// The second in which it expires, 0 for never.
pub(super) const EXPIRES: Field = Field(12);
/// The second in which it was asked for last, or stored.
pub(super) const ACCESSED: Field = Field(16);
/// What the client has stored with it.
pub(super) const FLAGS: Field = Field(28);
/// How long the value is.
pub(super) const VALUE_BYTES: Field = Field(32);
const CAS: usize = 20;
const KEY_BYTES: usize = 36;
const STATE: usize = 37;

/// Its key was sent in base64.
pub(super) const KEY_BINARY: u8 = 1;
/// The item was asked for since it was stored.
pub(super) const FETCHED: u8 = 2;
/// It was asked for more than once since it came to its segment.
pub(super) const ACTIVE: u8 = 4;
/// Its value lies outside.
pub(super) const LARGE: u8 = 8;
/// Its value should be renewed.
pub(super) const STALE: u8 = 16;
/// Somebody was told to renew it.
pub(super) const WON: u8 = 32;
/// Which segment of its list it is in, from 1 on; 0 is that of a free chunk.
const SEGMENT_SHIFT: u32 = 6;
/// The first segment, in which each item begins.
const FIRST_SEGMENT: u8 = 1 << SEGMENT_SHIFT;

/// The header of an item, read or written as a whole where it is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct New {
    pub(super) expires: u32,
    pub(super) accessed: u32,
    pub(super) cas: u64,
    pub(super) flags: u32,
    pub(super) value_bytes: u32,
    pub(super) is_large: bool,
}

impl Field {
    #[inline]
    pub(super) fn of(self, chunk: &[u8]) -> u32 {
        u32::from_le_bytes(*chunk[self.0..].first_chunk().expect("a chunk has a header"))
    }

    #[inline]
    pub(super) fn set(self, chunk: &mut [u8], value: u32) {
        *chunk[self.0..].first_chunk_mut().expect("a chunk has a header") = value.to_le_bytes();
    }
}

/// The item's unique number.
pub(super) fn cas(chunk: &[u8]) -> u64 {
    u64::from_le_bytes(*chunk[CAS..].first_chunk().expect("a chunk has a header"))
}

pub(super) fn set_cas(chunk: &mut [u8], cas: u64) {
    *chunk[CAS..].first_chunk_mut().expect("a chunk has a header") = cas.to_le_bytes();
}

#[inline]
pub(super) fn state(chunk: &[u8]) -> u8 {
    chunk[STATE]
}

pub(super) fn set_state(chunk: &mut [u8], bits: u8, is_set: bool) {
    if is_set {
        chunk[STATE] |= bits;
    } else {
        chunk[STATE] &= !bits;
    }
}

/// Whether the chunk has an item.
pub(super) fn is_used(chunk: &[u8]) -> bool {
    state(chunk) >> SEGMENT_SHIFT != 0
}

pub(super) fn has(chunk: &[u8], bits: u8) -> bool {
    state(chunk) & bits != 0
}

pub(super) fn segment(chunk: &[u8]) -> usize {
    usize::from(state(chunk) >> SEGMENT_SHIFT) - 1
}

/// The same from 1 on, as the state has it. The compiler knows that it is 3 at most.
#[inline]
pub(super) fn segment_place(chunk: &[u8]) -> usize {
    usize::from(state(chunk) >> SEGMENT_SHIFT)
}

pub(super) fn set_segment(chunk: &mut [u8], segment: usize) {
    let bits = u8::try_from(segment + 1).expect("there are three") << SEGMENT_SHIFT;
    chunk[STATE] = chunk[STATE] & ((1 << SEGMENT_SHIFT) - 1) | bits;
}

#[inline]
pub(super) fn key(chunk: &[u8]) -> &[u8] {
    &chunk[HEADER_BYTES..HEADER_BYTES + usize::from(chunk[KEY_BYTES])]
}

/// Where the value begins, or its number.
fn value_start(chunk: &[u8]) -> usize {
    HEADER_BYTES + usize::from(chunk[KEY_BYTES])
}

/// The value that lies in the chunk.
#[inline]
pub(super) fn value(chunk: &[u8]) -> &[u8] {
    let start = value_start(chunk);
    &chunk[start..start + VALUE_BYTES.of(chunk) as usize]
}

pub(super) fn value_mut(chunk: &mut [u8]) -> &mut [u8] {
    let start = value_start(chunk);
    let len = VALUE_BYTES.of(chunk) as usize;
    &mut chunk[start..start + len]
}

/// The number of the value that lies outside.
pub(super) fn large(chunk: &[u8]) -> u32 {
    let bytes = chunk[value_start(chunk)..].first_chunk().expect("a large value has a number");
    u32::from_le_bytes(*bytes)
}

pub(super) fn set_large(chunk: &mut [u8], number: u32) {
    let start = value_start(chunk);
    *chunk[start..].first_chunk_mut().expect("a large value has a number") = number.to_le_bytes();
}

/// Makes an item of a chunk; its value is yet to be written.
pub(super) fn make(chunk: &mut [u8], key: &[u8], new: New) {
    chunk[KEY_BYTES] = u8::try_from(key.len()).expect("a key has at most 250 bytes");
    chunk[STATE] = if new.is_large { FIRST_SEGMENT | LARGE } else { FIRST_SEGMENT };
    EXPIRES.set(chunk, new.expires);
    ACCESSED.set(chunk, new.accessed);
    set_cas(chunk, new.cas);
    FLAGS.set(chunk, new.flags);
    VALUE_BYTES.set(chunk, new.value_bytes);
    chunk[HEADER_BYTES..HEADER_BYTES + key.len()].copy_from_slice(key);
}

/// How many bytes of a chunk an item needs.
pub(super) const fn bytes(key_bytes: usize, value_bytes: usize, is_large: bool) -> usize {
    HEADER_BYTES + key_bytes + if is_large { LARGE_NUMBER_BYTES } else { value_bytes }
}

pub(super) fn next_free(chunk: &[u8]) -> u16 {
    u16::from_le_bytes([chunk[0], chunk[1]])
}

pub(super) fn free(chunk: &mut [u8], next: u16) {
    chunk[STATE] = 0;
    chunk[..2].copy_from_slice(&next.to_le_bytes());
}
