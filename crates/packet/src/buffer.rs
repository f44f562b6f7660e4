//! The immutable, shared view of bytes.

use alloc::vec::Vec;
use core::borrow::Borrow;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::mem;
use core::ops::{Bound, Deref, Range, RangeBounds};
use core::ptr::NonNull;

use crate::block::{self, Block, Hold, Kind as BlockKind, OutOfMemory};
use crate::buffer_mut::BufferMut;
use crate::ticket::{Kind, Ticket};

#[cfg(all(test, not(loom)))]
mod tests;

/// An immutable view of bytes that this shard owns, cheap to clone and to slice.
///
/// Clones and slices share the memory; they neither allocate nor touch an atomic. The memory goes back to where it came
/// from (heap, pool, device, owner object) when the last of them is dropped. A static or empty buffer has no memory to give back.
///
/// A buffer stays on its shard:
///
/// ```compile_fail,E0277
/// fn crosses<T: Send>(_: T) {}
/// crosses(sunstar_packet::Buffer::new());
/// ```
///
/// and can't be looked at from another one:
///
/// ```compile_fail,E0277
/// fn is_shared<T: Sync>(_: T) {}
/// is_shared(sunstar_packet::Buffer::new());
/// ```
///
/// What crosses is a [`ForeignBuffer`](crate::ForeignBuffer), see [`Buffer::into_foreign`].
pub struct Buffer {
    ptr: NonNull<u8>,
    len: usize,
    hold: Option<Hold>,
    ticket: Ticket,
}

#[cfg(not(feature = "accounting"))]
const _: () = assert!(size_of::<Buffer>() == 24 && size_of::<Option<Buffer>>() == 24);

impl Buffer {
    /// An empty buffer.
    pub const fn new() -> Self {
        Self::from_static(&[])
    }

    /// A view of bytes that live for ever.
    pub const fn from_static(bytes: &'static [u8]) -> Self {
        Self { ptr: NonNull::from_ref(bytes).cast(), len: bytes.len(), hold: None, ticket: Ticket::NONE }
    }

    /// A copy of `bytes` on the heap.
    ///
    /// Ends the program as the global allocator does when there is no memory.
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn copy_from_slice(bytes: &[u8]) -> Self {
        Self::try_copy_from_slice(bytes).unwrap_or_else(|OutOfMemory| block::allocation_failed(bytes.len()))
    }

    /// A copy of `bytes` on the heap.
    ///
    /// # Errors
    /// When there is no memory.
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn try_copy_from_slice(bytes: &[u8]) -> Result<Self, OutOfMemory> {
        if bytes.is_empty() {
            return Ok(Self::new());
        }
        let hold = block::allocate(bytes.len())?;
        let ptr = hold.block().start();
        // SAFETY: the new memory has room for as many bytes, and nobody else knows it.
        unsafe { ptr.copy_from_nonoverlapping(NonNull::from_ref(bytes).cast(), bytes.len()) };
        Ok(Self { ptr, len: bytes.len(), hold: Some(hold), ticket: Ticket::new(Kind::Buffer) })
    }

