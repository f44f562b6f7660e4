//! Values that lie outside of pages.

use alloc::vec::Vec;

use sunstar_packet::{Buffer, BufferMut};

use crate::input::PIECE_BYTES;
use crate::value::Value;

/// What the heap and the buffer's header take for one piece, in bytes, at most.
const PIECE_OVERHEAD_BYTES: usize = 96;

#[derive(Default)]
pub(super) struct Large {
    values: Vec<Value>,
    /// Numbers of values that are gone.
    free: Vec<u32>,
    bytes: usize,
}

impl Large {
    /// What a value of this length takes.
    pub(super) const fn cost_bytes(value_bytes: usize) -> usize {
        value_bytes + value_bytes.div_ceil(PIECE_BYTES) * PIECE_OVERHEAD_BYTES
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes + self.values.capacity() * size_of::<Value>() + self.free.capacity() * size_of::<u32>()
    }

    /// Takes a value that has memory of its own, and gives it a number.
    pub(super) fn add(&mut self, value: Value) -> u32 {
        self.bytes += Self::cost_bytes(value.len());
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

    pub(super) fn remove(&mut self, number: u32) {
        let value = core::mem::take(&mut self.values[number as usize]);
        self.bytes -= Self::cost_bytes(value.len());
        self.free.push(number);
    }
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
