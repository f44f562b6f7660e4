//! Checks of virtqueues: both ends of one, over memory that a driver and its device would share.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::AtomicU64;

use sunstar_virtio::{
    Chain, DeviceQueue, DriverQueue, MappedRange, Memory, MemoryMap, QueueOptions, Region, Segment, Taken, packed,
    split,
};

/// Where what chains carry lies for the device.
const DATA: u64 = 0x1000;
const DATA_BYTES: usize = 64;

/// Memory of atomics, which both ends may write to.
struct Words(Vec<AtomicU64>);

// SAFETY: the vector is never touched again, so its memory stays; what is in it are atomics.
unsafe impl Region for Words {
    fn start(&self) -> NonNull<u8> {
        NonNull::new(self.0.as_ptr().cast_mut().cast()).unwrap_or(NonNull::dangling())
    }

    fn len(&self) -> usize {
        size_of::<AtomicU64>() * self.0.len()
    }
}

fn memory(bytes: usize) -> Memory {
    let words = core::iter::repeat_with(AtomicU64::default).take(bytes.div_ceil(size_of::<AtomicU64>())).collect();
    Memory::new(Arc::new(Words(words)))
}

pub(crate) fn chains_go_there_and_back() -> bool {
    let options = QueueOptions { size: 8, ..QueueOptions::default() };
    let [first, second, third] = split::area_bytes(options.size).map(memory);
    let areas = split::Areas { descriptors: first, available: second, used: third };
    let ends = split::Driver::new(&areas, options, None).ok().zip(split::Device::new(&areas, options, 0).ok());
    let Some((driver, device)) = ends else { return false };
    if !go_there_and_back(DriverQueue::Split(driver), DeviceQueue::Split(device)) {
        return false;
    }
    let [first, second, third] = packed::area_bytes(options.size).map(memory);
    let areas = packed::Areas { descriptors: first, driver_events: second, device_events: third };
    let device = packed::Device::new(&areas, options, packed::NEW).ok();
    let Some((driver, device)) = packed::Driver::new(&areas, options, None).ok().zip(device) else { return false };
    go_there_and_back(DriverQueue::Packed(driver), DeviceQueue::Packed(device))
}

fn go_there_and_back(mut driver: DriverQueue, mut device: DeviceQueue) -> bool {
    let data = memory(DATA_BYTES);
    let range = MappedRange { address: DATA, memory: data.clone() };
    let Ok(map) = MemoryMap::new([range].into()) else { return false };
    data.write(0, b"question");
    let segment = |offset, len| Segment { address: DATA + offset, len };
    let Ok(token) = driver.add(&[segment(0, 8)], &[segment(32, 6)]) else { return false };
    let (mut chain, mut question, mut answer) = (Chain::default(), [0; 8], [0; 6]);
    if !driver.publish() || device.take(&map, &mut chain) != Ok(Taken::Chain) {
        return false;
    }
    let is_whole = chain.read(&map, 0, &mut question) == 8 && chain.write(&map, 0, b"answer") == 6;
    device.put_used(chain.id(), 6);
    let is_told = device.publish();
    let used = driver.take_used().ok().flatten();
    data.read(32, &mut answer);
    is_whole
        && is_told
        && &question == b"question"
        && &answer == b"answer"
        && used.is_some_and(|used| used.token == token && used.written == Some(6))
}
