//! IPv6: one stack on an Ethernet and what its neighbours send it, and streams from stack to stack.

mod chains;
mod dhcpv6;
mod discovery;
mod errors;
mod filters;
mod groups;
mod older_groups;
mod routers;
mod streams;
mod zones;

use core::net::{IpAddr, Ipv6Addr};

use sunstar_wire::checksum::{Fill, Sum, pseudo_header_v6};
use sunstar_wire::{
    EtherType, Icmpv6Header, Icmpv6Packet, IpProtocol, Ipv6Header, Ipv6Packet, MacAddr, NdpMessage, NdpOption,
    UdpHeader,
};

use super::script::{Script, Sent};
use super::world::mac;
use crate::configuration::Change;
use crate::prefix::Prefix;

const US: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const PEER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
const US_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const PEER_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// In which we are asked for.
const US_SOLICITED: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1);

/// The addresses of both kinds, in their networks.
fn prefix(address: Ipv6Addr) -> Prefix {
    Prefix::new(address, 64).expect("128 bits")
}

impl Script {
    /// The stack has both addresses, and knows the peer's station.
    fn v6() -> Self {
        let mut script = Self::new();
        for address in [US, US_LOCAL] {
            let change = Change::AddAddress { interface: script.link, address: prefix(address) };
            script.stack.apply(script.now, &change).expect("it is a station's");
        }
        for (from, to) in [(PEER, US), (PEER_LOCAL, US_LOCAL)] {
            let option = NdpOption::SourceLinkLayer(mac(1));
            script.ndp((from, to), &NdpMessage::NeighbourSolicitation { target: to }, &[option]);
        }
        script.sent();
        script
    }

    /// A packet comes from the peer's station.
    fn ip_v6(&mut self, header: &Ipv6Header, payload: &[u8]) {
        let packet = [&header.to_bytes(payload.len()).expect("short")[..], payload].concat();
        let to = if header.dst.is_multicast() { MacAddr::from_ipv6_multicast(header.dst) } else { mac(0) };
        self.frame(mac(1), to, EtherType::IPV6, &packet);
    }

    /// The same from the peer's address to ours.
    fn payload_v6(&mut self, protocol: IpProtocol, payload: &[u8]) {
        self.ip_v6(&Ipv6Header::new(protocol, PEER, US), payload);
    }

    fn ndp(&mut self, (src, dst): (Ipv6Addr, Ipv6Addr), message: &NdpMessage, options: &[NdpOption<'_>]) {
        let header = Ipv6Header { hop_limit: 255, ..Ipv6Header::new(IpProtocol::ICMPV6, src, dst) };
        self.ip_v6(&header, &ndp_bytes((src, dst), message, options));
    }

    fn owns(&self, address: Ipv6Addr) -> bool {
        let interface = self.stack.interface(self.link).expect("it is there");
        interface.addresses().iter().any(|own| own.address() == IpAddr::V6(address))
    }
}

fn ndp_bytes(addresses: (Ipv6Addr, Ipv6Addr), message: &NdpMessage, options: &[NdpOption<'_>]) -> Vec<u8> {
    let options: Vec<u8> = options.iter().flat_map(|option| option.to_bytes().expect("short").to_vec()).collect();
    icmp(addresses, &message.header(), &[&message.fixed()[..], &options].concat())
}

fn icmp((src, dst): (Ipv6Addr, Ipv6Addr), header: &Icmpv6Header, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len() + 8).expect("short");
    let sum = pseudo_header_v6(src, dst, IpProtocol::ICMPV6, len) + Sum::of(body);
    [&header.to_bytes(sum)[..], body].concat()
}

/// A datagram from the peer to us.
fn udp(src_port: u16, dst_port: u16, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len() + UdpHeader::LEN).expect("short");
    let rest = pseudo_header_v6(PEER, US, IpProtocol::UDP, len) + Sum::of(payload);
    let header = UdpHeader { src_port, dst_port }.to_bytes(payload.len(), Fill::Complete(rest)).expect("short");
    [&header[..], payload].concat()
}

impl Sent {
    fn ip_v6(&self) -> Ipv6Packet<'_> {
        assert_eq!(self.ethernet.ethertype, EtherType::IPV6);
        Ipv6Packet::parse(&self.bytes).expect("well formed")
    }

    /// An ICMPv6 message, whose checksum is right.
    fn icmp_v6(&self) -> Icmpv6Packet<'_> {
        let ip = self.ip_v6();
        let mut extensions = ip.extensions();
        assert!(extensions.by_ref().all(|extension| extension.is_ok()));
        assert_eq!(extensions.protocol(), IpProtocol::ICMPV6);
        let icmp = Icmpv6Packet::parse(extensions.rest()).expect("well formed");
        assert!(icmp.has_valid_checksum(ip.addresses()));
        icmp
    }

    /// A message of neighbour discovery that others believe.
    fn ndp(&self) -> (NdpMessage, Vec<NdpOption<'_>>) {
        assert_eq!(self.ip_v6().hop_limit(), 255);
        let (message, options) = NdpMessage::parse(&self.icmp_v6()).expect("well formed");
        (message, options.collect())
    }

    fn is_ndp(&self) -> bool {
        let is_icmp = self.ethernet.ethertype == EtherType::IPV6 && self.ip_v6().next_header() == IpProtocol::ICMPV6;
        is_icmp && NdpMessage::parse(&self.icmp_v6()).is_ok()
    }
}

/// The only one that is not.
fn other_than_discovery(mut sent: Vec<Sent>) -> Sent {
    sent.retain(|sent| !sent.is_ndp());
    assert_eq!(sent.len(), 1, "{sent:?}");
    sent.remove(0)
}

/// What of it is neighbour discovery.
fn discovery(sent: Vec<Sent>) -> Vec<Sent> {
    sent.into_iter().filter(Sent::is_ndp).collect()
}
