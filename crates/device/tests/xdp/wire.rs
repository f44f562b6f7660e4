//! A pair of virtual interfaces, at whose one end the kernel has an address, and a host of a few lines at the other end.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sunstar_device::{Device, Queue, Readiness, SendMemory, Xdp};
use sunstar_executor::Instant;
use sunstar_packet::{Buffer, BufferMut, Packet, Pool, PoolOptions};
use sunstar_wire::checksum::{Fill, Sum, pseudo_header_v4};
use sunstar_wire::{EtherType, EthernetFrame, EthernetHeader, IpProtocol, Ipv4Header, MacAddr, UdpHeader, Vlan};

use crate::namespace::ip;

/// The kernel's address at the other end.
pub(crate) const KERNEL: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
/// The host's address.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
pub(crate) const UDP_PORT: u16 = 9;

pub(crate) const NOW: Instant = Instant::ORIGIN;

const KERNEL_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x10]);
pub(crate) const HERE_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x20]);
/// The host's, which differs from the kernel's own at that end.
const HOST_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x21]);

/// Makes the interfaces `here` and `there`, with so many queues.
pub(crate) fn pair(queues: usize) {
    let count = format!("numrxqueues {queues} numtxqueues {queues}");
    ip(&format!("link add here address {HERE_MAC} {count} type veth peer name there address {KERNEL_MAC} {count}"));
    ip(&format!("addr add {KERNEL}/24 dev there"));
    ip("link set there up");
    ip("link set here up");
    meet(HOST_MAC);
}

/// Tells the kernel who has the host's address.
pub(crate) fn meet(mac: MacAddr) {
    ip(&format!("neigh replace {HOST} lladdr {mac} dev there"));
}

/// A device that can be had.
pub(crate) fn open(options: &str) -> Xdp {
    let device = Xdp::open(&options.parse().expect("the options are right"));
    let device = device.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((device.kernel_mac(), device.capabilities().mac), (HERE_MAC, HOST_MAC));
    device
}

/// One queue, and the frames that it receives into.
pub(crate) struct Host {
    pub(crate) queue: Box<dyn Queue>,
    pub(crate) pool: Rc<Pool>,
    /// What applications and stacks send from.
    pub(crate) sends: SendMemory,
    pub(crate) arrived: VecDeque<Packet>,
    /// How many packets have been taken out of those.
    pub(crate) received: u64,
    /// Frames that wait to be received into.
    posted: usize,
}

impl Host {
    pub(crate) fn new(device: &mut Xdp, index: usize) -> Self {
        let queue = device.take_queue(index).expect("nobody took it");
        let usual = PoolOptions { frame_bytes: 0, headroom_bytes: 0, limit_frames: 8_192 };
        let pool = Rc::new(queue.pool(usual).expect("the frames are small"));
        let sends = queue.send_memory().expect("it has memory of its own");
        let queue = queue.attach(Rc::clone(&pool)).expect("the frames suit it");
        let posted = pool.counters().in_use_frames;
        // The first one has a frame for what is for everybody.
        assert_eq!(posted, 2_048 + usize::from(index == 0));
        Self { queue, pool, sends, arrived: VecDeque::new(), received: 0, posted }
    }

    pub(crate) fn mac(&self) -> MacAddr {
        self.queue.capabilities().mac
    }

    /// Waits until there is something.
    pub(crate) fn wait(&mut self) {
        assert!(self.comes_within(10), "nothing arrived within ten seconds");
    }

    /// Waits until there is something, for so long.
    fn comes_within(&mut self, seconds: i64) -> bool {
        if let Readiness::Descriptor { fd, readable, .. } =
            self.queue.poll_ready(&mut Context::from_waker(Waker::noop()))
        {
            if !readable {
                // Frames are waited for, of which nobody tells.
                thread::sleep(Duration::from_millis(10));
                return true;
            }
            let mut fds = [PollFd::new(&fd, PollFlags::IN)];
            let patience = Timespec { tv_sec: seconds, tv_nsec: 0 };
            return poll(&mut fds, Some(&patience)).expect("the descriptor is open") > 0;
        }
        true
    }

    /// Receives what is there.
    pub(crate) fn burst(&mut self) {
        self.queue.rx_burst(NOW, &mut self.arrived, 32).expect("the device works");
    }

    /// Of what has arrived, that of a kind; the rest is dropped.
    pub(crate) fn take(&mut self, kind: EtherType) -> Vec<Packet> {
        self.received += self.arrived.len() as u64;
        self.arrived.drain(..).filter(|packet| is(packet, kind)).collect()
    }

