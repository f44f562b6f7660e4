mod driven;

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;
use sunstar_packet::{Buffer, Packet, Pool, PoolOptions, Segmentation, SegmentationKind};

use super::*;
use crate::net::header::{HEADER_BYTES, encode, num_buffers};
use crate::net::{LARGE_FRAME_BYTES, LARGE_FROM_BYTES};
use crate::queue::{DriverQueue, QueueOptions, Segment};
use crate::testing::{DATA, Pair, pair};
use alloc::collections::VecDeque;

/// One ring, and both who drives it and who works on it.
struct Net {
    driver: DriverQueue,
    areas: [crate::Memory; 3],
    data: crate::Memory,
    ring: Option<DeviceRing>,
}

fn net(is_packed: bool, size: u16, features: u64) -> Net {
    let Pair { driver, device, areas, data, map } =
        pair(is_packed, QueueOptions { size, has_indirect: true, ..QueueOptions::default() });
    Net { driver, areas, data, ring: Some(DeviceRing::new(device, Arc::new(map), features)) }
}

impl Net {
    fn transmit(&mut self) -> TransmitRing {
        TransmitRing::new(self.ring.take().expect("it is used once"))
    }

    fn receive(&mut self) -> ReceiveRing {
        ReceiveRing::new(self.ring.take().expect("it is used once"))
    }

    /// Makes a packet available to be transmitted, in pieces of at most `piece` bytes.
    fn offer(&mut self, at: usize, offload: &Offload, bytes: &[u8], piece: usize) {
        let header = encode(offload).expect("a header tells it");
        let all = [&header[..], bytes].concat();
        self.data.write(at, &all);
        let segments: Vec<Segment> =
            (0..all.len()).step_by(piece).map(|from| segment(at + from, piece.min(all.len() - from))).collect();
        self.driver.add(&segments, &[]).expect("there is room");
        let _ = self.driver.publish();
    }

    /// Makes room available to be received into.
    fn provide(&mut self, at: usize, lens: &[usize]) {
        let mut from = at;
        let segments: Vec<Segment> = lens
            .iter()
            .map(|len| {
                from += len;
                segment(from - len, *len)
            })
            .collect();
        self.driver.add(&[], &segments).expect("there is room");
        let _ = self.driver.publish();
    }

    fn used(&mut self) -> Vec<u32> {
        core::iter::from_fn(|| self.driver.take_used().expect("the ring is fine"))
            .map(|used| used.written.expect("it says so"))
            .collect()
    }

    fn at(&self, offset: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.data.read(offset, &mut bytes);
        bytes
    }
}

fn segment(offset: usize, len: usize) -> Segment {
    Segment { address: DATA + offset as u64, len: u32::try_from(len).expect("tests are small") }
}

fn pool(frame_bytes: usize, limit_frames: usize) -> Pool {
    Pool::new(PoolOptions { frame_bytes, headroom_bytes: 16, limit_frames }).expect("frames are small")
}

fn bytes_of_packet(packet: &Packet) -> Vec<u8> {
    packet.buffers().iter().flat_map(|buffer| buffer.to_vec()).collect()
}

fn packet(bytes: &[u8]) -> Packet {
    Packet::from(Buffer::copy_from_slice(bytes))
}

fn each_kind(test: impl Fn(bool)) {
    test(false);
    test(true);
}

const PARTIAL: Offload = Offload {
    checksum: Checksum::Partial { csum_start: 1, csum_offset: 2 },
    segmentation: None,
    rss_hash: None,
    vlan: None,
};

