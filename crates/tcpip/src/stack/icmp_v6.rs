//! ICMPv6 (RFC 4443): echoes, and errors both ways.

use sunstar_packet::{BufferMut, Packet};
use sunstar_wire::checksum::{Sum, pseudo_header_v6};
use sunstar_wire::{
    AddressPair, Icmpv6Header, Icmpv6Packet, Icmpv6Unreachable, IpProtocol, Ipv6Header, QuotedV6, TrafficClass,
};

use super::Stack;
use super::icmp::Refused;
use super::input::Arrived;
use super::ndp::NDP_KINDS;
use super::tcp::has_valid_checksum;
use crate::drops::DropReason;
use crate::head::HeadV6;
use crate::interface::{InterfaceId, MIN_MTU_V6};
use crate::path::PathError;
use crate::time::Instant;

/// Of a received error: what is looked at.
const EXAMINED_BYTES: usize = MIN_MTU_V6 as usize;

/// Bytes in front of what an error quotes.
const HEADERS_BYTES: usize = Ipv6Header::LEN + Icmpv6Header::LEN;

impl Stack {
    pub(super) fn input_icmp_v6(
        &mut self,
        now: Instant,
        arrived: &Arrived,
        head: &HeadV6,
        mut packet: Packet,
    ) -> Result<(), DropReason> {
        let addresses = AddressPair::V6 { src: head.header.src, dst: head.header.dst };
        // Devices vouch for TCP and UDP only, but who cut and joined on this host does for all.
        if !has_valid_checksum(&packet, addresses, IpProtocol::ICMPV6) && !planted::is("icmp_v6_unverified") {
            return Err(DropReason::IcmpChecksum);
        }
        let malformed = DropReason::IcmpMalformed;
        let front = packet.contiguous(Icmpv6Header::LEN, &self.copies).map_err(|_| malformed)?;
        let view = Icmpv6Packet::parse(front).map_err(|_| malformed)?;
        match (view.kind(), view.header()) {
            (_, Icmpv6Header::EchoRequest { identifier, sequence }) => {
                let reply = Icmpv6Header::EchoReply { identifier, sequence };
                self.echo_v6(now, arrived, head, &reply, packet)
            }
            (_, header) if header.is_error() => self.input_icmp_v6_error(now, arrived.interface, &header, packet),
            (kind, _) if NDP_KINDS.contains(&kind) => self.input_ndp(now, arrived, head, packet),
            (130..=132, _) => self.input_group_query_v6(now, arrived, head, packet),
            _ => Err(DropReason::IcmpKind),
        }
    }

    /// RFC 4443 §4.2: what came goes back, from the address to which it was sent, or from one of ours if that was a group's.
    fn echo_v6(
        &mut self,
        now: Instant,
        arrived: &Arrived,
        head: &HeadV6,
        reply: &Icmpv6Header,
        mut packet: Packet,
    ) -> Result<(), DropReason> {
        if !self.echo_replies.take(now) {
            return Err(DropReason::IcmpEcho);
        }
        let src = self.answers_from(arrived.interface, &head.header).ok_or(DropReason::IcmpEcho)?;
        // It was looked at.
        let _ = packet.trim_front(Icmpv6Header::LEN);
        packet.offload = sunstar_packet::Offload::default();
        self.counters.echo_replies_sent += 1;
        let class = head.header.traffic_class;
        self.send_icmp_v6(now, arrived, (src, head.header.src), class, reply, packet);
        Ok(())
    }

    /// The address that answers a packet.
    fn answers_from(&self, id: InterfaceId, header: &Ipv6Header) -> Option<core::net::Ipv6Addr> {
        if !header.dst.is_multicast() {
            return Some(header.dst);
        }
        let interface = self.network.interface(id)?;
        super::selection::source(header.src, interface, interface.addresses())
    }

    /// Sends a message to whom has sent something.
    pub(super) fn send_icmp_v6(
        &mut self,
        now: Instant,
        arrived: &Arrived,
        (src, dst): (core::net::Ipv6Addr, core::net::Ipv6Addr),
        traffic_class: TrafficClass,
        message: &Icmpv6Header,
        mut body: Packet,
    ) {
        let Some(way) = self.way_back(arrived.interface, dst) else { return };
        let Ok(len) = u32::try_from(body.len() + Icmpv6Header::LEN) else { return };
        let sum = pseudo_header_v6(src, dst, IpProtocol::ICMPV6, len) + Sum::of_chain(body.buffers());
        if body.prepend(&message.to_bytes(sum)).is_err() {
            self.drop(DropReason::TooLong);
            return;
        }
        let header = Ipv6Header { traffic_class, ..Ipv6Header::new(IpProtocol::ICMPV6, src, dst) };
        self.emit_v6(now, (&way, arrived.errand()), header, body);
    }

