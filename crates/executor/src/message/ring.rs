//! The bounded ring that carries messages from one shard to another.
//!
//! The sequence number in each slot says whether the slot is full, so that the consumer needs no line but the
//! slot's own, and it never writes one. It tells how far it is in a line of its own, once per batch; the
//! producer looks there only when the ring seems full. The producer *stages* messages: it holds back the first one, behind
//! which the consumer does not look, until it [flushes](Producer::flush). So a batch changes hands by one store, and its
//! lines are not fought over while they are written.

use super::contained::contain;
use core::marker::PhantomData;
use core::mem::MaybeUninit;

use super::slot::{Arrival, Body, Kind, Label, Message, is_full};
use super::slots::Slots;
use crate::atomic::{Arc, AtomicBool, AtomicU32, Ordering};

/// Staged messages that are published without waiting for the end of the round.
const BATCH: u32 = 16;

/// So many slots before it is written, a free slot's line is asked for.
const AHEAD: u32 = 16;

/// Messages that the consumer takes before it tells the producer.
const REPORT_EVERY: u32 = 32;

const DROPPING: &str = "dropping a message";

/// What the consumer tells: a line of its own, and of its neighbour, which processors like to fetch with it.
#[repr(align(128))]
struct Progress {
    /// The position of the first message that the consumer has not taken.
    head: AtomicU32,
    /// The consumer has gone; `head` is final, and what is left is the producer's.
    closed: AtomicBool,
}

struct Ring {
    progress: Progress,
    slots: Slots,
}

impl Ring {
    /// Drops the messages that are left. Each counts as taken before it is dropped, and its panics are contained.
    ///
    /// # Safety
    /// The caller must be the only one that takes messages, now and later, with all that the other side
    /// published visible.
    unsafe fn drop_messages(&self) {
        loop {
            let head = self.progress.head.load(Ordering::Relaxed);
            let slot = self.slots.at(head);
            let header = slot.header.load(Ordering::Acquire);
            if !is_full(header, head) {
                return;
            }
            self.progress.head.store(head.wrapping_add(1), Ordering::Relaxed);
            // SAFETY: the header says that the slot is full, and the caller that nobody else takes it. The stored
            // position says that it is not taken again.
            contain(DROPPING, || drop(unsafe { slot.arrival(header) }));
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: both ends are gone. The producer published what it had staged, the consumer told how far it is.
        unsafe { self.drop_messages() };
    }
}

/// Makes a ring of `capacity` slots, a power of two.
pub(crate) fn ring(capacity: u32) -> (Producer, Consumer) {
    let progress = Progress { head: AtomicU32::new(0), closed: AtomicBool::new(false) };
    let ring = Arc::new(Ring { progress, slots: Slots::new(capacity) });
    let producer = Producer {
        ring: Arc::clone(&ring),
        tail: 0,
        end: capacity,
        published: 0,
        first: MaybeUninit::uninit(),
        first_label: Label { group: 0, generation: 0, kind: Kind::Request },
    };
    (producer, Consumer { ring, head: 0 })
}

/// The sending end, on the shard that posts.
pub(crate) struct Producer {
    ring: Arc<Ring>,
    /// The position of the next message.
    tail: u32,
    /// The position where the ring seems full: as far as the consumer had made room when we last looked.
    end: u32,
    /// The position of the first message that is not published. Those from there on are staged.
    published: u32,
    /// The first of the staged messages. The consumer watches its slot, so that is written once, when the batch is
    /// published: its line changes hands once instead of twice.
    first: MaybeUninit<Body>,
    first_label: Label,
}

impl Producer {
    /// Whether a message would be taken; looks at the consumer's progress if the ring seems full.
    #[inline]
    pub(crate) fn has_room(&mut self) -> bool {
        self.tail != self.end || self.look_for_room()
    }

    #[cold]
    fn look_for_room(&mut self) -> bool {
        let head = self.ring.progress.head.load(Ordering::Acquire);
        self.end = head.wrapping_add(self.ring.slots.capacity());
        self.tail != self.end
    }

    /// Stages a closure. A full batch is published at once, and so is what is staged when the ring is full.
    ///
    /// It is inlined, with its callers, to where the closure is made, so that what the closure holds goes from registers
    /// to the slot. Read back from the stack it would wait for the stores before it, which wait for the lines of slots.
    ///
    /// # Errors
    /// The closure comes back if there is no room.
    #[inline(always)]
    pub(crate) fn push<F: FnOnce() + Send + 'static>(&mut self, label: Label, f: F) -> Result<(), F> {
        if !self.has_room() {
            self.flush();
            return Err(f);
        }
        if self.has_staged() {
            let slot = self.ring.slots.at(self.tail);
            // SAFETY: this is the ring's one producer, and the consumer has told that it is past the slot's last lap.
            unsafe { slot.put(f) };
            // The first one's release publishes this store too: the consumer gets here only past that one.
            slot.header.store(label.header(self.tail), Ordering::Relaxed);
        } else {
            // SAFETY: nothing is staged, so the place is free.
            unsafe { Body::write(self.first.as_mut_ptr(), f) };
            self.first_label = label;
        }
        self.count_staged();
        Ok(())
    }

