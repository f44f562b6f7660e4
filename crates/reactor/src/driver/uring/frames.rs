//! Frames that the kernel receives into: a ring of provided buffers and the memory behind it.
//!
//! A frame is in one of three places: in the ring, from which the kernel takes it when something arrives; lent as a
//! [`Buffer`]; or on a stack of free ones. Only a part of the frames is in the ring at a time, and what is free is taken from
//! the top of the stack: so few frames are in use while there is little to do, and the rest of the memory is never touched.

use std::cell::{Cell, RefCell};
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use rustix::net::{RecvFlags, recv};
use sunstar_packet::{Access, Block, Buffer};

use super::ring::Ring;
use crate::io_stats::IoCounters;

/// Frames begin at different places of a page: most of what comes is short, and if all of it lay at the begin of pages, it would compete for
/// the few lines that a processor's caches have for those addresses.
const SHIFTS_BYTES: usize = 4096;

/// By how much one frame is shifted against the one before: a line of the caches.
const SHIFT_BYTES: usize = 64;

/// How many frames of which size a pool has.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameOptions {
    /// A power of two.
    pub(super) frames: u16,
    pub(super) frame_bytes: u32,
    /// How many of them are offered to the kernel at a time.
    pub(super) offered: u16,
}

impl FrameOptions {
    /// The memory of a frame, wherever in it the frame begins.
    fn stride_bytes(self) -> usize {
        self.frame_bytes as usize + SHIFTS_BYTES
    }
}

/// The frames of one group of provided buffers. Dropping it leaves what is lent valid.
///
/// It must be dropped after the ring that it is registered with.
pub(super) struct Frames(NonNull<Pool>);

struct Pool {
    options: FrameOptions,
    /// The entries shared with the kernel, of which the first one holds the tail in its reserved field.
    entries: Mapping,
    memory: Mapping,
    /// Never moves: buffers point to the headers.
    headers: Box<[Frame]>,
    tail: Cell<u16>,
    offered: Cell<u16>,
    lent: Cell<u16>,
    /// Frames that nobody has, the latest on top.
    free: RefCell<Vec<u16>>,
    is_registered: Cell<bool>,
}

/// A frame's header. The block comes first, so that its address is the header's.
#[repr(C)]
struct Frame {
    block: Block,
    pool: Cell<Option<NonNull<Pool>>>,
    id: u16,
}

impl Frames {
    /// Makes frames and registers them as `group`.
    pub(super) fn new(ring: &Ring, group: u16, options: FrameOptions) -> io::Result<Self> {
        let frames = Self::unregistered(options)?;
        let entries = frames.pool().entries.start.as_ptr().expose_provenance();
        // SAFETY: the entries are mapped until the pool goes, which its owner drops after the ring.
        unsafe { ring.register_buffers(entries as u64, options.frames, group)? };
        Ok(frames)
    }

    fn unregistered(options: FrameOptions) -> io::Result<Self> {
        assert!(options.frames.is_power_of_two() && options.offered <= options.frames, "a ring has 2^n entries");
        let frame_bytes = options.frame_bytes as usize;
        let entries = Mapping::new(usize::from(options.frames) * size_of::<BufRingEntry>())?;
        let memory = Mapping::new(usize::from(options.frames) * options.stride_bytes())?;
        let header = |id: u16| {
            let shift = usize::from(id) * SHIFT_BYTES % SHIFTS_BYTES;
            // SAFETY: the mapping has room for this many frames with their shifts.
            let start = unsafe { memory.start.add(usize::from(id) * options.stride_bytes() + shift) };
            Frame { block: Block::new(start, frame_bytes, Access::Writable, release), pool: Cell::new(None), id }
        };
        let pool = Box::new(Pool {
            options,
            entries,
            headers: (0..options.frames).map(header).collect(),
            memory,
            tail: Cell::new(0),
            offered: Cell::new(0),
            lent: Cell::new(0),
            free: RefCell::new((0..options.frames).rev().collect()),
            is_registered: Cell::new(true),
        });
        let pool = NonNull::from(Box::leak(pool));
        // SAFETY: the pool was made just now and is freed by `Pool::free_if_unused` only.
        unsafe { pool.as_ref() }.headers.iter().for_each(|header| header.pool.set(Some(pool)));
        Ok(Self(pool))
    }

    #[inline]
    fn pool(&self) -> &Pool {
        // SAFETY: the pool lives while it is registered, which ends when `self` is dropped.
        unsafe { self.0.as_ref() }
    }

