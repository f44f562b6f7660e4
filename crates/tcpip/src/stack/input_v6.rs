//! Packets of IPv6 that come in: headers, extension headers, fragments (RFC 8200).

use core::mem::take;
use core::net::Ipv6Addr;

use sunstar_packet::Packet;
use sunstar_wire::{
    Error, Icmpv6Header, Icmpv6ParameterProblem, IpProtocol, Ipv6Extension, Ipv6Extensions, Ipv6Fragment, Ipv6Header,
    Ipv6OptionIter, Ipv6Packet, UnknownOption,
};

use super::Stack;
use super::input::{Arrived, ByLink};
use super::ndp::NDP_KINDS;
use crate::drops::DropReason;
use crate::head::{Head, HeadV6};
use crate::interface::InterfaceId;
use crate::time::Instant;
use crate::zone;

/// Bytes of the extension headers of a packet that are looked at. What is more does not fit the smallest MTU with anything else.
const MAX_CHAIN_BYTES: usize = 1_024;

/// The type of a neighbour advertisement (RFC 4861 §4.4).
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// What is wrong with extension headers: why the packet is dropped, and what its sender is told.
struct Refusal {
    reason: DropReason,
    problem: Option<(Icmpv6ParameterProblem, usize)>,
    /// Whether that is told also if the packet was for a group.
    also_of_groups: bool,
}

impl Refusal {
    const fn silent(reason: DropReason) -> Self {
        Self { reason, problem: None, also_of_groups: false }
    }

    const fn told(code: Icmpv6ParameterProblem, pointer: usize) -> Self {
        Self { reason: DropReason::Ipv6Extension, problem: Some((code, pointer)), also_of_groups: false }
    }
}

impl Stack {
    pub(super) fn input_v6(&mut self, now: Instant, by: ByLink, packet: &mut Packet) -> Result<(), DropReason> {
        let ByLink { interface: id, station, .. } = by;
        let header = self.ipv6_header(packet)?;
        let is_group = match self.check_addresses_v6(id, &header) {
            // Another station has our address: neighbour discovery looks at it.
            Err(DropReason::Source) if self.is_own_claim(&header, packet) => header.dst.is_multicast(),
            checked => checked?,
        };
        let payload_len = packet.len();
        let is_broadcast = by.is_broadcast || is_group;
        let head = Head::V6(HeadV6::new(header));
        self.input_chain(now, Arrived { interface: id, head, payload_len, is_broadcast, station }, true, packet)
    }

    /// Whether a neighbour advertisement comes from an address of ours, to all or to us.
    fn is_own_claim(&self, header: &Ipv6Header, packet: &Packet) -> bool {
        let is_own = self.network.is_own_v6(header.src) && !header.src.is_loopback();
        let is_to_us = header.dst == ALL_NODES || self.network.is_own_v6(header.dst);
        let mut kind = [0];
        let is_claim = packet.copy_to_slice(0, &mut kind).is_ok() && kind == [NEIGHBOUR_ADVERTISEMENT];
        is_own && is_to_us && is_claim && header.next_header == IpProtocol::ICMPV6
    }

    /// Reads the fixed header and leaves what is behind it.
    fn ipv6_header(&self, packet: &mut Packet) -> Result<Ipv6Header, DropReason> {
        let malformed = DropReason::Ipv6Malformed;
        let len = packet.len();
        let fixed = packet.contiguous(Ipv6Header::LEN, &self.copies).map_err(|_| malformed)?;
        let view = Ipv6Packet::parse_head(fixed, len).map_err(|_| malformed)?;
        let (header, payload_len) = (view.header(), view.payload_len());
        // Both are there: the view has seen them.
        let _ = packet.trim_back(len - Ipv6Header::LEN - payload_len);
        let _ = packet.trim_front(Ipv6Header::LEN);
        Ok(header)
    }

