//! What gives addresses in a local network: a small DHCP server, and a router that advertises a prefix. It has no memory, so that a
//! restart loses nothing: each host's device has its own address reserved.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::task::Context;
use std::time::Duration;

use sunstar_device::{Capabilities, Counters, Queue, QueueError, Readiness};
use sunstar_executor::Instant;
use sunstar_packet::{Buffer, Packet};
use sunstar_wire::checksum::{Fill, Sum, pseudo_header};
use sunstar_wire::dhcpv4::{self, Code, Kind, Message, Writer};
use sunstar_wire::{
    AddressPair, EtherType, EthernetFrame, EthernetHeader, Fragment, IpProtocol, Ipv4Header, Ipv4Packet, Ipv6Header,
    Ipv6Packet, MacAddr, NDP_HOP_LIMIT, NdpMessage, NdpOption, PrefixInformation, RouterAdvertisement, UdpDatagram,
    UdpHeader, Vlan,
};

/// Frames that wait to be sent at most; further ones are dropped.
const MAX_WAITING: usize = 64;

/// Advertisements of a prefix leave so often within its lifetime.
const ADVERTISEMENTS_PER_LIFETIME: u32 = 4;

/// The link-local address of all nodes, and the hardware address that goes with it (RFC 2464 §7).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: MacAddr = MacAddr([0x33, 0x33, 0, 0, 0, 1]);

/// The number of a message by which a host asks for advertisements (RFC 4861 §4.1).
const ROUTER_SOLICITATION: u8 = 133;

const MASK: [u8; 4] = [255, 0, 0, 0];

/// What a host gives the others in its local network, by its first device: addresses for those that do not have them from the beginning,
/// see [`NativeOptions::asks_dhcp`](crate::NativeOptions::asks_dhcp) and
/// [`NativeOptions::follows_routers`](crate::NativeOptions::follows_routers). In a local network there is to be one such host, of one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GatewayOptions {
    /// For how long it leases addresses of IPv4, in whole seconds; none if it does not.
    pub lease: Option<Duration>,
    /// For how long the prefix of IPv6 that it advertises may be used, in whole seconds; none if it does not.
    pub prefix_lifetime: Option<Duration>,
}

/// A device's queue, with the gateway behind it.
pub(super) struct Gateway {
    queue: Box<dyn Queue>,
    options: GatewayOptions,
    mac: MacAddr,
    address: Ipv4Addr,
    prefix: Ipv6Addr,
    /// Which address belongs to a device.
    reserved: fn(MacAddr) -> Option<Ipv4Addr>,
    waiting: VecDeque<Packet>,
    /// Something waits that the device was not asked to send.
    has_new: bool,
    advertise_at: Option<Instant>,
    /// Kept for its memory.
    fresh: VecDeque<Packet>,
}

impl Gateway {
    pub(super) fn new(
        queue: Box<dyn Queue>,
        options: GatewayOptions,
        (address, prefix): (Ipv4Addr, Ipv6Addr),
        reserved: fn(MacAddr) -> Option<Ipv4Addr>,
    ) -> Self {
        Self {
            mac: queue.capabilities().mac,
            queue,
            options,
            address,
            prefix,
            reserved,
            waiting: VecDeque::new(),
            has_new: false,
            advertise_at: options.prefix_lifetime.map(|_| Instant::ORIGIN),
            fresh: VecDeque::new(),
        }
    }

    /// Takes a frame that is for the gateway; answers whether it was.
    fn take(&mut self, now: Instant, packet: &Packet) -> bool {
        let bytes: Vec<u8> = packet.buffers().iter().flat_map(|buffer| buffer.iter().copied()).collect();
        let Ok(frame) = EthernetFrame::parse(&bytes) else { return false };
        match frame.ethertype() {
            EtherType::IPV4 if self.options.lease.is_some() => self.take_v4(frame.payload()),
            EtherType::IPV6 if self.options.prefix_lifetime.is_some() => {
                let Ok(packet) = Ipv6Packet::parse(frame.payload()) else { return false };
                let is_question = packet.next_header() == IpProtocol::ICMPV6
                    && packet.payload().first() == Some(&ROUTER_SOLICITATION);
                if is_question {
                    self.advertise_at = Some(now);
                }
                is_question
            }
            _ => false,
        }
    }

    fn take_v4(&mut self, bytes: &[u8]) -> bool {
        let Ok(packet) = Ipv4Packet::parse(bytes) else { return false };
        let is_datagram = packet.protocol() == IpProtocol::UDP && packet.fragment() == Fragment::WHOLE;
        let Ok(datagram) = UdpDatagram::parse(packet.payload()) else { return false };
        if !is_datagram || datagram.dst_port() != dhcpv4::SERVER_PORT {
            return false;
        }
        if datagram.has_valid_checksum(packet.addresses())
            && let Ok(message) = Message::parse(datagram.payload())
        {
            self.answer(&message);
        }
        true
    }

