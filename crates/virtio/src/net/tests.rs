//! Both queues against this crate's own device side, which behaves, or does not.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use sunstar_packet::{Buffer, Checksum, MAX_BUFFERS, Offload, Packet, Pool, PoolOptions, SlabMemory};

use super::*;
use crate::testing::memory;
use crate::{
    Broken, Chain, DeviceQueue, DriverQueue, IndirectTables, MappedRange, Memory, MemoryMap, PacketMemory,
    QueueOptions, Taken, packed, split,
};

mod frames;
mod hostile;

const BASE: u64 = 0x4000_0000;
const BYTES: usize = 5 << 20;
const TABLE: u16 = 16;
const RING: u16 = 128;

/// Memory of a test that is handed out once.
struct Shared {
    memory: Memory,
    next: AtomicUsize,
}

// SAFETY: pieces do not overlap and live as long as the memory. The device of a test touches what was made available to it, and never
// while anybody looks at it: there is one thread.
unsafe impl SlabMemory for Shared {
    fn take(&self, layout: Layout) -> Option<NonNull<u8>> {
        let offset = self.next.fetch_add(layout.size().next_multiple_of(64), Ordering::Relaxed);
        self.memory.slice(offset, layout.size()).ok().map(|piece| piece.start())
    }

    unsafe fn give(&self, _slab: NonNull<u8>, _layout: Layout) {}
}

// SAFETY: it is answered for what lies in the memory, which is of zeros, and of which the device writes what it may.
unsafe impl PacketMemory for Shared {
    fn address(&self, start: *const u8, len: usize) -> Option<u64> {
        let offset = start.addr().checked_sub(self.memory.start().addr().get())?;
        self.memory.slice(offset, len).ok().map(|_| BASE + offset as u64)
    }
}

/// How a test's queues are.
#[derive(Clone, Copy, Debug)]
struct Kind {
    is_packed: bool,
    options: QueueOptions,
}

fn kind() -> impl Strategy<Value = Kind> {
    (any::<[bool; 4]>(), 0_u16..2).prop_map(|([is_packed, has_event_index, is_in_order, has_indirect], shift)| Kind {
        is_packed,
        options: QueueOptions { size: RING << shift, has_event_index, is_in_order, has_indirect },
    })
}

/// The memory of both sides, and what the device knows of it.
struct World {
    shared: Arc<Shared>,
    map: MemoryMap,
    tables: IndirectTables,
    areas: Vec<Memory>,
}

impl World {
    fn new() -> Self {
        let all = memory(BYTES);
        let shared = Arc::new(Shared { memory: all.clone(), next: AtomicUsize::new(0) });
        let tables = memory(IndirectTables::bytes(2 * RING, TABLE));
        let ranges =
            vec![MappedRange { address: BASE, memory: all }, MappedRange { address: 0x1000, memory: tables.clone() }];
        let map = MemoryMap::new(ranges).expect("they do not overlap");
        let tables = IndirectTables { memory: tables, address: 0x1000, descriptors: TABLE };
        Self { shared, map, tables, areas: Vec::new() }
    }

    fn queue(&mut self, Kind { is_packed, options }: Kind) -> (DriverQueue, DeviceQueue) {
        let bytes = if is_packed { packed::area_bytes(options.size) } else { split::area_bytes(options.size) };
        let [first, second, third] = bytes.map(memory);
        self.areas = vec![first.clone(), second.clone(), third.clone()];
        let tables = Some(&self.tables);
        if is_packed {
            let areas = packed::Areas { descriptors: first, driver_events: second, device_events: third };
            let driver = packed::Driver::new(&areas, options, tables).expect("the areas fit");
            let device = packed::Device::new(&areas, options, packed::NEW).expect("the areas fit");
            return (DriverQueue::Packed(driver), DeviceQueue::Packed(device));
        }
        let areas = split::Areas { descriptors: first, available: second, used: third };
        let driver = split::Driver::new(&areas, options, tables).expect("the areas fit");
        let device = split::Device::new(&areas, options, 0).expect("the areas fit");
        (DriverQueue::Split(driver), DeviceQueue::Split(device))
    }

    fn pool(&self, frame_bytes: usize, limit_frames: usize) -> Rc<Pool> {
        let options = PoolOptions { frame_bytes, headroom_bytes: 64, limit_frames };
        Rc::new(Pool::with_memory(self.shared.clone(), options).expect("frames are small"))
    }

