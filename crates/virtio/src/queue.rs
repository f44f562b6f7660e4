//! What split and packed virtqueues have in common, and the choice between them.

use core::sync::atomic::AtomicU64;

use smallvec::SmallVec;

use crate::memory::{Cells, Memory, MemoryMap, OutOfBounds};
use crate::split::DESCRIPTOR_BYTES;
use crate::{packed, split};

#[cfg(test)]
mod tests;

/// Memory that a driver makes available, by the address that the device knows it by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins.
    pub address: u64,
    /// How many bytes it has.
    pub len: u32,
}

/// How a queue works, as driver and device have negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueOptions {
    /// How many descriptors the ring has: at most 32,768, and a power of two if it is split.
    pub size: u16,
    /// Whether each side says from which place on it wants to be told (`VIRTIO_F_EVENT_IDX`).
    pub has_event_index: bool,
    /// Whether chains are used in the order in which they were made available (`VIRTIO_F_IN_ORDER`).
    pub is_in_order: bool,
    /// Whether a descriptor may stand for a table of descriptors (`VIRTIO_F_INDIRECT_DESC`).
    pub has_indirect: bool,
}

/// The largest ring that virtio allows.
pub const MAX_QUEUE_SIZE: u16 = 32_768;

/// The most descriptors of a chain that a device reads: more than any packet has pieces. Of chains as long as the largest ring, which all may
/// begin at the same descriptor, a burst would take far longer than anything else.
pub const MAX_CHAIN_DESCRIPTORS: u16 = 1_024;

/// Why a queue can't be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The ring has no descriptors, too many, or is split and their number is not a power of two.
    #[error("a ring of {size} descriptors: there must be 1 to {MAX_QUEUE_SIZE}, a power of two if the ring is split")]
    Size {
        /// How many there should be.
        size: u16,
    },
    /// A part of the ring does not lie in the memory that it was given, or is not aligned there.
    #[error("the {0} are not within the memory, or not aligned as they must be")]
    Area(&'static str),
}

impl SetupError {
    pub(crate) fn area(name: &'static str) -> impl Fn(OutOfBounds) -> Self {
        move |OutOfBounds| Self::Area(name)
    }
}

/// Memory for tables of descriptors, one for each chain that can be out, so that a chain takes one descriptor of the ring
/// (`VIRTIO_F_INDIRECT_DESC`).
#[derive(Clone, Debug)]
pub struct IndirectTables {
    /// Where they lie, [`IndirectTables::bytes`] at a multiple of 16.
    pub memory: Memory,
    /// The address by which the device knows that memory.
    pub address: u64,
    /// How many descriptors a table has. Longer chains go without one.
    pub descriptors: u16,
}

impl IndirectTables {
    /// How many bytes the tables of a ring take.
    pub const fn bytes(size: u16, descriptors: u16) -> usize {
        DESCRIPTOR_BYTES * size as usize * descriptors as usize
    }
}

/// The tables, ready to be written.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) cells: Cells<AtomicU64>,
    address: u64,
    descriptors: u16,
}

impl Tables {
    pub(crate) fn new(tables: Option<&IndirectTables>, options: QueueOptions) -> Result<Option<Self>, SetupError> {
        let Some(tables) = tables.filter(|_| options.has_indirect) else { return Ok(None) };
        let count = 2 * usize::from(options.size) * usize::from(tables.descriptors);
        let cells = tables.memory.cells(count).map_err(SetupError::area("tables of descriptors"))?;
        Ok(Some(Self { cells, address: tables.address, descriptors: tables.descriptors }))
    }

    /// Whether a chain gets a table.
    pub(crate) fn takes(&self, count: usize) -> bool {
        count > 1 && count <= usize::from(self.descriptors)
    }

