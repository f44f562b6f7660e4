//! The driver's transmit queue (virtio 1.2 §5.1.6.2): packets that the device reads where they lie.

use alloc::sync::Arc;
use alloc::vec::Vec;

use sunstar_packet::{Buffer, BufferMut, CopyCounter, MAX_BUFFERS, OutOfMemory, Packet, Pool, PoolOptions};

use super::header::{HEADER_BYTES, encode};
use crate::memory::PacketMemory;
use crate::queue::{Broken, DriverQueue, Segment};

/// What has to be copied is put into frames of so many bytes, which hold any packet that is not large.
const FRAME_BYTES: usize = 2_112;

/// The longest packet that is sent, in bytes: the longest of IP behind an Ethernet header with two tags.
const MAX_PACKET_BYTES: usize = 65_535 + 22;

/// What is not longer is copied behind the headers, if these lie where the device sees them, rather than be a part of its own: one more part
/// costs more than that, mostly on the device's side.
pub const SHORT_BYTES: usize = 256;

/// So many parts has a chain at most: each buffer, what was copied before and behind each, and its header.
const MAX_PARTS: usize = parts(MAX_BUFFERS, MAX_PACKET_BYTES);

/// A ring for sending has as many descriptors at least.
pub const MIN_TRANSMIT_RING: u16 = 128;

const _: () = assert!(MAX_PARTS <= MIN_TRANSMIT_RING as usize, "a chain has room in the smallest ring");

/// At most as many parts has the chain of a packet of so many bytes, in so many buffers.
const fn parts(buffers: usize, bytes: usize) -> usize {
    // Frames that were filled, one that was not behind each buffer at the utmost, and one that begins with the header.
    bytes / FRAME_BYTES + buffers + 2
}

/// Hands packets to the device, each of them a chain: what lies in the memory that it sees as it lies there, and copies of the rest.
///
/// The header goes into the head room of the first buffer if nobody else sees that, otherwise into a frame, together with what has to be copied
/// behind it. What is short, as headers of other layers are, is copied with what must be copied next to it; if nothing must be, what is short
/// is copied behind the first buffer, where that has room. Buffers are held until the device has used them, and [`Transmitter::reclaim`] is called.
#[derive(Debug)]
pub struct Transmitter<M> {
    queue: DriverQueue,
    memory: Arc<M>,
    /// Where copies go.
    pool: Pool,
    limit_frames: usize,
    /// How many parts a chain may have that takes one descriptor of the ring.
    table: usize,
    /// What chains hold, by their numbers.
    held: Vec<Vec<Buffer>>,
    in_flight: usize,
    copies: CopyCounter,
    /// Empty between calls.
    segments: Vec<Segment>,
    frames: Vec<Buffer>,
}

/// Why a packet was not sent. Its bytes are as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsent {
    /// There is no room until the device has used something.
    #[error("the ring is full")]
    Full,
    /// It is longer than any packet may be, or its metadata can't be told.
    #[error("the packet can't be sent")]
    Refused,
    /// There is no memory for what has to be copied.
    #[error("there is no memory for copies")]
    NoMemory,
}

impl<M: PacketMemory + 'static> Transmitter<M> {
    /// Sends by a ring of `size` descriptors, at least [`MIN_TRANSMIT_RING`], with nothing in it. `table` is how many descriptors its
    /// tables have, 0 without such.
    ///
    /// # Errors
    /// If frames for copies can't be addressed.
    ///
    /// # Panics
    /// If the ring is smaller.
    pub fn new(queue: DriverQueue, size: u16, table: u16, memory: Arc<M>) -> Result<Self, OutOfMemory> {
        assert!(size >= MIN_TRANSMIT_RING, "the longest chain fits into the ring");
        let limit_frames = 4 * usize::from(size);
        let options = PoolOptions { frame_bytes: FRAME_BYTES, headroom_bytes: 0, limit_frames };
        let pool = Pool::with_memory(memory.clone(), options)?;
        let held = core::iter::repeat_with(Vec::new).take(usize::from(size)).collect();
        Ok(Self {
            queue,
            memory,
            pool,
            limit_frames,
            table: table.into(),
            held,
            in_flight: 0,
            copies: CopyCounter::default(),
            segments: Vec::new(),
            frames: Vec::new(),
        })
    }
}

impl<M: PacketMemory> Transmitter<M> {
    /// Puts a packet into the ring, and takes its bytes; it is not published.
    ///
    /// # Errors
    /// [`Unsent`] says why it is not sent.
    pub fn send(&mut self, packet: &mut Packet) -> Result<(), Unsent> {
        if packet.len() > MAX_PACKET_BYTES {
            return Err(Unsent::Refused);
        }
        let header = encode(&packet.offload).map_err(|_| Unsent::Refused)?;
        let parts = parts(packet.buffers().len(), packet.len());
        let descriptors = if parts <= self.table { 1 } else { parts };
        if usize::from(self.queue.free()) < descriptors
            || self.pool.counters().in_use_frames + parts > self.limit_frames
        {
            return Err(Unsent::Full);
        }
        let memory = &*self.memory;
        let joined = packet.join_short(SHORT_BYTES, |buffer| is_in(memory, buffer));
        let is_in_place = self.is_sent_in_place(packet.buffers(), 0) && packet.try_prepend(&header);
        let copied = self.gather((!is_in_place).then_some(&header), packet);
        // There are as many descriptors.
        let added = copied.and_then(|copied| Some((copied, self.queue.add(&self.segments, &[]).ok()?)));
        self.segments.clear();
        let Some((copied, token)) = added else {
            self.frames.clear();
            if is_in_place {
                let undone = packet.trim_front(HEADER_BYTES);
                debug_assert!(undone.is_ok(), "that was just put in front");
            }
            if joined > 0 {
                self.copies.count(joined);
            }
            return Err(Unsent::NoMemory);
        };
        if joined + copied > 0 {
            self.copies.count(joined + copied);
        }
        let held = &mut self.held[usize::from(token)];
        // The list, not what is in it: to move what was written just now the processor would wait for all that it has written before.
        core::mem::swap(held, &mut self.frames);
        if copied == packet.len() {
            // Dropped where they are, for the same reason.
            packet.clear();
        } else {
            let memory = &*self.memory;
            let is_held = |buffer: &Buffer| is_in(memory, buffer) && !planted::is("virtio_net_held_briefly");
            held.extend(packet.drain().filter(is_held));
        }
        self.in_flight += 1;
        Ok(())
    }

