//! The unique, writable form of a buffer.

use alloc::vec::Vec;
use core::fmt;
use core::mem::MaybeUninit;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use crate::block::{self, Block, Hold, OutOfMemory};
use crate::buffer::{Buffer, fmt_bytes};
use crate::ticket::{Kind, Ticket};

#[cfg(all(test, not(loom)))]
mod tests;

/// Bytes with one holder, who may write them, with room in front for headers and behind for more.
///
/// ```text
///  start                                                  start + capacity
///  |  head room  |  the bytes that this derefs to  |  tail room  |
/// ```
///
/// It never moves to larger memory by itself: what does not fit is an error, and [`BufferMut::grow`] is the explicit way.
/// [`BufferMut::freeze`] turns it into a [`Buffer`] without copying. Like that it stays on its shard:
///
/// ```compile_fail,E0277
/// fn crosses<T: Send>(_: T) {}
/// crosses(sunstar_packet::BufferMut::with_capacity(0, 1));
/// ```
pub struct BufferMut {
    /// Invariant: `ptr..ptr + len` lies within the block and is initialised.
    ptr: NonNull<u8>,
    len: usize,
    /// Invariant: the only reference to a writable block.
    hold: Hold,
    ticket: Ticket,
}

#[cfg(not(feature = "accounting"))]
const _: () = assert!(size_of::<BufferMut>() == 24);

/// The buffer's room does not suffice; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// How many bytes of room there are.
    pub available_bytes: usize,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the buffer has room for {} more bytes only", self.available_bytes)
    }
}

impl core::error::Error for NoRoom {}

impl BufferMut {
    /// An empty buffer on the heap with room for `headroom` bytes in front and `capacity` bytes to fill.
    ///
    /// Ends the program as the global allocator does when there is no memory; sizes that come from outside are for
    /// [`BufferMut::try_with_capacity`].
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn with_capacity(headroom: usize, capacity: usize) -> Self {
        Self::try_with_capacity(headroom, capacity)
            .unwrap_or_else(|OutOfMemory| block::allocation_failed(headroom.saturating_add(capacity)))
    }

    /// An empty buffer on the heap with room for `headroom` bytes in front and `capacity` bytes to fill.
    ///
    /// # Errors
    /// When there is no memory.
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn try_with_capacity(headroom: usize, capacity: usize) -> Result<Self, OutOfMemory> {
        let hold = block::allocate(headroom.checked_add(capacity).ok_or(OutOfMemory)?)?;
        // SAFETY: the block has this many bytes.
        let ptr = unsafe { hold.block().start().add(headroom) };
        Ok(Self { ptr, len: 0, hold, ticket: Ticket::new(Kind::BufferMut) })
    }

    /// A copy of `bytes` on the heap, with room before and behind.
    ///
    /// # Errors
    /// When there is no memory.
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn try_copy_from_slice(headroom: usize, bytes: &[u8], tailroom: usize) -> Result<Self, OutOfMemory> {
        let capacity = bytes.len().checked_add(tailroom).ok_or(OutOfMemory)?;
        let mut copy = Self::try_with_capacity(headroom, capacity)?;
        copy.spare()[..bytes.len()].write_copy_of_slice(bytes);
        // SAFETY: so many bytes of the tail room exist and have just been written.
        unsafe { copy.advance_len(bytes.len()) };
        Ok(copy)
    }

    /// The memory of a pool's or device's frame: `headroom` bytes of room, then `len` bytes of content.
    ///
    /// Nothing is allocated; the header lies where its owner wants it.
    ///
    /// # Safety
    /// - The block is valid and writable, and nobody holds a reference to it ([`Block::is_held`]). Until its release
    ///   function is called, the block stays valid, and all of its memory belongs to this buffer and what is made of it.
    /// - `headroom + len` is within its capacity, and those `len` bytes are initialised.
    /// - The bytes may be read on any thread (the buffer may be made a [`ForeignBuffer`](crate::ForeignBuffer)).
    /// - The release function may be called with `block` on this shard, once.
    #[cfg_attr(feature = "accounting", track_caller)]
    pub unsafe fn from_block(block: NonNull<Block>, headroom: usize, len: usize) -> Self {
        // SAFETY: the caller's promises include those of `Hold::first`.
        let hold = unsafe { Hold::first(block) };
        debug_assert!(headroom + len <= hold.block().capacity(), "the content exceeds the frame");
        // SAFETY: the caller says that this lies within the block.
        let ptr = unsafe { hold.block().start().add(headroom) };
        Self { ptr, len, hold, ticket: Ticket::new(Kind::BufferMut) }
    }

