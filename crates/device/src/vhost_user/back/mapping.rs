//! Memory of the front end, mapped here.

use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::Arc;

use rustix::fs::{FileType, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};
use sunstar_virtio::{Memory, Region};

#[cfg(test)]
mod tests;

/// Kinds of file systems whose files are memory. Of any other a page may never come, and who waits for it is a shard.
const TMPFS: u64 = 0x0102_1994;
const HUGETLBFS: u64 = 0x9584_58f6;

/// Bytes of an ordinary page.
const PAGE_BYTES: u64 = 4_096;

/// A mapping, which is unmapped with the value.
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: it is a place in memory that any thread may use, and any may unmap.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

// SAFETY: the mapping is readable and writable, and stays until the value is dropped; the file was as long when it was mapped. It can't become
// shorter if it could be sealed. If the front end cuts off a file that can't be, or gives back large pages of which none is left, the kernel ends
// the process at the first access: nobody sees other memory by that. No reference is made to it.
unsafe impl Region for Mapping {
    fn start(&self) -> NonNull<u8> {
        self.start
    }

    fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: whoever used it kept this value.
        let result = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert!(result.is_ok(), "a mapping is unmapped as it was mapped");
    }
}

/// Why a file can't be shared memory.
#[derive(Debug, thiserror::Error)]
pub(super) enum MappingError {
    /// It is no file in memory.
    #[error("it is no file in memory (of memfd_create, tmpfs or hugetlbfs)")]
    NotMemory,
    /// The file ends before the region.
    #[error("its file has {file_bytes} bytes, and {offset} + {bytes} of it are to be shared")]
    Short {
        /// How long the file is.
        file_bytes: u64,
        /// Where the region begins.
        offset: u64,
        /// How long that is.
        bytes: u64,
    },
    /// It can't be addressed.
    #[error("{bytes} bytes can't be shared memory")]
    Size {
        /// How long it is.
        bytes: u64,
    },
    /// A call of the system failed.
    #[error("{call}: {error}")]
    System {
        /// Which.
        call: &'static str,
        /// What the kernel says.
        #[source]
        error: io::Error,
    },
}

/// Memory that was mapped.
#[derive(Debug)]
pub(super) struct Mapped {
    pub(super) memory: Memory,
    /// Whether nobody can take its pages away. Who does ends the process at the next access.
    pub(super) is_sealed: bool,
}

/// Maps `bytes` of a file from `offset` on.
pub(super) fn map(file: impl AsFd, offset: u64, bytes: u64) -> Result<Mapped, MappingError> {
    let file = file.as_fd();
    let failed = |call| move |error: rustix::io::Errno| MappingError::System { call, error: error.into() };
    let system = rustix::fs::fstatfs(file).map_err(failed("fstatfs"))?.f_type.cast_unsigned();
    if ![TMPFS, HUGETLBFS].contains(&(system as u64)) {
        return Err(MappingError::NotMemory);
    }
    // Before its length is looked at, which could change otherwise.
    let has_seal = || rustix::fs::fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SealFlags::SHRINK));
    let can_not_shrink = has_seal() || rustix::fs::fcntl_add_seals(file, SealFlags::SHRINK).is_ok();
    // A hole in a file of large pages gives up what was reserved for it, and the seal does not forbid holes.
    let is_sealed = can_not_shrink && system as u64 != HUGETLBFS;
    let stat = rustix::fs::fstat(file).map_err(failed("fstat"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(MappingError::NotMemory);
    }
    let file_bytes = u64::try_from(stat.st_size).unwrap_or(0);
    let end = offset.checked_add(bytes).filter(|_| bytes > 0).ok_or(MappingError::Size { bytes })?;
    if end > file_bytes && !planted::is("vhost_user_short_file") {
        return Err(MappingError::Short { file_bytes, offset, bytes });
    }
    // Large pages are mapped as a whole; that is how large blocks of such a file are.
    let page = u64::try_from(stat.st_blksize).unwrap_or(0).next_power_of_two().max(PAGE_BYTES);
    let first = offset / page * page;
    let too_large = || MappingError::Size { bytes };
    let len = end.checked_next_multiple_of(page).ok_or_else(too_large)? - first;
    let len = usize::try_from(len).ok().filter(|len| *len < isize::MAX.unsigned_abs()).ok_or_else(too_large)?;
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the kernel chooses a place where nothing is mapped.
    let start = unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, access, MapFlags::SHARED, file, first) };
    let start = start.map_err(failed("mmap"))?;
    let start = NonNull::new(start.cast()).ok_or_else(too_large)?;
    let all = Memory::new(Arc::new(Mapping { start, len }));
    let place = usize::try_from(offset - first).and_then(|offset| Ok((offset, usize::try_from(bytes)?)));
    let (offset, bytes) = place.map_err(|_| too_large())?;
    let memory = all.slice(offset, bytes).map_err(|_| too_large())?;
    Ok(Mapped { memory, is_sealed })
}
