//! Captures: a queue whose packets, both ways, are written to a file.

mod blocks;
mod capture;

use std::collections::VecDeque;
use std::task::Context;

use sunstar_executor::Instant;
use sunstar_packet::Packet;

use crate::capabilities::Capabilities;
use crate::queue::{Counters, Queue, QueueError, Readiness};
use blocks::Way;
pub use capture::{Capture, CaptureOptions, MAX_WAITING_CHUNKS, Recorder};

#[cfg(test)]
mod tests;

/// A queue whose packets are recorded as the stack sees them: with partial checksums, and large where the device cuts them.
///
/// Packets that are sent are recorded when the queue behind takes them, also if it drops them then.
#[derive(Debug)]
pub struct Pcap<Q> {
    inner: Q,
    recorder: Recorder,
}

impl<Q: Queue> Pcap<Q> {
    /// Records what goes through a queue.
    pub const fn new(inner: Q, recorder: Recorder) -> Self {
        Self { inner, recorder }
    }

    /// Its recorder, which counts.
    pub const fn recorder(&self) -> &Recorder {
        &self.recorder
    }
}

impl<Q: Queue> Queue for Pcap<Q> {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn rx_burst(&mut self, now: Instant, out: &mut VecDeque<Packet>, max: usize) -> Result<usize, QueueError> {
        let before = out.len();
        let result = self.inner.rx_burst(now, out, max);
        for packet in out.iter().skip(before) {
            self.recorder.record(now, Way::Inbound, packet);
        }
        self.recorder.tick(now);
        result
    }

    fn tx_burst(&mut self, now: Instant, packets: &mut VecDeque<Packet>) -> Result<usize, QueueError> {
        // Once they are taken they are gone: their buffers are kept, not their bytes.
        let mut twins: VecDeque<Packet> = packets.iter().map(crate::edit::duplicate).collect();
        let result = self.inner.tx_burst(now, packets);
        twins.truncate(twins.len() - packets.len());
        for packet in &twins {
            self.recorder.record(now, Way::Outbound, packet);
        }
        self.recorder.tick(now);
        result
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Readiness<'_> {
        self.inner.poll_ready(cx)
    }

    fn deadline(&self) -> Option<Instant> {
        [self.inner.deadline(), self.recorder.deadline()].into_iter().flatten().min()
    }

    fn counters(&self) -> Counters {
        self.inner.counters()
    }

    fn free_unused_memory(&mut self) {
        self.inner.free_unused_memory();
    }
}