    fn receiver(&mut self, kind: Kind, features: u64, pool: &Rc<Pool>) -> (Receiver<Shared>, DeviceQueue) {
        let (driver, device) = self.queue(kind);
        let size = kind.options.size;
        let receiver = Receiver::new(driver, size, features, self.shared.clone(), pool.clone());
        (receiver.expect("the pool has frames"), device)
    }

    fn transmitter(&mut self, kind: Kind) -> (Transmitter<Shared>, DeviceQueue) {
        let (driver, device) = self.queue(kind);
        let table = if kind.options.has_indirect { TABLE } else { 0 };
        let transmitter = Transmitter::new(driver, kind.options.size, table, self.shared.clone());
        (transmitter.expect("frames are small"), device)
    }

    fn take(&self, device: &mut DeviceQueue) -> Option<Chain> {
        let mut chain = Chain::default();
        match device.take(&self.map, &mut chain).expect("the ring is fine") {
            Taken::Chain => Some(chain),
            Taken::Nothing => None,
            Taken::Refused(error) => panic!("{error}"),
        }
    }

    /// What a packet is on the device's side: header and bytes.
    fn take_packet(&self, device: &mut DeviceQueue) -> Option<Vec<u8>> {
        let chain = self.take(device)?;
        let mut bytes = vec![0; 70_000];
        let len = chain.read(&self.map, 0, &mut bytes);
        bytes.truncate(len);
        device.put_used(chain.id(), 0);
        Some(bytes)
    }

    /// Has the device hand over a packet, in as many chains as it takes; answers whether there were enough.
    fn give_packet(&self, device: &mut DeviceQueue, header: [u8; HEADER_BYTES], bytes: &[u8]) -> bool {
        let mut all = [&header, bytes].concat();
        let mut chains = Vec::new();
        let mut room = 0;
        while room < all.len() {
            let Some(chain) = self.take(device) else {
                device.untake(&chains.iter().map(Chain::id).collect::<Vec<_>>());
                return false;
            };
            room += chain.writable().iter().map(|part| part.len as usize).sum::<usize>();
            chains.push(chain);
        }
        all[10..12].copy_from_slice(&u16::try_from(chains.len()).expect("few").to_le_bytes());
        let mut done = 0;
        for chain in chains {
            let written = chain.write(&self.map, 0, &all[done..]);
            done += written;
            device.put_used(chain.id(), written.try_into().expect("small"));
        }
        let _ = device.publish();
        true
    }
}

const PLAIN: Kind = Kind {
    is_packed: false,
    options: QueueOptions { size: RING, has_event_index: false, is_in_order: false, has_indirect: true },
};

/// Different bytes at different places.
fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|place| ((place * 31 + seed * 7) % 251).try_into().expect("less than 251")).collect()
}

#[test]
fn a_frame_that_came_leaves_again_as_one_part_without_a_copy() {
    let mut world = World::new();
    let pool = world.pool(2_048, 1_000);
    let (mut receiver, mut rx) = world.receiver(PLAIN, features::MRG_RXBUF, &pool);
    let (mut transmitter, mut tx) = world.transmitter(PLAIN);
    assert!(receiver.publish(), "there are frames");
    assert!(world.give_packet(&mut rx, [0; HEADER_BYTES], b"there and back"));
    let mut packets = VecDeque::new();
    assert_eq!(receiver.receive(&mut packets, 32), Ok(1));
    let mut packet = packets.pop_front().expect("it came");
    let place = packet.buffers()[0].as_ptr();
    assert_eq!(packet.buffers()[0], b"there and back");
    transmitter.send(&mut packet).expect("there is room");
    assert!(packet.is_empty() && transmitter.publish());
    let chain = world.take(&mut tx).expect("it is there");
    let [part] = chain.readable() else { panic!("the header lies before the bytes") };
    let offset = world.shared.address(place, 14).expect("it lies in the memory") - BASE;
    assert_eq!((part.offset as u64 + 12, part.len), (offset, 26));
    assert_eq!((transmitter.copies().copies(), transmitter.in_flight()), (0, 1));
    let in_use = pool.counters().in_use_frames;
    tx.put_used(chain.id(), 0);
    let _ = tx.publish();
    assert_eq!(transmitter.reclaim(), Ok(1));
    assert_eq!(pool.counters().in_use_frames, in_use - 1, "the frame was held until it was sent");
}

