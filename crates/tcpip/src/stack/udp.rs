//! UDP over IP.

use core::net::{IpAddr, SocketAddr, SocketAddrV6};

use sunstar_packet::{Checksum, MAX_BUFFERS, Offload, Packet};
use sunstar_wire::checksum::{Fill, Sum, pseudo_header};
use sunstar_wire::dhcpv6::CLIENT_PORT;
use sunstar_wire::{AddressPair, FourTuple, IpProtocol, Ipv4Header, Ipv6Header, UdpDatagram, UdpHeader};

use super::Stack;
use super::input::Arrived;
use super::network::{Cast, Way};
use super::tcp::has_valid_checksum;
use crate::drops::DropReason;
use crate::head::Head;
use crate::neighbours::Errand;
use crate::tcp::sockets::OpenError;
use crate::time::Instant;
use crate::udp::{Received, UdpId, UdpOptions, UdpSendError, UdpSockets};
use crate::zone;

/// Bytes of an IPv4 header without options.
const IPV4_BYTES: usize = 20;
/// Where the checksum lies in the UDP header.
const CSUM_OFFSET: u16 = 6;

impl Stack {
    /// The calls of UDP sockets that need to know nothing about interfaces: receive, close and so on.
    pub fn udp(&mut self) -> &mut UdpSockets {
        &mut self.udp
    }

    /// A UDP socket at an address. The unspecified one stands for all of ours, port 0 for one that is free and hard to guess
    /// (RFC 6056).
    ///
    /// # Errors
    /// [`OpenError::InUse`], [`OpenError::NoPort`], [`OpenError::NotOurs`], [`OpenError::Full`].
    pub fn udp_bind(&mut self, local: SocketAddr, options: UdpOptions) -> Result<UdpId, OpenError> {
        let is_broadcast = matches!(local.ip(), IpAddr::V4(v4) if self.network.is_broadcast(v4));
        // Who is bound to a group receives what is sent to it alone, and sends from one of our addresses.
        let is_any = local.ip().is_unspecified() || local.ip().is_multicast();
        if !is_any && !self.is_own(local.ip()) && !is_broadcast {
            return Err(OpenError::NotOurs);
        }
        let local = if local.port() == 0 { self.free_port(local.ip()).ok_or(OpenError::NoPort)? } else { local };
        self.udp.bind(local, options)
    }

    /// From now on a socket sends to `remote` if nothing else is said, and only receives from there. Its address becomes the one that
    /// is nearest to it.
    ///
    /// # Errors
    /// [`OpenError::NoRoute`], [`OpenError::InUse`], [`OpenError::NotOurs`] also if the socket is closed.
    pub fn udp_connect(&mut self, id: UdpId, remote: SocketAddr) -> Result<(), OpenError> {
        let (way, ip) = self.datagram_way(remote, false).map_err(|error| match error {
            UdpSendError::NoScope => OpenError::NoScope,
            _ => OpenError::NoRoute,
        })?;
        let local = self.udp.local(id).ok_or(OpenError::NotOurs)?;
        let local = self.udp_source(&way, local.ip(), ip).ok_or(OpenError::NotOurs)?;
        // A group keeps its scope, which says by which link. The others have none any more.
        let remote = match remote {
            SocketAddr::V6(v6) if ip.is_multicast() => SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into(),
            _ => SocketAddr::new(ip, remote.port()),
        };
        self.udp.connect(id, local, remote)
    }

