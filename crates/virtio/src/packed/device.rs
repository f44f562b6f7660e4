//! The device's side of a packed virtqueue.

use core::sync::atomic::{Ordering, fence};

use super::{
    Areas, EVENTS_AT_DESCRIPTOR, EVENTS_DISABLED, EVENTS_ENABLED, INDIRECT, NEXT, Position, QueueOptions, Ring,
    Segment, SetupError, WRITE, Word, has_to_be_told,
};
use crate::memory::MemoryMap;
use crate::queue::{Broken, Chain, ChainError, ChainId, Single, Taken};
use crate::split::indirect_table;

/// Takes chains and gives them back.
#[derive(Debug)]
pub struct Device {
    ring: Ring,
    options: QueueOptions,
    take_at: Position,
    put_at: Position,
    /// Descriptors of the chains that were taken and not given back. The driver has those that are unpublished for out too.
    out: u16,
    /// The first descriptor that the driver can't see yet, which goes last, and how many were given back from there on.
    held: Option<(u16, Word)>,
    unpublished: u16,
    is_notified: bool,
}

impl Device {
    /// A queue that goes on at a place of the ring, [`NEW`](super::NEW) for one whose memory is zero: the index, and in the highest bit the
    /// wrap counter.
    ///
    /// # Errors
    /// If the size is none, the place is not in the ring, or the areas are too small or not aligned.
    pub fn new(areas: &Areas, options: QueueOptions, base: u16) -> Result<Self, SetupError> {
        let ring = Ring::new(areas, options.size)?;
        let at = Position::from_bits(base);
        if at.index >= ring.size {
            return Err(SetupError::Area("descriptors from its base on"));
        }
        Ok(Self { ring, options, take_at: at, put_at: at, out: 0, held: None, unpublished: 0, is_notified: true })
    }

    /// The place behind what was given back, from which another device goes on if nothing is out.
    pub fn base(&self) -> u16 {
        self.put_at.to_bits()
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
        let size = self.ring.size;
        let mut at = self.take_at;
        let mut word = Word::load(self.ring.word(at.index), Ordering::Acquire);
        if !word.is_available(at.round) {
            return Ok(Taken::Nothing);
        }
        chain.begin(word.id);
        let mut result = Ok(());
        let mut slots = 1;
        loop {
            let address = self.ring.address(at.index).load(Ordering::Relaxed);
            let segment = Segment { address, len: word.len };
            result = result.and_then(|()| self.read(segment, word, slots, map, chain));
            at.advance(1, size);
            if word.flags & NEXT == 0 {
                break;
            }
            if slots == size {
                return Err(Broken::Endless);
            }
            slots += 1;
            word = Word::load(self.ring.word(at.index), Ordering::Relaxed);
        }
        if slots > size - self.out - self.unpublished && !planted::is("virtio_more_than_the_ring") {
            return Err(Broken::Index);
        }
        // The number is in the last descriptor (§2.8.8).
        chain.id = ChainId { id: word.id, slots };
        self.out += slots;
        self.take_at = at;
        Ok(result.map_or_else(Taken::Refused, |()| Taken::Chain))
    }

    #[inline]
    fn read(
        &self,
        segment: Segment,
        word: Word,
        slots: u16,
        map: &MemoryMap,
        chain: &mut Chain,
    ) -> Result<(), ChainError> {
        if word.flags & INDIRECT == 0 {
            return chain.push(map, segment, word.flags & WRITE != 0);
        }
        if !self.options.has_indirect || slots > 1 || word.flags & NEXT != 0 {
            return Err(ChainError::Indirect);
        }
        // All of the table is the chain, in its order (§2.8.7).
        let (table, count) = indirect_table(segment, self.options.size, map)?;
        for index in 0..usize::from(count) {
            let word = Word::load(table.at(2 * index + 1), Ordering::Relaxed);
            let address = table.at(2 * index).load(Ordering::Relaxed);
            if word.flags & INDIRECT != 0 {
                return Err(ChainError::Indirect);
            }
            chain.push(map, Segment { address, len: word.len }, word.flags & WRITE != 0)?;
        }
        Ok(())
    }

    /// See [`DeviceQueue::peek`](crate::DeviceQueue::peek).
    #[inline]
    pub(crate) fn peek(&self, is_writable: bool, singles: &mut [Single]) -> usize {
        let wanted = if is_writable { WRITE } else { 0 };
        // What breaks the ring is found when it is taken as any other.
        let free = usize::from(self.ring.size - self.out - self.unpublished);
        let mut at = self.take_at;
        let mut count = 0;
        for single in singles.iter_mut().take(free) {
            let word = Word::load(self.ring.word(at.index), Ordering::Acquire);
            if !word.is_available(at.round) || word.flags & (INDIRECT | NEXT | WRITE) != wanted {
                break;
            }
            let address = self.ring.address(at.index).load(Ordering::Relaxed);
            *single = Single { id: ChainId { id: word.id, slots: 1 }, segment: Segment { address, len: word.len } };
            at.advance(1, self.ring.size);
            count += 1;
        }
        count
    }

    /// Takes the next chain, of one descriptor, which was looked at.
    #[inline]
    pub(crate) fn take_single(&mut self) {
        self.take_at.advance(1, self.ring.size);
        self.out += 1;
    }

    /// See [`DeviceQueue::untake`](crate::DeviceQueue::untake).
    pub fn untake(&mut self, chains: &[ChainId]) {
        for chain in chains {
            self.take_at.retreat(chain.slots, self.ring.size);
            self.out -= chain.slots;
        }
    }

    /// See [`DeviceQueue::put_used`](crate::DeviceQueue::put_used).
    #[inline]
    pub fn put_used(&mut self, chain: ChainId, written: u32) {
        let wrote = if written > 0 { WRITE } else { 0 };
        let word = Word { len: written, id: chain.id, flags: wrote | self.put_at.used_flags() };
        let index = self.put_at.index;
        if self.held.is_none() {
            self.held = Some((index, word));
        } else {
            word.store(self.ring.word(index), Ordering::Relaxed);
        }
        self.put_at.advance(chain.slots, self.ring.size);
        self.unpublished += chain.slots;
        self.out -= chain.slots;
    }

    /// See [`DeviceQueue::publish`](crate::DeviceQueue::publish).
    #[must_use]
    #[inline]
    pub fn publish(&mut self) -> bool {
        let Some((index, word)) = self.held.take() else { return false };
        word.store(self.ring.word(index), Ordering::Release);
        let count = core::mem::take(&mut self.unpublished);
        fence(Ordering::SeqCst);
        has_to_be_told(self.ring.driver_events.at(0).load(Ordering::Relaxed), self.put_at, count, self.ring.size)
    }

    /// See [`DeviceQueue::enable_notifications`](crate::DeviceQueue::enable_notifications).
    #[must_use]
    pub fn enable_notifications(&mut self) -> bool {
        self.is_notified = true;
        let wish = if self.options.has_event_index {
            EVENTS_AT_DESCRIPTOR | u32::from(self.take_at.to_bits())
        } else {
            EVENTS_ENABLED
        };
        self.ring.device_events.at(0).store(wish, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        Word::load(self.ring.word(self.take_at.index), Ordering::Relaxed).is_available(self.take_at.round)
    }

    /// See [`DeviceQueue::disable_notifications`](crate::DeviceQueue::disable_notifications).
    pub fn disable_notifications(&mut self) {
        if core::mem::take(&mut self.is_notified) {
            self.ring.device_events.at(0).store(EVENTS_DISABLED, Ordering::Relaxed);
        }
    }
}
