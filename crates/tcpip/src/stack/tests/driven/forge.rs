//! Segments and errors that nobody has sent.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sunstar_wire::checksum::{Fill, Sum, pseudo_header};
use sunstar_wire::{
    AddressPair, EtherType, EthernetHeader, FourTuple, Icmpv4Header, Icmpv6Header, Icmpv6Unreachable, IpProtocol,
    Ipv4Header, Ipv6Header, SackBlock, Seq, TcpFlags, TcpHeader, TcpTimestamps, UnreachableCode, Vlan,
};

use super::input::Input;
use super::watch::{Direction, Watch};
use super::{addresses, mac};

/// A segment that is put onto the wire.
pub(super) struct Forged {
    pub(super) flow: FourTuple,
    pub(super) header: TcpHeader,
    pub(super) payload: Vec<u8>,
    /// Whether the receiver can tell it from the truth, and must not let it change anything.
    pub(super) is_harmless: bool,
}

/// Nobody's addresses.
const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
const STRANGER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x77);

const FLAGS: [TcpFlags; 8] = [
    TcpFlags::ACK,
    TcpFlags::SYN,
    TcpFlags::RST,
    TcpFlags::FIN,
    TcpFlags::SYN.union(TcpFlags::ACK),
    TcpFlags::RST.union(TcpFlags::ACK),
    TcpFlags::FIN.union(TcpFlags::ACK),
    TcpFlags::PSH,
];

/// Whatever the input says, of a connection that is known or of a stranger.
pub(super) fn anything(input: &mut Input<'_>, watch: &Watch, is_v6: bool) -> Option<Forged> {
    let direction = watch.nth(input.byte().into());
    let (seq, ack) = (input.offset(), input.offset());
    let add = |to: Seq, offset: i32| to + offset.cast_unsigned();
    let other = direction.and_then(|direction| watch.get(&direction.flow.reversed()));
    let mut header = TcpHeader {
        seq: add(direction.map_or(Seq::new(7), |this| this.end), seq),
        ack: add(other.map_or(Seq::new(9), |other| other.end), ack),
        flags: input.one_of(FLAGS),
        window: u16::from(input.byte()) << (input.byte() % 9),
        ..TcpHeader::default()
    };
    let options = input.byte();
    if options & 1 != 0 {
        let last = direction.and_then(|direction| direction.last.options.timestamps).unwrap_or_default();
        header.options.timestamps = Some(TcpTimestamps { tsval: last.tsval.wrapping_add(1), ..last });
    }
    for _ in 0..(options >> 1) & 3 {
        let left = add(header.ack, input.offset());
        header.options.sack.push(SackBlock { left, right: add(left, input.offset()) });
    }
    if options & 8 != 0 {
        header.options.mss = u16::from(input.byte()).try_into().ok();
        header.options.is_sack_permitted = true;
    }
    let payload = vec![0x55; input.len() % 3_000];
    let is_known = options & 16 == 0;
    let flow = match direction.filter(|_| is_known) {
        Some(direction) => direction.flow,
        None => {
            let stranger: IpAddr = if is_v6 { STRANGER_V6.into() } else { STRANGER.into() };
            let addresses = AddressPair::new(stranger, addresses(is_v6)[input.host()])?;
            FourTuple { addresses, src_port: 1_000 + u16::from(input.byte() & 15), dst_port: input.one_of([80, 81]) }
        }
    };
    Some(Forged { flow, header, payload, is_harmless: !is_known })
}

/// A segment from who sees nothing but guesses well: the receiver must not believe it. What is made may wait for a
/// neighbour or a device, so that less was seen to leave than there is.
pub(super) fn guess(input: &mut Input<'_>, watch: &Watch, may_wait: bool) -> Option<Forged> {
    /// More than all buffers hold.
    const FAR: u32 = 1 << 22;

    let beyond = if may_wait { FAR } else { 1 };
    let direction = watch.nth(input.byte().into())?;
    let other = watch.get(&direction.flow.reversed())?;
    // All of it was told: what the receiver expects next lies before.
    let (end, edge) = (direction.end, other.edge?);
    let flow = direction.flow;
    let last = direction.last.options.timestamps;
    let kind = input.byte() % 6;
    let is_open = !direction.has_fin && !other.last.flags.contains(TcpFlags::SYN);
    let room = if edge.is_after(end + 1) { edge - end - 1 } else { 0 };
    let inside = end + 1 + u32::from(input.byte()).checked_rem(room).unwrap_or(0);
    let mut header = TcpHeader { ack: other.end, window: 1_000, flags: TcpFlags::ACK, ..TcpHeader::default() };
    header.options.timestamps = last;
    let mut payload = vec![0x55; 1 + input.len() % 1_400];
    match kind {
        // RFC 5961 §3, §4: a reset, or a SYN, that lies in the window but not where the next byte is.
        0 | 1 if room > 1 && is_open => {
            header.seq = inside;
            header.flags = if kind == 0 { TcpFlags::RST } else { TcpFlags::SYN };
            payload.clear();
        }
        // RFC 5961 §5: an acknowledgement of what was never sent.
        2 if room > 1 => {
            header.seq = inside;
            header.ack = other.end + beyond + u32::from(input.byte());
        }
        // Data behind the window, and before it.
        3 => header.seq = edge + beyond + u32::from(input.byte()),
        4 => {
            header.seq = other.last.ack - 40_000;
        }
        // RFC 7323 §5: data with a timestamp from before the connection.
        5 if last.is_some() && watch_has_timestamps(direction, other) => {
            header.seq = end;
            let tsval = direction.first_tsval.wrapping_sub(1 + u32::from(input.byte()));
            header.options.timestamps = Some(TcpTimestamps { tsval, tsecr: 0 });
        }
        _ => return None,
    }
    Some(Forged { flow, header, payload, is_harmless: true })
}

