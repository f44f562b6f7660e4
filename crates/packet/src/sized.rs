//! Buffers of any size from one memory: pools of frames of several sizes.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::cell::Cell;
use core::fmt;

use crate::block::OutOfMemory;
use crate::buffer_mut::BufferMut;
use crate::pool::{Pool, PoolCounters, PoolOptions, SlabMemory};

#[cfg(all(test, not(loom)))]
mod tests;

/// Room for content in the smallest frames.
const MIN_BYTES: usize = 512;

/// The largest buffer of [`SizedPools`].
pub const MAX_SIZED_BYTES: usize = 1 << 20;

/// Frames of one size have twice as much room as those before.
const SIZES: usize = (MAX_SIZED_BYTES / MIN_BYTES).ilog2() as usize + 1;

/// Where there is no frame of a size, those of so many larger ones are tried.
const LARGER: usize = 2;

/// Once in so many failures free slabs of other sizes are given back, so that this one may have their memory.
const FAILURES_PER_SEARCH: u64 = 1_024;

/// Pools of frames of several sizes, all from one memory, for buffers of any length up to [`MAX_SIZED_BYTES`].
///
/// How much they have in all is bounded by what the memory gives. A buffer has the smallest frame in which it has room, whose size is less than
/// twice what is asked for, and at least 512 bytes.
pub struct SizedPools {
    pools: Box<[Pool]>,
    failures: Cell<u64>,
}

impl SizedPools {
    /// Pools without memory, which they will take from `memory` as it is needed. Each frame has `headroom_bytes` in front, and takes a
    /// multiple of `grain_bytes`.
    ///
    /// # Errors
    /// When such frames are larger than what can be addressed.
    pub fn new(memory: &Arc<dyn SlabMemory>, headroom_bytes: usize, grain_bytes: usize) -> Result<Self, OutOfMemory> {
        let pool = |size: usize| {
            let all = headroom_bytes.checked_add(MIN_BYTES << size).ok_or(OutOfMemory)?;
            let all = all.checked_next_multiple_of(grain_bytes.max(1)).ok_or(OutOfMemory)?;
            let frame_bytes = all - headroom_bytes;
            Pool::with_memory(Arc::clone(memory), PoolOptions { frame_bytes, headroom_bytes, limit_frames: usize::MAX })
        };
        let pools = (0..SIZES).map(pool).collect::<Result<_, _>>()?;
        Ok(Self { pools, failures: Cell::new(0) })
    }

    /// An empty buffer with room for `bytes` at least. `None` if it would be too large, or there is no memory; that is counted.
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn take(&self, bytes: usize) -> Option<BufferMut> {
        let taken = self.take_frame(bytes);
        if taken.is_some() || bytes > MAX_SIZED_BYTES {
            return taken;
        }
        let failures = self.failures.get();
        self.failures.set(failures + 1);
        if !failures.is_multiple_of(FAILURES_PER_SEARCH) {
            return None;
        }
        self.free_unused_memory();
        self.take_frame(bytes)
    }

    #[cfg_attr(feature = "accounting", track_caller)]
    fn take_frame(&self, bytes: usize) -> Option<BufferMut> {
        let smallest = size_for(bytes);
        self.pools.iter().skip(smallest).take(1 + LARGER).find_map(Pool::take)
    }

    /// Gives the slabs of which no frame is out back to the memory. It looks at all free frames, so it is for when there is nothing to do.
    pub fn free_unused_memory(&self) {
        self.pools.iter().for_each(Pool::free_unused_memory);
    }

    /// What all pools have done and do. The most frames that have been out are those of each size, at whatever time.
    pub fn counters(&self) -> PoolCounters {
        let mut sum = PoolCounters { exhausted: self.failures.get(), ..PoolCounters::default() };
        for counters in self.pools.iter().map(Pool::counters) {
            sum.in_use_frames += counters.in_use_frames;
            sum.retired_frames += counters.retired_frames;
            sum.high_water_frames += counters.high_water_frames;
            sum.reserved_bytes += counters.reserved_bytes;
        }
        sum
    }
}

/// The smallest size with room for so many bytes; there may be none.
const fn size_for(bytes: usize) -> usize {
    match bytes.div_ceil(MIN_BYTES) {
        0 => 0,
        parts if parts > 1 << (SIZES - 1) => SIZES,
        parts => parts.next_power_of_two().trailing_zeros() as usize,
    }
}

impl fmt::Debug for SizedPools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SizedPools").field("counters", &self.counters()).finish_non_exhaustive()
    }
}
