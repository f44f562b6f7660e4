//! What a shard counts for a listener, and what it tells the shard that shares the connections out.

use alloc::rc::Rc;
use alloc::sync::Arc;
use core::cell::Cell;
use core::sync::atomic::{AtomicUsize, Ordering};

use sunstar_executor::local;

use crate::listener::{AcceptStats, ListenerStats};

/// How far a member is with the connections that it was given: written by the member, read by the owner.
///
/// Both numbers only grow (and wrap), and each has one writer, so plain loads and stores do. It has cache lines of its
/// own, which move only when the member has written.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Report {
    /// Connections that left the queue.
    taken: AtomicUsize,
    /// Connections that have ended.
    ended: AtomicUsize,
}

impl Report {
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    pub(super) fn ended(&self) -> usize {
        self.ended.load(Ordering::Relaxed)
    }
}

/// Adds one to a number that only the caller's shard writes.
fn count(number: &AtomicUsize) {
    number.store(number.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// Adds one.
pub(super) fn add(number: &Cell<u64>) {
    number.set(number.get() + 1);
}

/// What a shard counts for all its listeners.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) accepted: Cell<u64>,
    pub(super) handed_over_from: Cell<u64>,
    pub(super) refused: Cell<u64>,
    pub(super) failures: Cell<u64>,
    live: Cell<u64>,
}

impl Totals {
    /// Those of the current shard.
    pub(super) fn here() -> Rc<Self> {
        local::get().unwrap_or_else(|| {
            let totals = Rc::new(Self::default());
            local::set(Rc::clone(&totals));
            totals
        })
    }

    fn stats(&self) -> AcceptStats {
        AcceptStats {
            accepted: self.accepted.get(),
            handed_over_from: self.handed_over_from.get(),
            live: self.live.get(),
            refused: self.refused.get(),
            failures: self.failures.get(),
        }
    }
}

/// What all listeners of the calling shard have done, those that are gone included.
///
/// # Panics
/// Outside of any shard.
pub fn accept_stats() -> AcceptStats {
    Totals::here().stats()
}

/// What one shard counts for one listener. It lives as long as a stream of that listener.
#[derive(Default)]
pub(crate) struct Tally {
    accepted: Cell<u64>,
    handed_over_from: Cell<u64>,
    refused: Cell<u64>,
    live: Cell<u64>,
    report: Arc<Report>,
    totals: Rc<Totals>,
}

impl Tally {
    /// Of a listener of the current shard.
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self { totals: Totals::here(), ..Self::default() })
    }

    /// Takes note of a connection that was accepted.
    pub(super) fn accept(&self) {
        add(&self.accepted);
        add(&self.totals.accepted);
    }

    /// Takes note of a connection of which no stream could be made.
    pub(super) fn refuse(&self) {
        add(&self.refused);
        add(&self.totals.refused);
    }

    /// Takes note of a connection from another shard.
    pub(super) fn take_over(&self) {
        add(&self.handed_over_from);
        add(&self.totals.handed_over_from);
    }

    pub(super) fn report(&self) -> Arc<Report> {
        Arc::clone(&self.report)
    }

    /// Takes note that a connection left the queue, to be made a stream.
    pub(super) fn take(self: &Rc<Self>) -> Live {
        count(&self.report.taken);
        add(&self.live);
        add(&self.totals.live);
        Live(Rc::clone(self))
    }

    pub(super) fn stats(&self) -> ListenerStats {
        ListenerStats {
            accepted: self.accepted.get(),
            handed_over_from: self.handed_over_from.get(),
            live: self.live.get(),
            refused: self.refused.get(),
            ..ListenerStats::default()
        }
    }
}

/// A connection that counts as live until this is dropped.
pub(crate) struct Live(Rc<Tally>);

impl Drop for Live {
    fn drop(&mut self) {
        for live in [&self.0.live, &self.0.totals.live] {
            live.set(live.get() - 1);
        }
        count(&self.0.report.ended);
    }
}
