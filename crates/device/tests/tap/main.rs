//! TAP devices, with the kernel as the peer, each in a network namespace of its own.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod errors;
mod host;
mod namespace;
mod tcp;

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::task::{Context, Waker};
use std::thread;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, recv, sendto, socket};
use sunstar_device::{Device, QueueError, Readiness};
use sunstar_packet::{Checksum, Segmentation, SegmentationKind};
use sunstar_wire::checksum::{Sum, update};
use sunstar_wire::{IpProtocol, Ipv4Packet, MacAddr};

use host::{HOST, Host, IP_END, KERNEL, NOW, bytes, configure, host, is_sum_valid, open};
use namespace::{in_namespace, ip};
use tcp::{Connection, PORT};

const UDP_PORT: u16 = 9;

fn to_host() -> SocketAddrV4 {
    SocketAddrV4::new(HOST, UDP_PORT)
}

/// Bytes of which no two neighbourhoods are alike.
fn pattern(len: usize) -> Vec<u8> {
    (0_u32..).flat_map(u32::to_be_bytes).take(len).collect()
}

fn kernel_socket() -> UdpSocket {
    UdpSocket::bind((KERNEL, 0)).unwrap()
}

#[test]
fn the_kernel_is_answered_when_it_pings() {
    in_namespace(|| {
        let mut host = host("t0");
        let ping = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)).unwrap();
        let mut request = vec![8, 0, 0, 0, 0x12, 0x34, 0, 1];
        request.extend(pattern(56));
        let sum = Sum::of(&request).checksum();
        request[2..4].copy_from_slice(&sum.to_be_bytes());
        sendto(&ping, &request, SendFlags::empty(), &SocketAddrV4::new(HOST, 0)).unwrap();

        let arrived = bytes(&host.receive_ip(IpProtocol::ICMP));
        let mut reply = Ipv4Packet::parse(&arrived[14..]).unwrap().payload().to_vec();
        assert_eq!(reply, request);
        reply[0] = 0;
        let sum = update(sum, Sum::of(&[8, 0]), Sum::of(&[0, 0]));
        reply[2..4].copy_from_slice(&sum.to_be_bytes());
        host.send(host.packet(IpProtocol::ICMP, &[&reply]));

        let mut buffer = [0; 200];
        let (len, _) = recv(&ping, &mut buffer, RecvFlags::empty()).unwrap();
        assert_eq!(buffer[20..len], reply);
    });
}

#[test]
fn datagrams_are_echoed_with_checksums_that_the_kernel_completes() {
    in_namespace(|| {
        let mut host = host("t0");
        let socket = kernel_socket();
        for len in [0, 1, 1000, 1472] {
            socket.send_to(&pattern(len), to_host()).unwrap();
            let packet = host.receive_ip(IpProtocol::UDP);
            assert!(matches!(packet.offload.checksum, Checksum::Partial { csum_start: 34, csum_offset: 6 }));
            let arrived = bytes(&packet);
            assert_eq!(arrived[IP_END + 8..], pattern(len));
            host.send(host.datagram(UDP_PORT, socket.local_addr().unwrap().port(), &arrived[IP_END + 8..]));
            let mut buffer = [0; 2000];
            assert_eq!(socket.recv(&mut buffer).unwrap(), len);
            assert_eq!(buffer[..len], pattern(len));
        }
        assert_eq!(host.queue.counters().tx_dropped + host.queue.counters().tx_refused, 0);
    });
}

#[test]
fn without_offloads_packets_are_small_and_checksums_complete() {
    in_namespace(|| {
        let mut host = host("t0,offload=off");
        assert_eq!(host.queue.capabilities().max_rx_bytes(), 1522);
        let client = thread::spawn(|| {
            TcpStream::connect((HOST, PORT)).unwrap().write_all(&pattern(100_000)).unwrap();
        });
        let mut connection = Connection::accept(&mut host);
        let stream = connection.receive(&mut host, 100_000, |packet| {
            assert!(packet.len() <= 1514 && packet.offload.segmentation.is_none());
            assert_eq!(packet.offload.checksum, Checksum::Complete);
            assert!(is_sum_valid(packet, IpProtocol::TCP));
        });
        assert_eq!(stream, pattern(100_000));
        client.join().unwrap();
    });
}

