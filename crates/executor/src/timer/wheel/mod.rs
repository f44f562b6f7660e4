//! A hierarchical timer wheel with exact order.
//!
//! 21 levels of 64 slots. A slot of the lowest level spans one nanosecond, one of each other level eight times as
//! much as on the level below. A deadline belongs to the lowest level that reaches it with 64 slots from now on. Beyond
//! the lowest level the span of its slot is therefore about an eighth of the time to go, or less: that bounds how
//! many nodes one slot collects and has to open at once. A slot is unordered, so arming and cancelling take constant
//! time.
//!
//! A slot *opens* when the wheel's time reaches the earliest of its deadlines: its nodes are sorted into the *run* of
//! its level, by deadline and number of arming. A level needs but one run: by the time that a slot opens, all of the
//! one before is due. What is due fires from the ends of the runs, one by one, while the wheel is open for any change.
//! So a node is touched three times, to arm, to sort and to fire it, however far off its deadline was; it never
//! moves from level to level. Cancelling a node in a run is a binary search.
//!
//! Invariants:
//! 1. Counted in spans of its level, the deadline of a node in a slot is 0 to 63 after the wheel's time, and the slot's
//!    number is that of the deadline modulo 64.
//! 2. No node in a slot has a deadline at or before the wheel's time; such nodes are in the slot [`PAST`].
//! 3. A bit of `occupied` is set exactly if its slot has nodes, a bit of `levels` exactly if its level has.
//! 4. A slot's `earliest` is at or before each of its deadlines, and lies in the slot's own span.
//! 5. Every node that is reachable from the wheel is pinned, holds a reference to the core, and leaves the wheel
//!    before it is dropped ([`Node`]'s `Drop`).

mod node;
mod run;
#[cfg(all(test, not(loom)))]
mod tests;

use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::pin::Pin;
use core::ptr;

use node::FIRED;
pub(crate) use node::Node;
use run::Runs;

const SLOT_BITS: u32 = 6;
const SLOTS_PER_LEVEL: usize = 1 << SLOT_BITS;
/// By how many bits the spans of two levels next to each other differ.
const LEVEL_BITS: u32 = 3;
const LEVELS: usize = (u64::BITS - SLOT_BITS).div_ceil(LEVEL_BITS) as usize + 1;
/// How many lists a slot has. When it opens they are walked side by side, so that one cache miss does not wait for the
/// other.
const LANES: usize = 4;
/// The slot of nodes whose deadline had passed when they were armed: the only one of a level above all.
const PAST: usize = LEVELS * SLOTS_PER_LEVEL;
/// The place of a node that is in the run of level 0; those of the other runs follow. Below are the lists.
const FIRST_RUN: usize = (PAST + 1) * LANES;

/// How often things happened to the nodes of a wheel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimerCounters {
    /// Timers armed; giving an armed timer another deadline counts as a cancellation and an arming.
    pub armed: u64,
    /// Timers that fired.
    pub fired: u64,
    /// Timers that were cancelled while they were armed.
    pub cancelled: u64,
}

/// A wheel of nodes that hand out a `T` when they fire.
pub(crate) struct Wheel<T> {
    core: Rc<Core<T>>,
}

struct Core<T> {
    now: Cell<u64>,
    /// At or before every deadline in the wheel.
    next: Cell<u64>,
    armed: Cell<u64>,
    fired: Cell<u64>,
    cancelled: Cell<u64>,
    levels: Cell<u32>,
    occupied: [Cell<u64>; LEVELS],
    slots: [Slot<T>; PAST + 1],
    runs: RefCell<Runs<T>>,
}

struct Slot<T> {
    heads: [Cell<*const Node<T>>; LANES],
    earliest: Cell<u64>,
}

impl<T> Slot<T> {
    const fn new() -> Self {
        Self { heads: [const { Cell::new(ptr::null()) }; LANES], earliest: Cell::new(u64::MAX) }
    }

    fn is_empty(&self) -> bool {
        self.heads.iter().all(|head| head.get().is_null())
    }
}

impl<T> Wheel<T> {
    /// An empty wheel whose time is `now`.
    pub(crate) fn new(now: u64) -> Self {
        let core = Core {
            now: Cell::new(now),
            next: Cell::new(u64::MAX),
            armed: Cell::new(0),
            fired: Cell::new(0),
            cancelled: Cell::new(0),
            levels: Cell::new(0),
            occupied: [const { Cell::new(0) }; LEVELS],
            slots: [const { Slot::new() }; PAST + 1],
            runs: RefCell::new(Runs::new()),
        };
        Self { core: Rc::new(core) }
    }

    /// The time that it was last advanced to.
    pub(crate) fn now(&self) -> u64 {
        self.core.now.get()
    }

