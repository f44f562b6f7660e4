//! The device's side of a split virtqueue.

use core::sync::atomic::{AtomicU64, Ordering, fence};

use super::{
    Areas, DESCRIPTOR_BYTES, Descriptor, INDIRECT, NEXT, NO_NOTIFICATION, QueueOptions, Ring, SetupError, WRITE, passes,
};
use crate::memory::{Cells, MemoryMap};
use crate::queue::{Broken, Chain, ChainError, ChainId, MAX_CHAIN_DESCRIPTORS, Segment, Single, Taken};

/// Takes chains and gives them back.
#[derive(Debug)]
pub struct Device {
    ring: Ring,
    options: QueueOptions,
    /// Index behind what was taken, and how far the driver is known to be.
    taken: u16,
    available: u16,
    /// Index behind what was given back, and what of that the driver can see.
    used: u16,
    published: u16,
    is_notified: bool,
}

impl Device {
    /// A queue that goes on at index `base` of both rings, 0 for one whose memory is zero.
    ///
    /// # Errors
    /// If the size is none, or the areas are too small or not aligned.
    pub fn new(areas: &Areas, options: QueueOptions, base: u16) -> Result<Self, SetupError> {
        let ring = Ring::new(areas, options.size)?;
        Ok(Self { ring, options, taken: base, available: base, used: base, published: base, is_notified: true })
    }

    /// Index behind what was given back, from which another device goes on if nothing is out.
    pub fn base(&self) -> u16 {
        self.used
    }

    pub(crate) fn size(&self) -> u16 {
        self.options.size
    }

    /// See [`DeviceQueue::take`](crate::DeviceQueue::take).
    ///
    /// # Errors
    /// If what the driver has written makes no sense.
    #[inline]
    pub fn take(&mut self, map: &MemoryMap, chain: &mut Chain) -> Result<Taken, Broken> {
        if !self.has_available()? {
            return Ok(Taken::Nothing);
        }
        let head = self.ring.available_entry(self.taken).load(Ordering::Relaxed);
        if head > self.ring.mask {
            return Err(Broken::Head(head));
        }
        self.taken = self.taken.wrapping_add(1);
        chain.begin(head);
        let first = Descriptor::load(&self.ring.descriptors, usize::from(head));
        let read = read_table(&self.ring.descriptors, self.ring.size(), first, map, chain);
        let read = read.and_then(|rest| rest.map_or(Ok(()), |table| read_indirect(table, self.options, map, chain)));
        Ok(read.map_or_else(Taken::Refused, |()| Taken::Chain))
    }

    /// See [`DeviceQueue::peek`](crate::DeviceQueue::peek).
    #[inline]
    pub(crate) fn peek(&mut self, is_writable: bool, singles: &mut [Single]) -> usize {
        if self.has_available().is_err() {
            return 0;
        }
        let wanted = if is_writable { WRITE } else { 0 };
        let there = usize::from(self.available.wrapping_sub(self.taken));
        let mut count: u16 = 0;
        for single in singles.iter_mut().take(there) {
            let place = self.taken.wrapping_add(count);
            let head = self.ring.available_entry(place).load(Ordering::Relaxed);
            if head > self.ring.mask {
                break;
            }
            let Descriptor { segment, flags, .. } = Descriptor::load(&self.ring.descriptors, usize::from(head));
            if flags & (INDIRECT | NEXT | WRITE) != wanted {
                break;
            }
            *single = Single { id: ChainId { id: head, slots: 1 }, segment };
            count += 1;
        }
        count.into()
    }

    /// Takes the next chain, of one descriptor, which was looked at.
    #[inline]
    pub(crate) fn take_single(&mut self) {
        self.taken = self.taken.wrapping_add(1);
    }

    /// Whether there is a chain to be taken.
    #[inline]
    fn has_available(&mut self) -> Result<bool, Broken> {
        if self.taken == self.available {
            self.available = self.ring.available_index().load(Ordering::Acquire);
            // A chain is out from when it was taken until the driver can see that it was given back; those and all that are available are
            // of one ring. An index that goes back to chains that are out would be far ahead of them.
            let out = self.taken.wrapping_sub(self.published);
            if self.available.wrapping_sub(self.taken) > self.ring.size().saturating_sub(out) {
                self.available = self.taken;
                return Err(Broken::Index);
            }
        }
        Ok(self.taken != self.available)
    }

    /// See [`DeviceQueue::untake`](crate::DeviceQueue::untake).
    pub fn untake(&mut self, chains: &[ChainId]) {
        #[expect(clippy::cast_possible_truncation, reason = "no more than the ring's size are out")]
        let count = chains.len() as u16;
        self.taken = self.taken.wrapping_sub(count);
    }