#[test]
fn packets_are_copied_out_of_what_the_driver_transmits() {
    each_kind(|is_packed| {
        for piece in [1024, 12, 7] {
            let mut net = net(is_packed, 32, features::CSUM);
            net.offer(0, &PARTIAL, b"a packet of some bytes", piece);
            net.offer(100, &Offload::default(), b"another one", piece);
            let (mut ring, mut out) = (net.transmit(), VecDeque::new());
            let took = ring.take(&pool(8, 16), None, 100, 32, &mut out).expect("the ring is fine");
            let expected = Took { packets: 2, bytes: 33, has_to_tell: true, ..Took::default() };
            assert_eq!(took, expected, "{piece}");
            assert_eq!(out[0].buffers().len(), 3, "frames have 8 bytes");
            assert_eq!(out[0].offload, PARTIAL);
            assert_eq!(bytes_of_packet(&out[0]), b"a packet of some bytes");
            assert_eq!(bytes_of_packet(&out[1]), b"another one");
            assert_eq!(net.used(), [0, 0]);
            assert_eq!(ring.take(&pool(8, 16), None, 100, 32, &mut out), Ok(Took::default()));
        }
    });
}

#[test]
fn packets_that_make_no_sense_are_given_back_and_counted() {
    each_kind(|is_packed| {
        let mut net = net(is_packed, 32, features::CSUM | features::HOST_TSO4);
        net.offer(0, &Offload::default(), b"", 1024);
        net.data.write(100, &[0; 8]);
        net.driver.add(&[segment(100, 8)], &[]).expect("there is room");
        net.driver.add(&[segment(0, 20), segment(0x1_0000, 1)], &[]).expect("there is room");
        net.offer(200, &PARTIAL, b"123", 1024);
        net.offer(300, &Offload::default(), &[1; 101], 1024);
        let udp = Segmentation { kind: SegmentationKind::UdpL4, has_ecn: false, gso_size: 4, hdr_len: 9 };
        net.offer(500, &Offload { segmentation: Some(udp), ..PARTIAL }, &[1; 50], 1024);
        net.driver.add(&[], &[segment(0, 100)]).expect("there is room");
        net.offer(600, &Offload::default(), b"good", 1024);
        let (mut ring, mut out) = (net.transmit(), VecDeque::new());
        let took = ring.take(&pool(64, 16), None, 100, 32, &mut out).expect("the ring is fine");
        // Empty, no header, not mapped, a checksum beyond its end, segmentation that was not negotiated, nothing to be read.
        let expected = Took { packets: 1, bytes: 4, malformed: 6, too_long: 1, has_to_tell: true, is_starved: false };
        assert_eq!(took, expected);
        assert_eq!(bytes_of_packet(&out[0]), b"good");
        assert_eq!(net.used(), [0; 8]);
    });
}

#[test]
fn nobody_who_transmits_has_verified_anything() {
    let mut net = net(false, 8, 0);
    net.data.write(0, &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b'x']);
    net.driver.add(&[segment(0, 13)], &[]).expect("there is room");
    let _ = net.driver.publish();
    let mut out = VecDeque::new();
    net.transmit().take(&pool(64, 16), None, 100, 32, &mut out).expect("the ring is fine");
    assert_eq!(out[0].offload.checksum, Checksum::Complete);
}

#[test]
fn without_a_frame_packets_stay_with_the_driver() {
    each_kind(|is_packed| {
        let mut net = net(is_packed, 8, 0);
        net.offer(0, &Offload::default(), b"12345678", 1024);
        net.offer(50, &Offload::default(), b"123456789", 1024);
        let (mut ring, mut out, pool) = (net.transmit(), VecDeque::new(), pool(8, 2));
        let took = ring.take(&pool, None, 100, 32, &mut out).expect("the ring is fine");
        let expected = Took { packets: 1, bytes: 8, is_starved: true, has_to_tell: true, ..Took::default() };
        assert_eq!(took, expected);
        assert_eq!(pool.counters().in_use_frames, 1, "what was begun was given back");
        out.clear();
        assert_eq!(ring.take(&pool, None, 100, 32, &mut out).expect("the ring is fine").packets, 1);
        assert_eq!(bytes_of_packet(&out[0]), b"123456789");
    });
}

