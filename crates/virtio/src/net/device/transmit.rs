//! The queue that a driver transmits by.

use alloc::collections::VecDeque;

use smallvec::SmallVec;
use sunstar_packet::{BufferMut, Checksum, MAX_BUFFERS, Packet, Pool};

use super::{DeviceRing, FROM_DRIVER, bytes_of};
use crate::memory::Window;
use crate::net::header::{HEADER_BYTES, decode, is_plain};
use crate::queue::{Broken, Chain, Single, Taken, pieces};

/// When so many bytes were copied, no further packet is taken in the same burst.
const MAX_BURST_BYTES: u64 = 128 << 10;

/// The device's side of the queue that a driver transmits by (`transmitq`, virtio 1.2 §5.1.6.2).
#[derive(Debug)]
pub struct TransmitRing {
    ring: DeviceRing,
    /// The chain that is looked at.
    chain: Chain,
}

/// What a burst has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Took {
    /// Packets, each of which was copied once.
    pub packets: usize,
    /// Bytes of those.
    pub bytes: u64,
    /// Chains that break a rule, and packets whose header makes no sense or asks for what was not negotiated. They were dropped.
    pub malformed: u64,
    /// Packets that are longer than they may be. They were dropped.
    pub too_long: u64,
    /// Whether it stopped because the pool had no frame. Nothing was lost by that.
    pub is_starved: bool,
    /// Whether the driver has to be told.
    pub has_to_tell: bool,
}

/// What came of a chain.
enum Copied {
    Packet(Packet),
    Malformed,
    TooLong,
    NoFrame,
}

/// What came of the next chain, if there is nothing special about it.
enum Plain {
    /// It was taken and given back, and this is what was in it.
    Packet(BufferMut),
    /// It is still there.
    NoFrame,
    /// There is, or there is none.
    Not,
}

impl TransmitRing {
    /// Takes packets out of that ring.
    pub fn new(ring: DeviceRing) -> Self {
        Self { ring, chain: Chain::default() }
    }

    /// What is common to rings.
    pub fn ring(&mut self) -> &mut DeviceRing {
        &mut self.ring
    }

    /// Puts the packets of up to `max` chains behind those in `out`, in frames of `pool`; fewer if they are large, since whoever gets them
    /// is to work on them while the driver makes the next ones. Packets have at most `max_bytes`.
    ///
    /// # Errors
    /// If what the driver has written makes no sense. What was put into `out` before stays there.
    pub fn take(
        &mut self,
        pool: &Pool,
        max_bytes: usize,
        max: usize,
        out: &mut VecDeque<Packet>,
    ) -> Result<Took, Broken> {
        let mut took = Took::default();
        for _ in 0..max {
            if took.bytes >= MAX_BURST_BYTES {
                break;
            }
            match self.take_plain(pool, max_bytes) {
                Plain::Packet(frame) => {
                    took.packets += 1;
                    took.bytes += frame.len() as u64;
                    out.push_back(Packet::from(frame.freeze()));
                    continue;
                }
                Plain::NoFrame => {
                    if planted::is("virtio_net_starved_lost") {
                        self.ring.queue.take_single();
                    }
                    took.is_starved = true;
                    break;
                }
                Plain::Not => {}
            }
            match self.ring.queue.take(&self.ring.map, &mut self.chain)? {
                Taken::Nothing => break,
                Taken::Refused(_) => took.malformed += 1,
                Taken::Chain => match self.copy(pool, max_bytes) {
                    Copied::Packet(packet) => {
                        took.packets += 1;
                        took.bytes += packet.len() as u64;
                        out.push_back(packet);
                    }
                    Copied::Malformed => took.malformed += 1,
                    Copied::TooLong => took.too_long += 1,
                    Copied::NoFrame => {
                        if !planted::is("virtio_net_starved_lost") {
                            self.ring.queue.untake(&[self.chain.id()]);
                        }
                        took.is_starved = true;
                        break;
                    }
                },
            }
            self.ring.queue.put_used(self.chain.id(), 0);
        }
        took.has_to_tell = self.ring.queue.publish();
        Ok(took)
    }