    /// Offers free frames to the kernel, up to the bound. Answers whether any are on offer.
    #[inline]
    pub(super) fn refill(&self) -> bool {
        let pool = self.pool();
        if pool.offered.get() < pool.options.offered {
            pool.refill();
        }
        pool.offered.get() > 0
    }

    /// Takes over the frame `id`, in which the kernel has put something: the bytes of `range`.
    ///
    /// While fewer than half of the frames are free, the bytes are copied and the frame is free at once, so that who holds
    /// buffers for long can't starve others.
    ///
    /// # Panics
    /// If there is no such frame or range.
    ///
    /// # Safety
    /// The kernel has named this frame in a completion that was not handled yet, and has written to the range.
    pub(super) unsafe fn take(&self, id: u16, range: Range<usize>, counters: &IoCounters) -> Buffer {
        let pool = self.pool();
        let header = &pool.headers[usize::from(id)];
        assert!(range.start <= range.end && range.end <= pool.options.frame_bytes as usize, "beyond the frame");
        pool.offered.set(pool.offered.get() - 1);
        // SAFETY: the range lies within the frame.
        let start = unsafe { header.block.start().add(range.start) };
        let len = range.len();
        if pool.lent.get() >= pool.options.frames / 2 {
            // SAFETY: the kernel has written to the range and is done with the frame, as the caller says.
            let bytes = unsafe { slice::from_raw_parts(start.as_ptr(), len) };
            counters.short_frames.add(1);
            counters.copied_out_bytes.add(len as u64);
            let copy = Buffer::copy_from_slice(bytes);
            pool.free.borrow_mut().push(id);
            return copy;
        }
        pool.lent.set(pool.lent.get() + 1);
        // The address must be that of the whole header, which `release` looks at.
        let block = NonNull::from(header).cast::<Block>();
        // SAFETY: the frame was the kernel's, so nobody holds a reference. It is not offered again before `release`, and the
        // pool lives until then. The kernel has written to the range, which lies within the block, all of which is writable.
        unsafe { Buffer::from_block(block, start, len) }
    }

    /// Receives what has come into a free frame, without waiting; nothing if the stream has ended.
    ///
    /// # Errors
    /// [`Errno::NOBUFS`] if no frame is free, and what the system says.
    pub(super) fn receive(&self, socket: BorrowedFd<'_>, counters: &IoCounters) -> Result<Buffer, Errno> {
        let pool = self.pool();
        let id = pool.free.borrow_mut().pop().ok_or(Errno::NOBUFS)?;
        let block = &pool.headers[usize::from(id)].block;
        let memory = block.start().as_ptr().cast::<MaybeUninit<u8>>();
        // SAFETY: nobody has the frame, and it is not offered to the kernel.
        let memory = unsafe { slice::from_raw_parts_mut(memory, block.capacity()) };
        match recv(socket, memory, RecvFlags::DONTWAIT) {
            Ok(((bytes, _), _)) if !bytes.is_empty() => {
                pool.offered.set(pool.offered.get() + 1);
                // SAFETY: the kernel has written so many bytes, as if the frame had been on offer.
                Ok(unsafe { self.take(id, 0..bytes.len(), counters) })
            }
            outcome => {
                pool.free.borrow_mut().push(id);
                outcome.map(|_end| Buffer::new())
            }
        }
    }

    /// Puts a frame back into which nothing was put.
    ///
    /// # Safety
    /// The kernel has named this frame in a completion that was not handled yet.
    pub(super) unsafe fn untake(&self, id: u16) {
        let pool = self.pool();
        pool.offered.set(pool.offered.get() - 1);
        pool.free.borrow_mut().push(id);
    }

    /// The bytes of a frame that the kernel has filled, before it is [taken](Frames::take).
    ///
    /// # Safety
    /// As for [`Frames::take`], for the first `len` bytes.
    pub(super) unsafe fn peek(&self, id: u16, len: usize) -> &[u8] {
        let block = &self.pool().headers[usize::from(id)].block;
        assert!(len <= block.capacity(), "beyond the frame");
        // SAFETY: the range lies within the frame, and the kernel has written to it and is done with it.
        unsafe { slice::from_raw_parts(block.start().as_ptr(), len) }
    }