    /// How many nodes are armed.
    pub(crate) fn len(&self) -> usize {
        let core = &self.core;
        let armed = core.armed.get() - core.fired.get() - core.cancelled.get();
        usize::try_from(armed).expect("every armed node occupies memory")
    }

    /// What has happened so far.
    pub(crate) fn counters(&self) -> TimerCounters {
        let core = &self.core;
        TimerCounters { armed: core.armed.get(), fired: core.fired.get(), cancelled: core.cancelled.get() }
    }

    /// When to advance next: at or before the earliest deadline, `None` if nothing is armed.
    ///
    /// It is the earliest deadline itself unless a node that was the earliest of its slot has been cancelled. Each
    /// such cancellation can make one advance come too early, after which the answer is later.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        (self.len() > 0).then(|| self.core.bound())
    }

    /// Sets the wheel's time to `now`, unless it is later already, and makes what is due ready for [`Wheel::pop`].
    ///
    /// What is armed after this call waits for the next one, even if its deadline has passed.
    pub(crate) fn advance(&self, now: u64) {
        let core = &*self.core;
        let now = now.max(core.now.get());
        if now < core.next.get() {
            core.now.set(now);
        } else {
            core.open_slots(now);
        }
    }

    /// Fires the first of what the last advance found due: by deadline, then in the order of arming.
    ///
    /// Answers the deadline and what the node held. Between two calls anything may be armed, cancelled and
    /// dropped.
    pub(crate) fn pop(&self) -> Option<(u64, T)> {
        let core = &*self.core;
        loop {
            let Some(node) = core.runs.borrow_mut().pop_due(core.now.get()) else {
                core.update_next();
                return None;
            };
            // SAFETY: invariant 5; a node that leaves the wheel leaves its run.
            let node = unsafe { node.as_ref() };
            node.place.set(FIRED);
            core.fired.set(core.fired.get() + 1);
            drop(node.wheel.take());
            if let Some(payload) = node.payload.take() {
                return Some((node.deadline.get(), payload));
            }
        }
    }
}

impl<T> Core<T> {
    /// Links a node that is in no wheel.
    fn insert(&self, node: Pin<&Node<T>>, deadline: u64) {
        let sequence = self.armed.get();
        self.armed.set(sequence + 1);
        node.deadline.set(deadline);
        node.sequence.set(sequence);
        if deadline < self.next.get() {
            self.next.set(deadline);
        }
        self.link(&node);
    }

    /// Unlinks a node that this wheel holds.
    fn remove(&self, node: &Node<T>) {
        self.cancelled.set(self.cancelled.get() + 1);
        let place = node.place.get();
        if place >= FIRST_RUN {
            self.runs.borrow_mut().strike(place - FIRST_RUN, node);
        } else {
            self.unlink(node, place);
        }
    }

    /// Puts a node into the slot to which its deadline belongs at the wheel's time.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "only the lowest bits choose the lane")]
    fn link(&self, node: &Node<T>) {
        let (deadline, now) = (node.deadline.get(), self.now.get());
        let number = if deadline <= now {
            PAST
        } else {
            let level = level_of(deadline, now);
            let slot = slot_of(deadline, level);
            self.occupied[level].set(self.occupied[level].get() | 1 << slot);
            self.levels.set(self.levels.get() | 1 << level);
            level * SLOTS_PER_LEVEL + slot
        };
        let slot = &self.slots[number];
        let place = number * LANES + (node.sequence.get() as usize % LANES);
        let first = &slot.heads[place % LANES];
        let second = first.replace(node);
        node.prev.set(ptr::null());
        node.next.set(second);
        node.place.set(place);
        // SAFETY: null, or by invariant 5 a live node.
        if let Some(second) = unsafe { second.as_ref() } {
            second.prev.set(node);
        }
        if deadline < slot.earliest.get() {
            slot.earliest.set(deadline);
        }
    }

    /// Takes a node out of its slot.
    #[inline]
    fn unlink(&self, node: &Node<T>, place: usize) {
        let (prev, next) = (node.prev.get(), node.next.get());
        // SAFETY: null, or by invariant 5 a live node.
        if let Some(next) = unsafe { next.as_ref() } {
            next.prev.set(prev);
        }
        // SAFETY: as above.
        if let Some(prev) = unsafe { prev.as_ref() } {
            prev.next.set(next);
            return;
        }
        let slot = &self.slots[place / LANES];
        slot.heads[place % LANES].set(next);
        if slot.is_empty() {
            self.vacate(place / LANES);
        }
    }

