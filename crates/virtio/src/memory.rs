//! Memory that another party reads and writes at the same time: a driver in a virtual machine, another process.
//!
//! Nothing that lies there can be trusted to stay as it was read, and no reference to it may be made. So cells are atomic, and bytes are
//! copied in and out by the processor's own instruction, of which the compiler assumes nothing. All other modules of the crate are safe
//! code over this one.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64};

use sunstar_packet::{BufferMut, SlabMemory, prefetch};

use crate::queue::{Part, Segment};

#[cfg(test)]
mod tests;

/// Memory that stays where it is for as long as the value lives, and may be written to by anybody meanwhile.
///
/// # Safety
/// `start` and `len` always answer the same. All `len` bytes from `start` on are readable and writable for as long as the value lives, and
/// no reference to any of them is made by anybody, but to atomics.
pub unsafe trait Region: Send + Sync {
    /// Where it begins.
    fn start(&self) -> NonNull<u8>;

    /// How many bytes it has.
    fn len(&self) -> usize;

    /// Whether it has none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Memory for the packets of a driver, which the device sees: pools take their frames from it, and what lies in it can be made available.
///
/// # Safety
/// [`PacketMemory::address`] answers only for what is all within the memory. That is initialised from the start, by whomever, and the
/// device writes nothing of it but what was made available to be written: a driver trusts its device, as a virtual machine trusts its
/// host.
pub unsafe trait PacketMemory: SlabMemory {
    /// The address by which the device knows `len` bytes from `start` on, if they are all within.
    fn address(&self, start: *const u8, len: usize) -> Option<u64>;
}

/// Where the headers of a packet end, and what is small as a whole.
const HEADERS_BYTES: usize = 128;

/// A frame whose room was made available to the device.
///
/// Its room lies in the memory of the device's packets, so it is initialised, whatever the device does.
#[derive(Debug)]
pub(crate) struct Posted(BufferMut);

impl Posted {
    /// A frame without content, and where its room is; nothing, if that does not all lie in the memory.
    #[inline]
    pub(crate) fn new(memory: &impl PacketMemory, mut frame: BufferMut) -> Option<(Self, Segment)> {
        let room = frame.spare();
        let address = memory.address(room.as_ptr().cast(), room.len())?;
        let len = u32::try_from(room.len()).ok()?;
        Some((Self(frame), Segment { address, len }))
    }

    /// How many bytes the device may have written.
    pub(crate) fn room(&self) -> usize {
        self.0.tailroom()
    }

    /// Has the first bytes of its room fetched, where a packet's headers lie.
    #[inline]
    pub(crate) fn prefetch(&mut self) {
        let room = self.0.spare();
        prefetch(room.get(..HEADERS_BYTES).unwrap_or(room));
    }

    /// Tells where its room is, and drops the frame so that nobody uses it again: the device may go on writing there.
    pub(crate) fn retire(mut self, note: &mut impl FnMut(*const u8, usize)) {
        let room = self.0.spare();
        note(room.as_ptr().cast(), room.len());
        self.0.freeze().retire();
    }