    /// The place of the first descriptor of a chain's table, and the table as the ring says it.
    pub(crate) fn table(&self, token: u16, count: u16) -> (usize, Segment) {
        let first = usize::from(token) * usize::from(self.descriptors);
        #[expect(clippy::cast_possible_truncation, reason = "a descriptor has 16 bytes")]
        let bytes = DESCRIPTOR_BYTES as u32;
        let address = self.address.wrapping_add((first * DESCRIPTOR_BYTES) as u64);
        (first, Segment { address, len: u32::from(count) * bytes })
    }
}

/// The ring has no room for a chain until the device has used others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the virtqueue is full")]
pub struct Full;

/// The other side has written into the ring what makes no sense. Nothing more can be had from the queue until it is set up anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// More chains than the ring can hold are said to be available, or used.
    #[error("the other side's index is ahead of this one's by more than the ring holds")]
    Index,
    /// A chain begins at a descriptor that the ring does not have.
    #[error("descriptor {0} is not one of the ring's")]
    Head(u16),
    /// A chain was used that was not available.
    #[error("chain {0} was used, but is not available")]
    NotAvailable(u32),
    /// A chain goes on for longer than the ring.
    #[error("a chain is longer than the ring")]
    Endless,
}

/// Why a device refuses a chain. The driver gets it back unused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// It leads to a descriptor that its table does not have.
    #[error("it leads to a descriptor that the table does not have")]
    NoSuchDescriptor,
    /// It has more descriptors than its table, or than [`MAX_CHAIN_DESCRIPTORS`].
    #[error("it has more descriptors than its table, or than {MAX_CHAIN_DESCRIPTORS}")]
    Endless,
    /// It has a table of descriptors, which was not negotiated, inside another one, or has others behind it (§2.7.5.3.1).
    #[error("it has a table of descriptors where there must be none")]
    Indirect,
    /// Its table is empty, longer than the ring or than [`MAX_CHAIN_DESCRIPTORS`], no multiple of a descriptor's length, or not where it is aligned.
    #[error("the length or the place of its table of descriptors makes no sense")]
    IndirectLength,
    /// A part to be read follows one to be written (§2.7.4.2).
    #[error("a part to be read follows one to be written")]
    Order,
    /// A part of it does not lie in shared memory.
    #[error("a part of it does not lie in the shared memory")]
    NotMapped,
}

/// A piece of a chain on the device's side, which lies in one range of the [`MemoryMap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The range's place in the map.
    pub range: u16,
    /// Where it begins within the range.
    pub offset: usize,
    /// How many bytes it has.
    pub len: u32,
}

/// What a device needs to give a chain back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChainId {
    /// The driver's number for it.
    pub(crate) id: u16,
    /// How many places of a packed ring it has.
    pub(crate) slots: u16,
}

/// A chain that a device has taken: what it may read, then what it may write.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    pub(crate) id: ChainId,
    parts: SmallVec<[Part; 4]>,
    readable: usize,
    /// How many descriptors were read for it, also empty ones.
    pub(crate) descriptors: usize,
}

impl Chain {
    /// What to give it back by.
    pub fn id(&self) -> ChainId {
        self.id
    }

    /// The parts that the device may read.
    pub fn readable(&self) -> &[Part] {
        &self.parts[..self.readable]
    }

    /// The parts that the device may write.
    pub fn writable(&self) -> &[Part] {
        &self.parts[self.readable..]
    }

    /// Copies what is readable from byte `skip` on; answers how much there was.
    pub fn read(&self, map: &MemoryMap, skip: usize, to: &mut [u8]) -> usize {
        let mut done = 0;
        for (part, from, len) in pieces(self.readable(), skip, to.len()) {
            map.ranges()[usize::from(part.range)].memory.read(part.offset + from, &mut to[done..done + len]);
            done += len;
        }
        done
    }

    /// Copies to what is writable from byte `skip` on; answers how much there was room for.
    pub fn write(&self, map: &MemoryMap, skip: usize, from: &[u8]) -> usize {
        let mut done = 0;
        for (part, to, len) in pieces(self.writable(), skip, from.len()) {
            map.ranges()[usize::from(part.range)].memory.write(part.offset + to, &from[done..done + len]);
            done += len;
        }
        done
    }

