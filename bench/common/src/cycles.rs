//! The processor's time stamp counter, by which programs that never leave a core count what they cost.

/// The counter. It runs at one speed on all processors that this is measured on, whatever theirs is meanwhile.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn now() -> u64 {
    // SAFETY: reads a register; every x86-64 processor has it and Linux lets programs read it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Nanoseconds: programs can't read a counter of cycles here.
#[cfg(not(target_arch = "x86_64"))]
pub fn now() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    u64::try_from(BEGIN.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}