#[test]
fn long_packets_are_copied_to_large_frames_as_long_as_there_are_such() {
    each_kind(|is_packed| {
        let mut net = net(is_packed, 64, 0);
        let (mut ring, mut out) = (net.transmit(), VecDeque::new());
        let (pool, large) = (pool(2_048, 100), pool(LARGE_FRAME_BYTES, 1));
        let mut take = |len: usize| {
            let sent: Vec<u8> = (0..len).map(|place| u8::try_from(place % 251).expect("it is less")).collect();
            net.offer(0, &Offload::default(), &sent, 10_000);
            let took = ring.take(&pool, Some(&large), 50_000, 32, &mut out).expect("the ring is fine");
            assert_eq!(took.packets, 1);
            let packet = out.pop_front().expect("it came");
            assert!(bytes_of_packet(&packet) == sent, "{len} bytes");
            packet
        };
        assert_eq!(take(LARGE_FROM_BYTES - 1).buffers().len(), 8, "it is not long");
        let lens = |packet: &Packet| packet.buffers().iter().map(|buffer| buffer.len()).collect::<Vec<_>>();
        let long = take(40_000);
        assert_eq!(lens(&long), [LARGE_FRAME_BYTES, 2_048, 2_048, 2_048, 1_088], "what is left is not long");
        assert_eq!(take(LARGE_FROM_BYTES).buffers().len(), 8, "there was one large frame");
        drop(long);
        assert_eq!(take(LARGE_FROM_BYTES).buffers().len(), 1);
    });
}

#[test]
fn a_disabled_ring_gives_everything_back() {
    let mut net = net(false, 8, 0);
    net.offer(0, &Offload::default(), b"lost", 1024);
    net.driver.add(&[segment(0, 20), segment(0x1_0000, 1)], &[]).expect("there is room");
    let _ = net.driver.publish();
    let mut ring = net.transmit();
    assert_eq!(ring.discard(32), Ok(true));
    assert_eq!(net.used(), [0, 0]);
    assert_eq!(ring.discard(32), Ok(false));
}

#[test]
fn packets_are_copied_into_what_the_driver_receives_by() {
    each_kind(|is_packed| {
        let mut net = net(is_packed, 32, features::MRG_RXBUF | features::GUEST_CSUM);
        for at in [0, 100, 200] {
            net.provide(at, &[10, 0, 6]);
        }
        net.provide(300, &[64]);
        let mut packets: VecDeque<Packet> = [packet(b"small"), packet(b"0123456789abcdef")].into();
        let mut chain = packet(b"two ");
        chain.push_back(Buffer::from_static(b"pieces")).expect("there is room");
        packets[1].offload = PARTIAL;
        packets.push_back(chain);
        let mut ring = net.receive();
        // The first does not fit into one chain, nor does the second.
        let put = ring.put(&mut packets).expect("the ring is fine");
        let expected = Put { packets: 2, bytes: 21, is_full: true, has_to_tell: true, ..Put::default() };
        assert_eq!(put, expected);
        assert_eq!(packets.len(), 1, "it waits");
        assert_eq!(net.used(), [16, 1, 16, 12]);
        let header: [u8; HEADER_BYTES] = net.at(0, 12).try_into().expect("12 bytes");
        assert_eq!(num_buffers(&header), 2);
        assert_eq!([net.at(12, 4), net.at(100, 1)].concat(), b"small");
        assert_eq!(&net.at(200, 10)[..10], &encode(&PARTIAL).expect("a header")[..10]);
        assert_eq!(net.at(210, 2), [2, 0], "in the second part of the chain");
        assert_eq!([net.at(212, 4), net.at(300, 12)].concat(), b"0123456789abcdef");
        net.provide(400, &[5, 5, 50]);
        let put = ring.put(&mut packets).expect("the ring is fine");
        assert_eq!((put.packets, put.is_full, packets.len()), (1, false, 0));
        assert_eq!(net.at(412, 10), b"two pieces");
    });
}

