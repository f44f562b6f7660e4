//! The items of one shard, in bounded memory.

mod ahead;
mod buckets;
mod counters;
mod eviction;
mod item;
mod key;
mod large;
mod lru;
mod meta;
mod slab;
#[cfg(test)]
mod tests;

pub use ahead::KEYS_AHEAD;
pub use counters::{StoreCounters, StoreFigures};
pub use key::{Key, KeyHash};
pub(crate) use meta::{MetaCounted, MetaItem};
pub use slab::ClassFigures;

use buckets::Buckets;
use item::New;
use large::Large;
use lru::Lru;
use slab::{ItemId, LARGE_VALUE_BYTES, NO_ITEM, Slabs};

use crate::command::{Direction, StorageVerb};
use crate::number::{Decimal, unsigned};
use crate::value::Value;

/// Times up to this, in seconds, count from now, others since 1970.
const MAX_RELATIVE_S: i64 = 60 * 60 * 24 * 30;

/// When an item expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry(u32);

impl Expiry {
    /// It does not.
    pub const NEVER: Self = Self(0);

    /// What a client's number says, in this second since 1970.
    pub fn new(exptime: i64, now_s: u32) -> Self {
        Self(match exptime {
            0 => 0,
            ..0 => 1, // The first second there was has passed.
            1..=MAX_RELATIVE_S => now_s.saturating_add(u32::try_from(exptime).unwrap_or(u32::MAX)),
            absolute => u32::try_from(absolute).unwrap_or(u32::MAX),
        })
    }

    /// The second since 1970; `None` for never.
    pub const fn second(self) -> Option<u32> {
        if self.0 == 0 { None } else { Some(self.0) }
    }
}

/// An item that was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// What was stored with it.
    pub flags: u32,
    /// Its unique number.
    pub cas: u64,
    /// When it expires.
    pub expiry: Expiry,
    /// Its value.
    pub value: FoundValue<'a>,
}

/// Where a value lies.
#[derive(Clone, Copy, Debug)]
pub enum FoundValue<'a> {
    /// Among others, where it will be overwritten: it is to be copied.
    Small(&'a [u8]),
    /// In memory of its own, which lives as long as it is referred to: it may be sent as it is.
    Large(&'a Value),
}

impl FoundValue<'_> {
    /// How many bytes it has.
    pub fn len(&self) -> usize {
        match self {
            Self::Small(bytes) => bytes.len(),
            Self::Large(value) => value.len(),
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What became of a value that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is stored, under this unique number.
    Stored(u64),
    /// What the command demands is not so.
    NotStored,
    /// Somebody has changed the item.
    Exists,
    /// There is no such item to be changed.
    NotFound,
    /// There is no memory for it, and what it should have replaced is gone.
    NoMemory,
}

/// What became of a number that was to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It is this now.
    Number(u64),
    /// There is no such item.
    NotFound,
    /// The item is no number.
    NotANumber,
    /// There is no memory for the longer number, and the item is gone.
    NoMemory,
}

/// The items of one shard, in memory that is bounded.
///
/// Small values lie behind their keys in pages of 64 KiB that are cut into chunks of one size, others in memory of their own, to be handed out
/// uncopied. What has not been asked for lately makes room. The time is an argument everywhere, in seconds since 1970; it never goes backwards.
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
    /// Memory within the limit that somebody else uses.
    lent_bytes: usize,
    items: usize,
    item_bytes: usize,
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
}

/// The least memory that a store has, in bytes: some pages and the hash table.
pub const MIN_MEMORY_BYTES: usize = 1 << 20;

