//! A device under a driver that does what bytes say, among it writing whatever it likes into rings, descriptors and packets: the check behind
//! the fuzz target and the properties.
//!
//! As long as the driver is honest, each packet has to come out as it went in. Once it is not, nothing may be touched outside of what it
//! shares, nothing may come out that was not negotiated, and no burst may be longer than the ring.

use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sunstar_packet::{Buffer, Checksum, Offload, Packet, Pool, PoolOptions};
use sunstar_virtio::net::device::{DeviceRing, ReceiveRing, TransmitRing};
use sunstar_virtio::net::{HEADER_BYTES, features, num_buffers};
use sunstar_virtio::{
    DeviceQueue, DriverQueue, MappedRange, Memory, MemoryMap, QueueOptions, Region, Segment, packed, split,
};

/// Descriptors of each ring: few, so that they run out.
const SIZE: u16 = 8;

/// The longest packet.
const MAX_BYTES: usize = 200;

/// All memory there is, in words of 8 bytes, and the part of it that the driver shares.
const WORDS: usize = 0xa00;
const SHARED: usize = 0x1000;
const SHARED_BYTES: usize = 0x3000;

/// Where in that the rings are, and behind them what chains are made of.
const RINGS: [usize; 2] = [0, 0x400];
const DATA: [usize; 2] = [0x800, 0x1800];
const DATA_BYTES: usize = 0x1000;

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
}

/// A driver, what it has made available, and the memory of both sides.
struct Driver {
    heap: Arc<Heap>,
    memory: Memory,
    rings: [DriverQueue; 2],
    /// What it has made available to be transmitted.
    transmitted: VecDeque<Vec<u8>>,
    /// Where its room for receiving is, by the number of the chain.
    provided: [Option<(usize, usize)>; SIZE as usize],
    /// Packets that are to come, in their order.
    expected: VecDeque<Vec<u8>>,
    /// What has come of a packet that lies in several chains, and how many are missing.
    begun: Option<(Vec<u8>, u16)>,
    /// How much of the data of each ring was given out, round and round: more than chains can be out.
    free: [usize; 2],
    is_honest: bool,
    can_merge: bool,
}

/// The two sides of both rings, as the first byte has it.
fn set_up(kind: u8) -> (Driver, TransmitRing, ReceiveRing) {
    let heap = Arc::new(Heap(std::iter::repeat_with(AtomicU64::default).take(WORDS).collect()));
    let memory = Memory::new(Arc::clone(&heap) as Arc<dyn Region>).slice(SHARED, SHARED_BYTES).expect("it is within");
    let range = MappedRange { address: SHARED as u64, memory: memory.clone() };
    let map = Arc::new(MemoryMap::new(vec![range]).expect("one range"));
    let bit = |at: u8| kind >> at & 1 == 1;
    let options = QueueOptions { size: SIZE, has_event_index: bit(1), is_in_order: bit(2), has_indirect: bit(3) };
    let queues = RINGS.map(|at| queues(&memory, at, options, bit(0)));
    let can_merge = bit(4);
    let wanted = [(bit(5), features::CSUM), (can_merge, features::MRG_RXBUF), (bit(6), features::HOST_TSO4)];
    let negotiated = wanted.iter().filter(|(is_wanted, _)| *is_wanted).fold(0, |bits, (_, bit)| bits | bit);
    let [(first, transmit), (second, receive)] = queues;
    let ring = |queue| DeviceRing::new(queue, Arc::clone(&map), negotiated);
    let driver = Driver {
        heap,
        memory,
        rings: [first, second],
        transmitted: VecDeque::new(),
        provided: [None; SIZE as usize],
        expected: VecDeque::new(),
        begun: None,
        free: [0; 2],
        is_honest: true,
        can_merge,
    };
    (driver, TransmitRing::new(ring(transmit)), ReceiveRing::new(ring(receive)))
}

fn queues(memory: &Memory, at: usize, options: QueueOptions, is_packed: bool) -> (DriverQueue, DeviceQueue) {
    let part = |offset, bytes| memory.slice(at + offset, bytes).expect("it is within");
    if is_packed {
        let [first, second, third] = packed::area_bytes(SIZE);
        let areas = packed::Areas {
            descriptors: part(0, first),
            driver_events: part(0x100, second),
            device_events: part(0x180, third),
        };
        let driver = packed::Driver::new(&areas, options, None).expect("it fits");
        (
            DriverQueue::Packed(driver),
            DeviceQueue::Packed(packed::Device::new(&areas, options, packed::NEW).expect("it fits")),
        )
    } else {
        let [first, second, third] = split::area_bytes(SIZE);
        let areas =
            split::Areas { descriptors: part(0, first), available: part(0x100, second), used: part(0x180, third) };
        let driver = split::Driver::new(&areas, options, None).expect("it fits");
        (DriverQueue::Split(driver), DeviceQueue::Split(split::Device::new(&areas, options, 0).expect("it fits")))
    }
}