    /// RFC 2131 §4.3.1, §4.3.2.
    fn answer(&mut self, message: &Message<'_>) {
        let header = message.header();
        let Some(reserved) = (self.reserved)(header.chaddr).filter(|_| !header.is_reply) else { return };
        let server: Option<[u8; 4]> = message.fixed_option(Code::SERVER_ID);
        let asked = message.fixed_option::<4>(Code::REQUESTED_ADDRESS).map_or(header.ciaddr, Ipv4Addr::from);
        let kind = match message.kind() {
            Some(Kind::Discover) => Kind::Offer,
            // Another server was chosen.
            Some(Kind::Request) if server.is_some_and(|server| server != self.address.octets()) => return,
            Some(Kind::Request) if asked == reserved => Kind::Ack,
            Some(Kind::Request) => Kind::Nak,
            _ => return,
        };
        let is_given = kind != Kind::Nak;
        let yiaddr = if is_given { reserved } else { Ipv4Addr::UNSPECIFIED };
        let mut answer = Writer::new(&dhcpv4::Header { is_reply: true, yiaddr, ..header }, kind);
        let seconds = self.options.lease.map_or(0, |lease| lease.as_secs());
        let lease = u32::try_from(seconds).unwrap_or(u32::MAX).to_be_bytes();
        let options: &[(Code, &[u8])] =
            &[(Code::SERVER_ID, &self.address.octets()), (Code::LEASE_TIME, &lease), (Code::SUBNET_MASK, &MASK)];
        for (code, data) in &options[..if is_given { options.len() } else { 1 }] {
            answer.option(*code, data).expect("there is room for three");
        }
        // Who has an address is reached by it, the others by their hardware's (§4.1).
        let to = if !is_given || header.is_broadcast { Ipv4Addr::BROADCAST } else { reserved };
        let mac = if to.is_broadcast() { MacAddr::BROADCAST } else { header.chaddr };
        self.send_datagram(mac, to, answer.as_bytes());
    }

    fn send_datagram(&mut self, mac: MacAddr, to: Ipv4Addr, payload: &[u8]) {
        let addresses = AddressPair::V4 { src: self.address, dst: to };
        let len = UdpHeader::LEN + payload.len();
        let sum = pseudo_header(addresses, IpProtocol::UDP, u32::try_from(len).unwrap_or(0)) + Sum::of(payload);
        let ports = UdpHeader { src_port: dhcpv4::SERVER_PORT, dst_port: dhcpv4::CLIENT_PORT };
        let udp = ports.to_bytes(payload.len(), Fill::Complete(sum)).expect("messages are short");
        let ip = Ipv4Header::new(IpProtocol::UDP, self.address, to).to_bytes(len).expect("messages are short");
        self.send(mac, EtherType::IPV4, &[&ip[..], &udp[..], payload]);
    }

    /// RFC 4861 §6.2: it is no default router, since it forwards nothing.
    fn advertise(&mut self, now: Instant, lifetime: Duration) {
        let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
        let prefix = PrefixInformation {
            len: 64,
            is_on_link: true,
            is_autonomous: true,
            valid_s: seconds,
            preferred_s: seconds,
            prefix: self.prefix,
        };
        let message = NdpMessage::RouterAdvertisement(RouterAdvertisement::default());
        let options = [NdpOption::SourceLinkLayer(self.mac), NdpOption::Prefix(prefix)];
        let options: Vec<u8> =
            options.iter().flat_map(|option| option.to_bytes().expect("they are short").to_vec()).collect();
        let body = [&message.fixed()[..], &options].concat();
        let MacAddr([.., a, b]) = self.mac;
        let src = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xfe, u16::from_be_bytes([a, b]));
        let addresses = AddressPair::V6 { src, dst: ALL_NODES };
        let len = body.len() + 8;
        let sum = pseudo_header(addresses, IpProtocol::ICMPV6, u32::try_from(len).unwrap_or(0)) + Sum::of(&body);
        let icmp = message.header().to_bytes(sum);
        let ip = Ipv6Header { hop_limit: NDP_HOP_LIMIT, ..Ipv6Header::new(IpProtocol::ICMPV6, src, ALL_NODES) };
        let ip = ip.to_bytes(len).expect("advertisements are short");
        self.send(ALL_NODES_MAC, EtherType::IPV6, &[&ip[..], &icmp[..], &body]);
        self.advertise_at = Some(now + lifetime / ADVERTISEMENTS_PER_LIFETIME);
    }

    fn send(&mut self, dst: MacAddr, ethertype: EtherType, parts: &[&[u8]]) {
        if self.waiting.len() < MAX_WAITING {
            let header = EthernetHeader { dst, src: self.mac, vlan: Vlan::Untagged, ethertype };
            let bytes = [&header.to_bytes()[..], &parts.concat()].concat();
            self.waiting.push_back(Packet::from(Buffer::copy_from_slice(&bytes)));
            self.has_new = true;
        }
    }
}

impl Queue for Gateway {
    fn capabilities(&self) -> &Capabilities {
        self.queue.capabilities()
    }

    fn rx_burst(&mut self, now: Instant, out: &mut VecDeque<Packet>, max: usize) -> Result<usize, QueueError> {
        let mut fresh = std::mem::take(&mut self.fresh);
        let result = self.queue.rx_burst(now, &mut fresh, max);
        let before = out.len();
        out.extend(fresh.drain(..).filter(|packet| !self.take(now, packet)));
        self.fresh = fresh;
        result.map(|_| out.len() - before)
    }

    fn tx_burst(&mut self, now: Instant, packets: &mut VecDeque<Packet>) -> Result<usize, QueueError> {
        if let Some(lifetime) = self.options.prefix_lifetime.filter(|_| self.advertise_at.is_some_and(|at| at <= now)) {
            self.advertise(now, lifetime);
        }
        self.has_new = false;
        self.queue.tx_burst(now, &mut self.waiting)?;
        self.queue.tx_burst(now, packets)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Readiness<'_> {
        if self.has_new { Readiness::Ready } else { self.queue.poll_ready(cx) }
    }

    fn deadline(&self) -> Option<Instant> {
        self.queue.deadline().into_iter().chain(self.advertise_at).min()
    }

    fn counters(&self) -> Counters {
        self.queue.counters()
    }

    fn free_unused_memory(&mut self) {
        self.queue.free_unused_memory();
    }
}