#[test]
fn what_lies_elsewhere_is_copied_once_behind_its_header() {
    let mut world = World::new();
    let (mut transmitter, mut tx) = world.transmitter(PLAIN);
    let mut packet = Packet::from(Buffer::from_static(b"head"));
    packet.push_back(Buffer::from_static(b"body")).expect("there is room");
    packet.offload.checksum = Checksum::Partial { csum_start: 2, csum_offset: 4 };
    transmitter.send(&mut packet).expect("there is room");
    let _ = transmitter.publish();
    let chain = world.take(&mut tx).expect("it is there");
    assert_eq!(chain.readable().len(), 1);
    let mut bytes = [0; 20];
    assert_eq!(chain.read(&world.map, 0, &mut bytes), 20);
    assert_eq!(&bytes, b"\x01\0\0\0\0\0\x02\0\x04\0\0\0headbody");
    assert_eq!((transmitter.copies().copies(), transmitter.copies().bytes()), (1, 8));
}

/// A buffer in a frame of the pool.
fn inside(pool: &Pool, bytes: &[u8]) -> Buffer {
    let mut frame = pool.take().expect("the limit is far");
    frame.extend_from_slice(bytes).expect("it fits");
    frame.freeze()
}

#[test]
fn long_parts_are_sent_from_where_they_lie_and_short_ones_go_with_their_neighbours() {
    let mut world = World::new();
    let pool = world.pool(2_048, 1_000);
    let (head, short, long) = (pattern(1, 66), pattern(2, SHORT_BYTES), pattern(3, SHORT_BYTES + 1));
    let heap = Buffer::copy_from_slice;
    let inside = |bytes: &[u8]| inside(&pool, bytes);
    // What the packet has, the lengths of the parts of its chain, and how many bytes were copied.
    let shared = inside(&head);
    let cases = [
        (vec![inside(&head)], vec![78], 0),
        (vec![inside(&head), inside(&long)], vec![78, 257], 0),
        (vec![inside(&head), inside(&long), inside(&long)], vec![78, 257, 257], 0),
        (vec![inside(&head), inside(&short)], vec![334], 256),
        (vec![inside(&head), heap(&short)], vec![334], 256),
        (vec![inside(&head), heap(&short[..100]), inside(&short[..156])], vec![334], 256),
        (vec![inside(&head), heap(&short[..100]), inside(&short[..157])], vec![178, 157], 100),
        (vec![inside(&head), heap(&short), inside(&long)], vec![334, 257], 256),
        (vec![inside(&head), heap(&long)], vec![12 + 66 + 257], 66 + 257),
        (vec![inside(&head), heap(&short), heap(&long)], vec![12 + 66 + 256 + 257], 66 + 256 + 257),
        (vec![heap(&head), inside(&long)], vec![78, 257], 66),
        (vec![heap(&head), inside(&long), inside(&short)], vec![78, 257, 256], 66),
        // Nobody may write beside what somebody else sees: the header has a place of its own.
        (vec![shared.clone(), inside(&long)], vec![78, 257], 66),
        (vec![shared.clone(), inside(&short)], vec![12 + 66 + 256], 66 + 256),
    ];
    let (mut transmitter, mut tx) = world.transmitter(PLAIN);
    let mut before = (0, 0);
    for (case, (buffers, lengths, copied)) in cases.into_iter().enumerate() {
        let places: Vec<_> = buffers.iter().map(|buffer| world.shared.address(buffer.as_ptr(), buffer.len())).collect();
        let mut packet = Packet::new();
        buffers.into_iter().for_each(|buffer| packet.push_back(buffer).expect("few buffers"));
        let mut expected = vec![0; packet.len()];
        packet.copy_to_slice(0, &mut expected).expect("it is that long");
        transmitter.send(&mut packet).expect("there is room");
        let _ = transmitter.publish();
        let chain = world.take(&mut tx).expect("it is there");
        let parts = chain.readable();
        assert_eq!(parts.iter().map(|part| part.len).collect::<Vec<_>>(), lengths, "case {case}");
        let mut bytes = vec![0; HEADER_BYTES + expected.len()];
        assert_eq!(chain.read(&world.map, 0, &mut bytes), bytes.len());
        assert!(bytes[HEADER_BYTES..] == expected, "case {case}");
        before = (before.0 + u64::from(copied > 0), before.1 + copied);
        assert_eq!((transmitter.copies().copies(), transmitter.copies().bytes()), before, "case {case}");
        for (part, place) in parts.iter().rev().zip(places.iter().rev()).filter(|(part, _)| part.len == 257) {
            assert_eq!(Some(part.offset as u64 + BASE), *place, "case {case}: it is where it was");
        }
        tx.put_used(chain.id(), 0);
        let _ = tx.publish();
        assert_eq!(transmitter.reclaim(), Ok(1));
    }
    drop(shared);
    assert_eq!(pool.counters().in_use_frames, 0);
}