    /// Gives the memory of frames back to the system that neither the kernel nor anybody else has.
    pub(super) fn free_unused_memory(&self) {
        let pool = self.pool();
        let mut free = pool.free.borrow_mut();
        // Neighbours go together. As a side effect the first frames are on top again.
        free.sort_unstable_by(|a, b| b.cmp(a));
        for run in free.chunk_by(|above, below| *above == *below + 1) {
            let Some(lowest) = run.last() else { continue };
            let stride = pool.options.stride_bytes();
            // SAFETY: the mapping has room for all frames.
            let start = unsafe { pool.memory.start.add(usize::from(*lowest) * stride) };
            let len = run.len() * stride;
            // SAFETY: the frames lie side by side, and nobody has any of them: what they hold is of no use. They stay mapped.
            let given = unsafe { madvise(start.as_ptr().cast(), len, Advice::LinuxDontNeed) };
            debug_assert!(given.is_ok(), "frames are whole pages");
        }
    }

    /// How many frames are lent.
    pub(super) fn lent(&self) -> u16 {
        self.pool().lent.get()
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        self.pool().is_registered.set(false);
        // SAFETY: `self` was the registration and is gone, so nobody but lent frames refers to the pool.
        unsafe { Pool::free_if_unused(self.0) };
    }
}

impl Pool {
    fn refill(&self) {
        let mut free = self.free.borrow_mut();
        let mask = self.options.frames - 1;
        let mut tail = self.tail.get();
        while self.offered.get() < self.options.offered {
            let Some(id) = free.pop() else { break };
            let start = self.headers[usize::from(id)].block.start();
            let place = self.entries.start.cast::<BufRingEntry>();
            // SAFETY: the place lies within the mapping, which is aligned and zeroed at first; the kernel reads it only after
            // the tail was moved beyond it. The reserved field, which is the tail in the first entry, is not written to.
            let entry = unsafe { place.add(usize::from(tail & mask)).as_mut() };
            entry.set_addr(start.as_ptr().expose_provenance() as u64);
            entry.set_len(self.options.frame_bytes);
            entry.set_bid(id);
            tail = tail.wrapping_add(1);
            self.offered.set(self.offered.get() + 1);
        }
        if tail != self.tail.replace(tail) {
            // SAFETY: the first entry is valid and zeroed at first.
            let shared = unsafe { BufRingEntry::tail(self.entries.start.cast::<BufRingEntry>().as_ptr()) };
            // SAFETY: the field is aligned, lives as long as the mapping, and is only read by the kernel.
            unsafe { AtomicU16::from_ptr(shared.cast_mut()) }.store(tail, Ordering::Release);
        }
    }

    /// Frees the pool if it is registered no more and nothing is lent.
    ///
    /// # Safety
    /// The pool is valid, and the caller does not touch it afterwards.
    unsafe fn free_if_unused(pool: NonNull<Self>) {
        // SAFETY: the caller says that it is valid.
        let this = unsafe { pool.as_ref() };
        if !this.is_registered.get() && this.lent.get() == 0 {
            // SAFETY: it was leaked by `Frames::unregistered`; neither the owner nor a lent frame refers to it any more.
            drop(unsafe { Box::from_raw(pool.as_ptr()) });
        }
    }
}

/// Takes a frame back when its last buffer is gone.
///
/// # Safety
/// The block is the first field of a frame that was lent.
unsafe fn release(block: NonNull<Block>) {
    // SAFETY: the block is the first field of a `Frame`, and `take` made the pointer from one to the whole.
    let header = unsafe { block.cast::<Frame>().as_ref() };
    let pool = header.pool.get().expect("set when the pool was made");
    // SAFETY: a pool outlives what it has lent.
    let this = unsafe { pool.as_ref() };
    this.lent.set(this.lent.get() - 1);
    this.free.borrow_mut().push(header.id);
    // SAFETY: valid as above, and not touched afterwards.
    unsafe { Pool::free_if_unused(pool) };
}

