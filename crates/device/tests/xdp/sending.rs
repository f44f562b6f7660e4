//! Sends from the memory that applications lay into a device.

use std::collections::VecDeque;

use sunstar_packet::{Buffer, Packet, Pool};

use crate::namespace::{in_namespace, ip};
use crate::wire::{Host, NOW, open, pair};
use crate::{kernel_socket, pattern};

/// Bytes of Ethernet's, IP's and UDP's header.
const HEADERS_BYTES: u64 = 42;

/// A datagram as the stack makes it: its headers in the device's memory, with room behind them.
pub(crate) fn datagram(host: &Host, headers: &Pool, payload: &[Buffer]) -> Packet {
    let mut buffers = host.datagram(payload).into_buffers();
    let mut frame = headers.take().unwrap();
    frame.extend_from_slice(&buffers.next().unwrap()).unwrap();
    let mut packet = Packet::from(frame.freeze());
    buffers.for_each(|buffer| packet.push_back(buffer).unwrap());
    packet
}

#[test]
fn what_lies_in_the_memory_is_sent_from_there_over_borders_of_frames_too() {
    in_namespace(|| {
        pair(1);
        let mut host = Host::new(&mut open("here"), 0);
        let kernel = kernel_socket();
        let (headers, buffers) = (host.sends.headers().unwrap(), host.sends.buffers().unwrap());
        let mut large = buffers.take(60_000).unwrap();
        large.extend_from_slice(&pattern(60_000)).unwrap();
        let large = large.freeze();
        let elsewhere = Buffer::from(pattern(1_000));
        let mut expected = (0, 0);
        let mut check = |host: &mut Host, parts: &[Buffer], copied: u64| {
            let packet = datagram(host, &headers, parts);
            host.send(packet);
            let mut arrived = [0; 2_000];
            let count = kernel.recv(&mut arrived).unwrap();
            assert!(arrived[..count] == parts.iter().flat_map(|part| &part[..]).copied().collect::<Vec<_>>()[..]);
            expected = (expected.0 + u64::from(copied > 0), expected.1 + copied);
            let counters = host.queue.counters();
            assert_eq!((counters.tx_copies, counters.tx_copied_bytes), expected, "{} parts", parts.len());
        };
        // Frames have 2,048 bytes, so that most of these lie in two of them.
        for begin in (0..60_000 - 1_400).step_by(1_400) {
            check(&mut host, &[large.slice(begin..begin + 1_400)], 0);
        }
        check(&mut host, &[large.slice(100..600), large.slice(5_000..5_900)], 0);
        // What is short is copied behind the headers, wherever it lies, and nothing of the rest.
        check(&mut host, &[large.slice(..100)], 100);
        check(&mut host, &[elsewhere.slice(..100)], 100);
        check(&mut host, &[elsewhere.slice(..100), large.slice(1_500..2_500)], 100);
        // Headers before what must be copied are copied with it.
        check(&mut host, std::slice::from_ref(&elsewhere), HEADERS_BYTES + 1_000);
        check(&mut host, &[elsewhere.clone(), large.slice(1_500..1_900)], HEADERS_BYTES + 1_000);
        // More pieces than the kernel takes.
        let part = |number: usize| large.slice(number * 2_048..number * 2_048 + 76);
        let many: Vec<_> = (0..19).map(part).collect();
        // The first three of these are copied behind the headers before.
        check(&mut host, &many[..18], 3 * 76);
        // And all of it then.
        check(&mut host, &many, HEADERS_BYTES + 19 * 76 + 3 * 76);
        drop((large, many));
        host.settle(0);
        assert_eq!((headers.counters().in_use_frames, buffers.counters().in_use_frames), (0, 0), "all came back");
    });
}

#[test]
fn what_waits_for_room_is_copied_and_counted_once() {
    in_namespace(|| {
        pair(1);
        let mut host = Host::new(&mut open("here"), 0);
        let (headers, buffers) = (host.sends.headers().unwrap(), host.sends.buffers().unwrap());
        ip("link set here down");
        let mut long = buffers.take(300).unwrap();
        long.extend_from_slice(&pattern(300)).unwrap();
        let (short, long) = (Buffer::from_static(b"short"), long.freeze());
        // One place in the ring, and two for each of the others: the last one that is tried finds a single one.
        let mut packets = VecDeque::from([datagram(&host, &headers, &[])]);
        packets.extend((0..1_500).map(|_| datagram(&host, &headers, &[short.clone(), long.clone()])));
        host.queue.tx_burst(NOW, &mut packets).unwrap();
        assert_eq!(packets.len(), 1_500 - 1_023, "so many are in the ring");
        // However often it is tried.
        for _ in 0..3 {
            host.queue.tx_burst(NOW, &mut packets).unwrap();
            let counters = host.queue.counters();
            assert_eq!((counters.tx_copies, counters.tx_copied_bytes), (1_023, 1_024 * 5));
        }
        ip("link set here up");
        let deadline = host.queue.deadline().unwrap();
        let mut rounds = 0;
        while !packets.is_empty() {
            host.queue.tx_burst(deadline, &mut packets).unwrap();
            rounds += 1;
            assert!(rounds < 1_000_000, "{}", packets.len());
        }
        let counters = host.queue.counters();
        assert_eq!((counters.tx_packets, counters.tx_copies, counters.tx_copied_bytes), (1_501, 1_500, 1_500 * 5));
    });
}

#[test]
fn what_waits_for_a_frame_is_one_packet_however_much_of_it_is_copied_when() {
    in_namespace(|| {
        pair(1);
        let mut host = Host::new(&mut open("here"), 0);
        let kernel = kernel_socket();
        let (headers, buffers) = (host.sends.headers().unwrap(), host.sends.buffers().unwrap());
        let mut near = buffers.take(300).unwrap();
        near.extend_from_slice(&pattern(300)).unwrap();
        let payload = [Buffer::from(pattern(100)), near.freeze(), Buffer::from(pattern(1_000))];
        let all: Vec<_> = std::iter::from_fn(|| host.pool.take()).collect();
        let mut packets = VecDeque::from([datagram(&host, &headers, &payload)]);
        for _ in 0..3 {
            assert_eq!(host.queue.tx_burst(NOW, &mut packets).unwrap(), 0);
            let counters = host.queue.counters();
            assert_eq!((counters.tx_copies, counters.tx_copied_bytes), (0, 100), "it is not sent yet");
        }
        drop(all);
        assert_eq!(host.queue.tx_burst(NOW, &mut packets).unwrap(), 1);
        assert_eq!(kernel.recv(&mut [0; 2_000]).unwrap(), 1_400);
        let counters = host.queue.counters();
        assert_eq!((counters.tx_copies, counters.tx_copied_bytes), (1, 1_100));
        let packet = datagram(&host, &headers, &[]);
        host.send(packet);
        assert_eq!(host.queue.counters().tx_copies, 1, "of this one nothing is");
    });
}
