//! Counters of one shard.

use core::cell::Cell;

/// A number that only grows, touched by its shard only.
#[derive(Debug, Default)]
pub(crate) struct Counter(Cell<u64>);

impl Counter {
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.set(self.0.get().wrapping_add(n));
    }

    pub(crate) fn reset(&self) {
        self.0.set(0);
    }

    #[inline]
    pub(crate) fn value(&self) -> u64 {
        self.0.get()
    }
}

/// What a shard counts besides its scheduling groups.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) rounds: Counter,
    pub(crate) sleeps: Counter,
    pub(crate) spawned_tasks: Counter,
    pub(crate) panicked_tasks: Counter,
    pub(crate) abandoned_errors: Counter,
    pub(crate) arrivals: Counter,
}

/// A snapshot of a shard's counters; see [`Executor::stats`](crate::Executor::stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Rounds since the start.
    pub rounds: u64,
    /// How often the shard announced that it would sleep.
    pub sleeps: u64,
    /// Tasks that were started.
    pub spawned_tasks: u64,
    /// Tasks that are alive now.
    pub living_tasks: u64,
    /// Tasks that ended in a panic.
    pub panicked_tasks: u64,
    /// Errors of tasks that nobody looked at.
    pub abandoned_errors: u64,
    /// Wakes, drops and returns from other threads.
    pub arrivals: u64,
}