impl Driver {
    /// The next place of a ring's data that has room for so many bytes.
    fn place(&self, ring: usize, bytes: usize) -> usize {
        if self.free[ring] + bytes > DATA_BYTES { 0 } else { self.free[ring] }
    }

    /// Makes a packet available to be transmitted, in pieces.
    fn transmit(&mut self, input: &mut Input<'_>) {
        let (len, piece) = (1 + input.below(MAX_BYTES), 1 + input.below(80));
        let mut bytes = vec![0; HEADER_BYTES];
        // Flags and kind of segmentation, which may be what was not negotiated.
        (bytes[0], bytes[1]) = (input.next() & 3, input.next() & 7);
        let seed = input.next();
        bytes.extend((0_u8..=250).cycle().skip(seed.into()).take(len));
        let piece = piece.max(bytes.len().div_ceil(usize::from(SIZE)));
        let free = self.place(0, bytes.len());
        let at = DATA[0] + free;
        self.memory.write(at, &bytes);
        let pieces: Vec<Segment> =
            (0..bytes.len()).step_by(piece).map(|from| segment(at + from, piece.min(bytes.len() - from))).collect();
        if self.rings[0].add(&pieces, &[]).is_ok() {
            self.free[0] = free + bytes.len();
            self.transmitted.push_back(bytes);
        }
        let _ = self.rings[0].publish();
    }

    /// Takes back what was transmitted.
    fn finish(&mut self) {
        loop {
            match self.rings[0].take_used() {
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(error) => return assert!(!self.is_honest, "an honest driver's ring is fine: {error}"),
            }
        }
    }

    /// Makes room available to be received into.
    fn provide(&mut self, input: &mut Input<'_>) {
        let bytes = HEADER_BYTES + input.below(150);
        let free = self.place(1, bytes);
        let at = DATA[1] + free;
        let split = 1 + input.below(bytes - 1);
        if let Ok(token) = self.rings[1].add(&[], &[segment(at, split), segment(at + split, bytes - split)]) {
            self.free[1] = free + bytes;
            self.provided[usize::from(token)] = Some((at, bytes));
        }
        let _ = self.rings[1].publish();
    }

    /// Takes what was received, and compares it with what was sent.
    fn receive(&mut self) {
        loop {
            let used = match self.rings[1].take_used() {
                Ok(Some(used)) => used,
                Ok(None) => return,
                Err(error) => return assert!(!self.is_honest, "an honest driver's ring is fine: {error}"),
            };
            let place = self.provided[usize::from(used.token)].take();
            if !self.is_honest {
                continue;
            }
            let (at, room) = place.expect("it was provided");
            let mut bytes = vec![0; used.written.expect("it says so") as usize];
            assert!(bytes.len() <= room, "no more was written than there was room for");
            self.memory.read(at, &mut bytes);
            let (mut packet, missing) = self.begun.take().unwrap_or_else(|| {
                let header = *bytes.first_chunk::<HEADER_BYTES>().expect("a header is never cut");
                bytes.drain(..HEADER_BYTES);
                let count = num_buffers(&header);
                assert!(count > 0 && (self.can_merge || count == 1), "{count} buffers");
                (Vec::new(), count)
            });
            packet.extend_from_slice(&bytes);
            if missing > 1 {
                self.begun = Some((packet, missing - 1));
            } else {
                assert_eq!(Some(packet), self.expected.pop_front(), "packets come as they were sent");
            }
        }
    }

    /// Writes anything anywhere that is shared.
    fn scribble(&mut self, input: &mut Input<'_>) {
        self.is_honest = false;
        let offset = input.below(SHARED_BYTES);
        let len = 1 + usize::from(input.next() % 16);
        let bytes: Vec<u8> = (0..len).map(|_| input.next()).collect();
        self.memory.write(offset, &bytes[..len.min(SHARED_BYTES - offset)]);
    }

    /// Nothing else was touched.
    fn check_surroundings(&self) {
        let words = |bytes: usize| bytes / 8;
        let behind = words(SHARED + SHARED_BYTES)..;
        let outside = self.heap.0[..words(SHARED)].iter().chain(&self.heap.0[behind]);
        assert!(outside.into_iter().all(|word| word.load(Ordering::Relaxed) == 0), "nothing else is written to");
    }
}

fn segment(at: usize, len: usize) -> Segment {
    Segment { address: (SHARED + at) as u64, len: u32::try_from(len).expect("small") }
}

