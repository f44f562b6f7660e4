//! What the heap keeps of what the store has freed.
//!
//! The store counts what items take. When sizes change, what was freed is not room for what comes, so the heap grows beside it; it would be given
//! back when the server has nothing to do. The cap holds all the time, so it is looked at whenever much was freed.

use std::cell::Cell;

use sunstar::reactor::{OwnMemory, trim_heap};

/// Looked at after so much of the cap was freed (one in so many parts).
const PARTS_PER_LOOK: u64 = 64;
/// So much of the cap may be used beside it, and so many bytes on top, before the heap is asked: less than what is said to be, which has code and
/// other memory too that is no heap.
const PARTS_BESIDE: u64 = 40;
const BESIDE_BYTES: u64 = 8 << 20;

/// Looks after the heap of all shards for one of them.
pub(crate) struct Heap {
    memory: Option<OwnMemory>,
    /// What this shard had freed when it looked last.
    seen_freed: Cell<u64>,
    /// What was left when the heap had been asked the last time: asking again before there is more would be in vain.
    left_bytes: Cell<u64>,
}

impl Heap {
    pub(crate) fn new() -> Self {
        Self { memory: OwnMemory::open(), seen_freed: Cell::new(0), left_bytes: Cell::new(0) }
    }

    /// Has the heap give back what is too much for a cap of all shards together, if it may be, now that the shard has freed so many bytes in all;
    /// answers whether it did.
    #[inline]
    pub(crate) fn look(&self, freed_bytes: u64, cap_bytes: u64) -> bool {
        freed_bytes - self.seen_freed.get() >= step_bytes(cap_bytes) && self.look_closely(freed_bytes, cap_bytes)
    }

    #[cold]
    fn look_closely(&self, freed_bytes: u64, cap_bytes: u64) -> bool {
        self.seen_freed.set(freed_bytes);
        let Some(before) = self.own_bytes().filter(|bytes| self.is_too_much(*bytes, cap_bytes)) else { return false };
        trim_heap();
        self.left_bytes.set(self.own_bytes().unwrap_or(before));
        true
    }

    fn own_bytes(&self) -> Option<u64> {
        self.memory.as_ref()?.bytes()
    }

    fn is_too_much(&self, bytes: u64, cap_bytes: u64) -> bool {
        let allowed = cap_bytes + cap_bytes / PARTS_BESIDE + BESIDE_BYTES;
        bytes > allowed && bytes > self.left_bytes.get() + step_bytes(cap_bytes)
    }
}

const fn step_bytes(cap_bytes: u64) -> u64 {
    cap_bytes / PARTS_PER_LOOK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_asked_when_much_was_freed_and_more_is_left_than_may_be() {
        let (heap, cap) = (Heap::new(), 640 << 20);
        assert!(!heap.look((10 << 20) - 1, cap), "that is little");
        assert_eq!(heap.seen_freed.get(), 0);
        assert!(!heap.look(10 << 20, cap), "the test has not so much memory");
        assert_eq!(heap.seen_freed.get(), 10 << 20);
        let allowed = (640 << 20) + (16 << 20) + (8 << 20);
        assert!(!heap.is_too_much(allowed, cap) && heap.is_too_much(allowed + 1, cap));
        // It could not give back more than that.
        heap.left_bytes.set(allowed);
        assert!(!heap.is_too_much(allowed + (10 << 20), cap) && heap.is_too_much(allowed + (10 << 20) + 1, cap));
    }
}
