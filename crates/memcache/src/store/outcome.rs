//! What the store answers with.

use super::Expiry;
use crate::value::Value;

/// An item that was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// What was stored with it.
    pub flags: u32,
    /// Its unique number.
    pub cas: u64,
    /// When it expires.
    pub expiry: Expiry,
    /// Its value.
    pub value: FoundValue<'a>,
}

/// Where a value lies.
#[derive(Clone, Copy, Debug)]
pub enum FoundValue<'a> {
    /// Among others, where it will be overwritten: it is to be copied.
    Small(&'a [u8]),
    /// In memory of its own, which lives as long as it is referred to: it may be sent as it is.
    Large(&'a Value),
}

impl FoundValue<'_> {
    /// How many bytes it has.
    pub fn len(&self) -> usize {
        match self {
            Self::Small(bytes) => bytes.len(),
            Self::Large(value) => value.len(),
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What became of a value that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is stored, under this unique number.
    Stored(u64),
    /// What the command demands is not so; or what `append` or `prepend` has would make the item too large, or finds no memory.
    NotStored,
    /// Somebody has changed the item.
    Exists,
    /// There is no such item to be changed.
    NotFound,
    /// There is no memory for it. What a `set` should have replaced is gone, since it would be wrong; what another command should
    /// have replaced is as it was.
    NoMemory,
    /// It would be larger than [`Store::set_item_limit`](crate::Store::set_item_limit) lets items be, and the rest is as for
    /// [`NoMemory`](Self::NoMemory).
    TooLarge,
}

/// What became of a number that was to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It is this now.
    Number(u64),
    /// There is no such item.
    NotFound,
    /// The item is no number.
    NotANumber,
    /// There is no memory for the longer number, and the item is as it was.
    NoMemory,
}