#[test]
fn large_packets_of_the_kernel_arrive_in_one_piece() {
    in_namespace(|| {
        const BYTES: usize = 4_000_000;
        let mut host = host("t0");
        let client = thread::spawn(|| {
            TcpStream::connect((HOST, PORT)).unwrap().write_all(&pattern(BYTES)).unwrap();
        });
        let mut connection = Connection::accept(&mut host);
        let (mut longest, mut buffers) = (0, 0);
        let stream = connection.receive(&mut host, BYTES, |packet| {
            longest = longest.max(packet.len());
            buffers = buffers.max(packet.buffers().len());
            let Some(segmentation) = packet.offload.segmentation else { return };
            let expected = Segmentation { kind: SegmentationKind::Tcpv4, has_ecn: false, gso_size: 1460, hdr_len: 54 };
            assert_eq!(segmentation, expected);
            assert!(matches!(packet.offload.checksum, Checksum::Partial { csum_start: 34, csum_offset: 16 }));
        });
        assert!(stream == pattern(BYTES), "all bytes arrive, in order");
        assert!(longest > 32_000, "the longest packet has {longest} bytes");
        assert!(buffers > 8, "and {buffers} frames");
        client.join().unwrap();
        host.arrived.clear();
        drop(host.queue);
        assert_eq!(host.pool.counters().in_use_frames, 0, "all frames came home");
    });
}

#[test]
fn the_kernel_cuts_large_segments() {
    in_namespace(|| {
        let mut host = host("t0");
        let client = thread::spawn(|| {
            let mut stream = TcpStream::connect((HOST, PORT)).unwrap();
            stream.write_all(b"go").unwrap();
            let mut received = vec![0; 60_000];
            stream.read_exact(&mut received).unwrap();
            received
        });
        let mut connection = Connection::accept(&mut host);
        assert_eq!(connection.receive(&mut host, 2, |_| {}), b"go");
        let payload = pattern(60_000);
        let (first, rest) = payload.split_at(30_001);
        connection.send(&mut host, &[first, rest]);
        assert!(client.join().unwrap() == payload, "the kernel has all bytes, in order");
        assert_eq!(host.queue.counters().tx_refused, 0);
    });
}

#[test]
fn the_kernel_cuts_datagrams() {
    in_namespace(|| {
        let mut host = host("t0");
        assert!(host.queue.capabilities().tx.uso, "the kernel has USO");
        let socket = kernel_socket();
        let payload = pattern(14_000 + 17);
        let mut packet = host.datagram(UDP_PORT, socket.local_addr().unwrap().port(), &payload);
        packet.offload.segmentation =
            Some(Segmentation { kind: SegmentationKind::UdpL4, has_ecn: false, gso_size: 1400, hdr_len: 42 });
        host.send(packet);
        let mut buffer = [0; 2000];
        let mut received = Vec::new();
        for index in 0..11 {
            let len = socket.recv(&mut buffer).unwrap();
            assert_eq!(len, if index < 10 { 1400 } else { 17 });
            received.extend_from_slice(&buffer[..len]);
        }
        assert_eq!(received, payload);
    });
}

/// What a program sends as one piece, for the kernel to cut, is received as the datagrams that it stands for.
#[test]
fn datagrams_of_the_kernel_come_one_by_one() {
    in_namespace(|| {
        let mut host = host("t0");
        assert!(!host.queue.capabilities().rx.uso);
        let socket = kernel_socket();
        let each: libc::c_int = 1_000;
        // SAFETY: the kernel reads a number, which is there.
        let outcome = unsafe {
            let len = size_of_val(&each).try_into().expect("a number is short");
            libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, (&raw const each).cast(), len)
        };
        assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
        let payload = pattern(5_017);
        socket.send_to(&payload, to_host()).unwrap();
        let mut received = Vec::new();
        for index in 0..6 {
            let packet = host.receive_ip(IpProtocol::UDP);
            assert!(packet.offload.segmentation.is_none());
            let datagram = &bytes(&packet)[IP_END + 8..];
            assert_eq!(datagram.len(), if index < 5 { 1_000 } else { 17 });
            received.extend_from_slice(datagram);
        }
        assert_eq!(received, payload);
    });
}

#[test]
fn flows_are_spread_over_queues() {
    in_namespace(|| {
        let mut tap = open("t0,queues=2");
        configure(&tap);
        assert_eq!(tap.capabilities().queues, 2);
        let mut hosts = [Host::new(&mut tap, 0, 2048, 200), Host::new(&mut tap, 1, 2048, 200)];
        // Once the kernel knows the address it asks no more.
        ip(&format!("neigh add {HOST} lladdr {} dev t0", tap.capabilities().mac));
        let sockets: Vec<UdpSocket> = (0..32).map(|_| kernel_socket()).collect();
        for socket in &sockets {
            socket.send_to(b"hello", to_host()).unwrap();
        }
        let mut seen = [0; 2];
        for (host, seen) in hosts.iter_mut().zip(&mut seen) {
            while host.burst() > 0 {}
            let is_datagram = |packet: &sunstar_packet::Packet| bytes(packet).ends_with(b"hello");
            *seen = host.arrived.iter().filter(|packet| is_datagram(packet)).count();
        }
        assert!(seen[0] > 0 && seen[1] > 0 && seen[0] + seen[1] == 32, "{seen:?}");
        for (index, host) in hosts.iter_mut().enumerate() {
            host.send(host.datagram(UDP_PORT, sockets[index].local_addr().unwrap().port(), b"both can send"));
            assert_eq!(sockets[index].recv(&mut [0; 100]).unwrap(), 13);
        }
    });
}