fn watch_has_timestamps(one: &Direction, other: &Direction) -> bool {
    one.last.options.timestamps.is_some() && other.last.options.timestamps.is_some()
}

impl Forged {
    pub(super) fn host(&self) -> Option<usize> {
        let dst = self.flow.addresses.dst();
        addresses(dst.is_ipv6()).iter().position(|address| dst == *address)
    }

    /// As a packet.
    pub(super) fn to_bytes(&self, is_ethernet: bool) -> Vec<u8> {
        let header = TcpHeader { src_port: self.flow.src_port, dst_port: self.flow.dst_port, ..self.header };
        let len = u32::try_from(header.header_len() + self.payload.len()).expect("short");
        let sum = pseudo_header(self.flow.addresses, IpProtocol::TCP, len) + Sum::of(&self.payload);
        let segment = [&header.to_bytes(Fill::Complete(sum))[..], &self.payload].concat();
        packet(self.flow.addresses, IpProtocol::TCP, &segment, is_ethernet)
    }
}

/// An error about a packet, and what kind it is.
pub(super) fn error_about(input: &mut Input<'_>, quoted: &[u8], is_ethernet: bool) -> Vec<u8> {
    let code = input.one_of([
        UnreachableCode::FRAGMENTATION_NEEDED,
        UnreachableCode::PORT,
        UnreachableCode::HOST,
        UnreachableCode::FRAGMENTATION_NEEDED,
    ]);
    let next_hop_mtu = input.one_of([0, 100, 552, 600, 1_000, 1_400, 1_499, 9_000]);
    if quoted[0] >> 4 == 6 {
        return error_v6_about(code, next_hop_mtu, quoted, is_ethernet);
    }
    let error = Icmpv4Header::DestinationUnreachable { code, next_hop_mtu };
    let body = &quoted[..quoted.len().min(28)];
    let message = [&error.to_bytes(Sum::of(body))[..], body].concat();
    let to = Ipv4Addr::from(quoted[12..16].as_array::<4>().map_or([0; 4], |address| *address));
    packet(AddressPair::V4 { src: STRANGER, dst: to }, IpProtocol::ICMP, &message, is_ethernet)
}

fn error_v6_about(code: UnreachableCode, mtu: u16, quoted: &[u8], is_ethernet: bool) -> Vec<u8> {
    let error = match code {
        UnreachableCode::FRAGMENTATION_NEEDED => Icmpv6Header::PacketTooBig { mtu: mtu.into() },
        UnreachableCode::PORT => Icmpv6Header::DestinationUnreachable { code: Icmpv6Unreachable::PORT },
        _ => Icmpv6Header::DestinationUnreachable { code: Icmpv6Unreachable::ADDRESS },
    };
    let body = &quoted[..quoted.len().min(48)];
    let to = Ipv6Addr::from(quoted[8..24].as_array::<16>().map_or([0; 16], |address| *address));
    let addresses = AddressPair::V6 { src: STRANGER_V6, dst: to };
    let len = u32::try_from(body.len() + 8).expect("short");
    let message = error.to_bytes(pseudo_header(addresses, IpProtocol::ICMPV6, len) + Sum::of(body));
    packet(addresses, IpProtocol::ICMPV6, &[&message[..], body].concat(), is_ethernet)
}

fn packet(addresses: AddressPair, protocol: IpProtocol, payload: &[u8], is_ethernet: bool) -> Vec<u8> {
    let (header, ethertype) = match addresses {
        AddressPair::V4 { src, dst } => {
            (Ipv4Header::new(protocol, src, dst).to_bytes(payload.len()).expect("short").to_vec(), EtherType::IPV4)
        }
        AddressPair::V6 { src, dst } => {
            (Ipv6Header::new(protocol, src, dst).to_bytes(payload.len()).expect("short").to_vec(), EtherType::IPV6)
        }
    };
    let to = u8::from(super::addresses(addresses.dst().is_ipv6())[1] == addresses.dst());
    let ethernet = EthernetHeader { dst: mac(to), src: mac(1 - to), vlan: Vlan::Untagged, ethertype };
    let front = ethernet.to_bytes();
    let front = if is_ethernet { &front[..] } else { &[] };
    [front, &header, payload].concat()
}
