//! Who makes room when there is no memory, and what is done beside.

use alloc::vec::Vec;

use super::large::Large;
use super::slab::{ItemId, LARGE_VALUE_BYTES, PAGE_BYTES};
use super::{Store, item};

/// After so many items of one size have gone, it is seen whether another one should give a page.
const GONE_PER_LOOK: u32 = 64;

/// Pages whose items are that much older than those of the size that wants one, in hundredths of their age, are moved.
const OLDER_PERCENT: u64 = 125;

/// So many pages or large values are freed by one step at most. The items of a page take some hundred microseconds at worst.
const FREED_PER_STEP: usize = 4;

/// So many large values are looked at for one that nobody else has.
const TRIES: usize = 8;

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
    /// takes some microseconds, and up to some hundred if memory has to be freed. Answers how many items have gone.
    pub fn poll(&mut self, now_s: u32) -> usize {
        self.arrive(now_s);
        let before = self.items;
        if let Some((place, first)) = self.slabs.page_after(self.swept) {
            self.swept = place;
            for id in self.slabs.neighbours(first) {
                let is_dead = self.is_dead(id, now_s);
                let class = self.class_of(id);
                class.swept += 1;
                class.swept_dead += u64::from(is_dead);
                if is_dead {
                    self.bury(id);
                }
            }
        }
        self.prepare(0, now_s);
        before - self.items
    }

    /// Makes room for a value that is about to be stored, a part of it at a time: true when there is enough, or no more can be had.
    /// Else it has freed some, which takes up to some hundred microseconds, and is to be called again. Who stores a value without this
    /// waits for all of it.
    pub fn prepare(&mut self, value_bytes: usize, now_s: u32) -> bool {
        // Less is a matter of a page, and more will be refused.
        let is_large = (LARGE_VALUE_BYTES..=self.limit_bytes / 2).contains(&value_bytes);
        let bytes = if is_large { Large::cost_bytes(value_bytes) } else { 0 };
        for _ in 0..FREED_PER_STEP {
            if self.has_room(bytes) || !self.free_oldest(now_s) {
                return true;
            }
        }
        self.has_room(bytes)
    }

    /// How many calls of [`poll`](Self::poll) look at all items.
    pub fn pages(&self) -> usize {
        self.slabs.live_pages()
    }

    /// Frees at least so many bytes of what was used longest ago, as far as there are as many; answers how many it has freed. For an
    /// allocator that needs memory elsewhere.
    pub fn free_memory(&mut self, bytes: usize, now_s: u32) -> usize {
        let before = self.memory_bytes();
        while before - self.memory_bytes() < bytes && self.free_oldest(now_s) {}
        before - self.memory_bytes()
    }

    /// A chunk of a class, and room for the large value that is there already if it is to have one.
    pub(super) fn make_room(&mut self, class: usize, is_large: bool, now_s: u32) -> Option<ItemId> {
        while is_large && !self.has_room(0) {
            if !self.free_oldest(now_s) {
                return None;
            }
        }
        let before_bytes = self.memory_bytes();
        loop {
            if let Some(id) = self.slabs.take(class) {
                return Some(id);
            }
            if self.fits(PAGE_BYTES, before_bytes) && self.slabs.add_page(class) {
                continue;
            }
            if self.free_empty() {
                continue;
            }
            self.gone += 1;
            let is_time = self.gone >= GONE_PER_LOOK;
            if is_time {
                self.gone = 0;
            }
            if (is_time || self.lru.is_empty(class)) && self.free_older(class, before_bytes, now_s) {
                continue;
            }
            match self.lru.victim(&mut self.slabs, class) {
                Some(id) => self.evict(id, now_s),
                None if self.free_oldest(now_s) => {}
                None => return None,
            }
        }
    }

    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.memory_bytes() + self.lent_bytes + bytes <= self.limit_bytes
    }

    /// Whether there is room for so many bytes, or it is what was freed of this much: who stores a small value need not free all
    /// that is too much.
    fn fits(&self, bytes: usize, before_bytes: usize) -> bool {
        self.has_room(bytes) || self.memory_bytes() + bytes <= before_bytes
    }

    /// Frees a page, or as much of large values, of what is much older than the items of this class; false if nothing is.
    fn free_older(&mut self, class: usize, before_bytes: usize, now_s: u32) -> bool {
        let Some((group, age)) = self.oldest_group(&[class], now_s) else { return false };
        let own = self.lru.oldest(class).map(|id| self.age(id, now_s));
        let is_older = own.is_none_or(|own| u64::from(age) * 100 > u64::from(own) * OLDER_PERCENT);
        if !is_older {
            return false;
        }
        self.counters.pages_moved += 1;
        while !self.fits(PAGE_BYTES, before_bytes) {
            if !self.free_group(group, now_s) {
                return false;
            }
        }
        true
    }

    /// Frees a page that is empty, or what was used longest ago: a page or a large value. False if there is nothing.
    fn free_oldest(&mut self, now_s: u32) -> bool {
        if self.free_empty() {
            return true;
        }
        let Some((group, _)) = self.oldest_group(&[], now_s) else { return false };
        if self.free_group(group, now_s) {
            return true;
        }
        // Others have the large values.
        let next = self.oldest_group(&[group], now_s);
        next.is_some_and(|(group, _)| self.free_group(group, now_s))
    }

    /// Frees a page in which nothing is left.
    fn free_empty(&mut self) -> bool {
        !planted::is("memcache_empty_kept") && self.slabs.give_empty()
    }

    /// The group, other than these, whose next item to go is oldest, and its age in seconds.
    fn oldest_group(&self, except: &[usize], now_s: u32) -> Option<(usize, u32)> {
        let groups = (0..=self.slabs.classes()).filter(|group| !except.contains(group));
        groups
            .filter_map(|group| self.lru.oldest(group).map(|id| (group, self.age(id, now_s))))
            .max_by_key(|(_, age)| *age)
    }

    pub(super) fn age(&self, id: ItemId, now_s: u32) -> u32 {
        now_s.saturating_sub(item::ACCESSED.of(self.slabs.chunk(id)))
    }

    /// Frees a page of a class, or a large value; false if there is none.
    fn free_group(&mut self, group: usize, now_s: u32) -> bool {
        if group == self.slabs.classes() {
            return self.free_large(now_s);
        }
        let Some(id) = self.lru.victim(&mut self.slabs, group) else { return false };
        let items: Vec<ItemId> = self.slabs.neighbours(id);
        for item in items {
            self.evict(item, now_s);
        }
        self.slabs.give_page_of(id);
        true
    }

    /// Frees a large value that nobody else has; false if there is none among those that were used longest ago.
    fn free_large(&mut self, now_s: u32) -> bool {
        let group = self.slabs.classes();
        for _ in 0..TRIES {
            let Some(id) = self.lru.victim(&mut self.slabs, group) else { return false };
            if !self.large.is_lent(item::large(self.slabs.chunk(id))) {
                self.evict(id, now_s);
                return true;
            }
            // Somebody is being answered with it right now.
            self.counters.passed_over += 1;
            self.lru.put_off(&mut self.slabs, group, id);
        }
        false
    }

    /// Removes an item to make room.
    fn evict(&mut self, id: ItemId, now_s: u32) {
        if self.is_dead(id, now_s) {
            self.bury(id);
            return;
        }
        let chunk = self.slabs.chunk(id);
        let unfetched = u64::from(!item::has(chunk, item::FETCHED));
        let (nonzero, age_s) = (u64::from(item::EXPIRES.of(chunk) != 0), self.age(id, now_s));
        self.counters.evictions += 1;
        self.counters.evicted_unfetched += unfetched;
        let class = self.class_of(id);
        class.evictions += 1;
        class.evicted_unfetched += unfetched;
        class.evicted_nonzero += nonzero;
        class.evicted_age_s = age_s;
        self.remove(id);
    }
}
