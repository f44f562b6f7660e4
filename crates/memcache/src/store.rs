//! The items of one shard, in bounded memory.

mod ahead;
mod buckets;
mod counters;
mod dump;
mod eviction;
mod expiry;
mod item;
mod key;
mod large;
mod lru;
mod meta;
mod outcome;
mod prefixes;
mod put;
mod slab;
#[cfg(test)]
mod tests;

pub use ahead::KEYS_AHEAD;
pub use counters::{ClassCounters, ClassFigures, Moves, StoreCounters, StoreFigures};
pub use dump::Sizes;
pub use expiry::Expiry;
pub use key::{Key, KeyHash};
pub(crate) use meta::{MetaCounted, MetaItem};
pub use outcome::{Counted, Found, FoundValue, Stored};
pub use prefixes::PrefixCounters;
pub use slab::LARGE_VALUE_BYTES;

use alloc::vec;
use alloc::vec::Vec;

use sunstar_packet::Buffer;

use buckets::Buckets;
use large::Large;
use lru::Lru;
use prefixes::Prefixes;
use put::Fresh;
use slab::{ItemId, NO_ITEM, Slabs};

use crate::command::{Direction, StorageVerb};
use crate::limits::MAX_VALUE_BYTES;
use crate::number::{Decimal, natural};
use crate::value::Value;

/// The items of one shard, in memory that is bounded.
///
/// Small values lie behind their keys in pages of 64 KiB that are cut into chunks of one size, others in memory of their own,
/// so that they can be handed out without being copied. When there is no memory left, what has not been asked for lately makes
/// room. The time is an argument everywhere, in seconds since 1970; it must not go backwards.
///
/// ```
/// use sunstar_memcache::{Expiry, KeyHash, StorageVerb, Store, Stored, Value};
/// use sunstar_packet::Buffer;
///
/// let hash = KeyHash::new([1, 2]); // two random numbers, the same on all shards
/// let mut store = Store::new(hash, 64 << 20);
/// let (key, now_s) = (hash.key(b"a"), 1_000_000_000);
/// let value = Value::from(Buffer::from("hi"));
/// let stored = store.store(StorageVerb::Set, key, 0, Expiry::new(60, now_s), &value, now_s);
/// assert!(matches!(stored, Stored::Stored(_)));
/// assert!(store.get(key, now_s + 59).is_some());
/// assert!(store.get(key, now_s + 60).is_none());
/// ```
pub struct Store {
    hash: KeyHash,
    slabs: Slabs,
    large: Large,
    buckets: Buckets,
    lru: Lru,
    limit_bytes: usize,
    /// Of one item, as [`counted_item_bytes`](crate::counted_item_bytes) says.
    item_limit_bytes: usize,
    /// Memory within the limit that somebody else uses.
    lent_bytes: usize,
    items: usize,
    last_cas: u64,
    /// Items up to this unique number are dead.
    flushed_cas: u64,
    /// When all that is there then dies.
    flush_at: Option<u32>,
    /// The page that was looked at last for dead items.
    swept: usize,
    /// Items that have gone since pages were moved last.
    gone: u32,
    counters: StoreCounters,
    /// Of each group.
    classes: Vec<ClassCounters>,
    /// Header, key and value of the items of each group.
    class_bytes: Vec<usize>,
    prefixes: Prefixes,
}

/// The least memory that a store has, in bytes: some pages and the hash table.
pub const MIN_MEMORY_BYTES: usize = 1 << 20;

impl Store {
    /// Without items. It takes memory as it needs it, up to `limit_bytes` in all, or [`MIN_MEMORY_BYTES`] if that is more.
    pub fn new(hash: KeyHash, limit_bytes: usize) -> Self {
        let slabs = Slabs::new();
        let groups = slabs.classes() + 1;
        let lru = Lru::new(groups);
        Self {
            hash,
            slabs,
            lru,
            large: Large::default(),
            buckets: Buckets::new(),
            limit_bytes: limit_bytes.max(MIN_MEMORY_BYTES),
            item_limit_bytes: MAX_VALUE_BYTES,
            lent_bytes: 0,
            items: 0,
            last_cas: 0,
            flushed_cas: 0,
            flush_at: None,
            swept: 0,
            gone: 0,
            counters: StoreCounters::default(),
            classes: vec![ClassCounters::default(); groups],
            class_bytes: vec![0; groups],
            prefixes: Prefixes::default(),
        }
    }

