//! The two rings of a network device, whose driver is compared with what the device has given and was given.

use std::alloc::Layout;
use std::collections::VecDeque;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sunstar_packet::{Buffer, Checksum, Offload, Packet, Pool, PoolOptions, SegmentationKind, SlabMemory};
use sunstar_virtio::net::{HEADER_BYTES, MIN_TRANSMIT_RING, Receiver, Transmitter, Unsent, features};
use sunstar_virtio::{Chain, DeviceQueue, Memory, PacketMemory, QueueOptions, Taken};

use super::expected::Expected;
use super::{BASE, FRAMES, Input, TABLE, Tampered, World};

/// Descriptors of the ring for receiving: few, so that they run out.
const RING: u16 = 8;

/// What fits into a frame, and how many frames there are.
const FRAME_BYTES: usize = 128;
const FRAMES_LIMIT: usize = 200;

const STEPS: usize = 100;

/// Memory for frames, which is handed out once.
struct Frames {
    memory: Memory,
    next: AtomicUsize,
}

// SAFETY: pieces are aligned as was asked, do not overlap, and live as long as the memory. The device of a test touches what was made available to
// it, and never while anybody looks at it: there is one thread.
unsafe impl SlabMemory for Frames {
    fn take(&self, layout: Layout) -> Option<NonNull<u8>> {
        let start = self.memory.start().addr().get();
        let from = (start + self.next.load(Ordering::Relaxed)).next_multiple_of(layout.align()) - start;
        self.next.store(from + layout.size(), Ordering::Relaxed);
        self.memory.slice(from, layout.size()).ok().map(|piece| piece.start())
    }

    unsafe fn give(&self, _slab: NonNull<u8>, _layout: Layout) {}
}

// SAFETY: it is answered for what lies in the memory, which is of atomics that have a value, and of which the device writes what it may.
unsafe impl PacketMemory for Frames {
    fn address(&self, start: *const u8, len: usize) -> Option<u64> {
        let offset = start.addr().checked_sub(self.memory.start().addr().get())?;
        self.memory.slice(offset, len).ok().map(|_| BASE + (FRAMES + offset) as u64)
    }
}

/// A packet that the device was given to send: the chain, and what has to lie there until it was used.
struct Sent {
    chain: Chain,
    bytes: Vec<u8>,
}

/// What the device does.
struct Device {
    is_in_order: bool,
    rx: DeviceQueue,
    tx: DeviceQueue,
    /// What it may write beside its rules, of both rings.
    rings: [Tampered; 2],
    /// Frames that it may fill.
    provided: VecDeque<Chain>,
    to_send: VecDeque<Sent>,
    expected: Expected,
    seed: u8,
}

/// What drives it, and has come of that.
struct Driver {
    receiver: Receiver<Frames>,
    transmitter: Transmitter<Frames>,
    is_receiving: bool,
    is_sending: bool,
    pool: Rc<Pool>,
    frames: Arc<Frames>,
    features: u64,
    /// Packets that were received, and what they were then.
    kept: VecDeque<(Packet, Vec<u8>)>,
    /// Packets in the order in which they were sent, with their headers, of which the device has taken none.
    sent: VecDeque<Vec<u8>>,
    /// So many were given to the device and did not come back.
    in_flight: usize,
    /// Those that the device has given back.
    used: usize,
}

