//! Memory of a device for what is sent by it.

use std::alloc::Layout;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sunstar_packet::{OutOfMemory, Pool, PoolOptions, SizedPools, SlabMemory};

/// Room for the headers of a packet, those of the device included, and for those of what it may go through.
const HEADROOM_BYTES: usize = 128;

/// What is not longer is copied behind its headers rather than sent from where it lies, if it was to be a part of its own: one more part costs
/// more, on both sides of a device.
pub(crate) const SHORT_BYTES: usize = sunstar_virtio::net::SHORT_BYTES;

/// Headers that may be out at the same time in each pool: what a ring holds, several times.
const HEADER_FRAMES: usize = 4_096;

/// Memory from which a device sends what lies there without copying it first. It is beside that of the frames for receiving, so that none of
/// those is missing whatever is kept here, and however long.
///
/// Its clones are handles to the same one. The pools of all shards that send by the device may take from it, until what it has is out; who finds
/// nothing there takes other memory, which the device copies and counts ([`Counters::tx_copies`](crate::Counters::tx_copies)).
#[derive(Clone)]
pub struct SendMemory {
    headers: Arc<dyn SlabMemory>,
    buffers: Arc<dyn SlabMemory>,
    grain_bytes: usize,
}

impl SendMemory {
    /// Some of a device's memory: so many bytes for headers, and for what applications send. Frames take multiples of `grain_bytes`, so
    /// that no two of them have parts of the same piece of that size.
    pub fn new(memory: &Arc<dyn SlabMemory>, header_bytes: usize, buffer_bytes: usize, grain_bytes: usize) -> Self {
        let (headers, buffers) = (Share::of(memory, header_bytes), Share::of(memory, buffer_bytes));
        Self { headers, buffers, grain_bytes }
    }

    /// A pool for headers, with room behind them for what is short. Its frames are bounded in number.
    ///
    /// # Errors
    /// When such frames are larger than what can be addressed.
    pub fn headers(&self) -> Result<Pool, OutOfMemory> {
        let frame_bytes = (HEADROOM_BYTES + SHORT_BYTES).next_multiple_of(self.grain_bytes) - HEADROOM_BYTES;
        let options = PoolOptions { frame_bytes, headroom_bytes: HEADROOM_BYTES, limit_frames: HEADER_FRAMES };
        Pool::with_memory(Arc::clone(&self.headers), options)
    }

    /// Pools for what applications send, with room in front for headers.
    ///
    /// # Errors
    /// When such frames are larger than what can be addressed.
    pub fn buffers(&self) -> Result<SizedPools, OutOfMemory> {
        SizedPools::new(&self.buffers, HEADROOM_BYTES, self.grain_bytes)
    }
}

impl fmt::Debug for SendMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendMemory").field("grain_bytes", &self.grain_bytes).finish_non_exhaustive()
    }
}

/// A share of a memory: so many bytes of it may be out.
pub(crate) struct Share {
    memory: Arc<dyn SlabMemory>,
    left_bytes: AtomicUsize,
}

impl Share {
    pub(crate) fn of(memory: &Arc<dyn SlabMemory>, bytes: usize) -> Arc<dyn SlabMemory> {
        Arc::new(Self { memory: Arc::clone(memory), left_bytes: AtomicUsize::new(bytes) })
    }
}

// SAFETY: what it answers is of the memory, which it keeps, and goes back there.
unsafe impl SlabMemory for Share {
    fn take(&self, layout: Layout) -> Option<NonNull<u8>> {
        let take = |left: usize| left.checked_sub(layout.size());
        self.left_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        let slab = self.memory.take(layout);
        if slab.is_none() {
            self.left_bytes.fetch_add(layout.size(), Ordering::Relaxed);
        }
        slab
    }

    unsafe fn give(&self, slab: NonNull<u8>, layout: Layout) {
        // SAFETY: what is given back was taken of this value, and so of its memory, with the same layout.
        unsafe { self.memory.give(slab, layout) };
        self.left_bytes.fetch_add(layout.size(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared_memory::SharedMemory;

    #[test]
    fn no_more_is_out_than_the_share_of_it_whoever_takes_it() {
        let shared = SharedMemory::new(64 << 20).expect("memory");
        let memory: Arc<dyn SlabMemory> = shared.clone();
        let sends = SendMemory::new(&memory, 2 << 20, 4 << 20, 64);
        let pools: Vec<_> = (0..2).map(|_| sends.clone().buffers().expect("frames are small")).collect();
        let mut kept: Vec<_> = Vec::new();
        kept.extend(pools.iter().cycle().map_while(|pools| pools.take(60_000)));
        let taken: usize = pools.iter().map(|pools| pools.counters().in_use_frames).sum();
        assert!(taken == kept.len() && (50..64).contains(&taken), "{taken}");
        assert!(shared.used_bytes() <= 4 << 20);
        let headers = sends.headers().expect("frames are small");
        let header = headers.take().expect("they have their own share");
        assert!(header.headroom() >= 128 && header.tailroom() >= SHORT_BYTES);
        for buffer in &kept {
            assert!(shared.offset_of(buffer.as_ptr(), 60_000).is_some());
            assert!(buffer.headroom() >= 100, "there is room for headers");
        }
        drop((kept, header));
        headers.free_unused_memory();
        pools.iter().for_each(SizedPools::free_unused_memory);
        assert_eq!(shared.used_bytes(), 0);
        assert!(pools[1].take(60_000).is_some());
    }

    #[test]
    fn frames_share_no_piece_of_the_grain() {
        let shared = SharedMemory::new(64 << 20).expect("memory");
        let memory: Arc<dyn SlabMemory> = shared.clone();
        for grain in [2_048, 4_096] {
            let sends = SendMemory::new(&memory, 2 << 20, 8 << 20, grain);
            let (headers, buffers) = (sends.headers().expect("small"), sends.buffers().expect("small"));
            let frames = [headers.take(), headers.take(), buffers.take(100), buffers.take(100), buffers.take(5_000)];
            for frame in frames {
                let frame = frame.expect("there is memory");
                let begin = frame.as_ptr().addr() - frame.headroom();
                assert_eq!(begin % grain, 0);
                assert_eq!((frame.headroom() + frame.tailroom()) % grain, 0);
            }
        }
    }
}