    /// The frame with the first `len` bytes of its room as content, or with all of it if that is less.
    #[inline]
    pub(crate) fn into_filled(self, len: usize) -> BufferMut {
        let Self(mut frame) = self;
        // SAFETY: that much room there is, and it was initialised from the start, as the memory promises.
        unsafe { frame.advance_len(len.min(frame.tailroom())) };
        frame
    }
}

/// A part of a [`Region`], which it keeps alive.
#[derive(Clone)]
pub struct Memory {
    region: Arc<dyn Region>,
    /// Where it begins: within the region, as its end is.
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: it gives out no reference to what lies there but to atomics, and the region may be kept and dropped by any thread.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// All of a region.
    pub fn new(region: Arc<dyn Region>) -> Self {
        let (start, len) = (region.start(), region.len());
        Self { region, start, len }
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The `len` bytes from `offset` on.
    ///
    /// # Errors
    /// If they do not all lie within.
    pub fn slice(&self, offset: usize, len: usize) -> Result<Self, OutOfBounds> {
        let end = offset.checked_add(len).ok_or(OutOfBounds)?;
        if end > self.len {
            return Err(OutOfBounds);
        }
        // SAFETY: the offset is at most the length of this memory, which lies within the region.
        let start = unsafe { self.start.add(offset) };
        Ok(Self { region: Arc::clone(&self.region), start, len })
    }

    /// The `count` atomic integers at the beginning.
    ///
    /// # Errors
    /// If there are fewer bytes, or they are not aligned to such integers.
    pub fn cells<A: Cell>(&self, count: usize) -> Result<Cells<A>, OutOfBounds> {
        let start = self.start().cast::<A>();
        if !start.is_aligned() || count.checked_mul(size_of::<A>()).is_none_or(|bytes| bytes > self.len) {
            return Err(OutOfBounds);
        }
        Ok(Cells { start, count, _keep: Arc::clone(&self.region) })
    }

    /// Where it begins, for whom it hands memory on to: a device, or whoever makes buffers of it and keeps this value meanwhile.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Copies bytes out, as they are at some time meanwhile.
    ///
    /// # Panics
    /// If they do not all lie within: who calls has checked lengths before.
    pub fn read(&self, offset: usize, to: &mut [u8]) {
        assert!(self.has(offset, to.len()), "bytes to be read lie within the memory");
        // SAFETY: the source was just checked to lie within the region; the target is a slice of its own.
        unsafe { copy(self.start().add(offset).as_ptr(), to.as_mut_ptr(), to.len()) }
    }

    /// Copies bytes out to the tail room of a buffer, as they are at some time meanwhile.
    ///
    /// # Panics
    /// If they do not all lie within, or the buffer has no room for them: who calls has checked lengths before.
    #[inline]
    pub fn append_to(&self, offset: usize, len: usize, buffer: &mut BufferMut) {
        assert!(self.has(offset, len), "bytes to be read lie within the memory");
        let room = &mut buffer.spare()[..len];
        // SAFETY: the source was just checked to lie within the region; the target is a slice of its own, which is initialised then.
        unsafe {
            copy(self.start().add(offset).as_ptr(), room.as_mut_ptr().cast(), len);
            buffer.advance_len(len);
        }
    }

    /// Copies bytes in.
    ///
    /// # Panics
    /// If there is no room for all of them: who calls has checked lengths before.
    pub fn write(&self, offset: usize, from: &[u8]) {
        assert!(self.has(offset, from.len()), "bytes to be written have room in the memory");
        // SAFETY: the target was just checked to lie within the region; the source is a slice of its own.
        unsafe { copy(from.as_ptr(), self.start().add(offset).as_ptr(), from.len()) }
    }

    fn has(&self, offset: usize, len: usize) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.len)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("start", &self.start()).field("len", &self.len).finish_non_exhaustive()
    }
}

/// Something does not lie within the memory that there is, or not at a place that suits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it does not lie within the memory")]
pub struct OutOfBounds;

/// Integers that both parties load and store.
#[expect(private_bounds, reason = "the list of them is closed")]
pub trait Cell: Sealed {}

impl<A: Sealed> Cell for A {}

trait Sealed {}

impl Sealed for AtomicU16 {}
impl Sealed for AtomicU32 {}
impl Sealed for AtomicU64 {}

/// Atomic integers in shared memory, which they keep alive.
pub struct Cells<A> {
    start: NonNull<A>,
    count: usize,
    _keep: Arc<dyn Region>,
}

// SAFETY: it gives out references to atomics only, and the region may be kept and dropped by any thread.
unsafe impl<A: Cell> Send for Cells<A> {}

impl<A: Cell> Cells<A> {
    /// The integer at a place.
    ///
    /// # Panics
    /// If there are fewer.
    #[inline]
    pub fn at(&self, index: usize) -> &A {
        assert!(index < self.count, "the place is one of the cells");
        // SAFETY: there are `count` of them, aligned and within the region, which is kept; all bit patterns are integers.
        unsafe { self.start.add(index).as_ref() }
    }
}

