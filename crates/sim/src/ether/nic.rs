//! A host's device: where its shards find what has arrived, and put what is to be sent.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Context;

use sunstar_device::{Capabilities, Counters, Offloads, Queue, QueueError, Readiness, cut};
use sunstar_executor::Instant;
use sunstar_packet::{Checksum, Packet, Pool};
use sunstar_wire::MacAddr;

use super::Ether;
use super::frame::Frame;
use super::options::PortOptions;
use crate::world::ShardIo;

/// A host's device.
pub(super) struct Nic {
    pub(super) host: usize,
    /// Where its frames go.
    pub(super) up: usize,
    pub(super) options: PortOptions,
    capabilities: Capabilities,
    rings: RefCell<Vec<Ring>>,
}

/// What has arrived for a shard.
struct Ring {
    frames: VecDeque<Frame>,
    /// Whom to tell; none while the host is down.
    io: Option<Rc<ShardIo>>,
    overflowed: u64,
}

impl Nic {
    pub(super) fn new(host: usize, mac: MacAddr, up: usize, options: PortOptions) -> Self {
        let rx = Offloads { checksum: true, ..Offloads::NONE };
        let capabilities = Capabilities {
            mac,
            mtu_bytes: options.mtu_bytes,
            queues: options.queues,
            tx: options.tx_offloads,
            rx: if options.verifies_checksums { rx } else { Offloads::NONE },
            rss: None,
        };
        let ring = || Ring { frames: VecDeque::new(), io: None, overflowed: 0 };
        let rings = (0..options.queues.max(1)).map(|_| ring()).collect();
        Self { host, up, options, capabilities, rings: RefCell::new(rings) }
    }

    pub(super) fn mac(&self) -> [u8; 6] {
        self.capabilities.mac.0
    }

    /// A frame has arrived.
    pub(super) fn receive(&self, frame: Frame) {
        let mut rings = self.rings.borrow_mut();
        let count = rings.len() as u64;
        let queue = if count == 1 { 0 } else { usize::try_from(frame.flow() % count).unwrap_or(0) };
        let Ring { frames, io, overflowed } = &mut rings[queue];
        let Some(io) = io else { return };
        if frames.len() >= self.options.ring_frames {
            *overflowed += 1;
            return;
        }
        frames.push_back(frame);
        io.wake_shard();
    }

    /// The power is cut: what has arrived is gone, and so is what comes.
    pub(super) fn turn_off(&self) {
        for ring in self.rings.borrow_mut().iter_mut() {
            ring.frames.clear();
            ring.io = None;
        }
    }
}

/// A shard's queue of a device.
pub(crate) struct NicQueue {
    ether: Rc<Ether>,
    nic: Rc<Nic>,
    index: usize,
    pool: Rc<Pool>,
    counters: Counters,
    /// When there is room again for what was held back.
    full_until: Option<Instant>,
    /// Kept for its memory.
    scratch: Vec<u8>,
    pieces: Vec<Packet>,
}

impl NicQueue {
    /// The queue with a number, of the shard to which `io` and `pool` belong. From now on that is told of what arrives.
    pub(super) fn new(ether: Rc<Ether>, nic: Rc<Nic>, io: Rc<ShardIo>, index: usize, pool: Rc<Pool>) -> Self {
        nic.rings.borrow_mut()[index].io = Some(io);
        let (counters, scratch, pieces) = (Counters::default(), Vec::new(), Vec::new());
        Self { ether, nic, index, pool, counters, full_until: None, scratch, pieces }
    }

    fn packet(&mut self, frame: &Frame) -> Option<Packet> {
        let verifies = self.nic.options.verifies_checksums;
        let (bytes, checksum) = match frame.checksum {
            Checksum::Partial { .. } if verifies => (Rc::clone(&frame.bytes), Checksum::Verified),
            Checksum::Partial { .. } => (frame.completed(), Checksum::Complete),
            _ => (Rc::clone(&frame.bytes), Checksum::Complete),
        };
        let mut buffer = self.pool.take()?;
        buffer.extend_from_slice(&bytes).ok()?;
        let mut packet = Packet::from(buffer.freeze());
        packet.offload.checksum = checksum;
        Some(packet)
    }
}

impl Queue for NicQueue {
    fn capabilities(&self) -> &Capabilities {
        &self.nic.capabilities
    }

    fn rx_burst(&mut self, _now: Instant, out: &mut VecDeque<Packet>, max: usize) -> Result<usize, QueueError> {
        let mut count = 0;
        while count < max {
            let Some(frame) = self.nic.rings.borrow_mut()[self.index].frames.pop_front() else { break };
            let Some(packet) = self.packet(&frame) else {
                self.counters.rx_no_frames += 1;
                continue;
            };
            self.counters.rx_bytes += packet.len() as u64;
            out.push_back(packet);
            count += 1;
        }
        self.counters.rx_packets += count as u64;
        Ok(count)
    }

    fn tx_burst(&mut self, now: Instant, packets: &mut VecDeque<Packet>) -> Result<usize, QueueError> {
        let mut taken = 0;
        self.full_until = None;
        while !packets.is_empty() {
            self.full_until = self.ether.full_until(self.nic.up, now);
            if self.full_until.is_some() {
                self.counters.tx_full += 1;
                break;
            }
            let Some(packet) = packets.pop_front() else { break };
            taken += 1;
            if self.nic.capabilities.check(&packet).is_err() {
                self.counters.tx_refused += 1;
                continue;
            }
            self.counters.tx_packets += 1;
            self.counters.tx_bytes += packet.len() as u64;
            cut(packet, |piece| self.pieces.push(piece));
            for piece in self.pieces.drain(..) {
                let frame = Frame::of(&piece, self.nic.host, &mut self.scratch);
                self.ether.send(self.nic.up, frame);
            }
        }
        Ok(taken)
    }

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Readiness<'_> {
        // What arrives wakes the shard itself.
        let has_frames = !self.nic.rings.borrow()[self.index].frames.is_empty();
        if has_frames { Readiness::Ready } else { Readiness::Woken }
    }

    fn deadline(&self) -> Option<Instant> {
        self.full_until
    }

    fn counters(&self) -> Counters {
        let overflowed = self.nic.rings.borrow()[self.index].overflowed;
        Counters { rx_no_frames: self.counters.rx_no_frames + overflowed, ..self.counters }
    }

    fn free_unused_memory(&mut self) {
        self.pool.free_unused_memory();
    }
}
