//! Values that did not come in one buffer: put together in memory that all connections of a shard share.
//!
//! Memory is reserved piece by piece, as bytes come. When a piece is wanted and there is none left, values give way of which nothing
//! has come for [`STALE_TICKS`]; if there is none of those either, the value that wants the piece is refused.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::fmt;

use sunstar_packet::{Buffer, BufferMut};

use crate::endpoint::Endpoint;
use crate::input::PIECE_BYTES;
use crate::limits::FREE_VALUE_BYTES;
use crate::value::Value;

/// A value gives way to others when nothing of it has come for so many [ticks](Endpoint::tick), and all of the one before them.
pub(crate) const STALE_TICKS: u64 = 3;

/// The values of all connections, and the memory that they have.
#[derive(Default)]
pub(crate) struct Pending {
    values: RefCell<BTreeMap<u64, Rc<Place>>>,
    /// The number of the next one.
    next: Cell<u64>,
    bytes: Cell<usize>,
    now_ticks: Cell<u64>,
    given_up: Cell<u64>,
}

/// Where a value is put together, by its connection, and given up by others.
#[derive(Default)]
struct Place {
    /// None while bytes are put to it, and when it was given up.
    value: Cell<Option<Parts>>,
    /// When bytes have come.
    last_ticks: Cell<u64>,
}

/// A value under way.
struct Parts {
    complete: Value,
    piece: BufferMut,
    /// Of its end, how many bytes have come, and whether they are right.
    end: (usize, bool),
    reserved_bytes: usize,
}

/// A connection's value under way. It is given up when this is dropped.
pub(crate) struct Joining {
    endpoint: Endpoint,
    place: Rc<Place>,
    number: u64,
    /// Its length, what follows it, and how many bytes of both have come.
    len: usize,
    ending: &'static [u8],
    taken: usize,
}

/// How far it is.
pub(crate) enum Joined {
    /// All of it is there; whether it is ended as it should.
    Complete(Value, bool),
    Partial,
    /// There is no memory for it. So many bytes of it and its end are yet to come.
    NoMemory(usize),
}

impl Pending {
    /// How many bytes they have.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// How many have given way to others.
    pub(crate) fn given_up(&self) -> u64 {
        self.given_up.get()
    }

    pub(crate) fn tick(&self) {
        self.now_ticks.update(|ticks| ticks + 1);
    }

    /// Takes memory for a value that has so much already; false if others have it and need it.
    fn reserve(&self, bytes: usize, has_bytes: usize, limit_bytes: usize) -> bool {
        while self.bytes.get() + bytes > limit_bytes && has_bytes + bytes > FREE_VALUE_BYTES {
            if !self.give_up_stale() {
                return false;
            }
        }
        self.bytes.update(|sum| sum + bytes);
        true
    }

    fn release(&self, bytes: usize) {
        if !planted::is("memcache_reservation_kept") {
            self.bytes.update(|sum| sum - bytes);
        }
    }

    /// Gives up the value for which nothing has come for the longest time, if that is long enough.
    fn give_up_stale(&self) -> bool {
        let values = self.values.borrow();
        let Some(place) = values.values().min_by_key(|place| place.last_ticks.get()) else { return false };
        if self.now_ticks.get().saturating_sub(place.last_ticks.get()) <= STALE_TICKS
            || planted::is("memcache_stale_stays")
        {
            return false;
        }
        // It holds none, and is looked at no more.
        place.last_ticks.set(u64::MAX);
        if let Some(parts) = place.value.take() {
            self.release(parts.reserved_bytes);
            self.given_up.update(|count| count + 1);
        }
        true
    }
}

impl Joining {
    /// A value of this length of which nothing has come; `None` if there is no memory for its beginning.
    pub(crate) fn begin(endpoint: &Endpoint, len: usize, ending: &'static [u8]) -> Option<Self> {
        let pending = endpoint.pending();
        let bytes = len.min(PIECE_BYTES);
        if !pending.reserve(bytes, 0, endpoint.limits().pending_value_bytes) {
            return None;
        }
        let piece = BufferMut::with_capacity(0, bytes);
        let parts = Parts { complete: Value::new(), piece, end: (0, true), reserved_bytes: bytes };
        let number = pending.next.get();
        pending.next.set(number + 1);
        let place = Rc::new(Place { value: Cell::new(Some(parts)), last_ticks: pending.now_ticks.clone() });
        pending.values.borrow_mut().insert(number, Rc::clone(&place));
        Some(Self { endpoint: endpoint.clone(), place, number, len, ending, taken: 0 })
    }

    /// Puts bytes to it.
    pub(crate) fn take(&mut self, from: &mut Buffer) -> Joined {
        let Some(mut parts) = self.place.value.take() else { return Joined::NoMemory(self.left()) };
        let pending = self.endpoint.pending();
        if !from.is_empty() {
            self.place.last_ticks.set(pending.now_ticks.get());
        }
        let before = from.len();
        let is_refused = !parts.take(self.len, self.ending, from, &self.endpoint);
        self.taken += before - from.len();
        if is_refused {
            pending.release(parts.reserved_bytes);
            return Joined::NoMemory(self.left());
        }
        if parts.complete.len() < self.len || parts.end.0 < self.ending.len() {
            self.place.value.set(Some(parts));
            return Joined::Partial;
        }
        pending.release(parts.reserved_bytes);
        Joined::Complete(parts.complete.into_owned(), parts.end.1)
    }

    fn left(&self) -> usize {
        self.len + self.ending.len() - self.taken
    }
}

impl Drop for Joining {
    fn drop(&mut self) {
        let pending = self.endpoint.pending();
        pending.values.borrow_mut().remove(&self.number);
        if let Some(parts) = self.place.value.take() {
            pending.release(parts.reserved_bytes);
        }
    }
}

impl Parts {
    /// Puts bytes to it; false if there is no memory for the next piece.
    fn take(&mut self, len: usize, ending: &[u8], from: &mut Buffer, endpoint: &Endpoint) -> bool {
        while self.complete.len() < len {
            let missing = len - self.complete.len() - self.piece.len();
            let room = self.piece.tailroom();
            let count = missing.min(room).min(from.len());
            self.piece.extend_from_slice(&from[..count]).expect("a piece has room for what is missing");
            from.advance(count);
            if count < missing.min(room) {
                return true;
            }
            let next_bytes = (missing - count).min(PIECE_BYTES);
            if next_bytes > 0 && from.is_empty() {
                // It is not known whether anything follows.
                return true;
            }
            let limit_bytes = endpoint.limits().pending_value_bytes;
            if next_bytes > 0 && !endpoint.pending().reserve(next_bytes, self.reserved_bytes, limit_bytes) {
                endpoint.count_refused_value();
                return false;
            }
            self.reserved_bytes += next_bytes;
            let next = BufferMut::with_capacity(0, next_bytes);
            self.complete.push(core::mem::replace(&mut self.piece, next).freeze());
        }
        while self.end.0 < ending.len()
            && let Some(byte) = from.first()
        {
            if !planted::is("memcache_end_split") {
                self.end.1 &= *byte == ending[self.end.0];
            }
            self.end.0 += 1;
            from.advance(1);
        }
        true
    }
}

impl fmt::Debug for Joining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joining").field("len", &self.len).field("taken", &self.taken).finish_non_exhaustive()
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
