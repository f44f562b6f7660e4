//! Who makes room when there is no memory, and what is done beside.

use alloc::vec::Vec;

use super::slab::{ItemId, PAGE_BYTES};
use super::{Store, item};

/// After so many items of one size have gone, it is seen whether another one should give a page.
const GONE_PER_LOOK: u32 = 64;

/// Pages whose items are that much older than those of the size that wants one, in hundredths of their age, are moved.
const OLDER_PERCENT: u64 = 125;

/// So much is freed by one call of [`Store::poll`] at most when there is more than there may be: pages, or large values.
const FREED_PER_POLL: usize = 16;

impl Store {
    /// Lets the store have another amount of memory. What is above it is freed by [`poll`](Self::poll), and by what is stored.
    pub fn set_memory(&mut self, limit_bytes: usize) {
        self.limit_bytes = limit_bytes.max(super::MIN_MEMORY_BYTES);
    }

    /// Counts so many bytes for the limit that are used beside the store, as by values that are not complete. Room for them is made
    /// as [`set_memory`](Self::set_memory) says.
    pub fn lend(&mut self, bytes: usize) {
        self.lent_bytes = bytes;
    }

    /// Looks for dead items in the next page, and frees some memory if there is more than there may be. To be called now and then; it
    /// takes some microseconds. Answers how many items have gone.
    pub fn poll(&mut self, now_s: u32) -> usize {
        self.arrive(now_s);
        let before = self.items;
        if let Some((place, first)) = self.slabs.page_after(self.swept) {
            self.swept = place;
            for id in self.slabs.neighbours(first) {
                if self.is_dead(id, now_s) {
                    self.bury(id);
                }
            }
        }
        for _ in 0..FREED_PER_POLL {
            if self.has_room(0) || !self.free_oldest(now_s) {
                break;
            }
        }
        before - self.items
    }

    /// How many calls of [`poll`](Self::poll) look at all items.
    pub fn pages(&self) -> usize {
        self.classes().map(|(_, figures, _)| figures.pages).sum()
    }

    /// Frees at least so many bytes of what was used longest ago, as far as there are as many; answers how many it has freed. For an
    /// allocator that needs memory elsewhere.
    pub fn free_memory(&mut self, bytes: usize, now_s: u32) -> usize {
        let before = self.memory_bytes();
        while before - self.memory_bytes() < bytes && self.free_oldest(now_s) {}
        before - self.memory_bytes()
    }

    /// A chunk of a class, and room for so many bytes beside.
    pub(super) fn make_room(&mut self, class: usize, large_bytes: usize, now_s: u32) -> Option<ItemId> {
        // It would push out everything else.
        if large_bytes > self.limit_bytes / 2 {
            return None;
        }
        if large_bytes > 0 {
            while !self.has_room(large_bytes) {
                if !self.free_oldest(now_s) {
                    return None;
                }
            }
        }
        loop {
            if let Some(id) = self.slabs.take(class) {
                return Some(id);
            }
            let wanted_bytes = large_bytes + PAGE_BYTES;
            if self.has_room(wanted_bytes) && self.slabs.add_page(class) {
                continue;
            }
            self.gone += 1;
            let is_time = self.gone >= GONE_PER_LOOK;
            if is_time {
                self.gone = 0;
            }
            if (is_time || self.lru.is_empty(class)) && self.free_older(class, wanted_bytes, now_s) {
                continue;
            }
            match self.lru.victim(&mut self.slabs, class) {
                Some(id) => self.evict(id, now_s),
                None if self.free_oldest(now_s) => {}
                None => return None,
            }
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.memory_bytes() + self.lent_bytes + bytes <= self.limit_bytes
    }

    /// Frees so many bytes of what is much older than the items of this class; false if nothing is.
    fn free_older(&mut self, class: usize, bytes: usize, now_s: u32) -> bool {
        let Some((group, age)) = self.oldest_group(class, now_s) else { return false };
        let own = self.lru.oldest(class).map(|id| self.age(id, now_s));
        let is_older = own.is_none_or(|own| u64::from(age) * 100 > u64::from(own) * OLDER_PERCENT);
        if !is_older {
            return false;
        }
        self.counters.pages_moved += 1;
        while !self.has_room(bytes) {
            if !self.free_group(group, now_s) {
                return false;
            }
        }
        true
    }

    /// Frees what was used longest ago: a page or a large value. False if there is nothing.
    fn free_oldest(&mut self, now_s: u32) -> bool {
        match self.oldest_group(usize::MAX, now_s) {
            Some((group, _)) => self.free_group(group, now_s),
            None => false,
        }
    }

    /// The group, other than this one, whose next item to go is oldest, and its age in seconds.
    fn oldest_group(&self, except: usize, now_s: u32) -> Option<(usize, u32)> {
        let groups = (0..=self.slabs.classes()).filter(|group| *group != except);
        groups
            .filter_map(|group| self.lru.oldest(group).map(|id| (group, self.age(id, now_s))))
            .max_by_key(|(_, age)| *age)
    }

    fn age(&self, id: ItemId, now_s: u32) -> u32 {
        now_s.saturating_sub(item::ACCESSED.of(self.slabs.chunk(id)))
    }

    /// Frees a page of a class, or a large value; false if there is none.
    fn free_group(&mut self, group: usize, now_s: u32) -> bool {
        let Some(id) = self.lru.victim(&mut self.slabs, group) else { return false };
        if group == self.slabs.classes() {
            self.evict(id, now_s);
            return true;
        }
        let items: Vec<ItemId> = self.slabs.neighbours(id);
        for item in items {
            self.evict(item, now_s);
        }
        self.slabs.give_page_of(id);
        true
    }

    /// Removes an item to make room.
    fn evict(&mut self, id: ItemId, now_s: u32) {
        if self.is_dead(id, now_s) {
            self.bury(id);
            return;
        }
        self.counters.evictions += 1;
        if !item::has(self.slabs.chunk(id), item::FETCHED) {
            self.counters.evicted_unfetched += 1;
        }
        self.remove(id);
    }
}
