//! The driver's side of a split virtqueue.

use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{Ordering, fence};

use super::{
    Areas, Descriptor, INDIRECT, NEXT, NO_NOTIFICATION, QueueOptions, Ring, Segment, SetupError, WRITE, passes,
};
use crate::queue::{Broken, Full, IndirectTables, Tables, Used};

/// Makes chains available and takes them back.
#[derive(Debug)]
pub struct Driver {
    ring: Ring,
    options: QueueOptions,
    tables: Option<Tables>,
    /// For each descriptor the one that is free after it, or the next one of its chain: what the device can't change.
    next: Vec<u16>,
    /// For each descriptor how many its chain has, if it is the head of one that is available; else 0.
    lengths: Vec<u16>,
    /// The next descriptors to be used: the last that came back; if order was negotiated, all in a circle.
    free_head: u16,
    free: u16,
    /// Index behind what was added, and what of that the device can see.
    added: u16,
    published: u16,
    /// Index behind what was taken back.
    taken: u16,
    /// The device's index as it was when it was looked at last: so many chains were used.
    used: u16,
    /// Whether the driver wants to be told.
    is_notified: bool,
    /// In order: what is being taken back.
    batch: Option<Batch>,
}

/// Some chains that one entry tells to have been used (§2.7.9).
#[derive(Clone, Copy, Debug)]
struct Batch {
    last: u16,
    written: u32,
}

