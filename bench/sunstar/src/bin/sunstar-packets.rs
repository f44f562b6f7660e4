//! Packets per second of devices: `sunstar-packets link`, or `tap` in a network namespace of its own (`unshare -n`).

use std::collections::VecDeque;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Command, ExitCode};
use std::rc::Rc;
use std::time::{Duration, Instant as Clock};

use sunstar_device::{Device, LinkOptions, Queue, Tap, TapOptions, link};
use sunstar_executor::Instant;
use sunstar_packet::{Buffer, Packet, Pool, PoolOptions};
use sunstar_wire::{EtherType, EthernetHeader, MacAddr, Vlan};

const NOW: Instant = Instant::ORIGIN;
const BURST: usize = 32;
const TIME: Duration = Duration::from_secs(3);
/// The experimental ethertype, IEEE 802: the kernel drops it, after it has received it.
const UNKNOWN: u16 = 0x88b5;
const KERNEL: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("link") => links(),
        Some("tap") => taps(),
        _ => {
            eprintln!("usage: sunstar-packets link | tap");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Calls `round` for a while, and shows how many packets of that many bytes it moves per time of the processor.
fn measure(name: &str, packet_bytes: usize, mut round: impl FnMut() -> usize) {
    let (begin, cpu_begin) = (Clock::now(), cpu_ns());
    let mut packets = 0_u64;
    while begin.elapsed() < TIME {
        for _ in 0..100 {
            packets += round() as u64;
        }
    }
    let cpu_ns = cpu_ns() - cpu_begin;
    #[expect(clippy::cast_precision_loss, reason = "a figure to be looked at")]
    let (each, bits) = (cpu_ns as f64 / packets as f64, packet_bytes as f64 * 8.0);
    println!("{name:<45} {:>9.3} M packets/s {each:>8.1} ns {:>8.2} Gbit/s", 1e3 / each, bits / each);
}

/// How long this thread has had a processor. The time that others have had it does not count.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("the kernel has it");
    text.split(' ').next().and_then(|number| number.parse().ok()).expect("it begins with that time")
}

fn links() {
    let (mut here, mut there) = link(LinkOptions::default());
    let frame = Buffer::copy_from_slice(&[0; 64]);
    let mut packets = VecDeque::new();
    measure("link, 64 bytes", 64, || {
        packets.extend((0..BURST).map(|_| Packet::from(frame.clone())));
        here.tx_burst(NOW, &mut packets).expect("both ends are there");
        let count = there.rx_burst(NOW, &mut packets, BURST).expect("both ends are there");
        packets.clear();
        count
    });
}

fn taps() {
    let options: TapOptions = "t0,mtu=65000".parse().expect("the options are right");
    let mut tap = Tap::open(&options).expect("a TAP can be made");
    let mac = tap.capabilities().mac;
    ip(&format!("addr add {KERNEL}/24 dev t0"));
    ip(&format!("neigh add {HOST} lladdr {mac} dev t0"));
    let shape = PoolOptions { frame_bytes: 16 << 10, headroom_bytes: 64, limit_frames: 1024 };
    let pool = Rc::new(Pool::new(shape).expect("the frames are small"));
    let kernel_mac = tap.kernel_mac();
    let detached = tap.take_queue(0).expect("it is the first");
    let mut queue = detached.attach(pool).expect("the frames suit it");
    for len in [64, 1514, 60_000] {
        let packet = frame(kernel_mac, mac, len);
        let mut packets = VecDeque::new();
        measure(&format!("tap, sending {len} bytes"), len, || {
            packets.extend((0..BURST).map(|_| Packet::from(packet.clone())));
            queue.tx_burst(NOW, &mut packets).expect("the device works")
        });
    }
    for len in [64, 1514, 60_000] {
        receive(queue.as_mut(), len);
    }
    println!("{:?}", queue.counters());
}

/// Receives what this thread itself sends by a socket of the kernel.
fn receive(queue: &mut dyn Queue, len: usize) {
    let socket = UdpSocket::bind((KERNEL, 0)).expect("the address is the interface's");
    let payload = vec![0; len - 42];
    let mut out = VecDeque::new();
    measure(&format!("tap, kernel's send and receiving {len} bytes"), len, || {
        for _ in 0..BURST {
            socket.send_to(&payload, (HOST, 9)).expect("the interface has room for a burst");
        }
        let count = queue.rx_burst(NOW, &mut out, 2 * BURST).expect("the device works");
        out.clear();
        count
    });
}

fn frame(dst: MacAddr, src: MacAddr, len: usize) -> Buffer {
    let ethertype = EtherType::new(UNKNOWN).expect("it is above 0x600");
    let mut bytes = EthernetHeader { dst, src, vlan: Vlan::Untagged, ethertype }.to_bytes().to_vec();
    bytes.resize(len, 0);
    Buffer::from(bytes)
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.expect("the package iproute2 is installed").success(), "ip {arguments}");
}