#[test]
fn mtu_and_addresses_are_those_of_the_interface() {
    in_namespace(|| {
        ip("tuntap add dev t0 mode tap multi_queue");
        ip("link set t0 up mtu 4000 address 52:54:00:00:00:08");
        let tap = open("t0");
        assert_eq!((tap.name(), tap.capabilities().mtu_bytes), ("t0", 4000));
        assert_eq!(tap.kernel_mac(), MacAddr([0x52, 0x54, 0, 0, 0, 8]));
        assert_eq!(tap.capabilities().mac, MacAddr([0x52, 0x54, 0, 0, 0, 9]));
        drop(tap);
        assert_eq!(open("t0,mtu=9000").capabilities().mtu_bytes, 9000);
        assert_eq!(open("other%d").name(), "other0");
    });
}

#[test]
fn how_many_packets_wait_in_the_kernel_is_a_matter_of_options() {
    in_namespace(|| {
        let _tap = open("t0,txqueue=4321");
        let shown = std::process::Command::new("ip").args(["link", "show", "t0"]).output().unwrap().stdout;
        assert!(String::from_utf8_lossy(&shown).contains("qlen 4321"), "{}", String::from_utf8_lossy(&shown));
    });
}

#[test]
fn a_queue_waits_for_frames_and_goes_on() {
    in_namespace(|| {
        let mut tap = open("t0,offload=off");
        configure(&tap);
        let mut host = Host::new(&mut tap, 0, 2048, 1);
        let mac = tap.capabilities().mac;
        ip(&format!("neigh add {HOST} lladdr {mac} dev t0"));
        let socket = kernel_socket();
        socket.send_to(b"first", to_host()).unwrap();
        let first = host.receive_ip(IpProtocol::UDP);
        socket.send_to(b"second", to_host()).unwrap();
        assert_eq!(host.burst(), 0);
        assert!(host.queue.counters().rx_no_frames > 0);
        assert!(host.queue.deadline().is_some_and(|deadline| deadline > NOW), "it tries again");
        let readiness = host.queue.poll_ready(&mut Context::from_waker(Waker::noop()));
        // The descriptor is readable all the time, so waiting for that would not be waiting.
        assert!(matches!(readiness, Readiness::Descriptor { readable: false, writable: false, .. }), "{readiness:?}");
        drop(first);
        assert!(bytes(&host.receive_ip(IpProtocol::UDP)).ends_with(b"second"));
        assert_eq!(host.burst(), 0);
        assert!(host.queue.deadline().is_none(), "there is a frame");
    });
}

#[test]
fn what_does_not_fit_the_frames_is_dropped_and_counted() {
    in_namespace(|| {
        let mut tap = open("t0");
        configure(&tap);
        // Enough for packets of the MTU, but not for large ones.
        let mut host = Host::new(&mut tap, 0, 2048, 2);
        ip(&format!("neigh add {HOST} lladdr {} dev t0", tap.capabilities().mac));
        ip("link set t0 mtu 9000");
        let socket = kernel_socket();
        socket.send_to(&pattern(8000), to_host()).unwrap();
        socket.send_to(b"small", to_host()).unwrap();
        assert!(bytes(&host.receive_ip(IpProtocol::UDP)).ends_with(b"small"));
        assert_eq!(host.queue.counters().rx_truncated, 1);
    });
}

#[test]
fn a_link_that_is_down_drops_and_one_that_is_deleted_is_gone() {
    in_namespace(|| {
        let mut host = host("t0");
        let packet = |host: &Host| VecDeque::from([host.datagram(1, 2, b"x")]);
        ip("link set t0 down");
        let mut packets = packet(&host);
        assert_eq!(host.queue.tx_burst(NOW, &mut packets).unwrap(), 1);
        assert_eq!(host.queue.counters().tx_dropped, 1);
        ip("link del t0");
        let mut packets = packet(&host);
        assert!(matches!(host.queue.tx_burst(NOW, &mut packets), Err(QueueError::Gone)));
        assert!(matches!(host.queue.rx_burst(NOW, &mut host.arrived, 1), Err(QueueError::Gone)));
    });
}
