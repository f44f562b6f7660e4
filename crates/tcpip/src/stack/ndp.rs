//! Neighbour discovery (RFC 4861): who asks for us, whom we ask for.

use core::net::{IpAddr, Ipv6Addr};

use sunstar_packet::{BufferMut, Packet};
use sunstar_wire::checksum::{Sum, pseudo_header_v6};
use sunstar_wire::{
    EtherType, Icmpv6Header, Icmpv6Packet, IpProtocol, Ipv6Header, MacAddr, NDP_HOP_LIMIT, NdpMessage, NdpOption,
    NdpOptions,
};

use super::Stack;
use super::input::Arrived;
use super::input_v6::ALL_NODES;
use super::network::{Cast, Way};
use crate::drops::DropReason;
use crate::head::HeadV6;
use crate::interface::InterfaceId;
use crate::neighbours::{Errand, Request};
use crate::time::Instant;

/// Bytes of the messages that are looked at: no link has routers that say more.
const MAX_BYTES: usize = 9_000;

/// The types of the messages of ICMPv6 (§4).
pub(super) const NDP_KINDS: core::ops::RangeInclusive<u8> = 133..=137;

/// A message that has come, with what is around it.
struct Heard<'a> {
    interface: InterfaceId,
    own: Option<MacAddr>,
    header: Ipv6Header,
    options: NdpOptions<'a>,
}

impl Heard<'_> {
    fn source_link_layer(&self) -> Option<MacAddr> {
        self.options.clone().find_map(|option| match option {
            NdpOption::SourceLinkLayer(mac) if mac.is_unicast() => Some(mac),
            _ => None,
        })
    }

    fn target_link_layer(&self) -> Option<MacAddr> {
        self.options.clone().find_map(|option| match option {
            NdpOption::TargetLinkLayer(mac) if mac.is_unicast() => Some(mac),
            _ => None,
        })
    }
}

