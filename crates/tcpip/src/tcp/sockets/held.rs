//! What waits for a device that takes nothing for now, while others go on.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::Answer;
use crate::interface::InterfaceId;

/// What waits for one device.
#[derive(Debug)]
struct Queue {
    interface: InterfaceId,
    /// Whether the device takes packets again.
    is_ready: bool,
    /// Connections that may have something to send.
    work: VecDeque<u32>,
    /// The same ones: a place that waits already is not put in again, though another connection has it by now.
    waiting: BTreeSet<u32>,
    answers: VecDeque<Answer>,
}

/// A queue for each device for which something waits. Mostly there is none.
#[derive(Debug, Default)]
pub(super) struct Held(Vec<Queue>);

impl Held {
    /// A connection waits for a device.
    pub(super) fn hold(&mut self, interface: InterfaceId, place: u32) {
        let queue = self.queue(interface);
        if queue.waiting.insert(place) {
            queue.work.push_back(place);
        }
    }

    /// An answer waits for a device; whether fewer than `limit` did is returned.
    pub(super) fn hold_answer(&mut self, interface: InterfaceId, answer: Answer, limit: usize) -> bool {
        let answers = &mut self.queue(interface).answers;
        let has_room = answers.len() < limit;
        if has_room {
            answers.push_back(answer);
        }
        has_room
    }

    /// How many answers wait.
    pub(super) fn answers(&self) -> usize {
        self.0.iter().map(|queue| queue.answers.len()).sum()
    }

    /// Its device takes packets again. The answers that have waited are returned.
    pub(super) fn resume(&mut self, interface: InterfaceId) -> VecDeque<Answer> {
        match self.0.iter_mut().find(|queue| queue.interface == interface) {
            Some(queue) => {
                queue.is_ready = !planted::is("held_forever");
                core::mem::take(&mut queue.answers)
            }
            None => VecDeque::new(),
        }
    }

    /// Whether no device has anybody waiting for it.
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A connection that has waited for long enough.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<u32> {
        if self.0.is_empty() { None } else { self.pop_ready() }
    }

    #[cold]
    fn pop_ready(&mut self) -> Option<u32> {
        let next = |queue: &mut Queue| {
            queue.work.pop_front().inspect(|place| {
                queue.waiting.remove(place);
            })
        };
        let found = self.0.iter_mut().filter(|queue| queue.is_ready).find_map(next);
        if found.is_none() {
            self.0.retain(|queue| !(queue.work.is_empty() && queue.answers.is_empty()));
        }
        found
    }

    /// The queue of a device that takes nothing for now.
    fn queue(&mut self, interface: InterfaceId) -> &mut Queue {
        let at = self.0.iter().position(|queue| queue.interface == interface).unwrap_or_else(|| {
            self.0.push(Queue {
                interface,
                is_ready: false,
                work: VecDeque::new(),
                waiting: BTreeSet::new(),
                answers: VecDeque::new(),
            });
            self.0.len() - 1
        });
        self.0[at].is_ready = false;
        &mut self.0[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections come and go in one place while a device takes nothing.
    #[test]
    fn a_place_waits_once() {
        let mut held = Held::default();
        for _ in 0..100 {
            held.hold(InterfaceId::LOOPBACK, 3);
        }
        held.hold(InterfaceId::LOOPBACK, 4);
        assert_eq!(held.pop(), None, "its device takes nothing");
        held.resume(InterfaceId::LOOPBACK);
        assert_eq!([held.pop(), held.pop(), held.pop()], [Some(3), Some(4), None]);
        held.hold(InterfaceId::LOOPBACK, 3);
        held.resume(InterfaceId::LOOPBACK);
        assert_eq!(held.pop(), Some(3), "and again");
    }
}