    /// # Safety
    /// `hold` is the only reference to a writable block in which the initialised bytes lie.
    pub(crate) unsafe fn from_parts(ptr: NonNull<u8>, len: usize, hold: Hold, ticket: Ticket) -> Self {
        Self { ptr, len, hold, ticket }
    }

    /// Names the holder of this handle for the report of live handles.
    ///
    /// The name is only looked at with the feature `accounting`.
    #[must_use]
    pub fn held_by(self, holder: impl fmt::Display) -> Self {
        self.ticket.hold(holder);
        self
    }

    /// Makes the content immutable and shareable, without copying it.
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn freeze(self) -> Buffer {
        let Self { ptr, len, hold, ticket } = self;
        // SAFETY: the reference moves over, and the writable form is gone.
        unsafe { Buffer::from_parts(ptr, len, Some(hold), ticket.turn_into(Kind::Buffer)) }
    }

    /// How many bytes fit in front.
    pub fn headroom(&self) -> usize {
        self.ptr.addr().get() - self.hold.block().start().addr().get()
    }

    /// How many bytes fit behind.
    pub fn tailroom(&self) -> usize {
        self.hold.block().capacity() - self.headroom() - self.len
    }

    /// Makes `count` bytes of head room part of the content and returns them, zeroed, to be filled with a header.
    ///
    /// # Errors
    /// When the head room is smaller.
    pub fn prepend(&mut self, count: usize) -> Result<&mut [u8], NoRoom> {
        let available_bytes = self.headroom();
        if count > available_bytes {
            return Err(NoRoom { available_bytes });
        }
        // SAFETY: the head room lies within the block, which belongs to this buffer alone.
        unsafe {
            self.ptr = self.ptr.sub(count);
            self.ptr.write_bytes(0, count);
        }
        self.len += count;
        Ok(&mut self[..count])
    }

    /// Puts `bytes` in front.
    ///
    /// # Errors
    /// When the head room is smaller.
    #[inline]
    pub fn push_front(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        let available_bytes = self.headroom();
        if bytes.len() > available_bytes {
            return Err(NoRoom { available_bytes });
        }
        // SAFETY: the head room lies within the block, which belongs to this buffer alone: the bytes lie elsewhere.
        unsafe {
            self.ptr = self.ptr.sub(bytes.len());
            self.ptr.copy_from_nonoverlapping(NonNull::from_ref(bytes).cast(), bytes.len());
        }
        self.len += bytes.len();
        Ok(())
    }

    /// Makes `count` bytes of tail room part of the content and returns them, zeroed, to be filled.
    ///
    /// # Errors
    /// When the tail room is smaller.
    pub fn append(&mut self, count: usize) -> Result<&mut [u8], NoRoom> {
        let old_len = self.len;
        self.spare_for(count)?.fill(MaybeUninit::new(0));
        // SAFETY: so many bytes of the tail room exist and have just been zeroed.
        unsafe { self.advance_len(count) };
        Ok(&mut self[old_len..])
    }

