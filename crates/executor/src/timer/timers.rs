//! The timers of one shard as its rounds see them.

use alloc::rc::Rc;
use core::cell::Cell;
use core::pin::Pin;
use core::task::Waker;

use super::callback::Callback;
use super::wheel::{Node, TimerCounters, Wheel};
use crate::time::Instant;

/// What happens when a timer fires.
pub(super) enum Action {
    /// A task waits for it.
    Wake(Waker),
    /// A [`Timer`](super::Timer) runs its closure.
    Call(Pin<Rc<Callback>>),
}

/// How many timers a round fires at most, so that tasks and messages get their turn among a flood of timers. A shard begins a flood
/// with fewer, and goes up to this as long as what they wake is done within the round.
pub const MAX_FIRED_PER_ADVANCE: usize = 4096;

/// All armed timers of a shard, or of a [`ManualClock`](super::ManualClock).
pub struct Timers {
    wheel: Wheel<Action>,
    panicked: Cell<u64>,
}

impl Timers {
    /// No timers yet, on a clock that shows `now`.
    pub fn new(now: Instant) -> Self {
        Self { wheel: Wheel::new(now.as_nanos()), panicked: Cell::new(0) }
    }

    /// Fires the timers whose deadline is at or before `now`, in order, and answers how many fired.
    ///
    /// If more than [`MAX_FIRED_PER_ADVANCE`] are due, the later ones wait for the next call.
    ///
    /// A timer that is armed meanwhile waits for the next call even if its deadline has passed, so a timer that
    /// arms itself anew does not hold up the round. Time does not go back: an earlier `now` counts as the latest
    /// one so far.
    pub fn advance(&self, now: Instant) -> usize {
        self.advance_up_to(now, MAX_FIRED_PER_ADVANCE)
    }

    /// As [`Timers::advance`], with a bound of its own.
    pub(crate) fn advance_up_to(&self, now: Instant, most: usize) -> usize {
        self.wheel.advance(now.as_nanos());
        let mut fired = 0;
        while fired < most {
            let Some((deadline, action)) = self.wheel.pop() else { break };
            fired += 1;
            match action {
                Action::Wake(waker) => waker.wake(),
                Action::Call(callback) => {
                    if callback.run(self, Instant::from_nanos(deadline)).is_err() {
                        self.panicked.set(self.panicked.get() + 1);
                    }
                }
            }
        }
        fired
    }

    /// When [`Timers::advance`] should be called next at the latest; `None` if no timer is armed.
    ///
    /// It is never after the earliest deadline, and before it only if a timer has been cancelled that was earlier:
    /// each cancellation can make at most one call come too early.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.wheel.next_deadline().map(Instant::from_nanos)
    }

    /// The latest time that the timers were advanced to: the start of the round.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(self.wheel.now())
    }

    /// How many timers are armed.
    pub fn len(&self) -> usize {
        self.wheel.len()
    }

    /// Whether no timer is armed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many timers were armed, fired and cancelled so far.
    pub fn counters(&self) -> TimerCounters {
        self.wheel.counters()
    }

    /// How many closures of [`Timer`](super::Timer)s panicked.
    pub fn panicked(&self) -> u64 {
        self.panicked.get()
    }

    /// Arms `node`, also if it is armed already, here or elsewhere.
    pub(super) fn arm(&self, node: Pin<&Node<Action>>, deadline: Instant, action: Action) {
        drop(node.arm(&self.wheel, deadline.as_nanos(), action));
    }
}

impl core::fmt::Debug for Timers {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Timers")
            .field("now", &self.now())
            .field("armed", &self.len())
            .field("next_deadline", &self.next_deadline())
            .finish_non_exhaustive()
    }
}
