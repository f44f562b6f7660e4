//! One stack on an Ethernet, and what its neighbours send it.

use core::net::Ipv4Addr;
use core::time::Duration;

use sunstar_packet::{Buffer, Packet};
use sunstar_wire::checksum::{Fill, Sum, pseudo_header_v4};
use sunstar_wire::{
    Arp, EtherType, EthernetFrame, EthernetHeader, IpProtocol, Ipv4Header, Ipv4Packet, MacAddr, UdpHeader, Vlan,
};

use super::world::{ADDRESSES, ethernet, mac};
use crate::drops::DropReason;
use crate::interface::InterfaceId;
use crate::prefix::Prefix;
use crate::stack::{Limits, Stack};
use crate::time::Instant;

/// The stack has the first address; the second one's station is the usual peer.
pub(super) struct Script {
    pub(super) now: Instant,
    pub(super) stack: Stack,
    pub(super) link: InterfaceId,
}

pub(super) const US: Ipv4Addr = ADDRESSES[0];
pub(super) const PEER: Ipv4Addr = ADDRESSES[1];
/// All stations of our network.
pub(super) const NETWORK: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 255);

/// What left, as far as it is understood here.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) ethernet: EthernetHeader,
    pub(super) bytes: Vec<u8>,
}

impl Sent {
    pub(super) fn arp(&self) -> Arp {
        assert_eq!(self.ethernet.ethertype, EtherType::ARP);
        Arp::parse(&self.bytes).expect("well formed")
    }

    /// The IP packet, whose checksum is right.
    pub(super) fn ip(&self) -> Ipv4Packet<'_> {
        assert_eq!(self.ethernet.ethertype, EtherType::IPV4);
        let ip = Ipv4Packet::parse(&self.bytes).expect("well formed");
        assert!(ip.has_valid_checksum());
        ip
    }
}

impl Script {
    pub(super) fn new() -> Self {
        Self::with_limits(Limits::DEFAULT)
    }

    pub(super) fn with_limits(limits: Limits) -> Self {
        let mut script = Self::before_announcing(limits);
        script.wait(Duration::from_secs(10));
        script.sent();
        script
    }

    /// On a link with very many stations.
    pub(super) fn wide() -> Self {
        let mut script = Self::with_prefix(Limits::DEFAULT, 8);
        script.wait(Duration::from_secs(10));
        script.sent();
        script
    }

    /// Nothing was sent yet.
    pub(super) fn before_announcing(limits: Limits) -> Self {
        Self::with_prefix(limits, 24)
    }

    fn with_prefix(limits: Limits, bits: u8) -> Self {
        let now = Instant::from_micros(1_000_000);
        let mut stack = Stack::new([3; 16], limits);
        let link = stack.add_interface(ethernet(0)).expect("there is room");
        stack.add_address(now, link, Prefix::new(US, bits).expect("32 bits")).expect("it is a station's");
        Self { now, stack, link }
    }

    /// The peer is known.
    pub(super) fn with_peer() -> Self {
        let mut script = Self::new();
        script.meet();
        script
    }

    pub(super) fn meet(&mut self) {
        self.arp(&Arp::request(mac(1), PEER, US));
        self.sent();
    }

    /// Time passes; nothing is sent meanwhile that is not asked for.
    pub(super) fn wait(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.stack.handle_timeout(self.now);
    }

    /// A frame comes in.
    pub(super) fn frame(&mut self, src: MacAddr, dst: MacAddr, ethertype: EtherType, payload: &[u8]) {
        let header = EthernetHeader { dst, src, vlan: Vlan::Untagged, ethertype };
        let frame = [&header.to_bytes()[..], payload].concat();
        self.stack.handle_packets(self.now, self.link, [Packet::from(Buffer::from(frame))]);
    }

    pub(super) fn arp(&mut self, arp: &Arp) {
        self.frame(arp.sha, MacAddr::BROADCAST, EtherType::ARP, &arp.to_bytes());
    }

    /// An IP packet comes in from the peer's station.
    pub(super) fn ip(&mut self, header: &Ipv4Header, payload: &[u8]) {
        let packet = [&header.to_bytes(payload.len()).expect("short")[..], payload].concat();
        self.frame(mac(1), mac(0), EtherType::IPV4, &packet);
    }

    /// The same from the peer's address to ours.
    pub(super) fn payload(&mut self, protocol: IpProtocol, payload: &[u8]) {
        self.ip(&Ipv4Header::new(protocol, PEER, US), payload);
    }

    /// Everything that leaves.
    pub(super) fn sent(&mut self) -> Vec<Sent> {
        let mut all = Vec::new();
        while let Some((id, packet)) = self.stack.poll_transmit(self.now) {
            assert_eq!(id, self.link);
            let mut bytes = vec![0; packet.len()];
            packet.copy_to_slice(0, &mut bytes).expect("so many");
            let frame = EthernetFrame::parse(&bytes).expect("well formed");
            all.push(Sent { ethernet: frame.header(), bytes: frame.payload().to_vec() });
        }
        all
    }

    /// The only frame that leaves.
    pub(super) fn sent_one(&mut self) -> Sent {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    pub(super) fn dropped(&self, reason: DropReason) -> u64 {
        self.stack.drops().count(reason)
    }
}

/// A UDP datagram from the peer to us.
pub(super) fn udp(src_port: u16, dst_port: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len() + UdpHeader::LEN).expect("short");
    let rest = pseudo_header_v4(PEER, US, IpProtocol::UDP, len) + Sum::of(payload);
    let header = UdpHeader { src_port, dst_port }.to_bytes(payload.len(), Fill::Complete(rest)).expect("short");
    [&header[..], payload].concat()
}
