//! Buffers that have left their shard.
//!
//! # Why this is sound
//!
//! The counts are plain cells, and still a [`ForeignBuffer`] is `Send`. That is so because no count is ever touched by two
//! shards:
//!
//! - The count of the memory's own block is touched at home only. A crossing takes one reference there, keeps it while
//!   it is abroad, and gives it up in `arrive`, which the home list calls on the home shard.
//! - The crossing has a second block for the count abroad. [`ForeignBuffer::into_buffer`] takes its first reference on
//!   the shard that it was moved to, and the buffers made of it are not `Send`. The last of them posts the
//!   crossing home and does not touch it again. Moving the `ForeignBuffer` and posting order one shard's
//!   accesses before the next one's.
//! - The bytes are not written while a reference is held, and memory abroad is never made writable.
//!
//! The home list outlives the crossing, because each crossing is counted as a resident of it.

use alloc::boxed::Box;
use core::fmt;
use core::mem::{self, offset_of};
use core::ops::Deref;
use core::ptr::NonNull;

use crate::block::{Block, Hold, Kind as BlockKind};
use crate::buffer::{Buffer, fmt_bytes};
use crate::home::{Home, HomeNode, HomeOwner};
use crate::ticket::{Kind, Ticket};

#[cfg(all(test, not(loom)))]
mod tests;

/// A buffer on its way to, or on, another shard: it can be read there, and is dropped by posting it home.
///
/// It holds one reference at home. Dropping it, on any thread, never blocks, allocates or fails. It can't be
/// cloned; [`ForeignBuffer::into_buffer`] makes an ordinary buffer of it, with a count of its own, where it has arrived.
pub struct ForeignBuffer {
    ptr: NonNull<u8>,
    len: usize,
    /// None for static bytes.
    passage: Option<Passage>,
    ticket: Ticket,
}

// SAFETY: the bytes may be read on any thread (who made the buffer promised it, or had a `&[u8]`, which is `Sync`), they are
// valid until the crossing arrives at home, and the rest is said above.
unsafe impl Send for ForeignBuffer {}
// SAFETY: as above; a shared reference lets one do nothing but read.
unsafe impl Sync for ForeignBuffer {}

/// What travels: allocated and freed at home, by `into_foreign` and `arrive`.
#[repr(C)]
pub(crate) struct Crossing {
    node: HomeNode,
    /// Valid because the crossing is counted as a resident.
    home: NonNull<Home>,
    /// The count on the shard where the crossing is.
    abroad: Block,
    /// The reference at home; touched there only.
    held: Hold,
}

/// The right to post a crossing home, used by dropping it.
struct Passage(NonNull<Crossing>);

impl Passage {
    fn new(held: Hold, home: &HomeOwner) -> Self {
        home.add_resident();
        let crossing = Crossing {
            node: HomeNode::new(arrive),
            home: NonNull::from_ref(&**home.home()),
            abroad: Block::foreign(release_abroad),
            held,
        };
        Self(NonNull::from(Box::leak(Box::new(crossing))))
    }

    /// Gets the passage back from the only reference to the block abroad.
    fn from_hold(hold: Hold) -> Self {
        // SAFETY: a block of this kind is part of a crossing, whose only reference this was.
        unsafe { Self::from_abroad(hold.into_free()) }
    }

    /// # Safety
    /// The block is that of a crossing and nobody holds a reference to it.
    unsafe fn from_abroad(block: NonNull<Block>) -> Self {
        // SAFETY: the block lies at this offset of its crossing, and the pointer was derived from the crossing's.
        Self(unsafe { block.byte_sub(offset_of!(Crossing, abroad)) }.cast())
    }

    /// Turns the passage into the first reference on the shard where it is now.
    fn into_hold(self) -> Hold {
        // SAFETY: the crossing is valid until it is posted; this only computes the place of a field.
        let block = unsafe { NonNull::new_unchecked(&raw mut (*self.0.as_ptr()).abroad) };
        mem::forget(self);
        // SAFETY: nobody else has this crossing, so the block is free; `release_abroad` posts it from any shard.
        unsafe { Hold::first(block) }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        // SAFETY: the crossing is valid until it is posted, and a resident's home is alive.
        let home = unsafe { self.0.as_ref().home.as_ref() };
        // SAFETY: the node is valid until `arrive`, and posted once because `self` was the only right to do so.
        // `arrive` may be called on the home shard.
        unsafe { home.post(self.0.cast()) };
    }
}

/// The last reference abroad is gone.
unsafe fn release_abroad(block: NonNull<Block>) {
    // SAFETY: only blocks of crossings have this release function, and it is called when they are free.
    drop(unsafe { Passage::from_abroad(block) });
}

/// Ends a crossing at home.
unsafe fn arrive(node: NonNull<HomeNode>) {
    // SAFETY: only crossings have this function, the node is their first field, and the list gives this one up.
    let crossing = unsafe { Box::from_raw(node.cast::<Crossing>().as_ptr()) };
    // SAFETY: it was counted by `Passage::new`, this is its only arrival, and we are called by the list's owner.
    unsafe { crossing.home.as_ref().remove_resident() };
    if planted::is("freed_twice") {
        // SAFETY: there is none; this is the bug that the loom models must find.
        drop(unsafe { core::ptr::read(&raw const crossing.held) });
    }
    if crossing.abroad.is_retired() {
        crossing.held.block().retire();
    }
    drop(crossing.held);
}

impl Buffer {
    /// Readies the buffer for another shard. `home` is the home list of this shard, where the memory comes back.
    ///
    /// It costs one small allocation on this shard; none for static bytes, and none when the only view of another shard's
    /// memory is passed on.
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn into_foreign(self, home: &HomeOwner) -> ForeignBuffer {
        let (ptr, len, hold, ticket) = self.into_parts();
        let passage = hold.map(|hold| {
            let is_passed_on = hold.block().kind() == BlockKind::Foreign && hold.is_unique();
            if is_passed_on { Passage::from_hold(hold) } else { Passage::new(hold, home) }
        });
        ForeignBuffer { ptr, len, passage, ticket: ticket.turn_into(Kind::ForeignBuffer) }
    }
}

impl ForeignBuffer {
    /// An ordinary buffer of the shard where this has arrived; the last view of it posts the memory home.
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn into_buffer(self) -> Buffer {
        let Self { ptr, len, passage, ticket } = self;
        let hold = passage.map(Passage::into_hold);
        // SAFETY: while it is held, the crossing holds the reference that keeps the bytes valid and unchanged.
        unsafe { Buffer::from_parts(ptr, len, hold, ticket.turn_into(Kind::Buffer)) }
    }

    /// Names the holder of this handle for the report of live handles.
    ///
    /// The name is only looked at with the feature `accounting`.
    #[must_use]
    pub fn held_by(self, holder: impl fmt::Display) -> Self {
        self.ticket.hold(holder);
        self
    }
}

impl Deref for ForeignBuffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the crossing holds the reference that keeps the bytes valid and unchanged.
        unsafe { NonNull::slice_from_raw_parts(self.ptr, self.len).as_ref() }
    }
}

impl AsRef<[u8]> for ForeignBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for ForeignBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_bytes(self, f)
    }
}
