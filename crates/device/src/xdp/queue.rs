//! One queue of an interface: a socket, its frames, and on the first queue what comes for everybody.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use rustix::io::Errno;
use sunstar_executor::Instant;
use sunstar_packet::{Buffer, BufferMut, Checksum, Packet, Pool, prefetch};

use super::attached::Attached;
use super::chunks::Chunks;
use super::group::{Both, GroupSocket, Received};
use super::kernel_watch::KernelWatch;
use super::pieces;
use super::posting::Posting;
use super::ring::{MORE, Piece};
use super::socket::Socket;
use crate::capabilities::Capabilities;
use crate::queue::{AttachError, Counters, Queue, QueueError, Readiness};

/// How long a queue waits that found no frame, or whose packets the kernel does not take: nobody tells when to go on.
const RETRY_WAIT: Duration = Duration::from_millis(1);

/// How often an interface that is down is looked at: nobody tells when it is up again, or deleted.
const DOWN_WAIT: Duration = Duration::from_millis(100);

/// What is shorter is copied beside what must be: that costs less than one more piece.
const MIN_PIECE_BYTES: usize = 256;

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
    chunks: Chunks,
    posting: Posting,
    group: Option<(GroupSocket, KernelWatch, Both)>,
    capabilities: Capabilities,
    checksum: Checksum,
    pool: Rc<Pool>,
    /// The pieces of the packet that is being sent; empty between calls.
    pieces: Vec<Buffer>,
    /// Whether something was copied behind the headers of the packet that is sent next, where it lies from then on.
    is_joined: bool,
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

/// What came of an attempt to send.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Put {
    Done,
    /// The ring is full.
    Full,
    /// There is no frame to copy to.
    NoFrame,
}

impl XdpQueue {
    pub(super) fn new(parts: Parts, capabilities: Capabilities, pool: Rc<Pool>) -> Result<Self, AttachError> {
        let Parts { socket, group, attached, chunk_bytes, checksum } = parts;
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
            chunks,
            posting: Posting::new(),
            group,
            capabilities,
            checksum,
            pool,
            pieces: Vec::with_capacity(pieces::MOST),
            is_joined: false,
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
        self.socket.fill.push(address);
        Ok(())
    }

    /// Gives the kernel frames to receive into, as many as should wait.
    fn refill(&mut self, now: Instant) {
        let waiting = self.socket.fill.waiting();
        let wanted = self.posting.target(waiting).saturating_sub(waiting);
        for _ in 0..self.socket.fill.room(wanted).min(wanted) {
            let Some(frame) = self.pool.take() else { break };
            if self.post(frame).is_err() {
                break;
            }
        }
        self.socket.fill.publish();
        if self.chunks.posted() == 0 {
            self.counters.rx_no_frames += 1;
            self.retry_after(now, RETRY_WAIT);
        }
        if self.socket.fill.needs_wakeup() {
            self.socket.kick_rx();
        }
    }

    /// Takes back what was sent.
    fn reap(&mut self) {
        while let Some(address) = self.socket.completion.pop() {
            let is_known = self.chunks.sent(address);
            debug_assert!(is_known, "the kernel has sent what it was told to");
        }
        self.socket.completion.release();
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
        match self.socket.kick() {
            Err(Errno::NXIO) => Err(QueueError::Gone),
            Err(Errno::NETDOWN) => {
                self.retry_after(now, DOWN_WAIT);
                Ok(())
            }
            _ => {
                self.is_down = false;
                Ok(())
            }
        }
    }

    fn retry_after(&mut self, now: Instant, wait: Duration) {
        let at = now + wait;
        self.retry_at = Some(self.retry_at.map_or(at, |other| other.min(at)));
    }

    /// Puts a packet, which the device can send, into the ring.
    fn put(&mut self, packet: &mut Packet) -> Put {
        if self.socket.tx.room(1) == 0 {
            return Put::Full;
        }
        let joined = packet.join_short(MIN_PIECE_BYTES, |buffer| self.chunks.has(buffer));
        self.counters.tx_copied_bytes += joined as u64;
        self.is_joined |= joined > 0;
        let put = match self.cut(packet) {
            Some(copied) => self.put_pieces(copied),
            None => Put::NoFrame,
        };
        self.pieces.clear();
        put
    }

