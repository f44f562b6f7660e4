//! What all of these tests have in common: packets, and what a shard does with a queue.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant as Clock};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sunstar_device::{Device, FrontError, FrontOptions, Queue, Readiness, SharedMemory, VhostUserFront};
use sunstar_executor::Instant;
use sunstar_packet::{Buffer, Checksum, Offload, Packet, Pool, PoolOptions, Segmentation, SegmentationKind};

pub(crate) const NOW: Instant = Instant::ORIGIN;

/// What takes longer never comes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Tries again and again, until there is an outcome.
///
/// # Panics
/// If there is none for a minute: `what` is missing then.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Clock::now() + PATIENCE;
    loop {
        if let Some(outcome) = attempt() {
            return outcome;
        }
        assert!(Clock::now() < deadline, "not within a minute: {what}");
    }
}

/// The driver's side.
pub(crate) struct Host {
    pub(crate) front: VhostUserFront,
    pub(crate) queues: Vec<Box<dyn Queue>>,
    pub(crate) pool: Rc<Pool>,
}

impl Host {
    /// Opens the device as soon as there is somebody.
    pub(crate) fn open(options: &FrontOptions) -> Self {
        let memory = SharedMemory::new(64 << 20).unwrap();
        let mut rounds = 0;
        let mut front = loop {
            rounds += 1;
            match VhostUserFront::open(options, Arc::clone(&memory)) {
                Ok(front) => break front,
                Err(FrontError::NoSocket { .. } | FrontError::Stale { .. }) if rounds < 1_200 => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(error) => panic!("{error}"),
            }
        };
        let frames = PoolOptions { frame_bytes: 2_048, headroom_bytes: 64, limit_frames: 4_000 };
        let pool = Rc::new(Pool::with_memory(memory, frames).unwrap());
        let queues =
            (0..options.queues).map(|index| front.take_queue(index).unwrap().attach(Rc::clone(&pool)).unwrap());
        let queues = queues.collect();
        Self { front, queues, pool }
    }
}

/// Waits until the queue wants to be called, as a shard does.
pub(crate) fn wait(queue: &mut dyn Queue) {
    if queue.deadline().is_some() {
        return;
    }
    if let Readiness::Descriptor { fd, readable, writable } = queue.poll_ready(&mut Context::from_waker(Waker::noop()))
    {
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, readable);
        events.set(PollFlags::OUT, writable);
        let patience = Timespec { tv_sec: 60, tv_nsec: 0 };
        let count = poll(&mut [PollFd::from_borrowed_fd(fd, events)], Some(&patience));
        assert_eq!(count, Ok(1), "nothing has happened for a minute");
    }
}

pub(crate) fn send(queue: &mut dyn Queue, packet: Packet) {
    let mut packets = VecDeque::from([packet]);
    queue.tx_burst(NOW, &mut packets).unwrap();
    assert!(packets.is_empty());
}

pub(crate) fn receive(queue: &mut dyn Queue) -> Packet {
    let mut packets = VecDeque::new();
    until("a packet arrives", || {
        queue.rx_burst(NOW, &mut packets, 1).unwrap();
        let packet = packets.pop_front();
        if packet.is_none() {
            wait(queue);
        }
        packet
    })
}

/// A packet of TCP over IPv4, as far as anybody looks at it, in several buffers.
pub(crate) fn packet(number: usize, payload_bytes: usize) -> Packet {
    let mut head = vec![0; 54];
    (head[12], head[14], head[46]) = (8, 0x45, 0x50);
    head[16..18].copy_from_slice(&u16::try_from(payload_bytes + 40).unwrap().to_be_bytes());
    head[23] = 6;
    let payload: Vec<u8> = (0..payload_bytes).map(|place| u8::try_from((number + place) % 251).unwrap()).collect();
    let mut packet = Packet::from(Buffer::from(head));
    for part in payload.chunks(4_000) {
        packet.push_back(Buffer::copy_from_slice(part)).unwrap();
    }
    if payload_bytes > 1_460 {
        packet.offload = Offload {
            checksum: Checksum::Partial { csum_start: 34, csum_offset: 16 },
            segmentation: Some(Segmentation {
                kind: SegmentationKind::Tcpv4,
                has_ecn: false,
                gso_size: 1_460,
                hdr_len: 54,
            }),
            ..Offload::default()
        };
    }
    packet
}

/// The same bytes, in the same memory.
pub(crate) fn copy(packet: &Packet) -> Packet {
    let mut copy = Packet::new();
    for buffer in packet.buffers() {
        copy.push_back(buffer.clone()).unwrap();
    }
    copy
}

pub(crate) fn bytes(packet: &Packet) -> Vec<u8> {
    let mut bytes = vec![0; packet.len()];
    packet.copy_to_slice(0, &mut bytes).unwrap();
    bytes
}

/// A frame of so many bytes of an EtherType that nobody knows.
pub(crate) fn frame(number: usize, len: usize) -> Vec<u8> {
    let mut frame = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]].concat();
    frame.extend([0x88, 0xb5]);
    frame.extend((0..len - 14).map(|place| u8::try_from((number + place) % 251).unwrap()));
    frame
}

pub(crate) fn swapped(frame: &[u8]) -> Vec<u8> {
    [&frame[6..12], &frame[..6], &frame[12..]].concat()
}

/// Receives all that is on its way between two sides, of whom nobody sends.
pub(crate) fn empty(front: &mut dyn Queue, back: &mut dyn Queue) {
    let mut left = VecDeque::new();
    until("nothing comes any more", || {
        let count = back.rx_burst(NOW, &mut left, 64).unwrap() + front.rx_burst(NOW, &mut left, 64).unwrap();
        (count == 0).then_some(())
    });
}