pub(super) fn check(kind: u8, input: &mut Input<'_>) {
    let bit = |at: u8| kind >> at & 1 == 1;
    let mut world = World::new();
    let options = QueueOptions { size: RING, has_event_index: bit(1), is_in_order: bit(2), has_indirect: bit(3) };
    let is_packed = bit(0);
    let rx = world.ends(0, is_packed, options);
    let tx = world.ends(1, is_packed, QueueOptions { size: MIN_TRANSMIT_RING, ..options });
    let kinds = [(bit(4), features::MRG_RXBUF), (bit(5), features::GUEST_TSO4 | features::GUEST_TSO6)];
    let negotiated = kinds.iter().filter(|(is_wanted, _)| *is_wanted).fold(0, |bits, (_, bit)| bits | bit);
    let memory = world.shared.slice(FRAMES, world.shared.len() - FRAMES).expect("it is within");
    let frames = Arc::new(Frames { memory, next: AtomicUsize::new(0) });
    let pool = PoolOptions { frame_bytes: FRAME_BYTES, headroom_bytes: 16, limit_frames: FRAMES_LIMIT };
    let pool = Rc::new(Pool::with_memory(Arc::clone(&frames) as _, pool).expect("frames are small"));
    let receiver = Receiver::new(rx.driver, RING, negotiated, Arc::clone(&frames), Rc::clone(&pool));
    let table = if options.has_indirect { TABLE } else { 0 };
    let transmitter = Transmitter::new(tx.driver, MIN_TRANSMIT_RING, table, Arc::clone(&frames));
    let mut driver = Driver {
        receiver: receiver.expect("there are frames"),
        transmitter: transmitter.expect("frames are small"),
        is_receiving: true,
        is_sending: true,
        pool,
        frames,
        features: negotiated,
        kept: VecDeque::new(),
        sent: VecDeque::new(),
        in_flight: 0,
        used: 0,
    };
    let mut device = Device {
        is_in_order: options.is_in_order,
        rx: rx.device,
        tx: tx.device,
        rings: [rx.tampered, tx.tampered],
        provided: VecDeque::new(),
        to_send: VecDeque::new(),
        expected: Expected::new(negotiated),
        seed: 0,
    };
    let _ = driver.receiver.publish();
    for _ in 0..STEPS {
        if input.0.is_empty() {
            break;
        }
        step(&mut driver, &mut device, &world, input);
    }
    finish(driver, device, &world, bit(6));
    world.check_surroundings();
}

fn step(driver: &mut Driver, device: &mut Device, world: &World, input: &mut Input<'_>) {
    match input.next() % 12 {
        0..3 => device.give(world, input),
        3 => (0..1 + input.next() % 16).for_each(|_| {
            device.give(world, &mut Input(&[0, 0, 40]));
            driver.receive(device);
        }),
        4 | 5 => driver.receive(device),
        6 => driver.send(input),
        7 => device.send(driver, world, input),
        8 => driver.reclaim(device),
        9 => driver.let_go(input),
        10 => {
            let _ = (driver.receiver.enable_notifications(), driver.transmitter.enable_notifications());
            if input.next() & 1 == 0 {
                driver.receiver.disable_notifications();
                driver.transmitter.disable_notifications();
            }
            let _ = (device.rx.enable_notifications(), device.tx.enable_notifications());
        }
        _ => device.rings[usize::from(input.next() & 1)].tamper(input),
    }
}

impl Device {
    /// Fills a frame.
    fn give(&mut self, world: &World, input: &mut Input<'_>) {
        let mut chain = Chain::default();
        while let Ok(Taken::Chain) = self.rx.take(&world.map, &mut chain) {
            self.provided.push_back(std::mem::take(&mut chain));
        }
        let pick = usize::from(input.next());
        let pick = if self.is_in_order { 0 } else { pick % self.provided.len().max(1) };
        let Some(chain) = self.provided.remove(pick) else { return };
        self.seed = self.seed.wrapping_add(1);
        let bytes = packet(self.seed, input);
        let room: usize = chain.writable().iter().map(|part| part.len as usize).sum();
        // Not where nobody writes, though it has scribbled into the descriptor that it may.
        if chain.writable().iter().all(|part| part.offset >= FRAMES) {
            chain.write(&world.map, 0, &bytes);
        }
        let written = match input.next() {
            // More than there was room for.
            255 => u32::MAX,
            254 => u32::try_from(room + 1).expect("small"),
            253 => u32::try_from(room).expect("small"),
            len => len.into(),
        };
        self.rx.put_used(chain.id(), written);
        let _ = self.rx.publish();
        if self.rings[0].is_honest {
            self.expected.used(&frame_content(&chain, world), written as usize);
        }
    }

    /// Takes what is to be sent, and uses one of those chains.
    fn send(&mut self, driver: &mut Driver, world: &World, input: &mut Input<'_>) {
        let mut chain = Chain::default();
        while let Ok(Taken::Chain) = self.tx.take(&world.map, &mut chain) {
            let bytes = driver.sent.pop_front();
            assert!(bytes.is_some() || !self.rings[1].is_honest, "nothing comes that was not sent");
            self.to_send.push_back(Sent { chain: std::mem::take(&mut chain), bytes: bytes.unwrap_or_default() });
        }
        for _ in 0..=input.next() % 8 {
            let pick = usize::from(input.next());
            let pick = if self.is_in_order { 0 } else { pick % self.to_send.len().max(1) };
            let Some(Sent { chain, bytes }) = self.to_send.remove(pick) else { break };
            if self.rings.iter().all(|ring| ring.is_honest) {
                let mut there = vec![0; bytes.len() + 1];
                let len = chain.read(&world.map, 0, &mut there);
                assert!(there[..len] == bytes, "it lies there until it was used");
            }
            self.tx.put_used(chain.id(), input.written());
            driver.used += 1;
        }
        let _ = self.tx.publish();
    }
}

