//! The wheel against an ordered map that does the same by being simple.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::super::{LANES, LEVELS, PAST, SLOTS_PER_LEVEL, Wheel, slot_of, spans};
use super::{Waiting, node};

const NODES: usize = 24;

/// A time relative to the model's own.
#[derive(Clone, Copy, Debug)]
enum Time {
    Ahead(u64),
    Behind(u64),
    /// Near the next multiple of a power of two: where digits carry.
    NearBoundary {
        bit: u32,
        offset: i64,
    },
    /// The same as that of a node.
    SameAs(usize),
    Never,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Arm(usize, Time),
    Reset(usize, Time),
    Cancel(usize),
    Drop(usize),
    Advance(Time),
    AdvanceToNext,
    Pop,
}

fn time() -> impl Strategy<Value = Time> {
    prop_oneof![
        3 => (0_u64..200).prop_map(Time::Ahead),
        3 => (0_u32..64, any::<u64>()).prop_map(|(bit, bits)| Time::Ahead(bits >> bit)),
        4 => (0_u32..64, -2_i64..3).prop_map(|(bit, offset)| Time::NearBoundary { bit, offset }),
        3 => (0_u32..64, -2_i64..3).prop_map(|(bit, offset)| Time::Ahead((1_u64 << bit).saturating_add_signed(offset))),
        2 => (0..NODES).prop_map(Time::SameAs),
        1 => (0_u64..1000).prop_map(Time::Behind),
        1 => Just(Time::Never),
    ]
}

/// Advances are mostly short, else the end of time is reached at once.
fn advance() -> impl Strategy<Value = Time> {
    prop_oneof![
        4 => (0_u64..200).prop_map(Time::Ahead),
        4 => (0_u32..24, -2_i64..3).prop_map(|(bit, offset)| Time::NearBoundary { bit, offset }),
        2 => (7_u32..64, any::<u64>()).prop_map(|(bit, bits)| Time::Ahead(bits >> bit)),
        3 => (0..NODES).prop_map(Time::SameAs),
        1 => (0_u64..1000).prop_map(Time::Behind),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..NODES, time()).prop_map(|(node, time)| Step::Arm(node, time)),
        2 => (0..NODES, time()).prop_map(|(node, time)| Step::Reset(node, time)),
        3 => (0..NODES).prop_map(Step::Cancel),
        1 => (0..NODES).prop_map(Step::Drop),
        2 => advance().prop_map(Step::Advance),
        3 => Just(Step::AdvanceToNext),
        4 => Just(Step::Pop),
    ]
}

/// What is handed out: a number, and a witness of whether it was dropped.
type Payload = (usize, Rc<()>);
type Key = (u64, u64);

struct Model {
    wheel: Wheel<Payload>,
    nodes: Vec<Waiting<Payload>>,
    witness: Rc<()>,
    now: u64,
    sequence: u64,
    waiting: BTreeMap<Key, usize>,
    due: BTreeMap<Key, usize>,
    keys: [Option<Key>; NODES],
    cancelled: u64,
    advances_in_vain: u64,
}

impl Model {
    fn new(start: u64) -> Self {
        Self {
            wheel: Wheel::new(start),
            nodes: (0..NODES).map(|_| node()).collect(),
            witness: Rc::new(()),
            now: start,
            sequence: 0,
            waiting: BTreeMap::new(),
            due: BTreeMap::new(),
            keys: [None; NODES],
            cancelled: 0,
            advances_in_vain: 0,
        }
    }

    fn resolve(&self, time: Time) -> u64 {
        match time {
            Time::Ahead(nanos) => self.now.saturating_add(nanos),
            Time::Behind(nanos) => self.now.saturating_sub(nanos),
            Time::NearBoundary { bit, offset } => {
                let boundary = (self.now | ((1 << bit) - 1)).saturating_add(1);
                boundary.saturating_add_signed(offset)
            }
            Time::SameAs(node) => self.nodes[node].deadline(),
            Time::Never => u64::MAX,
        }
    }

    fn forget(&mut self, index: usize) -> bool {
        let Some(key) = self.keys[index].take() else { return false };
        self.cancelled += 1;
        self.waiting.remove(&key).or_else(|| self.due.remove(&key)).is_some()
    }

