//! Memory that the kernel receives into: a ring of provided buffers (`io_uring_register(2)`, `IORING_REGISTER_PBUF_RING`).

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// Bytes of a frame.
const FRAME_BYTES: u32 = 2048;
/// The most entries that the kernel allows.
const MOST_FRAMES: usize = 1 << 15;
const PAGE_BYTES: usize = 4096;

/// The frames of one ring. They live as long as the program.
pub(crate) struct Frames {
    ring: *mut BufRingEntry,
    /// A power of two.
    count: u16,
    memory: Box<[u8]>,
    tail: u16,
}

impl Frames {
    /// Gives frames for so many answers of so many bytes to the kernel, as group 0: no more, so that they stay in the
    /// processor's cache.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn new(uring: &IoUring, answers: usize, bytes: usize) -> io::Result<Self> {
        let pieces = bytes.div_ceil(FRAME_BYTES as usize) + 1;
        let count = answers.saturating_mul(pieces).min(MOST_FRAMES).next_power_of_two();
        let count = u16::try_from(count).expect("within the bound");
        let bytes = usize::from(count) * size_of::<BufRingEntry>();
        let layout = Layout::from_size_align(bytes, PAGE_BYTES).expect("a page is a power of two");
        // SAFETY: the layout is not empty.
        let ring = unsafe { alloc_zeroed(layout) }.cast::<BufRingEntry>();
        if ring.is_null() {
            handle_alloc_error(layout);
        }
        let memory = vec![0; usize::from(count) * FRAME_BYTES as usize].into_boxed_slice();
        let mut frames = Self { ring, count, memory, tail: 0 };
        (0..count).for_each(|frame| frames.put_back(frame));
        // SAFETY: the ring is never freed.
        unsafe { uring.submitter().register_buf_ring_with_flags(ring.addr() as u64, count, 0, 0)? };
        Ok(frames)
    }

    /// What the kernel wrote to a frame.
    pub(crate) fn bytes(&self, frame: u16, len: usize) -> &[u8] {
        &self.memory[usize::from(frame) * FRAME_BYTES as usize..][..len]
    }

    /// Gives a frame back to the kernel.
    pub(crate) fn put_back(&mut self, frame: u16) {
        let start = usize::from(frame) * FRAME_BYTES as usize;
        let place = usize::from(self.tail & (self.count - 1));
        // SAFETY: the place is within the ring, and the kernel looks at it only after the tail was moved past it.
        unsafe {
            let entry = &mut *self.ring.add(place);
            entry.set_addr(self.memory[start..].as_mut_ptr().addr() as u64);
            entry.set_len(FRAME_BYTES);
            entry.set_bid(frame);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in the ring, and the kernel only reads it.
        unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.ring).cast_mut()) }.store(self.tail, Ordering::Release);
    }
}