/// The group in which who has an address is asked for it (RFC 4291 §2.7.1).
pub(super) const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from_octets([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

impl Stack {
    /// Whether a group is one in which one of our addresses, or of those that are to be ours, is asked for.
    pub(super) fn is_solicited(&self, id: InterfaceId, group: Ipv6Addr) -> bool {
        let own = self
            .network
            .interface(id)
            .is_some_and(|interface| interface.addresses_v6().any(|address| solicited_node(address) == group));
        own || self.tentative.iter().any(|other| other.interface == id && solicited_node(other.address()) == group)
    }

    pub(super) fn input_ndp(
        &mut self,
        now: Instant,
        arrived: &Arrived,
        head: &HeadV6,
        mut packet: Packet,
    ) -> Result<(), DropReason> {
        let id = arrived.interface;
        // §6.1, §7.1, §8.1: what was forwarded comes from elsewhere.
        if head.header.hop_limit != NDP_HOP_LIMIT && !planted::is("ndp_from_afar") {
            return Err(DropReason::NdpImplausible);
        }
        // RFC 6980 §5. What has come in pieces was dropped before.
        if head.is_atomic {
            return Err(DropReason::NdpFragmented);
        }
        let own = self.network.interface(id).and_then(|interface| interface.mac());
        let len = packet.len().min(MAX_BYTES);
        let malformed = DropReason::NdpMalformed;
        let copies = sunstar_packet::CopyCounter::default();
        let bytes = packet.contiguous(len, &copies).map_err(|_| malformed)?;
        let view = Icmpv6Packet::parse(bytes).map_err(|_| malformed)?;
        let (message, options) = NdpMessage::parse(&view).map_err(|_| malformed)?;
        let heard = Heard { interface: id, own, header: head.header, options };
        match message {
            NdpMessage::NeighbourSolicitation { target } => self.on_solicitation(now, &heard, target),
            NdpMessage::NeighbourAdvertisement { target, is_router, is_solicited, is_override } => {
                self.on_advertisement(now, &heard, target, (is_router, is_solicited, is_override))
            }
            NdpMessage::RouterAdvertisement(router) => {
                let source = heard.source_link_layer();
                if !heard.header.src.is_unicast_link_local() && !planted::is("router_from_afar") {
                    return Err(DropReason::NdpImplausible);
                }
                self.meet(now, &heard, heard.header.src, source);
                self.on_router(now, id, heard.header.src, &router, heard.options);
                Ok(())
            }
            NdpMessage::Redirect { target, destination } => self.on_redirect(now, &heard, target, destination),
            // We are no router.
            NdpMessage::RouterSolicitation => Err(DropReason::IcmpKind),
        }
    }

    /// A station has told its address unasked: it is remembered as stale.
    fn meet(&mut self, now: Instant, heard: &Heard<'_>, address: Ipv6Addr, mac: Option<MacAddr>) {
        self.network.note_heard(heard.interface, address.into());
        let Some(mac) = mac.filter(|mac| Some(*mac) != heard.own) else { return };
        let waiting = self.neighbours.learn_stale(now, heard.interface, address.into(), mac, true);
        self.send_waiting(now, (heard.interface, address.into()), mac, waiting);
    }

    /// §7.2.3.
    fn on_solicitation(&mut self, now: Instant, heard: &Heard<'_>, target: Ipv6Addr) -> Result<(), DropReason> {
        let (header, source) = (&heard.header, heard.source_link_layer());
        let is_probe = header.src.is_unspecified();
        let is_wrong_probe = is_probe && (source.is_some() || header.dst != solicited_node(target));
        if target.is_multicast() || is_wrong_probe {
            return Err(DropReason::NdpImplausible);
        }
        if is_probe && self.on_rival(now, heard.interface, target, heard.options.clone()) {
            return Ok(());
        }
        let interface = self.network.interface(heard.interface).ok_or(DropReason::Interface)?;
        if !interface.has_address(target.into()) {
            return Err(DropReason::OtherHost);
        }
        if !is_probe {
            self.meet(now, heard, header.src, source);
        }
        let dst = if is_probe { ALL_NODES } else { header.src };
        let answer =
            NdpMessage::NeighbourAdvertisement { target, is_router: false, is_solicited: !is_probe, is_override: true };
        self.counters.neighbour_advertisements_sent += 1;
        let option = heard.own.map(NdpOption::TargetLinkLayer);
        // Whoever asks is not one whom we use: the answer goes where it was asked, past the cache.
        let to = source.filter(|_| !is_probe);
        self.send_ndp(now, heard.interface, (target, dst), to, &answer, option);
        Ok(())
    }

    /// §7.2.5.
    fn on_advertisement(
        &mut self,
        now: Instant,
        heard: &Heard<'_>,
        target: Ipv6Addr,
        (is_router, is_solicited, is_override): (bool, bool, bool),
    ) -> Result<(), DropReason> {
        let id = heard.interface;
        if target.is_multicast() || (is_solicited && heard.header.dst.is_multicast()) {
            return Err(DropReason::NdpImplausible);
        }
        let mac = heard.target_link_layer();
        if self.on_taken(now, id, target, mac) {
            return Ok(());
        }
        // Our own, come back, or made up.
        if self.network.is_own_v6(heard.header.src) {
            return Err(DropReason::Source);
        }
        self.network.note_heard(id, target.into());
        let known = self.neighbours.mac(id, target.into());
        let Some(mac) = mac.or(known) else { return Ok(()) };
        let is_other = known.is_some_and(|known| known != mac);
        let waiting = match (is_other && !is_override, is_solicited) {
            // Somebody else says so too: what is known is doubted, and not replaced.
            (true, _) => {
                self.neighbours.doubt(now, id, target.into());
                return Ok(());
            }
            (false, true) => self.neighbours.learn(now, id, target.into(), mac, false),
            (false, false) => self.neighbours.learn_stale(now, id, target.into(), mac, false),
        };
        if !is_router {
            self.on_mere_host(now, id, target);
        }
        self.send_waiting(now, (id, target.into()), mac, waiting);
        Ok(())
    }

    /// §8.3: only the router by which we send there may say so.
    fn on_redirect(
        &mut self,
        now: Instant,
        heard: &Heard<'_>,
        target: Ipv6Addr,
        destination: Ipv6Addr,
    ) -> Result<(), DropReason> {
        let is_current = |way: &Way| {
            way.interface == heard.interface
                && way.cast == Cast::Unicast
                && way.next_hop == IpAddr::V6(heard.header.src)
        };
        let is_believed = self.network.way(destination.into()).is_some_and(|way| is_current(&way));
        let is_plausible = target == destination || target.is_unicast_link_local();
        if !is_believed || !is_plausible || destination.is_multicast() || !heard.header.src.is_unicast_link_local() {
            return Err(DropReason::NdpImplausible);
        }
        self.meet(now, heard, target, heard.target_link_layer());
        self.redirect(now, heard.interface, target, destination);
        Ok(())
    }

    /// Asks for a neighbour (§7.2.2): in its group, or itself if its address was known.
    pub(super) fn solicit(&mut self, now: Instant, request: &Request, target: Ipv6Addr) {
        let id = request.interface;
        let Some(interface) = self.network.interface(id) else { return };
        let Some(mac) = interface.mac() else { return };
        let Some(src) = super::selection::source(target, interface, interface.addresses()) else { return };
        let is_known = request.to != MacAddr::BROADCAST;
        let dst = if is_known { target } else { solicited_node(target) };
        self.counters.neighbour_solicitations_sent += 1;
        let message = NdpMessage::NeighbourSolicitation { target };
        let to = is_known.then_some(request.to);
        self.send_ndp(now, id, (src, dst), to, &message, Some(NdpOption::SourceLinkLayer(mac)));
    }

    /// Sends a message on a link; to a station if it is named, or else to whom the address leads.
    pub(super) fn send_ndp(
        &mut self,
        now: Instant,
        id: InterfaceId,
        (src, dst): (Ipv6Addr, Ipv6Addr),
        to: Option<MacAddr>,
        message: &NdpMessage,
        option: Option<NdpOption<'_>>,
    ) {
        let fixed = message.fixed();
        let option = option.and_then(|option| option.to_bytes().ok());
        let option: &[u8] = option.as_deref().unwrap_or_default();
        let body_sum = Sum::of(&fixed) + Sum::of(option);
        let len = Icmpv6Header::LEN + fixed.len() + option.len();
        let Ok(length) = u32::try_from(len) else { return };
        let sum = pseudo_header_v6(src, dst, IpProtocol::ICMPV6, length) + body_sum;
        let mut bytes = BufferMut::with_capacity(96, len);
        // There is room: it was made for it.
        let _ = bytes.extend_from_slices([&message.header().to_bytes(sum)[..], &fixed, option]);
        let header = Ipv6Header { hop_limit: NDP_HOP_LIMIT, ..Ipv6Header::new(IpProtocol::ICMPV6, src, dst) };
        let Some(packet) = self.with_ipv6_header(&header, bytes.freeze().into()) else { return };
        let cast = if dst.is_multicast() { Cast::Multicast } else { Cast::Unicast };
        let ready = match to {
            Some(mac) => self.frame(id, mac, EtherType::IPV6, packet).map(|frame| (id, frame)),
            None => self.link_output(now, &Way { interface: id, next_hop: dst.into(), cast }, Errand::Own, packet),
        };
        if let Some(ready) = ready {
            self.enqueue(ready);
        }
    }
}
