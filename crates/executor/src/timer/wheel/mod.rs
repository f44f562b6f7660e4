//! A hierarchical timer wheel with exact order.
//!
//! Eleven levels of 64 slots, a tick of one nanosecond at the bottom. A deadline belongs to the level of the
//! highest six-bit digit in which it differs from the wheel's time, and there to the slot that this digit
//! numbers. Each slot knows a lower bound of its deadlines, so a slot whose span has begun stays as it is until
//! something in it can be due. Only then its remaining nodes move down to where they belong by now. A node
//! that is alone in its slot therefore fires from wherever it was put, and a slot that is due as a whole is never
//! distributed.
//!
//! What is due at an advance is gathered, sorted by deadline and number of arming, and handed out one by one, while
//! the wheel is open for any change.
//!
//! Invariants:
//! 1. A node in a slot of level *n* has the digits above *n* in common with the wheel's time, and its digit *n* is the
//!    number of the slot and not below that of the wheel's time.
//! 2. No node in a slot has a deadline at or before the wheel's time; such nodes are in the list [`PAST`].
//! 3. A bit of `occupied` is set exactly if its slot has nodes, a bit of `levels` exactly if its level has.
//! 4. A slot's `earliest` is at or before each of its deadlines, and lies in the slot's own span.
//! 5. Every node that is reachable from the wheel is pinned, holds a reference to the core, and leaves the wheel
//!    before it is dropped ([`Node`]'s `Drop`).

mod node;
#[cfg(test)]
mod tests;

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::pin::Pin;
use core::ptr::{self, NonNull};

pub(crate) use node::Node;
use node::{DUE, FIRED};

const DIGIT_BITS: u32 = 6;
const SLOTS_PER_LEVEL: usize = 1 << DIGIT_BITS;
const LEVELS: usize = u64::BITS.div_ceil(DIGIT_BITS) as usize;
/// The list of nodes whose deadline had passed when they were armed.
const PAST: usize = LEVELS * SLOTS_PER_LEVEL;
/// How many entries of the gathering space are kept for the next advance.
const DUE_KEPT: usize = 1024;

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
    levels: Cell<u16>,
    occupied: [Cell<u64>; LEVELS],
    slots: [Slot<T>; PAST + 1],
    /// What an advance has gathered and not yet handed out, last first.
    due: RefCell<Vec<Due<T>>>,
}

struct Slot<T> {
    head: Cell<*const Node<T>>,
    earliest: Cell<u64>,
}

struct Due<T> {
    deadline: u64,
    sequence: u64,
    /// `None` once the node has been cancelled.
    node: Option<NonNull<Node<T>>>,
}

impl<T> Due<T> {
    fn key(&self) -> (u64, u64) {
        (self.deadline, self.sequence)
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
            slots: [const { Slot { head: Cell::new(ptr::null()), earliest: Cell::new(u64::MAX) } }; PAST + 1],
            due: RefCell::new(Vec::new()),
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
        if self.len() == 0 {
            return None;
        }
        if !self.core.due.borrow().is_empty() {
            return Some(self.now());
        }
        Some(self.core.bound())
    }

    /// Sets the wheel's time to `now`, unless it is later already, and gathers what is due for [`Wheel::pop`].
    ///
    /// What is armed after this call waits for the next one, even if its deadline has passed.
    pub(crate) fn advance(&self, now: u64) {
        let core = &*self.core;
        let now = now.max(core.now.get());
        if now < core.next.get() {
            core.now.set(now);
            return;
        }
        core.gather(now);
    }

