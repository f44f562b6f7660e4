//! Messages that have arrived and wait for their turn.

use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;

use super::contained::contain;
use super::slot::{Arrival, Message};

/// A first-in first-out queue that runs messages from where they lie, so that each is copied only once on its
/// way from the ring.
///
/// Its methods take shared references: a message that runs may add to the inbox it came from.
#[derive(Default)]
pub(crate) struct Inbox(UnsafeCell<Places>);

#[derive(Default)]
struct Places {
    /// A power of two of places, or none.
    places: Box<[MaybeUninit<Message>]>,
    head: usize,
    len: usize,
}

const FIRST_CAPACITY: usize = 64;

impl Inbox {
    /// Runs `f`, which calls nothing but methods of `Places`, on the queue.
    #[inline]
    fn with<R>(&self, f: impl FnOnce(&mut Places) -> R) -> R {
        // SAFETY: an inbox stays on its thread, and `f` calls no foreign code that could come here again.
        f(unsafe { &mut *self.0.get() })
    }

    /// How many messages wait.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.with(|places| places.len)
    }

    /// Whether none waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a message.
    #[inline]
    pub(crate) fn push(&self, message: Message) {
        self.push_with(|place| {
            place.write(message);
        });
    }

    /// Appends the message that `put` writes; it calls no foreign code.
    #[inline(always)]
    fn push_with(&self, put: impl FnOnce(&mut MaybeUninit<Message>)) {
        self.with(|places| places.push_with(put));
    }

    /// Appends a message that lies in a ring.
    #[inline(always)]
    pub(crate) fn push_arrival(&self, arrival: Arrival<'_>) {
        self.push_with(|place| arrival.move_to(place));
    }

    /// Takes the oldest message.
    pub(crate) fn pop(&self) -> Option<Message> {
        // SAFETY: the place holds the oldest message, and it is forgotten there.
        self.with(|places| places.take_oldest().map(|place| unsafe { place.read() }))
    }

    /// Drops all messages; their panics are contained.
    pub(crate) fn clear(&self) {
        while let Some(message) = self.pop() {
            contain("dropping a message", || drop(message));
        }
    }

    /// Runs the oldest message; answers whether there was one. Its panics pass through.
    #[inline]
    pub(crate) fn run_oldest(&self) -> bool {
        let Some(place) = self.with(Places::take_oldest) else { return false };
        // SAFETY: the place holds the message that was just taken off the queue. Running it moves the closure out
        // of the place before anything else happens, so the closure may reuse the place by adding to the inbox.
        unsafe { Message::run_at(place) };
        true
    }
}

impl Places {
    #[inline(always)]
    fn push_with(&mut self, put: impl FnOnce(&mut MaybeUninit<Message>)) {
        if self.len == self.places.len() {
            self.grow();
        }
        let index = self.index(self.len);
        put(&mut self.places[index]);
        self.len += 1;
    }

    /// Takes the oldest message off the queue and answers the place where it lies.
    #[inline]
    fn take_oldest(&mut self) -> Option<*mut Message> {
        if self.len == 0 {
            return None;
        }
        let index = self.head;
        self.head = self.index(1);
        self.len -= 1;
        Some(self.places[index].as_mut_ptr())
    }

    /// Index of the `n`th place from the oldest message on.
    #[inline]
    fn index(&self, n: usize) -> usize {
        (self.head + n) & (self.places.len() - 1)
    }

    #[cold]
    fn grow(&mut self) {
        let capacity = (self.places.len() * 2).max(FIRST_CAPACITY);
        let mut places = Box::new_uninit_slice(capacity);
        for (n, place) in places.iter_mut().enumerate().take(self.len) {
            let from = self.index(n);
            // SAFETY: the place holds the nth message; the old places are given up below without dropping them.
            place.write(unsafe { self.places[from].assume_init_read() });
        }
        self.places = places;
        self.head = 0;
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.clear();
    }
}
