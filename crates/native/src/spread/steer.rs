//! To which shard a packet belongs.

use sunstar_packet::Packet;
use sunstar_wire::{
    Arp, ArpOperation, EtherType, EthernetFrame, FourTuple, Icmpv4Header, Icmpv4Packet, IpProtocol, Ipv4Packet, Quoted,
};

use super::Spread;

/// Who gets a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum To {
    /// Whoever has it: it is of no flow, or can't be read.
    Finder,
    /// One shard.
    Shard(usize),
    /// All shards: what all have to know.
    All,
}

/// Who gets a frame that has come. Headers that are scattered over buffers, which no device does, are not put together for that.
pub(super) fn steer(spread: &Spread, packet: &Packet) -> To {
    packet.buffers().first().and_then(|head| of_frame(spread, head, packet.len())).unwrap_or(To::Finder)
}

fn of_frame(spread: &Spread, head: &[u8], len: usize) -> Option<To> {
    let header = EthernetFrame::parse(head).ok()?.header();
    let payload = head.get(header.header_len()..)?;
    match header.ethertype {
        EtherType::IPV4 => of_ipv4(spread, &Ipv4Packet::parse_head(payload, len - header.header_len()).ok()?),
        EtherType::ARP => {
            let arp = Arp::parse(payload).ok()?;
            // Whose request is answered need not be who has asked; one answers a request.
            (arp.operation == ArpOperation::Reply || arp.spa == arp.tpa).then_some(To::All)
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
