//! What a program asks of the allocator, by the part of it that asks.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

/// How many parts of a program may be told apart.
pub const PARTS: usize = 4;

/// Which part asks now, and how many bytes each has.
static CURRENT: AtomicUsize = AtomicUsize::new(0);
static BYTES: [AtomicIsize; PARTS] = [const { AtomicIsize::new(0) }; PARTS];

/// The system's allocator, which counts the bytes that were asked for and not given back.
///
/// Both are of the part that runs when they happen, of whatever thread; so what one part allocates and another one frees is counted
/// wrongly in both, and rightly in their sum.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting;

/// What runs from now on is of this part; answers which was before.
///
/// # Panics
/// If there are fewer parts.
pub fn enter(part: usize) -> usize {
    assert!(part < PARTS, "there are {PARTS} parts");
    CURRENT.swap(part, Ordering::Relaxed)
}

/// The bytes of each part.
pub fn bytes() -> [isize; PARTS] {
    BYTES.each_ref().map(|bytes| bytes.load(Ordering::Relaxed))
}

fn count(more: usize, less: usize) {
    // No object is larger than isize::MAX.
    let change = more.cast_signed().wrapping_sub(less.cast_signed());
    BYTES[CURRENT.load(Ordering::Relaxed)].fetch_add(change, Ordering::Relaxed);
}

// SAFETY: everything is passed on to the system's allocator, which keeps the promises.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, new_size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}
