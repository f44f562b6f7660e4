//! The task quota, and cheap answers to whether it is used up.

use core::cell::Cell;
use core::future::poll_fn;
use core::task::Poll;
use core::time::Duration;

use crate::current;
use crate::platform::Platform;
use crate::time::Instant;

/// At most so many questions are answered without a look at the clock.
const LARGEST_BUDGET: u32 = 64;

/// When the running group's turn ends.
///
/// The clock is read only when a budget of questions is used up. The budget is what, at the pace of the last
/// questions, would pass in a quarter of the time that is left; so it shrinks as the end comes near.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    ends: Cell<Instant>,
    budget: Cell<u32>,
    granted: Cell<u32>,
    looked: Cell<Instant>,
    over: Cell<bool>,
}

impl Turn {
    pub(crate) fn begin(&self, now: Instant, quota: Duration) {
        self.ends.set(now + quota);
        self.looked.set(now);
        self.granted.set(1);
        self.budget.set(1);
        self.over.set(false);
    }

    /// Whether the turn is over.
    #[inline]
    pub(crate) fn is_over(&self, platform: &dyn Platform) -> bool {
        let budget = self.budget.get();
        if budget > 0 {
            self.budget.set(budget - 1);
            return false;
        }
        self.look(platform)
    }

    #[cold]
    fn look(&self, platform: &dyn Platform) -> bool {
        if self.over.get() {
            return true;
        }
        let now = platform.now();
        if now >= self.ends.get() {
            self.over.set(true);
            return true;
        }
        let passed = (now - self.looked.get()).as_nanos().max(1);
        let left = (self.ends.get() - now).as_nanos();
        let granted = self.granted.get();
        let affordable = u128::from(granted) * left / (4 * passed);
        let budget = u32::try_from(affordable).unwrap_or(u32::MAX).min(2 * granted.max(1)).min(LARGEST_BUDGET);
        self.granted.set(budget.max(1));
        self.budget.set(budget);
        self.looked.set(now);
        false
    }
}

/// Whether the running task has used its group's turn up and should let others run soon.
///
/// It costs about a nanosecond: most answers don't read the clock. Outside of any shard it is false.
#[inline]
pub fn need_preempt() -> bool {
    current::try_with(|shard| shard.turn.is_over(&*shard.platform)).unwrap_or(false)
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