/// What has to come of a packet of an honest driver, or none if it is malformed.
fn wanted(bytes: &[u8], features: u64) -> Option<Checksum> {
    // Of segmentation, no header here says all that belongs to it.
    if bytes[1] != 0 {
        return None;
    }
    match bytes[0] & 1 {
        // It starts at byte 0, and is stored there.
        1 if features & features::CSUM == 0 || bytes.len() < HEADER_BYTES + 2 => None,
        1 => Some(Checksum::Partial { csum_start: 0, csum_offset: 0 }),
        _ => Some(Checksum::Complete),
    }
}

/// Takes what was transmitted.
fn take(driver: &mut Driver, ring: &mut TransmitRing, features: u64, pool: &Pool) -> bool {
    let mut out = VecDeque::new();
    let Ok(took) = ring.take(pool, None, MAX_BYTES, 32, &mut out) else {
        assert!(!driver.is_honest, "an honest driver's ring is fine");
        return false;
    };
    let chains = took.packets as u64 + took.malformed + took.too_long;
    assert!(took.packets == out.len() && chains <= SIZE.into(), "no more than the ring: {took:?}");
    for packet in &out {
        assert!(!packet.is_empty() && packet.len() <= MAX_BYTES);
        let Offload { checksum, segmentation, .. } = packet.offload;
        assert_ne!(checksum, Checksum::Verified, "a driver has verified nothing");
        assert!(features & features::CSUM != 0 || checksum == Checksum::Complete, "it was not negotiated");
        assert!(features & features::HOST_TSO4 != 0 || segmentation.is_none(), "it was not negotiated");
    }
    if !driver.is_honest {
        return true;
    }
    for _ in 0..chains {
        let bytes = driver.transmitted.pop_front().expect("no more than was transmitted");
        let Some(checksum) = wanted(&bytes, features) else { continue };
        let packet = out.pop_front().expect("it is not lost");
        assert!(packet.offload.checksum == checksum, "{:?}", packet.offload);
        assert!(packet.buffers().concat() == bytes[HEADER_BYTES..], "packets come as they were sent");
    }
    assert!(out.is_empty());
    assert!(took.is_starved || driver.transmitted.is_empty(), "what is there is taken");
    true
}

/// Sends packets to the driver.
fn put(driver: &mut Driver, ring: &mut ReceiveRing, input: &mut Input<'_>) -> bool {
    let mut packets = VecDeque::new();
    for number in 0..=input.next() % 3 {
        let mut packet = Packet::new();
        for _ in 0..=number {
            let bytes: Vec<u8> = (0_u8..=250).cycle().skip(number.into()).take(1 + input.below(120)).collect();
            packet.push_back(Buffer::from(bytes)).expect("three buffers");
        }
        packets.push_back(packet);
    }
    let all: Vec<Vec<u8>> = packets.iter().map(|packet| packet.buffers().concat()).collect();
    let Ok(put) = ring.put(&mut packets) else {
        assert!(!driver.is_honest, "an honest driver's ring is fine");
        return false;
    };
    assert_eq!(put.packets as u64 + put.refused + packets.len() as u64, all.len() as u64);
    if !put.is_full && !packets.is_empty() {
        assert!(
            !driver.is_honest && ring.put(&mut packets).is_err(),
            "what is wrong is told when all before it is done"
        );
        return false;
    }
    assert_eq!(put.is_full, !packets.is_empty());
    if driver.is_honest && put.refused == 0 {
        driver.expected.extend(all.into_iter().take(put.packets));
    } else {
        // Which of them was too large shows only by the others.
        driver.is_honest = false;
    }
    true
}

/// Does what the bytes say.
pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input(bytes);
    let kind = input.next();
    let (mut driver, mut transmit, mut receive) = set_up(kind);
    let features =
        if kind >> 5 & 1 == 1 { features::CSUM } else { 0 } | if kind >> 6 & 1 == 1 { features::HOST_TSO4 } else { 0 };
    let frames = PoolOptions { frame_bytes: 64, headroom_bytes: 0, limit_frames: if kind >> 7 == 0 { 100 } else { 5 } };
    let pool = Pool::new(frames).expect("frames are small");
    let [mut is_transmitting, mut is_receiving] = [true; 2];
    for _ in 0..64 {
        if input.0.is_empty() {
            break;
        }
        match input.next() % 9 {
            0 | 1 => driver.transmit(&mut input),
            2 => is_transmitting = is_transmitting && take(&mut driver, &mut transmit, features, &pool),
            3 => driver.finish(),
            4 => driver.provide(&mut input),
            5 => is_receiving = is_receiving && put(&mut driver, &mut receive, &mut input),
            6 => driver.receive(),
            7 => {
                let _ = (transmit.ring().enable_notifications(), receive.enable_notifications());
            }
            _ => driver.scribble(&mut input),
        }
        driver.check_surroundings();
    }
}