    /// Fires the first of what the last advance found due: by deadline, then in the order of arming.
    ///
    /// Answers the deadline and what the node held. Between two calls anything may be armed, cancelled and
    /// dropped.
    pub(crate) fn pop(&self) -> Option<(u64, T)> {
        loop {
            let Some(entry) = self.core.due.borrow_mut().pop() else {
                self.core.trim();
                return None;
            };
            let Some(node) = entry.node else { continue };
            // SAFETY: invariant 5; a node that left the wheel is no longer in its entry.
            let node = unsafe { node.as_ref() };
            node.place.set(FIRED);
            self.core.fired.set(self.core.fired.get() + 1);
            drop(node.wheel.take());
            if let Some(payload) = node.payload.take() {
                return Some((entry.deadline, payload));
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
        self.place(&node);
    }

    /// Unlinks a node that this wheel holds.
    fn remove(&self, node: &Node<T>) {
        self.cancelled.set(self.cancelled.get() + 1);
        if node.place.get() == DUE {
            self.strike(node);
        } else {
            self.unlink(node);
        }
    }

    /// Puts a node where its deadline belongs at the wheel's time.
    #[inline]
    fn place(&self, node: &Node<T>) {
        let (deadline, now) = (node.deadline.get(), self.now.get());
        let place = if deadline <= now {
            PAST
        } else {
            let level = level_of(deadline ^ now);
            let slot = digit(deadline, level);
            self.occupied[level].set(self.occupied[level].get() | 1 << slot);
            self.levels.set(self.levels.get() | 1 << level);
            level * SLOTS_PER_LEVEL + slot
        };
        let slot = &self.slots[place];
        let head = slot.head.get();
        node.prev.set(ptr::null());
        node.next.set(head);
        node.place.set(place);
        // SAFETY: null, or by invariant 5 a live node.
        if let Some(head) = unsafe { head.as_ref() } {
            head.prev.set(node);
        }
        slot.head.set(node);
        if deadline < slot.earliest.get() {
            slot.earliest.set(deadline);
        }
    }

    /// Takes a node out of its slot.
    #[inline]
    fn unlink(&self, node: &Node<T>) {
        let place = node.place.get();
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
        self.slots[place].head.set(next);
        if next.is_null() {
            self.vacate(place);
        }
    }

    /// Notes that a slot has lost its last node.
    fn vacate(&self, place: usize) {
        self.slots[place].earliest.set(u64::MAX);
        let level = place / SLOTS_PER_LEVEL;
        if level < LEVELS && !cfg!(planted = "wheel_stale_bitmap") {
            let left = self.occupied[level].get() & !(1 << (place % SLOTS_PER_LEVEL));
            self.occupied[level].set(left);
            if left == 0 {
                self.levels.set(self.levels.get() & !(1 << level));
            }
        }
    }

    /// Empties a slot and answers the first of its nodes.
    fn detach(&self, place: usize) -> *const Node<T> {
        let head = self.slots[place].head.replace(ptr::null());
        self.vacate(place);
        head
    }

    /// Strikes a node off what is due.
    fn strike(&self, node: &Node<T>) {
        let key = (node.deadline.get(), node.sequence.get());
        let mut due = self.due.borrow_mut();
        let index = due.binary_search_by(|entry| key.cmp(&entry.key())).expect("a due node has its entry");
        due[index].node = None;
    }

    /// Sets the time and moves all that is due by then to `due`, in order.
    ///
    /// Below the highest digit that changes, every slot is due as a whole; from there on up those before the
    /// digit of `now`, while the slot of that digit itself may be due in part.
    fn gather(&self, now: u64) {
        let mut due = self.due.borrow_mut();
        let before = self.now.replace(now);
        let changed = level_of(before ^ now);
        self.gather_slot(PAST, &mut due);
        let mut levels = self.levels.get();
        while levels != 0 {
            let level = levels.trailing_zeros() as usize;
            levels &= levels - 1;
            let current = digit(now, level);
            let passed = if level < changed { u64::MAX } else { (1 << current) - 1 };
            let mut slots = self.occupied[level].get() & passed;
            while slots != 0 {
                self.gather_slot(level * SLOTS_PER_LEVEL + slots.trailing_zeros() as usize, &mut due);
                slots &= slots - 1;
            }
            let open = level * SLOTS_PER_LEVEL + current;
            if level >= changed && self.slots[open].earliest.get() <= now {
                self.gather_open_slot(open, now, &mut due);
            }
        }
        if due.len() > 1 {
            due.sort_unstable_by_key(|entry| core::cmp::Reverse(entry.key()));
        }
        self.next.set(self.bound());
    }

    /// Moves all nodes of a slot to `due`.
    fn gather_slot(&self, place: usize, due: &mut Vec<Due<T>>) {
        let mut next = self.detach(place);
        // SAFETY: null, or by invariant 5 a live node.
        while let Some(node) = unsafe { next.as_ref() } {
            next = node.next.get();
            gather_node(node, due);
        }
    }

    /// Moves what is due of a slot to `due`, the rest to lower levels.
    fn gather_open_slot(&self, place: usize, now: u64, due: &mut Vec<Due<T>>) {
        let mut next = self.detach(place);
        // SAFETY: null, or by invariant 5 a live node.
        while let Some(node) = unsafe { next.as_ref() } {
            next = node.next.get();
            if node.deadline.get() <= now {
                gather_node(node, due);
            } else {
                self.place(node);
            }
        }
    }

    /// At or before every deadline in the slots; within a level the first slot has the earliest.
    fn bound(&self) -> u64 {
        let mut bound = self.slots[PAST].earliest.get();
        let mut levels = self.levels.get();
        while levels != 0 {
            let level = levels.trailing_zeros() as usize;
            levels &= levels - 1;
            let slot = self.occupied[level].get().trailing_zeros() as usize;
            bound = bound.min(self.slots[level * SLOTS_PER_LEVEL + slot].earliest.get());
        }
        bound
    }

    /// Gives back the space of an unusually large advance.
    fn trim(&self) {
        let mut due = self.due.borrow_mut();
        if due.is_empty() && due.capacity() > DUE_KEPT {
            due.shrink_to(DUE_KEPT);
        }
    }
}

fn gather_node<T>(node: &Node<T>, due: &mut Vec<Due<T>>) {
    node.place.set(DUE);
    let (deadline, sequence) = (node.deadline.get(), node.sequence.get());
    due.push(Due { deadline, sequence, node: Some(NonNull::from(node)) });
}

/// The highest digit in which two times differ whose exclusive or is `difference`.
#[inline]
fn level_of(difference: u64) -> usize {
    let highest_bit = (difference | 1).ilog2();
    if cfg!(planted = "wheel_wrong_level") {
        return (highest_bit.saturating_sub(1) / DIGIT_BITS) as usize;
    }
    (highest_bit / DIGIT_BITS) as usize
}

/// The digit of a time that numbers its slot on a level.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a digit has six bits")]
fn digit(time: u64, level: usize) -> usize {
    (time >> (level * DIGIT_BITS as usize)) as usize % SLOTS_PER_LEVEL
}