    /// Sends a datagram: to `to`, or to whom the socket is connected with. It is sent by reference; what does not fit a link is
    /// cut (RFC 791 §3.2).
    ///
    /// # Errors
    /// See [`UdpSendError`]. That it is sent does not say that it arrives.
    pub fn udp_send(
        &mut self,
        now: Instant,
        id: UdpId,
        to: Option<SocketAddr>,
        payload: Packet,
    ) -> Result<(), UdpSendError> {
        let options = self.udp.options(id).ok_or(UdpSendError::Closed)?;
        let local = self.udp.local(id).ok_or(UdpSendError::Closed)?;
        let (to, is_known) = match to {
            Some(to) => (to, false),
            None => (self.udp.marked_remote(id).ok_or(UdpSendError::NoDestination)?, true),
        };
        let (way, marked) = self.datagram_way(to, is_known)?;
        let dst = zone::plain(marked);
        if !self.has_room_on(&way) {
            self.drop(DropReason::OutgoingQueueFull);
            return Err(UdpSendError::Full);
        }
        if way.cast == Cast::Broadcast && !options.may_broadcast {
            return Err(UdpSendError::Broadcast);
        }
        let src = self.udp_source(&way, local.ip(), marked).ok_or(UdpSendError::NoRoute)?;
        let addresses = AddressPair::new(src, dst).ok_or(UdpSendError::NoRoute)?;
        let header = UdpHeader { src_port: local.port(), dst_port: to.port() };
        // Headers are one buffer more.
        let is_scattered = payload.buffers().len() >= MAX_BUFFERS;
        let payload = if is_scattered { payload.into_buffer(&self.copies).into() } else { payload };
        let packet = self.udp_packet(&way, addresses, header, payload, self.mtu(now, &way, dst))?;
        self.counters.datagrams_sent += 1;
        self.udp.note_sent(id, marked, packet.len());
        // Who is connected has chosen whom to speak with.
        let errand = if is_known { Errand::Own } else { Errand::Datagram };
        // Routers must not cut what fits as far as is known; if it does not fit we hear of it (RFC 1191 §3).
        match addresses {
            AddressPair::V4 { src, dst } => self.emit(now, errand, Ipv4Header::new(IpProtocol::UDP, src, dst), packet),
            AddressPair::V6 { src, dst } => {
                self.emit_v6(now, (&way, errand), Ipv6Header::new(IpProtocol::UDP, src, dst), packet)
            }
        }
        Ok(())
    }

    /// The way to whom an application names, or the socket is connected with, and his address as the stack knows it ([`zone`]). Of a group the
    /// scope says by which link (RFC 3493 §3.3).
    fn datagram_way(&self, to: SocketAddr, is_known: bool) -> Result<(Way, IpAddr), UdpSendError> {
        let next_hop = to.ip();
        if let SocketAddr::V6(v6) = to
            && next_hop.is_multicast()
            && v6.scope_id() != 0
        {
            let interface = self.group_interface(next_hop, v6.scope_id()).map_err(|_| UdpSendError::NoRoute)?;
            return Ok((Way { interface, next_hop, cast: Cast::Multicast }, next_hop));
        }
        let to = match self.network.scoped(to) {
            _ if is_known => to,
            Ok(to) => to,
            Err(OpenError::NoScope) => return Err(UdpSendError::NoScope),
            Err(_) => return Err(UdpSendError::NoRoute),
        };
        let way = self.network.way(to.ip()).ok_or(UdpSendError::NoRoute)?;
        Ok((way, to.ip()))
    }

    /// Whether [`Stack::udp_send`] does not answer [`UdpSendError::Full`] for some destination: one device that takes nothing does not
    /// stop what goes elsewhere. There is room again when packets have left.
    pub fn has_room_for_datagrams(&self) -> bool {
        let has_room = |id| self.outgoing.has_room(id, self.limits.outgoing_packets);
        self.network.devices().any(has_room) && self.local.len() < self.limits.loopback_packets
    }

    fn has_room_on(&self, way: &Way) -> bool {
        match way.cast {
            Cast::Local => self.local.len() < self.limits.loopback_packets,
            _ => self.outgoing.has_room(way.interface, self.limits.outgoing_packets),
        }
    }