    /// See [`DeviceQueue::put_used`](crate::DeviceQueue::put_used).
    #[inline]
    pub fn put_used(&mut self, chain: ChainId, written: u32) {
        let (id, length) = self.ring.used_entry(self.used);
        id.store(u32::from(chain.id), Ordering::Relaxed);
        length.store(written, Ordering::Relaxed);
        self.used = self.used.wrapping_add(1);
    }

    /// See [`DeviceQueue::publish`](crate::DeviceQueue::publish).
    #[must_use]
    #[inline]
    pub fn publish(&mut self) -> bool {
        if self.used == self.published {
            return false;
        }
        let old = core::mem::replace(&mut self.published, self.used);
        self.ring.used_index().store(self.used, Ordering::Release);
        fence(Ordering::SeqCst);
        if self.options.has_event_index {
            passes(self.ring.used_event().load(Ordering::Relaxed), old, self.used)
        } else {
            self.ring.available_flags().load(Ordering::Relaxed) & NO_NOTIFICATION == 0
        }
    }

    /// See [`DeviceQueue::enable_notifications`](crate::DeviceQueue::enable_notifications).
    #[must_use]
    pub fn enable_notifications(&mut self) -> bool {
        self.is_notified = true;
        if self.options.has_event_index {
            self.ring.available_event().store(self.taken, Ordering::Relaxed);
        } else {
            self.ring.used_flags().store(0, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        self.ring.available_index().load(Ordering::Relaxed) != self.taken
    }

    /// See [`DeviceQueue::disable_notifications`](crate::DeviceQueue::disable_notifications).
    pub fn disable_notifications(&mut self) {
        if core::mem::take(&mut self.is_notified) {
            if self.options.has_event_index {
                self.ring.available_event().store(self.taken.wrapping_sub(1), Ordering::Relaxed);
            } else {
                self.ring.used_flags().store(NO_NOTIFICATION, Ordering::Relaxed);
            }
        }
    }
}

/// Reads a chain of a table from its first descriptor on; answers with the one, if there is one, that stands for a table in which it goes
/// on and ends (§2.7.5.3.2).
#[inline]
fn read_table(
    table: &Cells<AtomicU64>,
    size: u16,
    first: Descriptor,
    map: &MemoryMap,
    chain: &mut Chain,
) -> Result<Option<Descriptor>, ChainError> {
    let mut descriptor = first;
    for _ in 0..size.min(MAX_CHAIN_DESCRIPTORS) {
        if descriptor.flags & INDIRECT != 0 {
            return Ok(Some(descriptor));
        }
        chain.push(map, descriptor.segment, descriptor.flags & WRITE != 0)?;
        if descriptor.flags & NEXT == 0 {
            return Ok(None);
        }
        if descriptor.next >= size {
            return Err(ChainError::NoSuchDescriptor);
        }
        descriptor = Descriptor::load(table, usize::from(descriptor.next));
    }
    Err(ChainError::Endless)
}

/// Reads the rest of a chain, which has a table of its own.
fn read_indirect(
    head: Descriptor,
    options: QueueOptions,
    map: &MemoryMap,
    chain: &mut Chain,
) -> Result<(), ChainError> {
    if !options.has_indirect || head.flags & NEXT != 0 {
        return Err(ChainError::Indirect);
    }
    let (table, size) = indirect_table(head.segment, options.size, map)?;
    let rest = read_table(&table, size, Descriptor::load(&table, 0), map, chain)?;
    rest.map_or(Ok(()), |_| Err(ChainError::Indirect))
}

/// A table of descriptors that a descriptor stands for, and how many it has.
pub(crate) fn indirect_table(
    segment: Segment,
    max: u16,
    map: &MemoryMap,
) -> Result<(Cells<AtomicU64>, u16), ChainError> {
    let bytes = segment.len as usize;
    let size =
        u16::try_from(bytes / DESCRIPTOR_BYTES).ok().filter(|size| (1..=max.min(MAX_CHAIN_DESCRIPTORS)).contains(size));
    let size = size.filter(|_| bytes.is_multiple_of(DESCRIPTOR_BYTES)).ok_or(ChainError::IndirectLength)?;
    let memory = map.memory(segment).ok_or(ChainError::NotMapped)?;
    let cells = memory.cells(2 * usize::from(size)).map_err(|_| ChainError::IndirectLength)?;
    Ok((cells, size))
}
