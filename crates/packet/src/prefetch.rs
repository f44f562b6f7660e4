//! Fetching memory ahead.

/// Bytes of a cache line.
const LINE_BYTES: usize = 64;

/// Has the processor fetch the cache lines of a value that will be looked at soon, if it can; nothing waits for them.
///
/// It pays where several values lie far apart and in no cache: they come at the same time then, and not one after the other.
#[inline]
pub fn prefetch<T: ?Sized>(value: &T) {
    let begin = core::ptr::from_ref(value).cast::<i8>();
    for at in (0..size_of_val(value)).step_by(LINE_BYTES) {
        fetch(begin.wrapping_add(at));
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline]
fn fetch(line: *const i8) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

    // SAFETY: every processor of this kind knows the instruction, which changes nothing and can't fault, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line) };
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[inline]
fn fetch(_line: *const i8) {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::prefetch;

    #[test]
    fn values_of_any_size_are_fetched() {
        prefetch(&[0_u8; 0][..]);
        prefetch(&[7_u64; 100]);
        prefetch("a few bytes");
    }
}