#[test]
fn buffers_that_are_too_small_lose_the_packet_and_not_the_ring() {
    each_kind(|is_packed| {
        let mut net = net(is_packed, 8, 0);
        net.provide(0, &[20]);
        net.provide(100, &[11]);
        net.provide(200, &[20]);
        let mut packets: VecDeque<Packet> = [packet(b"more than 8"), packet(b"8 bytes."), packet(b"again")].into();
        let mut ring = net.receive();
        let put = ring.put(&mut packets).expect("the ring is fine");
        let expected = Put { packets: 2, bytes: 13, refused: 1, malformed: 1, is_full: false, has_to_tell: true };
        assert_eq!(put, expected, "11 bytes are less than a header");
        assert_eq!(net.used(), [20, 0, 17]);
        assert_eq!(net.at(10, 2), [1, 0], "one buffer, also without merging");
    });
}

#[test]
fn a_packet_larger_than_all_buffers_together_does_not_wait() {
    each_kind(|is_packed| {
        let mut net = net(is_packed, 4, features::MRG_RXBUF);
        for at in 0..4 {
            net.provide(100 * at, &[20]);
        }
        let mut packets: VecDeque<Packet> = [packet(&[7; 69]), packet(&[7; 68])].into();
        let put = net.receive().put(&mut packets).expect("the ring is fine");
        assert_eq!((put.packets, put.refused, put.is_full), (1, 1, false));
        assert_eq!(net.used(), [20; 4]);
    });
}

#[test]
fn chains_without_room_go_back_at_once_and_those_before_them_too() {
    each_kind(|is_packed| {
        let mut net = net(is_packed, 8, features::MRG_RXBUF);
        net.provide(0, &[20]);
        net.provide(100, &[0]);
        net.driver.add(&[], &[segment(0x1_0000, 1)]).expect("there is room");
        net.provide(200, &[20]);
        let mut packets: VecDeque<Packet> = [packet(&[7; 60])].into();
        let mut ring = net.receive();
        let put = ring.put(&mut packets).expect("the ring is fine");
        let expected = Put { malformed: 2, is_full: true, has_to_tell: true, ..Put::default() };
        assert_eq!((put, packets.len()), (expected, 1));
        assert_eq!(net.used(), [0, 0, 0]);
        let put = ring.put(&mut packets).expect("the ring is fine");
        assert_eq!(put, Put { is_full: true, ..Put::default() }, "they are not looked at again");
        net.provide(300, &[52]);
        assert_eq!(ring.put(&mut packets).expect("the ring is fine").packets, 1);
        assert_eq!(net.used(), [20, 52]);
    });
}

/// Provides chains of so many descriptors, all of them empty but the last, which has room for a header.
fn provide_long_chains(net: &mut Net, count: usize, descriptors: usize) {
    let table = 0x8000;
    let entry = |address: u64, len: u32, flags: u16, next: usize| {
        let next = u16::try_from(next).expect("few").to_le_bytes();
        [&address.to_le_bytes()[..], &len.to_le_bytes(), &flags.to_le_bytes(), &next].concat()
    };
    for at in 0..descriptors {
        let is_last = at + 1 == descriptors;
        let (len, flags) = if is_last { (12, 2) } else { (0, 3) };
        net.data.write(table + 16 * at, &entry(DATA, len, flags, if is_last { 0 } else { at + 1 }));
    }
    // The same table again and again.
    let bytes = u32::try_from(16 * descriptors).expect("few");
    for place in 0..count {
        net.areas[0].write(16 * place, &entry(DATA + table as u64, bytes, 4, 0));
        net.areas[1].write(4 + 2 * place, &u16::try_from(place).expect("few").to_le_bytes());
    }
    net.areas[1].write(2, &u16::try_from(count).expect("few").to_le_bytes());
}

