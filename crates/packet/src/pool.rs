//! Frames of one size, reused last-in first-out so that they are warm.

use alloc::alloc::{alloc, dealloc};
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::ptr::NonNull;

use crate::block::{Access, Block, OutOfMemory};
use crate::buffer_mut::BufferMut;

#[cfg(all(test, not(loom)))]
mod tests;

/// Pools take memory from the allocator in slabs of about this many bytes, at least one frame each.
pub const SLAB_BYTES: usize = 1 << 20;

/// Frames, and the content of frames without head room, start at a multiple of this many bytes.
pub const FRAME_ALIGN: usize = 64;

/// The shape and the bound of a [`Pool`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    /// Room for content in each frame.
    pub frame_bytes: usize,
    /// Room before the content, for headers.
    pub headroom_bytes: usize,
    /// How many frames may be out at the same time.
    pub limit_frames: usize,
}

/// What a pool has done and does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounters {
    /// Frames that are out.
    pub in_use_frames: usize,
    /// The most frames that have been out at the same time.
    pub high_water_frames: usize,
    /// Bytes taken from the allocator; they are kept until [`Pool::free_unused_memory`], or until the pool and all its frames
    /// are gone.
    pub reserved_bytes: usize,
    /// How often [`Pool::take`] had no frame, because of the limit or for lack of memory.
    pub exhausted: u64,
}

/// A bounded supply of frames that one shard owns.
///
/// A frame goes back when the last buffer made of it is dropped, and is the next to be handed out. Dropping the pool while
/// frames are out is fine: the memory is freed when the last of them comes back.
///
/// ```
/// use sunstar_packet::{Pool, PoolOptions};
///
/// let pool = Pool::new(PoolOptions { frame_bytes: 2048, headroom_bytes: 64, limit_frames: 1 })?;
/// let mut frame = pool.take().expect("the first frame");
/// frame.extend_from_slice(b"payload").expect("seven bytes fit");
/// let buffer = frame.freeze();
/// assert!(pool.take().is_none());
/// drop(buffer);
/// assert!(pool.take().is_some());
/// # Ok::<(), sunstar_packet::OutOfMemory>(())
/// ```
pub struct Pool {
    core: Rc<Core>,
}

/// Shared by the pool and each frame that is out, so that it ends with the last of them.
struct Core {
    headroom: usize,
    /// Of the memory of one frame.
    capacity: usize,
    stride: usize,
    slab: Layout,
    limit: usize,
    free: Cell<Option<NonNull<Frame>>>,
    /// Frames at the end of the newest slab that have never been out.
    fresh: Cell<usize>,
    slabs: RefCell<Vec<NonNull<u8>>>,
    in_use: Cell<usize>,
    high_water: Cell<usize>,
    exhausted: Cell<u64>,
}

/// The header of a frame, in front of its memory.
#[repr(C)]
struct Frame {
    block: Block,
    /// One count of the `Rc`, while the frame is out.
    core: Cell<*const Core>,
    next_free: Cell<Option<NonNull<Frame>>>,
}

const HEADER_BYTES: usize = size_of::<Frame>().next_multiple_of(FRAME_ALIGN);

impl Pool {
    /// An empty pool, which will take its memory as it is needed.
    ///
    /// # Errors
    /// When such a frame is larger than what can be addressed.
    pub fn new(options: PoolOptions) -> Result<Self, OutOfMemory> {
        let PoolOptions { frame_bytes, headroom_bytes: headroom, limit_frames: limit } = options;
        let capacity = headroom.checked_add(frame_bytes).ok_or(OutOfMemory)?;
        let stride = capacity.checked_next_multiple_of(FRAME_ALIGN).ok_or(OutOfMemory)?;
        let stride = stride.checked_add(HEADER_BYTES).ok_or(OutOfMemory)?;
        let slab_frames = (SLAB_BYTES / stride).clamp(1, limit.max(1));
        let slab = Layout::from_size_align(stride * slab_frames, FRAME_ALIGN).map_err(|_| OutOfMemory)?;
        let core = Core {
            headroom,
            capacity,
            stride,
            slab,
            limit,
            free: Cell::new(None),
            fresh: Cell::new(0),
            slabs: RefCell::new(Vec::new()),
            in_use: Cell::new(0),
            high_water: Cell::new(0),
            exhausted: Cell::new(0),
        };
        Ok(Self { core: Rc::new(core) })
    }

    /// An empty buffer of one frame: the one that came back last, if there is one. `None` when the limit is reached
    /// or there is no memory; that is counted.
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn take(&self) -> Option<BufferMut> {
        let Some(frame) = self.core.pop() else {
            self.core.exhausted.set(self.core.exhausted.get() + 1);
            return None;
        };
        // SAFETY: a frame of the pool is valid as long as its core is, which it keeps from here to its release.
        unsafe { frame.as_ref() }.core.set(Rc::into_raw(Rc::clone(&self.core)));
        // SAFETY: the block begins the frame, is free, and covers memory that nobody else has.
        Some(unsafe { BufferMut::from_block(frame.cast(), self.core.headroom, 0) })
    }