    pub(crate) fn begin(&mut self, id: u16) {
        self.id = ChainId { id, slots: 1 };
        self.parts.clear();
        self.readable = 0;
        self.descriptors = 0;
    }

    /// Forgets what it has, of which nothing is to be used.
    pub(crate) fn clear(&mut self) {
        self.parts.clear();
        self.readable = 0;
    }

    /// Adds what a descriptor says; nothing, if that is empty.
    #[inline]
    pub(crate) fn push(&mut self, map: &MemoryMap, segment: Segment, is_writable: bool) -> Result<(), ChainError> {
        self.descriptors += 1;
        if !is_writable && self.readable < self.parts.len() && !planted::is("virtio_order_ignored") {
            return Err(ChainError::Order);
        }
        if segment.len > 0 {
            self.parts.push(map.part(segment).ok_or(ChainError::NotMapped)?);
            self.readable += usize::from(!is_writable);
        }
        Ok(())
    }
}

/// The pieces of at most `len` bytes of some parts behind their first `skip` bytes: the part, where in it, how many bytes.
pub(crate) fn pieces(parts: &[Part], mut skip: usize, mut len: usize) -> impl Iterator<Item = (&Part, usize, usize)> {
    parts.iter().filter_map(move |part| {
        let from = skip.min(part.len as usize);
        skip -= from;
        let piece = len.min(part.len as usize - from);
        len -= piece;
        (piece > 0).then_some((part, from, piece))
    })
}

/// A chain of one descriptor, which was looked at and not taken yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Single {
    pub(crate) id: ChainId,
    pub(crate) segment: Segment,
}

/// So many chains are looked at before the first of them is used: what lies in other caches comes at the same time then, and not one after the
/// other.
pub(crate) const AHEAD: usize = 16;

/// What came of an attempt to take a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// There was one.
    Chain,
    /// There was one that breaks a rule: it is to be given back.
    Refused(ChainError),
    /// There is none.
    Nothing,
}

/// A chain that came back to the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// The number that the driver got when it made the chain available.
    pub token: u16,
    /// How many bytes the device says that it has written. It may say more than there was room for. Nothing is said of chains that are used
    /// in order, but for the last of them: they are full (§2.7.9).
    pub written: Option<u32>,
}

/// The driver's side of a virtqueue.
#[derive(Debug)]
pub enum DriverQueue {
    /// Of a split one.
    Split(split::Driver),
    /// Of a packed one.
    Packed(packed::Driver),
}

impl DriverQueue {
    /// Makes a chain available, once [`DriverQueue::publish`] is called: first what the device may read, then what it may write.
    /// Answers a number that names the chain until it was used, less than the ring's size.
    ///
    /// # Errors
    /// When there is no room now.
    ///
    /// # Panics
    /// If the chain is empty, or longer than the ring.
    #[inline]
    pub fn add(&mut self, readable: &[Segment], writable: &[Segment]) -> Result<u16, Full> {
        match self {
            Self::Split(queue) => queue.add(readable, writable),
            Self::Packed(queue) => queue.add(readable, writable),
        }
    }

    /// Lets the device see what was added; answers whether it has to be told.
    #[must_use]
    #[inline]
    pub fn publish(&mut self) -> bool {
        match self {
            Self::Split(queue) => queue.publish(),
            Self::Packed(queue) => queue.publish(),
        }
    }

    /// The next chain that the device has used.
    ///
    /// # Errors
    /// If what the device has written makes no sense.
    #[inline]
    pub fn take_used(&mut self) -> Result<Option<Used>, Broken> {
        match self {
            Self::Split(queue) => queue.take_used(),
            Self::Packed(queue) => queue.take_used(),
        }
    }

    /// Asks to be told when a further chain is used. Answers whether one is there already, which may not be told.
    #[must_use]
    pub fn enable_notifications(&mut self) -> bool {
        match self {
            Self::Split(queue) => queue.enable_notifications(),
            Self::Packed(queue) => queue.enable_notifications(),
        }
    }