#[test]
fn a_burst_reads_no_more_descriptors_than_it_may() {
    let mut net = net(false, 1_024, features::MRG_RXBUF);
    provide_long_chains(&mut net, 512, 1_024);
    let mut ring = net.receive();
    // As little room has each chain that a long packet needs more of them than it may have.
    let mut packets: VecDeque<Packet> = (0..100).map(|_| packet(&[7; 6_000])).collect();
    let put = ring.put(&mut packets).expect("the ring is fine");
    assert!(ring.read < MAX_BURST_DESCRIPTORS + 2_000, "{}", ring.read);
    assert_eq!((put.refused, put.is_full, packets.len()), (1, true, 99), "which goes on with the next burst");
    assert!(ring.enable_notifications(), "there is more");
    assert_eq!(ring.put(&mut packets).expect("the ring is fine").refused, 1);
    // Short ones get in, as many as the chains that may be read have room for.
    let mut packets: VecDeque<Packet> = (0..100).map(|_| packet(&[7; 4])).collect();
    let put = ring.put(&mut packets).expect("the ring is fine");
    assert!(put.is_full && (30..40).contains(&put.packets), "{put:?}");
}

#[test]
fn who_has_found_too_little_room_is_told_of_more_only() {
    each_kind(|is_packed| {
        let mut net = net(is_packed, 8, features::MRG_RXBUF);
        net.provide(0, &[20]);
        let mut ring = net.receive();
        let mut packets: VecDeque<Packet> = [packet(&[7; 60])].into();
        assert!(ring.put(&mut packets).expect("the ring is fine").is_full);
        assert!(!ring.enable_notifications(), "there is one, as there was before");
        net.provide(100, &[20]);
        assert!(ring.enable_notifications());
        assert!(ring.put(&mut packets).expect("the ring is fine").is_full);
        assert!(!ring.enable_notifications());
        net.provide(200, &[32]);
        assert_eq!(ring.put(&mut packets).expect("the ring is fine").packets, 1);
        assert_eq!(net.used(), [20, 20, 32]);
    });
}

#[test]
fn what_the_driver_did_not_negotiate_is_told() {
    let tso = Segmentation { kind: SegmentationKind::Tcpv4, has_ecn: false, gso_size: 4, hdr_len: 54 };
    let large = Offload { segmentation: Some(tso), ..PARTIAL };
    let ecn = Offload { segmentation: Some(Segmentation { has_ecn: true, ..tso }), ..PARTIAL };
    let takes = |features, offload: &Offload| net(false, 8, features).receive().takes(offload);
    assert!(takes(0, &Offload::default()) && !takes(0, &PARTIAL));
    assert!(takes(features::GUEST_CSUM, &PARTIAL) && !takes(features::GUEST_CSUM, &large));
    assert!(!takes(features::GUEST_CSUM | features::GUEST_TSO6, &large));
    assert!(takes(features::GUEST_CSUM | features::GUEST_TSO4, &large));
    assert!(!takes(features::GUEST_CSUM | features::GUEST_TSO4, &ecn));
    assert!(!takes(features::CSUM | features::HOST_TSO4, &PARTIAL), "those are of the other direction");
}

proptest! {
    #[test]
    fn net_random_packets_go_both_ways(
        is_packed in any::<bool>(),
        lens in prop::collection::vec((1_usize..300, 1_usize..40), 1..20),
        frame in 1_usize..80,
        buffer in 12_usize..100,
    ) {
        let mut net = net(is_packed, 64, features::MRG_RXBUF);
        let mut ring = net.transmit();
        let mut back = pair_of_receiver(is_packed);
        let mut receive = back.receive();
        let pool = pool(frame, 1000);
        for (round, (len, piece)) in lens.into_iter().enumerate() {
            let piece = piece.max((len + HEADER_BYTES).div_ceil(60));
            let bytes: Vec<u8> = (0..len).map(|at| u8::try_from((at * 7 + round) % 251).expect("less")).collect();
            net.offer(round, &Offload::default(), &bytes, piece);
            let mut out = VecDeque::new();
            let took = ring.take(&pool, None, 300, 32, &mut out).expect("the ring is fine");
            if len.div_ceil(frame) > sunstar_packet::MAX_BUFFERS {
                prop_assert_eq!(took.too_long, 1);
                prop_assert_eq!(net.used().len(), 1);
                continue;
            }
            prop_assert_eq!(took.packets, 1);
            prop_assert_eq!(net.used(), vec![0]);
            let needed = (len + HEADER_BYTES).div_ceil(buffer);
            (0..needed).for_each(|index| back.provide(index * 100, &[buffer]));
            let put = receive.put(&mut out).expect("the ring is fine");
            prop_assert_eq!(put.packets, 1);
            let used = back.used();
            prop_assert_eq!(used.len(), needed);
            let written = used.iter().zip(0..).flat_map(|(written, index)| back.at(index * 100, *written as usize));
            let written: Vec<u8> = written.collect();
            prop_assert_eq!(usize::from(num_buffers(written.first_chunk().expect("a header"))), needed);
            prop_assert_eq!(&written[HEADER_BYTES..], &bytes[..]);
        }
    }

    #[test]
    fn net_random_hostile_drivers_do_no_harm(
        is_packed in any::<bool>(),
        steps in prop::collection::vec((0_usize..4, 0_usize..2048, prop::collection::vec(any::<u8>(), 1..40)), 1..60),
        seeds in prop::collection::vec((0_u64..0x1_1000, 0_u32..5000, 0_u8..8, 0_u8..16), 16),
    ) {
        hostile(is_packed, &steps, &seeds);
    }
}

