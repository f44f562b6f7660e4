//! Faults: a queue that loses, doubles, reorders, damages and delays packets, as a seed says.

mod direction;
mod options;
mod random;

use std::collections::VecDeque;
use std::task::Context;

use sunstar_executor::Instant;
use sunstar_packet::{CopyCounter, Packet};

use crate::capabilities::Capabilities;
use crate::queue::{Counters, Queue, QueueError, Readiness};
use direction::Direction;
pub use direction::FaultCounters;
pub use options::{FaultOptionError, FaultOptions, Probability};

#[cfg(test)]
mod tests;

/// A queue before which packets meet with accidents.
///
/// What happens follows from the seed, the number of the queue, and the packets' order and lengths; when it happens follows from the time
/// that bursts are given. A device can be disturbed without being slowed: nothing is held back but what is late.
///
/// What is drawn is drawn for each packet of the wire. So a large packet goes on as it is only if nothing happens to any of those that it
/// stands for, and these take no time of their own (a rate, a jitter); else it is cut, as a device would cut it. Packets that are damaged
/// are copied, and that is counted; no others are.
#[derive(Debug)]
pub struct Fault<Q> {
    inner: Q,
    options: FaultOptions,
    rx: Direction,
    tx: Direction,
    /// Received, and not yet met with anything.
    fresh: VecDeque<Packet>,
    /// Due, but the device had no room.
    ready: VecDeque<Packet>,
    tx_refused: u64,
    tx_full: u64,
    copies: CopyCounter,
}

impl<Q: Queue> Fault<Q> {
    /// Disturbs a queue; `index` is its number, from which it has its own luck.
    pub fn new(inner: Q, options: FaultOptions, index: u32) -> Self {
        let stream = u64::from(index) * 2;
        Self {
            inner,
            options,
            rx: Direction::new(options, stream),
            tx: Direction::new(options, stream + 1),
            fresh: VecDeque::new(),
            ready: VecDeque::new(),
            tx_refused: 0,
            tx_full: 0,
            copies: CopyCounter::default(),
        }
    }

    /// What was done to packets that were received.
    pub const fn rx_faults(&self) -> FaultCounters {
        self.rx.counters
    }

    /// What was done to packets that were sent.
    pub const fn tx_faults(&self) -> FaultCounters {
        self.tx.counters
    }

    /// What was copied to be damaged.
    pub const fn copies(&self) -> &CopyCounter {
        &self.copies
    }

    /// Sends what is due; answers whether the device took all of it.
    fn flush(&mut self, now: Instant) -> Result<bool, QueueError> {
        if self.tx.release(now, &mut self.ready, usize::MAX) > 0 || !self.ready.is_empty() {
            self.inner.tx_burst(now, &mut self.ready)?;
        }
        Ok(self.ready.is_empty())
    }
}

impl<Q: Queue> Queue for Fault<Q> {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn rx_burst(&mut self, now: Instant, out: &mut VecDeque<Packet>, max: usize) -> Result<usize, QueueError> {
        if !self.options.rx {
            return self.inner.rx_burst(now, out, max);
        }
        // Large packets become many: those that are left of an earlier burst go first, and nothing is added to them.
        let mut count = self.rx.release(now, out, max);
        let result = self.inner.rx_burst(now, &mut self.fresh, max - count);
        for packet in self.fresh.drain(..) {
            self.rx.admit(now, packet, &self.copies);
        }
        count += self.rx.release(now, out, max - count);
        // What is under way arrives before the end does.
        if count == 0 && self.rx.is_empty() {
            result?;
        }
        Ok(count)
    }

    fn tx_burst(&mut self, now: Instant, packets: &mut VecDeque<Packet>) -> Result<usize, QueueError> {
        if !self.flush(now)? {
            self.tx_full += u64::from(!packets.is_empty());
            return Ok(0);
        }
        if !self.options.tx {
            return self.inner.tx_burst(now, packets);
        }
        let count = packets.len();
        for packet in packets.drain(..) {
            match self.inner.capabilities().check(&packet) {
                Ok(()) => self.tx.admit(now, packet, &self.copies),
                Err(_) => self.tx_refused += 1,
            }
        }
        self.flush(now)?;
        Ok(count)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Readiness<'_> {
        self.inner.poll_ready(cx)
    }

    fn deadline(&self) -> Option<Instant> {
        [self.inner.deadline(), self.rx.deadline(), self.tx.deadline()].into_iter().flatten().min()
    }

    fn counters(&self) -> Counters {
        let inner = self.inner.counters();
        Counters { tx_refused: inner.tx_refused + self.tx_refused, tx_full: inner.tx_full + self.tx_full, ..inner }
    }

    fn free_unused_memory(&mut self) {
        self.fresh.shrink_to_fit();
        self.ready.shrink_to_fit();
        self.inner.free_unused_memory();
    }
}
