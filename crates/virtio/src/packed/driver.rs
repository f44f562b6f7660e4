//! The driver's side of a packed virtqueue.

use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{Ordering, fence};

use super::{
    Areas, EVENTS_AT_DESCRIPTOR, EVENTS_DISABLED, EVENTS_ENABLED, INDIRECT, NEXT, Position, QueueOptions, Ring,
    Segment, SetupError, WRITE, Word, has_to_be_told,
};
use crate::queue::{Broken, Full, IndirectTables, Tables, Used};

/// Makes chains available and takes them back.
#[derive(Debug)]
pub struct Driver {
    ring: Ring,
    options: QueueOptions,
    tables: Option<Tables>,
    /// For each number of a chain: how many descriptors that has, if it is available; else 0.
    lengths: Vec<u16>,
    /// The numbers that are free, the last one first. If order was negotiated, numbers are given in a circle instead.
    free_ids: Vec<u16>,
    next_id: u16,
    oldest_id: u16,
    free: u16,
    /// Where the next descriptor goes, and where the next used one is looked for.
    add_at: Position,
    take_at: Position,
    /// The first descriptor that the device can't see yet, which goes last, and how many were written from there on.
    held: Option<(u16, Word)>,
    unpublished: u16,
    is_notified: bool,
    /// In order: the last chain of those that are being taken back, and how much of it was written.
    batch: Option<(u16, u32)>,
}

impl Driver {
    /// A queue whose memory is zero. With `tables`, and if it was negotiated, chains of several parts take one descriptor.
    ///
    /// # Errors
    /// If the size is none, or an area or the tables are too small or not aligned.
    pub fn new(areas: &Areas, options: QueueOptions, tables: Option<&IndirectTables>) -> Result<Self, SetupError> {
        let ring = Ring::new(areas, options.size)?;
        let size = ring.size;
        Ok(Self {
            ring,
            options,
            tables: Tables::new(tables, options)?,
            lengths: vec![0; usize::from(size)],
            free_ids: (0..size).rev().collect(),
            next_id: 0,
            oldest_id: 0,
            free: size,
            add_at: Position::FIRST,
            take_at: Position::FIRST,
            held: None,
            unpublished: 0,
            is_notified: true,
            batch: None,
        })
    }

    /// How many descriptors are free.
    pub fn free(&self) -> u16 {
        self.free
    }

    /// See [`DriverQueue::add`](crate::DriverQueue::add).
    ///
    /// # Errors
    /// When there is no room now.
    ///
    /// # Panics
    /// If the chain is empty or longer than the ring.
    #[inline]
    pub fn add(&mut self, readable: &[Segment], writable: &[Segment]) -> Result<u16, Full> {
        let count = readable.len() + writable.len();
        let size = self.ring.size;
        assert!(count > 0 && count <= usize::from(size), "a chain has descriptors, and no more than the ring");
        #[expect(clippy::cast_possible_truncation, reason = "at most the ring's size")]
        let count = count as u16;
        let has_table = self.tables.as_ref().is_some_and(|tables| tables.takes(usize::from(count)));
        let slots = if has_table { 1 } else { count };
        if slots > self.free {
            return Err(Full);
        }
        let id = self.take_id();
        let flagged =
            readable.iter().map(|segment| (segment, 0)).chain(writable.iter().map(|segment| (segment, WRITE)));
        if let Some(tables) = self.tables.as_ref().filter(|_| has_table) {
            let (first, table) = tables.table(id, count);
            for ((segment, flags), place) in flagged.zip(first..) {
                tables.cells.at(2 * place).store(segment.address, Ordering::Relaxed);
                Word { len: segment.len, id: 0, flags }.store(tables.cells.at(2 * place + 1), Ordering::Relaxed);
            }
            self.put(table, id, INDIRECT);
        } else {
            for ((segment, flags), left) in flagged.zip((0..count).rev()) {
                self.put(*segment, id, flags | if left > 0 { NEXT } else { 0 });
            }
        }
        self.free -= slots;
        self.lengths[usize::from(id)] = slots;
        Ok(id)
    }

