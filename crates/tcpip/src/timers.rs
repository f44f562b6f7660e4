//! When each of many connections wants to be looked at.

use alloc::vec::Vec;

use sunstar_packet::prefetch;

use crate::time::Instant;

#[cfg(test)]
mod tests;

/// A tick in microseconds: deadlines are met at most so much too late.
const TICK: u64 = 256;

/// Slots of a level, as a power of two.
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;

/// The levels reach 16 ms, 1 s, 67 s and 71 minutes. What lies farther away is sorted in anew when the last level has turned.
const LEVELS: usize = 4;

/// No neighbour, no slot.
const NONE: u32 = u32::MAX;

/// A timer wheel over places in a table, one timer for each.
///
/// Arming a timer that is armed for an earlier time leaves it there: it rings early, and its owner, who knows the true
/// deadline, arms it again. So a deadline that every segment moves further costs a comparison, and a list operation once per
/// timeout. Timers that ring at the same tick do so in the order of the lists, which depends on nothing but the calls.
#[derive(Debug)]
pub struct Timers {
    /// The first tick that was not looked at yet.
    tick: u64,
    levels: [Level; LEVELS],
    nodes: Vec<Node>,
    armed: u32,
    /// No slot with a timer begins before this tick. Found by a poll; until then disarmed timers leave it too early.
    next_tick: u64,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    /// The slots that have timers, one bit each.
    occupied: u64,
    heads: [u32; SLOTS],
}

#[derive(Clone, Copy, Debug)]
struct Node {
    tick: u64,
    next: u32,
    prev: u32,
    /// Level and slot of the list in which it is, or [`NONE`].
    list: u32,
}

impl Node {
    const IDLE: Self = Self { tick: 0, next: NONE, prev: NONE, list: NONE };
}

impl Default for Timers {
    fn default() -> Self {
        let level = Level { occupied: 0, heads: [NONE; SLOTS] };
        Self { tick: 0, levels: [level; LEVELS], nodes: Vec::new(), armed: 0, next_tick: u64::MAX }
    }
}

impl Timers {
    /// How many timers are armed.
    pub fn armed(&self) -> u32 {
        self.armed
    }

    /// Lets the timer of `place` ring at `deadline` at the latest; one that is armed for an earlier time stays so.
    pub fn arm(&mut self, place: u32, deadline: Instant) {
        let tick = deadline.as_micros().div_ceil(TICK).max(self.tick);
        let index = place as usize;
        if index >= self.nodes.len() {
            self.nodes.resize(index + 1, Node::IDLE);
        }
        let node = &self.nodes[index];
        if node.list != NONE {
            if node.tick <= tick {
                return;
            }
            self.disarm(place);
        }
        self.nodes[index].tick = tick;
        self.link(place);
        self.armed += 1;
    }

    /// Has the timer of `place` fetched, which will be armed soon.
    #[inline]
    pub fn prefetch(&self, place: u32) {
        if let Some(node) = self.nodes.get(place as usize) {
            prefetch(node);
        }
    }

    /// Lets the timer of `place` not ring.
    pub fn disarm(&mut self, place: u32) {
        if self.nodes.get(place as usize).is_some_and(|node| node.list != NONE) {
            self.unlink(place);
            self.armed -= 1;
            if self.armed == 0 {
                self.next_tick = u64::MAX;
            }
        }
    }

    /// Gives back the memory of places behind the last one with a timer.
    pub fn shrink(&mut self) {
        let used = self.nodes.iter().rposition(|node| node.list != NONE).map_or(0, |last| last + 1);
        self.nodes.truncate(used);
        self.nodes.shrink_to_fit();
    }

    /// Until when nothing needs to be looked at; none if no timer is armed. May lie before the first deadline, never behind it.
    pub fn next_deadline(&self) -> Option<Instant> {
        let micros = self.next_micros();
        (micros != u64::MAX).then(|| Instant::from_micros(micros))
    }

    /// The same in microseconds, and the largest number instead of none.
    #[inline]
    pub(crate) fn next_micros(&self) -> u64 {
        if self.armed > 0 { self.next_tick.max(self.tick) * TICK } else { u64::MAX }
    }

    /// A timer that has rung by `now`, which is then no longer armed. Ask until there is none.
    pub fn poll(&mut self, now: Instant) -> Option<u32> {
        let until = now.as_micros() / TICK;
        if self.next_tick > until {
            self.tick = self.tick.max(until);
            return None;
        }
        loop {
            // Upper levels first: what they hold may belong into the slot that comes next on a lower one.
            let first = (0..LEVELS).rev().filter_map(|level| Some((self.first_tick(level)?, level)));
            let first = first.min_by_key(|&(tick, _)| tick);
            self.next_tick = first.map_or(u64::MAX, |(tick, _)| tick);
            let Some((tick, level)) = first.filter(|&(tick, _)| tick <= until) else {
                self.tick = self.tick.max(until);
                return None;
            };
            self.tick = self.tick.max(tick);
            let place = self.levels[level].heads[slot_of(tick, level)];
            self.unlink(place);
            if self.nodes[place as usize].tick <= self.tick || planted::is("no_cascade") {
                self.armed -= 1;
                return Some(place);
            }
            self.link(place);
        }
    }

    /// The tick at which the first occupied slot of a level begins, counted from now on.
    fn first_tick(&self, level: usize) -> Option<u64> {
        let occupied = self.levels[level].occupied;
        let position = self.tick >> shift_of(level);
        let ahead = occupied.rotate_right(u32::try_from(position % SLOTS as u64).unwrap_or(0)).trailing_zeros();
        (occupied != 0).then(|| ((position + u64::from(ahead)) << shift_of(level)).max(self.tick))
    }

    /// Puts a node into the list of its tick: on the lowest level that reaches it.
    fn link(&mut self, place: u32) {
        let tick = self.nodes[place as usize].tick;
        let ahead = |level: usize| (tick >> shift_of(level)) - (self.tick >> shift_of(level));
        let level = (0..LEVELS).find(|&level| ahead(level) < SLOTS as u64).unwrap_or(LEVELS - 1);
        // Beyond the last level: into the slot that comes last.
        let reached = (self.tick >> shift_of(level)) + (SLOTS as u64 - 1);
        let begin = tick.min(reached << shift_of(level)) >> shift_of(level) << shift_of(level);
        self.next_tick = self.next_tick.min(begin);
        let slot = slot_of(begin, level);
        let head = self.levels[level].heads[slot];
        let list = u32::try_from(level * SLOTS + slot).unwrap_or(NONE);
        let node = &mut self.nodes[place as usize];
        (node.prev, node.next, node.list) = (NONE, head, list);
        if head != NONE {
            self.nodes[head as usize].prev = place;
        }
        self.levels[level].heads[slot] = place;
        self.levels[level].occupied |= 1 << slot;
    }

    fn unlink(&mut self, place: u32) {
        let Node { next, prev, list, .. } = self.nodes[place as usize];
        self.nodes[place as usize].list = NONE;
        if next != NONE {
            self.nodes[next as usize].prev = prev;
        }
        if prev != NONE {
            self.nodes[prev as usize].next = next;
            return;
        }
        let (level, slot) = (list as usize / SLOTS, list as usize % SLOTS);
        self.levels[level].heads[slot] = next;
        if next == NONE {
            self.levels[level].occupied &= !(1 << slot);
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "there are four levels")]
const fn shift_of(level: usize) -> u32 {
    SLOT_BITS * level as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the lower bits are wanted")]
const fn slot_of(tick: u64, level: usize) -> usize {
    (tick >> shift_of(level)) as usize % SLOTS
}