impl Store {
    /// Without items. It takes memory as it needs it, up to `limit_bytes` in all, or [`MIN_MEMORY_BYTES`] if that is more.
    pub fn new(hash: KeyHash, limit_bytes: usize) -> Self {
        let slabs = Slabs::new();
        let lru = Lru::new(slabs.classes() + 1);
        Self {
            hash,
            slabs,
            lru,
            large: Large::default(),
            buckets: Buckets::new(),
            limit_bytes: limit_bytes.max(MIN_MEMORY_BYTES),
            lent_bytes: 0,
            items: 0,
            item_bytes: 0,
            last_cas: 0,
            flushed_cas: 0,
            flush_at: None,
            swept: 0,
            gone: 0,
            counters: StoreCounters::default(),
        }
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
        let id = self.fetch(key, now_s);
        self.count_touch(id.is_some());
        let id = id?;
        item::EXPIRES.set(self.slabs.chunk_mut(id), expiry.0);
        Some(self.found(id))
    }

    /// Lets an item expire anew; false if there is none.
    pub fn touch(&mut self, key: Key<'_>, expiry: Expiry, now_s: u32) -> bool {
        let id = self.live(key, now_s);
        self.count_touch(id.is_some());
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
                return Stored::Exists;
            }
            (StorageVerb::Cas(_), Some(_)) => self.counters.cas_hits += 1,
            (StorageVerb::Append, Some(id)) => return self.extend(key, id, value, true, now_s),
            (StorageVerb::Prepend, Some(id)) => return self.extend(key, id, value, false, now_s),
        }
        self.put(key, old, flags, expiry, value, now_s)
    }

    /// Deletes an item; false if there is none.
    pub fn delete(&mut self, key: Key<'_>, now_s: u32) -> bool {
        let Some(id) = self.live(key, now_s) else {
            self.counters.delete_misses += 1;
            return false;
        };
        self.counters.delete_hits += 1;
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
        let id = self.live(key, now_s);
        let counter = match (direction, id.is_some()) {
            (Direction::Increment, true) => &mut self.counters.incr_hits,
            (Direction::Increment, false) => &mut self.counters.incr_misses,
            (Direction::Decrement, true) => &mut self.counters.decr_hits,
            (Direction::Decrement, false) => &mut self.counters.decr_misses,
        };
        *counter += 1;
        let Some(id) = id else { return Counted::NotFound };
        let Some(before) = self.number(id) else { return Counted::NotANumber };
        let number = match direction {
            Direction::Increment => before.wrapping_add(by),
            Direction::Decrement => before.saturating_sub(by),
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
        let value = large::own([digits], digits.len());
        match self.put(key, Some(id), flags, expiry, &value, now_s) {
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

    /// Begins to count anew.
    pub fn reset_counters(&mut self) {
        self.counters = StoreCounters::default();
    }

    /// What it has.
    pub fn figures(&self) -> StoreFigures {
        StoreFigures {
            items: self.items,
            item_bytes: self.item_bytes,
            memory_bytes: self.memory_bytes(),
            limit_bytes: self.limit_bytes,
            hash_bytes: self.buckets.memory_bytes(),
            buckets: self.buckets.count(),
        }
    }

    /// What the sizes of chunks have that have pages: number, figures, and hot, warm and cold items.
    pub fn classes(&self) -> impl Iterator<Item = (usize, ClassFigures, [usize; 3])> {
        let of = |class| (class, self.slabs.figures(class), [0, 1, 2].map(|segment| self.lru.count(class, segment)));
        (0..self.slabs.classes()).map(of).filter(|(_, figures, _)| figures.pages > 0)
    }

    fn memory_bytes(&self) -> usize {
        self.slabs.memory_bytes() + self.large.memory_bytes() + self.buckets.memory_bytes()
    }

    fn count_touch(&mut self, is_there: bool) {
        if is_there {
            self.counters.touch_hits += 1;
        } else {
            self.counters.touch_misses += 1;
        }
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
        self.arrive(now_s);
        if let Some(id) = self.find(key) {
            if !self.is_dead(id, now_s) {
                self.counters.get_hits += 1;
                return Some(id);
            }
            if item::cas(self.slabs.chunk(id)) <= self.flushed_cas {
                self.counters.get_flushed += 1;
            } else {
                self.counters.get_expired += 1;
            }
            self.bury(id);
        }
        self.counters.get_misses += 1;
        None
    }

    /// The item of this key that has neither expired nor been flushed.
    fn live(&mut self, key: Key<'_>, now_s: u32) -> Option<ItemId> {
        self.arrive(now_s);
        let id = self.find(key)?;
        if self.is_dead(id, now_s) {
            self.bury(id);
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

    /// The number that an item is; spaces may follow it.
    fn number(&self, id: ItemId) -> Option<u64> {
        let FoundValue::Small(text) = self.found(id).value else { return None };
        unsigned(text.trim_ascii_end())
    }

    /// Puts a value behind or before that of an item.
    fn extend(&mut self, key: Key<'_>, id: ItemId, value: &Value, is_behind: bool, now_s: u32) -> Stored {
        let Found { flags, expiry, value: old, .. } = self.found(id);
        let len = old.len() + value.len();
        let joined = match (old, is_behind) {
            (FoundValue::Small(old), true) => large::own([old].into_iter().chain(large::parts(value)), len),
            (FoundValue::Small(old), false) => large::own(large::parts(value).chain([old]), len),
            (FoundValue::Large(old), true) => large::own(large::parts(old).chain(large::parts(value)), len),
            (FoundValue::Large(old), false) => large::own(large::parts(value).chain(large::parts(old)), len),
        };
        self.put(key, Some(id), flags, expiry, &joined, now_s)
    }

    /// Stores a value instead of that of `old`, the item that has this key.
    fn put(
        &mut self,
        key: Key<'_>,
        old: Option<ItemId>,
        flags: u32,
        expiry: Expiry,
        value: &Value,
        now_s: u32,
    ) -> Stored {
        let is_large = value.len() >= LARGE_VALUE_BYTES;
        let class = self.slabs.class_for(item::bytes(key.bytes().len(), value.len(), is_large));
        let is_in_place = |id| !is_large && self.group(id) == class;
        let id = match old {
            Some(id) if is_in_place(id) => Some(self.take_over(id)),
            old => {
                old.into_iter().for_each(|id| self.remove(id));
                self.make_room(class, if is_large { Large::cost_bytes(value.len()) } else { 0 }, now_s)
            }
        };
        let Some(id) = id else {
            self.counters.no_memory += 1;
            return Stored::NoMemory;
        };
        self.last_cas += 1;
        let value_bytes = u32::try_from(value.len()).expect("longer ones were refused");
        let new = New { expires: expiry.0, accessed: now_s, cas: self.last_cas, flags, value_bytes, is_large };
        let chunk = self.slabs.chunk_mut(id);
        item::make(chunk, key.bytes(), new);
        if is_large {
            let owned = if value.is_owned() { value.clone() } else { large::own(large::parts(value), value.len()) };
            item::set_large(chunk, self.large.add(owned));
        } else {
            let mut rest = item::value_mut(chunk);
            for part in large::parts(value) {
                let (front, behind) = rest.split_at_mut(part.len());
                front.copy_from_slice(part);
                rest = behind;
            }
        }
        self.link(key, id, value.len());
        Stored::Stored(self.last_cas)
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
        self.item_bytes += item::HEADER_BYTES + key.bytes().len() + value_bytes;
        self.counters.stored_items += 1;
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
        self.items -= 1;
        self.item_bytes -= item::HEADER_BYTES + item::key(chunk).len() + item::VALUE_BYTES.of(chunk) as usize;
        if item::has(chunk, item::LARGE) {
            self.large.remove(item::large(chunk));
        }
        id
    }

    fn remove(&mut self, id: ItemId) {
        self.take_over(id);
        self.slabs.give(id);
    }

    /// Removes an item that is dead.
    fn bury(&mut self, id: ItemId) {
        self.counters.reclaimed += 1;
        if !item::has(self.slabs.chunk(id), item::FETCHED) {
            self.counters.expired_unfetched += 1;
        }
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
