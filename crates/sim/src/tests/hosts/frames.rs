//! Frames as a hostile station makes them, with either version of IP, and what it reads in those that come.
//!
//! Nothing here knows the simulator: tests over real links make the same frames.

use std::net::{IpAddr, Ipv6Addr};

use sunstar_wire::checksum::{Fill, Sum, pseudo_header};
use sunstar_wire::{
    AddressPair, Arp, EtherType, EthernetFrame, EthernetHeader, Fragment, Icmpv6Header, IpProtocol, Ipv4Header,
    Ipv6Fragment, Ipv6Header, MacAddr, NDP_HOP_LIMIT, NdpMessage, NdpOption, TcpHeader, TcpSegment, Vlan,
};

const ETHERNET_BYTES: usize = 14;
const V4_BYTES: usize = 20;
const V6_BYTES: usize = 40;

/// A frame from one station to another.
pub(super) fn frame([src, dst]: [MacAddr; 2], ethertype: EtherType, payload: &[u8]) -> Vec<u8> {
    let header = EthernetHeader { dst, src, vlan: Vlan::Untagged, ethertype }.to_bytes();
    [&header[..], payload].concat()
}

/// A packet of IP in a frame. The addresses are of one version.
pub(super) fn packet(macs: [MacAddr; 2], [src, dst]: [IpAddr; 2], protocol: IpProtocol, payload: &[u8]) -> Vec<u8> {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let header = Ipv4Header::new(protocol, src, dst).to_bytes(payload.len()).expect("short");
            frame(macs, EtherType::IPV4, &[&header[..], payload].concat())
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            // Of neighbours (RFC 4861 §3.1), and as good as any for others.
            let header = Ipv6Header { hop_limit: NDP_HOP_LIMIT, ..Ipv6Header::new(protocol, src, dst) };
            let header = header.to_bytes(payload.len()).expect("short");
            frame(macs, EtherType::IPV6, &[&header[..], payload].concat())
        }
        _ => panic!("{src} and {dst} are of two versions"),
    }
}

/// A segment in a frame.
pub(super) fn segment(macs: [MacAddr; 2], addresses: [IpAddr; 2], header: &TcpHeader, payload: &[u8]) -> Vec<u8> {
    let len = header.header_len() + payload.len();
    let tcp = header.to_bytes(Fill::Complete(pseudo(addresses, IpProtocol::TCP, len) + Sum::of(payload)));
    packet(macs, addresses, IpProtocol::TCP, &[&tcp, payload].concat())
}

/// A fragment of a datagram, with others behind it.
pub(super) fn fragment(macs: [MacAddr; 2], [src, dst]: [IpAddr; 2], identification: u16, offset: u16) -> Vec<u8> {
    let fragment = Fragment::new(offset, true).expect("a multiple of eight");
    let payload = [0; 64];
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let whole = Ipv4Header::new(IpProtocol::UDP, src, dst);
            let header = Ipv4Header { fragment, identification, dont_fragment: false, ..whole };
            let header = header.to_bytes(payload.len()).expect("short");
            frame(macs, EtherType::IPV4, &[&header[..], &payload].concat())
        }
        _ => {
            let identification = identification.into();
            let header = Ipv6Fragment { next_header: IpProtocol::UDP, fragment, identification }.to_bytes();
            packet(macs, [src, dst], IpProtocol::FRAGMENT, &[&header[..], &payload].concat())
        }
    }
}

/// Asks everybody who has an address, and so tells where the one that asks is: `told`.
pub(super) fn question(src: MacAddr, told: MacAddr, from: IpAddr, target: IpAddr) -> Vec<u8> {
    match (from, target) {
        (IpAddr::V4(from), IpAddr::V4(target)) => {
            frame([src, MacAddr::BROADCAST], EtherType::ARP, &Arp::request(told, from, target).to_bytes())
        }
        (_, IpAddr::V6(target)) => {
            let [.., high, middle, low] = target.octets();
            let group =
                Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(high), u16::from_be_bytes([middle, low]));
            let message = NdpMessage::NeighbourSolicitation { target };
            let macs = [src, MacAddr::from_ipv6_multicast(group)];
            ndp(macs, [from, group.into()], &message, &NdpOption::SourceLinkLayer(told))
        }
        _ => panic!("{from} and {target} are of two versions"),
    }
}

