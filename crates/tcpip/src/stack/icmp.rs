//! ICMP (RFC 792): echoes, and errors both ways.

use core::net::IpAddr;

use sunstar_packet::{BufferMut, Packet};
use sunstar_wire::checksum::Sum;
use sunstar_wire::{
    FourTuple, Icmpv4Header, Icmpv4Packet, Icmpv6Header, Icmpv6Unreachable, IpProtocol, Ipv4Header, Quoted, QuotedV6,
    Seq, TimeExceededCode, UnreachableCode,
};

use super::Stack;
use super::input::Arrived;
use super::is_v4_station;
use crate::drops::DropReason;
use crate::head::Head;
use crate::interface::{InterfaceId, LONGER_V6};
use crate::neighbours::Key;
use crate::path::{PathError, plateau_below};
use crate::reassembly::Expired;
use crate::time::Instant;
use crate::zone;

/// Bytes of the largest error (RFC 1812 §4.3.2.3), and of what is in front of the quoted packet.
const ERROR_BYTES: usize = 576;
const HEADERS_BYTES: usize = 28;

/// Of a received error: its header, and of the quoted packet the largest IP header and the eight bytes behind it.
const EXAMINED_BYTES: usize = Icmpv4Header::LEN + 60 + 8;

/// Every link takes so many bytes of IPv4 (RFC 791 §3.2).
const LEAST_MTU: u16 = 68;

/// What was quoted in an error: a packet that we have sent.
pub(super) struct Refused {
    pub(super) dst: IpAddr,
    pub(super) total_len: u16,
    pub(super) protocol: IpProtocol,
    pub(super) flow: FourTuple,
    pub(super) seq: Option<Seq>,
}

impl Stack {
    pub(super) fn input_icmp(
        &mut self,
        now: Instant,
        arrived: &Arrived,
        ip: &Ipv4Header,
        mut packet: Packet,
    ) -> Result<(), DropReason> {
        if !Sum::of_chain(packet.buffers()).is_valid() {
            return Err(DropReason::IcmpChecksum);
        }
        let malformed = DropReason::IcmpMalformed;
        let head = packet.contiguous(Icmpv4Header::LEN, &self.copies).map_err(|_| malformed)?;
        let header = Icmpv4Packet::parse(head).map_err(|_| malformed)?.header();
        match header {
            Icmpv4Header::EchoRequest { identifier, sequence } => {
                let reply = Icmpv4Header::EchoReply { identifier, sequence };
                self.echo(now, arrived, ip, &reply, packet)
            }
            _ if header.is_error() => self.input_icmp_error(now, &header, packet),
            _ => Err(DropReason::IcmpKind),
        }
    }

    /// RFC 1122 §3.2.2.6: what came goes back, from the address to which it was sent.
    fn echo(
        &mut self,
        now: Instant,
        arrived: &Arrived,
        ip: &Ipv4Header,
        reply: &Icmpv4Header,
        mut packet: Packet,
    ) -> Result<(), DropReason> {
        if arrived.is_broadcast || !self.echo_replies.take(now) {
            return Err(DropReason::IcmpEcho);
        }
        // It was looked at.
        let _ = packet.trim_front(Icmpv4Header::LEN);
        packet.offload = sunstar_packet::Offload::default();
        let bytes = reply.to_bytes(Sum::of_chain(packet.buffers()));
        packet.prepend(&bytes).map_err(|_| DropReason::TooLong)?;
        self.counters.echo_replies_sent += 1;
        let header = Ipv4Header {
            traffic_class: ip.traffic_class,
            dont_fragment: false,
            ..Ipv4Header::new(IpProtocol::ICMP, ip.dst, ip.src)
        };
        self.emit(now, arrived.errand(), header, packet);
        Ok(())
    }

