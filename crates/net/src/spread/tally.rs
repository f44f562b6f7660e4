//! What a shard counts for a listener, and what it tells the shard that shares the connections out.

use alloc::rc::Rc;
use alloc::sync::Arc;
use core::cell::Cell;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::listener::ListenerStats;

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

/// What one shard counts for one listener. It lives as long as a stream of that listener.
#[derive(Default)]
pub(crate) struct Tally {
    pub(super) accepted: Cell<u64>,
    pub(super) handed_over_from: Cell<u64>,
    pub(super) refused: Cell<u64>,
    live: Cell<u64>,
    report: Arc<Report>,
}

impl Tally {
    pub(super) fn report(&self) -> Arc<Report> {
        Arc::clone(&self.report)
    }

    /// Takes note that a connection left the queue, to be made a stream.
    pub(super) fn take(self: &Rc<Self>) -> Live {
        count(&self.report.taken);
        self.live.set(self.live.get() + 1);
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
        self.0.live.set(self.0.live.get() - 1);
        count(&self.0.report.ended);
    }
}
