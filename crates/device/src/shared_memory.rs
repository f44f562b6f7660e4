//! Memory of this process that other processes map too: the frames and rings of devices that are other processes.

use std::alloc::Layout;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::mm::{Advice, MapFlags, ProtFlags};
use sunstar_packet::SlabMemory;
use sunstar_virtio::{Memory, PacketMemory, Region};

#[cfg(test)]
mod tests;

/// What is handed out begins at a multiple of this many bytes, and takes a multiple of them.
const GRAIN_BYTES: usize = 4_096;

/// What the kernel tells of large pages.
const HUGE_PAGES: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";

/// Bytes of a large page.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// A file in memory that is mapped once for the process, and can be handed to others by its descriptor.
///
/// All of it has an address from the start, and takes memory of the machine as it is used. It lies in large pages of 2 MiB if so
/// many are reserved and free (`/sys/kernel/mm/hugepages`), which are kept then until the value is dropped; otherwise in ordinary pages, which
/// go back to the machine when they are given back here.
///
/// Pools of all shards take their slabs from it ([`Pool::with_memory`](sunstar_packet::Pool::with_memory)); rings are made of it by
/// [`SharedMemory::area`]. Whoever gets the descriptor can read and write all of that, also what belongs to other devices of the process:
/// it is for those who are trusted as a host is by its virtual machines.
pub struct SharedMemory {
    file: OwnedFd,
    start: NonNull<u8>,
    len: usize,
    is_huge: bool,
    /// Whether pages stay where they are though nobody uses them.
    keeps_pages: AtomicBool,
    extents: Mutex<Extents>,
}

/// Why there is no shared memory.
#[derive(Debug, thiserror::Error)]
pub enum SharedMemoryError {
    /// Its size is none, or can't be addressed.
    #[error("{bytes} bytes can't be shared memory")]
    Size {
        /// How many bytes were asked for.
        bytes: usize,
    },
    /// A call of the system failed.
    #[error("shared memory of {bytes} bytes: {call}: {error}")]
    System {
        /// How many bytes were asked for.
        bytes: usize,
        /// Which call.
        call: &'static str,
        /// What the kernel says.
        #[source]
        error: io::Error,
    },
}