    /// The next packet of a kind; others are dropped.
    pub(crate) fn receive(&mut self, kind: EtherType) -> Packet {
        loop {
            if let Some(packet) = self.next(kind) {
                return packet;
            }
            self.wait();
            self.burst();
        }
    }

    /// What comes until a packet of a kind, which is the last one.
    pub(crate) fn receive_until(&mut self, kind: EtherType) -> Vec<Packet> {
        let mut packets: Vec<Packet> = Vec::new();
        while packets.last().is_none_or(|packet| !is(packet, kind)) {
            match self.arrived.pop_front() {
                Some(packet) => packets.push(packet),
                None => {
                    self.wait();
                    self.burst();
                }
            }
        }
        self.received += packets.len() as u64;
        packets
    }

    /// The next packet of a kind, unless it does not come for a while; others are dropped.
    pub(crate) fn receive_unless_lost(&mut self, kind: EtherType) -> Option<Packet> {
        for _ in 0..100 {
            if let Some(packet) = self.next(kind) {
                return Some(packet);
            }
            if !self.comes_within(1) {
                return None;
            }
            self.burst();
        }
        self.next(kind)
    }

    /// The next packet of a kind among those that have arrived.
    fn next(&mut self, kind: EtherType) -> Option<Packet> {
        while let Some(packet) = self.arrived.pop_front() {
            self.received += 1;
            if is(&packet, kind) {
                return Some(packet);
            }
        }
        None
    }

    pub(crate) fn send(&mut self, packet: Packet) {
        let mut packets = VecDeque::from([packet]);
        assert_eq!(self.queue.tx_burst(NOW, &mut packets).expect("the device works"), 1);
    }

    /// Makes an answer of a datagram. No sum has to be changed: both addresses and both ports stay the same, together.
    pub(crate) fn turn_round(&self, frame: &mut BufferMut) {
        let (dst, src) = frame[..12].split_at_mut(6);
        dst.swap_with_slice(src);
        let (src, dst) = frame[26..34].split_at_mut(4);
        src.swap_with_slice(dst);
        let (src, dst) = frame[34..38].split_at_mut(2);
        src.swap_with_slice(dst);
        // The kernel had left the checksum to the device; without one the datagram is as good.
        frame[40..42].fill(0);
    }

    /// A datagram to the kernel: headers on the heap, and then these.
    pub(crate) fn datagram(&self, payload: &[Buffer]) -> Packet {
        self.datagram_to(UDP_PORT, payload)
    }

    /// The same to another port.
    pub(crate) fn datagram_to(&self, port: u16, payload: &[Buffer]) -> Packet {
        let len = payload.iter().map(|part| part.len()).sum::<usize>();
        let ethernet =
            EthernetHeader { dst: KERNEL_MAC, src: self.mac(), vlan: Vlan::Untagged, ethertype: EtherType::IPV4 };
        let length = u16::try_from(UdpHeader::LEN + len).expect("a datagram");
        let sum = payload.iter().fold(Vec::new(), |mut all, part| {
            all.extend_from_slice(part);
            all
        });
        let sum = pseudo_header_v4(HOST, KERNEL, IpProtocol::UDP, length) + Sum::of(&sum);
        let header = UdpHeader { src_port: UDP_PORT, dst_port: port };
        let udp = header.to_bytes(len, Fill::Complete(sum)).expect("a datagram");
        let ip = Ipv4Header::new(IpProtocol::UDP, HOST, KERNEL).to_bytes(UdpHeader::LEN + len).expect("a packet");
        let head = [&ethernet.to_bytes()[..], &ip[..], &udp[..]].concat();
        let mut packet = Packet::from(Buffer::from(head));
        for part in payload {
            packet.push_back(part.clone()).expect("there are few parts");
        }
        packet
    }

    /// Waits until so many frames are held, beside those that wait to be received into: the kernel has given back all that was sent.
    pub(crate) fn settle(&mut self, held: usize) {
        for _ in 0..1_000 {
            self.burst();
            self.arrived.clear();
            if self.pool.counters().in_use_frames <= self.posted + held {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{:?}", self.pool.counters());
    }
}

fn is(packet: &Packet, kind: EtherType) -> bool {
    EthernetFrame::parse(&bytes(packet)).is_ok_and(|frame| frame.ethertype() == kind)
}

pub(crate) fn bytes(packet: &Packet) -> Vec<u8> {
    packet.buffers().iter().flat_map(|buffer| buffer.iter().copied()).collect()
}
