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
    pub(crate) panicked_tasks: Counter,
    pub(crate) abandoned_errors: Counter,
    pub(crate) foreign_panics: Counter,
    pub(crate) arrivals: Counter,
    pub(crate) polled: Counter,
    pub(crate) sent_messages: Counter,
    pub(crate) received_messages: Counter,
    pub(crate) waits_for_room: Counter,
    pub(crate) waits_for_service: Counter,
    pub(crate) overflowed_replies: Counter,
    pub(crate) held_rings: Counter,
    pub(crate) panicked_messages: Counter,
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
    /// Panics of wakers, destructors and the like that the executor called outside of any task.
    pub foreign_panics: u64,
    /// Wakes, drops and returns from other threads.
    pub arrivals: u64,
    /// Rounds in which [pollers](crate::Poller) found something.
    pub polled: u64,
    /// Messages that were sent to other shards, or to this one through the same functions.
    pub sent_messages: u64,
    /// Messages that were received from other shards.
    pub received_messages: u64,
    /// How often a sender waited for room in the ring.
    pub waits_for_room: u64,
    /// How often a request waited because its service group had as many in flight as it may.
    pub waits_for_service: u64,
    /// Replies that found no room in the ring and were kept until there was some.
    pub overflowed_replies: u64,
    /// How often messages stayed in a ring because the inbox of the first one's scheduling group was full.
    pub held_rings: u64,
    /// Messages and requests from elsewhere that panicked.
    pub panicked_messages: u64,
    /// Messages and replies that wait for room in a ring now.
    pub waiting_messages: u64,
    /// Messages of threads that are no shards that were refused because as many as may be were under way.
    pub refused_aliens: u64,
    /// Things of this shard that may come home from elsewhere now: the memory of tasks, and what was sent to others.
    pub residents: u64,
    /// Timers that are armed now.
    pub armed_timers: u64,
    /// Timers that were armed; another deadline for an armed one counts as a cancellation and an arming.
    pub started_timers: u64,
    /// Timers that fired.
    pub fired_timers: u64,
    /// Timers that were cancelled while they were armed.
    pub cancelled_timers: u64,
    /// Timers whose closure panicked.
    pub panicked_timers: u64,
}
