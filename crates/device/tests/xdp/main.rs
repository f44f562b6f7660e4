//! AF_XDP at one end of a pair of virtual interfaces, with the kernel at the other end, each in a network namespace of its own.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod beside;
mod errors;
mod logged;
#[path = "../tap/namespace.rs"]
mod namespace;
mod sending;
mod sharing;
mod wire;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::OwnedFd;
use std::task::{Context, Waker};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use sunstar_device::{Device, Queue, QueueError, Readiness};
use sunstar_executor::Instant;
use sunstar_packet::{Buffer, Packet};
use sunstar_wire::{EtherType, EthernetFrame, Ipv4Packet};

use namespace::{in_namespace, ip};
use wire::{HOST, Host, KERNEL, NOW, UDP_PORT, bytes, open, pair};

/// Bytes of which no two neighbourhoods are alike.
fn pattern(len: usize) -> Vec<u8> {
    (0_u32..).flat_map(u32::to_be_bytes).take(len).collect()
}

fn kernel_socket() -> UdpSocket {
    let socket = UdpSocket::bind((KERNEL, UDP_PORT)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

#[test]
fn what_is_received_lies_in_frames_of_the_pool_and_goes_back_without_a_copy() {
    in_namespace(|| {
        pair(1);
        let mut host = Host::new(&mut open("here"), 0);
        let kernel = kernel_socket();
        for len in [0, 1, 64, 1_472] {
            kernel.send_to(&pattern(len), (HOST, UDP_PORT)).unwrap();
            let packet = host.receive(EtherType::IPV4);
            assert_eq!(packet.buffers().len(), 1);
            let buffer = packet.buffers()[0].clone();
            assert_eq!(buffer.as_ptr().addr() % 2_048, 256, "it lies where a frame's content begins");
            drop(packet);
            let mut frame = buffer.try_into_mut().unwrap();
            assert!(frame.headroom() >= 128, "there is room for headers");
            host.turn_round(&mut frame);
            host.send(Packet::from(frame.freeze()));
            let mut answer = [0; 2_000];
            let count = kernel.recv(&mut answer).unwrap();
            assert_eq!(answer[..count], pattern(len));
        }
        let counters = host.queue.counters();
        // The kernel tells of itself by IPv6, at any time.
        assert_eq!((counters.rx_packets, counters.tx_packets), (host.received + host.arrived.len() as u64, 4));
        assert_eq!((counters.tx_copies, counters.tx_copied_bytes, counters.rx_dropped), (0, 0, 0));
    });
}

#[test]
fn only_what_lies_elsewhere_is_copied() {
    in_namespace(|| {
        pair(1);
        let mut host = Host::new(&mut open("here"), 0);
        let kernel = kernel_socket();
        let payload = pattern(1_200);
        let mut in_pool = host.pool.take().unwrap();
        in_pool.extend_from_slice(&payload).unwrap();
        let in_pool = in_pool.freeze();
        let cases = [
            // The headers alone are on the heap.
            (vec![in_pool.clone()], 42),
            (vec![in_pool.slice(..600), in_pool.slice(600..)], 42),
            (vec![in_pool.slice(..600), Buffer::copy_from_slice(&payload[600..])], 642),
            // What is short goes with what is copied.
            (vec![in_pool.slice(..10), in_pool.slice(10..)], 52),
            (vec![Buffer::copy_from_slice(&payload)], 1_242),
            // More pieces than the kernel takes.
            ((0..4).map(|at| in_pool.slice(at * 300..at * 300 + 300)).collect(), 42),
        ];
        let mut copied = 0;
        for (number, (parts, expected)) in (1..).zip(cases) {
            let packet = host.datagram(&parts);
            host.send(packet);
            let mut arrived = [0; 2_000];
            let count = kernel.recv(&mut arrived).unwrap();
            assert_eq!(arrived[..count], payload, "{number}");
            copied += expected;
            let counters = host.queue.counters();
            assert_eq!((counters.tx_copies, counters.tx_copied_bytes), (number, copied), "{number}");
        }
        drop(in_pool);
        host.settle(0);
    });
}

#[test]
fn memory_that_the_pool_has_given_back_is_the_kernels_too_when_it_is_used_again() {
    in_namespace(|| {
        pair(1);
        let mut host = Host::new(&mut open("here"), 0);
        let kernel = kernel_socket();
        let all: Vec<_> = std::iter::from_fn(|| host.pool.take()).collect();
        assert!(all.len() > 6_000);
        drop(all);
        let before = host.pool.counters().reserved_bytes;
        host.pool.free_unused_memory();
        assert!(host.pool.counters().reserved_bytes < before);
        let payload = pattern(1_000);
        let mut again: Vec<_> = std::iter::from_fn(|| host.pool.take()).collect();
        let mut frame = again.pop().unwrap();
        frame.extend_from_slice(&payload).unwrap();
        again.pop();
        let packet = host.datagram(&[frame.freeze()]);
        host.send(packet);
        assert_eq!(host.queue.counters().tx_copied_bytes, 42);
        let mut arrived = [0; 2_000];
        assert_eq!(kernel.recv(&mut arrived).unwrap(), 1_000);
        assert!(arrived[..1_000] == payload);
    });
}

#[test]
fn frames_come_back_and_bursts_longer_than_the_ring_wait() {
    in_namespace(|| {
        pair(1);
        let mut host = Host::new(&mut open("here"), 0);
        let kernel = kernel_socket();
        set_socket_recv_buffer_size_force(&kernel, 16 << 20).unwrap();
        ip("link set here down");
        let packets: Vec<Packet> =
            (0_u16..3_000).map(|n| host.datagram(&[Buffer::copy_from_slice(&n.to_be_bytes())])).collect();
        let mut packets = VecDeque::from(packets);
        host.queue.tx_burst(NOW, &mut packets).unwrap();
        assert_eq!(packets.len(), 3_000 - 2_048, "so many are in the ring");
        assert_eq!(host.queue.counters().tx_full, 1);
        // Who is down is looked at again, but not at once.
        let deadline = host.queue.deadline().unwrap();
        assert!(deadline >= NOW + Duration::from_millis(50), "{deadline:?}");
        ip("link set here up");
        let mut rounds = 0;
        while !packets.is_empty() {
            host.queue.tx_burst(deadline, &mut packets).unwrap();
            rounds += 1;
            assert!(rounds < 1_000_000, "{}", packets.len());
        }
        assert_eq!(host.queue.counters().tx_packets, 3_000);
        host.settle(0);
        kernel.set_nonblocking(true).unwrap();
        let mut arrived = [0; 10];
        let numbers: Vec<_> =
            std::iter::from_fn(|| kernel.recv(&mut arrived).ok().map(|_| arrived[..2].to_vec())).collect();
        // A kernel with too much to do may have lost some behind the interface.
        assert!(numbers.len() > 1_000 && numbers.is_sorted_by(|one, next| one < next), "{}", numbers.len());
    });
}

#[test]
fn what_nobody_takes_is_dropped_and_counted() {
    in_namespace(|| {
        pair(1);
        let mut host = Host::new(&mut open("here"), 0);
        let kernel = kernel_socket();
        // A kernel with too much to do loses some before they come so far.
        let mut sent = 0_u16;
        while host.queue.counters().rx_dropped < 100 {
            kernel.send_to(&sent.to_be_bytes(), (HOST, UDP_PORT)).unwrap();
            sent += 1;
            assert!(sent < 60_000, "{:?}", host.queue.counters());
        }
        let mut numbers = Vec::new();
        while host.queue.rx_burst(NOW, &mut host.arrived, 32).unwrap() > 0 {
            numbers.extend(host.take(EtherType::IPV4).iter().map(|packet| bytes(packet)[42..44].to_vec()));
        }
        assert!(numbers.len() > 2_000, "{} of {sent}", numbers.len());
        assert!(numbers.is_sorted_by(|one, next| one < next));
        assert_eq!(numbers[0], [0, 0]);
        kernel.send_to(b"at last", (HOST, UDP_PORT)).unwrap();
        while !bytes(&host.receive(EtherType::IPV4))[42..].starts_with(b"at last") {}
    });
}

#[test]
fn without_frames_it_waits_and_goes_on_when_they_come_back() {
    in_namespace(|| {
        pair(1);
        let mut host = Host::new(&mut open("here"), 0);
        let kernel = kernel_socket();
        let taken: Vec<_> = std::iter::from_fn(|| host.pool.take()).collect();
        let mut held = Vec::new();
        let mut sent = 0_u16;
        while held.len() < 2_048 {
            // A kernel with too much to do may lose some.
            kernel.send_to(&sent.to_be_bytes(), (HOST, UDP_PORT)).unwrap();
            held.extend(host.receive_unless_lost(EtherType::IPV4));
            sent += 1;
            assert!(sent < 4_096, "{:?}", host.queue.counters());
        }
        host.queue.rx_burst(NOW, &mut host.arrived, 32).unwrap();
        assert!(host.queue.counters().rx_no_frames > 0);
        assert!(host.queue.deadline().is_some(), "nobody tells when there are frames");
        // Copies have no frame either.
        let mut packets = VecDeque::from([host.datagram(&[Buffer::from_static(b"waits")])]);
        assert_eq!(host.queue.tx_burst(NOW, &mut packets).unwrap(), 0);
        assert_eq!((packets.len(), host.queue.counters().tx_full), (1, 1));
        drop((taken, held));
        let deadline = host.queue.deadline().unwrap();
        host.queue.rx_burst(deadline, &mut host.arrived, 32).unwrap();
        assert_eq!(host.queue.tx_burst(deadline, &mut packets).unwrap(), 1);
        assert_eq!(kernel.recv(&mut [0; 64]).unwrap(), 5);
        assert_eq!(host.queue.deadline(), None);
        kernel.send_to(b"again", (HOST, UDP_PORT)).unwrap();
        assert_eq!(bytes(&host.receive(EtherType::IPV4))[42..47], *b"again");
    });
}

#[test]
fn what_is_for_everybody_comes_too_and_the_kernel_has_it_still() {
    in_namespace(|| {
        pair(1);
        ip("neigh flush dev there");
        ip(&format!("neigh del {HOST} dev there"));
        let mut host = Host::new(&mut open("here"), 0);
        let kernel = kernel_socket();
        kernel.send_to(b"who is it", (HOST, UDP_PORT)).unwrap();
        let request = bytes(&host.receive(EtherType::ARP));
        assert_eq!(request[..6], [0xff; 6]);
        // Multicasts of IPv6, by which the kernel tells of itself, are of that kind; they have come as well.
        kernel.set_broadcast(true).unwrap();
        kernel.send_to(b"all", (Ipv4Addr::new(10, 9, 0, 255), UDP_PORT)).unwrap();
        let all = bytes(&host.receive(EtherType::IPV4));
        assert_eq!(&Ipv4Packet::parse(&all[14..]).unwrap().payload()[8..], b"all");
        assert_eq!(EthernetFrame::parse(&all).unwrap().dst().0, [0xff; 6]);
    });
}

#[test]
fn each_queue_has_its_own() {
    in_namespace(|| {
        pair(2);
        let mut device = open("here,queues=2");
        assert_eq!(device.capabilities().queues, 2);
        let mut hosts = [Host::new(&mut device, 0), Host::new(&mut device, 1)];
        drop(device);
        let kernel = kernel_socket();
        for host in &mut hosts {
            let packet = host.datagram(&[Buffer::from_static(b"by this one")]);
            host.send(packet);
            assert_eq!(kernel.recv(&mut [0; 64]).unwrap(), 11);
        }
        // The kernel chooses a queue by the flow.
        let mut arrived = [0; 2];
        for _ in 0..64 {
            let other = UdpSocket::bind((KERNEL, 0)).unwrap();
            other.send_to(b"to one of them", (HOST, UDP_PORT)).unwrap();
        }
        let mut rounds = 0;
        while arrived.iter().sum::<u64>() < 64 {
            for (host, count) in hosts.iter_mut().zip(&mut arrived) {
                host.burst();
                *count += host.take(EtherType::IPV4).len() as u64;
            }
            rounds += 1;
            assert!(rounds < 1_000_000, "{arrived:?}");
        }
        assert!(arrived.iter().all(|count| *count > 0), "{arrived:?}");
    });
}

/// Bursts until the queue says that the device is gone. Nothing is awaited, since nobody tells all queues.
fn ends(queue: &mut dyn Queue, burst: impl Fn(&mut dyn Queue) -> Result<usize, QueueError>) {
    for _ in 0..1_000 {
        match burst(queue) {
            Err(QueueError::Gone) => return,
            Err(error) => panic!("{error}"),
            Ok(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    panic!("it is not noticed");
}

#[test]
fn an_interface_that_is_deleted_is_gone() {
    in_namespace(|| {
        pair(2);
        let mut device = open("here");
        let mut hosts = [Host::new(&mut device, 0), Host::new(&mut device, 1)];
        let receive = |queue: &mut dyn Queue| queue.rx_burst(NOW, &mut VecDeque::new(), 32);
        receive(&mut *hosts[0].queue).unwrap();
        ip("link del there");
        // The first one is told, and need not be asked.
        hosts[0].wait();
        ends(&mut *hosts[0].queue, receive);
        let packet = hosts[1].datagram(&[Buffer::from_static(b"to nobody")]);
        ends(&mut *hosts[1].queue, |queue| queue.tx_burst(NOW, &mut VecDeque::from([packet_of(&packet)])));
    });
}

/// The same packet again.
fn packet_of(packet: &Packet) -> Packet {
    Packet::from(Buffer::from(bytes(packet)))
}

#[test]
fn an_interface_that_was_down_goes_on() {
    in_namespace(|| {
        pair(1);
        let mut host = Host::new(&mut open("here"), 0);
        let kernel = kernel_socket();
        host.burst();
        ip("link set there down");
        ip("link set here down");
        host.wait();
        // What came before is received first.
        while host.queue.deadline().is_none() {
            host.burst();
        }
        let deadline = host.queue.deadline().unwrap();
        host.queue.rx_burst(deadline, &mut VecDeque::new(), 32).unwrap();
        assert!(host.queue.deadline().is_some_and(|next| next > deadline), "it is down still");
        ip("link set here up");
        ip("link set there up");
        wire::meet(host.mac());
        let mut rounds = 0;
        while host.queue.deadline().is_some() {
            let deadline: Instant = host.queue.deadline().unwrap();
            host.queue.rx_burst(deadline, &mut host.arrived, 32).unwrap();
            rounds += 1;
            assert!(rounds < 1_000);
        }
        kernel.send_to(b"again", (HOST, UDP_PORT)).unwrap();
        assert_eq!(bytes(&host.receive(EtherType::IPV4))[42..47], *b"again");
        let packet = host.datagram(&[Buffer::from_static(b"and back")]);
        host.send(packet);
        assert_eq!(kernel.recv(&mut [0; 64]).unwrap(), 8);
        host.queue.rx_burst(NOW + Duration::from_secs(2), &mut host.arrived, 32).unwrap();
        assert_eq!(host.queue.counters().reconnects, 1);
    });
}

#[test]
fn few_frames_wait_while_few_are_used_and_many_when_many_are() {
    in_namespace(|| {
        pair(1);
        let mut host = Host::new(&mut open("here"), 0);
        let kernel = kernel_socket();
        let waiting = |host: &Host| host.pool.counters().in_use_frames;
        assert!(waiting(&host) >= 2_048);
        let mut sent = 0;
        while waiting(&host) > 600 {
            kernel.send_to(b"alone", (HOST, UDP_PORT)).unwrap();
            drop(host.receive_unless_lost(EtherType::IPV4));
            sent += 1;
            assert!(sent < 10_000, "{}", waiting(&host));
        }
        let mut rounds = 0;
        while waiting(&host) < 2_048 {
            for _ in 0..400 {
                kernel.send_to(b"among many", (HOST, UDP_PORT)).unwrap();
            }
            // However few of them are taken at a time.
            host.burst();
            rounds += 1;
            assert!(rounds < 100, "{}", waiting(&host));
        }
    });
}

/// A pair without IPv6, by which the kernel tells of itself at any time.
fn quiet_pair() {
    std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
    pair(1);
}

/// The descriptor that the shard would wait for.
fn awaited(host: &mut Host) -> OwnedFd {
    match host.queue.poll_ready(&mut Context::from_waker(Waker::noop())) {
        Readiness::Descriptor { fd, .. } => fd.try_clone_to_owned().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn is_readable_within(descriptor: &OwnedFd, seconds: i64) -> bool {
    poll(&mut [PollFd::new(descriptor, PollFlags::IN)], Some(&Timespec { tv_sec: seconds, tv_nsec: 0 })).unwrap() > 0
}

#[test]
fn the_socket_is_awaited_only_before_a_sleep() {
    in_namespace(|| {
        quiet_pair();
        let mut host = Host::new(&mut open("here"), 0);
        let kernel = kernel_socket();
        let descriptor = awaited(&mut host);
        kernel.send_to(b"asleep", (HOST, UDP_PORT)).unwrap();
        assert!(is_readable_within(&descriptor, 10));
        assert_eq!(bytes(&host.receive(EtherType::IPV4))[42..48], *b"asleep");
        for _ in 0..64 {
            host.burst();
        }
        kernel.send_to(b"awake", (HOST, UDP_PORT)).unwrap();
        assert!(!is_readable_within(&descriptor, 0), "whoever is awake looks by itself");
        awaited(&mut host);
        assert!(is_readable_within(&descriptor, 10), "it has come before");
        assert_eq!(bytes(&host.receive(EtherType::IPV4))[42..47], *b"awake");
        kernel.send_to(b"again", (HOST, UDP_PORT)).unwrap();
        assert!(is_readable_within(&descriptor, 10));
    });
}

#[test]
fn what_is_for_everybody_is_not_held_up_by_what_comes_by_the_rings() {
    in_namespace(|| {
        quiet_pair();
        let mut host = Host::new(&mut open("here"), 0);
        let kernel = kernel_socket();
        kernel.set_broadcast(true).unwrap();
        kernel.send_to(b"all", (Ipv4Addr::new(10, 9, 0, 255), UDP_PORT)).unwrap();
        assert!(is_readable_within(&awaited(&mut host), 10));
        let has_come = (0..16).any(|_| {
            // More than a burst takes.
            for _ in 0..4 {
                kernel.send_to(b"for the stack", (HOST, UDP_PORT)).unwrap();
            }
            host.queue.rx_burst(NOW, &mut host.arrived, 2).unwrap();
            host.take(EtherType::IPV4).iter().any(|packet| bytes(packet)[..6] == [0xff; 6])
        });
        assert!(has_come);
    });
}