    /// Puts the pieces of a packet into the ring, for which so many bytes were copied.
    fn put_pieces(&mut self, copied: usize) -> Put {
        let count = u32::try_from(self.pieces.len()).unwrap_or(u32::MAX);
        if self.socket.tx.room(count) < count {
            return Put::Full;
        }
        let mut left = self.pieces.len();
        for buffer in self.pieces.drain(..) {
            left -= 1;
            let len = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
            let address = self.chunks.send(buffer).expect("pieces are of this memory, and nobody receives into them");
            let options = if left > 0 { MORE } else { 0 };
            self.socket.tx.push(Piece { address, len, options });
        }
        let was_joined = std::mem::take(&mut self.is_joined);
        self.counters.tx_copies += u64::from(copied > 0 || was_joined);
        self.counters.tx_copied_bytes += copied as u64;
        Put::Done
    }

    /// Makes pieces of a packet: buffers in this memory, as they are, and copies of others. Answers how many bytes were copied; `None` if
    /// there is no frame for them.
    fn cut(&mut self, packet: &Packet) -> Option<usize> {
        let buffers = packet.buffers();
        let takes_pieces = self.takes_pieces(buffers);
        let mut copy: Option<BufferMut> = None;
        let mut copied = 0;
        for (place, buffer) in buffers.iter().enumerate() {
            let goes_along = copy.is_some() && buffer.len() < MIN_PIECE_BYTES;
            if takes_pieces && !goes_along && self.is_direct(buffers, place) {
                self.pieces.extend(copy.take().map(BufferMut::freeze));
                let mut rest = buffer.clone();
                while !rest.is_empty() {
                    self.pieces.push(self.chunks.split_piece(&mut rest));
                }
                continue;
            }
            if copy.is_none() {
                copy = Some(self.pool.take()?);
            }
            copy.as_mut()?.extend_from_slice(buffer).ok()?;
            copied += buffer.len();
        }
        self.pieces.extend(copy.map(BufferMut::freeze));
        Some(copied)
    }

    /// Whether a buffer can be a piece of its own: it lies in this memory, and is not short and before what must be copied.
    fn is_direct(&self, buffers: &[Buffer], place: usize) -> bool {
        let [buffer, behind @ ..] = &buffers[place..] else { return false };
        self.chunks.has(buffer)
            && (buffer.len() >= MIN_PIECE_BYTES || behind.first().is_none_or(|next| self.chunks.has(next)))
    }

    /// Whether the kernel takes as many pieces as a packet may be, with copies between those that can be sent as they lie.
    fn takes_pieces(&self, buffers: &[Buffer]) -> bool {
        let pieces = |place| self.is_direct(buffers, place).then(|| self.chunks.pieces(&buffers[place]));
        pieces::count((0..buffers.len()).map(pieces)) <= self.socket.max_pieces
    }

    /// Has the kernel send what is in the ring.
    fn flush(&mut self, now: Instant) -> Result<(), QueueError> {
        loop {
            let waiting = self.socket.tx.waiting();
            if waiting == 0 || !self.socket.tx.needs_wakeup() {
                return Ok(());
            }
            match self.socket.kick() {
                Ok(()) | Err(Errno::AGAIN | Errno::BUSY | Errno::NOBUFS) => {}
                Err(Errno::NXIO) => return Err(QueueError::Gone),
                Err(Errno::NETDOWN) => {
                    self.is_down = true;
                    self.retry_after(now, DOWN_WAIT);
                    return Ok(());
                }
                Err(error) => return Err(io::Error::from(error).into()),
            }
            // A device that has the frames itself goes on by itself. Else the kernel takes some at a time.
            if self.socket.is_zero_copy {
                return Ok(());
            }
            if self.socket.tx.waiting() == waiting {
                self.retry_after(now, RETRY_WAIT);
                return Ok(());
            }
        }
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
            && let Some(piece) = self.socket.rx.pop()
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
        self.socket.rx.release();
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
        self.is_full = false;
        self.reap();
        let mut count = 0;
        while let Some(packet) = packets.front_mut() {
            let len = packet.len() as u64;
            if self.capabilities.check(packet).is_err() {
                self.counters.tx_refused += 1;
            } else {
                match self.put(packet) {
                    Put::Done => {
                        self.counters.tx_packets += 1;
                        self.counters.tx_bytes += len;
                    }
                    put => {
                        self.is_full = put == Put::Full;
                        self.counters.tx_full += 1;
                        if put == Put::NoFrame {
                            self.retry_after(now, RETRY_WAIT);
                        }
                        break;
                    }
                }
            }
            packets.pop_front();
            count += 1;
        }
        self.socket.tx.publish();
        self.flush(now)?;
        Ok(count)
    }

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Readiness<'_> {
        let writable = self.is_full && !self.is_down;
        self.bursts = 0;
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
        // A socket of copies is rid of its frames when it is closed. A device that has them itself is told later, and may write until then.
        if self.socket.is_zero_copy {
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
