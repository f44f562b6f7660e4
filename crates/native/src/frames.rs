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
/// it, and what is held is bounded by the windows of the connections. Of frames that the queue has for long packets half of those
/// counts ([`Queue::is_short_of_large_frames`]), and only what lies in such is copied then.
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
        let frames = self.pool.counters();
        // Of those that are left, if some were retired.
        let kept_bytes = if frames.in_use_frames > self.half + frames.retired_frames / 2 {
            0
        } else if self.inner.is_short_of_large_frames() {
            self.pool.frame_memory_bytes()
        } else {
            return result;
        };
        let keeps_more = |buffer: &Buffer| kept_bytes == 0 || buffer.kept_bytes() > kept_bytes;
        for packet in out.iter_mut().skip(before).filter(|packet| packet.buffers().iter().any(keeps_more)) {
            *packet = copy_of(packet, &self.copies);
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

    fn is_short_of_large_frames(&self) -> bool {
        self.inner.is_short_of_large_frames()
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

    #[test]
    fn packets_stay_in_their_frames_when_others_were_retired() {
        let options = PoolOptions { frame_bytes: 2_048, headroom_bytes: 0, limit_frames: 8 };
        let pool = Rc::new(Pool::new(options).expect("there is memory"));
        let (mut here, there) = link(LinkOptions::default());
        let mut there = Frames::new(there, Rc::clone(&pool), options.limit_frames);
        (0..4).for_each(|_| pool.take().expect("there is a free one").freeze().retire());
        let mut held = Vec::new();
        for copied in [0, 0, 1] {
            let mut frame = pool.take().expect("there is a free one");
            frame.extend_from_slice(b"a packet").expect("it fits");
            let sent = Packet::from(frame.freeze());
            held.push(sent.buffers()[0].clone());
            here.tx_burst(Instant::ORIGIN, &mut VecDeque::from([sent])).expect("the link is there");
            there.rx_burst(Instant::ORIGIN, &mut VecDeque::new(), 1).expect("the link is there");
            assert_eq!(there.copies().copies(), copied);
        }
    }

    /// A queue that hands out what is put into it, and says that it is short of large frames.
    struct Short(VecDeque<Packet>, Capabilities);

    impl Queue for Short {
        fn capabilities(&self) -> &Capabilities {
            &self.1
        }

        fn rx_burst(&mut self, _: Instant, out: &mut VecDeque<Packet>, _: usize) -> Result<usize, QueueError> {
            let count = self.0.len();
            out.append(&mut self.0);
            Ok(count)
        }

        fn tx_burst(&mut self, _: Instant, _: &mut VecDeque<Packet>) -> Result<usize, QueueError> {
            Ok(0)
        }

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Readiness<'_> {
            Readiness::Ready
        }

        fn counters(&self) -> Counters {
            Counters::default()
        }

        fn is_short_of_large_frames(&self) -> bool {
            true
        }
    }

    #[test]
    fn packets_leave_large_frames_when_the_queue_is_short_of_them_however_few_bytes_they_have() {
        let options = PoolOptions { frame_bytes: 2_048, headroom_bytes: 64, limit_frames: 8 };
        let pool = Rc::new(Pool::new(options).expect("there is memory"));
        let large = Pool::new(PoolOptions { frame_bytes: 32_768, ..options }).expect("there is memory");
        let frame = |pool: &Pool| {
            let mut frame = pool.take().expect("there is a free one");
            frame.extend_from_slice(b"few bytes").expect("they fit");
            frame.freeze()
        };
        let mut both = Packet::from(frame(&pool));
        both.push_back(frame(&large)).expect("there is room");
        let packets = VecDeque::from([Packet::from(frame(&pool)), Packet::from(frame(&large)), both]);
        let (here, _there) = link(LinkOptions::default());
        let short = Short(packets, here.capabilities().clone());
        let mut frames = Frames::new(short, Rc::clone(&pool), options.limit_frames);
        let mut arrived = VecDeque::new();
        frames.rx_burst(Instant::ORIGIN, &mut arrived, 8).expect("it works");
        assert_eq!((frames.copies().copies(), large.counters().in_use_frames), (2, 0));
        assert_eq!(pool.counters().in_use_frames, 1, "what lies in a small one stays there");
        assert_eq!(arrived[2].buffers()[0], b"few bytesfew bytes");
    }
}