/// All of a frame that the device has filled.
fn frame_content(chain: &Chain, world: &World) -> Vec<u8> {
    let parts = chain.writable().iter();
    let content = parts.map(|part| {
        let mut bytes = vec![0; part.len as usize];
        world.map.ranges()[usize::from(part.range)].memory.read(part.offset, &mut bytes);
        bytes
    });
    content.collect::<Vec<_>>().concat()
}

/// What a device writes before a packet, with sense or without, and the packet: TCP over IPv4 over Ethernet, as far as anybody looks at it.
fn packet(seed: u8, input: &mut Input<'_>) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..110).map(|at: u8| at.wrapping_mul(3).wrapping_add(seed)).collect();
    let header = &mut bytes[..HEADER_BYTES];
    header.fill(0);
    header[10] = 1;
    match input.next() {
        0..64 => {}
        // So many frames; 65 are more than any packet has.
        kind @ 64..160 => {
            let frames: u16 = [0, 2, 3, 65, 256, u16::MAX][usize::from(kind % 6)];
            header[10..].copy_from_slice(&frames.to_le_bytes());
        }
        160..200 => header[10] = input.next() % 5,
        _ => {
            header[0] = input.next() & 7;
            header[1] = [0, 1, 4, 5, 0x81, 2, 0x80, 255][usize::from(input.next() % 8)];
            header[4] = input.next();
            header[6..8].copy_from_slice(&place(input));
            header[8..10].copy_from_slice(&place(input));
        }
    }
    bytes[HEADER_BYTES + 12..][..3].copy_from_slice(&[8, 0, 0x45]);
    bytes[HEADER_BYTES + 46] = [0x50, 0x50, 0x40, 0xf0][usize::from(seed % 4)];
    bytes
}

/// Where a checksum may be, and where not.
fn place(input: &mut Input<'_>) -> [u8; 2] {
    match input.next() {
        255 => [255, 255],
        254 => [254, 255],
        253 => [0, 1],
        at => [at, 0],
    }
}

impl Driver {
    fn receive(&mut self, device: &mut Device) {
        if !self.is_receiving {
            return;
        }
        let mut packets = VecDeque::new();
        let result = self.receiver.receive(&mut packets, 32);
        let is_honest = device.rings[0].is_honest;
        for packet in packets {
            self.check_received(&packet);
            let bytes = packet.buffers().concat();
            if is_honest {
                device.expected.came(&bytes, packet.offload);
            }
            self.kept.push_back((packet, bytes));
        }
        if let Err(error) = result {
            assert!(!is_honest, "an honest device breaks nothing: {error}");
            let again = self.receiver.receive(&mut VecDeque::new(), 32);
            assert_eq!(again, Err(error), "it stays broken");
            self.is_receiving = false;
            return;
        }
        let _ = self.receiver.publish();
        // Never all of them, or nothing would come any more.
        while self.pool.counters().in_use_frames > FRAMES_LIMIT - 20 && self.kept.pop_front().is_some() {}
    }

    /// Nothing of a packet points out of it, and it is what may come.
    fn check_received(&self, packet: &Packet) {
        assert!(!packet.is_empty());
        if let Checksum::Partial { csum_start, csum_offset } = packet.offload.checksum {
            assert!(
                csum_start as usize + usize::from(csum_offset) + 2 <= packet.len(),
                "the checksum is in the packet"
            );
        }
        if let Some(segmentation) = packet.offload.segmentation {
            assert!(segmentation.gso_size > 0 && segmentation.hdr_len as usize <= packet.len());
            let can_be = self.features & features::GUEST_TSO4 != 0 && segmentation.kind != SegmentationKind::UdpL4;
            assert!(can_be, "{segmentation:?} was not negotiated");
        }
        for buffer in packet.buffers() {
            assert!(self.frames.address(buffer.as_ptr(), buffer.len()).is_some(), "it lies in the frames");
        }
    }