    fn input_icmp_error(&mut self, now: Instant, header: &Icmpv4Header, mut packet: Packet) -> Result<(), DropReason> {
        let len = packet.len().min(EXAMINED_BYTES);
        let head = packet.contiguous(len, &self.copies).map_err(|_| DropReason::IcmpMalformed)?;
        let body = head.get(Icmpv4Header::LEN..).unwrap_or_default();
        let quoted = Quoted::parse(body).map_err(|_| DropReason::IcmpMalformed)?;
        let refused = refused(&quoted).ok_or(DropReason::IcmpUnrelated)?;
        let error = path_error(header, refused.total_len).ok_or(DropReason::IcmpKind)?;
        if matches!(error, PathError::TooBig { mtu } if mtu < LEAST_MTU) {
            return Err(DropReason::IcmpTooNarrow);
        }
        if !self.is_own(refused.flow.addresses.src()) || !self.on_refused(now, &refused, None, error) {
            return Err(DropReason::IcmpUnrelated);
        }
        self.counters.icmp_errors_received += 1;
        if let PathError::TooBig { mtu } = error {
            self.path_mtus.learn(now, refused.dst, mtu);
        }
        Ok(())
    }

    /// Tells the socket that has sent a packet. Answers whether one may have. What was sent to a link-local address went by the link on which
    /// it was refused; IPv4 need not know that.
    pub(super) fn on_refused(
        &mut self,
        now: Instant,
        refused: &Refused,
        link: Option<InterfaceId>,
        error: PathError,
    ) -> bool {
        // What is told to be too big for a link on which it fits is a lie (RFC 5927 §7.2).
        if matches!(error, PathError::TooBig { mtu } if mtu >= refused.total_len) {
            return false;
        }
        let error = match error {
            // Connections know of the headers of IPv4 only.
            PathError::TooBig { mtu } if refused.protocol == IpProtocol::TCP && refused.dst.is_ipv6() => {
                PathError::TooBig { mtu: mtu.saturating_sub(LONGER_V6) }
            }
            _ => error,
        };
        let mut tell = |flow: FourTuple| match (refused.protocol, refused.seq) {
            (IpProtocol::TCP, Some(seq)) => self.tcp.handle_path_error(now, &flow, seq, error),
            (IpProtocol::UDP, _) => self.udp.handle_path_error(&flow, error),
            _ => false,
        };
        match link {
            Some(link) => tell(zone::to_receiver(refused.flow, link)),
            None => tell(refused.flow),
        }
    }

    /// A packet of ours, its IP header in front, can't be delivered to its first neighbour. If what follows goes to another one by now, who is
    /// not known to be silent as well, that says nothing of it.
    pub(super) fn on_undeliverable(&mut self, now: Instant, neighbour: Key, mut packet: Packet) {
        let len = packet.len().min(EXAMINED_BYTES);
        let Ok(head) = packet.contiguous(len, &self.copies) else { return };
        let refused = match head.first() {
            Some(first) if first >> 4 == 6 => {
                QuotedV6::parse(head).ok().and_then(|quoted| super::icmp_v6::refused(&quoted))
            }
            _ => Quoted::parse(head).ok().and_then(|quoted| refused(&quoted)),
        };
        let Some(refused) = refused else { return };
        let (link, _) = neighbour;
        let way = self.network.way(zone::marked(refused.dst, link)).map(|way| (way.interface, way.next_hop));
        if way.is_none_or(|way| way == neighbour || self.network.is_silent(way)) {
            self.on_refused(now, &refused, Some(link), PathError::Host);
        }
    }

    /// A fragmented packet is not complete in time (RFC 792, page 6).
    pub(super) fn on_expired(&mut self, now: Instant, expired: Expired) {
        let Some((head, payload)) = expired.first else { return };
        let payload_len = payload.len();
        let arrived = Arrived { interface: expired.interface, head, payload_len, is_broadcast: false, station: None };
        match &arrived.head {
            Head::V4(header) => {
                let error = Icmpv4Header::TimeExceeded { code: TimeExceededCode::REASSEMBLY };
                self.refuse(now, &arrived, header, &payload, error);
            }
            Head::V6(head) => {
                let error = Icmpv6Header::TimeExceeded { is_reassembly: true };
                self.refuse_v6(now, &arrived, head, &payload, error);
            }
        }
    }