fn pair_of_receiver(is_packed: bool) -> Net {
    net(is_packed, 64, features::MRG_RXBUF)
}

/// Writes whatever a driver could into rings, and works on them all the while.
fn hostile(is_packed: bool, steps: &[(usize, usize, Vec<u8>)], seeds: &[(u64, u32, u8, u8)]) {
    let all = features::MRG_RXBUF | features::CSUM | features::HOST_TSO4 | features::HOST_TSO6;
    let (mut transmitting, mut receiving) = (net(is_packed, 16, all), net(is_packed, 16, all));
    let (mut transmit, mut receive) = (transmitting.transmit(), receiving.receive());
    let pool = pool(64, 40);
    let mut out = VecDeque::new();
    for net in [&mut transmitting, &mut receiving] {
        for (place, &(offset, len, flags, next)) in seeds.iter().enumerate() {
            // Descriptors that are nearly right go deeper.
            let mut descriptor = (DATA + offset).to_le_bytes().to_vec();
            descriptor.extend(len.to_le_bytes());
            let [first, second] = if is_packed { [next, flags] } else { [flags, next] };
            descriptor.extend([first, 0, second, 0]);
            if is_packed {
                descriptor[14] |= 0x80;
            }
            net.areas[0].write(16 * place, &descriptor);
        }
        if !is_packed {
            net.areas[1].write(0, &[0, 0, 16, 0, 0, 0, 1, 0, 2, 0, 3, 0, 4, 0]);
        }
    }
    for (area, offset, bytes) in steps {
        for net in [&transmitting, &receiving] {
            let memory = net.areas.get(*area).unwrap_or(&net.data);
            let offset = offset % memory.len();
            memory.write(offset, &bytes[..bytes.len().min(memory.len() - offset)]);
        }
        let took = transmit.take(&pool, None, 2000, 20, &mut out);
        assert!(took.is_err() || took.is_ok_and(|took| took.packets as u64 + took.malformed <= 20));
        for packet in &out {
            assert!(!packet.is_empty() && packet.len() <= 2000);
        }
        out.push_back(packet(&[1; 100]));
        let put = receive.put(&mut out);
        if put.is_ok_and(|put| !put.is_full) && !out.is_empty() {
            assert!(receive.put(&mut out).is_err(), "packets stay where there is no room, or something is wrong");
        }
        let _ = (transmit.ring().enable_notifications(), receive.ring().enable_notifications());
        out.clear();
    }
}

proptest! {
    #[test]
    fn net_random_drivers_survive(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        driven::check(&bytes);
    }
}

#[test]
fn the_corpus_holds() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/virtio");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is in the tree") {
        let path = entry.expect("it is readable").path();
        let bytes = std::fs::read(&path).expect("it is readable");
        assert!(std::panic::catch_unwind(|| driven::check(&bytes)).is_ok(), "{} fails", path.display());
        count += 1;
    }
    assert!(count > 5, "the corpus is there");
}
