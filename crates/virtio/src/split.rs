//! The split virtqueue (virtio 1.2 §2.7): a table of descriptors, a ring of heads that are available, a ring of those that were used.

use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

use crate::memory::{Cells, Memory};
use crate::queue::{QueueOptions, Segment, SetupError};

mod device;
mod driver;
#[cfg(test)]
mod tests;

pub use device::Device;
pub(crate) use device::indirect_table;
pub use driver::Driver;

/// Bytes of a descriptor.
pub const DESCRIPTOR_BYTES: usize = 16;

/// Flags of a descriptor: the chain goes on, the device writes, it is a table of descriptors.
pub(crate) const NEXT: u16 = 1;
pub(crate) const WRITE: u16 = 2;
pub(crate) const INDIRECT: u16 = 4;

/// The driver's flag: no interrupts. The device's: no kicks.
const NO_NOTIFICATION: u16 = 1;

/// The three parts of a ring, wherever they lie.
#[derive(Clone, Debug)]
pub struct Areas {
    /// The table of descriptors, which begins at a multiple of 16.
    pub descriptors: Memory,
    /// What the driver writes, at a multiple of 2.
    pub available: Memory,
    /// What the device writes, at a multiple of 4.
    pub used: Memory,
}

/// How many bytes the three parts of a ring of `size` descriptors take: descriptors, available, used.
pub const fn area_bytes(size: u16) -> [usize; 3] {
    let size = size as usize;
    [DESCRIPTOR_BYTES * size, 6 + 2 * size, 6 + 8 * size]
}

/// The ring in memory, as both sides see it.
#[derive(Debug)]
struct Ring {
    mask: u16,
    /// Two for each descriptor: address; length, flags, and the next one.
    descriptors: Cells<AtomicU64>,
    /// Flags, index, ring, and from where on the driver wants to be told.
    available: Cells<AtomicU16>,
    used_head: Cells<AtomicU16>,
    /// Two for each place: head, and how much was written.
    used: Cells<AtomicU32>,
    available_event: Cells<AtomicU16>,
}

impl Ring {
    fn new(areas: &Areas, size: u16) -> Result<Self, SetupError> {
        if !size.is_power_of_two() || size > crate::queue::MAX_QUEUE_SIZE {
            return Err(SetupError::Size { size });
        }
        let count = usize::from(size);
        let tail = 4 + 8 * count;
        let available = areas.available.cells(3 + count).map_err(SetupError::area("available ring"))?;
        let used_area = || SetupError::area("used ring");
        let rest = areas.used.slice(4, 8 * count).map_err(used_area())?;
        let event = areas.used.slice(tail, 2).map_err(used_area())?;
        Ok(Self {
            mask: size - 1,
            descriptors: areas.descriptors.cells(2 * count).map_err(SetupError::area("descriptors"))?,
            available,
            used_head: areas.used.cells(2).map_err(used_area())?,
            used: rest.cells(2 * count).map_err(used_area())?,
            available_event: event.cells(1).map_err(used_area())?,
        })
    }

    fn size(&self) -> u16 {
        self.mask + 1
    }

    fn available_flags(&self) -> &AtomicU16 {
        self.available.at(0)
    }

    fn available_index(&self) -> &AtomicU16 {
        self.available.at(1)
    }

    fn available_entry(&self, index: u16) -> &AtomicU16 {
        self.available.at(2 + usize::from(index & self.mask))
    }

    fn used_event(&self) -> &AtomicU16 {
        self.available.at(2 + usize::from(self.mask) + 1)
    }

    fn used_flags(&self) -> &AtomicU16 {
        self.used_head.at(0)
    }

    fn used_index(&self) -> &AtomicU16 {
        self.used_head.at(1)
    }

    fn available_event(&self) -> &AtomicU16 {
        self.available_event.at(0)
    }

    fn used_entry(&self, index: u16) -> (&AtomicU32, &AtomicU32) {
        let place = 2 * usize::from(index & self.mask);
        (self.used.at(place), self.used.at(place + 1))
    }
}

/// What one descriptor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    pub(crate) segment: Segment,
    pub(crate) flags: u16,
    pub(crate) next: u16,
}

impl Descriptor {
    #[expect(clippy::cast_possible_truncation, reason = "each is a field of the word")]
    pub(crate) fn load(cells: &Cells<AtomicU64>, index: usize) -> Self {
        let place = 2 * index;
        let address = cells.at(place).load(Ordering::Relaxed);
        let rest = cells.at(place + 1).load(Ordering::Relaxed);
        Self { segment: Segment { address, len: rest as u32 }, flags: (rest >> 32) as u16, next: (rest >> 48) as u16 }
    }

    fn store(self, cells: &Cells<AtomicU64>, index: usize) {
        let place = 2 * index;
        let rest = u64::from(self.segment.len) | u64::from(self.flags) << 32 | u64::from(self.next) << 48;
        cells.at(place).store(self.segment.address, Ordering::Relaxed);
        cells.at(place + 1).store(rest, Ordering::Relaxed);
    }
}

/// Whether a side that wants to be told of `event` has to be told now that its index goes from `old` to `new` (§2.7.10).
fn passes(event: u16, old: u16, new: u16) -> bool {
    if planted::is("virtio_event_late") {
        return new.wrapping_sub(event) < new.wrapping_sub(old);
    }
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}
