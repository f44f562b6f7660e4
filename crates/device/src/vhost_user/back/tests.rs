use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::task::{Context, Waker};

use sunstar_executor::Instant;
use sunstar_packet::{Buffer, Checksum, Offload, Packet, Pool, PoolOptions, Segmentation, SegmentationKind};
use tempfile::TempDir;

use super::testing::{FEATURES, Front, RING, is_readable, wait};
use super::*;
use crate::queue::Readiness;
use crate::shared_memory::SharedMemory;
use crate::vhost_user::LARGE_FRAMES;
use crate::vhost_user::message::{Reply, Request, RingState};

/// A back end that front ends connect to.
fn back(queues: usize) -> (TempDir, VhostUserBack) {
    let folder = tempfile::tempdir().expect("a folder");
    let options = BackOptions { is_server: true, queues, ..BackOptions::new(folder.path().join("socket")) };
    let device = VhostUserBack::open(&options).expect("nothing is in the way");
    (folder, device)
}

fn pool() -> Rc<Pool> {
    let options = PoolOptions { frame_bytes: 2048, headroom_bytes: 64, limit_frames: 256 };
    Rc::new(Pool::new(options).expect("frames are small"))
}

fn attach(device: &mut VhostUserBack, index: usize) -> Box<dyn Queue> {
    device.take_queue(index).expect("it is there").attach(pool()).expect("frames suffice")
}

fn receive(queue: &mut dyn Queue) -> Vec<Vec<u8>> {
    let mut out = VecDeque::new();
    queue.rx_burst(Instant::ORIGIN, &mut out, 32).expect("the device is fine");
    out.iter().map(bytes_of).collect()
}

fn bytes_of(packet: &Packet) -> Vec<u8> {
    packet.buffers().iter().flat_map(|buffer| buffer.to_vec()).collect()
}

/// Sends packets; answers how many were left.
fn send(queue: &mut dyn Queue, packets: impl IntoIterator<Item = Packet>) -> usize {
    let mut packets = packets.into_iter().collect();
    queue.tx_burst(Instant::ORIGIN, &mut packets).expect("the device is fine");
    packets.len()
}

fn packet(bytes: &[u8]) -> Packet {
    Packet::from(Buffer::copy_from_slice(bytes))
}

/// Asks again and again, since the thread that speaks with the front end may be changing something.
fn until_asleep(queue: &mut dyn Queue) {
    assert!((0..1_000_000).any(|_| sleeps(queue)), "there is always something");
}

/// Whether the shard of the queue may sleep, and would.
fn sleeps(queue: &mut dyn Queue) -> bool {
    match queue.poll_ready(&mut Context::from_waker(Waker::noop())) {
        Readiness::Ready => false,
        Readiness::Descriptor { fd, readable: true, .. } => !is_readable(fd),
        other => panic!("{other:?}"),
    }
}

#[test]
fn packets_go_both_ways() {
    let kinds = [0, features::EVENT_IDX | features::IN_ORDER, features::RING_PACKED];
    for kind in kinds.map(|kind| kind | FEATURES) {
        let (folder, mut device) = back(1);
        let mut queue = attach(&mut device, 0);
        let mut front = Front::connect(&folder.path().join("socket"));
        front.begin(kind);
        let (mut receives, mut transmits) = (front.ring(0), front.ring(1));
        front.transmit(&mut transmits, 0, &Offload::default(), b"to the device");
        assert_eq!(receive(&mut *queue), [b"to the device"]);
        assert_eq!(transmits.used(), [0]);
        front.provide(&mut receives, 100, 16);
        front.provide(&mut receives, 200, 100);
        assert_eq!(send(&mut *queue, [packet(b"to the driver")]), 0);
        assert_eq!(receives.used(), [16, 9], "the rest of it is in the next buffer");
        assert_eq!([front.at(112, 4), front.at(200, 9)].concat(), b"to the driver");
        assert_eq!(send(&mut *queue, [packet(b"no room")]), 1);
        assert!(is_readable(&transmits.call) && is_readable(&receives.call));
        let counters = queue.counters();
        assert_eq!((counters.rx_packets, counters.tx_packets, counters.tx_full), (1, 1, 1));
        assert_eq!((counters.rx_bytes, counters.tx_bytes, counters.reconnects), (13, 13, 0));
    }
}

