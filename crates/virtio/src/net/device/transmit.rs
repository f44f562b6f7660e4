//! The queue that a driver transmits by.

use alloc::collections::VecDeque;

use smallvec::SmallVec;
use sunstar_packet::{BufferMut, Checksum, MAX_BUFFERS, Offload, Packet, Pool};

use super::{DeviceRing, FROM_DRIVER, bytes_of};
use crate::memory::Window;
use crate::net::LARGE_FROM_BYTES;
use crate::net::header::{HEADER_BYTES, decode, is_plain};
use crate::queue::{AHEAD, Broken, Chain, Single, Taken, pieces};

/// When so many bytes were copied, no further packet is taken in the same burst.
const MAX_BURST_BYTES: u64 = 128 << 10;

/// The device's side of the queue that a driver transmits by (`transmitq`, virtio 1.2 §5.1.6.2).
#[derive(Debug)]
pub struct TransmitRing {
    ring: DeviceRing,
    /// The chain that is looked at.
    chain: Chain,
    /// What was wrong behind chains that were taken.
    broken: Option<Broken>,
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

impl TransmitRing {
    /// Takes packets out of that ring.
    pub fn new(ring: DeviceRing) -> Self {
        Self { ring, chain: Chain::default(), broken: None }
    }

    /// What is common to rings.
    pub fn ring(&mut self) -> &mut DeviceRing {
        &mut self.ring
    }

    /// Puts the packets of up to `max` chains behind those in `out`, in frames of `pool`; fewer if they are large, since whoever gets them
    /// is to work on them while the driver makes the next ones. Long ones lie in frames of `large` as long as there are such
    /// ([`LARGE_FROM_BYTES`]), and all that `pool` has no frame for. Packets have at most `max_bytes`.
    ///
    /// # Errors
    /// If what the driver has written makes no sense: nothing has been taken. If something was taken before it, that is told as ever, and the
    /// next call fails.
    pub fn take(
        &mut self,
        pool: &Pool,
        large: Option<&Pool>,
        max_bytes: usize,
        max: usize,
        out: &mut VecDeque<Packet>,
    ) -> Result<Took, Broken> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        let mut took = Took::default();
        let mut left = max;
        while left > 0 && took.bytes < MAX_BURST_BYTES {
            let done = self.take_singles((pool, large), max_bytes, left, out, &mut took);
            if took.is_starved {
                break;
            }
            left -= done;
            if done > 0 {
                continue;
            }
            match self.ring.queue.take(&self.ring.map, &mut self.chain) {
                Ok(Taken::Nothing) => break,
                Err(error) if left == max => return Err(error),
                Err(error) => {
                    self.broken = Some(error);
                    break;
                }
                Ok(Taken::Refused(_)) => took.malformed += 1,
                Ok(Taken::Chain) => match self.copy(pool, large, max_bytes) {
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
            left -= 1;
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

    /// Takes and gives back the next chains, up to `max`, as long as there is nothing special about them, as about most: each is one descriptor
    /// with a packet that makes sense and fits into a frame. Answers how many there were; what comes next is left for whom it concerns.
    fn take_singles(
        &mut self,
        (pool, large): (&Pool, Option<&Pool>),
        max_bytes: usize,
        max: usize,
        out: &mut VecDeque<Packet>,
        took: &mut Took,
    ) -> usize {
        let DeviceRing { queue, map, features } = &mut self.ring;
        let mut singles = [Single::default(); AHEAD];
        let count = queue.peek(false, &mut singles[..max.min(AHEAD)]);
        let windows = singles.map(|single| map.window(single.segment).inspect(|window| window.prefetch(false)));
        for (done, (single, window)) in singles.iter().zip(windows).take(count).enumerate() {
            let Some((header, content)) = window.and_then(Window::split_first) else { return done };
            if content.len() == 0 || content.len() > max_bytes {
                return done;
            }
            let Some(mut frame) = pool.take().or_else(|| large.and_then(Pool::take)) else {
                if planted::is("virtio_net_starved_lost") {
                    queue.use_single(single, 0);
                }
                took.is_starved = true;
                return done;
            };
            if !content.append_to(&mut frame) {
                return done;
            }
            out.push_back(Packet::new());
            // Put together where it stays: it has more bytes than most packets.
            let Some(packet) = out.back_mut() else { return done };
            let _ = packet.push_back(frame.freeze());
            if !is_plain(&header) {
                let Some(offload) = offload(&header, packet, *features) else {
                    out.pop_back();
                    return done;
                };
                packet.offload = offload;
            }
            queue.use_single(single, 0);
            took.packets += 1;
            took.bytes += packet.len() as u64;
        }
        count
    }

    /// Copies the packet of the chain.
    fn copy(&self, pool: &Pool, large: Option<&Pool>, max_bytes: usize) -> Copied {
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
            let larger = || large.and_then(Pool::take);
            let is_long = len - room >= LARGE_FROM_BYTES;
            let frame = if is_long { larger().or_else(|| pool.take()) } else { pool.take().or_else(larger) };
            let Some(frame) = frame else { return Copied::NoFrame };
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
        let Some(offload) = offload(&header, &packet, self.ring.features) else { return Copied::Malformed };
        packet.offload = offload;
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

/// What a driver says of its packet, if that makes sense and was negotiated.
fn offload(header: &[u8; HEADER_BYTES], packet: &Packet, features: u64) -> Option<Offload> {
    let mut offload = decode(header, packet).ok().filter(|offload| FROM_DRIVER.are_met(offload, features))?;
    // Whoever transmits has verified nothing (§5.1.6.2.1).
    if offload.checksum == Checksum::Verified && !planted::is("virtio_net_verified_believed") {
        offload.checksum = Checksum::Complete;
    }
    Some(offload)
}