    /// Notes that a slot has lost its last node.
    fn vacate(&self, slot: usize) {
        self.slots[slot].earliest.set(u64::MAX);
        let level = slot / SLOTS_PER_LEVEL;
        if level < LEVELS && !planted::is("wheel_stale_bitmap") {
            let left = self.occupied[level].get() & !(1 << (slot % SLOTS_PER_LEVEL));
            self.occupied[level].set(left);
            if left == 0 {
                self.levels.set(self.levels.get() & !(1 << level));
            }
        }
    }

    /// Sets the time and sorts all slots into runs in which something is due by then.
    ///
    /// On each level, these are the slots whose span has passed and perhaps the one whose span has begun.
    fn open_slots(&self, now: u64) {
        let before = self.now.replace(now);
        let mut runs = self.runs.borrow_mut();
        if !self.slots[PAST].is_empty() {
            self.open(PAST, &mut runs);
            runs.sort(PAST / SLOTS_PER_LEVEL);
        }
        let mut levels = self.levels.get();
        while levels != 0 {
            let level = levels.trailing_zeros() as usize;
            levels &= levels - 1;
            let current = slot_of(now, level);
            let reached = self.slots[level * SLOTS_PER_LEVEL + current].earliest.get() <= now;
            let mut slots = self.occupied[level].get() & (passed(before, now, level) | u64::from(reached) << current);
            if slots == 0 {
                continue;
            }
            while slots != 0 {
                self.open(level * SLOTS_PER_LEVEL + slots.trailing_zeros() as usize, &mut runs);
                slots &= slots - 1;
            }
            runs.sort(level);
        }
    }

    /// Moves all nodes of a slot to the run of its level, which has to be sorted then.
    fn open(&self, slot: usize, runs: &mut Runs<T>) {
        let run = slot / SLOTS_PER_LEVEL;
        let mut lanes = self.slots[slot].heads.each_ref().map(|head| head.replace(ptr::null()));
        self.vacate(slot);
        let mut is_any_left = true;
        while is_any_left {
            is_any_left = false;
            for next in &mut lanes {
                // SAFETY: null, or by invariant 5 a live node.
                let Some(node) = (unsafe { next.as_ref() }) else { continue };
                *next = node.next.get();
                node.place.set(FIRST_RUN + run);
                runs.push(run, node);
                is_any_left = true;
            }
        }
    }

    /// At or before every deadline in the wheel; within a level the first slot from now on has the earliest.
    fn bound(&self) -> u64 {
        let mut bound = self.runs.borrow().earliest().min(self.slots[PAST].earliest.get());
        let mut levels = self.levels.get();
        while levels != 0 {
            let level = levels.trailing_zeros() as usize;
            levels &= levels - 1;
            let current = slot_of(self.now.get(), level);
            let ahead = rotate(self.occupied[level].get(), current).trailing_zeros() as usize;
            let slot = (current + ahead) % SLOTS_PER_LEVEL;
            bound = bound.min(self.slots[level * SLOTS_PER_LEVEL + slot].earliest.get());
        }
        bound
    }

    /// Looks for the next deadline after all that was due has fired.
    fn update_next(&self) {
        if self.next.get() <= self.now.get() {
            self.next.set(self.bound());
        }
    }
}

/// The lowest level that reaches from `now` to the later `deadline` with 64 slots.
#[inline]
fn level_of(deadline: u64, now: u64) -> usize {
    let beyond = (deadline - now).ilog2().saturating_sub(SLOT_BITS - 1);
    if planted::is("wheel_wrong_level") {
        return (beyond / LEVEL_BITS) as usize;
    }
    let level = beyond.div_ceil(LEVEL_BITS) as usize;
    // The span that `now` is in has begun already, so up to 64 spans may be one slot too far.
    level + usize::from(spans(deadline, level) - spans(now, level) >= SLOTS_PER_LEVEL as u64)
}

/// How many whole spans of a level a time is from the origin.
#[inline]
fn spans(time: u64, level: usize) -> u64 {
    time >> (level * LEVEL_BITS as usize)
}

/// The slot of a level into whose span a time falls.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "only the lowest bits matter")]
fn slot_of(time: u64, level: usize) -> usize {
    spans(time, level) as usize % SLOTS_PER_LEVEL
}

/// The slots of a level whose span ended between two times, a bit each.
fn passed(before: u64, now: u64, level: usize) -> u64 {
    let count = spans(now, level) - spans(before, level);
    if count < SLOTS_PER_LEVEL as u64 {
        rotate((1 << count) - 1, SLOTS_PER_LEVEL - slot_of(before, level))
    } else {
        u64::MAX
    }
}

/// Renumbers slots so that `first` becomes the first one.
fn rotate(slots: u64, first: usize) -> u64 {
    slots.rotate_right(u32::try_from(first).expect("a slot's number is small"))
}
