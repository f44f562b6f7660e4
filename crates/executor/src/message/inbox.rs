//! Messages that have arrived and wait for their turn.

use alloc::boxed::Box;
use core::mem::MaybeUninit;

use super::slot::Message;

/// A first-in first-out queue that runs messages from where they lie, so that each is copied only once on its
/// way from the ring.
#[derive(Default)]
pub(crate) struct Inbox {
    /// A power of two of places, or none.
    places: Box<[MaybeUninit<Message>]>,
    head: usize,
    len: usize,
}

const FIRST_CAPACITY: usize = 64;

impl Inbox {
    /// How many messages wait.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether none waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a message.
    #[inline]
    pub(crate) fn push(&mut self, message: Message) {
        if self.len == self.places.len() {
            self.grow();
        }
        let place = self.place(self.len);
        self.places[place].write(message);
        self.len += 1;
    }

    /// Takes the oldest message.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Message> {
        // SAFETY: the place holds the oldest message, and it is forgotten there.
        self.take_oldest().map(|place| unsafe { place.read() })
    }

    /// Takes the place of the oldest message off the queue.
    #[inline]
    fn take_oldest(&mut self) -> Option<*mut Message> {
        if self.len == 0 {
            return None;
        }
        let place = self.head;
        self.head = self.place(1);
        self.len -= 1;
        Some(self.places[place].as_mut_ptr())
    }

    /// Index of the `n`th place from the oldest message on.
    #[inline]
    fn place(&self, n: usize) -> usize {
        (self.head + n) & (self.places.len() - 1)
    }

    #[cold]
    fn grow(&mut self) {
        let capacity = (self.places.len() * 2).max(FIRST_CAPACITY);
        let mut places = Box::new_uninit_slice(capacity);
        for (n, place) in places.iter_mut().enumerate().take(self.len) {
            let from = self.place(n);
            // SAFETY: the place holds the nth message; the old places are given up below without dropping them.
            let message = unsafe { self.places[from].assume_init_read() };
            *place = MaybeUninit::new(message);
        }
        self.places = places;
        self.head = 0;
    }
}

/// Runs the oldest message of the inbox that `inbox` points to; answers whether there was one.
///
/// # Safety
/// `inbox` must be valid and not borrowed when this is called; the closure may use the inbox as it likes.
#[inline]
pub(crate) unsafe fn run_oldest(inbox: *mut Inbox) -> bool {
    // SAFETY: by the caller's promise nothing else has a reference; this one ends before the closure runs.
    let Some(place) = (unsafe { (*inbox).take_oldest() }) else { return false };
    // SAFETY: the place holds the message that was just taken off the queue. Running moves the closure out of the
    // place before anything else happens, so that the closure may overwrite it by adding to the inbox.
    unsafe { Message::run_at(place) };
    true
}

impl Drop for Inbox {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}