    /// Asks not to be told. The device may do it all the same.
    pub fn disable_notifications(&mut self) {
        match self {
            Self::Split(queue) => queue.disable_notifications(),
            Self::Packed(queue) => queue.disable_notifications(),
        }
    }

    /// How many descriptors are free.
    pub fn free(&self) -> u16 {
        match self {
            Self::Split(queue) => queue.free(),
            Self::Packed(queue) => queue.free(),
        }
    }
}

/// The device's side of a virtqueue.
#[derive(Debug)]
pub enum DeviceQueue {
    /// Of a split one.
    Split(split::Device),
    /// Of a packed one.
    Packed(packed::Device),
}

impl DeviceQueue {
    /// Takes the next chain that the driver has made available, and puts it into `chain`.
    ///
    /// # Errors
    /// If what the driver has written makes no sense.
    #[inline]
    pub fn take(&mut self, map: &MemoryMap, chain: &mut Chain) -> Result<Taken, Broken> {
        match self {
            Self::Split(queue) => queue.take(map, chain),
            Self::Packed(queue) => queue.take(map, chain),
        }
    }

    /// Looks at the next chains that the driver has made available, as long as each is one descriptor, which is writable or readable. Answers
    /// how many there are; if there is none, [`DeviceQueue::take`] tells why.
    #[inline]
    pub(crate) fn peek(&mut self, is_writable: bool, singles: &mut [Single]) -> usize {
        match self {
            Self::Split(queue) => queue.peek(is_writable, singles),
            Self::Packed(queue) => queue.peek(is_writable, singles),
        }
    }

    /// Takes the next one of the chains that were looked at, and gives it back, as [`DeviceQueue::put_used`] does.
    #[inline]
    pub(crate) fn use_single(&mut self, single: &Single, written: u32) {
        match self {
            Self::Split(queue) => {
                queue.take_single();
                queue.put_used(single.id, written);
            }
            Self::Packed(queue) => {
                queue.take_single();
                queue.put_used(single.id, written);
            }
        }
    }

    /// Gives a chain back, of which the first `written` writable bytes were written, once [`DeviceQueue::publish`] is called. If
    /// order was negotiated, chains are given back in the order in which they were taken.
    #[inline]
    pub fn put_used(&mut self, chain: ChainId, written: u32) {
        match self {
            Self::Split(queue) => queue.put_used(chain, written),
            Self::Packed(queue) => queue.put_used(chain, written),
        }
    }

    /// The place behind what was given back, from which another device goes on if nothing is out: in a packed ring with the wrap counter
    /// in the highest bit.
    pub fn base(&self) -> u16 {
        match self {
            Self::Split(queue) => queue.base(),
            Self::Packed(queue) => queue.base(),
        }
    }

    /// How many descriptors the ring has.
    pub fn size(&self) -> u16 {
        match self {
            Self::Split(queue) => queue.size(),
            Self::Packed(queue) => queue.size(),
        }
    }

    /// Puts back the last chains that were taken, of which none was given back, so that they are taken again.
    pub fn untake(&mut self, chains: &[ChainId]) {
        match self {
            Self::Split(queue) => queue.untake(chains),
            Self::Packed(queue) => queue.untake(chains),
        }
    }

    /// Lets the driver see what was given back; answers whether it has to be told.
    #[must_use]
    #[inline]
    pub fn publish(&mut self) -> bool {
        match self {
            Self::Split(queue) => queue.publish(),
            Self::Packed(queue) => queue.publish(),
        }
    }

    /// Asks to be told when a further chain is available. Answers whether one is there already, which may not be told.
    #[must_use]
    pub fn enable_notifications(&mut self) -> bool {
        match self {
            Self::Split(queue) => queue.enable_notifications(),
            Self::Packed(queue) => queue.enable_notifications(),
        }
    }

    /// Asks not to be told. The driver may do it all the same.
    pub fn disable_notifications(&mut self) {
        match self {
            Self::Split(queue) => queue.disable_notifications(),
            Self::Packed(queue) => queue.disable_notifications(),
        }
    }
}
