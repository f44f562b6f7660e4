//! The task quota, and cheap answers to whether it is used up.

use core::cell::Cell;
use core::future::poll_fn;
use core::task::Poll;
use core::time::Duration;

use crate::current;
use crate::time::Instant;

/// At most so many questions are answered without a look at the clock: by so many polls of tasks, or steps of a loop
/// that asks, a turn can overrun its end.
const LARGEST_BUDGET: u32 = 16;

/// A turn is over after so many questions even if the clock stands still, as a simulator's does.
const MAX_QUESTIONS: u32 = 1 << 16;

/// When the running group's turn ends.
///
/// The clock is read only when a budget of questions is used up. The budget is what, at the pace of the last
/// questions, would pass in a quarter of the time that is left; so it shrinks as the end comes near.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    ends: Cell<Instant>,
    budget: Cell<u32>,
    granted: Cell<u32>,
    questions_left: Cell<u32>,
    looked: Cell<Instant>,
    over: Cell<bool>,
}

impl Turn {
    pub(crate) fn begin(&self, now: Instant, end: Instant) {
        self.ends.set(end);
        self.looked.set(now);
        self.granted.set(1);
        self.budget.set(1);
        self.questions_left.set(MAX_QUESTIONS);
        self.over.set(false);
    }

    /// Whether the turn is over.
    #[inline]
    pub(crate) fn is_over(&self, now: impl FnOnce() -> Instant) -> bool {
        let budget = self.budget.get();
        if budget > 0 {
            self.budget.set(budget - 1);
            return false;
        }
        self.over.get() || self.look(now())
    }

    /// Whether the turn ended by the number of questions.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.questions_left.get() == 0
    }

    #[cold]
    fn look(&self, now: Instant) -> bool {
        let granted = self.granted.get();
        self.questions_left.set(self.questions_left.get().saturating_sub(granted));
        if now >= self.ends.get() || self.is_exhausted() {
            self.over.set(true);
            return true;
        }
        let passed = nanos(now - self.looked.get()).max(1);
        let left = nanos(self.ends.get() - now);
        let affordable = u64::from(granted).saturating_mul(left) / passed.saturating_mul(4);
        let budget = u32::try_from(affordable).unwrap_or(u32::MAX).min(2 * granted).min(LARGEST_BUDGET);
        self.granted.set(budget.max(1));
        self.budget.set(budget);
        self.looked.set(now);
        false
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Whether the running task has used its group's turn up and should let others run soon.
///
/// It costs a nanosecond or two: most answers don't read the clock, so it can be late by some sixteen answers, no more.
/// Outside of any task it means nothing, outside of any shard it is false.
#[inline]
pub fn need_preempt() -> bool {
    current::try_with(|shard| shard.is_turn_over()).unwrap_or(false)
}

/// Lets the other tasks of the group, and other groups if their turn has come, run before the task goes on.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Yields if the turn is used up ([`need_preempt`]); for use inside of long loops.
#[inline]
pub async fn maybe_yield() {
    if need_preempt() {
        yield_now().await;
    }
}