    /// Refuses items that [`counted_item_bytes`](crate::counted_item_bytes) finds larger than this, at most [`MAX_VALUE_BYTES`],
    /// which is what they may be otherwise. For what grows: whoever reads requests has refused those that are too large as they come.
    pub fn set_item_limit(&mut self, bytes: usize) {
        self.item_limit_bytes = bytes.min(MAX_VALUE_BYTES);
    }

    /// A key as this store knows it.
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        self.hash.key(bytes)
    }

    /// The item of this key.
    #[inline]
    pub fn get(&mut self, key: Key<'_>, now_s: u32) -> Option<Found<'_>> {
        let id = self.fetch(key, now_s)?;
        Some(self.found(id))
    }

    /// The item of this key, which expires anew.
    pub fn get_and_touch(&mut self, key: Key<'_>, expiry: Expiry, now_s: u32) -> Option<Found<'_>> {
        let id = self.look_up(key, now_s);
        self.count_touch(id);
        let id = id?;
        self.mark(id, now_s);
        item::EXPIRES.set(self.slabs.chunk_mut(id), expiry.0);
        Some(self.found(id))
    }

    /// Lets an item expire anew; false if there is none.
    pub fn touch(&mut self, key: Key<'_>, expiry: Expiry, now_s: u32) -> bool {
        let id = self.live(key, now_s);
        self.count_touch(id);
        let Some(id) = id else { return false };
        self.mark(id, now_s);
        item::EXPIRES.set(self.slabs.chunk_mut(id), expiry.0);
        true
    }

    /// Stores a value.
    pub fn store(
        &mut self,
        verb: StorageVerb,
        key: Key<'_>,
        flags: u32,
        expiry: Expiry,
        value: &Value,
        now_s: u32,
    ) -> Stored {
        self.counters.sets += 1;
        self.prefixes.count(key.bytes(), |prefix| prefix.sets += 1);
        let old = self.live(key, now_s);
        match (verb, old) {
            (StorageVerb::Set, _) | (StorageVerb::Add, None) | (StorageVerb::Replace, Some(_)) => {}
            (StorageVerb::Add, Some(id)) => {
                self.mark(id, now_s);
                return Stored::NotStored;
            }
            (StorageVerb::Replace | StorageVerb::Append | StorageVerb::Prepend, None) => return Stored::NotStored,
            (StorageVerb::Cas(_), None) => {
                self.counters.cas_misses += 1;
                return Stored::NotFound;
            }
            (StorageVerb::Cas(unique), Some(id)) if item::cas(self.slabs.chunk(id)) != unique => {
                self.counters.cas_badval += 1;
                self.class_of(id).cas_badval += 1;
                return Stored::Exists;
            }
            (StorageVerb::Cas(_), Some(id)) => {
                self.counters.cas_hits += 1;
                self.class_of(id).cas_hits += 1;
            }
            (StorageVerb::Append, Some(id)) => return self.extend(key, id, value, true, now_s),
            (StorageVerb::Prepend, Some(id)) => return self.extend(key, id, value, false, now_s),
        }
        let fresh = Fresh { flags, expiry, value, is_set: verb == StorageVerb::Set };
        self.put_received(key, old, fresh, now_s)
    }

    /// Deletes an item; false if there is none.
    pub fn delete(&mut self, key: Key<'_>, now_s: u32) -> bool {
        self.prefixes.count(key.bytes(), |prefix| prefix.deletes += 1);
        let Some(id) = self.live(key, now_s) else {
            self.counters.delete_misses += 1;
            return false;
        };
        self.counters.delete_hits += 1;
        self.class_of(id).delete_hits += 1;
        self.remove(id);
        true
    }

    /// Deletes an item, if there is one, without counting that.
    pub fn forget(&mut self, key: Key<'_>, now_s: u32) {
        if let Some(id) = self.live(key, now_s) {
            self.remove(id);
        }
    }

    /// Changes the number that an item is.
    ///
    /// Of a number that gets shorter, the rest of the value becomes spaces.
    pub fn count(&mut self, direction: Direction, key: Key<'_>, by: u64, now_s: u32) -> Counted {
        let Some(id) = self.live(key, now_s) else {
            match direction {
                Direction::Increment => self.counters.incr_misses += 1,
                Direction::Decrement => self.counters.decr_misses += 1,
            }
            return Counted::NotFound;
        };
        let Some(before) = self.number(id) else { return Counted::NotANumber };
        let number = match direction {
            Direction::Increment => {
                self.counters.incr_hits += 1;
                self.class_of(id).incr_hits += 1;
                before.wrapping_add(by)
            }
            Direction::Decrement => {
                self.counters.decr_hits += 1;
                self.class_of(id).decr_hits += 1;
                before.saturating_sub(by)
            }
        };
        self.mark(id, now_s);
        let decimal = Decimal::new(number);
        let digits = decimal.as_bytes();
        let chunk = self.slabs.chunk_mut(id);
        let room = item::value_mut(chunk);
        if let Some((front, rest)) = room.split_at_mut_checked(digits.len()) {
            front.copy_from_slice(digits);
            rest.fill(b' ');
            if !planted::is("memcache_count_unseen") {
                self.last_cas += 1;
            }
            item::set_cas(chunk, self.last_cas);
            return Counted::Number(number);
        }
        let (flags, expiry) = (item::FLAGS.of(chunk), Expiry(item::EXPIRES.of(chunk)));
        let value = Value::from(Buffer::copy_from_slice(digits));
        let fresh = Fresh { flags, expiry, value: &value, is_set: false };
        match self.put(key, Some(id), fresh, now_s) {
            Stored::Stored(_) => Counted::Number(number),
            _ => Counted::NoMemory,
        }
    }

    /// Lets all items die that will be there then: at once with [`Expiry::NEVER`] or what has passed.
    pub fn flush(&mut self, at: Expiry, now_s: u32) {
        self.counters.flushes += 1;
        self.arrive(now_s);
        if at.0 <= now_s {
            self.flushed_cas = self.last_cas;
            self.flush_at = None;
        } else {
            self.flush_at = Some(at.0);
        }
    }

    /// What it has done.
    pub const fn counters(&self) -> &StoreCounters {
        &self.counters
    }

    /// How many operations were not counted by their prefixes, since there were too many other prefixes.
    pub fn prefixes_left_out(&self) -> u64 {
        self.prefixes.left_out()
    }

    /// Begins to count anew by classes and by prefixes. [`counters`](Self::counters) go on.
    pub fn reset_class_counters(&mut self) {
        self.classes.fill(ClassCounters::default());
        self.lru.reset_moves();
        self.prefixes.clear();
    }

    /// What it has.
    pub fn figures(&self) -> StoreFigures {
        StoreFigures {
            items: self.items,
            item_bytes: self.class_bytes.iter().sum(),
            memory_bytes: self.memory_bytes(),
            held_bytes: self.large.held_bytes(),
            limit_bytes: self.limit_bytes,
            hash_bytes: self.buckets.memory_bytes(),
            buckets: self.buckets.count(),
        }
    }

    /// The classes that have pages or items, by their numbers: those of chunks, smallest first, and that of large values.
    pub fn classes(&self, now_s: u32) -> impl Iterator<Item = (usize, ClassFigures)> {
        let of = move |class| {
            let ages_s = [lru::HOT, lru::WARM, lru::COLD].map(|segment| {
                let oldest = self.lru.oldest_in(class, segment);
                oldest.map_or(0, |id| self.age(id, now_s))
            });
            let segments = [lru::HOT, lru::WARM, lru::COLD].map(|segment| self.lru.count(class, segment));
            let (item_bytes, counters, moves) = (self.class_bytes[class], self.classes[class], self.lru.moves(class));
            (class, ClassFigures { segments, ages_s, item_bytes, counters, moves, ..self.slabs.figures(class) })
        };
        let is_there = |(_, figures): &(usize, ClassFigures)| figures.pages > 0 || figures.segments != [0; 3];
        (0..=self.slabs.classes()).map(of).filter(is_there)
    }

    fn memory_bytes(&self) -> usize {
        self.slabs.memory_bytes() + self.large.memory_bytes() + self.buckets.memory_bytes()
    }

    /// How much memory it may have, in bytes.
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// How much memory pages and large values have given back to the allocator since the store was made. What it has of that and can't use for
    /// what came in other sizes, it keeps unless somebody has it give that back.
    pub fn freed_bytes(&self) -> u64 {
        self.slabs.freed_bytes() + self.large.freed_bytes()
    }

    #[inline]
    fn count_get(&mut self, id: Option<ItemId>) {
        if let Some(id) = id {
            self.counters.get_hits += 1;
            let place = item::segment_place(self.slabs.chunk(id));
            self.class_of(id).hits[place] += 1;
        } else {
            self.counters.get_misses += 1;
        }
    }

    fn count_touch(&mut self, id: Option<ItemId>) {
        if let Some(id) = id {
            self.counters.touch_hits += 1;
            self.class_of(id).touch_hits += 1;
        } else {
            self.counters.touch_misses += 1;
        }
    }

    /// The counters of an item's class.
    fn class_of(&mut self, id: ItemId) -> &mut ClassCounters {
        let group = self.group(id);
        &mut self.classes[group]
    }

    /// The item of this key, for somebody who wants its value.
    #[inline]
    fn fetch(&mut self, key: Key<'_>, now_s: u32) -> Option<ItemId> {
        let id = self.seek(key, now_s)?;
        self.mark(id, now_s);
        Some(id)
    }

    /// The same, but the item does not count as wanted.
    #[inline]
    fn seek(&mut self, key: Key<'_>, now_s: u32) -> Option<ItemId> {
        let id = self.look_up(key, now_s);
        self.count_get(id);
        id
    }

    /// The item of this key, asked for by who counts that himself.
    #[inline]
    fn look_up(&mut self, key: Key<'_>, now_s: u32) -> Option<ItemId> {
        self.prefixes.count(key.bytes(), |prefix| prefix.gets += 1);
        let id = self.live(key, now_s)?;
        self.prefixes.count(key.bytes(), |prefix| prefix.hits += 1);
        Some(id)
    }

    /// The item of this key that has neither expired nor been flushed.
    #[inline]
    fn live(&mut self, key: Key<'_>, now_s: u32) -> Option<ItemId> {
        self.arrive(now_s);
        let id = self.find(key)?;
        if self.is_dead(id, now_s) {
            self.bury_found(id);
            return None;
        }
        Some(id)
    }

    /// Carries out a flush whose time has come.
    #[inline]
    fn arrive(&mut self, now_s: u32) {
        if self.flush_at.is_some_and(|at| at <= now_s) {
            self.flushed_cas = self.last_cas;
            self.flush_at = None;
        }
    }

    fn is_dead(&self, id: ItemId, now_s: u32) -> bool {
        let chunk = self.slabs.chunk(id);
        let expires = item::EXPIRES.of(chunk);
        let is_expired =
            expires != 0 && if planted::is("memcache_expires_late") { expires < now_s } else { expires <= now_s };
        is_expired || item::cas(chunk) <= self.flushed_cas
    }

    #[inline]
    fn find(&self, key: Key<'_>) -> Option<ItemId> {
        let mut id = self.buckets.first(self.buckets.of(key.low()));
        while id != NO_ITEM {
            let chunk = self.slabs.chunk(id);
            if item::key(chunk) == key.bytes() {
                return Some(id);
            }
            id = item::CHAIN.of(chunk);
        }
        None
    }

    fn found(&self, id: ItemId) -> Found<'_> {
        let chunk = self.slabs.chunk(id);
        let value = if item::has(chunk, item::LARGE) {
            FoundValue::Large(self.large.of(item::large(chunk)))
        } else {
            FoundValue::Small(item::value(chunk))
        };
        let (flags, expiry) = (item::FLAGS.of(chunk), Expiry(item::EXPIRES.of(chunk)));
        Found { flags, cas: item::cas(chunk), expiry, value }
    }

    /// Takes note that somebody wants the item.
    fn mark(&mut self, id: ItemId, now_s: u32) {
        let group = self.group(id);
        self.lru.touch(&mut self.slabs, group, id, now_s);
    }

    /// Whose lists an item is in.
    fn group(&self, id: ItemId) -> usize {
        if item::has(self.slabs.chunk(id), item::LARGE) { self.slabs.classes() } else { self.slabs.class_of(id) }
    }

    /// The bytes of the items of this group, which has the item.
    fn bytes_beside(&mut self, id: ItemId, group: usize) -> &mut usize {
        let counted_with = if planted::is("memcache_bytes_elsewhere") { self.slabs.class_of(id) } else { group };
        &mut self.class_bytes[counted_with]
    }

    /// The number that an item is; spaces may surround it.
    fn number(&self, id: ItemId) -> Option<u64> {
        let FoundValue::Small(text) = self.found(id).value else { return None };
        natural(text.trim_ascii())
    }

    /// Puts an item that was made where it is found.
    fn link(&mut self, key: Key<'_>, id: ItemId, value_bytes: usize) {
        let bucket = self.buckets.of(key.low());
        item::CHAIN.set(self.slabs.chunk_mut(id), self.buckets.first(bucket));
        self.buckets.set_first(bucket, id);
        let group = self.group(id);
        self.lru.link(&mut self.slabs, group, lru::HOT, id);
        self.lru.balance(&mut self.slabs, group);
        self.items += 1;
        *self.bytes_beside(id, group) += item::HEADER_BYTES + key.bytes().len() + value_bytes;
        self.counters.stored_items += 1;
        self.classes[group].sets += 1;
        if self.items > self.buckets.count() as usize {
            self.split_bucket();
        }
    }

    /// Takes an item off all that finds it; its chunk is left.
    fn take_over(&mut self, id: ItemId) -> ItemId {
        self.unchain(id);
        let group = self.group(id);
        self.lru.unlink(&mut self.slabs, group, id);
        let chunk = self.slabs.chunk(id);
        let bytes = item::HEADER_BYTES + item::key(chunk).len() + item::VALUE_BYTES.of(chunk) as usize;
        self.items -= 1;
        *self.bytes_beside(id, group) -= bytes;
        let chunk = self.slabs.chunk(id);
        if item::has(chunk, item::LARGE) {
            self.large.remove(item::large(chunk));
        }
        id
    }

    fn remove(&mut self, id: ItemId) {
        self.take_over(id);
        self.slabs.give(id);
    }

    /// Removes an item that somebody has looked for and that is dead.
    #[cold]
    fn bury_found(&mut self, id: ItemId) {
        if item::cas(self.slabs.chunk(id)) <= self.flushed_cas {
            self.counters.get_flushed += 1;
        } else {
            self.counters.get_expired += 1;
        }
        self.bury(id);
    }

    /// Removes an item that is dead.
    fn bury(&mut self, id: ItemId) {
        let unfetched = u64::from(!item::has(self.slabs.chunk(id), item::FETCHED));
        self.counters.reclaimed += 1;
        self.counters.expired_unfetched += unfetched;
        let class = self.class_of(id);
        class.reclaimed += 1;
        class.expired_unfetched += unfetched;
        self.remove(id);
    }

    fn unchain(&mut self, id: ItemId) {
        let chunk = self.slabs.chunk(id);
        let next = item::CHAIN.of(chunk);
        let bucket = self.buckets.of(self.hash.key(item::key(chunk)).low());
        let mut at = self.buckets.first(bucket);
        if at == id {
            self.buckets.set_first(bucket, next);
            return;
        }
        loop {
            let chunk = self.slabs.chunk_mut(at);
            let follower = item::CHAIN.of(chunk);
            if follower == id {
                item::CHAIN.set(chunk, next);
                return;
            }
            at = follower;
        }
    }

    /// Adds a bucket, and moves there what belongs there.
    fn split_bucket(&mut self) {
        let Some(bucket) = self.buckets.grow() else { return };
        let mut id = self.buckets.first(bucket);
        self.buckets.set_first(bucket, NO_ITEM);
        while id != NO_ITEM {
            let chunk = self.slabs.chunk(id);
            let next = item::CHAIN.of(chunk);
            let target = self.buckets.of(self.hash.key(item::key(chunk)).low());
            let first = self.buckets.first(target);
            item::CHAIN.set(self.slabs.chunk_mut(id), first);
            self.buckets.set_first(target, id);
            id = next;
        }
    }
}
