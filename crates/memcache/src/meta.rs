//! Meta commands: what a client asks of one item, flag by flag.

use smallvec::SmallVec;

use crate::command::Direction;

/// The longest opaque token, in bytes, with its flag.
pub(crate) const MAX_OPAQUE_BYTES: usize = 32;

/// What a meta command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaVerb {
    /// `mg`: to answer with the item, and to change its time.
    Get,
    /// `ms`: to store a value.
    Store(MetaMode),
    /// `md`: to delete the item, or to mark it as stale.
    Delete,
    /// `ma`: to change the number that the item is.
    Count(Direction),
    /// `me`: to tell what is known of the item besides its value.
    Debug,
}

/// What `ms` demands of an item that is there, or not, besides its unique number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaMode {
    /// Nothing.
    Set,
    /// That there is none.
    Add,
    /// That there is one.
    Replace,
    /// That there is one, behind whose value this one is put.
    Append,
    /// That there is one, before whose value this one is put.
    Prepend,
}

/// A meta command without key and value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaCommand {
    /// What it does.
    pub verb: MetaVerb,
    /// `b`: the key was sent in base64, and is told so.
    pub is_key_binary: bool,
    /// `q`: no answer is wanted to what went as it should.
    pub is_quiet: bool,
    /// `v`: the value is wanted too.
    pub wants_value: bool,
    /// `u`: the item shall not count as asked for.
    pub is_unseen: bool,
    /// `I`: the item becomes stale instead of being deleted; an older unique number may be overwritten.
    pub is_invalidation: bool,
    /// `F`: the client's own bits.
    pub flags: u32,
    /// `T`: when the item expires, as [`StorageCommand::exptime`](crate::StorageCommand::exptime) says.
    pub exptime: Option<i64>,
    /// `N`: if there is no item, one is made that expires then.
    pub vivify: Option<i64>,
    /// `R`: who asks for an item that expires before this shall renew it.
    pub recache: Option<i64>,
    /// `C`: the unique number that the item must have.
    pub cas: Option<u64>,
    /// `D`: what is added or taken.
    pub delta: u64,
    /// `J`: the number of an item that is made.
    pub initial: u64,
    /// `O`: what is sent back as it is.
    pub opaque: SmallVec<[u8; MAX_OPAQUE_BYTES]>,
    /// Of the flags those that have a part in the answer, in the order in which they came; times change between them.
    pub order: SmallVec<[u8; TOLD.len()]>,
}

/// The flags whose order matters.
pub(crate) const TOLD: &[u8] = b"stcflhOkTNR";

impl MetaCommand {
    /// A command without flags.
    pub fn new(verb: MetaVerb) -> Self {
        Self {
            verb,
            is_key_binary: false,
            is_quiet: false,
            wants_value: false,
            is_unseen: false,
            is_invalidation: false,
            flags: 0,
            exptime: None,
            vivify: None,
            recache: None,
            cas: None,
            delta: 1,
            initial: 0,
            opaque: SmallVec::new(),
            order: SmallVec::new(),
        }
    }

    /// Whether an item of this key must go when the value could not be stored: an old value would be wrong.
    pub(crate) fn replaces_anything(&self) -> bool {
        self.verb == MetaVerb::Store(MetaMode::Set) && self.cas.is_none()
    }
}
