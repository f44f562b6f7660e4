//! The first item of each bucket, in a table that grows by one bucket at a time.
//!
//! This is linear hashing: with 2^n + s buckets, the first s of the 2^n have been split by one more bit of the hash. So no
//! operation takes longer than others because the table grows, and none of it is ever copied.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::slab::{ItemId, NO_ITEM};

/// So many buckets are allocated at a time.
const SEGMENT: u32 = 4096;

/// Of one segment, in bytes.
const SEGMENT_BYTES: usize = SEGMENT as usize * size_of::<ItemId>();

pub(super) struct Buckets {
    segments: Vec<Box<[ItemId]>>,
    /// How many there are, at least as many as a segment has.
    count: u32,
}

impl Buckets {
    pub(super) fn new() -> Self {
        Self { segments: vec![segment()], count: SEGMENT }
    }

    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.segments.len() * SEGMENT_BYTES + self.segments.capacity() * size_of::<Box<[ItemId]>>()
    }

    /// The bucket of a hash.
    pub(super) const fn of(&self, hash: u32) -> u32 {
        // The number of bits by which all buckets are told apart.
        let bits = u32::BITS - 1 - self.count.leading_zeros();
        let bucket = hash & ((1 << bits) - 1);
        let is_split = bucket < self.count - (1 << bits);
        if is_split { hash & ((2 << bits) - 1) } else { bucket }
    }

    pub(super) fn first(&self, bucket: u32) -> ItemId {
        self.segments[(bucket / SEGMENT) as usize][(bucket % SEGMENT) as usize]
    }

    pub(super) fn set_first(&mut self, bucket: u32, item: ItemId) {
        self.segments[(bucket / SEGMENT) as usize][(bucket % SEGMENT) as usize] = item;
    }

    /// Adds a bucket; answers with the one whose items may belong there. `None` when there are as many as there can be.
    pub(super) fn grow(&mut self) -> Option<u32> {
        if self.count == 1 << 31 {
            return None;
        }
        if self.count.is_multiple_of(SEGMENT) {
            self.segments.push(segment());
        }
        let bits = u32::BITS - 1 - self.count.leading_zeros();
        let split = self.count - (1 << bits);
        self.count += 1;
        Some(split)
    }
}

fn segment() -> Box<[ItemId]> {
    vec![NO_ITEM; SEGMENT as usize].into_boxed_slice()
}
