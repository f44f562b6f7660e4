//! The functions on memory that compiled code may call anywhere and that a C library usually brings.

use core::arch::asm;
use core::ffi::c_int;

/// # Safety
/// As of `copy_nonoverlapping` for bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    // SAFETY: the caller says that both ranges are valid and distinct; the direction flag is clear by the ABI.
    unsafe {
        asm!("rep movsb", inout("rcx") bytes => _, inout("rdi") to => _, inout("rsi") from => _,
             options(nostack, preserves_flags));
    }
    to
}

/// # Safety
/// As of `copy` for bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    if to.addr().wrapping_sub(from.addr()) >= bytes {
        // SAFETY: `to` does not begin within `from`, so bytes are read before they are overwritten.
        return unsafe { memcpy(to, from, bytes) };
    }
    // SAFETY: the caller says that both ranges are valid; they are walked from their last bytes, which exist because
    // `bytes` is not 0 here, and the direction flag is cleared again.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") bytes => _, inout("rdi") to.add(bytes - 1) => _,
             inout("rsi") from.add(bytes - 1) => _, options(nostack));
    }
    to
}

/// # Safety
/// As of `write_bytes` for bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: c_int, bytes: usize) -> *mut u8 {
    // SAFETY: the caller says that the range is valid; the direction flag is clear by the ABI.
    unsafe {
        asm!("rep stosb", inout("rcx") bytes => _, inout("rdi") to => _, in("al") byte.to_le_bytes()[0],
             options(nostack, preserves_flags));
    }
    to
}

/// # Safety
/// Both pointers must be valid for reads of `bytes` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, bytes: usize) -> c_int {
    for at in 0..bytes {
        // SAFETY: `at` lies within both ranges.
        let (a, b) = unsafe { (a.add(at).read(), b.add(at).read()) };
        if a != b {
            return c_int::from(a) - c_int::from(b);
        }
    }
    0
}

/// # Safety
/// As [`memcmp`].
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, bytes: usize) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { memcmp(a, b, bytes) }
}