    /// RFC 4291 §2.5.2, §2.5.3, §2.7. Answers whether the packet is for a group.
    pub(super) fn check_addresses_v6(&self, id: InterfaceId, header: &Ipv6Header) -> Result<bool, DropReason> {
        let interface = self.network.interface(id).ok_or(DropReason::Interface)?;
        if interface.is_loopback() {
            return if self.network.is_own_v6(header.dst) { Ok(false) } else { Err(DropReason::OtherHost) };
        }
        if !interface.speaks_v6() {
            return Err(DropReason::Ipv6Unspoken);
        }
        if header.dst.is_loopback() || header.src.is_loopback() {
            return Err(DropReason::LoopbackOutside);
        }
        let is_discovery = header.next_header == IpProtocol::ICMPV6 && header.dst.is_multicast();
        let is_nobody = header.src.is_unspecified() && !is_discovery;
        // Somebody on this link may have the link-local address that we have on another one.
        let is_from_us = match header.src.is_unicast_link_local() {
            true => interface.has_address(header.src.into()),
            false => self.network.is_own_v6(header.src),
        };
        if header.src.is_multicast() || zone::is_marked(header.src) || is_nobody || is_from_us {
            return Err(DropReason::Source);
        }
        if header.dst.is_multicast() {
            return if self.listens_to(id, header.dst) { Ok(true) } else { Err(DropReason::OtherHost) };
        }
        // A link-local address is one of its link (RFC 4291 §2.5.6).
        let is_ours = match header.dst.is_unicast_link_local() {
            true => interface.has_address(header.dst.into()),
            false => self.network.is_own_v6(header.dst),
        };
        if is_ours { Ok(false) } else { Err(DropReason::OtherHost) }
    }

    /// Goes through the extension headers of a packet and hands it to its protocol. `is_outermost` if they are not those of a packet
    /// that was put together.
    fn input_chain(
        &mut self,
        now: Instant,
        mut arrived: Arrived,
        is_outermost: bool,
        packet: &mut Packet,
    ) -> Result<(), DropReason> {
        let Head::V6(head) = &mut arrived.head else { return Err(DropReason::IpVersion) };
        if !head.protocol.is_extension() {
            return self.deliver(now, &arrived, packet);
        }
        let len = packet.len().min(MAX_CHAIN_BYTES);
        let bytes = packet.contiguous(len, &self.copies).map_err(|_| DropReason::Ipv6Malformed)?;
        let whole_len = arrived.payload_len;
        let walked = match is_outermost {
            true => walk(Ipv6Extensions::behind_fixed(head.protocol, bytes), head, whole_len),
            false => walk(Ipv6Extensions::behind_fragment(head.protocol, bytes), head, whole_len),
        };
        if let Err(refusal) = walked {
            self.refuse_extensions(now, &arrived, &refusal, packet);
            return Err(refusal.reason);
        }
        let (extensions, is_piece) = (head.extensions.len(), head.fragment.is_some());
        // They were looked at.
        let _ = packet.trim_front(extensions);
        arrived.payload_len = packet.len();
        if is_piece {
            return self.input_piece(now, arrived, packet);
        }
        self.deliver(now, &arrived, packet)
    }

    /// RFC 8200 §4.5.
    fn input_piece(&mut self, now: Instant, arrived: Arrived, packet: &mut Packet) -> Result<(), DropReason> {
        let id = arrived.interface;
        let whole = self.reassembly.push(now, id, &arrived.head, take(packet), &mut self.drops, &self.copies)?;
        self.counters.fragments_received += 1;
        let Some((head, mut whole)) = whole else { return Ok(()) };
        self.check_whole(&head, &mut whole)?;
        let arrived = Arrived { head, payload_len: whole.len(), ..arrived };
        *packet = whole;
        if !self.goes_on_as_one(now, &arrived, packet)? {
            return Ok(());
        }
        self.input_chain(now, arrived, false, packet)
    }

