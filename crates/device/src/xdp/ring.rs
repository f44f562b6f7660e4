//! The rings that a socket shares with the kernel, of which one side puts entries in and the other one takes them out (`struct xsk_queue`).
//!
//! Both indices run freely; their difference is how many entries there are. An entry is the reader's from the moment when the writer has
//! stored its index, until the reader has stored his.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::net::xdp::XdpRingOffset;

#[cfg(test)]
mod tests;

/// `XDP_RING_NEED_WAKEUP`.
const NEED_WAKEUP: u32 = 1;

/// What is in a ring.
///
/// # Safety
/// Any bytes are a value of it, and it has no padding.
pub(super) unsafe trait Entry: Copy {}

// SAFETY: it is a number.
unsafe impl Entry for u64 {}

/// A piece of a frame, `struct xdp_desc`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Piece {
    pub(super) address: u64,
    pub(super) len: u32,
    /// [`MORE`] or none.
    pub(super) options: u32,
}

// SAFETY: a number of 64 bits and two of 32.
unsafe impl Entry for Piece {}

/// The packet has another piece (`XDP_PKT_CONTD`).
pub(super) const MORE: u32 = 1;

/// A ring that is mapped, of `mask + 1` entries.
struct Ring<T> {
    mapping: NonNull<u8>,
    mapped_bytes: usize,
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: Option<NonNull<AtomicU32>>,
    entries: NonNull<T>,
    mask: u32,
}

// SAFETY: the mapping stays where it is, and entries are plain numbers, which any thread may read and write.
unsafe impl<T: Entry> Send for Ring<T> {}

impl<T: Entry> Ring<T> {
    /// Maps a ring of a socket, of so many entries, a power of two. `page` says which one, and `at` where in it everything lies, by the
    /// kernel's own answers for that socket.
    fn map(socket: BorrowedFd<'_>, page: u64, at: &XdpRingOffset, entries: u32) -> io::Result<Self> {
        debug_assert!(entries.is_power_of_two(), "the kernel has only such rings");
        let place = |offset: u64| usize::try_from(offset).map_err(io::Error::other);
        let (desc, producer, consumer) = (place(at.desc)?, place(at.producer)?, place(at.consumer)?);
        let flags = at.flags.map(place).transpose()?;
        let mapped_bytes = desc + entries as usize * size_of::<T>();
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses a place where nothing is mapped.
        let start = unsafe {
            mmap(std::ptr::null_mut(), mapped_bytes, access, MapFlags::SHARED | MapFlags::POPULATE, socket, page)
        }?;
        let mapping = NonNull::new(start.cast::<u8>()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        // SAFETY: the kernel says that these lie within the ring, as long as it was mapped.
        let within = |offset| unsafe { mapping.add(offset) };
        Ok(Self {
            mapping,
            mapped_bytes,
            producer: within(producer).cast(),
            consumer: within(consumer).cast(),
            flags: flags.map(|offset| within(offset).cast()),
            entries: within(desc).cast(),
            mask: entries - 1,
        })
    }

    fn producer(&self) -> &AtomicU32 {
        // SAFETY: it is mapped for as long as the ring lives, aligned, and both sides use it atomically.
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { self.consumer.as_ref() }
    }

    fn needs_wakeup(&self) -> bool {
        // SAFETY: as above.
        self.flags.is_some_and(|flags| unsafe { flags.as_ref() }.load(Ordering::Relaxed) & NEED_WAKEUP != 0)
    }

    /// The place of the entry with an index.
    fn entry(&self, index: u32) -> NonNull<T> {
        // SAFETY: there are `mask + 1` entries.
        unsafe { self.entries.add((index & self.mask) as usize) }
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        // SAFETY: it was mapped so, and only this value has pointers into it.
        let result = unsafe { munmap(self.mapping.as_ptr().cast(), self.mapped_bytes) };
        debug_assert!(result.is_ok(), "a mapping is unmapped as it was mapped");
    }
}

/// The side of a ring that puts entries in.
pub(super) struct Producer<T> {
    ring: Ring<T>,
    /// The index of the next entry; the kernel sees it after [`Producer::publish`].
    next: u32,
    /// How far the kernel is known to have come.
    done: u32,
}

impl<T: Entry> Producer<T> {
    pub(super) fn map(socket: BorrowedFd<'_>, page: u64, at: &XdpRingOffset, entries: u32) -> io::Result<Self> {
        Ring::map(socket, page, at, entries).map(Self::of)
    }

    fn of(ring: Ring<T>) -> Self {
        let next = ring.producer().load(Ordering::Relaxed);
        Self { ring, next, done: next }
    }

    /// For how many entries there is room. The other side is only asked if there is room for fewer than `wanted`.
    pub(super) fn room(&mut self, wanted: u32) -> u32 {
        let size = self.ring.mask + 1;
        if size - self.next.wrapping_sub(self.done) < wanted {
            let done = self.ring.consumer().load(Ordering::Acquire);
            // The other side can't have taken what is not there.
            if self.next.wrapping_sub(done) <= size {
                self.done = done;
            }
        }
        size - self.next.wrapping_sub(self.done)
    }

    /// Puts an entry in, for which there is room.
    pub(super) fn push(&mut self, entry: T) {
        debug_assert!(self.next.wrapping_sub(self.done) <= self.ring.mask, "the caller has asked for room");
        // SAFETY: the place is within the ring, and this side's as long as there is room.
        unsafe { self.ring.entry(self.next).write(entry) };
        self.next = self.next.wrapping_add(1);
    }

    /// Lets the other side see what was put in.
    pub(super) fn publish(&mut self) {
        self.ring.producer().store(self.next, Ordering::Release);
    }

    /// How many entries the other side has not taken.
    pub(super) fn waiting(&self) -> u32 {
        self.next.wrapping_sub(self.ring.consumer().load(Ordering::Acquire))
    }

    /// Whether the kernel has to be told that there are entries.
    pub(super) fn needs_wakeup(&self) -> bool {
        self.ring.needs_wakeup()
    }
}

/// The side of a ring that takes entries out.
pub(super) struct Consumer<T> {
    ring: Ring<T>,
    /// The index of the next entry; the kernel sees it after [`Consumer::release`].
    next: u32,
    /// Up to where there are entries.
    end: u32,
}

impl<T: Entry> Consumer<T> {
    pub(super) fn map(socket: BorrowedFd<'_>, page: u64, at: &XdpRingOffset, entries: u32) -> io::Result<Self> {
        Ring::map(socket, page, at, entries).map(Self::of)
    }

    fn of(ring: Ring<T>) -> Self {
        let next = ring.consumer().load(Ordering::Relaxed);
        Self { ring, next, end: next }
    }

    /// The next entry.
    pub(super) fn pop(&mut self) -> Option<T> {
        if self.next == self.end {
            let end = self.ring.producer().load(Ordering::Acquire);
            if end.wrapping_sub(self.next).wrapping_sub(1) > self.ring.mask {
                // There is none; or more than the ring can have, which makes no sense.
                return None;
            }
            self.end = end;
        }
        // SAFETY: the place is within the ring; the entry is there, and the kernel leaves it alone until it is released.
        let entry = unsafe { self.ring.entry(self.next).read() };
        self.next = self.next.wrapping_add(1);
        Some(entry)
    }

    /// Lets the other side have the places of what was taken out.
    pub(super) fn release(&mut self) {
        self.ring.consumer().store(self.next, Ordering::Release);
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("next", &self.next).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("next", &self.next).finish_non_exhaustive()
    }
}
