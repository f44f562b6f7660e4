//! Several pairs of queues between a front end and a back end of this repository, and packets that lie in many buffers.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sunstar_device::{
    BackOptions, Device, FrontOptions, Queue, Readiness, Ring, SharedMemory, VhostUserBack, VhostUserFront,
};
use sunstar_packet::{Buffer, Checksum, Packet, Pool, PoolOptions, Segmentation, SegmentationKind};

use crate::support::{NOW, bytes, frame};

type Queues = Vec<Box<dyn Queue>>;

const FRAMES: PoolOptions = PoolOptions { frame_bytes: 2_048, headroom_bytes: 64, limit_frames: 2_000 };

fn back(options: &BackOptions) -> Queues {
    let mut device = VhostUserBack::open(options).unwrap();
    let pool = Rc::new(Pool::new(FRAMES).unwrap());
    (0..options.queues).map(|index| device.take_queue(index).unwrap().attach(Rc::clone(&pool)).unwrap()).collect()
}

fn front(options: &FrontOptions) -> Queues {
    let memory = SharedMemory::new(16 << 20).unwrap();
    let mut device = VhostUserFront::open(options, Arc::clone(&memory)).unwrap();
    let pool = Rc::new(Pool::with_memory(memory, FRAMES).unwrap());
    (0..options.queues).map(|index| device.take_queue(index).unwrap().attach(Rc::clone(&pool)).unwrap()).collect()
}

/// Sends a packet by one of the queues, and has the other side take it, by whichever queue.
fn pass(from: &mut Queues, to: &mut Queues, queue: usize, packet: Packet) -> Packet {
    let mut packets = VecDeque::from([packet]);
    let mut arrived = VecDeque::new();
    for _ in 0..10_000 {
        from[queue].tx_burst(NOW, &mut packets).unwrap();
        for queue in to.iter_mut() {
            queue.rx_burst(NOW, &mut arrived, 32).unwrap();
        }
        // Who has sent gets back what it has lent.
        from[queue].rx_burst(NOW, &mut VecDeque::new(), 32).unwrap();
        if let Some(packet) = arrived.pop_front() {
            assert!(arrived.is_empty() && packets.is_empty());
            return packet;
        }
        for queue in to.iter_mut() {
            sleep(&mut **queue);
        }
    }
    panic!("nothing arrives");
}

/// Sleeps as a shard does, for a moment at most.
fn sleep(queue: &mut dyn Queue) {
    if let Readiness::Descriptor { fd, .. } = queue.poll_ready(&mut Context::from_waker(Waker::noop())) {
        let tick = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
        poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&tick)).unwrap();
    }
}

/// Waits until the front end's rings are at work.
fn meet(front: &mut Queues, back: &mut Queues) {
    for _ in 0..10_000 {
        let mut packets = VecDeque::from([Packet::from(Buffer::from(frame(0, 60)))]);
        front[0].tx_burst(NOW, &mut packets).unwrap();
        let mut arrived = VecDeque::new();
        for _ in 0..3 {
            back[0].rx_burst(NOW, &mut arrived, 32).unwrap();
            sleep(&mut *back[0]);
        }
        if !arrived.is_empty() {
            for queue in back.iter_mut() {
                queue.rx_burst(NOW, &mut arrived, 256).unwrap();
            }
            return;
        }
        front[0].rx_burst(NOW, &mut VecDeque::new(), 32).unwrap();
    }
    panic!("they don't meet");
}

/// A large packet of TCP, of which the receiver gets all.
fn large() -> Packet {
    let mut headers = vec![0; 14];
    headers[12] = 8;
    headers.extend([0x45, 0, 0xea, 0x88, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    headers.extend([0, 80, 0, 81, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
    let mut packet = Packet::from(Buffer::from(headers));
    for number in 0..40 {
        packet.push_back(Buffer::from(frame(number, 1_500))).unwrap();
    }
    packet.offload.checksum = Checksum::Partial { csum_start: 34, csum_offset: 16 };
    let kind = SegmentationKind::Tcpv4;
    packet.offload.segmentation = Some(Segmentation { kind, has_ecn: false, gso_size: 1_448, hdr_len: 54 });
    packet
}

#[test]
fn all_sizes_go_both_ways_by_each_queue() {
    for (ring, queues) in [(Ring::Split, 2), (Ring::Packed, 3)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let mut back = back(&BackOptions { is_server: true, queues, ..BackOptions::new(&path) });
        let mut front = front(&FrontOptions { ring, queues, ..FrontOptions::new(&path) });
        meet(&mut front, &mut back);
        for (number, len) in (0..600).zip([60, 1_514, 61, 300, 1_000].into_iter().cycle()) {
            let frame = frame(number, len);
            let packet = || Packet::from(Buffer::copy_from_slice(&frame));
            let queue = number % queues;
            assert!(bytes(&pass(&mut front, &mut back, queue, packet())) == frame, "{number}");
            assert!(bytes(&pass(&mut back, &mut front, queue, packet())) == frame, "{number}");
        }
        for _ in 0..20 {
            let whole = bytes(&large());
            let offload = large().offload;
            let there = pass(&mut front, &mut back, 0, large());
            assert!(bytes(&there) == whole && there.offload == offload);
            let here = pass(&mut back, &mut front, 0, large());
            assert!(bytes(&here) == whole && here.offload == offload);
        }
        for queue in back.iter().chain(&front) {
            let of = queue.counters();
            let wrong = of.rx_malformed + of.rx_truncated + of.tx_refused + of.tx_dropped + of.peer_errors;
            assert_eq!((wrong, of.reconnects), (0, 0), "{of:?}");
        }
    }
}
