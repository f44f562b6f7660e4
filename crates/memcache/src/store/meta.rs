//! What meta commands do with items: marks beside the value, which say who renews it.

use super::put::Fresh;
use super::slab::ItemId;
use super::{Counted, Expiry, Found, FoundValue, Key, Store, Stored, item};
use crate::command::{Direction, StorageVerb};
use crate::meta::{MetaCommand, MetaMode};
use crate::number::Decimal;
use crate::store::large;
use crate::value::Value;

/// An item as it was before the command, but for what became of it.
pub(crate) struct MetaItem<'a> {
    pub(crate) flags: u32,
    pub(crate) cas: u64,
    pub(crate) value: FoundValue<'a>,
    /// When it expired before the command changed that.
    pub(crate) expiry: Expiry,
    /// How long nobody has asked for it, in seconds.
    pub(crate) idle_s: u32,
    pub(crate) was_fetched: bool,
    pub(crate) is_key_binary: bool,
    pub(crate) is_stale: bool,
    /// Somebody was told before to renew it.
    pub(crate) had_winner: bool,
    /// Who has asked is to renew it.
    pub(crate) has_won: bool,
    /// It was made since there was none.
    pub(crate) is_new: bool,
    /// The number of its size, from 1 on.
    pub(crate) class: usize,
    /// Of header, key and value, in bytes.
    pub(crate) item_bytes: usize,
}

/// What became of a number that `ma` was to change.
pub(crate) enum MetaCounted {
    /// It is this now, under this unique number.
    Number {
        number: u64,
        cas: u64,
        /// When it expired before the command changed that.
        expiry: Expiry,
        /// It was made since there was none.
        is_new: bool,
    },
    /// The item has another unique number.
    Exists,
    /// As it would be for `incr`, but for a number.
    Not(Counted),
}

