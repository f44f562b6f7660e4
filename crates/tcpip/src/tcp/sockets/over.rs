//! Connections that are over, for as long as they are remembered.

use sunstar_wire::FourTuple;

use super::place::NONE;
use crate::slab::Slab;
use crate::tcp::time_wait::TimeWait;
use crate::time::Instant;

/// Those that end within so many microseconds are forgotten together.
const STEP_MICROS: u64 = 1_024;

/// A connection that is over, and who it was between.
#[derive(Debug)]
pub(super) struct Over {
    pub(super) flow: FourTuple,
    pub(super) time_wait: TimeWait,
}

/// All of them. They are remembered equally long, so they are forgotten in the order in which they came: a list tells who is next, and none
/// of them needs a timer.
#[derive(Debug)]
pub(super) struct Remembered {
    links: Slab<Link>,
    first: u32,
    last: u32,
}

#[derive(Debug)]
struct Link {
    over: Over,
    before: u32,
    behind: u32,
}

impl Default for Remembered {
    fn default() -> Self {
        Self { links: Slab::default(), first: NONE, last: NONE }
    }
}

impl Remembered {
    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    pub(super) fn get(&self, place: u32) -> Option<&Over> {
        self.links.get(place).map(|link| &link.over)
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Over> {
        self.links.get_mut(place).map(|link| &mut link.over)
    }

    /// Remembers one that ends after all others.
    pub(super) fn insert(&mut self, over: Over) -> u32 {
        let place = self.links.insert(Link { over, before: NONE, behind: NONE });
        self.link(place);
        place
    }

    /// One that is remembered anew ends after all others.
    pub(super) fn renew(&mut self, place: u32) {
        self.unlink(place);
        self.link(place);
    }

    pub(super) fn remove(&mut self, place: u32) -> Option<Over> {
        self.unlink(place);
        self.links.remove(place).map(|link| link.over)
    }

    /// The one that has ended by now, if any has, and was remembered longest.
    pub(super) fn next_ended(&self, now: Instant) -> Option<u32> {
        let is_over = self.links.get(self.first)?.over.time_wait.deadline() <= now;
        is_over.then_some(self.first)
    }

    /// When to ask for that, in microseconds; the largest number if there are none.
    pub(super) fn next_micros(&self) -> u64 {
        let first = self.links.get(self.first).map(|link| link.over.time_wait.deadline().as_micros());
        first.and_then(|ends_at| ends_at.checked_next_multiple_of(STEP_MICROS)).unwrap_or(u64::MAX)
    }

    pub(super) fn shrink(&mut self) {
        self.links.shrink();
    }

    fn link(&mut self, place: u32) {
        let last = core::mem::replace(&mut self.last, place);
        if let Some(link) = self.links.get_mut(place) {
            (link.before, link.behind) = (last, NONE);
        }
        match self.links.get_mut(last) {
            Some(link) => link.behind = place,
            None => self.first = place,
        }
    }

    fn unlink(&mut self, place: u32) {
        let Some(link) = self.links.get(place) else { return };
        let (before, behind) = (link.before, link.behind);
        match self.links.get_mut(before) {
            Some(link) => link.behind = behind,
            None => self.first = behind,
        }
        match self.links.get_mut(behind) {
            Some(link) => link.before = before,
            None => self.last = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use sunstar_wire::{AddressPair, Seq};

    use super::*;

    fn over(ends_at: u64) -> Over {
        let addresses = AddressPair::V4 { src: Ipv4Addr::LOCALHOST, dst: Ipv4Addr::LOCALHOST };
        let ends_at = Instant::from_micros(ends_at);
        let (snd_nxt, rcv_nxt) = (Seq::default(), Seq::default());
        let (ts_recent, ts_offset, since_secs) = (0, 0, 0);
        let time_wait = TimeWait { snd_nxt, rcv_nxt, ts_recent, ts_offset, has_timestamps: false, ends_at, since_secs };
        Over { flow: FourTuple { addresses, src_port: 1, dst_port: 2 }, time_wait }
    }

    /// All that have ended by then, in the order in which they are forgotten.
    fn ended(remembered: &mut Remembered, now: u64) -> Vec<u64> {
        let now = Instant::from_micros(now);
        core::iter::from_fn(|| {
            let place = remembered.next_ended(now)?;
            remembered.remove(place).map(|over| over.time_wait.deadline().as_micros())
        })
        .collect()
    }

    #[test]
    fn they_are_forgotten_in_the_order_in_which_they_came() {
        let mut remembered = Remembered::default();
        assert_eq!((remembered.next_micros(), remembered.next_ended(Instant::from_micros(1))), (u64::MAX, None));
        for ends_at in [10, 20, 2_000] {
            remembered.insert(over(ends_at));
        }
        assert_eq!(remembered.next_micros(), STEP_MICROS, "with others");
        assert_eq!(ended(&mut remembered, 20), [10, 20]);
        assert_eq!((remembered.len(), remembered.next_micros()), (1, 2 * STEP_MICROS));
        assert_eq!(ended(&mut remembered, 5_000), [2_000]);
        assert_eq!((remembered.len(), remembered.next_micros()), (0, u64::MAX));
        remembered.insert(over(u64::MAX));
        assert_eq!(remembered.next_micros(), u64::MAX, "time has no end after that");
    }

    #[test]
    fn one_leaves_the_order_or_goes_to_its_end() {
        for left in 0..3 {
            let mut remembered = Remembered::default();
            let places = [10, 20, 30].map(|ends_at| remembered.insert(over(ends_at)));
            remembered.remove(places[left]);
            let mut rest: Vec<u64> = [10, 20, 30].to_vec();
            rest.remove(left);
            assert_eq!(ended(&mut remembered, 30), rest);
            let places = [40, 50, 60].map(|ends_at| remembered.insert(over(ends_at)));
            if let Some(over) = remembered.get_mut(places[left]) {
                over.time_wait.ends_at = Instant::from_micros(70);
            }
            remembered.renew(places[left]);
            let mut rest: Vec<u64> = [40, 50, 60].to_vec();
            rest.remove(left);
            assert_eq!(ended(&mut remembered, 70), [rest, vec![70]].concat());
        }
    }
}