    /// Puts `bytes` behind.
    ///
    /// # Errors
    /// When the tail room is smaller.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        self.spare_for(bytes.len())?.write_copy_of_slice(bytes);
        // SAFETY: so many bytes of the tail room exist and have just been written.
        unsafe { self.advance_len(bytes.len()) };
        Ok(())
    }

    /// Copies several slices into the tail room, one behind the other.
    ///
    /// # Errors
    /// When the tail room is smaller than all of them; nothing is copied then.
    #[inline]
    pub fn extend_from_slices<const N: usize>(&mut self, parts: [&[u8]; N]) -> Result<(), NoRoom> {
        let count = parts.iter().map(|part| part.len()).sum();
        let mut rest = self.spare_for(count)?;
        for part in parts {
            let (here, behind) = rest.split_at_mut(part.len());
            here.write_copy_of_slice(part);
            rest = behind;
        }
        // SAFETY: so many bytes of the tail room exist and have just been written.
        unsafe { self.advance_len(count) };
        Ok(())
    }

    /// The tail room, for somebody who fills it and then calls [`BufferMut::advance_len`].
    pub fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        let room = self.tailroom();
        // SAFETY: the tail room lies within the block, which belongs to this buffer alone.
        unsafe { NonNull::slice_from_raw_parts(self.ptr.add(self.len).cast(), room).as_mut() }
    }

    fn spare_for(&mut self, count: usize) -> Result<&mut [MaybeUninit<u8>], NoRoom> {
        let available_bytes = self.tailroom();
        self.spare().get_mut(..count).ok_or(NoRoom { available_bytes })
    }

    /// Makes the first `count` bytes of the tail room part of the content.
    ///
    /// # Safety
    /// The tail room has so many bytes, and they are initialised.
    pub unsafe fn advance_len(&mut self, count: usize) {
        debug_assert!(count <= self.tailroom(), "more bytes than there was room for");
        self.len += count;
    }

    /// Gives the first `count` bytes of the content to the head room.
    ///
    /// # Errors
    /// When the content is shorter.
    pub fn advance(&mut self, count: usize) -> Result<(), TooShort> {
        self.len = self.len.checked_sub(count).ok_or(TooShort { len_bytes: self.len })?;
        // SAFETY: the content had so many bytes.
        self.ptr = unsafe { self.ptr.add(count) };
        Ok(())
    }

    /// Gives what follows the first `len` bytes of the content to the tail room; shorter content stays as it is.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Moves the content to new memory on the heap, unless the room before and behind suffices already.
    ///
    /// This copies the content, and gives memory of a pool or device back.
    ///
    /// # Errors
    /// When there is no memory; nothing has changed then.
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn grow(&mut self, headroom: usize, tailroom: usize) -> Result<(), OutOfMemory> {
        if headroom <= self.headroom() && tailroom <= self.tailroom() {
            return Ok(());
        }
        *self = Self::try_copy_from_slice(headroom, self, tailroom)?;
        Ok(())
    }
}

/// There are fewer bytes than were asked for; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooShort {
    /// How many there are.
    pub len_bytes: usize,
}

impl fmt::Display for TooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there are only {} bytes", self.len_bytes)
    }
}

impl core::error::Error for TooShort {}

impl Deref for BufferMut {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: by the invariants of the fields.
        unsafe { NonNull::slice_from_raw_parts(self.ptr, self.len).as_ref() }
    }
}

impl DerefMut for BufferMut {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: by the invariants of the fields.
        unsafe { NonNull::slice_from_raw_parts(self.ptr, self.len).as_mut() }
    }
}

impl AsRef<[u8]> for BufferMut {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for BufferMut {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl From<Vec<u8>> for BufferMut {
    /// Takes the vector's memory over, without copying the bytes; its unused capacity becomes tail room.
    #[cfg_attr(feature = "accounting", track_caller)]
    fn from(mut bytes: Vec<u8>) -> Self {
        let (len, capacity) = (bytes.len(), bytes.capacity());
        // The vector's own pointer, which is good for all of its capacity.
        let ptr = NonNull::new(bytes.as_mut_ptr()).expect("a vector's pointer is not null");
        let (_, hold) = block::own(bytes, Some((ptr, capacity)));
        Self { ptr, len, hold, ticket: Ticket::new(Kind::BufferMut) }
    }
}

impl fmt::Debug for BufferMut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_bytes(self, f)
    }
}

impl PartialEq for BufferMut {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for BufferMut {}