impl Store {
    /// `mg`
    pub(crate) fn meta_get(&mut self, command: &MetaCommand, key: Key<'_>, now_s: u32) -> Option<MetaItem<'_>> {
        let found = self.look_up(key, now_s);
        let is_new = found.is_none();
        let id = found.or_else(|| self.vivify(command, key, &Value::new(), now_s));
        // As memcached has it: what is made on the spot is a hit, and only what is there can be touched.
        if id.is_some() && command.exptime.is_some() {
            self.count_touch(id)
        } else {
            self.count_get(id)
        }
        let id = id?;
        let chunk = self.slabs.chunk(id);
        let (before, idle_s) = (item::state(chunk), now_s.saturating_sub(item::ACCESSED.of(chunk)));
        let expiry = Expiry(item::EXPIRES.of(chunk));
        let had_winner = before & item::WON != 0;
        let (after, is_wanted) = self.renewed(command, expiry, is_new, !had_winner, now_s);
        let is_stale = before & item::STALE != 0;
        let has_won = is_wanted || is_stale && !had_winner;
        let chunk = self.slabs.chunk_mut(id);
        item::EXPIRES.set(chunk, after.0);
        if has_won && !planted::is("memcache_two_win") {
            item::set_state(chunk, item::WON, true);
        }
        if !command.is_unseen {
            self.mark(id, now_s);
        }
        Some(MetaItem { expiry, idle_s, had_winner, has_won, is_new, ..self.meta_found(id, before) })
    }

    /// `me`
    pub(crate) fn meta_look(&mut self, key: Key<'_>, now_s: u32) -> Option<MetaItem<'_>> {
        self.counters.meta_looks += 1;
        let id = self.live(key, now_s)?;
        let chunk = self.slabs.chunk(id);
        let (state, idle_s) = (item::state(chunk), now_s.saturating_sub(item::ACCESSED.of(chunk)));
        Some(MetaItem { idle_s, ..self.meta_found(id, state) })
    }

    fn meta_found(&self, id: ItemId, state: u8) -> MetaItem<'_> {
        let Found { flags, cas, expiry, value } = self.found(id);
        let key_bytes = item::key(self.slabs.chunk(id)).len();
        MetaItem {
            flags,
            cas,
            expiry,
            idle_s: 0,
            was_fetched: state & item::FETCHED != 0,
            is_key_binary: state & item::KEY_BINARY != 0,
            is_stale: state & item::STALE != 0,
            had_winner: state & item::WON != 0,
            has_won: false,
            is_new: false,
            class: self.group(id) + 1,
            item_bytes: item::HEADER_BYTES + key_bytes + value.len(),
            value,
        }
    }

    /// When the item expires after all flags, and whether one of them says that who has asked shall renew it.
    fn renewed(
        &self,
        command: &MetaCommand,
        mut expiry: Expiry,
        is_new: bool,
        may_win: bool,
        now_s: u32,
    ) -> (Expiry, bool) {
        let at = |time: Option<i64>| Expiry::new(time.unwrap_or(0), now_s);
        let mut is_wanted = false;
        for flag in &command.order {
            match flag {
                b'T' => expiry = at(command.exptime),
                b'N' if is_new => (expiry, is_wanted) = (at(command.vivify), true),
                b'R' if !is_new && may_win => is_wanted |= expiry.0 != 0 && expiry.0 < at(command.recache).0,
                _ => {}
            }
        }
        (expiry, is_wanted)
    }

    /// Makes an item where there is none, if the command wants one; its time is yet to be set.
    fn vivify(&mut self, command: &MetaCommand, key: Key<'_>, value: &Value, now_s: u32) -> Option<ItemId> {
        command.vivify?;
        let fresh = Fresh { flags: 0, expiry: Expiry::NEVER, value, is_set: false };
        let Stored::Stored(_) = self.put_received(key, None, fresh, now_s) else { return None };
        self.set_key_binary(command, key);
        self.find(key)
    }

    /// `ms`
    pub(crate) fn meta_store(
        &mut self,
        command: &MetaCommand,
        mode: MetaMode,
        key: Key<'_>,
        value: &Value,
        now_s: u32,
    ) -> Stored {
        let verb = match (mode, command.cas) {
            (MetaMode::Set | MetaMode::Replace, Some(cas)) => StorageVerb::Cas(cas),
            (MetaMode::Set, None) => StorageVerb::Set,
            (MetaMode::Replace, None) => StorageVerb::Replace,
            (MetaMode::Add, _) => StorageVerb::Add,
            (MetaMode::Append, _) => StorageVerb::Append,
            (MetaMode::Prepend, _) => StorageVerb::Prepend,
        };
        let expiry = Expiry::new(command.exptime.unwrap_or(0), now_s);
        let stored = match verb {
            StorageVerb::Append | StorageVerb::Prepend => {
                self.store_if_same(verb, key, (command.flags, expiry), value, command.cas, now_s)
            }
            StorageVerb::Cas(cas) if command.is_invalidation => {
                self.store_stale(cas, key, (command.flags, expiry), value, now_s)
            }
            _ => self.store(verb, key, command.flags, expiry, value, now_s),
        };
        if let Stored::Stored(_) = stored {
            self.set_key_binary(command, key);
        }
        stored
    }

    /// Stores a value if an item, should there be one, has this unique number; zero is any.
    pub(crate) fn store_if_same(
        &mut self,
        verb: StorageVerb,
        key: Key<'_>,
        (flags, expiry): (u32, Expiry),
        value: &Value,
        cas: Option<u64>,
        now_s: u32,
    ) -> Stored {
        let wanted = cas.filter(|cas| *cas != 0);
        let live = wanted.and_then(|_| self.live(key, now_s));
        if live.is_some_and(|id| Some(item::cas(self.slabs.chunk(id))) != wanted) {
            self.counters.sets += 1;
            self.prefixes.count(key.bytes(), |prefix| prefix.sets += 1);
            return Stored::Exists;
        }
        self.store(verb, key, flags, expiry, value, now_s)
    }

    /// Stores a value over an item with this unique number; over one with a later number too, but then it is stale and expires as
    /// that one did.
    fn store_stale(
        &mut self,
        cas: u64,
        key: Key<'_>,
        (flags, expiry): (u32, Expiry),
        value: &Value,
        now_s: u32,
    ) -> Stored {
        let old = self.live(key, now_s);
        let is_later = |id: &ItemId| cas != 0 && item::cas(self.slabs.chunk(*id)) > cas;
        let Some(id) = old.filter(is_later) else {
            return self.store(StorageVerb::Cas(cas), key, flags, expiry, value, now_s);
        };
        let chunk = self.slabs.chunk(id);
        let (expiry, had_winner) = (Expiry(item::EXPIRES.of(chunk)), item::has(chunk, item::WON));
        self.counters.sets += 1;
        self.prefixes.count(key.bytes(), |prefix| prefix.sets += 1);
        self.counters.cas_hits += 1;
        self.class_of(id).cas_hits += 1;
        let fresh = Fresh { flags, expiry, value, is_set: false };
        let stored = self.put_received(key, Some(id), fresh, now_s);
        if let (Stored::Stored(_), Some(id)) = (stored, self.find(key)) {
            let marks = item::STALE | if had_winner { item::WON } else { 0 };
            item::set_state(self.slabs.chunk_mut(id), marks, true);
        }
        stored
    }

    fn set_key_binary(&mut self, command: &MetaCommand, key: Key<'_>) {
        if command.is_key_binary
            && let Some(id) = self.find(key)
        {
            item::set_state(self.slabs.chunk_mut(id), item::KEY_BINARY, true);
        }
    }

    /// `md`
    pub(crate) fn meta_delete(&mut self, command: &MetaCommand, key: Key<'_>, now_s: u32) -> Stored {
        let deleted = self.delete_if_same(command, key, now_s);
        self.counters.delete_misses += u64::from(deleted == Stored::Exists);
        deleted
    }

    /// The same, but an item with another unique number is not counted, as packets have it.
    pub(crate) fn delete_if_same(&mut self, command: &MetaCommand, key: Key<'_>, now_s: u32) -> Stored {
        self.prefixes.count(key.bytes(), |prefix| prefix.deletes += 1);
        let Some(id) = self.live(key, now_s) else {
            self.counters.delete_misses += 1;
            return Stored::NotFound;
        };
        let cas = item::cas(self.slabs.chunk(id));
        if command.cas.is_some_and(|wanted| wanted != cas) {
            return Stored::Exists;
        }
        if !command.is_invalidation {
            self.counters.delete_hits += 1;
            self.class_of(id).delete_hits += 1;
            self.remove(id);
            return Stored::Stored(cas);
        }
        if !planted::is("memcache_stale_unseen") {
            self.last_cas += 1;
        }
        let chunk = self.slabs.chunk_mut(id);
        if let Some(exptime) = command.exptime {
            item::EXPIRES.set(chunk, Expiry::new(exptime, now_s).0);
        }
        item::set_state(chunk, item::STALE, true);
        item::set_state(chunk, item::WON, false);
        item::set_cas(chunk, self.last_cas);
        Stored::Stored(self.last_cas)
    }

    /// `ma`
    pub(crate) fn meta_count(
        &mut self,
        command: &MetaCommand,
        direction: Direction,
        key: Key<'_>,
        now_s: u32,
    ) -> MetaCounted {
        let live = self.live(key, now_s);
        if let (None, Some(_)) = (live, command.vivify) {
            return self.begin_count(command, key, now_s);
        }
        if let Some(id) = live {
            let is_empty = self.found(id).value.is_empty();
            let wanted = command.cas.filter(|cas| *cas != 0 && !is_empty);
            if wanted.is_some_and(|cas| cas != item::cas(self.slabs.chunk(id))) {
                return MetaCounted::Exists;
            }
        }
        let number = match self.count(direction, key, command.delta, now_s) {
            Counted::Number(number) => number,
            other => return MetaCounted::Not(other),
        };
        self.counted(command, key, number, false, now_s)
    }

    /// Stores the number with which counting begins.
    fn begin_count(&mut self, command: &MetaCommand, key: Key<'_>, now_s: u32) -> MetaCounted {
        let digits = Decimal::new(command.initial);
        let value = large::own([digits.as_bytes()], digits.as_bytes().len());
        match self.vivify(command, key, &value, now_s) {
            Some(_) => self.counted(command, key, command.initial, true, now_s),
            None => MetaCounted::Not(Counted::NoMemory),
        }
    }

    fn counted(&mut self, command: &MetaCommand, key: Key<'_>, number: u64, is_new: bool, now_s: u32) -> MetaCounted {
        // A longer number is another item.
        self.set_key_binary(command, key);
        let Some(id) = self.find(key) else { return MetaCounted::Not(Counted::NotFound) };
        let chunk = self.slabs.chunk(id);
        let (cas, expiry) = (item::cas(chunk), Expiry(item::EXPIRES.of(chunk)));
        let (after, _) = self.renewed(command, expiry, is_new, false, now_s);
        item::EXPIRES.set(self.slabs.chunk_mut(id), after.0);
        MetaCounted::Number { number, cas, expiry, is_new }
    }
}