impl<A> fmt::Debug for Cells<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cells").field("start", &self.start).field("count", &self.count).finish_non_exhaustive()
    }
}

/// A range of the addresses that a driver puts into descriptors, and the memory that it means.
#[derive(Clone, Debug)]
pub struct MappedRange {
    /// The first address of the range.
    pub address: u64,
    /// What lies there.
    pub memory: Memory,
}

/// The most ranges that a [`MemoryMap`] has: what virtual machines with hot-plugged memory need, and few enough to be walked.
pub const MAX_RANGES: usize = 64;

/// What the addresses in descriptors mean, on the device's side.
#[derive(Clone, Debug, Default)]
pub struct MemoryMap {
    ranges: Vec<MappedRange>,
}

/// Why a [`MemoryMap`] can't be made of some ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// There are more than [`MAX_RANGES`].
    #[error("there are {count} ranges of memory, and may be {MAX_RANGES}")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// A range reaches beyond the last address.
    #[error("the range at address {address:#x} reaches beyond the last address")]
    Overflow {
        /// The range's first address.
        address: u64,
    },
    /// Two ranges have an address in common.
    #[error("the range at address {address:#x} overlaps the one before it")]
    Overlap {
        /// The second range's first address.
        address: u64,
    },
}

impl MemoryMap {
    /// A map of some ranges, in any order.
    ///
    /// # Errors
    /// If they are too many, overlap, or reach beyond the last address.
    pub fn new(mut ranges: Vec<MappedRange>) -> Result<Self, MapError> {
        if ranges.len() > MAX_RANGES {
            return Err(MapError::TooMany { count: ranges.len() });
        }
        ranges.retain(|range| !range.memory.is_empty());
        ranges.sort_by_key(|range| range.address);
        let mut free_from = 0;
        for &MappedRange { address, ref memory } in &ranges {
            if address < free_from {
                return Err(MapError::Overlap { address });
            }
            free_from = address.checked_add(memory.len() as u64).ok_or(MapError::Overflow { address })?;
        }
        Ok(Self { ranges })
    }

    /// Where a segment lies, if all of it lies in one range.
    #[inline]
    pub fn part(&self, Segment { address, len }: Segment) -> Option<Part> {
        self.ranges.iter().zip(0..).find_map(|(MappedRange { address: first, memory }, range)| {
            let offset = usize::try_from(address.checked_sub(*first)?).ok()?;
            let last = (len as usize).saturating_sub(usize::from(planted::is("virtio_map_ends_late")));
            memory.has(offset, last).then_some(Part { range, offset, len })
        })
    }

    /// The bytes of a segment, if all of it lies in one range.
    #[inline]
    pub(crate) fn window(&self, Segment { address, len }: Segment) -> Option<Window<'_>> {
        let len = len as usize;
        let last = len.saturating_sub(usize::from(planted::is("virtio_map_ends_late")));
        self.ranges.iter().find_map(|MappedRange { address: first, memory }| {
            let offset = usize::try_from(address.wrapping_sub(*first)).ok()?;
            if !memory.has(offset, last) {
                return None;
            }
            // SAFETY: the offset lies within the memory, as was just seen.
            let start = unsafe { memory.start.add(offset) };
            Some(Window { start, len, map: PhantomData })
        })
    }

    /// The memory from an address on, up to `len` bytes, if all of that lies in one range.
    pub fn memory(&self, segment: Segment) -> Option<Memory> {
        let Part { range, offset, len } = self.part(segment)?;
        self.ranges[usize::from(range)].memory.slice(offset, len as usize).ok()
    }

    /// The ranges, by address.
    pub fn ranges(&self) -> &[MappedRange] {
        &self.ranges
    }
}

/// A segment on the device's side.
///
/// All of its bytes lie within memory that the map keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window<'a> {
    start: NonNull<u8>,
    len: usize,
    map: PhantomData<&'a MemoryMap>,
}

