//! What is said when an interface can't be had, and what is left of one that was.

use std::net::UdpSocket;
use std::process::Command;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::net::netdevice::name_to_index;
use rustix::net::xdp::{SocketAddrXdp, SocketAddrXdpFlags, XdpUmemReg, XdpUmemRegFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use sunstar_device::{AttachError, Device, SharedMemory, TakeError, Xdp, XdpError};
use sunstar_packet::{Buffer, Pool, PoolOptions};
use sunstar_wire::EtherType;

use crate::kernel_socket;
use crate::logged::lines_of;
use crate::namespace::{in_namespace, ip};
use crate::wire::{HOST, Host, UDP_PORT, bytes, open, pair};

fn refused(options: &str) -> XdpError {
    Xdp::open(&options.parse().unwrap()).expect_err("it can't be had")
}

/// Whether a program is attached to `here`.
pub(crate) fn is_attached() -> bool {
    let shown = Command::new("ip").args(["link", "show", "here"]).output().unwrap();
    String::from_utf8(shown.stdout).unwrap().contains("prog/xdp")
}

/// Waits until no program is attached. Processes that other tests are just starting may have the descriptor, too, until they run.
pub(crate) fn is_detached() {
    let is_so = (0..1_000).any(|_| {
        let is_so = !is_attached();
        if !is_so {
            thread::sleep(Duration::from_millis(10));
        }
        is_so
    });
    assert!(is_so, "the program is attached still");
}

#[test]
fn an_interface_is_one_users_and_free_afterwards() {
    in_namespace(|| {
        pair(1);
        for _ in 0..3 {
            let mut device = open("here");
            assert!(is_attached());
            let error = refused("here");
            assert!(matches!(error, XdpError::Busy { .. }), "{error:?}");
            let taken = device.take_queue(0).unwrap();
            assert_eq!(device.take_queue(0).unwrap_err(), TakeError::Taken { index: 0 });
            assert_eq!(device.take_queue(1).unwrap_err(), TakeError::NoSuchQueue { index: 1, queues: 1 });
            drop(device);
            assert!(is_attached(), "a queue is there still");
            drop(taken);
            is_detached();
        }
    });
}

/// A socket that has the first queue of `here`, and no program.
fn other_user() -> OwnedFd {
    let memory = SharedMemory::new(1 << 20).unwrap();
    let socket = socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None).unwrap();
    let frames = XdpUmemReg {
        addr: memory.start().as_ptr().expose_provenance() as u64,
        len: memory.len() as u64,
        chunk_size: 2_048,
        headroom: 0,
        flags: XdpUmemRegFlags::empty(),
        tx_metadata_len: 0,
    };
    sockopt::set_xdp_umem_reg(&socket, frames).unwrap();
    sockopt::set_xdp_umem_fill_ring_size(&socket, 8).unwrap();
    sockopt::set_xdp_umem_completion_ring_size(&socket, 8).unwrap();
    sockopt::set_xdp_rx_ring_size(&socket, 8).unwrap();
    let index = name_to_index(UdpSocket::bind("0.0.0.0:0").unwrap(), "here").unwrap();
    bind(&socket, &SocketAddrXdp::new(SocketAddrXdpFlags::empty(), index, 0)).unwrap();
    socket
}

#[test]
fn a_queue_that_another_one_has_is_refused() {
    in_namespace(|| {
        pair(1);
        let other = other_user();
        assert_eq!(refused("here").to_string(), "here is in use: another process has its queue 0");
        is_detached();
        // The kernel takes a little while, which is waited for.
        drop(other);
        open("here");
    });
}

