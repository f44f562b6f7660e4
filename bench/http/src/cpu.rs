//! Processor time of a process, from the scheduler's books.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// What all living threads of a process have run until now (`/proc/PID/task/TID/schedstat`, nanoseconds).
///
/// # Errors
/// If there is no such process.
pub fn of_process(pid: u32) -> Result<Duration> {
    let tasks = format!("/proc/{pid}/task");
    let mut total = Duration::ZERO;
    for task in fs::read_dir(&tasks).with_context(|| format!("reading {tasks}"))? {
        let file = task?.path().join("schedstat");
        // A thread may end between the two reads.
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let ran = text.split(' ').next().and_then(|word| word.parse().ok());
        total += Duration::from_nanos(ran.with_context(|| format!("reading {}", file.display()))?);
    }
    Ok(total)
}

/// What a set of processes have run until now.
///
/// # Errors
/// If one does not exist.
pub fn of_processes(pids: &[u32]) -> Result<Duration> {
    pids.iter().map(|&pid| of_process(pid)).sum()
}

/// Pins the calling thread to a processor.
///
/// # Errors
/// What the system says.
pub fn pin(cpu: usize) -> Result<()> {
    // SAFETY: the set is plain bytes, and the kernel reads it only.
    let answer = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    anyhow::ensure!(answer == 0, "pinning to processor {cpu}: {}", std::io::Error::last_os_error());
    Ok(())
}
