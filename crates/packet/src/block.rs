//! The header that every piece of shared memory has: its reference count and how the memory is given back.
//!
//! A [`Block`] may live anywhere: before the bytes in one heap allocation, next to an owner object, or in an array that a
//! device's pool keeps, one header per frame, so that receiving a frame allocates nothing. Such a pool puts the
//! `Block` at a fixed place of its own frame record (first, in a `#[repr(C)]` struct, is the easiest), hands
//! frames out by [`BufferMut::from_block`](crate::BufferMut::from_block) or
//! [`Buffer::from_block`](crate::Buffer::from_block), and gets them back through its release function.

use alloc::alloc::{alloc, dealloc, handle_alloc_error};
use alloc::boxed::Box;
use core::alloc::Layout;
use core::cell::Cell;
use core::fmt;
use core::ptr::NonNull;

/// Gives the memory of a block back to where it came from.
///
/// It is called on the shard that owns the block, when the last reference to it is gone, with the very pointer that was
/// handed to `from_block`. From then on the block may be handed out again, unless it [is retired](Block::is_retired).
pub type Release = unsafe fn(NonNull<Block>);

/// What may be done with the memory of a block by its only holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It is never written to.
    ReadOnly,
    /// All of it may be written to, also outside of what is handed out.
    Writable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    ReadOnly,
    Writable,
    /// Part of a [`Crossing`](crate::foreign::Crossing).
    Foreign,
}

/// The header of a piece of memory that buffers share.
#[repr(C)]
pub struct Block {
    start: NonNull<u8>,
    capacity: usize,
    release: Release,
    refs: Cell<u32>,
    kind: Kind,
    is_retired: Cell<bool>,
}

impl Block {
    /// The header of `capacity_bytes` bytes at `start`, to which nobody holds a reference yet.
    ///
    /// Making a header does nothing to the memory; what must hold is said where it is handed out. Of read-only memory
    /// nobody asks for `start` and `capacity_bytes`.
    pub const fn new(start: NonNull<u8>, capacity_bytes: usize, access: Access, release: Release) -> Self {
        let kind = match access {
            Access::ReadOnly => Kind::ReadOnly,
            Access::Writable => Kind::Writable,
        };
        Self { start, capacity: capacity_bytes, release, refs: Cell::new(0), kind, is_retired: Cell::new(false) }
    }

    pub(crate) const fn foreign(release: Release) -> Self {
        let (start, is_retired) = (NonNull::dangling(), Cell::new(false));
        Self { start, capacity: 0, release, refs: Cell::new(0), kind: Kind::Foreign, is_retired }
    }

    /// Where the memory starts.
    pub const fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// How many bytes the memory has.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether anybody holds a reference.
    pub fn is_held(&self) -> bool {
        self.refs.get() > 0
    }

    /// Whether the memory must not be handed out again when it is released, see [`Buffer::retire`](crate::Buffer::retire).
    pub fn is_retired(&self) -> bool {
        self.is_retired.get()
    }