    pub(super) fn udp_packet(
        &self,
        way: &Way,
        addresses: AddressPair,
        header: UdpHeader,
        mut payload: Packet,
        mtu: usize,
    ) -> Result<Packet, UdpSendError> {
        let interface = self.network.interface(way.interface).ok_or(UdpSendError::NoRoute)?;
        let len = payload.len() + UdpHeader::LEN;
        let ip_bytes = if addresses.src().is_ipv4() { IPV4_BYTES } else { Ipv6Header::LEN };
        let most = usize::from(u16::MAX) - if addresses.src().is_ipv4() { IPV4_BYTES } else { 0 };
        if len > most {
            return Err(UdpSendError::TooLong);
        }
        let length = u32::try_from(len).map_err(|_| UdpSendError::TooLong)?;
        let pseudo = pseudo_header(addresses, IpProtocol::UDP, length);
        payload.offload = Offload::default();
        // Pieces have no checksum of their own that a device could complete.
        let is_partial = interface.options().capabilities.completes_checksums && len + ip_bytes <= mtu;
        let fill = match is_partial {
            true => Fill::Partial(pseudo),
            false => Fill::Complete(pseudo + Sum::of_chain(payload.buffers())),
        };
        let bytes = header.to_bytes(payload.len(), fill).map_err(|_| UdpSendError::TooLong)?;
        payload.prepend(&bytes).map_err(|_| UdpSendError::TooLong)?;
        if is_partial {
            payload.offload.checksum = Checksum::Partial { csum_start: 0, csum_offset: CSUM_OFFSET };
        }
        Ok(payload)
    }

    /// The address that a socket sends from to `dst`.
    fn udp_source(&self, way: &Way, bound: IpAddr, dst: IpAddr) -> Option<IpAddr> {
        if bound.is_ipv4() != dst.is_ipv4() {
            return None;
        }
        let is_bound = !bound.is_unspecified() && self.is_own(bound);
        if is_bound { Some(bound) } else { self.network.source(way, dst) }
    }

    /// RFC 6056 §3.3.1: from a secret place on, the first that is free. None only if none is.
    fn free_port(&mut self, ip: IpAddr) -> Option<SocketAddr> {
        let count = self.next_udp_port;
        self.next_udp_port = count.wrapping_add(1);
        let first = self.secret.udp_port(ip, count);
        let mut candidates = self.udp.free_ports.all_from(first.into()).map(|port| SocketAddr::new(ip, port));
        candidates.find(|candidate| self.udp.is_free(*candidate))
    }

    /// A datagram has come.
    pub(super) fn input_udp(&mut self, now: Instant, arrived: &Arrived, mut packet: Packet) -> Result<(), DropReason> {
        let addresses = arrived.head.addresses();
        let len = packet.len();
        let malformed = DropReason::UdpMalformed;
        let head = packet.contiguous(UdpHeader::LEN, &self.copies).map_err(|_| malformed)?;
        let datagram = UdpDatagram::parse_head(head, len).map_err(|_| malformed)?;
        let (header, has_checksum) = (datagram.header(), datagram.checksum().is_some());
        let padding = len - usize::from(datagram.length());
        // It was looked at.
        let _ = packet.trim_back(padding);
        // RFC 1122 §4.1.3.4: zero says that the sender has made none, which must not be with IPv6 (RFC 8200 §8.1).
        let must_verify = has_checksum || matches!(arrived.head, Head::V6(_));
        if must_verify && !planted::is("udp_unverified") && !has_valid_checksum(&packet, addresses, IpProtocol::UDP) {
            return Err(DropReason::UdpChecksum);
        }
        if header.dst_port == CLIENT_PORT && self.input_dhcpv6(now, arrived, &mut packet)? {
            return Ok(());
        }
        let flow = FourTuple { addresses, src_port: header.src_port, dst_port: header.dst_port };
        let flow = zone::of_sender(flow, arrived.interface);
        let Some(place) = self.udp.find(&flow) else {
            self.port_unreachable(now, arrived, &packet);
            return Err(DropReason::UdpNoPort);
        };
        // It was looked at.
        let _ = packet.trim_front(UdpHeader::LEN);
        let (from, to) = (zone::shown(flow.src()), addresses.dst());
        let received = Received { from, to, interface: arrived.interface, payload: packet };
        if !self.udp.deliver(place, received) {
            return Err(DropReason::UdpQueueFull);
        }
        self.counters.datagrams_received += 1;
        Ok(())
    }
}