    fn remember(&mut self, index: usize, deadline: u64) {
        let key = (deadline, self.sequence);
        self.sequence += 1;
        self.keys[index] = Some(key);
        self.waiting.insert(key, index);
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Arm(index, time) => {
                let deadline = self.resolve(time);
                let payload = (index, Rc::clone(&self.witness));
                let replaced = self.nodes[index].as_ref().arm(&self.wheel, deadline, payload);
                assert_eq!(replaced.is_some(), self.forget(index));
                self.remember(index, deadline);
            }
            Step::Reset(index, time) => {
                let deadline = self.resolve(time);
                self.nodes[index].as_ref().reset(deadline);
                if self.forget(index) {
                    self.remember(index, deadline);
                }
            }
            Step::Cancel(index) => {
                let cancelled = self.nodes[index].cancel();
                assert_eq!(cancelled.map(|payload| payload.0), self.forget(index).then_some(index));
            }
            Step::Drop(index) => {
                self.nodes[index] = node();
                self.forget(index);
            }
            Step::Advance(time) => self.advance(self.resolve(time)),
            Step::AdvanceToNext => self.advance_to_next(),
            Step::Pop => self.pop(),
        }
    }

    fn advance(&mut self, now: u64) {
        self.wheel.advance(now);
        self.now = self.now.max(now);
        while let Some(entry) = self.waiting.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (key, index) = entry.remove_entry();
            self.due.insert(key, index);
        }
    }

    /// Does what a reactor does that sleeps until the next deadline.
    fn advance_to_next(&mut self) {
        let Some(next) = self.wheel.next_deadline() else { return };
        self.advance(next);
        if self.due.is_empty() {
            self.advances_in_vain += 1;
        }
        while !self.due.is_empty() {
            self.pop();
        }
        self.pop();
    }

    fn pop(&mut self) {
        let popped = self.wheel.pop().map(|(deadline, (index, _))| (deadline, index));
        let expected = self.due.pop_first().map(|((deadline, _), index)| (deadline, index));
        assert_eq!(popped, expected, "at {}", self.now);
        if let Some((_, index)) = expected {
            self.keys[index] = None;
            assert!(self.nodes[index].has_fired());
        }
    }

    fn check(&self) {
        assert_eq!(self.wheel.now(), self.now);
        let armed = self.waiting.len() + self.due.len();
        assert_eq!(self.wheel.len(), armed);
        assert_eq!(Rc::strong_count(&self.witness), 1 + armed);
        assert_eq!(self.wheel.counters().cancelled, self.cancelled);
        for (node, key) in self.nodes.iter().zip(self.keys) {
            assert_eq!(node.is_armed(), key.is_some());
        }
        let earliest = self.waiting.keys().next().map(|key| key.0);
        let next = self.wheel.next_deadline();
        assert_eq!(next.is_none(), armed == 0);
        if let (Some(next), Some(earliest)) = (next, earliest) {
            assert!(next <= earliest.max(self.now), "{next} is after {earliest}");
            if self.cancelled == 0 && self.due.is_empty() {
                assert_eq!(next, earliest);
            }
        }
        assert!(self.advances_in_vain <= self.cancelled, "an advance came early for no reason");
    }

    /// Fires all that is left, as a reactor would.
    fn finish(&mut self) {
        while self.wheel.len() > 0 {
            self.advance_to_next();
            self.check();
        }
        assert!(self.waiting.is_empty() && self.due.is_empty());
    }
}

/// Checks the invariants that the wheel's documentation lists.
fn check_invariants<T>(wheel: &Wheel<T>) {
    let core = &wheel.core;
    let now = core.now.get();
    for place in 0..(PAST + 1) * LANES {
        let number = place / LANES;
        let (level, slot) = (number / SLOTS_PER_LEVEL, number % SLOTS_PER_LEVEL);
        let mut next = core.slots[number].heads[place % LANES].get();
        if level < LEVELS {
            let is_empty = core.slots[number].is_empty();
            assert_eq!(core.occupied[level].get() >> slot & 1 == 1, !is_empty, "the bit of {level}/{slot}");
            assert_eq!(core.levels.get() >> level & 1 == 1, core.occupied[level].get() != 0, "the bit of {level}");
        }
        // SAFETY: the nodes of a wheel are live.
        while let Some(node) = unsafe { next.as_ref() } {
            let deadline = node.deadline.get();
            assert_eq!(node.place.get(), place);
            assert!(core.slots[number].earliest.get() <= deadline && core.next.get() <= deadline);
            assert_eq!(deadline <= now, number == PAST);
            if level < LEVELS {
                assert_eq!(slot_of(deadline, level), slot);
                assert!(spans(deadline, level) - spans(now, level) < SLOTS_PER_LEVEL as u64);
            }
            next = node.next.get();
        }
    }
}

fn starts() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), any::<u64>(), (0_u64..5000).prop_map(|before| u64::MAX - before)]
}

proptest! {
    // A failing case is printed; nothing is written into the source tree.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn wheel_random_behaves_like_a_map(start in starts(), steps in prop::collection::vec(step(), 1..300)) {
        let mut model = Model::new(start);
        for step in steps {
            model.take(step);
            model.check();
        }
        model.finish();
    }

    #[test]
    fn wheel_random_keeps_its_invariants(start in starts(), steps in prop::collection::vec(step(), 1..200)) {
        let mut model = Model::new(start);
        for some in steps.chunks(10) {
            some.iter().for_each(|step| model.take(*step));
            check_invariants(&model.wheel);
        }
    }

    #[test]
    fn wheel_random_end_leaks_nothing(
        steps in prop::collection::vec(step(), 1..100),
        wheel_goes_first: bool,
    ) {
        let mut model = Box::new(Model::new(0));
        for step in steps {
            model.take(step);
        }
        let Model { wheel, nodes, witness, .. } = *model;
        let core = Rc::downgrade(&wheel.core);
        if wheel_goes_first {
            drop(wheel);
            drop(nodes);
        } else {
            drop(nodes);
            prop_assert_eq!(wheel.len(), 0);
            drop(wheel);
        }
        prop_assert_eq!(Rc::strong_count(&witness), 1);
        prop_assert_eq!(core.strong_count(), 0);
    }
}