    /// A view of all bytes of `owner`, which is dropped on this shard when the last view of them is.
    ///
    /// `as_ref` is called once, here. This costs one allocation, in which the owner lives from then on.
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn from_owner<T: AsRef<[u8]> + 'static>(owner: T) -> Self {
        let (owner, hold) = block::own(owner, None);
        // SAFETY: the owner stays in its place, unchanged and shared, until `hold` and its clones are gone.
        let bytes = unsafe { owner.as_ref() }.as_ref();
        Self {
            ptr: NonNull::from_ref(bytes).cast(),
            len: bytes.len(),
            hold: Some(hold),
            ticket: Ticket::new(Kind::Buffer),
        }
    }

    /// A view of `len_bytes` bytes at `ptr`, whose memory `block` gives back: of a frame that a device filled, a buffer of
    /// a provided ring, a page of a file.
    ///
    /// Nothing is allocated; the header lies where its owner wants it.
    ///
    /// # Safety
    /// - The block is valid, and nobody holds a reference to it ([`Block::is_held`]). Both change owner here: until the
    ///   block's release function is called, the block and the bytes stay valid and nobody writes to the bytes.
    /// - The bytes may be read on any thread (the buffer may be made a [`ForeignBuffer`](crate::ForeignBuffer)).
    /// - The release function may be called with `block` on this shard, once.
    /// - If the block says that it is writable, the bytes lie within it, and all of it may be written to until then.
    #[cfg_attr(feature = "accounting", track_caller)]
    pub unsafe fn from_block(block: NonNull<Block>, ptr: NonNull<u8>, len_bytes: usize) -> Self {
        // SAFETY: the caller's promises include those of `Hold::first`.
        let hold = unsafe { Hold::first(block) };
        Self { ptr, len: len_bytes, hold: Some(hold), ticket: Ticket::new(Kind::Buffer) }
    }

    /// Names the holder of this handle for the report of live handles.
    ///
    /// The name is only looked at with the feature `accounting`. Handles made from this one don't inherit it.
    #[must_use]
    pub fn held_by(self, holder: impl fmt::Display) -> Self {
        self.ticket.hold(holder);
        self
    }

    /// A view of a part of this buffer.
    ///
    /// # Panics
    /// When the range does not lie within the buffer; [`Buffer::try_slice`] is for ranges that come from outside.
    #[must_use]
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        match self.range(&range) {
            Some(range) => self.view(range),
            None => out_of_range(&range, self.len),
        }
    }

    /// A view of a part of this buffer, or `None` when the range does not lie within it.
    #[must_use]
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn try_slice(&self, range: impl RangeBounds<usize>) -> Option<Self> {
        Some(self.view(self.range(&range)?))
    }

    /// The buffer of `part`, which a parser has found in this buffer's bytes; `None` when it lies elsewhere.
    #[must_use]
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn slice_of(&self, part: &[u8]) -> Option<Self> {
        let start = part.as_ptr().addr().checked_sub(self.ptr.addr().get())?;
        self.try_slice(start..start.checked_add(part.len())?)
    }

    /// Cuts off and returns the first `at` bytes; the rest stays.
    ///
    /// # Panics
    /// When the buffer is shorter than `at` bytes.
    #[must_use = "`advance` only drops the front"]
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn split_to(&mut self, at: usize) -> Self {
        if at == self.len {
            return mem::take(self);
        }
        let front = self.slice(..at);
        self.advance(at);
        front
    }

    /// Cuts off and returns what follows the first `at` bytes.
    ///
    /// # Panics
    /// When the buffer is shorter than `at` bytes.
    #[must_use = "`truncate` only drops the back"]
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn split_off(&mut self, at: usize) -> Self {
        if at == 0 {
            return mem::take(self);
        }
        let back = self.slice(at..);
        self.truncate(at);
        back
    }

    /// Takes in the bytes of `next` if they lie right behind these in the same memory, as those of a buffer that was cut do.
    ///
    /// # Errors
    /// If they lie elsewhere `next` comes back; nothing has changed then. So does an empty or static one.
    #[inline]
    pub fn try_append(&mut self, next: Self) -> Result<(), Self> {
        let is_same = |(one, other): (&Hold, &Hold)| one.is_of_same_block(other);
        let is_behind = self.ptr.addr().get() + self.len == next.ptr.addr().get();
        if !is_behind || !self.hold.as_ref().zip(next.hold.as_ref()).is_some_and(is_same) {
            return Err(next);
        }
        // All views of a block are parts of the one that was made first, so what lies behind this one may be seen by its pointer.
        self.len += next.len;
        Ok(())
    }

    /// Drops the first `count` bytes.
    ///
    /// # Panics
    /// When the buffer is shorter.
    pub fn advance(&mut self, count: usize) {
        if count > self.len {
            out_of_range(&(count..), self.len);
        }
        // SAFETY: the result lies within the view, or at its end.
        self.ptr = unsafe { self.ptr.add(count) };
        self.len -= count;
    }

    /// Drops what follows the first `len` bytes; a shorter buffer stays as it is.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Whether this is the only view of its memory, which is given back when it is dropped.
    ///
    /// False for empty and static buffers without memory.
    pub fn is_unique(&self) -> bool {
        self.hold.as_ref().is_some_and(Hold::is_unique)
    }

    /// Drops the buffer, and has its frame never handed out again by its pool, whoever else holds it still: a device may go on working on it for
    /// as long as it likes.
    ///
    /// The frame stays among those that are out, and keeps nothing of the pool. That the memory of it goes nowhere else, once the pool has ended, is up to
    /// whom the pool has it from ([`SlabMemory`](crate::SlabMemory)). What is of no pool is just dropped.
    pub fn retire(self) {
        if let Some(hold) = &self.hold {
            hold.block().retire();
        }
    }

    /// How many bytes of memory the buffer keeps from being used again: those of its frame or allocation, however few of them are its own. 0 if
    /// that is not known: of another shard's, of an owner object, and of static bytes.
    pub fn kept_bytes(&self) -> usize {
        self.hold.as_ref().map_or(0, |hold| hold.block().capacity())
    }

    /// The writable form of the same memory, without copying; what lies before and behind becomes head and tail room.
    ///
    /// # Errors
    /// The buffer comes back when other views of the memory exist, or it is not writable (static bytes, an owner object,
    /// memory of another shard).
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn try_into_mut(self) -> Result<BufferMut, Self> {
        let Self { ptr, len, hold, ticket } = self;
        match hold {
            Some(hold) if hold.is_unique() && hold.block().kind() == BlockKind::Writable => {
                // SAFETY: writable memory covers the bytes of its buffers, and the only reference moves over.
                Ok(unsafe { BufferMut::from_parts(ptr, len, hold, ticket.turn_into(Kind::BufferMut)) })
            }
            hold => Err(Self { ptr, len, hold, ticket }),
        }
    }

    /// # Safety
    /// `hold` keeps the bytes valid and unchanged.
    pub(crate) const unsafe fn from_parts(ptr: NonNull<u8>, len: usize, hold: Option<Hold>, ticket: Ticket) -> Self {
        Self { ptr, len, hold, ticket }
    }

    pub(crate) fn into_parts(self) -> (NonNull<u8>, usize, Option<Hold>, Ticket) {
        (self.ptr, self.len, self.hold, self.ticket)
    }

    fn range(&self, range: &impl RangeBounds<usize>) -> Option<Range<usize>> {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before.checked_add(1)?,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.checked_add(1)?,
            Bound::Excluded(&end) => end,
            Bound::Unbounded => self.len,
        };
        (start <= end && end <= self.len).then_some(start..end)
    }

    /// A view of a range that lies within; an empty one holds no memory.
    #[cfg_attr(feature = "accounting", track_caller)]
    fn view(&self, range: Range<usize>) -> Self {
        if range.is_empty() {
            return Self::new();
        }
        // SAFETY: the range lies within the view.
        let ptr = unsafe { self.ptr.add(range.start) };
        Self { ptr, len: range.len(), hold: self.hold.clone(), ticket: self.ticket.copy(Kind::Buffer) }
    }
}

