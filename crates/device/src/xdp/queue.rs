//! One queue of an interface: a socket, its frames, and on the first queue what comes for everybody.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use sunstar_executor::Instant;
use sunstar_packet::{BufferMut, Checksum, Packet, Pool, prefetch};

use super::attached::Attached;
use super::beside::Beside;
use super::chunks::Chunks;
use super::group::{Both, GroupSocket, Received};
use super::kernel_watch::KernelWatch;
use super::posting::Posting;
use super::ring::MORE;
use super::sending::{Flushed, Left, Means, Sending, flush};
use super::socket::{Rings, Socket};
use crate::capabilities::Capabilities;
use crate::queue::{AttachError, Counters, Queue, QueueError, Readiness};

/// How long a queue waits that found no frame, or whose packets the kernel does not take: nobody tells when to go on.
pub(super) const RETRY_WAIT: Duration = Duration::from_millis(1);

/// How often an interface that is down is looked at: nobody tells when it is up again, or deleted.
pub(super) const DOWN_WAIT: Duration = Duration::from_millis(100);

/// After so many bursts a queue that has waited no longer does: its shard is awake and looks by itself. Shards that sleep soon after each packet
/// are spared two system calls.
const AWAKE_BURSTS: u32 = 32;

/// While there is always something in the ring, what comes for everybody is looked for in every so many bursts only, since that is a system
/// call. It has a place then.
const GROUP_BURSTS: u32 = 16;

/// Of what is received the stack soon looks at so many bytes.
const HEADERS_BYTES: usize = 128;

/// What a queue is made of when it comes to its shard.
pub(super) struct Parts {
    pub(super) socket: Socket,
    pub(super) rings: Rings,
    /// Who sends by other sockets of the same queue.
    pub(super) beside: Arc<Beside>,
    /// On the first one.
    pub(super) group: Option<(GroupSocket, KernelWatch)>,
    pub(super) attached: Arc<Attached>,
    pub(super) chunk_bytes: usize,
    /// What is said of the checksums of packets that are received.
    pub(super) checksum: Checksum,
}

/// A queue of an [`Xdp`](super::Xdp).
pub(super) struct XdpQueue {
    /// Is closed before the frames go.
    socket: Socket,
    rings: Rings,
    chunks: Chunks,
    beside: Arc<Beside>,
    posting: Posting,
    group: Option<(GroupSocket, KernelWatch, Both)>,
    capabilities: Capabilities,
    checksum: Checksum,
    pool: Rc<Pool>,
    sending: Sending,
    /// Whether the last burst left packets behind.
    is_full: bool,
    /// Whether the rest of a packet that was too long for a frame is still to come.
    is_within: bool,
    /// A frame for what comes for everybody.
    spare: Option<BufferMut>,
    /// Whether there was none.
    is_starved: bool,
    is_down: bool,
    /// Bursts of receiving since the shard was last about to sleep.
    bursts: u32,
    retry_at: Option<Instant>,
    counters: Counters,
    /// What gives the socket its frames, until the last queue is gone.
    _attached: Arc<Attached>,
}

impl XdpQueue {
    pub(super) fn new(parts: Parts, capabilities: Capabilities, pool: Rc<Pool>) -> Result<Self, AttachError> {
        let Parts { socket, rings, beside, group, attached, chunk_bytes, checksum } = parts;
        let group = match group {
            Some((group, watch)) => {
                let both = Both::new(&group, &watch).map_err(|_| AttachError::NoDescriptor)?;
                Some((group, watch, both))
            }
            None => None,
        };
        let chunks = Chunks::new(Arc::clone(&socket.memory), chunk_bytes);
        let mut queue = Self {
            socket,
            rings,
            chunks,
            beside,
            posting: Posting::new(),
            group,
            capabilities,
            checksum,
            pool,
            sending: Sending::new(),
            is_full: false,
            is_within: false,
            spare: None,
            is_starved: false,
            is_down: false,
            bursts: 0,
            retry_at: None,
            counters: Counters::default(),
            _attached: attached,
        };
        let first = queue.pool.take().ok_or(AttachError::NoFrame)?;
        let (frame_bytes, max_packet_bytes) = (first.tailroom(), queue.capabilities.max_rx_bytes());
        if frame_bytes < max_packet_bytes {
            return Err(AttachError::FramesTooSmall { frame_bytes, max_packet_bytes, max_buffers: 1 });
        }
        queue.post(first).map_err(|_| AttachError::OtherMemory)?;
        queue.refill(Instant::ORIGIN);
        queue.spare = queue.group.as_ref().and_then(|_| queue.pool.take());
        Ok(queue)
    }

