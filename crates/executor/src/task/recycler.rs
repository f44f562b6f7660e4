//! Memory of tasks, calls and what programs keep in [`Recycled`](crate::Recycled), reused last-in first-out so that it is warm.

use alloc::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use core::cell::Cell;
use core::ptr::NonNull;

/// Blocks are multiples of a cache line and aligned to one.
const LINE: usize = 64;
const CLASSES: usize = 64;
/// The largest block that is kept for reuse, in bytes.
const LARGEST_KEPT: usize = LINE * CLASSES;
/// How much free memory a size class keeps for reuse at most, in bytes.
const KEPT_PER_CLASS: usize = 256 << 10;

/// Free blocks of one shard, a stack per size class.
///
/// All blocks are memory of the heap, so one that was allocated here may be released to another recycler, or freed
/// ([`free`]) when this one is gone.
pub(crate) struct Recycler {
    classes: [Class; CLASSES],
}

struct Class {
    top: Cell<Option<NonNull<FreeBlock>>>,
    /// How many more blocks the stack takes.
    room: Cell<u32>,
}

impl Class {
    fn new(index: usize) -> Self {
        let room = u32::try_from(KEPT_PER_CLASS / size_of_class(index)).expect("a class keeps few blocks");
        Self { top: Cell::new(None), room: Cell::new(room) }
    }
}

struct FreeBlock {
    below: Option<NonNull<FreeBlock>>,
}

#[inline]
const fn class_of(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { bytes.div_ceil(LINE) - 1 }
}

/// The size of a class's blocks, in bytes.
#[inline]
const fn size_of_class(index: usize) -> usize {
    (index + 1) * LINE
}

fn layout_of(layout: Layout) -> Layout {
    let lines = class_of(layout.size()) + 1;
    Layout::from_size_align(lines * LINE, layout.align().max(LINE)).expect("a type's size is far below isize::MAX")
}

/// What blocks for a type are like; worked out when the program is compiled.
#[derive(Clone, Copy)]
pub(crate) struct BlockKind {
    layout: Layout,
    /// The index of the size class; past the last one if blocks are not kept for reuse.
    class: usize,
}

impl BlockKind {
    #[inline]
    pub(crate) const fn of(layout: Layout) -> Self {
        let is_kept = layout.size() <= LARGEST_KEPT && layout.align() <= LINE;
        Self { layout, class: if is_kept { class_of(layout.size()) } else { CLASSES } }
    }
}

impl Recycler {
    pub(crate) fn new() -> Self {
        Self { classes: core::array::from_fn(Class::new) }
    }

    /// Uninitialised memory for `layout`.
    #[inline]
    pub(crate) fn allocate(&self, layout: Layout) -> NonNull<u8> {
        if let Some(class) = self.classes.get(BlockKind::of(layout).class)
            && let Some(block) = class.top.get()
        {
            // SAFETY: blocks on the stack are free, of this class, and were initialised by `release`.
            class.top.set(unsafe { block.as_ref() }.below);
            class.room.set(class.room.get() + 1);
            return block.cast();
        }
        from_heap(layout_of(layout))
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// `block` came from [`Recycler::allocate`] of any recycler, or from [`allocate`], with the same layout and is not used
    /// again.
    #[inline]
    pub(crate) unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: as the caller vouches.
        unsafe { self.release_as(block, BlockKind::of(layout)) };
    }

    /// Takes a block back whose kind was worked out before.
    ///
    /// # Safety
    /// As for [`Recycler::release`], with the layout that the kind is of.
    #[inline]
    pub(crate) unsafe fn release_as(&self, block: NonNull<u8>, kind: BlockKind) {
        if let Some(class) = self.classes.get(kind.class)
            && let Some(room) = class.room.get().checked_sub(1)
        {
            let block = block.cast::<FreeBlock>();
            // SAFETY: the caller gives the block up; it is at least a line long and aligned to one.
            unsafe { block.write(FreeBlock { below: class.top.get() }) };
            class.top.set(Some(block));
            class.room.set(room);
        } else {
            // SAFETY: as the caller vouches.
            unsafe { free(block, kind.layout) };
        }
    }
}

