//! Traces: a queue that shows its packets, a line each.

mod summary;

use std::collections::VecDeque;
use std::fmt;
use std::task::Context;

use sunstar_executor::Instant;
use sunstar_packet::Packet;

use crate::capabilities::Capabilities;
use crate::edit::duplicate;
use crate::queue::{Counters, Queue, QueueError, Readiness};
pub use summary::Summary;

#[cfg(test)]
mod tests;

/// A queue whose packets are shown, by [`Summary`]. It is for looking at few packets, not for speed.
pub struct Trace<Q> {
    inner: Q,
    name: String,
    show: Box<dyn FnMut(fmt::Arguments<'_>)>,
}

impl<Q: Queue> Trace<Q> {
    /// Shows packets in the log, at level *info*. `name` says which queue it is.
    pub fn new(inner: Q, name: &str) -> Self {
        Self::with(inner, name, |line| log::info!("{line}"))
    }

    /// Hands a line for each packet to `show`.
    pub fn with(inner: Q, name: &str, show: impl FnMut(fmt::Arguments<'_>) + 'static) -> Self {
        Self { inner, name: name.to_owned(), show: Box::new(show) }
    }
}

impl<Q: Queue> Queue for Trace<Q> {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn rx_burst(&mut self, now: Instant, out: &mut VecDeque<Packet>, max: usize) -> Result<usize, QueueError> {
        let before = out.len();
        let result = self.inner.rx_burst(now, out, max);
        for packet in out.iter().skip(before) {
            (self.show)(format_args!("{} rx {}", self.name, Summary(packet)));
        }
        result
    }

    fn tx_burst(&mut self, now: Instant, packets: &mut VecDeque<Packet>) -> Result<usize, QueueError> {
        let mut twins: VecDeque<Packet> = packets.iter().map(duplicate).collect();
        let result = self.inner.tx_burst(now, packets);
        // Only those that were taken.
        twins.truncate(twins.len() - packets.len());
        for packet in &twins {
            (self.show)(format_args!("{} tx {}", self.name, Summary(packet)));
        }
        result
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Readiness<'_> {
        self.inner.poll_ready(cx)
    }

    fn deadline(&self) -> Option<Instant> {
        self.inner.deadline()
    }

    fn counters(&self) -> Counters {
        self.inner.counters()
    }

    fn free_unused_memory(&mut self) {
        self.inner.free_unused_memory();
    }
}

impl<Q: fmt::Debug> fmt::Debug for Trace<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("inner", &self.inner).field("name", &self.name).finish_non_exhaustive()
    }
}
