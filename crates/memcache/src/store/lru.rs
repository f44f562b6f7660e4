//! Which item goes next: three lists for each size, as memcached has them.
//!
//! What is new is *hot* for a while. From the end of that list an item that was asked for more than once goes to the *warm*
//! ones, any other to the *cold* ones, and so from the end of the warm ones. A cold item that is asked for again gets warm.
//! Items go from the end of the cold list. So items that are read once, as by somebody who reads all there are, push out none that is
//! asked for again and again; and asking for an item moves it in no list most of the time.

use alloc::vec;
use alloc::vec::Vec;

use super::counters::Moves;
use super::item;
use super::slab::{ItemId, NO_ITEM, Slabs};

pub(super) const HOT: usize = 0;
pub(super) const WARM: usize = 1;
pub(super) const COLD: usize = 2;

/// How much of the items of a size may be hot, in hundredths.
const HOT_PERCENT: usize = 20;

/// How much of them may be warm.
const WARM_PERCENT: usize = 40;

/// So many items are moved from each list for one that comes.
const MOVES: usize = 2;

/// So many cold items are looked at for one that may go.
const TRIES: usize = 5;

#[derive(Clone, Copy)]
struct List {
    newest: ItemId,
    oldest: ItemId,
    count: usize,
}

const EMPTY: List = List { newest: NO_ITEM, oldest: NO_ITEM, count: 0 };

/// The lists of all sizes, and of the items whose values lie outside.
pub(super) struct Lru {
    lists: Vec<[List; 3]>,
    moves: Vec<Moves>,
}

impl Lru {
    pub(super) fn new(groups: usize) -> Self {
        Self { lists: vec![[EMPTY; 3]; groups], moves: vec![Moves::default(); groups] }
    }

    /// How many items a group has in a segment.
    pub(super) fn count(&self, group: usize, segment: usize) -> usize {
        self.lists[group][segment].count
    }

    /// How often items of a group were moved since that was reset.
    pub(super) fn moves(&self, group: usize) -> Moves {
        self.moves[group]
    }

    pub(super) fn reset_moves(&mut self) {
        self.moves.fill(Moves::default());
    }

    /// The item at the front of a list.
    pub(super) fn newest(&self, group: usize, segment: usize) -> ItemId {
        self.lists[group][segment].newest
    }

    pub(super) fn is_empty(&self, group: usize) -> bool {
        self.lists[group].iter().all(|list| list.count == 0)
    }

    /// Puts an item at the front of a list.
    pub(super) fn link(&mut self, slabs: &mut Slabs, group: usize, segment: usize, id: ItemId) {
        let list = &mut self.lists[group][segment];
        let before = list.newest;
        let chunk = slabs.chunk_mut(id);
        item::set_segment(chunk, segment);
        item::NEWER.set(chunk, NO_ITEM);
        item::OLDER.set(chunk, before);
        list.newest = id;
        list.count += 1;
        if before == NO_ITEM {
            list.oldest = id;
        } else {
            item::NEWER.set(slabs.chunk_mut(before), id);
        }
    }

    /// Takes an item out of its list.
    pub(super) fn unlink(&mut self, slabs: &mut Slabs, group: usize, id: ItemId) {
        let chunk = slabs.chunk(id);
        let (newer, older) = (item::NEWER.of(chunk), item::OLDER.of(chunk));
        let list = &mut self.lists[group][item::segment(chunk)];
        list.count -= 1;
        if newer == NO_ITEM {
            list.newest = older;
        } else {
            item::OLDER.set(slabs.chunk_mut(newer), older);
        }
        if older == NO_ITEM {
            list.oldest = newer;
        } else {
            item::NEWER.set(slabs.chunk_mut(older), newer);
        }
    }

    /// Moves an item to the front of a list.
    fn relink(&mut self, slabs: &mut Slabs, group: usize, segment: usize, id: ItemId) {
        let moves = &mut self.moves[group];
        let count = match (item::segment(slabs.chunk(id)), segment) {
            (WARM, WARM) => &mut moves.within_warm,
            (_, WARM) => &mut moves.to_warm,
            (_, COLD) => &mut moves.to_cold,
            _ => &mut moves.to_hot,
        };
        *count += 1;
        self.unlink(slabs, group, id);
        self.link(slabs, group, segment, id);
    }

    /// Takes note that an item was asked for.
    #[inline]
    pub(super) fn touch(&mut self, slabs: &mut Slabs, group: usize, id: ItemId, now: u32) {
        let chunk = slabs.chunk_mut(id);
        if item::ACCESSED.of(chunk) != now {
            item::ACCESSED.set(chunk, now);
        }
        if !item::has(chunk, item::FETCHED) {
            item::set_state(chunk, item::FETCHED, true);
        } else if item::segment(chunk) == COLD && !planted::is("memcache_cold_stays") {
            item::set_state(chunk, item::ACTIVE, false);
            self.relink(slabs, group, WARM, id);
        } else if !item::has(chunk, item::ACTIVE) {
            item::set_state(chunk, item::ACTIVE, true);
        }
    }

    /// Moves what has stood in a list for its time, after an item has come.
    pub(super) fn balance(&mut self, slabs: &mut Slabs, group: usize) {
        let total: usize = self.lists[group].iter().map(|list| list.count).sum();
        for (segment, percent) in [(HOT, HOT_PERCENT), (WARM, WARM_PERCENT)] {
            for _ in 0..MOVES {
                let List { oldest, count, .. } = self.lists[group][segment];
                // The only item of a size is hot.
                if count * 100 <= total * percent || count <= 1 {
                    break;
                }
                let chunk = slabs.chunk_mut(oldest);
                let is_active = item::has(chunk, item::ACTIVE);
                item::set_state(chunk, item::ACTIVE, false);
                self.relink(slabs, group, if is_active { WARM } else { COLD }, oldest);
            }
        }
    }

    /// The item of a group that goes next.
    pub(super) fn victim(&mut self, slabs: &mut Slabs, group: usize) -> Option<ItemId> {
        for _ in 0..TRIES {
            let oldest = self.lists[group][COLD].oldest;
            if oldest == NO_ITEM || !item::has(slabs.chunk(oldest), item::ACTIVE) {
                break;
            }
            item::set_state(slabs.chunk_mut(oldest), item::ACTIVE, false);
            self.relink(slabs, group, WARM, oldest);
        }
        self.oldest(group)
    }

    /// Lets an item that can't go be as one that has just come.
    pub(super) fn put_off(&mut self, slabs: &mut Slabs, group: usize, id: ItemId) {
        self.relink(slabs, group, HOT, id);
    }

    /// The item at the end of a list.
    pub(super) fn oldest_in(&self, group: usize, segment: usize) -> Option<ItemId> {
        Some(self.lists[group][segment].oldest).filter(|id| *id != NO_ITEM)
    }

    /// The item at the end of the lists of a group.
    pub(super) fn oldest(&self, group: usize) -> Option<ItemId> {
        [COLD, HOT, WARM].into_iter().find_map(|segment| self.oldest_in(group, segment))
    }

    /// The items of a list, newest first.
    #[cfg(test)]
    pub(super) fn items(&self, slabs: &Slabs, group: usize, segment: usize) -> Vec<ItemId> {
        let mut items = Vec::new();
        let mut id = self.lists[group][segment].newest;
        while id != NO_ITEM {
            items.push(id);
            id = item::OLDER.of(slabs.chunk(id));
        }
        assert_eq!(items.last().copied().unwrap_or(NO_ITEM), self.lists[group][segment].oldest);
        items
    }
}