    /// Finds where a packet lies, and copies what the device does not see; answers how many bytes those were, or nothing if there is no memory
    /// for them.
    fn gather(&mut self, header: Option<&[u8; HEADER_BYTES]>, packet: &Packet) -> Option<usize> {
        let mut copied = 0;
        let mut open = None;
        if let Some(header) = header {
            open = self.copy(None, header);
            open.as_ref()?;
        }
        for (place, buffer) in packet.buffers().iter().enumerate() {
            if (open.is_none() || buffer.len() > SHORT_BYTES)
                && self.is_sent_in_place(packet.buffers(), place)
                && let Some(address) = self.memory.address(buffer.as_ptr(), buffer.len())
            {
                self.close(open.take())?;
                let len = u32::try_from(buffer.len()).ok()?;
                self.segments.push(Segment { address, len });
            } else {
                copied += buffer.len();
                open = self.copy(open.take(), buffer);
                open.as_ref()?;
            }
        }
        self.close(open)?;
        Some(copied)
    }

    /// Whether a buffer is sent from where it lies: the device sees it there, and it is not short and before what must be copied.
    fn is_sent_in_place(&self, buffers: &[Buffer], place: usize) -> bool {
        let [buffer, behind @ ..] = &buffers[place..] else { return false };
        is_in(&*self.memory, buffer)
            && !planted::is("virtio_net_seen_copied")
            && (buffer.len() > SHORT_BYTES || behind.first().is_none_or(|next| is_in(&*self.memory, next)))
    }

    /// Copies bytes behind those of a frame, and into further ones; answers the last one, or nothing if there are no frames.
    fn copy(&mut self, mut open: Option<BufferMut>, mut bytes: &[u8]) -> Option<BufferMut> {
        loop {
            let mut frame = match open.take() {
                Some(frame) => frame,
                None => self.pool.take()?,
            };
            let (here, rest) = bytes.split_at(bytes.len().min(frame.tailroom()));
            frame.extend_from_slice(here).expect("so much room is there");
            if rest.is_empty() {
                return Some(frame);
            }
            self.close(Some(frame))?;
            bytes = rest;
        }
    }

    /// Makes a frame with copies a part of the chain.
    fn close(&mut self, frame: Option<BufferMut>) -> Option<()> {
        let Some(frame) = frame else { return Some(()) };
        let address = self.memory.address(frame.as_ptr(), frame.len())?;
        self.segments.push(Segment { address, len: u32::try_from(frame.len()).ok()? });
        self.frames.push(frame.freeze());
        Some(())
    }

    /// Lets go of what the device has sent; answers how many packets.
    ///
    /// # Errors
    /// If what the device has written makes no sense.
    pub fn reclaim(&mut self) -> Result<usize, Broken> {
        let mut count = 0;
        while let Some(used) = self.queue.take_used()? {
            self.held[usize::from(used.token)].clear();
            self.in_flight -= 1;
            count += 1;
        }
        Ok(count)
    }

    /// Ends it though the device may go on reading what it was to send, which is therefore never used again. `note` is told where all of that lies, for
    /// whoever has the memory must keep it from being used, too.
    pub fn retire(self, mut note: impl FnMut(*const u8, usize)) {
        for buffer in self.held.into_iter().flatten().filter(|buffer| !buffer.is_empty()) {
            note(buffer.as_ptr(), buffer.len());
            buffer.retire();
        }
    }

    /// How many packets the device has not sent, as far as is known.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Lets the device see what is to be sent; answers whether it has to be told.
    #[must_use]
    pub fn publish(&mut self) -> bool {
        self.queue.publish()
    }

    /// Asks to be told when there is more room. Answers whether something was sent already, which may not be told.
    #[must_use]
    pub fn enable_notifications(&mut self) -> bool {
        self.queue.enable_notifications()
    }

    /// Asks not to be told.
    pub fn disable_notifications(&mut self) {
        self.queue.disable_notifications();
    }

    /// What had to be copied: packets, and bytes of those.
    pub fn copies(&self) -> &CopyCounter {
        &self.copies
    }

    /// Gives memory for copies back that is not in use.
    pub fn free_unused_memory(&self) {
        self.pool.free_unused_memory();
    }
}

/// Whether the device sees a buffer where it lies.
#[inline]
fn is_in(memory: &impl PacketMemory, buffer: &Buffer) -> bool {
    memory.address(buffer.as_ptr(), buffer.len()).is_some()
}
