//! To which shard a packet belongs.

use sunstar_packet::Packet;
use sunstar_wire::{
    Arp, ArpOperation, EtherType, EthernetFrame, FourTuple, Icmpv4Header, Icmpv4Packet, Icmpv6Packet, IpProtocol,
    Ipv4Packet, Ipv6Extension, Ipv6Packet, Quoted, QuotedV6,
};

use super::Spread;

/// Who gets a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum To {
    /// Whoever has it: it is of no flow, or can't be read.
    Finder,
    /// One shard, of whose flows it is.
    Shard(usize),
    /// The [configured](CONFIGURED) shard: it is of no flow, but of all of the host.
    Configured,
    /// All shards: what all have to know.
    All,
}

/// The shard that is told how the host is configured: it looks for addresses, and answers for all.
pub(crate) const CONFIGURED: usize = 0;

/// Who gets a frame that has come. Headers that are scattered over buffers, which no device does, are not put together for that.
pub(super) fn steer(spread: &Spread, packet: &Packet) -> To {
    packet.buffers().first().and_then(|head| of_frame(spread, head, packet.len())).unwrap_or(To::Finder)
}

fn of_frame(spread: &Spread, head: &[u8], len: usize) -> Option<To> {
    let header = EthernetFrame::parse(head).ok()?.header();
    let payload = head.get(header.header_len()..)?;
    match header.ethertype {
        EtherType::IPV4 => of_ipv4(spread, &Ipv4Packet::parse_head(payload, len - header.header_len()).ok()?),
        EtherType::IPV6 => of_ipv6(spread, &Ipv6Packet::parse_head(payload, len - header.header_len()).ok()?),
        EtherType::ARP => {
            let arp = Arp::parse(payload).ok()?;
            // Where stations are is for all to know. One answers a request: who knows which addresses are ours, and which are to be,
            // since a request shows as well who else has one of them (RFC 5227 §2.1.1, §2.4).
            let is_for_all = arp.operation == ArpOperation::Reply || arp.spa == arp.tpa;
            Some(if is_for_all { To::All } else { To::Configured })
        }
        _ => None,
    }
}

fn of_ipv4(spread: &Spread, packet: &Ipv4Packet<'_>) -> Option<To> {
    let (addresses, protocol) = (packet.addresses(), packet.protocol());
    if !packet.fragment().is_whole() {
        return Some(To::Shard(spread.owner_of_fragments(addresses)));
    }
    match protocol {
        IpProtocol::TCP | IpProtocol::UDP => {
            let [a, b, c, d] = *packet.payload().first_chunk()?;
            let (src_port, dst_port) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            Some(To::Shard(spread.owner(protocol, FourTuple { addresses, src_port, dst_port })))
        }
        IpProtocol::ICMP => of_icmp(spread, &Icmpv4Packet::parse(packet.payload()).ok()?),
        // It tells of the groups that sockets of all have joined.
        IpProtocol::IGMP => Some(To::Configured),
        _ => None,
    }
}

/// An error goes to whom it concerns: the sender of what it quotes.
fn of_icmp(spread: &Spread, message: &Icmpv4Packet<'_>) -> Option<To> {
    match message.header() {
        Icmpv4Header::DestinationUnreachable { .. }
        | Icmpv4Header::TimeExceeded { .. }
        | Icmpv4Header::ParameterProblem { .. } => {}
        _ => return None,
    }
    let quoted = Quoted::parse(message.body()).ok()?;
    let flow = quoted.four_tuple()?.reversed();
    Some(To::Shard(spread.owner(quoted.packet().protocol(), flow)))
}

fn of_ipv6(spread: &Spread, packet: &Ipv6Packet<'_>) -> Option<To> {
    let addresses = packet.addresses();
    let mut extensions = packet.extensions();
    for extension in extensions.by_ref() {
        if matches!(extension.ok()?, Ipv6Extension::Fragment(fragment) if !fragment.fragment.is_whole()) {
            return Some(To::Shard(spread.owner_of_fragments(addresses)));
        }
    }
    match extensions.protocol() {
        protocol @ (IpProtocol::TCP | IpProtocol::UDP) => {
            let [a, b, c, d] = *extensions.rest().first_chunk()?;
            let (src_port, dst_port) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            Some(To::Shard(spread.owner(protocol, FourTuple { addresses, src_port, dst_port })))
        }
        IpProtocol::ICMPV6 => of_icmpv6(spread, packet, &Icmpv6Packet::parse(extensions.rest()).ok()?),
        _ => None,
    }
}

/// What all have to know is told to all: where neighbours are, and what routers say. Who looks for an address looks for those of the shard
/// that looks for ours.
fn of_icmpv6(spread: &Spread, packet: &Ipv6Packet<'_>, message: &Icmpv6Packet<'_>) -> Option<To> {
    const GROUP_QUERY: u8 = 130;
    const GROUP_REPORT: u8 = 131;
    const ROUTER_ADVERTISEMENT: u8 = 134;
    const NEIGHBOUR_SOLICITATION: u8 = 135;
    const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    const REDIRECT: u8 = 137;

    match message.kind() {
        ROUTER_ADVERTISEMENT | NEIGHBOUR_ADVERTISEMENT | REDIRECT => Some(To::All),
        GROUP_QUERY | GROUP_REPORT => Some(To::Configured),
        NEIGHBOUR_SOLICITATION if packet.src().is_unspecified() => Some(To::Configured),
        _ if message.header().is_error() => {
            let quoted = QuotedV6::parse(message.body()).ok()?;
            let flow = quoted.four_tuple()?.reversed();
            Some(To::Shard(spread.owner(quoted.protocol(), flow)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use sunstar_packet::Buffer;
    use sunstar_wire::{EthernetHeader, MacAddr, Vlan};

    use super::*;

    /// Who asks for an address, or only whether somebody has it, may have one of ours: that is for who is configured to see.
    #[test]
    fn who_is_configured_sees_who_asks() {
        let [one, other, none] = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::UNSPECIFIED];
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let spread = Spread::of(4);
        let to = |arp: &Arp| {
            let header =
                EthernetHeader { dst: MacAddr::BROADCAST, src: mac, vlan: Vlan::Untagged, ethertype: EtherType::ARP };
            steer(&spread, &Packet::from(Buffer::from([&header.to_bytes()[..], &arp.to_bytes()].concat())))
        };
        for spa in [one, none] {
            assert_eq!(to(&Arp::request(mac, spa, other)), To::Configured);
        }
        let reply = Arp { operation: ArpOperation::Reply, ..Arp::request(mac, one, other) };
        assert_eq!([to(&reply), to(&Arp::announcement(mac, one))], [To::All, To::All]);
    }
}