/// Uninitialised memory for `layout`, as [`Recycler::allocate`] gives, where there is no recycler.
pub(crate) fn allocate(layout: Layout) -> NonNull<u8> {
    from_heap(layout_of(layout))
}

/// Frees a block where there is no recycler to release it to.
///
/// # Safety
/// As for [`Recycler::release`].
#[cold]
pub(crate) unsafe fn free(block: NonNull<u8>, layout: Layout) {
    // SAFETY: the block came from `from_heap` with this layout, rounded up in the same way.
    unsafe { dealloc(block.as_ptr(), layout_of(layout)) };
}

#[cold]
fn from_heap(layout: Layout) -> NonNull<u8> {
    // SAFETY: the layout has at least the size of a line.
    NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

impl Recycler {
    /// Gives all free blocks back to the heap.
    pub(crate) fn free_unused(&self) {
        for (index, class) in self.classes.iter().enumerate() {
            let layout = Layout::from_size_align(size_of_class(index), LINE).expect("a size class is small");
            let mut next = class.top.take();
            class.room.set(Class::new(index).room.get());
            while let Some(block) = next {
                // SAFETY: as in `allocate`; each block on the stack came from the heap with its class's layout.
                unsafe {
                    next = block.as_ref().below;
                    dealloc(block.cast().as_ptr(), layout);
                }
            }
        }
    }
}

impl Drop for Recycler {
    fn drop(&mut self) {
        self.free_unused();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_released_last_is_reused_first() {
        let recycler = Recycler::new();
        let layout = Layout::new::<[u64; 10]>();
        let (a, b) = (recycler.allocate(layout), recycler.allocate(layout));
        // SAFETY: both came from this recycler with this layout, and are not used again as what they were.
        unsafe {
            recycler.release(a, layout);
            recycler.release(b, layout);
        }
        let again = recycler.allocate(Layout::new::<[u64; 16]>());
        assert_eq!(again, b, "a smaller layout of the same class shares its blocks");
        assert_eq!(recycler.allocate(layout), a);
        // SAFETY: as above.
        unsafe {
            recycler.release(again, layout);
            recycler.release(a, layout);
        }
    }

    #[test]
    fn a_class_keeps_a_bounded_amount() {
        let recycler = Recycler::new();
        let layout = Layout::new::<[u8; 1024]>();
        let blocks: Vec<_> = (0..2 * KEPT_PER_CLASS / 1024).map(|_| recycler.allocate(layout)).collect();
        for block in blocks {
            // SAFETY: each came from this recycler with this layout.
            unsafe { recycler.release(block, layout) };
        }
        let class = &recycler.classes[class_of(1024)];
        // SAFETY: blocks on the stack are initialised.
        let below = |block: &NonNull<FreeBlock>| unsafe { block.as_ref() }.below;
        assert_eq!(core::iter::successors(class.top.get(), below).count(), KEPT_PER_CLASS / 1024);
        assert_eq!(class.room.get(), 0);
        recycler.free_unused();
        assert_eq!((class.top.get(), class.room.get() as usize), (None, KEPT_PER_CLASS / 1024));
    }

    #[test]
    fn large_and_overaligned_layouts_come_from_the_heap() {
        #[repr(align(256))]
        struct Overaligned {
            _bytes: [u8; 256],
        }
        let recycler = Recycler::new();
        for layout in [Layout::new::<[u8; 5000]>(), Layout::new::<Overaligned>()] {
            let block = recycler.allocate(layout);
            assert_eq!(block.as_ptr().align_offset(layout.align()), 0);
            // SAFETY: it came from this recycler with this layout.
            unsafe { recycler.release(block, layout) };
        }
    }
}