#[test]
fn interfaces_that_do_not_suit_are_refused() {
    in_namespace(|| {
        pair(2);
        assert_eq!(refused("nobody").to_string(), "there is no interface nobody");
        assert_eq!(refused("here,queues=3").to_string(), "here has 2 queues that receive, not 3");
        assert_eq!(open("here,queues=1").capabilities().queues, 1);
        is_detached();
        assert_eq!(open("here").capabilities().queues, 2);
        is_detached();
        ip("link set here mtu 9000");
        assert_eq!(refused("here").to_string(), "here has an MTU of 9000 bytes; AF_XDP has room for 3818");
        ip("link set here mtu 1500");
        ip("link set there mtu 9000");
        let error = refused("here");
        assert!(matches!(error, XdpError::DriverMtu { .. }), "{error}");
        ip("link set there mtu 1500");
        ip("link add few numrxqueues 1 numtxqueues 1 type veth peer name many numrxqueues 2 numtxqueues 2");
        let error = refused("few");
        assert!(matches!(error, XdpError::DriverQueues { .. }), "{error}");
        is_detached();
    });
}

/// As the driver of virtual interfaces does not.
#[test]
fn a_hash_that_no_driver_tells_is_not_known() {
    in_namespace(|| {
        pair(2);
        let expected = "INFO xdp:here: what comes to another shard than its flow's is forwarded: its driver tells nothing of its hash: \
                        Operation not supported (os error 95)";
        let is_told = |options| {
            let lines = lines_of(|| assert_eq!(open(options).capabilities().rss, None));
            is_detached();
            lines.iter().any(|line| line == expected)
        };
        assert!(is_told("here"));
        assert!(!is_told("here,queues=1"), "there is no choice");
    });
}

#[test]
fn longer_packets_have_larger_frames() {
    in_namespace(|| {
        pair(1);
        ip("link set here mtu 3000");
        ip("link set there mtu 3000");
        let mut device = open("here");
        assert_eq!(device.capabilities().mtu_bytes, 3_000);
        let queue = device.take_queue(0).unwrap();
        let usual = PoolOptions { frame_bytes: 0, headroom_bytes: 0, limit_frames: 4_096 };
        let pool = Rc::new(queue.pool(usual).unwrap());
        assert_eq!(pool.take().unwrap().tailroom(), 4_096 - 256);
        queue.attach(pool).unwrap();
    });
}

#[test]
fn frames_from_elsewhere_are_refused() {
    in_namespace(|| {
        pair(1);
        let mut device = open("here");
        let options = PoolOptions { frame_bytes: 1_792, headroom_bytes: 256, limit_frames: 8 };
        let pool = Rc::new(Pool::new(options).unwrap());
        let error = device.take_queue(0).unwrap().attach(pool).err();
        assert_eq!(error, Some(AttachError::OtherMemory));
    });
}

#[test]
fn interfaces_without_programs_in_their_driver_have_them_elsewhere() {
    in_namespace(|| {
        ip("link add br0 type bridge");
        ip("link set br0 up");
        let device = Xdp::open(&"br0".parse().unwrap()).unwrap();
        assert_eq!(device.capabilities().queues, 1);
    });
}

/// Whoever changes it does not tell the stack.
#[test]
fn packets_that_an_mtu_does_not_suit_are_lost_and_counted_and_shorter_ones_go_on() {
    in_namespace(|| {
        pair(1);
        let mut host = Host::new(&mut open("here"), 0);
        let kernel = kernel_socket();
        ip("link set here mtu 3000");
        ip("link set there mtu 3000");
        for lost in 1..=3 {
            kernel.send_to(&[7; 2_500], (HOST, UDP_PORT)).unwrap();
            kernel.send_to(b"short", (HOST, UDP_PORT)).unwrap();
            assert_eq!(bytes(&host.receive(EtherType::IPV4))[42..47], *b"short");
            let of = host.queue.counters();
            assert_eq!((of.rx_truncated, of.rx_packets), (lost, lost), "it is longer than a frame");
        }
        // The kernel looks at what comes there.
        ip("link set there mtu 1000");
        for payload in [vec![7; 1_400], b"short".to_vec()] {
            let packet = host.datagram(&[Buffer::from(payload)]);
            host.send(packet);
        }
        assert_eq!(kernel.recv(&mut [0; 2_000]).unwrap(), 5);
    });
}