    /// Gives the slabs of which no frame is out back to the allocator. It looks at all free frames, so it is for when there is nothing
    /// to do.
    pub fn free_unused_memory(&self) {
        self.core.free_unused_slabs();
    }

    /// What the pool has done and does.
    pub fn counters(&self) -> PoolCounters {
        PoolCounters {
            in_use_frames: self.core.in_use.get(),
            high_water_frames: self.core.high_water.get(),
            reserved_bytes: self.core.slabs.borrow().len() * self.core.slab.size(),
            exhausted: self.core.exhausted.get(),
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("capacity", &self.core.capacity)
            .field("limit", &self.core.limit)
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

impl Core {
    fn pop(&self) -> Option<NonNull<Frame>> {
        if self.in_use.get() == self.limit {
            return None;
        }
        let frame = match self.free.get() {
            Some(frame) => {
                // SAFETY: frames on the free list are valid as long as the slabs are.
                self.free.set(unsafe { frame.as_ref() }.next_free.take());
                frame
            }
            None => self.carve()?,
        };
        self.in_use.set(self.in_use.get() + 1);
        self.high_water.set(self.high_water.get().max(self.in_use.get()));
        Some(frame)
    }

    /// Makes a frame of memory that has not been used yet. The memory is not touched before, so that a large pool that
    /// is little used stays small.
    fn carve(&self) -> Option<NonNull<Frame>> {
        let mut slabs = self.slabs.borrow_mut();
        if self.fresh.get() == 0 {
            slabs.try_reserve(1).ok()?;
            // SAFETY: the layout has the size of at least one frame's header.
            slabs.push(NonNull::new(unsafe { alloc(self.slab) })?);
            self.fresh.set(self.slab.size() / self.stride);
        }
        let newest = *slabs.last().expect("fresh frames are in a slab");
        let offset = self.slab.size() - self.fresh.get() * self.stride;
        // SAFETY: so many fresh frames are left at the end of the slab, each of `stride` bytes: header, then memory.
        let (header, memory) = unsafe { (newest.add(offset), newest.add(offset + HEADER_BYTES)) };
        self.fresh.set(self.fresh.get() - 1);
        let frame = header.cast::<Frame>();
        let block = Block::new(memory, self.capacity, Access::Writable, release_frame);
        // SAFETY: the place is inside the slab, aligned to `FRAME_ALIGN`, and nobody's yet.
        unsafe { frame.write(Frame { block, core: Cell::new(core::ptr::null()), next_free: Cell::new(None) }) };
        Some(frame)
    }
}

impl Core {
    /// Frees the slabs of which no frame is out.
    fn free_unused_slabs(&self) {
        let mut slabs = self.slabs.borrow_mut();
        let Some(&newest) = slabs.last() else { return };
        // By address, so that the slab of a frame is found: how many of its frames are not out.
        let mut free: BTreeMap<NonNull<u8>, usize> = slabs.iter().map(|slab| (*slab, 0)).collect();
        free.insert(newest, self.fresh.get());
        let mut frames = Vec::new();
        let mut next = self.free.take();
        while let Some(frame) = next {
            // SAFETY: frames on the free list are valid as long as the slabs are.
            next = unsafe { frame.as_ref() }.next_free.take();
            frames.push(frame);
            if let Some((_, count)) = free.range_mut(..=frame.cast()).next_back() {
                *count += 1;
            }
        }
        free.retain(|_, count| *count == self.slab.size() / self.stride);
        let is_unused = |memory: NonNull<u8>| {
            let below = free.range(..=memory).next_back();
            below.is_some_and(|(slab, _)| memory.addr().get() - slab.addr().get() < self.slab.size())
        };
        // What stays is handed out in the order in which it would have been.
        for frame in frames.into_iter().rev().filter(|frame| !is_unused(frame.cast())) {
            // SAFETY: its slab stays.
            unsafe { frame.as_ref() }.next_free.set(self.free.replace(Some(frame)));
        }
        if is_unused(newest) {
            self.fresh.set(0);
        }
        slabs.retain(|slab| {
            let is_unused = is_unused(*slab);
            if is_unused {
                // SAFETY: it was allocated with this layout; all of its frames were free, and none is on the list any more.
                unsafe { dealloc(slab.as_ptr(), self.slab) };
            }
            !is_unused
        });
    }
}

unsafe fn release_frame(block: NonNull<Block>) {
    let frame = block.cast::<Frame>();
    // SAFETY: only frames have this release function, and the core that they keep keeps them.
    let header = unsafe { frame.as_ref() };
    // SAFETY: `take` put one count there, and the frame is released once per `take`.
    let core = unsafe { Rc::from_raw(header.core.get()) };
    header.next_free.set(core.free.replace(Some(frame)));
    core.in_use.set(core.in_use.get() - 1);
    // Here the pool may end, and the frame with it.
    drop(core);
}

impl Drop for Core {
    fn drop(&mut self) {
        for slab in self.slabs.get_mut().drain(..) {
            // SAFETY: it was allocated with this layout, and no frame is out, as it would keep the core.
            unsafe { dealloc(slab.as_ptr(), self.slab) };
        }
    }
}