#[cold]
#[track_caller]
fn out_of_range(range: &impl RangeBounds<usize>, len: usize) -> ! {
    panic!("{:?}, {:?} is out of range of a buffer of {len} bytes", range.start_bound(), range.end_bound())
}

impl Clone for Buffer {
    #[inline]
    #[cfg_attr(feature = "accounting", track_caller)]
    fn clone(&self) -> Self {
        Self { ptr: self.ptr, len: self.len, hold: self.hold.clone(), ticket: self.ticket.copy(Kind::Buffer) }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the reference that `hold` counts keeps the bytes valid and unwritten; static bytes always are.
        unsafe { NonNull::slice_from_raw_parts(self.ptr, self.len).as_ref() }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Borrow<[u8]> for Buffer {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self::new()
    }
}

impl From<&'static [u8]> for Buffer {
    fn from(bytes: &'static [u8]) -> Self {
        Self::from_static(bytes)
    }
}

impl From<&'static str> for Buffer {
    fn from(text: &'static str) -> Self {
        Self::from_static(text.as_bytes())
    }
}

impl From<Vec<u8>> for Buffer {
    /// Takes the vector's memory over, without copying the bytes.
    #[cfg_attr(feature = "accounting", track_caller)]
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.is_empty() { Self::new() } else { BufferMut::from(bytes).freeze() }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_bytes(self, f)
    }
}

/// Shows bytes as a byte string, the first of them only when they are many.
pub(crate) fn fmt_bytes(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const SHOWN: usize = 64;
    write!(f, "b\"{}\"", bytes[..bytes.len().min(SHOWN)].escape_ascii())?;
    if bytes.len() > SHOWN { write!(f, "... ({} bytes)", bytes.len()) } else { Ok(()) }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Buffer {}

impl Hash for Buffer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<&T> for Buffer {
    fn eq(&self, other: &&T) -> bool {
        **self == *other.as_ref()
    }
}

impl PartialEq<[u8]> for Buffer {
    fn eq(&self, other: &[u8]) -> bool {
        **self == *other
    }
}

impl<const N: usize> PartialEq<[u8; N]> for Buffer {
    fn eq(&self, other: &[u8; N]) -> bool {
        **self == *other
    }
}

impl PartialEq<Vec<u8>> for Buffer {
    fn eq(&self, other: &Vec<u8>) -> bool {
        **self == **other
    }
}
