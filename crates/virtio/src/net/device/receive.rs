//! The queue that a driver receives by.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use smallvec::SmallVec;
use sunstar_packet::{Offload, Packet};

use super::{DeviceRing, TO_DRIVER, bytes_of};
use crate::memory::MemoryMap;
use crate::net::features;
use crate::net::header::{HEADER_BYTES, encode};
use crate::queue::{AHEAD, Broken, Chain, ChainId, Single, Taken};

/// A packet lies in at most this many chains: 64 KiB in buffers of 256 bytes, fewer than any driver has.
pub const MAX_MERGED_CHAINS: usize = 256;

/// When [`ReceiveRing::put`] has read so many descriptors, it begins no packet and goes on with none. That is far more than drivers need, whose
/// chains have some twenty; those of a hostile one may all have as many as a chain can have, and be read again for each packet that is too
/// long for them.
pub const MAX_BURST_DESCRIPTORS: usize = 1 << 16;

/// Longer packets seldom fit into one descriptor, so it is not tried.
const MAX_SINGLE_BYTES: usize = 4 << 10;

/// When so many bytes were copied, the driver sees them, so that it works on them while the next ones are copied.
const PART_BYTES: u64 = 64 << 10;

/// The device's side of the queue that a driver receives by (`receiveq`, virtio 1.2 §5.1.6.3).
#[derive(Debug)]
pub struct ReceiveRing {
    ring: DeviceRing,
    /// The chains of the packet that is put in.
    chains: Vec<Chain>,
    /// How many there were for a packet that needs more.
    too_few: usize,
    /// What was wrong behind packets that were put in.
    broken: Option<Broken>,
    /// How many descriptors have been read since it was begun to put packets in.
    pub(super) read: usize,
}

/// What a burst has put in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Put {
    /// Packets, each of which was copied once.
    pub packets: usize,
    /// Bytes of those.
    pub bytes: u64,
    /// Packets for which the driver's buffers are too small, or whose metadata no header can tell. They were dropped.
    pub refused: u64,
    /// Chains that break a rule, or have no room for a header, or none at all. They were given back, and with them those that had been taken
    /// before for the same packet.
    pub malformed: u64,
    /// Whether there was no room for a packet, which stays where it was.
    pub is_full: bool,
    /// Whether the driver has to be told.
    pub has_to_tell: bool,
}

/// What came of a packet.
enum Outcome {
    Done,
    Refused,
    Full,
}

impl ReceiveRing {
    /// Puts packets into that ring.
    pub fn new(ring: DeviceRing) -> Self {
        Self { ring, chains: Vec::new(), too_few: 0, broken: None, read: 0 }
    }

    /// What is common to rings.
    pub fn ring(&mut self) -> &mut DeviceRing {
        &mut self.ring
    }

    /// Asks to be told when there is more room than there was for a packet that has found too little ([`Put::is_full`]). Answers whether
    /// there is already, which may not be told.
    #[must_use]
    pub fn enable_notifications(&mut self) -> bool {
        let mut count = 0;
        while count < self.too_few && !planted::is("virtio_net_room_untold") {
            match self.ring.queue.take(&self.ring.map, &mut self.chains[count]) {
                Ok(Taken::Nothing) => break,
                Ok(_) => count += 1,
                // It is found out again when something is put in.
                Err(_) => return true,
            }
        }
        let has_more = self.ring.queue.enable_notifications();
        self.untake(count);
        has_more
    }

    /// Whether the driver takes packets with such metadata. Others must be cut, or their checksum completed, before they are put in.
    #[inline]
    pub fn takes(&self, offload: &Offload) -> bool {
        TO_DRIVER.are_met(offload, self.ring.features)
    }