/// Memory from the system, zeroed, taken only when it is touched.
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    fn new(len: usize) -> io::Result<Self> {
        let (rights, kind) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
        // SAFETY: a new mapping at a place that the system chooses touches nobody's memory.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), len, rights, kind)? };
        Ok(Self { start: NonNull::new(start.cast()).expect("a mapping is never at zero"), len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and whoever had an address in it is gone.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: FrameOptions = FrameOptions { frames: 8, frame_bytes: 4096, offered: 4 };

    /// What the kernel does: takes the frame at the ring's head and writes to it.
    fn fill(frames: &Frames, counters: &IoCounters, head: &mut u16, bytes: &[u8]) -> Buffer {
        assert!(frames.refill());
        let pool = frames.pool();
        // SAFETY: an entry between head and tail, within the mapping.
        let entry =
            unsafe { pool.entries.start.cast::<BufRingEntry>().add(usize::from(*head % OPTIONS.frames)).as_ref() };
        *head += 1;
        let start = pool.headers[usize::from(entry.bid())].block.start();
        assert_eq!(entry.addr(), start.as_ptr().expose_provenance() as u64);
        // SAFETY: the frame is offered, so nobody else has it.
        unsafe { start.copy_from_nonoverlapping(NonNull::from_ref(bytes).cast(), bytes.len()) };
        // SAFETY: this is the kernel's completion.
        unsafe { frames.take(entry.bid(), 0..bytes.len(), counters) }
    }

    fn copied(counters: &IoCounters) -> (u64, u64) {
        let stats = counters.snapshot();
        (stats.short_frames, stats.copied_out_bytes)
    }

    #[test]
    fn frames_go_round_and_only_as_many_as_needed() {
        let frames = Frames::unregistered(OPTIONS).expect("memory is free");
        let (counters, mut head) = (IoCounters::default(), 0);
        let mut places = std::collections::BTreeSet::new();
        for round in 0..1000_u32 {
            let buffer = fill(&frames, &counters, &mut head, &round.to_ne_bytes());
            places.insert(buffer.as_ptr().addr());
            assert_eq!(*buffer, round.to_ne_bytes());
        }
        assert!(places.len() <= usize::from(OPTIONS.offered) + 1, "the rest is never touched");
        assert_eq!((frames.lent(), copied(&counters)), (0, (0, 0)));
    }

    #[test]
    fn frames_begin_at_different_lines_of_a_page() {
        let frames = Frames::unregistered(FrameOptions { frames: 64, ..OPTIONS }).expect("memory is free");
        let line = |header: &Frame| header.block.start().addr().get() % SHIFTS_BYTES / SHIFT_BYTES;
        let mut lines: Vec<_> = frames.pool().headers.iter().map(line).collect();
        lines.sort_unstable();
        assert!(lines.into_iter().eq(0..SHIFTS_BYTES / SHIFT_BYTES));
    }

    #[test]
    fn when_half_of_the_frames_are_held_the_rest_is_copied() {
        let frames = Frames::unregistered(OPTIONS).expect("memory is free");
        let (counters, mut head) = (IoCounters::default(), 0);
        let mut held: Vec<_> = (0..100_u8).map(|byte| fill(&frames, &counters, &mut head, &[byte; 100])).collect();
        assert_eq!((frames.lent(), copied(&counters)), (4, (96, 9600)));
        assert!(held.iter().zip(0..).all(|(buffer, byte)| **buffer == [byte; 100]));
        held.clear();
        assert_eq!(frames.lent(), 0);
        drop(fill(&frames, &counters, &mut head, b"lent again"));
        assert_eq!(copied(&counters), (96, 9600));
    }

    #[test]
    fn memory_that_is_given_back_is_zero_and_what_is_used_stays() {
        let frames = Frames::unregistered(OPTIONS).expect("memory is free");
        let (counters, mut head) = (IoCounters::default(), 0);
        let held = fill(&frames, &counters, &mut head, b"held");
        let gone: Vec<_> = (0..2).map(|_| fill(&frames, &counters, &mut head, b"gone")).collect();
        let places: Vec<_> = gone.iter().map(|buffer| buffer.as_ptr()).collect();
        drop(gone);
        frames.free_unused_memory();
        assert_eq!(*held, *b"held");
        // SAFETY: the frames are mapped as long as the pool lives, and nobody writes to them now.
        assert!(places.iter().all(|place| unsafe { place.read() } == 0));
        assert_eq!(*fill(&frames, &counters, &mut head, b"used again"), *b"used again");
    }

    #[test]
    fn what_is_lent_outlives_the_frames() {
        let frames = Frames::unregistered(OPTIONS).expect("memory is free");
        let (counters, mut head) = (IoCounters::default(), 0);
        let buffers = [fill(&frames, &counters, &mut head, b"one"), fill(&frames, &counters, &mut head, b"two")];
        drop(frames);
        assert_eq!((&*buffers[0], &*buffers[1]), (&b"one"[..], &b"two"[..]));
        let part = buffers[1].slice(1..);
        drop(buffers);
        assert_eq!(*part, *b"wo");
    }

    #[test]
    fn a_lent_frame_can_be_written_to_by_its_only_holder() {
        let frames = Frames::unregistered(OPTIONS).expect("memory is free");
        let buffer = fill(&frames, &IoCounters::default(), &mut 0, b"abc");
        let mut writable = buffer.try_into_mut().expect("the only holder");
        writable.extend_from_slice(b"def").expect("the frame has room");
        assert_eq!(*writable.freeze(), *b"abcdef");
    }
}