    /// No two packets have a byte in common, and each is what it was.
    fn check_kept(&self, is_honest: bool) {
        let buffers = self.kept.iter().flat_map(|(packet, _)| packet.buffers());
        let mut places: Vec<_> = buffers.map(|buffer| (buffer.as_ptr().addr(), buffer.len())).collect();
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "a byte is handed out once");
        let is_as_it_was = |(packet, bytes): &(Packet, Vec<u8>)| packet.buffers().concat() == *bytes;
        assert!(!is_honest || self.kept.iter().all(is_as_it_was), "what was received stays as it was");
    }

    /// Sends something new, or what has come.
    fn send(&mut self, input: &mut Input<'_>) {
        if !self.is_sending {
            return;
        }
        let kind = input.next();
        let mut packet = match self.kept.pop_front() {
            Some((mut packet, _)) if kind & 1 == 0 => {
                packet.offload = Offload::default();
                packet
            }
            kept => {
                self.kept.extend(kept);
                let len = 1 + usize::from(input.next()) * 3;
                let bytes: Vec<u8> = (0_u8..=250).cycle().take(len).map(|byte| byte ^ kind).collect();
                Packet::from(Buffer::from(bytes))
            }
        };
        if kind & 2 != 0 {
            let behind = vec![kind; 1 + 4 * usize::from(input.next())];
            let _ = packet.push_back(Buffer::from(behind));
        }
        let mut bytes = vec![0; HEADER_BYTES];
        bytes.extend(packet.buffers().concat());
        match self.transmitter.send(&mut packet) {
            Ok(()) => {
                self.sent.push_back(bytes);
                self.in_flight += 1;
            }
            Err(why) => assert!(why == Unsent::Full && packet.buffers().concat() == bytes[HEADER_BYTES..], "{why}"),
        }
        assert_eq!(self.transmitter.in_flight(), self.in_flight);
        let _ = self.transmitter.publish();
    }

    fn reclaim(&mut self, device: &Device) {
        if !self.is_sending {
            return;
        }
        let is_honest = device.rings[1].is_honest;
        match self.transmitter.reclaim() {
            Ok(count) => {
                assert!(!is_honest || count == self.used, "{count} of {} came back", self.used);
                self.in_flight = self.in_flight.checked_sub(count).expect("no more come back than were sent");
                self.used = 0;
            }
            Err(error) => {
                assert!(!is_honest, "an honest device breaks nothing: {error}");
                assert_eq!(self.transmitter.reclaim(), Err(error), "it stays broken");
                self.is_sending = false;
            }
        }
    }

    /// Drops some of what was received.
    fn let_go(&mut self, input: &mut Input<'_>) {
        let count = usize::from(input.next()) % 8;
        self.kept.drain(..count.min(self.kept.len()));
        if self.is_receiving {
            self.receiver.fill();
            let _ = self.receiver.publish();
        }
    }
}

/// Everything ends, and every frame comes home or is told of.
fn finish(mut driver: Driver, mut device: Device, world: &World, is_dropped: bool) {
    let are_honest = device.rings.iter().all(|ring| ring.is_honest);
    if device.rings[0].is_honest {
        (0..4).for_each(|_| driver.receive(&mut device));
        let counters = driver.receiver.counters();
        device.expected.check(counters.malformed, counters.truncated);
    }
    if device.rings[1].is_honest {
        while driver.in_flight > 0 {
            let before = driver.in_flight;
            device.send(&mut driver, world, &mut Input(&[7]));
            driver.reclaim(&device);
            assert!(driver.in_flight < before, "what was sent comes back");
        }
    }
    driver.check_kept(are_honest);
    let Driver { receiver, transmitter, pool, kept, frames, .. } = driver;
    if is_dropped {
        drop((receiver, transmitter, kept));
        assert_eq!(pool.counters().in_use_frames, 0, "every frame comes home");
        return;
    }
    let mut places = Vec::new();
    receiver.retire(|start, len| places.push((start, len)));
    assert_eq!(places.len(), pool.counters().retired_frames, "each is told of that stays with the device");
    transmitter.retire(|start, len| places.push((start, len)));
    drop(kept);
    let counters = pool.counters();
    assert_eq!(counters.in_use_frames, counters.retired_frames, "the others come home");
    assert!(places.iter().all(|(start, len)| frames.address(*start, *len).is_some()), "they lie in the frames");
}