#[test]
fn a_full_ring_leaves_packets_as_they_are() {
    for has_indirect in [false, true] {
        let mut world = World::new();
        let kind = Kind { options: QueueOptions { has_indirect, ..PLAIN.options }, ..PLAIN };
        let (mut transmitter, mut tx) = world.transmitter(kind);
        let mut sent = 0;
        let mut packet = loop {
            let mut packet = Packet::from(Buffer::from_static(b"one of many"));
            match transmitter.send(&mut packet) {
                Ok(()) => sent += 1,
                Err(why) => {
                    assert_eq!(why, Unsent::Full);
                    break packet;
                }
            }
        };
        assert!(sent >= usize::from(RING) - 3 && packet.buffers()[0] == b"one of many");
        let _ = transmitter.publish();
        assert!(!transmitter.enable_notifications(), "nothing was used");
        while world.take_packet(&mut tx).is_some() {}
        assert!(tx.publish(), "the driver waits");
        assert_eq!(transmitter.reclaim(), Ok(sent));
        transmitter.send(&mut packet).expect("there is room again");
    }
}

#[test]
fn packets_that_no_header_tells_are_refused() {
    let mut world = World::new();
    let (mut transmitter, _tx) = world.transmitter(PLAIN);
    let mut packet = Packet::from(Buffer::from_static(b"far"));
    packet.offload.checksum = Checksum::Partial { csum_start: 70_000, csum_offset: 0 };
    assert_eq!(transmitter.send(&mut packet), Err(Unsent::Refused));
    let mut packet = Packet::from(Buffer::from(vec![0; 70_000]));
    assert_eq!(transmitter.send(&mut packet), Err(Unsent::Refused));
    assert_eq!(transmitter.in_flight(), 0);
}

#[test]
fn a_burst_of_large_packets_ends_with_the_one_that_reaches_the_bound() {
    let mut world = World::new();
    let pool = world.pool(256, 1_000);
    let (mut receiver, mut rx) = world.receiver(PLAIN, features::MRG_RXBUF, &pool);
    let _ = receiver.publish();
    let (mut packets, mut header) = (VecDeque::new(), [0; HEADER_BYTES]);
    header[10] = 3;
    for seed in 0..RING / 3 {
        assert!(world.give_packet(&mut rx, header, &pattern(seed.into(), 600)));
    }
    // 64 chains are 21 packets and a part of the next one.
    assert_eq!(receiver.receive(&mut packets, 32), Ok(22));
    assert_eq!(receiver.receive(&mut packets, 32), Ok(20));
    assert!((0..).zip(&packets).all(|(seed, packet)| packet.buffers().concat() == pattern(seed, 600)));
}

#[test]
fn a_burst_ends_with_the_packet_that_makes_it_many_bytes() {
    let mut world = World::new();
    let pool = world.pool(LARGE_FRAME_BYTES, 40);
    let (mut receiver, mut rx) = world.receiver(PLAIN, features::MRG_RXBUF, &pool);
    let _ = receiver.publish();
    let long = pattern(3, 60_000);
    (0..12).for_each(|_| assert!(world.give_packet(&mut rx, [0; HEADER_BYTES], &long)));
    let mut packets = VecDeque::new();
    assert_eq!(receiver.receive(&mut packets, 32), Ok(5), "of 256 KiB a part is in the fifth");
    assert_eq!(receiver.receive(&mut packets, 32), Ok(5));
    assert_eq!(receiver.receive(&mut packets, 32), Ok(2));
    assert!(packets.iter().all(|packet| packet.buffers().concat() == long));
}