/// What is received lies in a frame of the queue's pool, and so was copied from the driver's memory to there and no further. What else was copied
/// than into the driver's memory would be counted beside that.
#[test]
fn each_packet_is_copied_once() {
    let (folder, mut device) = back(1);
    let memory = SharedMemory::new(4 << 20).expect("there is memory");
    let frames = PoolOptions { frame_bytes: 2048, headroom_bytes: 64, limit_frames: 256 };
    let pool = Rc::new(Pool::with_memory(memory.clone(), frames).expect("frames are small"));
    let mut queue = device.take_queue(0).expect("it is there").attach(Rc::clone(&pool)).expect("frames suffice");
    let mut front = Front::connect(&folder.path().join("socket"));
    front.begin(FEATURES);
    let (mut receives, mut transmits) = (front.ring(0), front.ring(1));
    front.transmit(&mut transmits, 0, &Offload::default(), b"to the device");
    let mut out = VecDeque::new();
    queue.rx_burst(Instant::ORIGIN, &mut out, 32).expect("the device is fine");
    assert_eq!((bytes_of(&out[0]), pool.counters().in_use_frames), (b"to the device".to_vec(), 1));
    assert!(out[0].buffers().iter().all(|buffer| memory.offset_of(buffer.as_ptr(), buffer.len()).is_some()));
    front.provide(&mut receives, 100, 100);
    let mut sent = packet(b"to the ");
    sent.push_back(Buffer::copy_from_slice(b"driver")).expect("there is room");
    assert_eq!(send(&mut *queue, [sent]), 0);
    assert_eq!(front.at(112, 13), b"to the driver");
    let counters = queue.counters();
    assert_eq!((counters.rx_copies, counters.rx_copied_bytes), (1, 13));
    assert_eq!((counters.tx_copies, counters.tx_copied_bytes), (1, 13));
}

