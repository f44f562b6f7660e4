//! Values take the place of others.

use super::item::{self, New};
use super::slab::{ItemId, LARGE_VALUE_BYTES};
use super::{Expiry, Found, FoundValue, Key, Store, Stored, large};
use crate::limits::counted_item_bytes;
use crate::value::Value;

/// What an item is to have.
#[derive(Clone, Copy)]
pub(super) struct Fresh<'a> {
    pub(super) flags: u32,
    pub(super) expiry: Expiry,
    /// [Kept](large::Large::keep) if it is large.
    pub(super) value: &'a Value,
    /// Whether the old item goes if there is no room for this one, since it would be wrong.
    pub(super) is_set: bool,
}

impl Store {
    /// Stores a value that was received, unless it is too large.
    pub(super) fn put_received(&mut self, key: Key<'_>, old: Option<ItemId>, fresh: Fresh<'_>, now_s: u32) -> Stored {
        let refused = self.refusal(key, fresh.value.len(), fresh.flags);
        if let Some(refused) = refused {
            old.filter(|_| fresh.is_set).into_iter().for_each(|id| self.remove(id));
            return refused;
        }
        if fresh.value.len() < LARGE_VALUE_BYTES {
            return self.put(key, old, fresh, now_s);
        }
        self.counters.copied += u64::from(!fresh.value.is_owned());
        let value = self.large.keep(fresh.value);
        self.put(key, old, Fresh { value: &value, ..fresh }, now_s)
    }

    /// Puts a value behind or before that of an item. If it would become too large, or finds no memory, the item stays as it is and
    /// the answer is that of memcached, as if there were none.
    pub(super) fn extend(&mut self, key: Key<'_>, id: ItemId, value: &Value, is_behind: bool, now_s: u32) -> Stored {
        let Found { flags, expiry, value: old, .. } = self.found(id);
        let len = old.len() + value.len();
        if !planted::is("memcache_grows_unbounded") && self.refusal(key, len, flags).is_some() {
            return Stored::NotStored;
        }
        let joined = match (self.found(id).value, is_behind) {
            (FoundValue::Small(old), true) => large::own([old].into_iter().chain(large::parts(value)), len),
            (FoundValue::Small(old), false) => large::own(large::parts(value).chain([old]), len),
            (FoundValue::Large(_), _) => self.large.extended(item::large(self.slabs.chunk(id)), value, is_behind),
        };
        let is_new_large = len >= LARGE_VALUE_BYTES && !item::has(self.slabs.chunk(id), item::LARGE);
        let joined = if is_new_large { self.large.keep(&joined) } else { joined };
        match self.put(key, Some(id), Fresh { flags, expiry, value: &joined, is_set: false }, now_s) {
            Stored::NoMemory => Stored::NotStored,
            stored => stored,
        }
    }

    /// Why an item with a value of this length can't be stored whatever else goes.
    fn refusal(&mut self, key: Key<'_>, value_bytes: usize, flags: u32) -> Option<Stored> {
        if counted_item_bytes(key.bytes().len(), value_bytes, flags) > self.item_limit_bytes {
            self.counters.too_large += 1;
            return Some(Stored::TooLarge);
        }
        // It would push out everything else.
        if value_bytes > self.limit_bytes / 2 {
            self.counters.no_memory += 1;
            return Some(Stored::NoMemory);
        }
        None
    }

    /// Stores a value instead of that of `old`, the item that has this key.
    pub(super) fn put(&mut self, key: Key<'_>, old: Option<ItemId>, fresh: Fresh<'_>, now_s: u32) -> Stored {
        let value = fresh.value;
        let is_large = value.len() >= LARGE_VALUE_BYTES;
        let class = self.slabs.class_for(item::bytes(key.bytes().len(), value.len(), is_large));
        let is_in_place = |id| !is_large && self.group(id) == class;
        let id = match old {
            Some(id) if is_in_place(id) => Some(self.take_over(id)),
            Some(id) if fresh.is_set => {
                self.remove(id);
                self.make_room(class, is_large, now_s)
            }
            _ => self.make_room(class, is_large, now_s).inspect(|_| {
                // It may have gone to make room.
                if let Some(old) = self.find(key) {
                    self.remove(old);
                }
            }),
        };
        let Some(id) = id else {
            self.counters.no_memory += 1;
            self.classes[if is_large { self.slabs.classes() } else { class }].no_memory += 1;
            return Stored::NoMemory;
        };
        self.last_cas += 1;
        let value_bytes = u32::try_from(value.len()).expect("items have a limit of 31 bits");
        let Fresh { flags, expiry, .. } = fresh;
        let new = New { expires: expiry.0, accessed: now_s, cas: self.last_cas, flags, value_bytes, is_large };
        let chunk = self.slabs.chunk_mut(id);
        item::make(chunk, key.bytes(), new);
        if is_large {
            item::set_large(chunk, self.large.add(value.clone()));
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
}