    pub(crate) fn retire(&self) {
        self.is_retired.set(true);
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("start", &self.start)
            .field("capacity", &self.capacity)
            .field("refs", &self.refs.get())
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// One counted reference to a block. Not `Send`: the count is a plain cell.
pub(crate) struct Hold(NonNull<Block>);

impl Hold {
    /// Takes the first reference to a free block.
    ///
    /// # Safety
    /// The block is valid until its release function is called, nobody holds a reference to it, and the release
    /// function may be called with this pointer on this shard.
    #[inline]
    pub(crate) unsafe fn first(block: NonNull<Block>) -> Self {
        // SAFETY: the caller says that the block is valid.
        let header = unsafe { block.as_ref() };
        debug_assert!(!header.is_held(), "a block was handed out twice");
        header.refs.set(1);
        Self(block)
    }

    #[inline]
    pub(crate) fn block(&self) -> &Block {
        // SAFETY: a block is valid for as long as a reference to it is held, and `self` is one.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    pub(crate) fn is_of_same_block(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    #[inline]
    pub(crate) fn is_unique(&self) -> bool {
        self.block().refs.get() == 1
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn set_refs(&self, refs: u32) {
        self.block().refs.set(refs);
    }

    /// Gives up the only reference without releasing the block, which is free then.
    pub(crate) fn into_free(self) -> NonNull<Block> {
        debug_assert!(self.is_unique(), "a shared block was taken");
        self.block().refs.set(0);
        let block = self.0;
        core::mem::forget(self);
        block
    }
}

impl Clone for Hold {
    #[inline]
    fn clone(&self) -> Self {
        let block = self.block();
        match block.refs.get().checked_add(1) {
            Some(refs) => block.refs.set(refs),
            None => too_many_references(),
        }
        Self(self.0)
    }
}

impl Drop for Hold {
    #[inline]
    fn drop(&mut self) {
        let block = self.block();
        let refs = block.refs.get();
        debug_assert!(refs > 0, "a reference was released twice");
        block.refs.set(refs.wrapping_sub(1));
        if refs == 1 {
            let release = block.release;
            // SAFETY: that was the last reference, and who took the first one vouched for this call.
            unsafe { release(self.0) };
        }
    }
}

/// Only a program that forgets buffers in a loop comes here; the count is still right, so a panic is enough.
#[cold]
fn too_many_references() -> ! {
    panic!("more than {} references to one block", u32::MAX)
}

/// The allocator has no memory of that size, or the size is beyond what can be addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no memory for a buffer of that size")
    }
}

impl core::error::Error for OutOfMemory {}

/// The layout of a block that is followed by its bytes, and where these start.
fn heap_layout(capacity: usize) -> Result<(Layout, usize), OutOfMemory> {
    let bytes = Layout::array::<u8>(capacity).map_err(|_| OutOfMemory)?;
    Layout::new::<Block>().extend(bytes).map_err(|_| OutOfMemory)
}

/// Takes the first reference to a new block with `capacity` uninitialised bytes behind it.
pub(crate) fn allocate(capacity: usize) -> Result<Hold, OutOfMemory> {
    let (layout, offset) = heap_layout(capacity)?;
    // SAFETY: the layout has the size of at least a block.
    let raw = NonNull::new(unsafe { alloc(layout) }).ok_or(OutOfMemory)?;
    // SAFETY: the offset lies within the allocation, or at its end if it has no bytes.
    let start = unsafe { raw.add(offset) };
    let block = raw.cast::<Block>();
    // SAFETY: the allocation begins with room for a block and is aligned for it.
    unsafe { block.write(Block::new(start, capacity, Access::Writable, release_allocated)) };
    // SAFETY: the block has just been made, is valid until `release_allocated`, and that fits how it was made.
    Ok(unsafe { Hold::first(block) })
}

/// Ends the program, or panics, as the global allocator does when it has no memory.
#[cold]
pub(crate) fn allocation_failed(capacity: usize) -> ! {
    match heap_layout(capacity) {
        Ok((layout, _)) => handle_alloc_error(layout),
        Err(OutOfMemory) => panic!("a buffer of {capacity} bytes can't be addressed"),
    }
}

unsafe fn release_allocated(block: NonNull<Block>) {
    // SAFETY: the last reference is gone, and the header is valid until the memory is freed.
    let capacity = unsafe { block.as_ref() }.capacity;
    let (layout, _) = heap_layout(capacity).expect("the same layout was allocated");
    // SAFETY: `allocate` made this allocation with this layout, and its pointer covers it all.
    unsafe { dealloc(block.cast().as_ptr(), layout) };
}

/// A block beside the object that owns the bytes.
#[repr(C)]
struct Owned<T> {
    block: Block,
    owner: T,
}

/// Moves `owner` next to a new block and answers where it lies then, with the first reference to the block.
///
/// The owner is dropped, where it lies, when the last reference is gone.
pub(crate) fn own<T: 'static>(owner: T, memory: Option<(NonNull<u8>, usize)>) -> (NonNull<T>, Hold) {
    let block = match memory {
        Some((start, capacity)) => Block::new(start, capacity, Access::Writable, release_owned::<T>),
        None => Block::new(NonNull::dangling(), 0, Access::ReadOnly, release_owned::<T>),
    };
    let owned = NonNull::from(Box::leak(Box::new(Owned { block, owner })));
    // SAFETY: the pointer is to a live `Owned`; this only computes the place of a field.
    let owner = unsafe { NonNull::new_unchecked(&raw mut (*owned.as_ptr()).owner) };
    // SAFETY: the block has just been made, is valid until `release_owned`, and that fits how it was made.
    (owner, unsafe { Hold::first(owned.cast()) })
}

unsafe fn release_owned<T>(block: NonNull<Block>) {
    // SAFETY: `own` leaked a box of this type, of which the block is the first field.
    drop(unsafe { Box::from_raw(block.cast::<Owned<T>>().as_ptr()) });
}