    /// What must not come in pieces: other pieces, which could be nested without end, and neighbour discovery (RFC 6980 §5). Who takes it in
    /// afterwards does not see any more that it did.
    fn check_whole(&self, head: &Head, whole: &mut Packet) -> Result<(), DropReason> {
        let Head::V6(HeadV6 { protocol, .. }) = head else { return Ok(()) };
        let len = whole.len().min(MAX_CHAIN_BYTES);
        let bytes = whole.contiguous(len, &self.copies).map_err(|_| DropReason::Ipv6Malformed)?;
        let mut extensions = Ipv6Extensions::behind_fragment(*protocol, bytes);
        if extensions.any(|extension| matches!(extension, Ok(Ipv6Extension::Fragment(_)))) {
            return Err(DropReason::FragmentMalformed);
        }
        let kind = extensions.rest().first().filter(|_| extensions.protocol() == IpProtocol::ICMPV6);
        if kind.is_some_and(|kind| NDP_KINDS.contains(kind)) { Err(DropReason::NdpFragmented) } else { Ok(()) }
    }

    fn refuse_extensions(&mut self, now: Instant, arrived: &Arrived, refusal: &Refusal, packet: &Packet) {
        let (Some((code, pointer)), Head::V6(head)) = (refusal.problem, &arrived.head) else { return };
        let pointer = u32::try_from(pointer).unwrap_or(u32::MAX);
        let as_came = HeadV6::new(head.header);
        if is_behind_icmp_error(head.header.next_header, packet) {
            return;
        }
        // RFC 4443 §2.4, e.3: of groups only what asks for it.
        let arrived = Arrived { is_broadcast: arrived.is_broadcast && !refusal.also_of_groups, ..arrived.clone() };
        self.refuse_v6(now, &arrived, &as_came, packet, Icmpv6Header::ParameterProblem { code, pointer });
    }

    /// Nobody here speaks what a packet carries (RFC 8200 §4).
    pub(super) fn refuse_protocol(&mut self, now: Instant, arrived: &Arrived, head: &HeadV6, packet: &Packet) {
        if head.protocol == IpProtocol::NO_NEXT_HEADER {
            return;
        }
        let pointer = u32::try_from(head.named_at).unwrap_or(u32::MAX);
        let code = Icmpv6ParameterProblem::NEXT_HEADER;
        self.refuse_v6(now, arrived, head, packet, Icmpv6Header::ParameterProblem { code, pointer });
    }

    /// Whether what is sent to a group is for us.
    pub(super) fn listens_to(&self, id: InterfaceId, group: Ipv6Addr) -> bool {
        // RFC 4291 §2.8.
        group == ALL_NODES || self.is_solicited(id, group) || self.groups.has(id, group.into())
    }
}

/// All stations of a link (RFC 4291 §2.7.1).
pub(super) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Looks at the extension headers, and writes into the head what they say.
fn walk(mut extensions: Ipv6Extensions<'_>, head: &mut HeadV6, len: usize) -> Result<(), Refusal> {
    let all = extensions.rest();
    loop {
        let named_at = extensions.named_at();
        let at = extensions.position();
        let Some(extension) = extensions.next() else { break };
        match extension.map_err(|error| malformed(error, named_at))? {
            Ipv6Extension::HopByHop(options) | Ipv6Extension::Destination(options) => check_options(options)?,
            // RFC 8200 §4.4: routes are not followed (RFC 5095); at their end they mean nothing.
            Ipv6Extension::Routing { segments_left: 0, .. } => {}
            Ipv6Extension::Routing { .. } => return Err(Refusal::told(Icmpv6ParameterProblem::FIELD, at + 2)),
            // RFC 6946: one that is whole is taken alone.
            Ipv6Extension::Fragment(fragment) if fragment.fragment.is_whole() => head.is_atomic = true,
            Ipv6Extension::Fragment(fragment) => {
                let payload_len = len - (all.len() - extensions.rest().len()).min(len);
                check_fragment(&fragment, &extensions, payload_len, at)?;
                head.fragment = Some(fragment);
            }
        }
    }
    head.protocol = extensions.protocol();
    head.named_at = extensions.named_at();
    head.extensions = all.get(..all.len() - extensions.rest().len()).unwrap_or_default().to_vec();
    Ok(())
}

