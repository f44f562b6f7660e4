//! Looking ahead: where the items of several keys lie is fetched from memory at the same time.
//!
//! In a large cache nearly every look at an item waits for memory, longer than all the rest of a request takes: for its bucket, for its
//! chunk, and for those of others in the bucket. One after the other these waits add up. What does not depend on each other the processor
//! fetches together if it sees it early enough, so everything that several requests will need is read once, step by step for all of
//! them, before the first is done.

use core::hint::black_box;

use super::item;
use super::slab::{ItemId, NO_ITEM};
use super::{Key, Store};

/// So many keys are looked at together. More of their items would push each other out of the cache nearest to the processor.
pub const KEYS_AHEAD: usize = 32;

/// Of a processor's cache, in bytes.
const LINE_BYTES: usize = 64;

/// So much of an item is fetched; the processor itself notices what is read from there on.
const FETCHED_BYTES: usize = 4 * LINE_BYTES;

impl Store {
    /// Fetches what is needed to find the items of these keys, the first [`KEYS_AHEAD`] of them. It changes nothing, and is worth its time
    /// for two keys or more.
    pub fn look_ahead<'k>(&self, keys: impl Iterator<Item = Key<'k>>) {
        let (mut all, mut count) = ([Key::with_hash(&[], 0); KEYS_AHEAD], 0);
        for (place, key) in all.iter_mut().zip(keys) {
            *place = key;
            count += 1;
        }
        let keys = &all[..count];
        // If the first of a bucket is another one, the next.
        for (id, key) in self.fetch_first(keys.iter().copied()).into_iter().zip(keys) {
            if let Some(first) = self.chunk(id)
                && item::key(first) != key.bytes()
                && let Some(next) = self.chunk(item::CHAIN.of(first))
            {
                touch(next);
            }
        }
    }

    /// The same for keys of which no more is kept than their hashes: what is first in a bucket is taken for the item.
    pub fn look_ahead_by_hash(&self, hashes: impl Iterator<Item = u64>) {
        self.fetch_first(hashes.map(|hash| Key::with_hash(&[], hash)));
    }

    /// What is first in the buckets of keys.
    fn fetch_first<'k>(&self, keys: impl Iterator<Item = Key<'k>>) -> [ItemId; KEYS_AHEAD] {
        let (mut places, mut count) = ([NO_ITEM; KEYS_AHEAD], 0);
        for (place, key) in places.iter_mut().zip(keys) {
            *place = self.buckets.of(key.low());
            count += 1;
        }
        // From the bucket's number to its first item.
        places[..count].iter_mut().for_each(|place| *place = self.buckets.first(*place));
        places[..count].iter().filter_map(|id| self.chunk(*id)).for_each(touch);
        places
    }

    fn chunk(&self, id: ItemId) -> Option<&[u8]> {
        (id != NO_ITEM).then(|| self.slabs.chunk(id))
    }
}

fn touch(chunk: &[u8]) {
    let lines = chunk.iter().take(FETCHED_BYTES).step_by(LINE_BYTES);
    black_box(lines.fold(0, |sum, byte| sum ^ byte));
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    use sunstar_packet::Buffer;

    use super::KEYS_AHEAD;
    use crate::command::StorageVerb;
    use crate::store::{Expiry, KeyHash, Store};
    use crate::value::Value;

    #[test]
    fn looking_ahead_changes_nothing_whatever_is_there() {
        let hash = KeyHash::new([1, 2]);
        let mut store = Store::new(hash, 16 << 20);
        let names: Vec<String> = (0..20_000).map(|number| format!("key{number}")).collect();
        let look = |store: &Store| {
            names.chunks(KEYS_AHEAD + 8).for_each(|names| {
                store.look_ahead(names.iter().map(|name| hash.key(name.as_bytes())));
            });
        };
        look(&store);
        // Of every other key there is an item, some of them with values that lie outside.
        for (number, name) in names.iter().enumerate().step_by(2) {
            let value = Value::from(Buffer::from(name.repeat(if number % 100 == 0 { 1_000 } else { 1 }).into_bytes()));
            store.store(StorageVerb::Set, hash.key(name.as_bytes()), 0, Expiry::NEVER, &value, 1);
        }
        let before = (store.figures(), *store.counters());
        look(&store);
        assert_eq!((store.figures(), *store.counters()), before);
        store.look_ahead(core::iter::empty());
        store.look_ahead_by_hash(core::iter::empty());
        store.look_ahead_by_hash(names.iter().map(|name| hash.key(name.as_bytes()).hash()));
        assert_eq!((store.figures(), *store.counters()), before);
    }
}