/// Tells everybody of the link by IPv6, or one station, where an address is.
pub(super) fn announcement(macs: [MacAddr; 2], to: IpAddr, address: IpAddr, told: MacAddr, is_answer: bool) -> Vec<u8> {
    let IpAddr::V6(target) = address else { panic!("{address} is announced by ARP") };
    let message =
        NdpMessage::NeighbourAdvertisement { target, is_router: false, is_solicited: is_answer, is_override: true };
    ndp(macs, [address, to], &message, &NdpOption::TargetLinkLayer(told))
}

fn ndp(macs: [MacAddr; 2], addresses: [IpAddr; 2], message: &NdpMessage, option: &NdpOption<'_>) -> Vec<u8> {
    let body = [&message.fixed()[..], &option.to_bytes().expect("short")].concat();
    let sum = pseudo(addresses, IpProtocol::ICMPV6, Icmpv6Header::LEN + body.len()) + Sum::of(&body);
    let header = message.header().to_bytes(sum);
    packet(macs, addresses, IpProtocol::ICMPV6, &[&header[..], &body].concat())
}

fn pseudo([src, dst]: [IpAddr; 2], protocol: IpProtocol, len: usize) -> Sum {
    let addresses = AddressPair::new(src, dst).expect("of one version");
    pseudo_header(addresses, protocol, u32::try_from(len).expect("short"))
}

/// What a frame is to somebody who has an address.
#[derive(Debug)]
pub(super) enum Heard {
    /// A segment from this address, with so many bytes.
    Segment { src: IpAddr, header: TcpHeader, len: usize },
    /// This station asks who has the address.
    Question { mac: MacAddr, from: IpAddr },
    /// Something else from this address, which is at this station.
    Other { src: Option<IpAddr> },
}

/// Reads a frame that has come for somebody with the address `home`, and who has sent it.
pub(super) fn read(frame: &[u8], home: IpAddr) -> Option<(MacAddr, Heard)> {
    let mac = MacAddr(frame.get(6..12)?.try_into().ok()?);
    let ethertype = EthernetFrame::parse(frame).ok()?.header().ethertype;
    let payload = frame.get(ETHERNET_BYTES..)?;
    let heard = match (ethertype, home) {
        (EtherType::ARP, IpAddr::V4(home)) => {
            let arp = Arp::parse(payload).ok()?;
            let is_question = arp.operation == sunstar_wire::ArpOperation::Request && arp.tpa == home;
            let from = arp.spa.into();
            if is_question { Heard::Question { mac: arp.sha, from } } else { Heard::Other { src: Some(from) } }
        }
        (EtherType::IPV4, IpAddr::V4(home)) => {
            let addresses = [address_v4(payload, 12)?, address_v4(payload, 16)?];
            // A short one may have been filled up.
            let end = usize::from(u16::from_be_bytes([*payload.get(2)?, *payload.get(3)?]));
            of_ip(addresses, home.into(), *payload.get(9)?, payload.get(V4_BYTES..end)?)
        }
        (EtherType::IPV6, IpAddr::V6(home)) => {
            let addresses = [address_v6(payload, 8)?, address_v6(payload, 24)?];
            let (protocol, rest) = (*payload.get(6)?, payload.get(V6_BYTES..)?);
            // A neighbour solicitation (RFC 4861 §4.3) with our address.
            if protocol == IpProtocol::ICMPV6.0 && rest.first() == Some(&135) && rest.get(8..24) == Some(&home.octets())
            {
                Heard::Question { mac, from: addresses[0] }
            } else {
                of_ip(addresses, home.into(), protocol, rest)
            }
        }
        _ => Heard::Other { src: None },
    };
    Some((mac, heard))
}

fn of_ip([src, dst]: [IpAddr; 2], home: IpAddr, protocol: u8, payload: &[u8]) -> Heard {
    match TcpSegment::parse(payload) {
        Ok(segment) if protocol == IpProtocol::TCP.0 && dst == home => {
            Heard::Segment { src, header: segment.header(), len: segment.payload().len() }
        }
        _ => Heard::Other { src: Some(src) },
    }
}

fn address_v4(packet: &[u8], at: usize) -> Option<IpAddr> {
    Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?))
}

fn address_v6(packet: &[u8], at: usize) -> Option<IpAddr> {
    Some(IpAddr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?))
}
