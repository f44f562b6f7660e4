//! What lies in the store, for somebody who looks at it.

use alloc::collections::BTreeMap;

use super::slab::NO_ITEM;
use super::{Expiry, PrefixCounters, Store, item, lru};

/// Sizes of items are told in steps of so many bytes.
const SIZE_STEP: u64 = 32;

/// How many items have which size, in steps of 32 bytes: header, key and value. By the upper bound of each step.
pub type Sizes = BTreeMap<u64, u64>;

impl Store {
    /// Shows the keys, lengths of values, and times of the items of a class, as [`classes`](Self::classes) numbers them, newest first
    /// in each segment, for as long as `show` answers true. It takes as long as there are items.
    pub fn dump(&self, class: usize, now_s: u32, mut show: impl FnMut(&[u8], usize, Expiry) -> bool) {
        if class > self.slabs.classes() {
            return;
        }
        for segment in [lru::HOT, lru::WARM, lru::COLD] {
            let mut id = self.lru.newest(class, segment);
            while id != NO_ITEM {
                let chunk = self.slabs.chunk(id);
                let value_bytes = item::VALUE_BYTES.of(chunk) as usize;
                let expiry = Expiry(item::EXPIRES.of(chunk));
                if !self.is_dead(id, now_s) && !show(item::key(chunk), value_bytes, expiry) {
                    return;
                }
                id = item::OLDER.of(chunk);
            }
        }
    }

    /// Counts the items of one page by their sizes: of the one behind this place, or of the first one. Answers its place, if there is
    /// such a page.
    pub fn count_sizes(&self, behind: Option<usize>, sizes: &mut Sizes) -> Option<usize> {
        let (place, first) = self.slabs.page_from(behind.map_or(0, |place| place + 1))?;
        for id in self.slabs.neighbours(first) {
            let chunk = self.slabs.chunk(id);
            let bytes = item::HEADER_BYTES + item::key(chunk).len() + item::VALUE_BYTES.of(chunk) as usize;
            *sizes.entry((bytes as u64).next_multiple_of(SIZE_STEP)).or_default() += 1;
        }
        Some(place)
    }

    /// Begins or ends to count by prefixes of keys, which end before a colon. Without that it costs next to nothing.
    pub fn count_prefixes(&mut self, is_on: bool) {
        self.prefixes.set(is_on);
    }

    /// Whether it counts by prefixes.
    pub fn counts_prefixes(&self) -> bool {
        self.prefixes.is_on()
    }

    /// What was counted by prefixes.
    pub fn prefixes(&self) -> impl Iterator<Item = (&[u8], PrefixCounters)> {
        self.prefixes.iter()
    }
}