    /// Stages a message that waited for room; otherwise like [`Producer::push`].
    ///
    /// # Errors
    /// The message comes back if there is no room.
    #[inline]
    pub(crate) fn push_message(&mut self, message: Message) -> Result<(), Message> {
        if !self.has_room() {
            self.flush();
            return Err(message);
        }
        if self.has_staged() {
            let (slot, label) = (self.ring.slots.at(self.tail), message.label());
            // SAFETY: as in `push`.
            unsafe { slot.put_message(message) };
            slot.header.store(label.header(self.tail), Ordering::Relaxed);
        } else {
            self.first_label = message.label();
            self.first.write(message.into_body());
        }
        self.count_staged();
        Ok(())
    }

    #[inline(always)]
    fn has_staged(&self) -> bool {
        self.tail != self.published
    }

    /// Counts the message that was just staged.
    #[inline(always)]
    fn count_staged(&mut self) {
        if self.end.wrapping_sub(self.tail) > AHEAD {
            self.ring.slots.prefetch_for_write(self.tail.wrapping_add(AHEAD));
        }
        self.tail = self.tail.wrapping_add(1);
        if self.tail.wrapping_sub(self.published) == BATCH {
            self.flush();
        }
    }

    /// Publishes what is staged; answers whether there was anything.
    #[inline]
    pub(crate) fn flush(&mut self) -> bool {
        if !self.has_staged() {
            return false;
        }
        let first = self.published;
        let slot = self.ring.slots.at(first);
        // SAFETY: as in `push`. The first message is there, since some are staged, and moves once: none will be.
        unsafe { slot.put_body(self.first.as_ptr()) };
        let publish = if planted::is("ring_missing_release") { Ordering::Relaxed } else { Ordering::Release };
        slot.header.store(self.first_label.header(first), publish);
        self.published = self.tail;
        true
    }

    /// Whether the consumer has gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.ring.progress.closed.load(Ordering::Acquire)
    }

    /// If the consumer has gone, answers what it left behind.
    pub(crate) fn reclaim(&mut self) -> Option<LeftBehind> {
        self.is_closed().then(|| {
            self.flush();
            LeftBehind { ring: Arc::clone(&self.ring), _local: PhantomData }
        })
    }
}

/// Messages that the consumer never took.
pub(crate) struct LeftBehind {
    ring: Arc<Ring>,
    /// It stays on the producer's thread.
    _local: PhantomData<*const ()>,
}

impl LeftBehind {
    /// Drops them. Their panics are contained.
    pub(crate) fn drop_messages(&self) {
        // SAFETY: the consumer has gone, and what the producer published is visible to its thread, which is this one. A
        // call within this one takes other messages, since each counts as taken before it is dropped.
        unsafe { self.ring.drop_messages() };
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.flush();
    }
}

/// The receiving end, on the shard that runs the messages.
pub(crate) struct Consumer {
    ring: Arc<Ring>,
    /// The position of the next message.
    head: u32,
}

impl Consumer {
    /// Whether a message waits.
    #[inline]
    pub(crate) fn has_messages(&self) -> bool {
        is_full(self.ring.slots.at(self.head).header.load(Ordering::Relaxed), self.head)
    }

    /// Takes up to `budget` messages, oldest first, and answers how many it took.
    ///
    /// If `receive` panics, the message it was given counts as taken.
    #[inline]
    pub(crate) fn drain(&mut self, budget: u32, mut receive: impl FnMut(Arrival<'_>)) -> u32 {
        self.drain_admitted(budget, |_| Some(()), |(), arrival| receive(arrival))
    }

    /// As [`Consumer::drain`], up to the first message that `admit` does not find a place for.
    #[inline]
    pub(crate) fn drain_admitted<P>(
        &mut self,
        budget: u32,
        mut admit: impl FnMut(Label) -> Option<P>,
        mut receive: impl FnMut(P, Arrival<'_>),
    ) -> u32 {
        let ring = &*self.ring;
        let mut batch = Batch { ring, head: &mut self.head, count: 0 };
        while batch.count < budget {
            let slot = ring.slots.at(*batch.head);
            let header = slot.header.load(Ordering::Acquire);
            if !is_full(header, *batch.head) {
                break;
            }
            let Some(place) = admit(Label::of(header)) else { break };
            if planted::is("ring_early_head") {
                ring.progress.head.store(batch.head.wrapping_add(1), Ordering::Release);
            }
            // SAFETY: this is the ring's one consumer, the header says that the slot is full, and `Batch` tells the
            // producer only about slots that `receive` has been through.
            receive(place, batch.count(unsafe { slot.arrival(header) }));
        }
        batch.count
    }
}

/// A batch in the making; tells the producer how far it came, also if the receiver panics.
struct Batch<'a> {
    ring: &'a Ring,
    head: &'a mut u32,
    count: u32,
}

impl Batch<'_> {
    /// Counts an arrival as taken, and tells the producer about those before it if that is due.
    #[inline(always)]
    fn count<'s>(&mut self, arrival: Arrival<'s>) -> Arrival<'s> {
        if self.count.is_multiple_of(REPORT_EVERY) && self.count > 0 {
            self.report();
        }
        *self.head = self.head.wrapping_add(1);
        self.count += 1;
        arrival
    }

    #[inline]
    fn report(&self) {
        self.ring.progress.head.store(*self.head, Ordering::Release);
    }
}

impl Drop for Batch<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.count > 0 {
            self.report();
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.drain(u32::MAX, |arrival| contain(DROPPING, || drop(arrival)));
        self.ring.progress.closed.store(true, Ordering::Release);
    }
}