// SAFETY: the mapping stays where it is and belongs to the value, which any thread may drop; what is free is behind a lock.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// Memory of so many bytes, rounded up to whole large pages.
    ///
    /// # Errors
    /// [`SharedMemoryError`] says which call fails for how many bytes.
    pub fn new(bytes: usize) -> Result<Arc<Self>, SharedMemoryError> {
        let len = bytes.checked_next_multiple_of(HUGE_PAGE_BYTES).filter(|len| *len > 0 && *len < isize::MAX as usize);
        let len = len.ok_or(SharedMemoryError::Size { bytes })?;
        // The kernel reserves the large pages when they are mapped, and refuses if there are not as many: nothing is missing later.
        let huge = MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
        let (file, start, is_huge) = match map(len, huge) {
            Ok((file, start)) => (file, start, true),
            Err(_) => {
                let (file, start) = map(len, MemfdFlags::empty())?;
                (file, start, false)
            }
        };
        let extents = Mutex::new(Extents { free: BTreeMap::from([(0, len)]), ..Extents::default() });
        let memory = Self { file, start, len, is_huge, keeps_pages: AtomicBool::new(is_huge), extents };
        if !is_huge {
            // The kernel may have no such pages for files; then these are ordinary ones.
            // SAFETY: the advice changes nothing that programs see.
            let _ = unsafe { rustix::mm::madvise(start.as_ptr().cast(), len, Advice::LinuxHugepage) };
        }
        Ok(Arc::new(memory))
    }

    /// Where it begins.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none, which is never so.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it lies in large pages that were reserved.
    pub fn is_huge(&self) -> bool {
        self.is_huge
    }

    /// Tells in the log in which pages it lies, and how many large ones it would take. That is a warning if some are reserved that do not suffice.
    pub fn tell_pages(&self) {
        let (mebibytes, needed) = (self.len >> 20, self.len / HUGE_PAGE_BYTES);
        let [reserved, free] = ["nr", "free"].map(|which| {
            let told = std::fs::read_to_string(format!("{HUGE_PAGES}/{which}_hugepages"));
            told.ok().and_then(|count| count.trim().parse::<usize>().ok()).unwrap_or_default()
        });
        if self.is_huge {
            log::info!("{mebibytes} MiB of shared memory lie in {needed} reserved pages of 2 MiB");
        } else {
            let level = if reserved > 0 { log::Level::Warn } else { log::Level::Info };
            log::log!(
                level,
                "{mebibytes} MiB of shared memory lie in ordinary pages, as they are used: of pages of 2 MiB {needed} are needed, {reserved} \
                 reserved and {free} free (vm.nr_hugepages)"
            );
        }
    }

    /// Has pages stay where they are for as long as the memory lives, also when they are given back here: somebody has pinned them, and
    /// would not see those that come instead.
    pub(crate) fn keep_pages(&self) {
        self.keeps_pages.store(true, Ordering::Relaxed);
    }

    /// How many bytes are handed out, or kept from that.
    pub fn used_bytes(&self) -> usize {
        self.len - self.extents().free.values().sum::<usize>()
    }

    /// Keeps bytes from being handed out again though they are given back, since another process may go on working on them: until
    /// [`SharedMemory::restore`], or for as long as the memory lives. None, if there are none, or not all of them are within.
    pub(crate) fn withhold(&self, start: *const u8, len: usize) -> Option<Withheld> {
        let offset = self.offset_of(start, len).filter(|_| len > 0)?;
        *self.extents().withheld.entry(offset).or_default() += 1;
        Some(Withheld(offset))
    }

    /// Lets bytes be handed out again, once they are given back.
    pub(crate) fn restore(&self, withheld: Withheld) {
        let piece = self.extents().restore(withheld);
        piece.into_iter().for_each(|(offset, len)| self.free_piece(offset, len));
    }

    /// Gives a piece, which nobody uses, back to the machine, and makes it one that is free.
    fn free_piece(&self, offset: usize, len: usize) {
        if !self.keeps_pages.load(Ordering::Relaxed) {
            // Without it the pages stay until the file goes, which does no harm.
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let _ = rustix::fs::fallocate(&self.file, flags, offset as u64, len as u64);
        }
        self.extents().give(offset, len);
    }

    /// How many bytes from the beginning of the memory, and of its file, `len` bytes at `start` lie, if they are all within.
    #[inline]
    pub fn offset_of(&self, start: *const u8, len: usize) -> Option<usize> {
        let offset = start.addr().wrapping_sub(self.start.addr().get());
        (offset <= self.len && len <= self.len - offset).then_some(offset)
    }

    /// Memory of zeros for rings, at a multiple of 4,096 bytes; it is given back when the last part of it is dropped. `None` if there is
    /// not as much in one piece.
    pub fn area(self: &Arc<Self>, bytes: usize) -> Option<Memory> {
        let layout = Layout::from_size_align(bytes.max(1), GRAIN_BYTES).ok()?;
        let start = self.take(layout)?;
        // SAFETY: it was just taken, so nobody else uses it.
        unsafe { start.write_bytes(0, layout.size()) };
        Memory::new(Arc::new(Area { memory: Arc::clone(self), start, layout })).slice(0, bytes).ok()
    }

    fn extents(&self) -> std::sync::MutexGuard<'_, Extents> {
        // Nobody panics with the lock; and what is free is only changed as a whole.
        self.extents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a file in memory and maps it.
fn map(len: usize, kind: MemfdFlags) -> Result<(OwnedFd, NonNull<u8>), SharedMemoryError> {
    let failed =
        |call| move |error: rustix::io::Errno| SharedMemoryError::System { bytes: len, call, error: error.into() };
    let flags = kind | MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create("sunstar", flags).map_err(failed("memfd_create"))?;
    rustix::fs::ftruncate(&file, len as u64).map_err(failed("ftruncate"))?;
    // Who else has the file can't take away what is mapped here.
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals).map_err(failed("fcntl"))?;
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the kernel chooses a place where nothing is mapped.
    let start = unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, access, MapFlags::SHARED, &file, 0) };
    let start = start.map_err(failed("mmap"))?;
    let start = NonNull::new(start.cast()).ok_or(SharedMemoryError::Size { bytes: len })?;
    Ok((file, start))
}

// SAFETY: what is taken is a piece of the mapping, which is writable and lives as long as the value, and is not among what is free until it
// is given back. Other processes are told of the file as a whole, and who hands them the descriptor trusts them to touch only what they are
// told to, as the type's documentation says.
unsafe impl SlabMemory for SharedMemory {
    fn take(&self, layout: Layout) -> Option<NonNull<u8>> {
        let offset = self.extents().take(layout.size(), layout.align().max(GRAIN_BYTES), self.start.addr().get())?;
        // SAFETY: what is free lies within the mapping.
        Some(unsafe { self.start.add(offset) })
    }

