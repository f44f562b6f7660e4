//! Values that lie outside of pages, and how much memory they take until the last who has a part of one lets it go.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;

use sunstar_packet::{Buffer, BufferMut};

use crate::input::PIECE_BYTES;
use crate::value::Value;

/// What the heap takes for one piece beside its bytes, at most: the headers of the bytes and of their owner, the place in the list of
/// pieces, and the crossing of one that has come from another shard.
const PIECE_OVERHEAD_BYTES: usize = 256;

/// Values by number, and the memory of their pieces.
#[derive(Default)]
pub(super) struct Large {
    values: Vec<Value>,
    /// Numbers of values that are gone.
    free: Vec<u32>,
    /// Of values that have numbers.
    kept_bytes: usize,
    usage: Rc<Usage>,
}

/// The memory of all pieces.
#[derive(Default)]
struct Usage {
    /// Of those that anybody has.
    live_bytes: Cell<usize>,
    /// Of those that are gone, since the store was made.
    freed_bytes: Cell<u64>,
}

/// A piece that counts for as long as anybody has a part of it: an answer may have one long after its item is gone.
struct Piece {
    bytes: Buffer,
    usage: Rc<Usage>,
}

impl Large {
    /// What a value of this length takes.
    pub(super) const fn cost_bytes(value_bytes: usize) -> usize {
        value_bytes + value_bytes.div_ceil(PIECE_BYTES) * PIECE_OVERHEAD_BYTES
    }

    /// The memory of values, also of those that are gone and that somebody still has.
    pub(super) fn memory_bytes(&self) -> usize {
        self.usage.live_bytes.get()
            + self.values.capacity() * size_of::<Value>()
            + self.free.capacity() * size_of::<u32>()
    }

    /// The memory of pieces that nobody has any more.
    pub(super) fn freed_bytes(&self) -> u64 {
        self.usage.freed_bytes.get()
    }

    /// The memory of values that are gone and that somebody still has.
    pub(super) fn held_bytes(&self) -> usize {
        self.usage.live_bytes.get().saturating_sub(self.kept_bytes)
    }

    /// The value in memory that belongs to nobody else, and that counts.
    pub(super) fn keep(&self, value: &Value) -> Value {
        if value.is_owned() {
            return Value::owned(value.pieces().iter().map(|piece| self.piece(piece.clone())));
        }
        let owned = own(parts(value), value.len());
        Value::owned(owned.into_pieces().map(|piece| self.piece(piece)))
    }

    /// The value of this number with another one behind or before it. Whole pieces are those of the old one: what is copied is the
    /// other one and a piece.
    pub(super) fn extended(&self, number: u32, value: &Value, is_behind: bool) -> Value {
        let old = self.of(number).pieces();
        let at = if is_behind { old.len() - 1 } else { 0 };
        let (edge, is_whole) = (&old[at], old[at].len() >= PIECE_BYTES);
        let len = value.len() + if is_whole { 0 } else { edge.len() };
        let edge = (!is_whole).then_some(&**edge);
        let fresh =
            if is_behind { own(edge.into_iter().chain(parts(value)), len) } else { own(parts(value).chain(edge), len) };
        let fresh = fresh.into_pieces().map(|piece| self.piece(piece));
        let rest = if is_behind { &old[..at + usize::from(is_whole)] } else { &old[usize::from(!is_whole)..] };
        let rest = rest.iter().cloned();
        if is_behind { Value::owned(rest.chain(fresh)) } else { Value::owned(fresh.chain(rest)) }
    }

    /// Takes a value that was [kept](Self::keep), and gives it a number.
    pub(super) fn add(&mut self, value: Value) -> u32 {
        self.kept_bytes += cost_of(&value);
        if let Some(number) = self.free.pop() {
            self.values[number as usize] = value;
            return number;
        }
        self.values.push(value);
        u32::try_from(self.values.len() - 1).expect("each has 4 KiB at least")
    }

    pub(super) fn of(&self, number: u32) -> &Value {
        &self.values[number as usize]
    }

    /// Whether anybody else has a part of the value, so that its memory would not be free without it.
    pub(super) fn is_lent(&self, number: u32) -> bool {
        self.of(number).pieces().iter().any(|piece| !piece.is_unique())
    }

    pub(super) fn remove(&mut self, number: u32) {
        let value = core::mem::take(&mut self.values[number as usize]);
        self.kept_bytes -= cost_of(&value);
        self.free.push(number);
    }

    /// A piece that counts from now on.
    fn piece(&self, bytes: Buffer) -> Buffer {
        if planted::is("memcache_lent_uncounted") {
            return bytes;
        }
        let usage = Rc::clone(&self.usage);
        usage.live_bytes.update(|sum| sum + piece_bytes(&bytes));
        Buffer::from_owner(Piece { bytes, usage })
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.usage.live_bytes.update(|sum| sum - piece_bytes(&self.bytes));
        self.usage.freed_bytes.update(|sum| sum + piece_bytes(&self.bytes) as u64);
    }
}

fn piece_bytes(piece: &Buffer) -> usize {
    piece.len() + PIECE_OVERHEAD_BYTES
}

fn cost_of(value: &Value) -> usize {
    value.pieces().iter().map(piece_bytes).sum()
}

/// Copies bytes into memory that belongs to a value alone: what was received may be a small part of a large buffer.
pub(super) fn own<'a>(parts: impl IntoIterator<Item = &'a [u8]>, len: usize) -> Value {
    let mut value = Value::new();
    let room = |left: usize| BufferMut::with_capacity(0, left.min(PIECE_BYTES));
    let mut piece = room(len);
    let mut left = len;
    for mut part in parts {
        while !part.is_empty() {
            if piece.tailroom() == 0 {
                value.push(core::mem::replace(&mut piece, room(left)).freeze());
            }
            let (front, rest) = part.split_at(part.len().min(piece.tailroom()));
            piece.extend_from_slice(front).expect("the front is as long as there is room");
            left -= front.len();
            part = rest;
        }
    }
    value.push(piece.freeze());
    value.into_owned()
}

/// The bytes of a value, piece by piece.
pub(super) fn parts(value: &Value) -> impl Iterator<Item = &[u8]> {
    value.pieces().iter().map(Buffer::as_ref)
}
