//! What the heap has of the machine's memory.
//!
//! An allocator keeps what is freed for what comes next. What is freed in pieces of one size is not always room for another, so a program whose
//! memory is bounded looks now and then how much it really has.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Bytes of memory that are the program's own: its heap, stacks and data, as far as they are in memory, but nothing of files or of memory that
/// it shares with others (`proc_pid_statm(5)`: resident without shared).
#[derive(Debug)]
pub struct OwnMemory {
    statm: File,
    page_bytes: u64,
}

impl OwnMemory {
    /// Opens what the kernel tells about the program; nothing if it tells nothing.
    pub fn open() -> Option<Self> {
        let statm = File::open("/proc/self/statm").ok()?;
        Some(Self { statm, page_bytes: u64::try_from(rustix::param::page_size()).ok()? })
    }

    /// How much it is now. This is a system call that takes some microseconds, and never waits for a disk; `None` if it fails.
    pub fn bytes(&self) -> Option<u64> {
        let mut bytes = [0; 128];
        let len = self.statm.read_at(&mut bytes, 0).ok()?;
        own_pages(std::str::from_utf8(&bytes[..len]).ok()?).map(|pages| pages * self.page_bytes)
    }
}

/// The second of the numbers without the third.
fn own_pages(statm: &str) -> Option<u64> {
    let mut numbers = statm.split_ascii_whitespace().skip(1).map(|number| number.parse::<u64>().ok());
    let (resident, shared) = (numbers.next()??, numbers.next()??);
    Some(resident.saturating_sub(shared))
}

/// Gives the free pages of the heap back to the system, where the allocator does not by itself. It takes a microsecond or so for each free piece of a
/// page or more that the heap has, of all shards.
///
/// The reactor does so by itself when a shard is idle after a peak.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0)
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_memory_is_resident_and_not_shared() {
        assert_eq!(own_pages("1000 300 100 50 0 200 0\n"), Some(200));
        assert_eq!(own_pages("1000 300"), None);
        assert_eq!(own_pages("1000 x 100"), None);
    }

    #[test]
    fn memory_that_is_used_is_seen() {
        let own = OwnMemory::open().expect("the kernel tells it");
        let before = own.bytes().expect("it is told");
        let used = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = own.bytes().expect("it is told");
        // Other tests have their own processes; what this one has beside is small.
        assert!(after >= before + (60 << 20), "{before} {after}");
        drop(used);
    }
}