#[test]
fn packets_that_break_the_rules_are_dropped_and_counted() {
    let mut world = World::new();
    let pool = world.pool(256, 1_000);
    let (mut receiver, mut rx) = world.receiver(PLAIN, features::MRG_RXBUF, &pool);
    let mut packets = VecDeque::new();
    let mut give = |receiver: &mut Receiver<Shared>, header: &[u8], chains: usize, written: u32| {
        let _ = receiver.publish();
        for _ in 0..chains {
            let chain = world.take(&mut rx).expect("there are frames");
            chain.write(&world.map, 0, header);
            rx.put_used(chain.id(), written);
        }
        let _ = rx.publish();
        receiver.receive(&mut packets, 32).expect("the ring is fine")
    };
    let one = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    assert_eq!(give(&mut receiver, &one, 1, 11), 0, "no header");
    assert_eq!(give(&mut receiver, &one, 1, 12), 0, "no bytes");
    assert_eq!(give(&mut receiver, &one, 1, 300), 0, "more bytes than there was room for");
    assert_eq!(give(&mut receiver, &[0; 12], 1, 100), 0, "in no chain");
    assert_eq!(give(&mut receiver, &[0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0], 1, 100), 0, "of an unknown kind");
    assert_eq!(give(&mut receiver, &[1, 1, 0, 0, 9, 0, 14, 0, 0, 0, 1, 0], 1, 100), 0, "of one not negotiated");
    assert_eq!(
        give(&mut receiver, &one, 1, u32::MAX),
        0,
        "of chains of which nothing is said, which are used in order"
    );
    assert_eq!(receiver.counters().malformed, 7);
    let many = u8::try_from(MAX_BUFFERS + 1).expect("few");
    assert_eq!(give(&mut receiver, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, many, 0], MAX_BUFFERS + 1, 100), 0, "too long");
    assert_eq!((receiver.counters().truncated, receiver.counters().malformed), (1, 7));
    assert_eq!(give(&mut receiver, &one, 1, 100), 1, "and all is well again");
    assert_eq!(packets[0].len(), 88);
    drop(packets);
    assert_eq!(pool.counters().in_use_frames, usize::from(RING), "nothing was lost");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn transmitter_random_packets_arrive_as_they_were(
        kind in kind(),
        packets in prop::collection::vec(prop::collection::vec((any::<bool>(), any::<bool>(), 1_usize..3_000), 1..12), 1..30),
    ) {
        let mut world = World::new();
        let pool = world.pool(3_000, 2_000);
        let (mut transmitter, mut tx) = world.transmitter(kind);
        let mut expected = VecDeque::new();
        let (mut outside, mut short, mut held) = (0, 0, Vec::new());
        for (seed, parts) in packets.into_iter().enumerate() {
            let mut packet = Packet::new();
            let mut all = vec![0; HEADER_BYTES];
            for (is_inside, is_shared, len) in parts {
                let bytes = pattern(seed + len, len);
                let buffer = if is_inside {
                    short += if len <= SHORT_BYTES { len as u64 } else { 0 };
                    inside(&pool, &bytes)
                } else {
                    outside += len as u64;
                    Buffer::copy_from_slice(&bytes)
                };
                if is_shared {
                    held.push(buffer.clone());
                }
                packet.push_back(buffer).expect("few buffers");
                all.extend(bytes);
            }
            loop {
                match transmitter.send(&mut packet) {
                    Ok(()) => break,
                    Err(why) => prop_assert_eq!(why, Unsent::Full),
                }
                let _ = transmitter.publish();
                while let Some(bytes) = world.take_packet(&mut tx) {
                    prop_assert!(expected.pop_front() == Some(bytes));
                }
                let _ = tx.publish();
                transmitter.reclaim().expect("the ring is fine");
            }
            expected.push_back(all);
        }
        let _ = transmitter.publish();
        while let Some(bytes) = world.take_packet(&mut tx) {
            prop_assert!(expected.pop_front() == Some(bytes));
        }
        prop_assert!(expected.is_empty());
        let _ = tx.publish();
        transmitter.reclaim().expect("the ring is fine");
        let copied = transmitter.copies().bytes();
        prop_assert!((outside..=outside + short).contains(&copied), "{} of {} and {}", copied, outside, short);
        prop_assert_eq!(transmitter.in_flight(), 0);
        drop(held);
        prop_assert_eq!(pool.counters().in_use_frames, 0, "what was sent is let go of");
    }

    #[test]
    fn receiver_random_packets_arrive_as_they_were(
        kind in kind(),
        frame_bytes in 64_usize..2_048,
        lengths in prop::collection::vec((1_usize..4_000, any::<bool>()), 1..40),
    ) {
        let mut world = World::new();
        let pool = world.pool(frame_bytes, 1_000);
        let (mut receiver, mut rx) = world.receiver(kind, features::MRG_RXBUF, &pool);
        let mut packets = VecDeque::new();
        let mut expected = VecDeque::new();
        let _ = receiver.publish();
        for (seed, (len, is_kept)) in lengths.into_iter().enumerate() {
            let bytes = pattern(seed, len.min(frame_bytes * 32));
            prop_assert!(world.give_packet(&mut rx, [0; HEADER_BYTES], &bytes));
            expected.push_back(bytes);
            if !is_kept || expected.len() > 1 {
                receiver.receive(&mut packets, 32).expect("the ring is fine");
                let _ = receiver.publish();
            }
            while let Some(packet) = packets.pop_front() {
                let wanted = expected.pop_front().expect("as many came as were given");
                let mut bytes = vec![0; packet.len()];
                packet.copy_to_slice(0, &mut bytes).expect("it is that long");
                prop_assert!(bytes == wanted && packet.offload == Offload::default());
            }
        }
        prop_assert_eq!(receiver.counters(), ReceiverCounters::default());
    }

    /// Whatever the device tells, both queues answer or break, hand out no byte twice, and lose no frame.
    #[test]
    fn net_random_garbage_harms_nobody(
        kind in kind(),
        steps in prop::collection::vec((0_u8..5, any::<u32>(), any::<u64>(), any::<[u8; 12]>()), 1..100),
    ) {
        let mut world = World::new();
        let pool = world.pool(200, 600);
        let features = features::MRG_RXBUF | features::GUEST_TSO4;
        let (mut receiver, mut rx) = world.receiver(kind, features, &pool);
        let areas = core::mem::take(&mut world.areas);
        let (mut transmitter, mut tx) = world.transmitter(kind);
        let mut packets = VecDeque::new();
        for (what, written, place, mut header) in steps {
            let _ = (receiver.publish(), transmitter.publish());
            let mut chain = Chain::default();
            match what {
                0 | 1 => if let Ok(Taken::Chain) = rx.take(&world.map, &mut chain) {
                    header[11] &= written.to_le_bytes()[1] & 1;
                    chain.write(&world.map, 0, &header);
                    rx.put_used(chain.id(), if what == 0 { written % 256 } else { written });
                },
                2 => if let Ok(Taken::Chain) = tx.take(&world.map, &mut chain) {
                    tx.put_used(chain.id(), written);
                },
                3 => {
                    let areas = if place & 1 == 0 { &areas } else { &world.areas };
                    let area = &areas[(place >> 1) as usize % 3];
                    let at = (place >> 8) as usize % area.len();
                    area.write(at, &header[..header.len().min(area.len() - at)]);
                }
                _ => drop(packets.drain(..)),
            }
            let _ = (rx.publish(), tx.publish());
            if receiver.receive(&mut packets, 8).is_err() || transmitter.reclaim().is_err() {
                break;
            }
            let mut packet = packets.pop_front().unwrap_or_else(|| Packet::from(Buffer::from_static(b"another")));
            let _ = transmitter.send(&mut packet);
        }
        let places = packets.iter().flat_map(Packet::buffers).map(|buffer| buffer.as_ptr());
        let mut places: Vec<_> = places.collect();
        let count = places.len();
        places.sort_unstable();
        places.dedup();
        prop_assert_eq!(places.len(), count);
        drop((packets, receiver, transmitter));
        prop_assert_eq!(pool.counters().in_use_frames, 0);
    }

    #[test]
    fn net_random_devices_harm_nobody(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        hostile::check(&bytes);
    }
}

#[test]
fn the_corpus_holds() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/virtio_driver");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is in the tree") {
        let path = entry.expect("it is readable").path();
        let bytes = std::fs::read(&path).expect("it is readable");
        assert!(std::panic::catch_unwind(|| hostile::check(&bytes)).is_ok(), "{} fails", path.display());
        count += 1;
    }
    assert!(count > 5, "the corpus is there");
}
