//! TCP over IP: segments in packets, and the calls that need to know about interfaces.

use alloc::rc::Rc;
use core::net::{IpAddr, SocketAddr};

use sunstar_packet::{Buffer, BufferMut, Checksum, MAX_BUFFERS, Packet, Segmentation, SegmentationKind};
use sunstar_wire::checksum::{Fill, Sum, pseudo_header};
use sunstar_wire::{AddressPair, FourTuple, IpProtocol, Ipv4Header, TcpFlags, TcpHeader, TcpSegment};

use super::input::Arrived;
use super::network::Cast;
use super::{Stack, is_v4_station};
use crate::drops::DropReason;
use crate::interface::{Capabilities, InterfaceId, mss_of};
use crate::tcp::connection::{Options, Outgoing, Segment};
use crate::tcp::scoreboard::Payload;
use crate::tcp::sockets::{ListenerId, OpenError, SocketId, Sockets};
use crate::time::Instant;

/// Bytes of headers without options.
const TCP_BYTES: usize = 20;
const IPV4_BYTES: usize = 20;
/// Where the checksum lies in the TCP header.
const CSUM_OFFSET: u16 = 16;

impl Stack {
    /// The calls of sockets that need to know nothing about interfaces: send, receive, accept, close and so on.
    pub fn tcp(&mut self) -> &mut Sockets {
        &mut self.tcp
    }