    /// Has the kernel receive into a frame, for which there is room.
    fn post(&mut self, frame: BufferMut) -> Result<(), BufferMut> {
        let address = self.chunks.post(frame)?;
        self.rings.fill.push(address);
        Ok(())
    }

    /// Gives the kernel frames to receive into, as many as should wait.
    fn refill(&mut self, now: Instant) {
        let waiting = self.rings.fill.waiting();
        let wanted = self.posting.target(waiting).saturating_sub(waiting);
        for _ in 0..self.rings.fill.room(wanted).min(wanted) {
            let Some(frame) = self.pool.take() else { break };
            if self.post(frame).is_err() {
                break;
            }
        }
        self.rings.fill.publish();
        if self.chunks.posted() == 0 {
            self.counters.rx_no_frames += 1;
            self.retry_after(now, RETRY_WAIT);
        }
        if self.rings.fill.needs_wakeup() {
            self.socket.kick_rx();
        }
    }

    /// Takes back what was sent.
    fn reap(&mut self) {
        while let Some(address) = self.rings.completion.pop() {
            let is_known = self.chunks.sent(address) || self.beside.note(address);
            debug_assert!(is_known, "the kernel has sent what it was told to");
        }
        self.rings.completion.release();
    }

    /// Receives what came for everybody; answers how many packets.
    fn receive_group(&mut self, now: Instant, out: &mut VecDeque<Packet>, max: usize) -> Result<usize, QueueError> {
        let Some((group, watch, _)) = &mut self.group else { return Ok(0) };
        watch.look(now, self.bursts == 1);
        let mut count = 0;
        self.is_starved = false;
        while count < max {
            self.spare = self.spare.take().or_else(|| self.pool.take());
            if self.spare.is_none() {
                self.is_starved = true;
                self.counters.rx_no_frames += 1;
                self.retry_after(now, RETRY_WAIT);
                break;
            }
            match group.receive(&mut self.spare) {
                Ok(Received::Packet(packet)) => {
                    self.counters.rx_packets += 1;
                    self.counters.rx_bytes += packet.len() as u64;
                    out.push_back(packet);
                    count += 1;
                }
                Ok(Received::Malformed) => self.counters.rx_malformed += 1,
                Ok(Received::Nothing) => break,
                Ok(Received::Down) => {
                    self.is_down = true;
                    break;
                }
                Ok(Received::Gone) => return Err(QueueError::Gone),
                // What came before is not lost; the error comes again.
                Err(_) if count > 0 => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(count)
    }

    /// Counts a burst of receiving. After enough of them the shard is taken to be awake.
    fn note_burst(&mut self) {
        self.bursts = self.bursts.wrapping_add(1);
        if self.bursts == AWAKE_BURSTS
            && let Some((.., both)) = &mut self.group
        {
            both.disarm(self.socket.as_fd());
        }
    }

    /// Looks whether an interface that was down is up again, or gone.
    fn look_again(&mut self, now: Instant) -> Result<(), QueueError> {
        self.is_down = !self.socket.is_up()?;
        if self.is_down {
            self.retry_after(now, DOWN_WAIT);
        }
        Ok(())
    }

    fn retry_after(&mut self, now: Instant, wait: Duration) {
        let at = now + wait;
        self.retry_at = Some(self.retry_at.map_or(at, |other| other.min(at)));
    }
}

impl Queue for XdpQueue {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn rx_burst(&mut self, now: Instant, out: &mut VecDeque<Packet>, max: usize) -> Result<usize, QueueError> {
        self.retry_at = None;
        self.note_burst();
        self.reap();
        let is_turn_of_group = self.group.is_some() && self.bursts.is_multiple_of(GROUP_BURSTS);
        let max_by_ring = max.saturating_sub(usize::from(is_turn_of_group));
        let mut count = 0;
        while count < max_by_ring
            && let Some(piece) = self.rings.rx.pop()
        {
            let buffer = self.chunks.received(piece.address, piece.len);
            let has_more = piece.options & MORE != 0;
            if std::mem::replace(&mut self.is_within, has_more) {
                continue;
            }
            match buffer {
                Some(buffer) if !has_more && !buffer.is_empty() => {
                    self.counters.rx_packets += 1;
                    self.counters.rx_bytes += buffer.len() as u64;
                    // The kernel has written it on the sender's processor most often.
                    prefetch(&buffer[..buffer.len().min(HEADERS_BYTES)]);
                    let mut packet = Packet::from(buffer);
                    packet.offload.checksum = self.checksum;
                    out.push_back(packet);
                    count += 1;
                }
                Some(_) if has_more => self.counters.rx_truncated += 1,
                _ => self.counters.rx_malformed += 1,
            }
        }
        self.rings.rx.release();
        let asks_group = is_turn_of_group || count == 0 || self.is_starved;
        let result = if asks_group { self.receive_group(now, out, max - count) } else { Ok(0) };
        self.refill(now);
        // What came before is not lost; the error comes again.
        count += match result {
            Err(_) if count > 0 => 0,
            result => result?,
        };
        if self.is_down {
            match self.look_again(now) {
                Err(_) if count > 0 => self.retry_after(now, RETRY_WAIT),
                looked => looked?,
            }
        }
        Ok(count)
    }

    fn tx_burst(&mut self, now: Instant, packets: &mut VecDeque<Packet>) -> Result<usize, QueueError> {
        self.reap();
        let mut means = Means {
            socket: &mut self.socket,
            chunks: &mut self.chunks,
            pool: &self.pool,
            capabilities: &self.capabilities,
            counters: &mut self.counters,
            limit: usize::MAX,
            out: None,
        };
        let (count, left) = self.sending.put_all(&mut means, packets);
        self.is_full = left == Left::Full;
        if left == Left::NoFrame {
            self.retry_after(now, RETRY_WAIT);
        }
        match flush(&self.socket)? {
            Flushed::Done => {}
            Flushed::Refused => self.retry_after(now, RETRY_WAIT),
            Flushed::Down => {
                self.is_down = true;
                self.retry_after(now, DOWN_WAIT);
            }
        }
        Ok(count)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Readiness<'_> {
        let writable = self.is_full && !self.is_down;
        self.bursts = 0;
        if self.beside.keep(cx) {
            // Who has sent beside this queue may have called before.
            self.reap();
        }
        let Some((.., both)) = &mut self.group else {
            return Readiness::Descriptor { fd: self.socket.as_fd(), readable: true, writable };
        };
        if both.arm(self.socket.as_fd(), writable).is_err() {
            return Readiness::Ready;
        }
        // Without a frame nothing can be received for everybody, and the descriptor would stay readable.
        Readiness::Descriptor { fd: (*both).as_fd(), readable: !self.is_starved, writable: false }
    }

    fn deadline(&self) -> Option<Instant> {
        self.retry_at
    }

    fn counters(&self) -> Counters {
        let kernel = self.socket.statistics();
        let rx_dropped = kernel.map_or(0, |of| of.rx_dropped + of.rx_ring_full.unwrap_or(0));
        let reconnects = self.group.as_ref().map_or(0, |(_, watch, _)| watch.reconnects());
        Counters { rx_dropped, reconnects, ..self.counters }
    }

    fn free_unused_memory(&mut self) {
        self.spare = None;
    }
}

impl Drop for XdpQueue {
    fn drop(&mut self) {
        // A socket of copies is rid of its frames when it is closed, but for what a device is sending from where it lies. One that has all of them
        // is told later, and may write until then.
        self.reap();
        if self.socket.is_zero_copy || self.chunks.is_sending() {
            self.chunks.forget();
        }
    }
}

impl fmt::Debug for XdpQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("XdpQueue")
            .field("socket", &self.socket)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
