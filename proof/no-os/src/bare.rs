//! What a program needs where there is no operating system: an entry point, an allocator, an end.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::panic::PanicInfo;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

/// The exit status of a panic.
const PANICKED: u8 = 101;

// The entry point has no return address and no promise about the stack's alignment.
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "and rsp, -16",
    "call {main}",
    "ud2",
    main = sym main,
);

extern "C" fn main() -> ! {
    exit(crate::checks())
}

/// Ends the program. This is the only request to what runs beneath it.
fn exit(status: u8) -> ! {
    // SAFETY: exit_group (231) takes a status, returns never and touches no memory of ours.
    unsafe { asm!("syscall", in("rax") 231, in("rdi") u64::from(status), options(noreturn, nostack)) }
}

#[panic_handler]
fn panic(_info: &PanicInfo<'_>) -> ! {
    exit(PANICKED)
}

const ARENA_BYTES: usize = 4 << 20;

/// Hands out an arena from its front and takes nothing back.
struct Bump {
    arena: UnsafeCell<[u8; ARENA_BYTES]>,
    used: AtomicUsize,
}

// SAFETY: the arena is only handed out in parts, and `used` gives each part to one caller.
unsafe impl Sync for Bump {}

// SAFETY: each part lies within the arena, is aligned, and is given out once.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.arena.get().cast::<u8>();
        let reserve = layout.size() + layout.align();
        let begin = self.used.fetch_add(reserve, Ordering::Relaxed);
        if begin + reserve > ARENA_BYTES {
            return ptr::null_mut();
        }
        // SAFETY: begin and what alignment adds to it stay within the reserve, which lies within the arena.
        unsafe {
            let unaligned = base.add(begin);
            unaligned.add(unaligned.align_offset(layout.align()))
        }
    }

    unsafe fn dealloc(&self, _memory: *mut u8, _layout: Layout) {}
}

#[global_allocator]
static HEAP: Bump = Bump { arena: UnsafeCell::new([0; ARENA_BYTES]), used: AtomicUsize::new(0) };
