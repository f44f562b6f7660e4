//! Commands as both sides know them.

/// What a storage command demands of an item that is there, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageVerb {
    /// Nothing.
    Set,
    /// That there is none.
    Add,
    /// That there is one.
    Replace,
    /// That there is one, behind whose value this one is put; flags and time stay as they are.
    Append,
    /// That there is one, before whose value this one is put; flags and time stay as they are.
    Prepend,
    /// That there is one with this unique number, so that nobody has changed it since it was read.
    Cas(u64),
}

impl StorageVerb {
    /// The command's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Add => "add",
            Self::Replace => "replace",
            Self::Append => "append",
            Self::Prepend => "prepend",
            Self::Cas(_) => "cas",
        }
    }
}

/// A storage command without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageCommand<K> {
    /// What is demanded.
    pub verb: StorageVerb,
    /// The item's key, of at most [`MAX_KEY_BYTES`](crate::MAX_KEY_BYTES).
    pub key: K,
    /// Bits that are the client's business.
    pub flags: u32,
    /// When the item expires: never (0), in so many seconds up to 30 days, at that second since 1970, or at once (negative).
    pub exptime: i64,
    /// Whether the server shall keep silent about it.
    pub noreply: bool,
}

/// What a retrieval command does besides answering with values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetrievalCommand {
    /// The unique numbers of the items are told too (`gets`, `gats`).
    pub with_cas: bool,
    /// The items expire anew, as [`StorageCommand::exptime`] says (`gat`, `gats`).
    pub exptime: Option<i64>,
}

impl RetrievalCommand {
    /// `get`.
    pub const GET: Self = Self { with_cas: false, exptime: None };
    /// `gets`.
    pub const GETS: Self = Self { with_cas: true, exptime: None };

    /// The command's name.
    pub const fn name(self) -> &'static str {
        match (self.exptime, self.with_cas) {
            (None, false) => "get",
            (None, true) => "gets",
            (Some(_), false) => "gat",
            (Some(_), true) => "gats",
        }
    }
}

/// Which way a number is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Up; beyond the largest number it goes on with zero.
    Increment,
    /// Down, not below zero.
    Decrement,
}

impl Direction {
    /// The command's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Increment => "incr",
            Self::Decrement => "decr",
        }
    }
}
