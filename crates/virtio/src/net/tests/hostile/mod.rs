//! A driver under a device that does what bytes say, among it writing whatever it likes where both see: the check behind the fuzz target and
//! the properties.
//!
//! As long as the device keeps to the rules, all that it gives arrives as it was. Once it does not, the driver believes nothing of it: no
//! chain comes back that was not out, what makes no sense is counted or ends the queue, nothing outside of what is shared is touched, and
//! every frame comes home or is told of as one that never will.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sunstar_virtio::{
    DeviceQueue, DriverQueue, IndirectTables, MappedRange, Memory, MemoryMap, QueueOptions, Region, packed, split,
};

mod expected;
mod net;
mod ring;

/// Does what the bytes say.
pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input(bytes);
    let kind = input.next();
    if kind & 0x80 == 0 { ring::check(kind, &mut input) } else { net::check(kind, &mut input) }
}

/// All memory there is. What is shared begins behind the first part, and ends before the last one.
const HEAP_BYTES: usize = 0x16_0000;
const MARGIN_BYTES: usize = 0x1000;

/// Where in what is shared the rings are, each with nothing around its parts, and behind them the frames.
const RINGS: [usize; 2] = [0x100, 0x3900];
const FRAMES: usize = 0x8000;

/// Where the device finds it.
const BASE: u64 = 0x4000_0000;

/// Descriptors of a table.
const TABLE: u16 = 4;

/// Memory of atomics only.
struct Heap(Vec<AtomicU64>);

// SAFETY: the vector is not changed as long as the value lives, so its memory stays; what is in it are atomics.
unsafe impl Region for Heap {
    fn start(&self) -> NonNull<u8> {
        NonNull::new(self.0.as_ptr().cast_mut().cast()).expect("a vector's memory is somewhere")
    }

    fn len(&self) -> usize {
        8 * self.0.len()
    }
}

std::thread_local! {
    /// Large, so it is used again: what is before the frames is made zero each time, and of those the device does not read what nobody has written.
    static HEAP: Arc<Heap> = Arc::new(Heap(std::iter::repeat_with(AtomicU64::default).take(HEAP_BYTES / 8).collect()));
}

/// What both sides share, and what lies around it.
struct World {
    heap: Arc<Heap>,
    shared: Memory,
    map: Arc<MemoryMap>,
    /// What of it may be written to, by where it begins, and how long it is.
    areas: Vec<(usize, usize)>,
}

impl World {
    fn new() -> Self {
        let heap = HEAP.with(Arc::clone);
        heap.0[..(MARGIN_BYTES + FRAMES) / 8].iter().for_each(|word| word.store(0, Ordering::Relaxed));
        let all = Memory::new(Arc::clone(&heap) as Arc<dyn Region>);
        let shared = all.slice(MARGIN_BYTES, HEAP_BYTES - 2 * MARGIN_BYTES).expect("it is within");
        let range = MappedRange { address: BASE, memory: shared.clone() };
        let map = Arc::new(MemoryMap::new(vec![range]).expect("one range"));
        let frames = (FRAMES, shared.len() - FRAMES);
        Self { heap, shared, map, areas: vec![frames] }
    }

    /// A part of a ring, with a margin behind it.
    fn area(&mut self, at: &mut usize, bytes: usize) -> Memory {
        let area = self.shared.slice(*at, bytes).expect("it is within");
        self.areas.push((*at, bytes));
        *at = (*at + bytes + 64).next_multiple_of(64);
        area
    }

    /// The two sides of a ring.
    fn ends(&mut self, ring: usize, is_packed: bool, options: QueueOptions) -> Ends {
        let bytes = if is_packed { packed::area_bytes(options.size) } else { split::area_bytes(options.size) };
        let mut at = RINGS[ring];
        let areas = bytes.map(|bytes| self.area(&mut at, bytes));
        let address = BASE + at as u64;
        let memory = self.area(&mut at, IndirectTables::bytes(options.size, TABLE));
        assert!(at <= RINGS.get(ring + 1).copied().unwrap_or(FRAMES), "the next one begins behind it");
        let tables = IndirectTables { memory, address, descriptors: TABLE };
        let [first, second, third] = areas.clone();
        let (driver, device) = if is_packed {
            let areas = packed::Areas { descriptors: first, driver_events: second, device_events: third };
            let driver = packed::Driver::new(&areas, options, Some(&tables)).expect("it fits");
            let device = packed::Device::new(&areas, options, packed::NEW).expect("it fits");
            (DriverQueue::Packed(driver), DeviceQueue::Packed(device))
        } else {
            let areas = split::Areas { descriptors: first, available: second, used: third };
            let driver = split::Driver::new(&areas, options, Some(&tables)).expect("it fits");
            (DriverQueue::Split(driver), DeviceQueue::Split(split::Device::new(&areas, options, 0).expect("it fits")))
        };
        let tampered = Tampered { areas, is_packed, size: options.size, is_honest: true };
        Ends { driver, device, tampered }
    }