/// What the shard of the queue would wait for.
fn descriptor(queue: &mut dyn Queue) -> OwnedFd {
    match queue.poll_ready(&mut Context::from_waker(Waker::noop())) {
        Readiness::Descriptor { fd, .. } => fd.try_clone_to_owned().expect("a descriptor"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_shard_sleeps_until_there_is_something() {
    let (folder, mut device) = back(1);
    let mut queue = attach(&mut device, 0);
    let events = descriptor(&mut *queue);
    assert!(!is_readable(&events));
    let mut front = Front::connect(&folder.path().join("socket"));
    front.begin(FEATURES | features::EVENT_IDX);
    let mut transmits = front.ring(1);
    assert!(is_readable(&events), "something has changed");
    assert!(sleeps(&mut *queue));
    assert!(front.transmit(&mut transmits, 0, &Offload::default(), b"1"), "it wants to be told");
    assert!(!sleeps(&mut *queue), "it is there, told or not");
    assert_eq!(receive(&mut *queue).len(), 1);
    assert!(!front.transmit(&mut transmits, 0, &Offload::default(), b"2"), "it is awake");
    assert_eq!(receive(&mut *queue).len(), 1);
    assert!(sleeps(&mut *queue));
    transmits.kick();
    assert!(is_readable(&events));
    assert!(sleeps(&mut *queue), "a bell is heard once, though nobody reads it");
}

#[test]
fn who_waits_for_room_is_told_when_there_is_more_than_before() {
    for kind in [features::EVENT_IDX, features::RING_PACKED | features::EVENT_IDX] {
        let (folder, mut device) = back(1);
        let mut queue = attach(&mut device, 0);
        let mut front = Front::connect(&folder.path().join("socket"));
        front.begin(FEATURES | kind);
        let mut receives = front.ring(0);
        front.provide(&mut receives, 0, 20);
        assert_eq!(send(&mut *queue, [packet(&[7; 100])]), 1);
        until_asleep(&mut *queue);
        assert!(front.provide(&mut receives, 100, 92), "it wants to be told");
        assert!(!sleeps(&mut *queue));
        assert_eq!(send(&mut *queue, [packet(&[7; 100])]), 0);
        assert_eq!(receives.used(), [20, 92]);
    }
}

#[test]
fn nobody_waits_for_room_with_nothing_to_send() {
    let (folder, mut device) = back(1);
    let mut queue = attach(&mut device, 0);
    let mut front = Front::connect(&folder.path().join("socket"));
    front.begin(FEATURES);
    let mut receives = front.ring(0);
    assert_eq!(send(&mut *queue, [packet(b"given up then")]), 1);
    front.provide(&mut receives, 0, 100);
    assert_eq!(send(&mut *queue, []), 0);
    let _ = sleeps(&mut *queue);
    assert!(sleeps(&mut *queue), "room is of no use");
}

#[test]
fn without_a_front_end_packets_are_dropped_and_the_next_one_is_served() {
    let (folder, mut device) = back(1);
    let mut queue = attach(&mut device, 0);
    assert_eq!(send(&mut *queue, [packet(b"1"), packet(b"2")]), 0);
    assert_eq!(queue.counters().tx_dropped, 2);
    for round in 0..3 {
        let mut front = Front::connect(&folder.path().join("socket"));
        assert!(matches!(front.ask(&Request::GetFeatures), Reply::Value(_)), "so the one before is gone");
        assert_eq!(send(&mut *queue, [packet(b"3")]), 0);
        assert_eq!(queue.counters().tx_dropped, 3 + round);
        front.begin(FEATURES);
        let (mut receives, mut transmits) = (front.ring(0), front.ring(1));
        front.provide(&mut receives, 0, 100);
        front.transmit(&mut transmits, 200, &Offload::default(), b"here");
        assert_eq!(send(&mut *queue, [packet(b"there")]), 0);
        assert_eq!(receive(&mut *queue), [b"here"]);
        assert_eq!(receives.used(), [17]);
        assert_eq!(queue.counters().reconnects, round);
    }
}

#[test]
fn a_ring_that_was_stopped_goes_on_where_it_was() {
    for kind in [FEATURES, FEATURES | features::RING_PACKED] {
        let (folder, mut device) = back(1);
        let mut queue = attach(&mut device, 0);
        let mut front = Front::connect(&folder.path().join("socket"));
        front.begin(kind);
        let mut transmits = front.ring(1);
        for text in [b"1", b"2", b"3"] {
            front.transmit(&mut transmits, 0, &Offload::default(), text);
            assert_eq!(receive(&mut *queue), [text]);
        }
        front.transmit(&mut transmits, 0, &Offload::default(), b"4");
        let Reply::Ring(RingState { index: 1, value }) = front.ask(&Request::GetVringBase { index: 1 }) else {
            panic!("a place")
        };
        let packed = 0x8003 << 16 | 0x8003;
        assert_eq!(value, if kind & features::RING_PACKED == 0 { 3 } else { packed });
        assert_eq!(receive(&mut *queue), [[]; 0], "it is not worked on");
        let again = front.ask(&Request::GetVringBase { index: 1 });
        assert_eq!(again, Reply::Ring(RingState { index: 1, value }), "it stays there");
        front.start(1, &transmits, value);
        assert_eq!(receive(&mut *queue), [b"4"]);
        assert_eq!(transmits.used(), [0; 4]);
    }
}

#[test]
fn a_disabled_ring_takes_and_gives_nothing() {
    let (folder, mut device) = back(1);
    let mut queue = attach(&mut device, 0);
    let mut front = Front::connect(&folder.path().join("socket"));
    front.begin(FEATURES);
    let (mut receives, mut transmits) = (front.ring(0), front.ring(1));
    front.provide(&mut receives, 0, 100);
    for index in [0, 1] {
        assert!(!front.is_refused(&Request::SetVringEnable(RingState { index, value: 0 }), &[]));
    }
    front.transmit(&mut transmits, 200, &Offload::default(), b"into nothing");
    assert_eq!(receive(&mut *queue), [[]; 0]);
    assert_eq!(transmits.used(), [0], "it is given back");
    assert_eq!(send(&mut *queue, [packet(b"nobody gets it")]), 0);
    assert_eq!((receives.used(), queue.counters().tx_dropped), (vec![], 1));
    assert!(!front.is_refused(&Request::SetVringEnable(RingState { index: 0, value: 1 }), &[]));
    assert_eq!(send(&mut *queue, [packet(b"12345")]), 0);
    assert_eq!(receives.used(), [17]);
}

#[test]
fn memory_is_replaced_under_rings_that_go_on() {
    let (folder, mut device) = back(1);
    let mut queue = attach(&mut device, 0);
    let mut front = Front::connect(&folder.path().join("socket"));
    front.begin(FEATURES);
    let mut transmits = front.ring(1);
    front.transmit(&mut transmits, 0, &Offload::default(), b"before");
    assert_eq!(receive(&mut *queue), [b"before"]);
    front.share();
    front.transmit(&mut transmits, 0, &Offload::default(), b"behind");
    assert_eq!(receive(&mut *queue), [b"behind"]);
    assert_eq!(transmits.used(), [0, 0]);
}

#[test]
fn what_a_driver_does_not_take_is_cut_and_completed() {
    let (folder, mut device) = back(1);
    let mut queue = attach(&mut device, 0);
    let mut front = Front::connect(&folder.path().join("socket"));
    front.begin(FEATURES & !(features::GUEST_CSUM | features::CSUM));
    let mut receives = front.ring(0);
    for at in 0..4 {
        front.provide(&mut receives, at * 200, 200);
    }
    let mut headers = vec![0; 14];
    headers[12..].copy_from_slice(&[8, 0]);
    headers.extend([0x45, 0, 0, 240, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    headers.extend([0, 80, 0, 81, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
    let mut large = packet(&[headers.clone(), vec![9; 200]].concat());
    large.offload.checksum = Checksum::Partial { csum_start: 34, csum_offset: 16 };
    let kind = SegmentationKind::Tcpv4;
    large.offload.segmentation = Some(Segmentation { kind, has_ecn: false, gso_size: 120, hdr_len: 54 });
    assert_eq!(send(&mut *queue, [packet(b"small"), large, packet(b"small")]), 0);
    assert_eq!(receives.used(), [17, 12 + 54 + 120, 12 + 54 + 80, 17]);
    for (at, len) in [(200, 120), (400, 80)] {
        assert_eq!(front.at(at, 2), [0, 0], "nothing is left to do");
        let bytes = front.at(at + 12, 54 + len);
        let pseudo = [&bytes[26..34], &[0, 6][..], &u16::try_from(20 + len).expect("small").to_be_bytes()].concat();
        let sum = sunstar_wire::checksum::Sum::of_chain([&pseudo[..], &bytes[34..]]);
        assert_eq!(sum.checksum(), 0, "the checksum is right");
    }
    assert_eq!(queue.counters().tx_packets, 4);
}

#[test]
fn a_burst_that_needs_much_work_is_done_in_several() {
    let (folder, mut device) = back(1);
    let mut queue = attach(&mut device, 0);
    let mut front = Front::connect(&folder.path().join("socket"));
    front.begin(FEATURES & !(features::GUEST_CSUM | features::CSUM));
    let mut receives = front.ring(0);
    for at in 0..40 {
        front.provide(&mut receives, at * 200, 200);
    }
    let mut headers = vec![0; 54];
    (headers[12], headers[14], headers[23], headers[46]) = (8, 0x45, 6, 0x50);
    let mut packets = VecDeque::new();
    for _ in 0..20 {
        let mut packet = packet(&headers);
        packet.offload.checksum = Checksum::Partial { csum_start: 34, csum_offset: 16 };
        packets.push_back(packet);
    }
    let mut bursts = 0;
    while !packets.is_empty() || queue.counters().tx_packets < 20 {
        queue.tx_burst(Instant::ORIGIN, &mut packets).expect("the device is fine");
        assert!(packets.is_empty() || !sleeps(&mut *queue), "it goes on by itself");
        bursts += 1;
        assert!(bursts < 20);
    }
    assert!(bursts > 1 && receives.used().len() == 20, "{bursts}");
}

#[test]
fn packets_before_a_ring_broke_are_seen_and_counted() {
    let (folder, mut device) = back(1);
    let mut queue = attach(&mut device, 0);
    let mut front = Front::connect(&folder.path().join("socket"));
    front.begin(FEATURES);
    let mut receives = front.ring(0);
    front.provide(&mut receives, 0, 100);
    front.provide(&mut receives, 100, 100);
    // The second chain begins at a descriptor that the ring does not have.
    front.memory.write(0x400 + 6, &[77, 0]);
    send(&mut *queue, [packet(b"put in"), packet(b"not put in")]);
    let counters = queue.counters();
    assert_eq!((counters.tx_packets, counters.peer_errors), (1, 1));
    assert_eq!(receives.used().len(), 1);
}

#[test]
fn a_broken_ring_is_told_and_the_rest_goes_on() {
    let (folder, mut device) = back(2);
    let mut queues = [attach(&mut device, 0), attach(&mut device, 1)];
    let mut front = Front::connect(&folder.path().join("socket"));
    front.begin(FEATURES);
    let (mut bad, mut good) = (front.ring(1), front.ring(3));
    front.transmit(&mut bad, 0, &Offload::default(), b"fine");
    // More than the ring holds.
    front.memory.write(RING + 0x400 + 2, &[77, 0]);
    front.transmit(&mut good, 100, &Offload::default(), b"fine too");
    assert_eq!(receive(&mut *queues[0]), [[]; 0]);
    assert!(is_readable(&bad.err));
    assert_eq!(queues[0].counters().peer_errors, 1);
    assert_eq!(receive(&mut *queues[1]), [b"fine too"]);
    front.memory.write(RING + 0x400 + 2, &[1, 0]);
    assert_eq!(receive(&mut *queues[0]), [[]; 0], "it stays so");
    front.ask(&Request::GetVringBase { index: 1 });
    front.start(1, &bad, 0);
    assert_eq!(receive(&mut *queues[0]), [b"fine"]);
}

#[test]
fn what_came_before_a_ring_broke_is_received_and_counted() {
    let (folder, mut device) = back(1);
    let mut queue = attach(&mut device, 0);
    let mut front = Front::connect(&folder.path().join("socket"));
    front.begin(FEATURES);
    let mut transmits = front.ring(1);
    front.transmit(&mut transmits, 0, &Offload::default(), b"fine");
    front.transmit(&mut transmits, 100, &Offload::default(), b"never");
    // The second chain begins at a descriptor that the ring does not have.
    front.memory.write(RING + 0x400 + 6, &[77, 0]);
    let mut out = VecDeque::from([packet(b"of another queue")]);
    assert_eq!(queue.rx_burst(Instant::ORIGIN, &mut out, 32).expect("the device is fine"), 1);
    assert_eq!(out.iter().map(bytes_of).collect::<Vec<_>>(), [&b"of another queue"[..], b"fine"]);
    assert_eq!(receive(&mut *queue), [[]; 0]);
    let counters = queue.counters();
    assert_eq!((counters.rx_packets, counters.rx_bytes, counters.peer_errors), (1, 4, 1));
}

#[test]
fn who_was_kept_out_of_its_rings_looks_again_before_it_sleeps() {
    let (folder, mut device) = back(1);
    let mut queue = attach(&mut device, 0);
    let mut front = Front::connect(&folder.path().join("socket"));
    front.begin(FEATURES);
    let mut receives = front.ring(0);
    front.provide(&mut receives, 0, 100);
    until_asleep(&mut *queue);
    let port = Arc::clone(&device.ports[0]);
    // As while the thread changes something.
    port.work(|_| assert_eq!(send(&mut *queue, [packet(b"it waits")]), 1)).expect("nobody else is there");
    assert!(!sleeps(&mut *queue), "something may wait");
    assert!(sleeps(&mut *queue));
    let mut none = VecDeque::new();
    let received = port.work(|_| queue.rx_burst(Instant::ORIGIN, &mut none, 32)).expect("nobody else is there");
    assert_eq!(received.expect("the device is fine"), 0);
    assert!(!sleeps(&mut *queue), "something may have come");
    assert!(sleeps(&mut *queue));
}

#[test]
fn a_front_end_that_talks_nonsense_is_sent_away_and_the_next_one_is_served() {
    let (folder, mut device) = back(1);
    let queue = attach(&mut device, 0);
    for (count, nonsense) in
        [&[1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0][..], &[99, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]].into_iter().enumerate()
    {
        let mut front = Front::connect(&folder.path().join("socket"));
        assert!(matches!(front.ask(&Request::GetQueueNum), Reply::Value(1)));
        front.channel.send(nonsense, &[]).expect("it goes");
        assert!(front.channel.receive().is_err(), "the connection is closed");
        assert_eq!(queue.counters().peer_errors, count as u64 + 1);
    }
    let mut front = Front::connect(&folder.path().join("socket"));
    front.begin(FEATURES);
}

#[test]
fn a_back_end_looks_for_its_front_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let mut device = VhostUserBack::open(&BackOptions::new(&path)).expect("nobody needs to be there");
    let mut queue = attach(&mut device, 0);
    for round in 0..2 {
        let listener = UnixListener::bind(&path).expect("nothing is in the way");
        let mut front = Front::new(listener.accept().expect("it comes").0);
        front.begin(FEATURES);
        let mut transmits = front.ring(1);
        front.transmit(&mut transmits, 0, &Offload::default(), b"found");
        assert_eq!(receive(&mut *queue), [b"found"]);
        assert_eq!(queue.counters().reconnects, round);
        std::fs::remove_file(&path).expect("it is there");
    }
}

#[test]
fn the_device_lives_as_long_as_its_queues() {
    let (folder, mut device) = back(2);
    let path = folder.path().join("socket");
    let queues = [attach(&mut device, 0), attach(&mut device, 1)];
    assert!(matches!(device.take_queue(1), Err(TakeError::Taken { index: 1 })));
    assert!(matches!(device.take_queue(2), Err(TakeError::NoSuchQueue { index: 2, queues: 2 })));
    assert_eq!(device.capabilities().queues, 2);
    drop(device);
    let mut front = Front::connect(&path);
    assert!(matches!(front.ask(&Request::GetQueueNum), Reply::Value(2)));
    drop(queues);
    assert!(front.channel.receive().is_err(), "it is closed");
    assert!(!path.exists());
}

#[test]
fn a_queue_without_frames_waits_and_loses_nothing() {
    let (folder, mut device) = back(1);
    let pool = Rc::new(
        Pool::new(PoolOptions { frame_bytes: 2048, headroom_bytes: 0, limit_frames: 1 }).expect("one is little"),
    );
    let mut queue = device.take_queue(0).expect("it is there").attach(Rc::clone(&pool)).expect("there is one");
    let mut front = Front::connect(&folder.path().join("socket"));
    front.begin(FEATURES);
    let mut transmits = front.ring(1);
    let mut out = VecDeque::new();
    for held in 0..1 + LARGE_FRAMES {
        assert_eq!(queue.is_short_of_large_frames(), held > 1 + LARGE_FRAMES / 2, "more than half are held");
        front.transmit(&mut transmits, 0, &Offload::default(), b"1");
        queue.rx_burst(Instant::ORIGIN, &mut out, 32).expect("the device is fine");
        assert_eq!((out.len(), transmits.used()), (held + 1, vec![0]), "frames for long packets serve, too");
    }
    front.transmit(&mut transmits, 100, &Offload::default(), b"2");
    queue.rx_burst(Instant::ORIGIN, &mut out, 32).expect("the device is fine");
    assert_eq!((out.len(), queue.counters().rx_no_frames), (1 + LARGE_FRAMES, 1));
    assert!(queue.deadline().is_some());
    let _ = sleeps(&mut *queue);
    assert!(sleeps(&mut *queue), "what is there does not keep it awake");
    out.clear();
    queue.rx_burst(Instant::ORIGIN, &mut out, 32).expect("the device is fine");
    assert_eq!(bytes_of(&out[0]), b"2");
    assert_eq!(queue.deadline(), None);
}

#[test]
fn options_are_read() {
    let options: BackOptions =
        "/run/vm,back,server,queues=4,mtu=9000,mac=02:00:00:00:00:09,offload=off".parse().expect("they are right");
    let expected = BackOptions {
        is_server: true,
        queues: 4,
        mtu_bytes: 9000,
        mac: Some(MacAddr([2, 0, 0, 0, 0, 9])),
        offloads: Offloads::NONE,
        ..BackOptions::new("/run/vm")
    };
    assert_eq!(options, expected);
    let error = |text: &str| text.parse::<BackOptions>().expect_err("it is wrong").to_string();
    assert_eq!(error(",back"), "a vhost-user device needs the path of a socket: vhost-user:PATH");
    assert_eq!(error("x,queues=0"), "0 queues: a vhost-user device has 1 to 128");
    assert_eq!(error("x,queues=129"), "129 queues: a vhost-user device has 1 to 128");
    assert_eq!(error("x,mtu=67"), "an MTU of 67 bytes: it is from 68 to 65,535");
    for option in ["clinet", "mac=1", "mac=01:00:00:00:00:00", "offload=maybe", ""] {
        assert!(error(&format!("x,{option}")).starts_with(&format!("{option:?} is no option of the back end")));
    }
    assert!(error("x,clinet").starts_with("\"clinet\" is no option of the back end"));
    assert!(error(&"x".repeat(108)).ends_with("is no path of a socket: it may have 107 bytes"));
}

#[test]
fn what_frames_can_not_hold_is_refused() {
    let (_folder, mut device) = back(1);
    let small = Pool::new(PoolOptions { frame_bytes: 256, headroom_bytes: 0, limit_frames: 8 }).expect("small");
    let error = device.take_queue(0).expect("it is there").attach(Rc::new(small));
    assert!(matches!(error.map(|_| ()), Err(crate::AttachError::FramesTooSmall { .. })));
}

#[test]
fn the_driver_is_told_once_for_a_burst() {
    let (folder, mut device) = back(1);
    let mut queue = attach(&mut device, 0);
    let mut front = Front::connect(&folder.path().join("socket"));
    front.begin(FEATURES);
    let (mut receives, mut transmits) = (front.ring(0), front.ring(1));
    for at in 0..10 {
        front.transmit(&mut transmits, at * 100, &Offload::default(), b"burst");
        front.provide(&mut receives, at * 100 + 50, 50);
    }
    assert_eq!(receive(&mut *queue).len(), 10);
    assert_eq!(send(&mut *queue, (0..10).map(|_| packet(b"burst"))), 0);
    for ring in [&mut receives, &mut transmits] {
        let mut count = [0; 8];
        wait(&ring.call);
        rustix::io::read(&ring.call, &mut count).expect("it is readable");
        assert_eq!(u64::from_ne_bytes(count), 1);
        ring.driver.disable_notifications();
        assert_eq!(ring.used().len(), 10);
    }
    front.transmit(&mut transmits, 0, &Offload::default(), b"untold");
    assert_eq!(receive(&mut *queue).len(), 1);
    assert!(!is_readable(&transmits.call), "nobody wants to be told");
}