    /// Takes packets from the front of `packets`, as many as there is room for, and until [`MAX_BURST_DESCRIPTORS`] have been read. There is
    /// more room then, which [`ReceiveRing::enable_notifications`] tells.
    ///
    /// # Errors
    /// If what the driver has written makes no sense: all packets stay where they were. If some were put in before it, those are told as ever,
    /// and the next call fails.
    pub fn put(&mut self, packets: &mut VecDeque<Packet>) -> Result<Put, Broken> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        let mut put = Put::default();
        let mut shown = 0;
        self.read = 0;
        let mut done = 0;
        while let Some(packet) = packets.get(done) {
            if put.bytes - shown >= PART_BYTES {
                put.has_to_tell |= self.ring.queue.publish();
                shown = put.bytes;
            }
            if packet.len() <= MAX_SINGLE_BYTES {
                let count = self.put_singles(packets.range(done..), &mut put);
                done += count;
                if count > 0 {
                    continue;
                }
            }
            match self.put_one(packet, &mut put.malformed) {
                Ok(Outcome::Done) => {
                    put.packets += 1;
                    put.bytes += packet.len() as u64;
                }
                Ok(Outcome::Refused) => put.refused += 1,
                Ok(Outcome::Full) => {
                    put.is_full = true;
                    break;
                }
                Err(error) => {
                    self.broken = Some(error);
                    break;
                }
            }
            done += 1;
        }
        // All at once, and where they lie: each has more bytes than most packets.
        packets.drain(..done);
        if let Some(error) = self.broken.filter(|_| done == 0) {
            return Err(error);
        }
        put.has_to_tell |= self.ring.queue.publish();
        Ok(put)
    }

    /// Puts packets into the next chains as long as there is nothing special about them, as about most: each packet goes into one descriptor.
    /// Answers how many there were.
    fn put_singles<'a>(&mut self, packets: impl ExactSizeIterator<Item = &'a Packet>, put: &mut Put) -> usize {
        let DeviceRing { queue, map, .. } = &mut self.ring;
        let mut singles = [Single::default(); AHEAD];
        let count = queue.peek(true, &mut singles[..packets.len().min(AHEAD)]);
        let windows = singles.map(|single| map.window(single.segment).inspect(|window| window.prefetch(true)));
        for (done, (packet, (single, window))) in packets.zip(singles.iter().zip(windows)).take(count).enumerate() {
            let total = HEADER_BYTES + packet.len();
            let Some(window) = window.filter(|window| total <= window.len()) else { return done };
            let Ok(mut header) = encode(&packet.offload) else { return done };
            if self.read >= MAX_BURST_DESCRIPTORS {
                return done;
            }
            self.read += 2;
            header[10] = 1;
            let mut rest = window.write(&header);
            for buffer in packet.buffers() {
                rest = rest.and_then(|rest| rest.write(buffer));
            }
            put.packets += 1;
            put.bytes += packet.len() as u64;
            // It is no more than the descriptor's length.
            queue.use_single(single, u32::try_from(total).unwrap_or(u32::MAX));
        }
        count
    }

    fn put_one(&mut self, packet: &Packet, malformed: &mut u64) -> Result<Outcome, Broken> {
        let Ok(mut header) = encode(&packet.offload) else { return Ok(Outcome::Refused) };
        let total = HEADER_BYTES + packet.len();
        let can_merge = self.ring.has(features::MRG_RXBUF);
        let most = if can_merge { MAX_MERGED_CHAINS } else { 1 };
        let (mut count, mut room) = (0, 0);
        let is_first = self.read == 0;
        while room < total {
            if self.read >= MAX_BURST_DESCRIPTORS {
                self.untake(count);
                self.too_few = 0;
                // One that takes so many alone never gets in.
                return Ok(if is_first { Outcome::Refused } else { Outcome::Full });
            }
            if count == most {
                self.untake(count);
                return Ok(Outcome::Refused);
            }
            if count == self.chains.len() {
                self.chains.push(Chain::default());
            }
            let chain = &mut self.chains[count];
            let taken = self.ring.queue.take(&self.ring.map, chain)?;
            self.read += if taken == Taken::Nothing { 0 } else { 1 + chain.descriptors };
            match taken {
                Taken::Chain => {}
                Taken::Refused(_) => chain.clear(),
                Taken::Nothing => {
                    let is_all = self.chains[..count].iter().map(|chain| chain.writable().len()).sum::<usize>()
                        >= usize::from(self.ring.queue.size());
                    self.untake(count);
                    self.too_few = count;
                    return Ok(if is_all { Outcome::Refused } else { Outcome::Full });
                }
            }
            let capacity = bytes_of(chain.writable());
            if capacity == 0 || (count == 0 && capacity < HEADER_BYTES) {
                *malformed += 1;
                // At once, or it would be looked at again for each packet; and in order, so that those before it go too.
                self.give_back(0, count + 1);
                (count, room) = (0, 0);
                continue;
            }
            room += capacity;
            count += 1;
        }
        let is_counted = can_merge && !planted::is("virtio_net_buffers_uncounted");
        let num_buffers = if is_counted { u16::try_from(count).unwrap_or(u16::MAX) } else { 1 };
        header[10..12].copy_from_slice(&num_buffers.to_le_bytes());
        self.fill(&header, packet, count);
        self.give_back(total, count);
        Ok(Outcome::Done)
    }

    /// Puts back the chains that were taken for a packet that is not put in.
    fn untake(&mut self, count: usize) {
        let ids: SmallVec<[ChainId; 8]> = self.chains[..count].iter().map(Chain::id).collect();
        self.ring.queue.untake(&ids);
    }

    fn fill(&self, header: &[u8], packet: &Packet, count: usize) {
        let mut cursor = Cursor { map: &self.ring.map, chains: &self.chains[..count], part: 0, filled: 0 };
        cursor.write(header);
        for buffer in packet.buffers() {
            cursor.write(buffer);
        }
    }

    /// Gives the chains of a packet to the driver, each of which was filled before the next one.
    fn give_back(&mut self, total: usize, count: usize) {
        let mut left = total;
        for chain in &self.chains[..count] {
            let written = left.min(bytes_of(chain.writable()));
            left -= written;
            self.ring.queue.put_used(chain.id(), u32::try_from(written).unwrap_or(u32::MAX));
        }
    }
}

/// Where in some chains is written next.
struct Cursor<'a> {
    map: &'a MemoryMap,
    chains: &'a [Chain],
    part: usize,
    filled: usize,
}

impl Cursor<'_> {
    /// Writes bytes for which there is room.
    fn write(&mut self, mut bytes: &[u8]) {
        while let (false, Some(chain)) = (bytes.is_empty(), self.chains.first()) {
            let Some(part) = chain.writable().get(self.part) else {
                (self.chains, self.part) = (&self.chains[1..], 0);
                continue;
            };
            let (now, later) = bytes.split_at(bytes.len().min(part.len as usize - self.filled));
            self.map.ranges()[usize::from(part.range)].memory.write(part.offset + self.filled, now);
            self.filled += now.len();
            if self.filled == part.len as usize {
                (self.part, self.filled) = (self.part + 1, 0);
            }
            bytes = later;
        }
    }
}