    /// Writes the next descriptor.
    #[inline]
    fn put(&mut self, segment: Segment, id: u16, flags: u16) {
        let word = Word { len: segment.len, id, flags: flags | self.add_at.available_flags() };
        let index = self.add_at.index;
        self.ring.address(index).store(segment.address, Ordering::Relaxed);
        if self.held.is_none() {
            self.held = Some((index, word));
        } else {
            word.store(self.ring.word(index), Ordering::Relaxed);
        }
        self.add_at.advance(1, self.ring.size);
        self.unpublished += 1;
    }

    /// A number for a chain. There are as many as descriptors, so one is free.
    fn take_id(&mut self) -> u16 {
        if !self.options.is_in_order {
            return self.free_ids.pop().expect("there are as many numbers as descriptors");
        }
        let id = self.next_id;
        self.next_id = self.after(id);
        id
    }

    fn after(&self, id: u16) -> u16 {
        if id + 1 == self.ring.size { 0 } else { id + 1 }
    }

    /// See [`DriverQueue::publish`](crate::DriverQueue::publish).
    #[must_use]
    #[inline]
    pub fn publish(&mut self) -> bool {
        let Some((index, word)) = self.held.take() else { return false };
        word.store(self.ring.word(index), Ordering::Release);
        let count = core::mem::take(&mut self.unpublished);
        // Either the device sees the descriptor when it looks once more before it sleeps, or its wish is seen here.
        fence(Ordering::SeqCst);
        has_to_be_told(self.ring.device_events.at(0).load(Ordering::Relaxed), self.add_at, count, self.ring.size)
    }

    /// See [`DriverQueue::take_used`](crate::DriverQueue::take_used).
    ///
    /// # Errors
    /// If what the device has written makes no sense.
    #[inline]
    pub fn take_used(&mut self) -> Result<Option<Used>, Broken> {
        if let Some((last, written)) = self.batch {
            return self.take_of_batch(last, written).map(Some);
        }
        if self.free == self.ring.size {
            return Ok(None);
        }
        let word = Word::load(self.ring.word(self.take_at.index), Ordering::Acquire);
        if !word.is_used(self.take_at.round) {
            return Ok(None);
        }
        let written = if word.flags & WRITE == 0 { 0 } else { word.len };
        let is_known = self.lengths.get(usize::from(word.id)).is_some_and(|length| *length > 0);
        if !is_known && !planted::is("virtio_packed_any_chain") {
            return Err(Broken::NotAvailable(u32::from(word.id)));
        }
        if self.options.is_in_order {
            return self.take_of_batch(word.id, written).map(Some);
        }
        self.give_back(word.id);
        self.free_ids.push(word.id);
        Ok(Some(Used { token: word.id, written: Some(written) }))
    }

    /// Takes the next chain of a batch back. All but the last count as wholly written, since nothing is said of them.
    fn take_of_batch(&mut self, last: u16, written: u32) -> Result<Used, Broken> {
        let id = self.oldest_id;
        if self.lengths[usize::from(id)] == 0 {
            return Err(Broken::NotAvailable(u32::from(last)));
        }
        self.oldest_id = self.after(id);
        self.give_back(id);
        let is_last = id == last;
        self.batch = (!is_last).then_some((last, written));
        Ok(Used { token: id, written: is_last.then_some(written) })
    }

    fn give_back(&mut self, id: u16) {
        let count = core::mem::take(&mut self.lengths[usize::from(id)]);
        self.free += count;
        self.take_at.advance(count, self.ring.size);
    }

    /// See [`DriverQueue::enable_notifications`](crate::DriverQueue::enable_notifications).
    #[must_use]
    pub fn enable_notifications(&mut self) -> bool {
        self.is_notified = true;
        let wish = if self.options.has_event_index {
            EVENTS_AT_DESCRIPTOR | u32::from(self.take_at.to_bits())
        } else {
            EVENTS_ENABLED
        };
        self.ring.driver_events.at(0).store(wish, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let word = Word::load(self.ring.word(self.take_at.index), Ordering::Relaxed);
        self.batch.is_some() || (self.free < self.ring.size && word.is_used(self.take_at.round))
    }

    /// See [`DriverQueue::disable_notifications`](crate::DriverQueue::disable_notifications).
    pub fn disable_notifications(&mut self) {
        if core::mem::take(&mut self.is_notified) {
            self.ring.driver_events.at(0).store(EVENTS_DISABLED, Ordering::Relaxed);
        }
    }
}
