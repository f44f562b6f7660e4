//! A queue that does not let unread bytes keep all frames.

use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::task::Context;

use sunstar_device::{Capabilities, Counters, Queue, QueueError, Readiness};
use sunstar_executor::Instant;
use sunstar_packet::{Buffer, CopyCounter, Packet, Pool};

/// A queue whose packets are copied to memory of their own size while more than half of the frames are held: by bytes that
/// applications don't read, each of which may hold a whole frame. So there is always a frame for what comes, acknowledgements among
/// it, and what is held is bounded by the windows of the connections.
pub struct Frames<Q> {
    inner: Q,
    pool: Rc<Pool>,
    half: usize,
    copies: CopyCounter,
}

impl<Q: Queue> Frames<Q> {
    /// For a queue that receives into frames of `pool`, which has at most `limit_frames`.
    pub fn new(inner: Q, pool: Rc<Pool>, limit_frames: usize) -> Self {
        Self { inner, pool, half: limit_frames / 2, copies: CopyCounter::default() }
    }

    /// What was copied.
    pub const fn copies(&self) -> &CopyCounter {
        &self.copies
    }
}

/// The same packet in memory of its own size.
pub(crate) fn copy_of(packet: &Packet, copies: &CopyCounter) -> Packet {
    let mut bytes = vec![0; packet.len()];
    copies.count(bytes.len());
    // It is as long as the packet.
    let _ = packet.copy_to_slice(0, &mut bytes);
    let mut copy = Packet::from(Buffer::from(bytes));
    copy.offload = packet.offload;
    copy
}

impl<Q: Queue> Queue for Frames<Q> {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn rx_burst(&mut self, now: Instant, out: &mut VecDeque<Packet>, max: usize) -> Result<usize, QueueError> {
        let before = out.len();
        let result = self.inner.rx_burst(now, out, max);
        if self.pool.counters().in_use_frames > self.half {
            for packet in out.iter_mut().skip(before) {
                *packet = copy_of(packet, &self.copies);
            }
        }
        result
    }

    fn tx_burst(&mut self, now: Instant, packets: &mut VecDeque<Packet>) -> Result<usize, QueueError> {
        self.inner.tx_burst(now, packets)
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
        self.pool.free_unused_memory();
    }
}

impl<Q> fmt::Debug for Frames<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").field("half", &self.half).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use sunstar_device::{LinkOptions, link};
    use sunstar_packet::PoolOptions;

    use super::*;

    #[test]
    fn frames_of_a_peak_are_given_back() {
        let options = PoolOptions { frame_bytes: 2_048, headroom_bytes: 0, limit_frames: 4_096 };
        let pool = Rc::new(Pool::new(options).expect("there is memory"));
        let (_here, there) = link(LinkOptions::default());
        let mut there = Frames::new(there, Rc::clone(&pool), options.limit_frames);
        let peak: Vec<_> = (0..4_096).map_while(|_| pool.take()).collect();
        assert_eq!(peak.len(), 4_096);
        drop(peak);
        assert!(pool.counters().reserved_bytes > 4_096 * 2_048);
        there.free_unused_memory();
        assert_eq!(pool.counters().reserved_bytes, 0);
    }

    #[test]
    fn packets_leave_their_frames_when_more_than_half_are_held() {
        let options = PoolOptions { frame_bytes: 2_048, headroom_bytes: 0, limit_frames: 4 };
        let pool = Rc::new(Pool::new(options).expect("there is memory"));
        let (mut here, there) = link(LinkOptions::default());
        let mut there = Frames::new(there, Rc::clone(&pool), options.limit_frames);
        let mut held = Vec::new();
        for copied in [0, 0, 1, 2] {
            let mut frame = pool.take().expect("there is a free one");
            frame.extend_from_slice(b"a packet").expect("it fits");
            let sent = Packet::from(frame.freeze());
            held.push(sent.buffers()[0].clone());
            here.tx_burst(Instant::ORIGIN, &mut VecDeque::from([sent])).expect("the link is there");
            let mut arrived = VecDeque::new();
            there.rx_burst(Instant::ORIGIN, &mut arrived, 1).expect("the link is there");
            assert_eq!(arrived[0].buffers()[0], b"a packet");
            assert_eq!(there.copies().copies(), copied);
        }
    }
}