    /// Opens a connection, see [`Sockets::connect`]. Without a source the address that is nearest to the destination is taken, and
    /// a port that is free. [`Options::mss`] is bounded by what the link and the path take.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn connect(
        &mut self,
        now: Instant,
        src: Option<SocketAddr>,
        dst: SocketAddr,
        options: impl Into<Rc<Options>>,
    ) -> Result<SocketId, OpenError> {
        let IpAddr::V4(to) = dst.ip() else { return Err(OpenError::NoRoute) };
        let way = self.network.way(to).filter(|_| is_v4_station(to)).ok_or(OpenError::NoRoute)?;
        if !matches!(way.cast, Cast::Unicast | Cast::Local) {
            return Err(OpenError::NoRoute);
        }
        let from = src.map(|src| src.ip()).filter(|from| !from.is_unspecified());
        let from = match from {
            Some(from) if !self.is_own(from) => return Err(OpenError::NotOurs),
            Some(from) => from,
            None => self.network.source(&way).ok_or(OpenError::NotOurs)?.into(),
        };
        let link_mss = self.network.interface(way.interface).map_or(u16::MAX, |interface| interface.mss());
        let path_mss = self.path_mtus.lookup(now, dst.ip()).map_or(u16::MAX, mss_of);
        let src = SocketAddr::new(from, src.map_or(0, |src| src.port()));
        self.tcp.connect(now, src, dst, bounded(options.into(), link_mss.min(path_mss)))
    }

    /// Listens, see [`Sockets::listen`]. [`Options::mss`] is bounded by the link of each connection.
    ///
    /// # Errors
    /// [`OpenError::InUse`], [`OpenError::NotOurs`].
    pub fn listen(
        &mut self,
        local: SocketAddr,
        backlog: usize,
        options: impl Into<Rc<Options>>,
    ) -> Result<ListenerId, OpenError> {
        if !local.ip().is_unspecified() && !self.is_own(local.ip()) {
            return Err(OpenError::NotOurs);
        }
        self.tcp.listen(local, backlog, options)
    }

    /// A segment has come.
    pub(super) fn input_tcp(&mut self, now: Instant, arrived: &Arrived, mut packet: Packet) -> Result<(), DropReason> {
        if arrived.is_broadcast {
            return Err(DropReason::TcpBroadcast);
        }
        let addresses = AddressPair::V4 { src: arrived.header.src, dst: arrived.header.dst };
        if !has_valid_checksum(&packet, addresses, IpProtocol::TCP) && !planted::is("tcp_unverified") {
            return Err(DropReason::TcpChecksum);
        }
        let malformed = DropReason::TcpMalformed;
        let fixed = packet.contiguous(TCP_BYTES, &self.copies).map_err(|_| malformed)?;
        let header_len = usize::from(fixed[12] >> 4) * 4;
        let head = packet.contiguous(header_len.max(TCP_BYTES), &self.copies).map_err(|_| malformed)?;
        let view = TcpSegment::parse(head).map_err(|_| malformed)?;
        let header = view.header();
        // The view has seen that it is there.
        let _ = packet.trim_front(header_len);
        let flow = FourTuple { addresses, src_port: header.src_port, dst_port: header.dst_port };
        let link_mss = self.network.interface(arrived.interface).map_or(u16::MAX, |interface| interface.mss());
        let segment = Segment { header, payload: packet.into_buffers().collect() };
        self.tcp.handle_segment_over(now, flow, segment, link_mss);
        Ok(())
    }

    /// Sends a segment.
    pub(super) fn transmit_segment(
        &mut self,
        now: Instant,
        flow: FourTuple,
        outgoing: Outgoing,
    ) -> Option<(InterfaceId, Packet)> {
        let AddressPair::V4 { src, dst } = flow.addresses else {
            self.drop(DropReason::NoRoute);
            return None;
        };
        let way = self.way(dst)?;
        let options = *self.network.interface(way.interface)?.options();
        let Outgoing { mut header, payload, mss } = outgoing;
        let mut payload = self.packet_of(payload);
        let ip = Ipv4Header::new(IpProtocol::TCP, src, dst);
        let room = usize::from(options.mtu) - IPV4_BYTES - header.header_len();
        if payload.len() <= room || options.capabilities.segmentation_bytes.is_some() {
            let gso_size = usize::try_from(mss).unwrap_or(usize::MAX).min(room);
            let packet = self.segment_packet(&ip, &header, payload, gso_size, options.capabilities)?;
            return self.link_output(now, &way, packet);
        }
        // Options, or a way that has changed, have left too little room.
        while payload.len() > room {
            self.counters.segments_cut += 1;
            let part = payload.split_to(room).ok()?;
            let flags = header.flags.without(TcpFlags::FIN | TcpFlags::PSH);
            let packet = self.segment_packet(&ip, &TcpHeader { flags, ..header }, part, room, options.capabilities)?;
            header.seq += u32::try_from(room).unwrap_or(0);
            if let Some(ready) = self.link_output(now, &way, packet) {
                self.enqueue(ready);
            }
        }
        let packet = self.segment_packet(&ip, &header, payload, room, options.capabilities)?;
        if let Some(ready) = self.link_output(now, &way, packet) {
            self.enqueue(ready);
        }
        None
    }

    /// The bytes of a segment in a packet, by reference; copied if they are scattered over more buffers than a packet has.
    fn packet_of(&self, payload: Payload) -> Packet {
        let mut packet = Packet::new();
        if payload.len() < MAX_BUFFERS {
            for part in payload {
                // There is room: it was counted.
                let _ = packet.push_back(part);
            }
            return packet;
        }
        let len = payload.iter().map(|part| part.len()).sum();
        self.copies.count(len);
        let mut joined = BufferMut::with_capacity(0, len);
        for part in &payload {
            // There is room: it was made for them.
            let _ = joined.extend_from_slice(part);
        }
        Packet::from(joined.freeze())
    }

    fn segment_packet(
        &mut self,
        ip: &Ipv4Header,
        header: &TcpHeader,
        mut packet: Packet,
        gso_size: usize,
        capabilities: Capabilities,
    ) -> Option<Packet> {
        let (payload_len, header_len) = (packet.len(), header.header_len());
        let addresses = AddressPair::V4 { src: ip.src, dst: ip.dst };
        let len = u32::try_from(header_len + payload_len).unwrap_or(u32::MAX);
        let pseudo = pseudo_header(addresses, IpProtocol::TCP, len);
        let is_large = payload_len > gso_size;
        let is_partial = is_large || capabilities.completes_checksums;
        let fill = match is_partial {
            true => Fill::Partial(pseudo),
            false => Fill::Complete(pseudo + Sum::of_chain(packet.buffers())),
        };
        let bytes = header.to_bytes(fill);
        let is_full = match self.header_buffer(&bytes) {
            Some(front) => packet.push_front(front).is_err(),
            None => packet.prepend(&bytes).is_err(),
        };
        if is_full {
            self.drop(DropReason::TooLong);
            return None;
        }
        if is_partial {
            packet.offload.checksum = Checksum::Partial { csum_start: 0, csum_offset: CSUM_OFFSET };
        }
        packet.offload.segmentation = is_large.then(|| Segmentation {
            kind: SegmentationKind::Tcpv4,
            has_ecn: false,
            gso_size: u16::try_from(gso_size).unwrap_or(u16::MAX),
            hdr_len: u32::try_from(header_len).unwrap_or(u32::MAX),
        });
        // Into the room in front.
        self.with_ipv4_header(ip, packet)
    }

    /// A header in memory of its own, which is used again, with room in front for others.
    fn header_buffer(&self, header: &[u8]) -> Option<Buffer> {
        let mut frame = self.headers.as_ref()?.take()?;
        frame.push_front(header).ok()?;
        Some(frame.freeze())
    }
}

/// Whether the checksum of a TCP or UDP packet is right, or somebody vouches for it.
pub(super) fn has_valid_checksum(packet: &Packet, addresses: AddressPair, protocol: IpProtocol) -> bool {
    if packet.offload.checksum != Checksum::Complete {
        return true;
    }
    let Ok(len) = u32::try_from(packet.len()) else { return false };
    (pseudo_header(addresses, protocol, len) + Sum::of_chain(packet.buffers())).is_valid()
}

/// The same options for a link that takes less.
fn bounded(options: Rc<Options>, mss: u16) -> Rc<Options> {
    if options.mss <= mss { options } else { Rc::new(Options { mss, ..*options }) }
}
