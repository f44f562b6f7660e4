//! Frames of one size, reused last-in first-out so that they are warm.

use alloc::alloc::{alloc, dealloc};
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::ptr::NonNull;

use crate::block::{Access, Block, OutOfMemory};
use crate::buffer_mut::BufferMut;

#[cfg(all(test, not(loom)))]
pub(crate) mod tests;

/// Pools take their memory in slabs of about this many bytes, at least one frame each.
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
    /// Frames that are out, and those that were [retired](crate::Buffer::retire).
    pub in_use_frames: usize,
    /// Those of them that were retired: nobody holds them, and they never come back.
    pub retired_frames: usize,
    /// The most frames that have been out at the same time.
    pub high_water_frames: usize,
    /// Bytes taken for frames and their headers; they are kept until [`Pool::free_unused_memory`], or until the pool and all its frames
    /// are gone.
    pub reserved_bytes: usize,
    /// How often [`Pool::take`] had no frame, because of the limit or for lack of memory.
    pub exhausted: u64,
}

/// Where pools take their slabs from if not from the allocator: memory that somebody else sees too, as devices do.
///
/// It serves the pools of all shards, each from its own thread, about once per [`SLAB_BYTES`].
///
/// # Safety
/// What `take` answers is as its layout says, writable, and nobody else's until it is given back: nothing that is not told so reads or
/// writes it. All of that stays true for as long as the value lives.
pub unsafe trait SlabMemory: Send + Sync {
    /// Memory of that layout, whose size is not zero; `None` if there is none.
    fn take(&self, layout: Layout) -> Option<NonNull<u8>>;

    /// Takes memory back.
    ///
    /// # Safety
    /// `slab` is of this value's [`SlabMemory::take`] with the same layout, was not given back since, and nobody uses it any more, except for
    /// devices that may be working still on buffers that were [retired](crate::Buffer::retire): who has a memory of which there are such keeps them
    /// from being used.
    unsafe fn give(&self, slab: NonNull<u8>, layout: Layout);
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
    slab_frames: usize,
    slab: Layout,
    headers: Layout,
    limit: usize,
    /// None for the allocator.
    memory: Option<Arc<dyn SlabMemory>>,
    free: Cell<Option<NonNull<Frame>>>,
    /// Frames at the end of the newest slab that have never been out.
    fresh: Cell<usize>,
    slabs: RefCell<Vec<Slab>>,
    in_use: Cell<usize>,
    retired: Cell<usize>,
    high_water: Cell<usize>,
    exhausted: Cell<u64>,
}

/// Frames that were taken together. Their headers lie on the heap: what somebody else sees of a frame is its bytes, and no pointer.
#[derive(Clone, Copy)]
struct Slab {
    headers: NonNull<Frame>,
    memory: NonNull<u8>,
}

/// The header of a frame, on a cache line of its own.
#[repr(C, align(64))]
struct Frame {
    block: Block,
    /// One count of the `Rc`, while the frame is out.
    core: Cell<*const Core>,
    next_free: Cell<Option<NonNull<Frame>>>,
}

const HEADER_BYTES: usize = size_of::<Frame>();

impl Pool {
    /// An empty pool, which will take its memory from the allocator, as it is needed.
    ///
    /// # Errors
    /// When such a frame is larger than what can be addressed.
    pub fn new(options: PoolOptions) -> Result<Self, OutOfMemory> {
        Self::of(None, options)
    }

    /// An empty pool, which will take the memory of its frames from `memory`, as it is needed.
    ///
    /// # Errors
    /// When such a frame is larger than what can be addressed.
    pub fn with_memory(memory: Arc<dyn SlabMemory>, options: PoolOptions) -> Result<Self, OutOfMemory> {
        Self::of(Some(memory), options)
    }

    fn of(memory: Option<Arc<dyn SlabMemory>>, options: PoolOptions) -> Result<Self, OutOfMemory> {
        let PoolOptions { frame_bytes, headroom_bytes: headroom, limit_frames: limit } = options;
        let capacity = headroom.checked_add(frame_bytes).ok_or(OutOfMemory)?;
        // A slab has bytes, even if its frames have none.
        let stride = capacity.max(1).checked_next_multiple_of(FRAME_ALIGN).ok_or(OutOfMemory)?;
        let with_header = stride.checked_add(HEADER_BYTES).ok_or(OutOfMemory)?;
        let slab_frames = (SLAB_BYTES / with_header).clamp(1, limit.max(1));
        let slab = Layout::from_size_align(stride * slab_frames, FRAME_ALIGN).map_err(|_| OutOfMemory)?;
        let headers = Layout::array::<Frame>(slab_frames).map_err(|_| OutOfMemory)?;
        let core = Core {
            headroom,
            capacity,
            stride,
            slab_frames,
            slab,
            headers,
            limit,
            memory,
            free: Cell::new(None),
            fresh: Cell::new(0),
            slabs: RefCell::new(Vec::new()),
            in_use: Cell::new(0),
            retired: Cell::new(0),
            high_water: Cell::new(0),
            exhausted: Cell::new(0),
        };
        Ok(Self { core: Rc::new(core) })
    }

    /// An empty buffer of one frame: the one that came back last, if there is one. `None` when the limit is reached
    /// or there is no memory; that is counted.
    #[cfg_attr(feature = "accounting", track_caller)]
    #[inline]
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