fn malformed(error: Error, named_at: usize) -> Refusal {
    match error {
        // RFC 8200 §4.1: elsewhere it is a header that is not known.
        Error::ExtensionOrder => Refusal::told(Icmpv6ParameterProblem::NEXT_HEADER, named_at),
        _ => Refusal::silent(DropReason::Ipv6Extension),
    }
}

/// RFC 8200 §4.2.
fn check_options(options: Ipv6OptionIter<'_>) -> Result<(), Refusal> {
    for option in options {
        let option = option.map_err(|_| Refusal::silent(DropReason::Ipv6Extension))?;
        if option.is_router_alert() {
            continue;
        }
        let told = Refusal::told(Icmpv6ParameterProblem::OPTION, option.at);
        match option.unknown() {
            UnknownOption::Skip => {}
            UnknownOption::Discard => return Err(Refusal::silent(DropReason::Ipv6Extension)),
            UnknownOption::Tell => return Err(Refusal { also_of_groups: true, ..told }),
            UnknownOption::TellUnlessMulticast => return Err(told),
        }
    }
    Ok(())
}

/// RFC 8200 §4.5: what can't be a piece, and what is told of it; RFC 7112 §5: the first one has all headers.
fn check_fragment(
    fragment: &Ipv6Fragment,
    extensions: &Ipv6Extensions<'_>,
    payload_len: usize,
    at: usize,
) -> Result<(), Refusal> {
    const PAYLOAD_LENGTH_AT: usize = 4;

    let is_malformed = |pointer| Refusal {
        reason: DropReason::FragmentMalformed,
        ..Refusal::told(Icmpv6ParameterProblem::FIELD, pointer)
    };
    let offset = usize::from(fragment.fragment.offset());
    if fragment.fragment.has_more() && !payload_len.is_multiple_of(8) {
        return Err(is_malformed(PAYLOAD_LENGTH_AT));
    }
    if offset + payload_len > usize::from(u16::MAX) {
        return Err(is_malformed(at + 2));
    }
    if offset == 0 && !has_whole_chain(fragment.next_header, extensions.rest()) {
        let reason = DropReason::Ipv6IncompleteChain;
        return Err(Refusal { reason, ..Refusal::told(Icmpv6ParameterProblem::INCOMPLETE_CHAIN, 0) });
    }
    Ok(())
}

/// RFC 4443 §2.4, e.1: whether a packet carries an error behind extension headers, as far as they can be read.
fn is_behind_icmp_error(protocol: IpProtocol, packet: &Packet) -> bool {
    let mut bytes = [0; MAX_CHAIN_BYTES];
    let bytes = &mut bytes[..packet.len().min(MAX_CHAIN_BYTES)];
    // There are so many.
    let _ = packet.copy_to_slice(0, bytes);
    let mut extensions = Ipv6Extensions::behind_fixed(protocol, bytes);
    extensions.by_ref().for_each(drop);
    let is_error = extensions.rest().first().is_some_and(|kind| *kind < 128);
    extensions.protocol() == IpProtocol::ICMPV6 && is_error
}

/// Whether all headers are there, that of the transport included.
fn has_whole_chain(protocol: IpProtocol, bytes: &[u8]) -> bool {
    let mut extensions = Ipv6Extensions::behind_fragment(protocol, bytes);
    let is_readable = extensions.by_ref().all(|extension| extension.is_ok());
    let least = match extensions.protocol() {
        IpProtocol::TCP => 20,
        IpProtocol::UDP | IpProtocol::ICMPV6 => 8,
        _ => 0,
    };
    is_readable && extensions.rest().len() >= least
}
