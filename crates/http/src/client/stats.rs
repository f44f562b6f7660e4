//! What a client counts.

use core::cell::Cell;

/// What a client has done, and what it has now.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct ClientStats {
    /// Requests that were begun, each once however often it was sent.
    pub requests: u64,
    /// Requests that were sent again.
    pub retried: u64,
    /// Heads of responses that were received.
    pub responses: u64,
    /// Connections that were made.
    pub connected: u64,
    /// Connections that could not be made.
    pub connect_failed: u64,
    /// Requests that were sent on a connection that had served before.
    pub reused: u64,
    /// Kept connections that the server closed, or that failed.
    pub stale: u64,
    /// Kept connections that were dropped because the server sent what nothing was asked for.
    pub unasked: u64,
    /// Kept connections that were closed because nobody used them, others needed their place, or another one of the same host
    /// had failed.
    pub expired: u64,
    /// Connections that were closed within a request or a response: that was dropped, took too long, or failed.
    pub broken_off: u64,
    /// Responses that were read to their end after they had been dropped.
    pub drained: u64,
    /// What took too long, of each [`Phase`](super::Phase) but [`Wait`](super::Phase::Wait) and
    /// [`BodyRate`](super::Phase::BodyRate).
    pub timed_out: u64,
    /// Responses whose bodies came too slowly.
    pub too_slow: u64,
    /// Requests that waited too long for a connection.
    pub waited_in_vain: u64,
    /// Requests that were refused as too many wait.
    pub rejected: u64,
    /// Connections that are there, or being made.
    pub open: u64,
    /// Connections among them that are kept for later.
    pub idle: u64,
    /// Requests that wait for a connection.
    pub waiting: u64,
}

/// The counters of [`ClientStats`].
#[derive(Default)]
pub(super) struct Counters(Cell<ClientStats>);

impl Counters {
    pub(super) fn count(&self, counter: impl FnOnce(&mut ClientStats) -> &mut u64) {
        let mut stats = self.0.get();
        *counter(&mut stats) += 1;
        self.0.set(stats);
    }

    /// Without those of what is there now.
    pub(super) fn get(&self) -> ClientStats {
        self.0.get()
    }
}
