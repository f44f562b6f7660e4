//! What a shard's driver counts.

use std::cell::Cell;

use crate::context;

/// A shard's input and output since its start, in numbers.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct IoStats {
    /// System calls that the driver made for sockets and to wait.
    pub system_calls: u64,
    /// Connections that were accepted.
    pub accepted: u64,
    /// Attempts to accept that failed.
    pub accept_failures: u64,
    /// Connections that were made.
    pub connected: u64,
    /// Bytes received by streams and datagram sockets.
    pub received_bytes: u64,
    /// Bytes that the kernel took to be sent.
    pub sent_bytes: u64,
    /// Received bytes that were copied to memory of their own, since too many of the driver's frames were lent.
    pub copied_out_bytes: u64,
    /// How often bytes came in when too many of the driver's frames were lent.
    pub short_frames: u64,
    /// Sends that leave the bytes where they are until the peer has them.
    pub zero_copy_sends: u64,
    /// Such sends of which the kernel said that it had to copy after all.
    pub zero_copies_in_vain: u64,
    /// Chunks of files that were not in memory when they were to be sent, so that they were read beside the shard.
    pub cold_file_chunks: u64,
    /// How often the ring of completions was full, so that the kernel had to keep some elsewhere.
    pub completion_overflows: u64,
    /// Streams that were dropped and closed before all that they had to send was sent: the time was up, or the shard ended.
    pub cut_off_streams: u64,
    /// Datagrams that were dropped since they were too long to be received, or could not be sent. Those for which the kernel
    /// has no room when they come in are not among them; it counts them by itself (`RcvbufErrors` of `/proc/net/snmp`).
    pub dropped_datagrams: u64,
    /// Streams of which was noticed, while receiving, that the peer had reset them.
    pub resets: u64,
    /// Polls of the driver and of other sources that found something.
    pub events: u64,
    /// Sockets that are open now, those included that were dropped and still send.
    pub open_sockets: usize,
    /// Frames of the driver's that bytes received by streams lie in now.
    pub lent_frames: usize,
    /// The frames that the driver has for streams. When many of them are lent, bytes are copied out.
    pub frames: usize,
}

/// What a driver has in use at the moment.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct IoLevels {
    pub(crate) open_sockets: usize,
    pub(crate) lent_frames: usize,
    pub(crate) frames: usize,
}

/// A number that grows.
#[derive(Default)]
pub(crate) struct Counter(Cell<u64>);

impl Counter {
    #[inline]
    pub(crate) fn add(&self, count: u64) {
        self.0.set(self.0.get().wrapping_add(count));
    }
}

/// The counters behind [`IoStats`].
#[derive(Default)]
pub(crate) struct IoCounters {
    pub(crate) system_calls: Counter,
    pub(crate) accepted: Counter,
    pub(crate) accept_failures: Counter,
    pub(crate) connected: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) sent_bytes: Counter,
    pub(crate) copied_out_bytes: Counter,
    pub(crate) short_frames: Counter,
    pub(crate) zero_copy_sends: Counter,
    pub(crate) zero_copies_in_vain: Counter,
    pub(crate) cold_file_chunks: Counter,
    pub(crate) completion_overflows: Counter,
    pub(crate) cut_off_streams: Counter,
    pub(crate) dropped_datagrams: Counter,
    pub(crate) resets: Counter,
}

impl IoCounters {
    /// What has been counted.
    pub(crate) fn snapshot(&self) -> IoStats {
        IoStats {
            system_calls: self.system_calls.0.get(),
            accepted: self.accepted.0.get(),
            accept_failures: self.accept_failures.0.get(),
            connected: self.connected.0.get(),
            received_bytes: self.received_bytes.0.get(),
            sent_bytes: self.sent_bytes.0.get(),
            copied_out_bytes: self.copied_out_bytes.0.get(),
            short_frames: self.short_frames.0.get(),
            zero_copy_sends: self.zero_copy_sends.0.get(),
            zero_copies_in_vain: self.zero_copies_in_vain.0.get(),
            cold_file_chunks: self.cold_file_chunks.0.get(),
            completion_overflows: self.completion_overflows.0.get(),
            cut_off_streams: self.cut_off_streams.0.get(),
            dropped_datagrams: self.dropped_datagrams.0.get(),
            resets: self.resets.0.get(),
            ..IoStats::default()
        }
    }
}

/// The input and output of the calling shard, in numbers.
///
/// # Panics
/// If the calling thread is no shard's.
pub fn io_stats() -> IoStats {
    let stats = context::try_with(|context| {
        let driver = context.platform().driver();
        let IoLevels { open_sockets, lent_frames, frames } = driver.levels();
        IoStats {
            events: context.platform().events(),
            open_sockets,
            lent_frames,
            frames,
            ..driver.counters().snapshot()
        }
    });
    stats.expect("called on a shard of a runtime")
}
