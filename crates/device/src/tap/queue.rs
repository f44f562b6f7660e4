//! One queue of a TAP: a descriptor, from which each read takes a packet and each write gives one.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use sunstar_executor::Instant;
use sunstar_packet::{BufferMut, MAX_BUFFERS, Packet, Pool};

use sunstar_virtio::net::{self, HEADER_BYTES};

use super::sys;
use crate::capabilities::Capabilities;
use crate::queue::{AttachError, Counters, Queue, QueueError, Readiness};

/// How long a queue that found no frame waits until it tries again: nobody tells when frames come back.
const STARVED_WAIT: Duration = Duration::from_millis(1);

/// A queue of a [`Tap`](super::Tap), of which one shard has it. The kernel copies each packet once, either way.
pub(super) struct TapQueue {
    file: File,
    capabilities: Capabilities,
    pool: Rc<Pool>,
    /// Frames for the next packet: enough for the longest, if the pool has as many. Which of them it takes shows afterwards.
    frames: Vec<BufferMut>,
    frames_wanted: usize,
    /// Whether the last burst left packets behind.
    is_full: bool,
    /// When to try to get frames again.
    retry_at: Option<Instant>,
    counters: Counters,
}

/// What came of an attempt to receive.
enum Received {
    Packet(Packet),
    /// One that was dropped and counted.
    Dropped,
    Nothing,
}

/// What came of an attempt to send.
enum Sent {
    Done,
    Full,
    /// Not, and it won't be.
    Refused,
    /// Not now, and nobody waits.
    Dropped,
}

impl TapQueue {
    pub(super) fn new(file: File, capabilities: Capabilities, pool: Rc<Pool>) -> Result<Self, AttachError> {
        let first = pool.take().ok_or(AttachError::NoFrame)?;
        let frame_bytes = first.tailroom();
        // One byte more, so that what fills all of them is known to have been cut.
        let max_packet_bytes = capabilities.max_rx_bytes();
        let frames_wanted = (max_packet_bytes + 1).checked_div(frame_bytes).map_or(usize::MAX, |whole| whole + 1);
        if frames_wanted > MAX_BUFFERS {
            return Err(AttachError::FramesTooSmall { frame_bytes, max_packet_bytes, max_buffers: MAX_BUFFERS });
        }
        let frames = vec![first];
        let counters = Counters::default();
        Ok(Self { file, capabilities, pool, frames, frames_wanted, is_full: false, retry_at: None, counters })
    }

    /// Receives one packet, if there is one.
    fn receive(&mut self) -> io::Result<Received> {
        let mut header = [0; HEADER_BYTES];
        let total = match sys::read_packet(&self.file, &mut header, &mut self.frames) {
            Ok(total) => total,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Received::Nothing),
            Err(error) => return Err(error),
        };
        let used = self.frames.iter().take_while(|frame| !frame.is_empty()).count();
        let was_cut = used == self.frames.len() && self.frames.last().is_some_and(|frame| frame.tailroom() == 0);
        if was_cut {
            self.counters.rx_truncated += 1;
            self.frames.iter_mut().for_each(|frame| frame.truncate(0));
            return Ok(Received::Dropped);
        }
        let mut packet = Packet::new();
        for frame in self.frames.drain(..used) {
            packet.push_back(frame.freeze()).expect("as many frames are wanted as a packet may have");
        }
        match net::decode(&header, &packet) {
            Ok(offload) if total > HEADER_BYTES => packet.offload = offload,
            _ => {
                self.counters.rx_malformed += 1;
                return Ok(Received::Dropped);
            }
        }
        Ok(Received::Packet(packet))
    }

    /// Completes the frames; answers whether there is any.
    fn refill(&mut self, now: Instant) -> bool {
        while self.frames.len() < self.frames_wanted {
            let Some(frame) = self.pool.take() else { break };
            self.frames.push(frame);
        }
        if self.frames.is_empty() {
            self.counters.rx_no_frames += 1;
            self.retry_at = Some(now + STARVED_WAIT);
        }
        !self.frames.is_empty()
    }

    fn send(&mut self, packet: &Packet) -> Result<Sent, QueueError> {
        let Ok(header) = net::encode(&packet.offload) else { return Ok(Sent::Refused) };
        let mut slices = [IoSlice::new(&[]); MAX_BUFFERS + 1];
        slices[0] = IoSlice::new(&header);
        for (slice, buffer) in slices[1..].iter_mut().zip(packet.buffers()) {
            *slice = IoSlice::new(buffer);
        }
        match (&self.file).write_vectored(&slices[..=packet.buffers().len()]) {
            Ok(written) => {
                debug_assert_eq!(written, HEADER_BYTES + packet.len(), "the kernel takes whole packets");
                Ok(Sent::Done)
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN) => Ok(Sent::Full),
                Some(libc::EBADFD) => Err(QueueError::Gone),
                Some(libc::EINVAL | libc::EMSGSIZE) => Ok(Sent::Refused),
                // The link is down (EIO), or there is no memory.
                _ => Ok(Sent::Dropped),
            },
        }
    }
}

impl Queue for TapQueue {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn rx_burst(&mut self, now: Instant, out: &mut VecDeque<Packet>, max: usize) -> Result<usize, QueueError> {
        self.retry_at = None;
        let mut count = 0;
        for _ in 0..max {
            if !self.refill(now) {
                break;
            }
            match self.receive() {
                Ok(Received::Nothing) => break,
                Ok(Received::Dropped) => {}
                Ok(Received::Packet(packet)) => {
                    self.counters.rx_packets += 1;
                    self.counters.rx_bytes += packet.len() as u64;
                    out.push_back(packet);
                    count += 1;
                }
                // What came before is not lost; the error comes again.
                Err(_) if count > 0 => break,
                Err(error) if matches!(error.raw_os_error(), Some(libc::EBADFD | libc::EIO)) => {
                    return Err(QueueError::Gone);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(count)
    }

    fn tx_burst(&mut self, _now: Instant, packets: &mut VecDeque<Packet>) -> Result<usize, QueueError> {
        self.is_full = false;
        let mut count = 0;
        while let Some(packet) = packets.front() {
            let sent = match self.capabilities.check(packet) {
                Ok(()) => self.send(packet)?,
                Err(_) => Sent::Refused,
            };
            match sent {
                Sent::Done => {
                    self.counters.tx_packets += 1;
                    self.counters.tx_bytes += packet.len() as u64;
                }
                Sent::Full => {
                    self.is_full = true;
                    self.counters.tx_full += 1;
                    break;
                }
                Sent::Refused => self.counters.tx_refused += 1,
                Sent::Dropped => self.counters.tx_dropped += 1,
            }
            packets.pop_front();
            count += 1;
        }
        Ok(count)
    }

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Readiness<'_> {
        // Without a frame nothing can be received, and the descriptor would stay readable.
        Readiness::Descriptor { fd: self.file.as_fd(), readable: self.retry_at.is_none(), writable: self.is_full }
    }

    fn deadline(&self) -> Option<Instant> {
        self.retry_at
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    fn free_unused_memory(&mut self) {
        // They may lie anywhere in the pool. The next packet gets others.
        self.frames.clear();
    }
}

impl fmt::Debug for TapQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TapQueue").field("counters", &self.counters).finish_non_exhaustive()
    }
}