impl Window<'_> {
    /// How many bytes it has.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Has the processor fetch its beginning, to be read or to be written: as much as a header and a small packet have. Nothing waits for that.
    #[inline]
    pub(crate) fn prefetch(&self, is_written: bool) {
        let first = self.start.as_ptr();
        let last = first.wrapping_add(self.len.saturating_sub(1).min(LINE_BYTES));
        prefetch_line(first, is_written);
        prefetch_line(last, is_written);
    }

    /// The first bytes, as they are at some time meanwhile, and what is behind them; none, if there are not as many.
    #[inline]
    pub(crate) fn split_first<const N: usize>(self) -> Option<([u8; N], Self)> {
        let behind = self.behind(N)?;
        let mut first = [0; N];
        // SAFETY: the window has so many bytes, within memory that is kept; the target is an array of its own.
        unsafe { copy(self.start.as_ptr(), first.as_mut_ptr(), N) };
        Some((first, behind))
    }

    /// Copies all of it to the tail room of a buffer, as it is at some time meanwhile; answers whether there was room for it.
    #[inline]
    pub(crate) fn append_to(self, buffer: &mut BufferMut) -> bool {
        let Some(room) = buffer.spare().get_mut(..self.len) else { return false };
        // SAFETY: the window lies within memory that is kept; the target is a slice of its own, as long, which is initialised then.
        unsafe {
            copy(self.start.as_ptr(), room.as_mut_ptr().cast(), self.len);
            buffer.advance_len(self.len);
        }
        true
    }

    /// Copies bytes to its beginning, and answers what is behind them; none, if there is no room for them.
    #[inline]
    pub(crate) fn write(self, from: &[u8]) -> Option<Self> {
        let behind = self.behind(from.len())?;
        // SAFETY: the window has so many bytes, within memory that is kept; the source is a slice of its own.
        unsafe { copy(from.as_ptr(), self.start.as_ptr(), from.len()) };
        Some(behind)
    }

    #[inline]
    fn behind(self, count: usize) -> Option<Self> {
        let len = self.len.checked_sub(count)?;
        // SAFETY: there are at least so many bytes.
        let start = unsafe { self.start.add(count) };
        Some(Self { start, len, ..self })
    }
}

/// Bytes of a cache line.
const LINE_BYTES: usize = 64;

#[cfg(target_arch = "x86_64")]
#[inline]
fn prefetch_line(line: *const u8, is_written: bool) {
    // SAFETY: the instructions change nothing that programs see and can't fault, whatever the address; processors that don't know the first
    // one pass it over.
    unsafe {
        if is_written {
            core::arch::asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags));
        } else {
            core::arch::asm!("prefetcht0 [{}]", in(reg) line, options(nostack, preserves_flags));
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn prefetch_line(_line: *const u8, _is_written: bool) {}

/// Copies bytes that somebody else may be writing to.
///
/// # Safety
/// `from` is readable and `to` writable for `len` bytes, and they do not overlap.
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    if (8..=16).contains(&len) {
        // SAFETY: the caller vouches for both; the two words are all of the bytes, and lie within them.
        unsafe {
            copy_word(from, to);
            copy_word(from.add(len - 8), to.add(len - 8));
        }
        return;
    }
    // SAFETY: the caller vouches for both; the direction flag is clear by the calling convention.
    unsafe {
        core::arch::asm!(
            "rep movsb",
            inout("rcx") len => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Copies 8 bytes that somebody else may be writing to.
///
/// # Safety
/// `from` is readable and `to` writable for 8 bytes.
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn copy_word(from: *const u8, to: *mut u8) {
    // SAFETY: the caller vouches for both; nothing else is touched.
    unsafe {
        core::arch::asm!(
            "mov {word}, [{from}]",
            "mov [{to}], {word}",
            word = out(reg) _,
            from = in(reg) from,
            to = in(reg) to,
            options(nostack, preserves_flags),
        );
    }
}

/// Copies bytes that somebody else may be writing to, one by one.
///
/// # Safety
/// `from` is readable and `to` writable for `len` bytes, and they do not overlap.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    for index in 0..len {
        // SAFETY: the caller vouches for both.
        unsafe { to.add(index).write_volatile(from.add(index).read_volatile()) };
    }
}