    /// Nothing was touched but what was to be.
    fn check_surroundings(mut self) {
        self.areas.sort_unstable();
        let words = |at: usize| at / 8;
        let mut from = 0;
        for (at, bytes) in self.areas {
            let gap = words(from)..words(MARGIN_BYTES + at);
            assert!(self.heap.0[gap].iter().all(|word| word.load(Ordering::Relaxed) == 0), "before {at:#x}");
            from = (MARGIN_BYTES + at + bytes).next_multiple_of(8);
        }
        assert!(self.heap.0[words(from)..].iter().all(|word| word.load(Ordering::Relaxed) == 0), "behind it all");
    }
}

/// The two sides of a ring, and what the device may write beside its rules.
struct Ends {
    driver: DriverQueue,
    device: DeviceQueue,
    tampered: Tampered,
}

/// A ring as it lies in memory.
struct Tampered {
    areas: [Memory; 3],
    is_packed: bool,
    size: u16,
    /// Whether the device has kept to the rules.
    is_honest: bool,
}

/// Flags of a packed ring's descriptor that the device has used, in every other round, and of one that it has written to.
const PACKED_USED: u16 = 0x8080;
const PACKED_WRITE: u16 = 2;

impl Tampered {
    /// Writes what no device may.
    fn tamper(&mut self, input: &mut Input<'_>) {
        self.is_honest = false;
        match input.next() % 6 {
            0..3 => self.put_anything(input),
            3 => {
                // When it wants to be told: flags and place of either kind of ring.
                let bytes = [input.next(), input.next(), input.next(), input.next()];
                let at = if self.is_packed { 0 } else { 4 + 8 * usize::from(self.size) };
                let area = &self.areas[2];
                area.write(at, &bytes[..bytes.len().min(area.len() - at)]);
                area.write(0, &bytes[2..]);
            }
            _ => {
                let area = &self.areas[usize::from(input.next()) % 3];
                let at = input.below(area.len());
                let bytes: Vec<u8> = (0..1 + input.next() % 16).map(|_| input.next()).collect();
                area.write(at, &bytes[..bytes.len().min(area.len() - at)]);
            }
        }
    }

    /// Says of any chains that they were used.
    fn put_anything(&self, input: &mut Input<'_>) {
        let (id, written, place) = (input.id(self.size), input.written(), input.next());
        if self.is_packed {
            let index = usize::from(u16::from(place >> 1) % self.size);
            let round = if place & 1 == 0 { PACKED_USED } else { 0 };
            let id = u16::try_from(id & 0xffff).expect("it was cut to that");
            self.areas[0].write(16 * index + 8, &written.to_le_bytes());
            self.areas[0].write(16 * index + 12, &id.to_le_bytes());
            self.areas[0].write(16 * index + 14, &(round | PACKED_WRITE).to_le_bytes());
            return;
        }
        let mut index = [0; 2];
        self.areas[2].read(2, &mut index);
        let index = u16::from_le_bytes(index);
        let at = 4 + 8 * usize::from(index % self.size);
        self.areas[2].write(at, &id.to_le_bytes());
        self.areas[2].write(at + 4, &written.to_le_bytes());
        // Most often by one; also back, and by more than the ring has.
        let steps = [1, 1, 1, 1, 0, 2, 3, self.size, self.size + 1, u16::MAX];
        let index = index.wrapping_add(steps[usize::from(place) % steps.len()]);
        self.areas[2].write(2, &index.to_le_bytes());
    }
}

/// What is left of the bytes; then zeros.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, end: usize) -> usize {
        (usize::from(self.next()) << 8 | usize::from(self.next())) % end
    }

    /// A number of a chain: of one there may be, or one that no ring has.
    fn id(&mut self, size: u16) -> u32 {
        let size = u32::from(size);
        match self.next() {
            250 => size,
            251 => 0xffff,
            252 => 0x1_0000,
            253 => 0x1_0001,
            254 => u32::MAX,
            255 => 0x8000,
            id => u32::from(id) % size,
        }
    }

    /// How much the device says that it has written.
    fn written(&mut self) -> u32 {
        match self.next() {
            255 => u32::MAX,
            254 => 1 << 31,
            253 => 0xffff,
            written => written.into(),
        }
    }
}