    fn input_icmp_v6_error(
        &mut self,
        now: Instant,
        link: InterfaceId,
        header: &Icmpv6Header,
        mut packet: Packet,
    ) -> Result<(), DropReason> {
        let len = packet.len().min(EXAMINED_BYTES);
        let head = packet.contiguous(len, &self.copies).map_err(|_| DropReason::IcmpMalformed)?;
        let body = head.get(Icmpv6Header::LEN..).unwrap_or_default();
        let quoted = QuotedV6::parse(body).map_err(|_| DropReason::IcmpMalformed)?;
        let refused = refused(&quoted).ok_or(DropReason::IcmpUnrelated)?;
        let error = path_error(header).ok_or(DropReason::IcmpKind)?;
        // RFC 8201 §4: less than every link takes is not believed.
        if matches!(error, PathError::TooBig { mtu } if mtu < MIN_MTU_V6) {
            return Err(DropReason::IcmpTooNarrow);
        }
        if !self.is_own(refused.flow.addresses.src()) || !self.on_refused(now, &refused, Some(link), error) {
            return Err(DropReason::IcmpUnrelated);
        }
        self.counters.icmp_errors_received += 1;
        if let PathError::TooBig { mtu } = error {
            self.path_mtus.learn(now, refused.dst, mtu);
        }
        Ok(())
    }

    /// Sends an error about a packet, if it may be (RFC 4443 §2.4) and not too many were sent.
    pub(super) fn refuse_v6(
        &mut self,
        now: Instant,
        arrived: &Arrived,
        head: &HeadV6,
        payload: &Packet,
        error: Icmpv6Header,
    ) {
        let header = &head.header;
        let is_later = head.fragment.is_some_and(|fragment| fragment.fragment.offset() != 0);
        let is_about_station = !arrived.is_broadcast && !header.src.is_unspecified() && !header.src.is_multicast();
        if !is_about_station || is_later || is_icmp_error(head, payload) {
            return;
        }
        let Some(src) = self.answers_from(arrived.interface, header) else { return };
        if !self.icmp_errors.take(now) {
            self.counters.icmp_errors_suppressed += 1;
            return;
        }
        let carried = head.extensions.len() + arrived.payload_len;
        let Ok(quoted_header) = header.to_bytes(carried) else { return };
        let front = quoted_header.len() + head.extensions.len();
        let quoted = payload.len().min((EXAMINED_BYTES - HEADERS_BYTES).saturating_sub(front));
        let mut body = BufferMut::with_capacity(96, front + quoted);
        let mut bytes = [0; EXAMINED_BYTES];
        // There are so many, and room for them.
        let _ = payload.copy_to_slice(0, &mut bytes[..quoted]);
        let _ = body.extend_from_slices([&quoted_header, &head.extensions, &bytes[..quoted]]);
        self.counters.icmp_errors_sent += 1;
        let class = TrafficClass::default();
        self.send_icmp_v6(now, arrived, (src, header.src), class, &error, body.freeze().into());
    }
}

pub(super) fn refused(quoted: &QuotedV6<'_>) -> Option<Refused> {
    Some(Refused {
        dst: quoted.packet().dst().into(),
        total_len: u16::try_from(quoted.total_len()).unwrap_or(u16::MAX),
        protocol: quoted.protocol(),
        flow: quoted.four_tuple()?,
        seq: quoted.seq(),
    })
}

/// RFC 4443 §2.4, e.1 and e.2: errors and redirects are never answered by errors.
fn is_icmp_error(head: &HeadV6, payload: &Packet) -> bool {
    const REDIRECT: u8 = 137;

    let mut kind = [0];
    let is_icmp = head.protocol == IpProtocol::ICMPV6;
    is_icmp && (payload.copy_to_slice(0, &mut kind).is_err() || kind[0] < 128 || kind[0] == REDIRECT)
}

/// What an error means.
fn path_error(header: &Icmpv6Header) -> Option<PathError> {
    Some(match header {
        Icmpv6Header::DestinationUnreachable { code } => match *code {
            Icmpv6Unreachable::NO_ROUTE => PathError::Net,
            Icmpv6Unreachable::PORT => PathError::Port,
            Icmpv6Unreachable::PROHIBITED | Icmpv6Unreachable(5 | 6) => PathError::Prohibited,
            Icmpv6Unreachable::ADDRESS | Icmpv6Unreachable::BEYOND_SCOPE => PathError::Host,
            _ => return None,
        },
        Icmpv6Header::PacketTooBig { mtu } => PathError::TooBig { mtu: u16::try_from(*mtu).unwrap_or(u16::MAX) },
        Icmpv6Header::TimeExceeded { .. } => PathError::TimeExceeded,
        Icmpv6Header::ParameterProblem { code, .. } if code.0 == 1 => PathError::Protocol,
        Icmpv6Header::ParameterProblem { .. } => PathError::ParameterProblem,
        _ => return None,
    })
}