    unsafe fn give(&self, slab: NonNull<u8>, layout: Layout) {
        let offset = slab.addr().get() - self.start.addr().get();
        let len = layout.size().next_multiple_of(GRAIN_BYTES);
        if !self.extents().keep(offset, len) {
            self.free_piece(offset, len);
        }
    }
}

// SAFETY: addresses are those of this process, and are answered for what lies within the mapping, which begins as zeros.
unsafe impl PacketMemory for SharedMemory {
    #[inline]
    fn address(&self, start: *const u8, len: usize) -> Option<u64> {
        self.offset_of(start, len).map(|_| start.addr() as u64)
    }
}

impl AsFd for SharedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: all that was taken from it keeps the value, so nobody uses it any more.
        let result = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert!(result.is_ok(), "a mapping is unmapped as it was mapped");
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory")
            .field("len", &self.len)
            .field("is_huge", &self.is_huge)
            .field("used_bytes", &self.used_bytes())
            .finish_non_exhaustive()
    }
}

/// A piece that was taken for rings.
struct Area {
    memory: Arc<SharedMemory>,
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it is a place in memory that any thread may use.
unsafe impl Send for Area {}
// SAFETY: as above.
unsafe impl Sync for Area {}

// SAFETY: the piece is this value's own until it is dropped, and stays mapped, since the memory is kept. Nobody makes references to it.
unsafe impl Region for Area {
    fn start(&self) -> NonNull<u8> {
        self.start
    }

    fn len(&self) -> usize {
        self.layout.size()
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: it was taken with this layout, and whoever used it kept this value.
        unsafe { self.memory.give(self.start, self.layout) };
    }
}

/// Bytes that are kept from being handed out again, by where they begin.
#[derive(Debug)]
pub(crate) struct Withheld(usize);

/// What is free, and what must not be yet, by offsets.
#[derive(Default)]
struct Extents {
    /// The lengths of what is free, no two pieces next to each other.
    free: BTreeMap<usize, usize>,
    /// Where begins what is to be kept from being used when it is given back, and how often that was said.
    withheld: BTreeMap<usize, usize>,
    /// The lengths of pieces that were given back with such in them.
    kept: BTreeMap<usize, usize>,
}

impl Extents {
    /// Takes the first piece that is large enough, at an address that is a multiple of `align`.
    fn take(&mut self, bytes: usize, align: usize, start: usize) -> Option<usize> {
        let bytes = bytes.checked_next_multiple_of(GRAIN_BYTES)?;
        let (extent, len, offset) = self.free.iter().find_map(|(extent, len)| {
            let offset = (start + extent).checked_next_multiple_of(align)? - start;
            (offset.checked_add(bytes)? <= extent + len).then_some((*extent, *len, offset))
        })?;
        self.free.remove(&extent);
        if offset > extent {
            self.free.insert(extent, offset - extent);
        }
        let behind = extent + len - (offset + bytes);
        if behind > 0 {
            let kept = if planted::is("shared_memory_overlap") { offset } else { offset + bytes };
            self.free.insert(kept, behind);
        }
        Some(offset)
    }

    /// Takes a piece back and joins it with what is free on both sides.
    fn give(&mut self, mut offset: usize, mut len: usize) {
        if let Some((before, its)) = self.free.range(..offset).next_back().map(|(before, its)| (*before, *its)) {
            debug_assert!(before + its <= offset, "a piece is given back once");
            if before + its == offset {
                (offset, len) = (before, its + len);
            }
        }
        if let Some(behind) = self.free.remove(&(offset + len)) {
            len += behind;
        }
        self.free.insert(offset, len);
    }

    /// Takes a piece back which must not be used, if it is one; answers whether it is.
    fn keep(&mut self, offset: usize, len: usize) -> bool {
        let is_withheld = self.is_withheld(offset, len);
        if is_withheld {
            self.kept.insert(offset, len);
        }
        is_withheld
    }

    /// Answers with the piece that was given back and is not kept any more, if there is one.
    fn restore(&mut self, Withheld(at): Withheld) -> Option<(usize, usize)> {
        let count = self.withheld.get_mut(&at)?;
        *count -= 1;
        if *count == 0 {
            self.withheld.remove(&at);
        }
        let (offset, len) = self.kept.range(..=at).next_back().map(|(offset, len)| (*offset, *len))?;
        if at >= offset + len || self.is_withheld(offset, len) {
            return None;
        }
        self.kept.remove_entry(&offset)
    }

    fn is_withheld(&self, offset: usize, len: usize) -> bool {
        self.withheld.range(offset..offset + len).next().is_some()
    }
}
