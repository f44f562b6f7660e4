//! The gates of the device's side of virtio: `sunstar-gates-virtio NAME`, or `--list`.

use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::Arc;

use sunstar_bench_common::gates::{self, GateOnce, OPERATIONS, WorkOnce};
use sunstar_device::SharedMemory;
use sunstar_packet::{Packet, Pool, PoolOptions};
use sunstar_virtio::net::device::{DeviceRing, ReceiveRing, TransmitRing};
use sunstar_virtio::net::{HEADER_BYTES, features};
use sunstar_virtio::{
    DeviceQueue, DriverQueue, MAX_QUEUE_SIZE, MappedRange, Memory, MemoryMap, QueueOptions, Segment, packed, split,
};

const GATES: [GateOnce; 2] = [("virtio_forward", || forward(false)), ("virtio_forward_packed", || forward(true))];

/// Packets at a time.
const BURST: usize = 32;
/// Forwarded before it is counted.
const WARM_UP: u32 = 4_096;
const PACKET_BYTES: usize = 64;
/// Where the driver's packets lie for the device, each in a place of its own until they begin anew.
const DATA: u64 = 0x10_0000;
const PLACES: u32 = 256;
const PLACE_BYTES: u32 = 2_048;
const FEATURES: u64 = features::VERSION_1 | features::MRG_RXBUF | features::IN_ORDER;

fn main() -> ExitCode {
    gates::main_once(&GATES, &[])
}

/// Forwards packets of 64 bytes from the ring by which one driver transmits to that by which another one receives: out of the memory of the
/// one, and into that of the other.
fn forward(is_packed: bool) -> WorkOnce {
    let memory = SharedMemory::new(16 << 20).expect("there is memory for it");
    let (mut from, from_ring) = ring(&memory, is_packed);
    let (mut to, to_ring) = ring(&memory, is_packed);
    let sent = u32::try_from(HEADER_BYTES + PACKET_BYTES).expect("it is short");
    for place in 0..OPERATIONS + WARM_UP {
        let address = DATA + u64::from(place % PLACES * PLACE_BYTES);
        from.add(&[Segment { address, len: sent }], &[]).expect("the ring has room");
        to.add(&[], &[Segment { address, len: PLACE_BYTES }]).expect("the ring has room");
    }
    let _ = (from.publish(), to.publish());
    let mut transmit = TransmitRing::new(from_ring);
    let mut receive = ReceiveRing::new(to_ring);
    let pool = PoolOptions { frame_bytes: 2_048, headroom_bytes: 128, limit_frames: 1_024 };
    let pool = Pool::new(pool).expect("the frames are small");
    let mut packets = VecDeque::new();
    turn(&mut transmit, &mut receive, &pool, &mut packets, WARM_UP);
    Box::new(move || turn(&mut transmit, &mut receive, &pool, &mut packets, OPERATIONS))
}

fn turn(from: &mut TransmitRing, to: &mut ReceiveRing, pool: &Pool, packets: &mut VecDeque<Packet>, count: u32) {
    let mut left = count as usize;
    while left > 0 {
        let took = from.take(pool, None, 1_514, left.min(BURST), packets).expect("the driver keeps the rules");
        let put = to.put(packets).expect("the driver keeps the rules");
        assert!(took.packets > 0 && took.packets == put.packets, "every packet is forwarded");
        left -= put.packets;
    }
}

/// A ring as large as there are, and its driver.
fn ring(memory: &Arc<SharedMemory>, is_packed: bool) -> (DriverQueue, DeviceRing) {
    let options = QueueOptions { size: MAX_QUEUE_SIZE, is_in_order: true, ..QueueOptions::default() };
    let area = |bytes| memory.area(bytes).expect("there is room");
    let (driver, device) = if is_packed {
        let [descriptors, driver_events, device_events] = packed::area_bytes(MAX_QUEUE_SIZE).map(area);
        let areas = packed::Areas { descriptors, driver_events, device_events };
        let driver = packed::Driver::new(&areas, options, None).expect("the areas fit");
        let device = packed::Device::new(&areas, options, packed::NEW).expect("the areas fit");
        (DriverQueue::Packed(driver), DeviceQueue::Packed(device))
    } else {
        let [descriptors, available, used] = split::area_bytes(MAX_QUEUE_SIZE).map(area);
        let areas = split::Areas { descriptors, available, used };
        let driver = split::Driver::new(&areas, options, None).expect("the areas fit");
        let device = split::Device::new(&areas, options, 0).expect("the areas fit");
        (DriverQueue::Split(driver), DeviceQueue::Split(device))
    };
    let data: Memory = area((PLACES * PLACE_BYTES) as usize);
    let map = MemoryMap::new(vec![MappedRange { address: DATA, memory: data }]).expect("it is one range");
    (driver, DeviceRing::new(device, Arc::new(map), FEATURES))
}
