//! The packed virtqueue (virtio 1.2 §2.8): one ring of descriptors, which the driver makes available and the device overwrites when
//! they are used. Whose a descriptor is, is told by two of its flags, which change their meaning each time round.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::memory::{Cells, Memory};
use crate::queue::{MAX_QUEUE_SIZE, QueueOptions, Segment, SetupError};
use crate::split::DESCRIPTOR_BYTES;

mod device;
mod driver;
#[cfg(test)]
mod tests;

pub use device::Device;
pub use driver::Driver;

/// Flags of a descriptor that both forms of rings have.
use crate::split::{INDIRECT, NEXT, WRITE};
/// Flags by which the two sides know whose a descriptor is (§2.8.1).
const AVAILABLE: u16 = 1 << 7;
const USED: u16 = 1 << 15;

/// What a side wishes, in the upper half of its event suppression structure (§2.8.14).
const EVENTS_ENABLED: u32 = 0;
const EVENTS_DISABLED: u32 = 1 << 16;
const EVENTS_AT_DESCRIPTOR: u32 = 2 << 16;

/// The base of a device whose queue is new.
pub const NEW: u16 = 1 << 15;

/// The three parts of a ring, wherever they lie.
#[derive(Clone, Debug)]
pub struct Areas {
    /// The ring, which begins at a multiple of 16.
    pub descriptors: Memory,
    /// When the driver wants to be told, 4 bytes at a multiple of 4.
    pub driver_events: Memory,
    /// When the device wants to be told, 4 bytes at a multiple of 4.
    pub device_events: Memory,
}

/// How many bytes the three parts of a ring of `size` descriptors take: ring, driver's events, device's events.
pub const fn area_bytes(size: u16) -> [usize; 3] {
    [DESCRIPTOR_BYTES * size as usize, 4, 4]
}

/// The ring in memory, as both sides see it.
#[derive(Debug)]
struct Ring {
    size: u16,
    /// Two for each descriptor: address; length, number of the chain, and flags.
    descriptors: Cells<AtomicU64>,
    driver_events: Cells<AtomicU32>,
    device_events: Cells<AtomicU32>,
}

impl Ring {
    fn new(areas: &Areas, size: u16) -> Result<Self, SetupError> {
        if size == 0 || size > MAX_QUEUE_SIZE {
            return Err(SetupError::Size { size });
        }
        let descriptors = areas.descriptors.cells(2 * usize::from(size)).map_err(SetupError::area("descriptors"))?;
        let driver_events = areas.driver_events.cells(1).map_err(SetupError::area("driver's events"))?;
        let device_events = areas.device_events.cells(1).map_err(SetupError::area("device's events"))?;
        Ok(Self { size, descriptors, driver_events, device_events })
    }

    /// The word that says whose a descriptor is.
    fn word(&self, index: u16) -> &AtomicU64 {
        self.descriptors.at(2 * usize::from(index) + 1)
    }

    fn address(&self, index: u16) -> &AtomicU64 {
        self.descriptors.at(2 * usize::from(index))
    }
}

/// The second word of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word {
    len: u32,
    id: u16,
    flags: u16,
}

impl Word {
    #[expect(clippy::cast_possible_truncation, reason = "each is a field of the word")]
    fn load(cell: &AtomicU64, ordering: Ordering) -> Self {
        let word = cell.load(ordering);
        Self { len: word as u32, id: (word >> 32) as u16, flags: (word >> 48) as u16 }
    }

    fn store(self, cell: &AtomicU64, ordering: Ordering) {
        let word = u64::from(self.len) | u64::from(self.id) << 32 | u64::from(self.flags) << 48;
        cell.store(word, ordering);
    }

    /// Whether the driver has made it available, in the given round.
    fn is_available(self, round: bool) -> bool {
        (self.flags & AVAILABLE != 0) == round && (self.flags & USED != 0) != round
    }

    /// Whether the device has used it, in the given round.
    fn is_used(self, round: bool) -> bool {
        (self.flags & AVAILABLE != 0) == round && (self.flags & USED != 0) == round
    }
}

/// A place in the ring, and in which round: the *wrap counter* of virtio, which changes each time round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    index: u16,
    round: bool,
}

impl Position {
    const FIRST: Self = Self { index: 0, round: true };

    /// A place as it is written: the index, and above it the round.
    fn from_bits(bits: u16) -> Self {
        Self { index: bits & !NEW, round: bits & NEW != 0 }
    }

    fn to_bits(self) -> u16 {
        self.index | if self.round { NEW } else { 0 }
    }

    fn advance(&mut self, count: u16, size: u16) {
        self.index += count;
        if self.index >= size {
            self.index -= size;
            self.round ^= !planted::is("virtio_round_kept");
        }
    }

    fn retreat(&mut self, count: u16, size: u16) {
        if self.index < count {
            self.index += size;
            self.round ^= !planted::is("virtio_round_not_taken_back");
        }
        self.index -= count;
    }

    /// The flags that make a descriptor available here.
    fn available_flags(self) -> u16 {
        if self.round { AVAILABLE } else { USED }
    }

    /// The flags that make a descriptor used here.
    fn used_flags(self) -> u16 {
        if self.round { AVAILABLE | USED } else { 0 }
    }
}

/// Whether a side with such a wish has to be told, now that `count` descriptors before `position` were written.
#[expect(clippy::cast_possible_truncation, reason = "the lower half of the structure is the place")]
fn has_to_be_told(wish: u32, position: Position, count: u16, size: u16) -> bool {
    match wish & (3 << 16) {
        EVENTS_ENABLED => true,
        EVENTS_AT_DESCRIPTOR => {
            let event = Position::from_bits(wish as u16);
            // How far behind the new position the event lies, going back.
            let back = if event.round == position.round {
                position.index.wrapping_sub(event.index)
            } else {
                position.index.wrapping_add(size).wrapping_sub(event.index)
            };
            back.wrapping_sub(1) < count
        }
        _ => false,
    }
}
