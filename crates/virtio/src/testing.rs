//! Both sides' memory for tests, on the heap.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::AtomicU64;

use crate::memory::{MappedRange, Memory, MemoryMap, Region};
use crate::queue::{DeviceQueue, DriverQueue, IndirectTables, QueueOptions};
use crate::{packed, split};

/// Memory of a test, of atomics only.
struct Heap(Vec<AtomicU64>);

// SAFETY: the vector is never touched again, so its memory stays; what is in it are atomics.
unsafe impl Region for Heap {
    fn start(&self) -> NonNull<u8> {
        NonNull::new(self.0.as_ptr().cast_mut().cast()).expect("a vector's memory is somewhere")
    }

    fn len(&self) -> usize {
        8 * self.0.len()
    }
}

/// Memory of zeros.
pub(crate) fn memory(bytes: usize) -> Memory {
    let words = core::iter::repeat_with(AtomicU64::default).take(bytes.div_ceil(8)).collect();
    Memory::new(Arc::new(Heap(words))).slice(0, bytes).expect("it was made large enough")
}

/// Where the data of a test's chains lie for the device.
pub(crate) const DATA: u64 = 0x1_0000;

/// Where tables of descriptors lie, and how many descriptors they have.
pub(crate) const TABLES: u64 = 0x10_0000;
const TABLE: u16 = 4;

/// Both ends of one queue, its ring, and memory for data at address [`DATA`].
pub(crate) struct Pair {
    pub(crate) driver: DriverQueue,
    pub(crate) device: DeviceQueue,
    /// The parts of the ring.
    pub(crate) areas: [Memory; 3],
    pub(crate) data: Memory,
    pub(crate) map: MemoryMap,
}

/// Both ends of a queue of either kind.
pub(crate) fn pair(is_packed: bool, options: QueueOptions) -> Pair {
    let bytes = if is_packed { packed::area_bytes(options.size) } else { split::area_bytes(options.size) };
    let areas = bytes.map(memory);
    let data = memory(0x1_0000);
    let tables = memory(IndirectTables::bytes(options.size, TABLE));
    let ranges = [(DATA, data.clone()), (TABLES, tables.clone())];
    let map =
        MemoryMap::new(ranges.map(|(address, memory)| MappedRange { address, memory }).into()).expect("two ranges");
    let tables = IndirectTables { memory: tables, address: TABLES, descriptors: TABLE };
    let [first, second, third] = areas.clone();
    let (driver, device) = if is_packed {
        let areas = packed::Areas { descriptors: first, driver_events: second, device_events: third };
        let driver = packed::Driver::new(&areas, options, Some(&tables)).expect("the areas fit");
        let device = packed::Device::new(&areas, options, packed::NEW).expect("the areas fit");
        (DriverQueue::Packed(driver), DeviceQueue::Packed(device))
    } else {
        let areas = split::Areas { descriptors: first, available: second, used: third };
        let driver = split::Driver::new(&areas, options, Some(&tables)).expect("the areas fit");
        let device = split::Device::new(&areas, options, 0).expect("the areas fit");
        (DriverQueue::Split(driver), DeviceQueue::Split(device))
    };
    Pair { driver, device, areas, data, map }
}
