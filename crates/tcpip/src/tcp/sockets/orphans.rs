//! Connections that the application has let go and that have not ended, and memory for what is to be sent.

use alloc::collections::VecDeque;

use super::{Limits, SocketId, Sockets};
use crate::time::Instant;

/// Those that were let go, in that order.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    /// Place and generation of each. Those that have ended are still here until they are the first, or too many.
    queue: VecDeque<(u32, u32)>,
    count: usize,
}

/// So many that have ended may be in the queue beside as many that have not.
const MIN_ENDED: usize = 1_024;
/// So many are looked at at a time for one that holds much.
const LOOKS: usize = 64;

impl Orphans {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// A connection has ended.
    pub(super) fn forget(&mut self, is_orphan: bool) {
        self.count -= usize::from(is_orphan);
    }

    /// How long the queue is.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Gives back memory.
    pub(super) fn shrink(&mut self) {
        if self.count == 0 {
            self.queue = VecDeque::new();
        }
    }
}

impl Sockets {
    /// The application lets a connection go: nobody hears of it any more. Answers whether there is such a connection.
    pub(super) fn let_go(&mut self, now: Instant, id: SocketId) -> bool {
        if self.entry_mut(id).is_none() {
            return false;
        }
        let generation = self.new_generation();
        let Some(entry) = self.entry_mut(id) else { return false };
        entry.connection.let_go(now);
        entry.generation = generation;
        self.orphans.queue.push_back((id.place, generation));
        self.orphans.count += 1;
        true
    }

    /// Ends the oldest orphans, if there are too many, or memory is short and they hold much of it.
    pub(super) fn reap_orphans(&mut self, now: Instant) {
        self.drop_ended();
        while self.orphans.len() > self.limits.orphans as usize && !planted::is("orphans_unbounded") {
            let Some((place, generation)) = self.orphans.queue.pop_front() else { return };
            self.reap(now, place, generation);
        }
        for _ in 0..LOOKS.min(self.orphans.queue.len()) {
            if !self.is_short_of_memory() {
                return;
            }
            let Some((place, generation)) = self.orphans.queue.pop_front() else { return };
            if self.is_small(place) && self.is_orphan(place, generation) {
                self.orphans.queue.push_back((place, generation));
            } else {
                self.reap(now, place, generation);
            }
        }
    }

    fn reap(&mut self, now: Instant, place: u32, generation: u32) {
        if self.is_orphan(place, generation) {
            self.counters.orphans_reset += 1;
            self.abort_place(now, place, None);
        }
    }

    /// Whether a connection holds no more than it may in any case.
    fn is_small(&self, place: u32) -> bool {
        let entry = self.connections.get(place);
        entry.is_none_or(|entry| entry.connection.unacknowledged() <= Limits::LEAST_SEND_BYTES)
    }

    /// Whether the place still has the orphan.
    fn is_orphan(&self, place: u32, generation: u32) -> bool {
        self.connections.get(place).is_some_and(|entry| entry.generation == generation)
    }

    /// The queue has at most as many that have ended as those that have not, and some.
    fn drop_ended(&mut self) {
        while let Some((place, generation)) = self.orphans.queue.front().copied()
            && !self.is_orphan(place, generation)
        {
            self.orphans.queue.pop_front();
        }
        if self.orphans.queue.len() > 2 * self.orphans.len() + MIN_ENDED {
            let mut queue = core::mem::take(&mut self.orphans.queue);
            queue.retain(|(place, generation)| self.is_orphan(*place, *generation));
            self.orphans.queue = queue;
        }
    }

    /// Whether all connections together hold as much as they may for others who have not acknowledged it.
    pub fn is_short_of_memory(&self) -> bool {
        self.send_bytes >= self.limits.send_bytes
    }

    /// How many bytes of a connection may wait to be acknowledged as far as the memory for all of them goes. Whoever has more waits;
    /// where memory is short, orphans are ended first.
    pub fn send_bound(&mut self, now: Instant) -> u32 {
        if !self.is_short_of_memory() {
            return u32::MAX;
        }
        self.reap_orphans(now);
        if !self.is_short_of_memory() {
            return u32::MAX;
        }
        self.counters.senders_held_back += 1;
        Limits::LEAST_SEND_BYTES
    }
}
