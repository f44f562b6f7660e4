//! The processors that a thread may run on.

use std::io;
use std::mem::size_of_val;

use crate::cpu_set::{CpuSet, MAX_CPUS};

/// Room for as many processors as Linux can be built for; the C library's `cpu_set_t` ends at 1024.
type Mask = [libc::c_ulong; MAX_CPUS as usize / libc::c_ulong::BITS as usize];

/// The processors that the calling thread may run on.
///
/// # Errors
/// What the system says.
pub fn allowed_cpus() -> io::Result<CpuSet> {
    let mut mask: Mask = [0; _];
    // SAFETY: the kernel writes at most as many bytes as the mask has; any bits are a valid mask.
    let answer = unsafe { libc::sched_getaffinity(0, size_of_val(&mask), mask.as_mut_ptr().cast()) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((0..MAX_CPUS).filter(|&cpu| mask[word(cpu)] & bit(cpu) != 0).collect())
}

/// Lets the calling thread run on processor `cpu` only.
///
/// # Errors
/// What the system says, for instance when `cpu` is offline or not allowed.
pub(crate) fn pin_to(cpu: u32) -> io::Result<()> {
    confine_to(&[cpu].into_iter().collect())
}

/// Lets the calling thread run on these processors only.
///
/// # Errors
/// What the system says, for instance when none of them is online and allowed.
pub(crate) fn confine_to(cpus: &CpuSet) -> io::Result<()> {
    let mut mask: Mask = [0; _];
    cpus.iter().for_each(|cpu| mask[word(cpu)] |= bit(cpu));
    // SAFETY: the kernel reads as many bytes as the mask has.
    let answer = unsafe { libc::sched_setaffinity(0, size_of_val(&mask), mask.as_ptr().cast()) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn word(cpu: u32) -> usize {
    usize::try_from(cpu / libc::c_ulong::BITS).expect("Linux has pointers of at least 32 bits")
}

fn bit(cpu: u32) -> libc::c_ulong {
    1 << (cpu % libc::c_ulong::BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_may_run_on_one_processor() {
        std::thread::spawn(|| {
            let allowed = allowed_cpus().expect("Linux knows");
            let last = allowed.iter().last().expect("the test runs somewhere");
            pin_to(last).expect("an allowed processor");
            assert_eq!(allowed_cpus().expect("Linux knows"), [last].into_iter().collect());
        })
        .join()
        .expect("no panic");
    }

    #[test]
    fn an_absent_processor_is_refused() {
        let error = pin_to(MAX_CPUS - 1).expect_err("no test machine has that many");
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