impl Driver {
    /// A queue whose memory is zero. With `tables`, and if it was negotiated, chains of several parts take one descriptor.
    ///
    /// # Errors
    /// If the size is none, or an area or the tables are too small or not aligned.
    pub fn new(areas: &Areas, options: QueueOptions, tables: Option<&IndirectTables>) -> Result<Self, SetupError> {
        let ring = Ring::new(areas, options.size)?;
        let size = ring.size();
        Ok(Self {
            ring,
            options,
            tables: Tables::new(tables, options)?,
            next: (0..size).map(|index| (index + 1) & (size - 1)).collect(),
            lengths: vec![0; usize::from(size)],
            free_head: 0,
            free: size,
            added: 0,
            published: 0,
            used: 0,
            taken: 0,
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
        assert!(
            count > 0 && count <= usize::from(self.ring.size()),
            "a chain has descriptors, and no more than the ring"
        );
        #[expect(clippy::cast_possible_truncation, reason = "at most the ring's size")]
        let count = count as u16;
        let tables = self.tables.as_ref().filter(|tables| tables.takes(usize::from(count)));
        let slots = if tables.is_some() { 1 } else { count };
        if slots > self.free {
            return Err(Full);
        }
        let head = self.free_head;
        let flagged =
            readable.iter().map(|segment| (segment, 0)).chain(writable.iter().map(|segment| (segment, WRITE)));
        if let Some(tables) = tables {
            let (first, segment) = tables.table(head, count);
            for ((segment, flags), nth) in flagged.zip(1..) {
                let (flags, next) = if nth == count { (flags, 0) } else { (flags | NEXT, nth) };
                Descriptor { segment: *segment, flags, next }.store(&tables.cells, first + usize::from(nth) - 1);
            }
            Descriptor { segment, flags: INDIRECT, next: 0 }.store(&self.ring.descriptors, usize::from(head));
            self.free_head = self.next[usize::from(head)];
        } else {
            for ((segment, flags), left) in flagged.zip((0..count).rev()) {
                let index = usize::from(self.free_head);
                self.free_head = self.next[index];
                let (flags, next) = if left == 0 { (flags, 0) } else { (flags | NEXT, self.free_head) };
                Descriptor { segment: *segment, flags, next }.store(&self.ring.descriptors, index);
            }
        }
        self.free -= slots;
        self.lengths[usize::from(head)] = slots;
        self.ring.available_entry(self.added).store(head, Ordering::Relaxed);
        self.added = self.added.wrapping_add(1);
        Ok(head)
    }

    /// See [`DriverQueue::publish`](crate::DriverQueue::publish).
    #[must_use]
    #[inline]
    pub fn publish(&mut self) -> bool {
        if self.added == self.published {
            return false;
        }
        let old = core::mem::replace(&mut self.published, self.added);
        self.ring.available_index().store(self.added, Ordering::Release);
        // Either the device sees the new index when it looks once more before it sleeps, or its wish is seen here.
        fence(Ordering::SeqCst);
        if self.options.has_event_index {
            passes(self.ring.available_event().load(Ordering::Relaxed), old, self.added)
        } else {
            self.ring.used_flags().load(Ordering::Relaxed) & NO_NOTIFICATION == 0
        }
    }

    /// See [`DriverQueue::take_used`](crate::DriverQueue::take_used).
    ///
    /// # Errors
    /// If what the device has written makes no sense.
    #[inline]
    pub fn take_used(&mut self) -> Result<Option<Used>, Broken> {
        if let Some(batch) = self.batch {
            return self.take_of_batch(batch).map(Some);
        }
        if self.used == self.taken {
            // Not before: each look fetches the line again that the device writes to.
            let index = self.ring.used_index().load(Ordering::Acquire);
            if index == self.taken {
                return Ok(None);
            }
            let most = self.published.wrapping_sub(self.taken);
            if index.wrapping_sub(self.taken) > most && !planted::is("virtio_index_believed") {
                return Err(Broken::Index);
            }
            self.used = index;
        }
        let (id, written) = self.ring.used_entry(self.taken);
        let (id, written) = (id.load(Ordering::Relaxed), written.load(Ordering::Relaxed));
        let head = u16::try_from(id).ok().filter(|head| *head < self.ring.size());
        let is_available = |head: &u16| self.lengths[usize::from(*head)] > 0 || planted::is("virtio_used_twice");
        let head = head.filter(is_available).ok_or(Broken::NotAvailable(id))?;
        if self.options.is_in_order {
            return self.take_of_batch(Batch { last: head, written }).map(Some);
        }
        self.taken = self.taken.wrapping_add(1);
        self.give_back(head);
        Ok(Some(Used { token: head, written: Some(written) }))
    }

    /// Takes the next chain of a batch back. All but the last count as wholly written, since nothing is said of them.
    fn take_of_batch(&mut self, batch: Batch) -> Result<Used, Broken> {
        // In order, the free descriptors are one stretch of the circle, and the oldest chain begins behind it.
        let head = self.free_head.wrapping_add(self.free) & self.ring.mask;
        if self.taken == self.used || self.lengths[usize::from(head)] == 0 {
            return Err(Broken::NotAvailable(u32::from(batch.last)));
        }
        self.taken = self.taken.wrapping_add(1);
        self.free += core::mem::take(&mut self.lengths[usize::from(head)]);
        let is_last = head == batch.last;
        self.batch = (!is_last).then_some(batch);
        Ok(Used { token: head, written: is_last.then_some(batch.written) })
    }

    /// Puts the descriptors of a chain before the other free ones.
    fn give_back(&mut self, head: u16) {
        let count = core::mem::take(&mut self.lengths[usize::from(head)]);
        let mut last = head;
        for _ in 1..count {
            last = self.next[usize::from(last)];
        }
        self.next[usize::from(last)] = self.free_head;
        self.free_head = head;
        self.free += count;
    }

    /// See [`DriverQueue::enable_notifications`](crate::DriverQueue::enable_notifications).
    #[must_use]
    pub fn enable_notifications(&mut self) -> bool {
        self.is_notified = true;
        if self.options.has_event_index {
            self.ring.used_event().store(self.taken, Ordering::Relaxed);
        } else {
            self.ring.available_flags().store(0, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        self.batch.is_some() || self.ring.used_index().load(Ordering::Relaxed) != self.taken
    }

    /// See [`DriverQueue::disable_notifications`](crate::DriverQueue::disable_notifications).
    pub fn disable_notifications(&mut self) {
        if core::mem::take(&mut self.is_notified) {
            if self.options.has_event_index {
                // As far away as a place can be: the device passes it once in 65,536 chains.
                self.ring.used_event().store(self.taken.wrapping_sub(1), Ordering::Relaxed);
            } else {
                self.ring.available_flags().store(NO_NOTIFICATION, Ordering::Relaxed);
            }
        }
    }
}
