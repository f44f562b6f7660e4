//! A host of a few lines behind a TAP: it answers ARP, and leaves the rest to the test.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::task::{Context, Waker};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sunstar_device::{Device, Queue, Readiness, Tap, TapOptions};
use sunstar_executor::Instant;
use sunstar_packet::{Buffer, Checksum, CopyCounter, Packet, Pool, PoolOptions};
use sunstar_wire::checksum::{Fill, Sum, pseudo_header_v4};
use sunstar_wire::{
    Arp, ArpOperation, EtherType, EthernetFrame, EthernetHeader, IpProtocol, Ipv4Header, Ipv4Packet, MacAddr,
    UdpHeader, Vlan,
};

use crate::namespace::ip;

/// The kernel's address.
pub(crate) const KERNEL: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
/// The host's address.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// Bytes of an Ethernet and an IPv4 header.
pub(crate) const IP_END: usize = 14 + 20;

pub(crate) const NOW: Instant = Instant::ORIGIN;

/// One queue of a TAP, and the frames that it receives into.
pub(crate) struct Host {
    pub(crate) queue: Box<dyn Queue>,
    pub(crate) pool: Rc<Pool>,
    kernel_mac: MacAddr,
    pub(crate) arrived: VecDeque<Packet>,
}

/// The first queue of a TAP that is made and configured.
pub(crate) fn host(options: &str) -> Host {
    let mut tap = Tap::open(&options.parse().expect("the options are right")).expect("a TAP can be made");
    configure(&tap);
    Host::new(&mut tap, 0, 4096, 1000)
}

/// Gives the kernel its address at the interface.
pub(crate) fn configure(tap: &Tap) {
    ip(&format!("addr add {KERNEL}/24 dev {}", tap.name()));
}

/// A TAP that can be made.
pub(crate) fn open(options: &str) -> Tap {
    let options: TapOptions = options.parse().expect("the options are right");
    Tap::open(&options).expect("a TAP can be made")
}

impl Host {
    pub(crate) fn new(tap: &mut Tap, index: usize, frame_bytes: usize, limit_frames: usize) -> Self {
        let options = PoolOptions { frame_bytes, headroom_bytes: 64, limit_frames };
        let pool = Rc::new(Pool::new(options).expect("the frames are small"));
        let queue =
            tap.take_queue(index).expect("nobody took it").attach(Rc::clone(&pool)).expect("the frames suit it");
        Self { queue, pool, kernel_mac: tap.kernel_mac(), arrived: VecDeque::new() }
    }

    /// Waits until something can be received.
    pub(crate) fn wait(&mut self) {
        if let Readiness::Descriptor { fd, readable, .. } =
            self.queue.poll_ready(&mut Context::from_waker(Waker::noop()))
        {
            if !readable {
                // Frames are waited for, and time does not matter here.
                return;
            }
            let mut fds = [PollFd::new(&fd, PollFlags::IN)];
            let count = poll(&mut fds, Some(&Timespec { tv_sec: 10, tv_nsec: 0 })).expect("the descriptor is open");
            assert!(count > 0, "nothing arrived within ten seconds");
        }
    }

    /// The next packet that is not ARP.
    pub(crate) fn receive(&mut self) -> Packet {
        loop {
            if let Some(packet) = self.arrived.pop_front() {
                match self.answer_arp(&packet) {
                    Some(reply) => self.send(reply),
                    None => return packet,
                }
            } else {
                self.wait();
                self.burst();
            }
        }
    }

    /// Receives what is there.
    pub(crate) fn burst(&mut self) -> usize {
        self.queue.rx_burst(NOW, &mut self.arrived, 32).expect("the device works")
    }

    /// The next IPv4 packet with that protocol; others are dropped.
    pub(crate) fn receive_ip(&mut self, protocol: IpProtocol) -> Packet {
        loop {
            let mut packet = self.receive();
            let len = packet.len();
            let head = packet.contiguous(len.min(128), &CopyCounter::default()).expect("it is as long");
            let Ok(frame) = EthernetFrame::parse(head) else { continue };
            let Ok(ip) = Ipv4Packet::parse_head(frame.payload(), len - frame.header_len()) else { continue };
            if ip.protocol() == protocol {
                return packet;
            }
        }
    }

    pub(crate) fn send(&mut self, packet: Packet) {
        let mut packets = VecDeque::from([packet]);
        assert_eq!(self.queue.tx_burst(NOW, &mut packets).expect("the device works"), 1);
    }

    fn answer_arp(&self, packet: &Packet) -> Option<Packet> {
        let frame = EthernetFrame::parse(&packet.buffers()[0]).ok()?;
        let request = Arp::parse(frame.payload()).ok().filter(|_| frame.ethertype() == EtherType::ARP)?;
        if request.operation != ArpOperation::Request || request.tpa != HOST {
            return None;
        }
        let reply = request.reply(self.queue.capabilities().mac);
        Some(joined(&[&self.ethernet(EtherType::ARP), &reply.to_bytes()]))
    }

    fn ethernet(&self, ethertype: EtherType) -> Vec<u8> {
        let src = self.queue.capabilities().mac;
        EthernetHeader { dst: self.kernel_mac, src, vlan: Vlan::Untagged, ethertype }.to_bytes().to_vec()
    }

    /// A packet to the kernel, each part in a buffer of its own.
    pub(crate) fn packet(&self, protocol: IpProtocol, parts: &[&[u8]]) -> Packet {
        let len = parts.iter().map(|part| part.len()).sum();
        let ip = Ipv4Header::new(protocol, HOST, KERNEL).to_bytes(len).expect("it is no longer than IP allows");
        let mut packet = joined(&[&self.ethernet(EtherType::IPV4), &ip]);
        for part in parts {
            packet.push_back(Buffer::copy_from_slice(part)).expect("there are few parts");
        }
        packet
    }

    /// A datagram to the kernel, whose checksum the kernel completes.
    pub(crate) fn datagram(&self, src_port: u16, dst_port: u16, payload: &[u8]) -> Packet {
        let length = u16::try_from(UdpHeader::LEN + payload.len()).expect("a datagram");
        let fill = Fill::Partial(pseudo_header_v4(HOST, KERNEL, IpProtocol::UDP, length));
        let header = UdpHeader { src_port, dst_port }.to_bytes(payload.len(), fill).expect("a datagram");
        let mut packet = self.packet(IpProtocol::UDP, &[&header, payload]);
        packet.offload.checksum = Checksum::Partial { csum_start: IP_END.try_into().expect("small"), csum_offset: 6 };
        packet
    }
}

/// One buffer of several parts.
fn joined(parts: &[&[u8]]) -> Packet {
    Packet::from(Buffer::copy_from_slice(&parts.concat()))
}

/// All bytes of a packet.
pub(crate) fn bytes(packet: &Packet) -> Vec<u8> {
    packet.buffers().concat()
}

/// Whether the transport checksum of an IPv4 packet is complete and right.
pub(crate) fn is_sum_valid(packet: &Packet, protocol: IpProtocol) -> bool {
    let all = bytes(packet);
    let ip = Ipv4Packet::parse(&all[14..]).expect("an IPv4 packet");
    let length = u16::try_from(ip.payload_len()).expect("IPv4");
    (pseudo_header_v4(ip.src(), ip.dst(), protocol, length) + Sum::of(ip.payload())).is_valid()
}