    /// Nobody here listens at a port.
    pub(super) fn port_unreachable(&mut self, now: Instant, arrived: &Arrived, payload: &Packet) {
        match &arrived.head {
            Head::V4(header) => self.unreachable(now, arrived, header, payload, UnreachableCode::PORT),
            Head::V6(head) => {
                let error = Icmpv6Header::DestinationUnreachable { code: Icmpv6Unreachable::PORT };
                self.refuse_v6(now, arrived, head, payload, error);
            }
        }
    }

    /// Nobody here speaks a protocol, or listens at a port.
    pub(super) fn unreachable(
        &mut self,
        now: Instant,
        arrived: &Arrived,
        header: &Ipv4Header,
        payload: &Packet,
        code: UnreachableCode,
    ) {
        let error = Icmpv4Header::DestinationUnreachable { code, next_hop_mtu: 0 };
        self.refuse(now, arrived, header, payload, error);
    }

    /// Sends an error about a packet, if it may be (RFC 1122 §3.2.2) and not too many were sent.
    pub(super) fn refuse(
        &mut self,
        now: Instant,
        arrived: &Arrived,
        header: &Ipv4Header,
        payload: &Packet,
        error: Icmpv4Header,
    ) {
        let is_about_station = !arrived.is_broadcast && is_v4_station(header.src) && self.network.is_own(header.dst);
        if !is_about_station || header.fragment.offset() != 0 || is_icmp_error(header, payload) {
            return;
        }
        if !self.icmp_errors.take(now) {
            self.counters.icmp_errors_suppressed += 1;
            return;
        }
        let Ok(quoted_header) = header.to_bytes(arrived.payload_len) else { return };
        let quoted = payload.len().min(ERROR_BYTES - HEADERS_BYTES - quoted_header.len());
        let mut body = BufferMut::with_capacity(64, quoted_header.len() + quoted);
        let mut bytes = [0; ERROR_BYTES];
        // There are so many, and room for them.
        let _ = payload.copy_to_slice(0, &mut bytes[..quoted]);
        let _ = body.extend_from_slices([&quoted_header, &bytes[..quoted]]);
        let mut packet = Packet::from(body.freeze());
        let front = error.to_bytes(Sum::of_chain(packet.buffers()));
        if packet.prepend(&front).is_ok() {
            self.counters.icmp_errors_sent += 1;
            let reply =
                Ipv4Header { dont_fragment: false, ..Ipv4Header::new(IpProtocol::ICMP, header.dst, header.src) };
            self.emit(now, arrived.errand(), reply, packet);
        }
    }
}

fn refused(quoted: &Quoted<'_>) -> Option<Refused> {
    let packet = quoted.packet();
    Some(Refused {
        dst: packet.dst().into(),
        total_len: packet.total_len(),
        protocol: packet.protocol(),
        flow: quoted.four_tuple()?,
        seq: quoted.seq(),
    })
}

/// Errors are never answered by errors, and about other messages nobody needs one.
fn is_icmp_error(header: &Ipv4Header, payload: &Packet) -> bool {
    const ECHO_REQUEST: u8 = 8;

    let mut kind = [0];
    header.protocol == IpProtocol::ICMP && (payload.copy_to_slice(0, &mut kind).is_err() || kind != [ECHO_REQUEST])
}

/// What an error means; `total_len` is the length of the packet that it is about.
fn path_error(header: &Icmpv4Header, total_len: u16) -> Option<PathError> {
    Some(match header {
        Icmpv4Header::DestinationUnreachable { code, next_hop_mtu } => match (code.0, *next_hop_mtu) {
            (0 | 6 | 11, _) => PathError::Net,
            (1 | 5 | 7 | 8 | 12, _) => PathError::Host,
            (2, _) => PathError::Protocol,
            (3, _) => PathError::Port,
            (4, 0) => PathError::TooBig { mtu: plateau_below(total_len) },
            (4, mtu) => PathError::TooBig { mtu },
            (9 | 10 | 13..=15, _) => PathError::Prohibited,
            _ => return None,
        },
        Icmpv4Header::TimeExceeded { .. } => PathError::TimeExceeded,
        Icmpv4Header::ParameterProblem { .. } => PathError::ParameterProblem,
        _ => return None,
    })
}