    /// Gives up to `max` chains back without looking at what is in them. Answers whether the driver has to be told.
    ///
    /// # Errors
    /// If what the driver has written makes no sense.
    pub fn discard(&mut self, max: usize) -> Result<bool, Broken> {
        for _ in 0..max {
            if self.ring.queue.take(&self.ring.map, &mut self.chain)? == Taken::Nothing {
                break;
            }
            self.ring.queue.put_used(self.chain.id(), 0);
        }
        Ok(self.ring.queue.publish())
    }

    /// Takes and gives back the next chain if there is nothing special about it, as about most: one descriptor, a packet that fits into a frame,
    /// and nothing that the device has to do for it. All others are left for whom it concerns.
    #[inline]
    fn take_plain(&mut self, pool: &Pool, max_bytes: usize) -> Plain {
        let DeviceRing { queue, map, .. } = &mut self.ring;
        let Some(Single { id, segment }) = queue.peek(false) else { return Plain::Not };
        let Some((header, content)) = map.window(segment).and_then(Window::split_first) else { return Plain::Not };
        if !is_plain(&header) || content.len() == 0 || content.len() > max_bytes {
            return Plain::Not;
        }
        let Some(mut frame) = pool.take() else { return Plain::NoFrame };
        if !content.append_to(&mut frame) {
            return Plain::Not;
        }
        queue.take_single();
        queue.put_used(id, 0);
        Plain::Packet(frame)
    }

    /// Copies the packet of the chain.
    fn copy(&self, pool: &Pool, max_bytes: usize) -> Copied {
        let Some(len) = bytes_of(self.chain.readable()).checked_sub(HEADER_BYTES).filter(|len| *len > 0) else {
            return Copied::Malformed;
        };
        if len > max_bytes {
            return Copied::TooLong;
        }
        let mut frames = SmallVec::<[BufferMut; 2]>::new();
        let mut room = 0;
        while room < len {
            if frames.len() == MAX_BUFFERS {
                return Copied::TooLong;
            }
            let Some(frame) = pool.take() else { return Copied::NoFrame };
            room += frame.tailroom();
            frames.push(frame);
        }
        let mut header = [0; HEADER_BYTES];
        self.chain.read(&self.ring.map, 0, &mut header);
        self.fill(&mut frames, len);
        let mut packet = Packet::new();
        for frame in frames {
            // There are no more than a packet may have.
            let _ = packet.push_back(frame.freeze());
        }
        match decode(&header, &packet) {
            Ok(offload) if FROM_DRIVER.are_met(&offload, self.ring.features) => packet.offload = offload,
            _ => return Copied::Malformed,
        }
        // Whoever transmits has verified nothing (§5.1.6.2.1).
        if packet.offload.checksum == Checksum::Verified && !planted::is("virtio_net_verified_believed") {
            packet.offload.checksum = Checksum::Complete;
        }
        Copied::Packet(packet)
    }

    /// Copies `len` bytes behind the header into frames that have room for them.
    fn fill(&self, frames: &mut [BufferMut], len: usize) {
        let mut frames = frames.iter_mut();
        let Some(mut frame) = frames.next() else { return };
        for (part, from, mut left) in pieces(self.chain.readable(), HEADER_BYTES, len) {
            let memory = &self.ring.map.ranges()[usize::from(part.range)].memory;
            let mut offset = part.offset + from;
            while left > 0 {
                if frame.tailroom() == 0 {
                    let Some(next) = frames.next() else { return };
                    frame = next;
                }
                let piece = left.min(frame.tailroom());
                memory.append_to(offset, piece, frame);
                (offset, left) = (offset + piece, left - piece);
            }
        }
    }
}