    /// Gives the slabs of which no frame is out back to where they are from. It looks at all free frames, so it is for when there is
    /// nothing to do.
    pub fn free_unused_memory(&self) {
        self.core.free_unused_slabs();
    }

    /// Bytes of memory of each frame, for content and the room before it.
    pub fn frame_memory_bytes(&self) -> usize {
        self.core.capacity
    }

    /// What the pool has done and does.
    pub fn counters(&self) -> PoolCounters {
        PoolCounters {
            in_use_frames: self.core.in_use.get(),
            retired_frames: self.core.retired.get(),
            high_water_frames: self.core.high_water.get(),
            reserved_bytes: self.core.slabs.borrow().len() * (self.core.slab.size() + self.core.headers.size()),
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
    #[inline]
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
    #[cold]
    fn carve(&self) -> Option<NonNull<Frame>> {
        let mut slabs = self.slabs.borrow_mut();
        if self.fresh.get() == 0 {
            slabs.try_reserve(1).ok()?;
            slabs.push(self.take_slab()?);
            self.fresh.set(self.slab_frames);
        }
        let newest = *slabs.last().expect("fresh frames are in a slab");
        let index = self.slab_frames - self.fresh.get();
        // SAFETY: so many fresh frames are left at the end of the slab, each with a header and `stride` bytes.
        let (frame, memory) = unsafe { (newest.headers.add(index), newest.memory.add(index * self.stride)) };
        self.fresh.set(self.fresh.get() - 1);
        let block = Block::new(memory, self.capacity, Access::Writable, release_frame);
        // SAFETY: the place is one of the slab's headers, aligned for it, and nobody's yet.
        unsafe { frame.write(Frame { block, core: Cell::new(core::ptr::null()), next_free: Cell::new(None) }) };
        Some(frame)
    }

    fn take_slab(&self) -> Option<Slab> {
        // SAFETY: the layout has the size of at least one header.
        let headers = NonNull::new(unsafe { alloc(self.headers) })?;
        let memory = match &self.memory {
            Some(memory) => memory.take(self.slab),
            // SAFETY: the layout has the size of at least one frame, which is not zero.
            None => NonNull::new(unsafe { alloc(self.slab) }),
        };
        let Some(memory) = memory else {
            // SAFETY: it was just allocated with this layout.
            unsafe { dealloc(headers.as_ptr(), self.headers) };
            return None;
        };
        Some(Slab { headers: headers.cast(), memory })
    }

    /// # Safety
    /// No frame of the slab is out, except for retired ones, on the list of free ones, or fresh.
    unsafe fn give_slab(&self, Slab { headers, memory: slab }: Slab) {
        // SAFETY: `take_slab` allocated it with this layout, and nobody uses it, says the caller.
        unsafe { dealloc(headers.cast().as_ptr(), self.headers) };
        match &self.memory {
            // SAFETY: the same holds for the memory of the frames.
            Some(memory) => unsafe { memory.give(slab, self.slab) },
            // SAFETY: the same.
            None => unsafe { dealloc(slab.as_ptr(), self.slab) },
        }
    }
}

impl Core {
    /// Frees the slabs of which no frame is out.
    fn free_unused_slabs(&self) {
        let mut slabs = self.slabs.borrow_mut();
        let Some(&newest) = slabs.last() else { return };
        // By address of the headers, so that the slab of a frame is found: how many of its frames are not out.
        let mut free: BTreeMap<NonNull<Frame>, usize> = slabs.iter().map(|slab| (slab.headers, 0)).collect();
        free.insert(newest.headers, self.fresh.get());
        let mut frames = Vec::new();
        let mut next = self.free.take();
        while let Some(frame) = next {
            // SAFETY: frames on the free list are valid as long as the slabs are.
            next = unsafe { frame.as_ref() }.next_free.take();
            frames.push(frame);
            if let Some((_, count)) = free.range_mut(..=frame).next_back() {
                *count += 1;
            }
        }
        free.retain(|_, count| *count == self.slab_frames);
        let is_unused = |frame: NonNull<Frame>| {
            let below = free.range(..=frame).next_back();
            below.is_some_and(|(first, _)| frame.addr().get() - first.addr().get() < self.headers.size())
        };
        // What stays is handed out in the order in which it would have been.
        for frame in frames.into_iter().rev().filter(|frame| !is_unused(*frame)) {
            // SAFETY: its slab stays.
            unsafe { frame.as_ref() }.next_free.set(self.free.replace(Some(frame)));
        }
        if is_unused(newest.headers) {
            self.fresh.set(0);
        }
        slabs.retain(|slab| {
            let is_unused = is_unused(slab.headers);
            if is_unused {
                // SAFETY: all of its frames were free, and none is on the list any more.
                unsafe { self.give_slab(*slab) };
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
    if header.block.is_retired() {
        core.retired.set(core.retired.get() + 1);
    } else {
        header.next_free.set(core.free.replace(Some(frame)));
        core.in_use.set(core.in_use.get() - 1);
    }
    // Here the pool may end, and the frame with it.
    drop(core);
}

impl Drop for Core {
    fn drop(&mut self) {
        for slab in core::mem::take(self.slabs.get_mut()) {
            // SAFETY: no frame is out, as it would keep the core, but those that were retired, and nobody can take one any more.
            unsafe { self.give_slab(slab) };
        }
    }
}
