//! From addresses and ports to the connection that they belong to.

use alloc::vec::Vec;
use core::fmt;

use sunstar_packet::prefetch;

#[cfg(test)]
mod tests;

/// No table is smaller.
const MIN_SLOTS: usize = 64;

/// An insertion moves so many slots of a table that is being replaced: more than it adds, so the old table is empty before the new
/// one is full.
const MOVED_PER_INSERT: usize = 8;

/// A free slot. The place that it would name is never used.
const FREE: Slot = Slot { tag: 0, place: u32::MAX };

/// A hash table from keys that are kept elsewhere to places there.
///
/// A slot is eight bytes: 32 bits of the key's hash and the place. So a probe touches one cache line here, which can be fetched
/// ahead, and one where the key is. Probing is linear, and removing moves what follows back, so there are no graves. The table
/// grows by a second one of twice the size, to which insertions move a few slots each: no single one pays for a million.
///
/// The hash must be keyed by a secret, or strangers choose which slots collide.
#[derive(Debug)]
pub struct Flows {
    slots: Table,
    /// What is being replaced, and up to where it was moved.
    old: Table,
    moved: usize,
    limit: usize,
    longest_probe: usize,
}

/// As many are in the table as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the table of connections is full")
    }
}

impl core::error::Error for Full {}

impl Flows {
    /// A table for at most `limit` entries; it takes memory as it fills.
    pub fn new(limit: usize) -> Self {
        Self { slots: Table::default(), old: Table::default(), moved: 0, limit, longest_probe: 0 }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.slots.used + self.old.used
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many slots behind the one where it belongs an entry was ever put at most: what looking for it costs.
    pub fn longest_probe(&self) -> usize {
        self.longest_probe
    }

    /// The place with this hash for which `is_it` holds.
    pub fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let slot = self.slots.position(hash, &mut is_it).map(|at| self.slots.slots[at]);
        let slot = slot.or_else(|| self.old.position(hash, &mut is_it).map(|at| self.old.slots[at]));
        slot.map(|slot| slot.place)
    }

    /// Has the slots fetched in which a place with this hash is.
    #[inline]
    pub fn prefetch(&self, hash: u32) {
        for table in [&self.slots, &self.old] {
            if table.used > 0 {
                prefetch(&table.slots[table.home(hash)]);
            }
        }
    }

    /// The first place with this hash, which nearly always is the one that [`Flows::find`] finds.
    #[inline]
    pub fn guess(&self, hash: u32) -> Option<u32> {
        self.find(hash, |_| true)
    }

    /// Adds an entry, whose key must not be there.
    ///
    /// # Errors
    /// If there are as many as may be.
    ///
    /// # Panics
    /// If `place` is `u32::MAX`.
    pub fn insert(&mut self, hash: u32, place: u32) -> Result<(), Full> {
        assert_ne!(place, FREE.place, "no place has this number");
        if self.len() >= self.limit {
            return Err(Full);
        }
        if self.slots.is_crowded() {
            self.grow();
        }
        self.move_some();
        self.add(Slot { tag: hash, place });
        Ok(())
    }

    /// Removes the entry for `place`. Answers whether it was there.
    pub fn remove(&mut self, hash: u32, place: u32) -> bool {
        let mut is_it = |other| other == place;
        [&mut self.slots, &mut self.old].into_iter().any(|table| {
            let found = table.position(hash, &mut is_it);
            found.inspect(|&at| table.remove(at)).is_some()
        })
    }

    /// Has the entry for `place` stand for another one with the same hash. Answers whether it was there.
    ///
    /// # Panics
    /// If `successor` is `u32::MAX`.
    pub fn replace(&mut self, hash: u32, place: u32, successor: u32) -> bool {
        assert_ne!(successor, FREE.place, "no place has this number");
        let mut is_it = |other| other == place;
        [&mut self.slots, &mut self.old].into_iter().any(|table| {
            let found = table.position(hash, &mut is_it);
            found.inspect(|&at| table.slots[at].place = successor).is_some()
        })
    }

    /// Gives back the memory of entries that are gone. It looks at all slots, so it is for when there is nothing to do.
    pub fn shrink(&mut self) {
        while self.old.used > 0 {
            self.move_some();
        }
        self.old = Table::default();
        let wanted = if self.is_empty() { 0 } else { (self.len() * 2).next_power_of_two().max(MIN_SLOTS) };
        if wanted < self.slots.slots.len() {
            let larger = core::mem::replace(&mut self.slots, Table::with_slots(wanted));
            larger.slots.iter().filter(|slot| !slot.is_free()).for_each(|slot| self.add(*slot));
        }
    }

    fn grow(&mut self) {
        while self.old.used > 0 {
            self.move_some();
        }
        let larger = Table::with_slots((self.slots.slots.len() * 2).max(MIN_SLOTS));
        self.old = core::mem::replace(&mut self.slots, larger);
        self.moved = 0;
    }

    /// Moves some slots of the old table to the new one.
    fn move_some(&mut self) {
        for _ in 0..MOVED_PER_INSERT {
            if self.old.used == 0 {
                self.old = Table::default();
                return;
            }
            // Taking a slot may move another one into it, so the same place is looked at again.
            let slot = self.old.slots[self.moved];
            if slot.is_free() {
                self.moved += 1;
            } else {
                self.old.remove(self.moved);
                self.add(slot);
            }
        }
    }

    fn add(&mut self, slot: Slot) {
        let probe = self.slots.add(slot);
        self.longest_probe = self.longest_probe.max(probe);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    tag: u32,
    place: u32,
}

impl Slot {
    fn is_free(self) -> bool {
        self.place == FREE.place
    }
}

/// Slots, as many as a power of two, or none.
#[derive(Debug, Default)]
struct Table {
    slots: Vec<Slot>,
    used: usize,
}

impl Table {
    fn with_slots(count: usize) -> Self {
        Self { slots: alloc::vec![FREE; count], used: 0 }
    }

    /// Whether three quarters are in use.
    fn is_crowded(&self) -> bool {
        self.used >= self.slots.len() / 4 * 3
    }

    /// Where a tag belongs.
    fn home(&self, tag: u32) -> usize {
        tag as usize & (self.slots.len() - 1)
    }

    fn next(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }

    fn position(&self, tag: u32, is_it: &mut impl FnMut(u32) -> bool) -> Option<usize> {
        if self.used == 0 {
            return None;
        }
        let mut at = self.home(tag);
        loop {
            let slot = self.slots[at];
            if slot.is_free() {
                return None;
            }
            if slot.tag == tag && is_it(slot.place) {
                return Some(at);
            }
            at = self.next(at);
        }
    }

    /// Answers how many slots behind its home that is.
    fn add(&mut self, slot: Slot) -> usize {
        let home = self.home(slot.tag);
        let mut at = home;
        while !self.slots[at].is_free() {
            at = self.next(at);
        }
        self.slots[at] = slot;
        self.used += 1;
        at.wrapping_sub(home) & (self.slots.len() - 1)
    }

    /// Frees a slot, and moves back into it what would no longer be found behind a free one.
    fn remove(&mut self, mut free: usize) {
        self.used -= 1;
        let mut at = self.next(free);
        while !self.slots[at].is_free() {
            let mask = self.slots.len() - 1;
            let from_home = at.wrapping_sub(self.home(self.slots[at].tag)) & mask;
            let from_free = at.wrapping_sub(free) & mask;
            if from_home >= from_free && !planted::is("hole_left") {
                self.slots[free] = self.slots[at];
                free = at;
            }
            at = self.next(at);
        }
        self.slots[free] = FREE;
    }
}
