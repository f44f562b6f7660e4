//! Blocks of data, in one buffer or several.

use alloc::vec::Vec;

use smallvec::SmallVec;
use sunstar_packet::Buffer;

/// The data of an item, in one buffer or several; cloning it copies no byte.
///
/// Only what came in several buffers and is longer than 64 KiB lies in several. None of them is empty.
#[derive(Clone, Debug, Default)]
pub struct Value {
    pieces: SmallVec<[Buffer; 1]>,
    len: usize,
    /// The buffers are no parts of larger ones.
    is_owned: bool,
}

impl Value {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The buffers, first bytes first.
    pub fn pieces(&self) -> &[Buffer] {
        &self.pieces
    }

    /// The buffers, first bytes first.
    pub fn into_pieces(self) -> impl Iterator<Item = Buffer> {
        self.pieces.into_iter()
    }

    /// The bytes, if they lie in one piece.
    pub fn as_slice(&self) -> Option<&[u8]> {
        match &*self.pieces {
            [] => Some(&[]),
            [piece] => Some(piece),
            _ => None,
        }
    }

    /// All bytes, copied.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len);
        self.pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
        bytes
    }

    /// Of buffers that are no parts of larger ones, each of at most 64 KiB: a store keeps them as they are and copies none.
    pub fn owned(pieces: impl IntoIterator<Item = Buffer>) -> Self {
        let mut value = Self::new();
        pieces.into_iter().for_each(|piece| value.push(piece));
        value.into_owned()
    }

    /// Whether it keeps no more memory than it has bytes, as far as is known.
    pub fn is_owned(&self) -> bool {
        self.is_owned
    }

    /// Takes note that the buffers belong to nobody else.
    pub(crate) fn into_owned(self) -> Self {
        Self { is_owned: true, ..self }
    }

    /// Puts a buffer behind.
    pub fn push(&mut self, piece: Buffer) {
        if !piece.is_empty() {
            self.is_owned = false;
            self.len += piece.len();
            self.pieces.push(piece);
        }
    }
}

impl From<Buffer> for Value {
    fn from(buffer: Buffer) -> Self {
        let mut value = Self::new();
        value.push(buffer);
        value
    }
}

impl PartialEq<[u8]> for Value {
    fn eq(&self, mut other: &[u8]) -> bool {
        self.len == other.len()
            && self.pieces.iter().all(|piece| {
                let (front, rest) = other.split_at(piece.len());
                other = rest;
                **piece == *front
            })
    }
}
