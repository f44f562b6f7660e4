//! TCP over IP: segments in packets, and the calls that need to know about interfaces.

use alloc::rc::Rc;
use core::net::{IpAddr, SocketAddr};

use sunstar_packet::{Buffer, BufferMut, Checksum, MAX_BUFFERS, Packet, Pool, Segmentation};
use sunstar_wire::checksum::{Fill, Sum, pseudo_header};
use sunstar_wire::{AddressPair, FourTuple, IpProtocol, MacAddr, TcpFlags, TcpHeader, TcpSegment, TooLong};

use super::input::Arrived;
use super::network::Cast;
use super::paths::Path;
use super::{Stack, is_station};
use crate::drops::DropReason;
use crate::interface::{InterfaceId, LONGER_V6, mss_of};
use crate::neighbours::Errand;
use crate::tcp::connection::{Options, Outgoing};
use crate::tcp::fast_open::FastOpenRequest;
use crate::tcp::scoreboard::Payload;
use crate::tcp::sockets::{ListenerId, OpenError, SocketId, Sockets};
use crate::time::Instant;
use crate::zone;

/// Bytes of headers without options.
const TCP_BYTES: usize = 20;
/// Where the checksum lies in the TCP header.
const CSUM_OFFSET: u16 = 16;
/// Room for the headers of a segment, and those of what it may go through.
const HEADROOM_BYTES: usize = 128;

impl Stack {
    /// The calls of sockets that need to know nothing about interfaces: send, receive, accept, close and so on.
    pub fn tcp(&mut self) -> &mut Sockets {
        &mut self.tcp
    }

    /// Has the headers of TCP segments that leave by an interface lie in frames of a pool as long as it has any, with their head room in front: for
    /// devices that send from memory of their own without copying. Answers whether there is such an interface.
    ///
    /// What frames have behind the head room is for the device, to put what is short there.
    pub fn set_header_pool(&mut self, id: InterfaceId, headers: Pool) -> bool {
        self.network.set_headers(id, headers)
    }

    /// Where headers lie.
    pub(super) fn header_pools(&self) -> impl Iterator<Item = &Pool> {
        self.headers.iter().chain(self.network.all_headers())
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
        let (src, dst, options) = self.leaving(now, src, dst, options.into())?;
        self.tcp.connect(now, src, dst, options)
    }

    /// The same with Fast Open, see [`Sockets::connect_fast_open`].
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn connect_fast_open(
        &mut self,
        now: Instant,
        src: Option<SocketAddr>,
        dst: SocketAddr,
        options: impl Into<Rc<Options>>,
        request: FastOpenRequest,
    ) -> Result<(SocketId, u32), OpenError> {
        let (src, dst, options) = self.leaving(now, src, dst, options.into())?;
        self.tcp.connect_fast_open(now, src, dst, options, request)
    }

    /// Where a connection leaves from, and with which options.
    fn leaving(
        &mut self,
        now: Instant,
        src: Option<SocketAddr>,
        dst: SocketAddr,
        options: Rc<Options>,
    ) -> Result<(SocketAddr, SocketAddr, Rc<Options>), OpenError> {
        let dst = self.network.scoped(dst)?;
        let way = self.network.way(dst.ip()).filter(|_| is_station(dst.ip())).ok_or(OpenError::NoRoute)?;
        if !matches!(way.cast, Cast::Unicast | Cast::Local) {
            return Err(OpenError::NoRoute);
        }
        let from = src.map(|src| src.ip()).filter(|from| !from.is_unspecified());
        let from = match from {
            Some(from) if !self.is_own(from) => return Err(OpenError::NotOurs),
            Some(from) => from,
            None => self.network.source(&way, dst.ip()).ok_or(OpenError::NotOurs)?,
        };
        let addresses = AddressPair::new(from, dst.ip()).ok_or(OpenError::Mixed)?;
        let link_mss = self.network.interface(way.interface).map_or(u16::MAX, |interface| interface.mss(addresses));
        let longer = if dst.is_ipv6() { LONGER_V6 } else { 0 };
        let path_mss = self
            .path_mtus
            .lookup(now, zone::plain(dst.ip()))
            .map_or(u16::MAX, |mtu| mss_of(mtu.saturating_sub(longer)));
        let src = SocketAddr::new(from, src.map_or(0, |src| src.port()));
        Ok((src, dst, self.bounded(options, link_mss.min(path_mss))))
    }

    /// The interface by which packets leave for a destination, as things are.
    pub fn interface_for(&self, dst: IpAddr) -> Option<InterfaceId> {
        self.network.way(dst).map(|way| way.interface)
    }

    /// The address from which connections to a destination are opened, if nobody names one.
    pub fn source_for(&self, dst: IpAddr) -> Option<IpAddr> {
        self.network.way(dst).and_then(|way| self.network.source(&way, dst))
    }

    /// The same options for a link that takes less; connections that are opened one after the other share them.
    fn bounded(&mut self, options: Rc<Options>, mss: u16) -> Rc<Options> {
        if options.mss <= mss {
            return options;
        }
        if let Some([whole, bounded]) = &self.bounded_options
            && Rc::ptr_eq(whole, &options)
            && bounded.mss == mss
        {
            return Rc::clone(bounded);
        }
        let bounded = Rc::new(Options { mss, ..*options });
        self.bounded_options = Some([options, Rc::clone(&bounded)]);
        bounded
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
    pub(super) fn input_tcp(&mut self, now: Instant, arrived: &Arrived, packet: &mut Packet) -> Result<(), DropReason> {
        if arrived.is_broadcast {
            return Err(DropReason::TcpBroadcast);
        }
        let addresses = arrived.head.addresses();
        if !has_valid_checksum(packet, addresses, IpProtocol::TCP) && !planted::is("tcp_unverified") {
            return Err(DropReason::TcpChecksum);
        }
        let malformed = DropReason::TcpMalformed;
        let len = packet.len();
        let fixed = packet.contiguous(TCP_BYTES, &self.copies).map_err(|_| malformed)?;
        let header_len = usize::from(fixed[12] >> 4) * 4;
        let head = packet.contiguous(header_len.max(TCP_BYTES), &self.copies).map_err(|_| malformed)?;
        let view = TcpSegment::parse(head).map_err(|_| malformed)?;
        let flow = FourTuple { addresses, src_port: view.src_port(), dst_port: view.dst_port() };
        let flow = zone::of_sender(flow, arrived.interface);
        let station = arrived.station.unwrap_or(MacAddr::BROADCAST);
        self.begin_segment(now, (arrived.interface, station), &flow, &view, len - header_len);
        self.take_payload(header_len, packet);
        Ok(())
    }

    /// Sends a segment, or its first piece if it is larger than what leaves at once.
    #[inline]
    pub(super) fn transmit_segment(
        &mut self,
        now: Instant,
        (flow, errand): (&FourTuple, Errand),
        outgoing: &mut Outgoing,
        packet: &mut Packet,
    ) -> Option<InterfaceId> {
        // What is one packet, and whose path is known, needs to be written only. That a way leaves less room than there was meant to be
        // is for others.
        let header_len = outgoing.header.header_len();
        if outgoing.len <= outgoing.mss
            && let Some(path) = self.known_path(now, &flow.addresses)
            && outgoing.len as usize <= path.ip.room(path.mtu, header_len)
            && self.write_segment(path, outgoing, header_len, usize::MAX, packet).is_ok()
        {
            return Some(path.way.interface);
        }
        self.transmit_pieces(now, (flow, errand), outgoing, packet)
    }

    /// The same for a segment that may be large, on a path that may not be known.
    #[inline(never)]
    fn transmit_pieces(
        &mut self,
        now: Instant,
        (flow, errand): (&FourTuple, Errand),
        outgoing: &mut Outgoing,
        packet: &mut Packet,
    ) -> Option<InterfaceId> {
        let known = self.known_path(now, &flow.addresses).copied();
        let path = known.or_else(|| self.find_path(now, flow))?;
        // Options, or a way that has changed, may leave less room than there was meant to be.
        let header_len = outgoing.header.header_len();
        let room = path.ip.room(path.mtu, header_len);
        let mss = usize::try_from(outgoing.mss).unwrap_or(usize::MAX);
        let len = outgoing.len as usize;
        if len > room && mss > room {
            self.tcp.on_cut(now, flow, outgoing.header.seq, room);
        }
        // A device that cuts says of each piece what was said of the whole: of urgent data that would be somewhere else.
        let is_urgent = outgoing.header.flags.contains(TcpFlags::URG);
        if len > room.min(mss) && (path.capabilities.segmentation_bytes.is_none() || is_urgent) {
            self.counters.segments_cut += u64::from(mss > room);
            let rest = core::mem::take(&mut outgoing.payload);
            self.cut = Some(Cut { path, most: room.min(mss), rest, next: 0 });
            return self.transmit_piece(now, outgoing, packet);
        }
        self.count_written(self.write_segment(&path, outgoing, header_len, room.min(mss), packet))?;
        self.output_segment(now, &path, errand, packet)
    }

    /// Sends the next piece of a large segment, cut off as a device would do it. What is said of all pieces stays where the segment was made.
    #[inline(never)]
    pub(super) fn transmit_piece(
        &mut self,
        now: Instant,
        piece: &mut Outgoing,
        packet: &mut Packet,
    ) -> Option<InterfaceId> {
        let is_last = self.cut.as_mut()?.fill(piece);
        let cut = self.cut.as_ref()?;
        let flags = piece.header.flags;
        if !is_last {
            piece.header.flags = flags.without(TcpFlags::FIN | TcpFlags::PSH);
        }
        let header_len = piece.header.header_len();
        let written = self.write_segment(&cut.path, piece, header_len, cut.most, packet);
        piece.header.flags = flags;
        advance(&mut piece.header, piece.len);
        let (interface, indirect) = (cut.path.way.interface, (!cut.path.is_direct).then_some(cut.path));
        if is_last {
            self.cut = None;
        }
        self.count_written(written)?;
        match indirect {
            Some(path) => self.output_segment(now, &path, Errand::Own, packet),
            None => Some(interface),
        }
    }

    /// Sends a segment with its IP header; answers by which interface if it leaves at once.
    #[inline]
    fn output_segment(
        &mut self,
        now: Instant,
        path: &Path,
        errand: Errand,
        packet: &mut Packet,
    ) -> Option<InterfaceId> {
        if path.is_direct {
            return Some(path.way.interface);
        }
        let (interface, ready) = self.link_output(now, &path.way, errand, core::mem::take(packet))?;
        *packet = ready;
        Some(interface)
    }

    /// Whether a segment was written; if not, that is counted.
    fn count_written(&mut self, written: Result<(), TooLong>) -> Option<()> {
        if written.is_err() {
            self.drop(DropReason::TooLong);
        }
        written.ok()
    }

    /// Writes a segment with a header of so many bytes, its IP header, and the Ethernet header if the neighbour is known. Its bytes are taken out of it, if it is
    /// not too long.
    fn write_segment(
        &self,
        path: &Path,
        outgoing: &mut Outgoing,
        header_len: usize,
        gso_size: usize,
        packet: &mut Packet,
    ) -> Result<(), TooLong> {
        let Outgoing { header, payload, len: payload_len, .. } = outgoing;
        let len = header_len + *payload_len as usize;
        let pseudo = path.pseudo_header + Sum::of(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
        let is_large = *payload_len as usize > gso_size;
        let is_partial = is_large || path.capabilities.completes_checksums;
        let fill = match is_partial {
            true => Fill::Partial(pseudo),
            false => Fill::Complete(pseudo + Sum::of_chain(payload.iter())),
        };
        packet.clear();
        let front = self.segment_front(path, header, fill, len).ok_or(TooLong)?;
        let front_len = front.len();
        // There is room: it has nothing.
        let _ = packet.push_back(front);
        self.move_payload(payload, packet);
        if is_partial {
            let csum_start = u32::try_from(front_len - header_len).unwrap_or(u32::MAX);
            packet.offload.checksum = Checksum::Partial { csum_start, csum_offset: CSUM_OFFSET };
        }
        packet.offload.segmentation = is_large.then(|| Segmentation {
            kind: path.ip.segmentation(),
            has_ecn: false,
            gso_size: u16::try_from(gso_size).unwrap_or(u16::MAX),
            hdr_len: u32::try_from(front_len).unwrap_or(u32::MAX),
        });
        Ok(())
    }

    /// All headers of a segment of `len` bytes, in memory that is used again, the device's if it has any, with room in front for others.
    fn segment_front(&self, path: &Path, header: &TcpHeader, fill: Fill, len: usize) -> Option<Buffer> {
        let of_device = self.network.headers(path.way.interface).and_then(Pool::take);
        let frame = of_device.or_else(|| self.headers.as_ref().and_then(Pool::take));
        let mut front = frame.unwrap_or_else(|| BufferMut::with_capacity(HEADROOM_BYTES, 0));
        match header.to_bytes_with_timestamps(fill) {
            Some(bytes) => front.push_front(&bytes).ok()?,
            None => front.push_front(&header.to_bytes(fill)).ok()?,
        }
        path.ip.push(len, &mut front).ok()?;
        if let Some(ethernet) = &path.ethernet {
            front.push_front(ethernet).ok()?;
        }
        Some(front.freeze())
    }

    /// Puts the bytes of a segment behind its headers, by reference; copied if they are scattered over more buffers than a packet has.
    fn move_payload(&self, payload: &mut Payload, packet: &mut Packet) {
        if payload.len() == 1 {
            // There is room: it was counted.
            let _ = payload.pop().map(|part| packet.push_back(part));
            return;
        }
        if payload.len() < MAX_BUFFERS {
            for part in payload.drain(..) {
                // There is room: it was counted.
                let _ = packet.push_back(part);
            }
            return;
        }
        let len = payload.iter().map(|part| part.len()).sum();
        self.copies.count(len);
        let mut joined = BufferMut::with_capacity(0, len);
        for part in payload.drain(..) {
            // There is room: it was made for them.
            let _ = joined.extend_from_slice(&part);
        }
        let _ = packet.push_back(joined.freeze());
    }
}

/// Makes a header that of what lies `len` bytes further on in its segment: its urgent data end where they did (RFC 9293 §3.8.5).
fn advance(header: &mut TcpHeader, len: u32) {
    header.seq += len;
    header.urgent_pointer = header.urgent_pointer.saturating_sub(u16::try_from(len).unwrap_or(u16::MAX));
    if header.urgent_pointer == 0 {
        header.flags = header.flags.without(TcpFlags::URG);
    }
}

/// A large segment that leaves in pieces: its header is where segments are made.
#[derive(Debug)]
pub(super) struct Cut {
    path: Path,
    /// Bytes of a piece at most.
    most: usize,
    /// Its payload, as far as it has not left.
    rest: Payload,
    /// The first part of it that is not empty.
    next: usize,
}

impl Cut {
    /// Puts the bytes of the next piece where those of a segment are. Answers whether it is the last one.
    #[inline]
    fn fill(&mut self, piece: &mut Outgoing) -> bool {
        let mut room = self.most;
        piece.payload.clear();
        while let Some(part) = self.rest.get_mut(self.next).filter(|_| room > 0) {
            let taken = part.split_to(room.min(part.len()));
            room -= taken.len();
            piece.payload.push(taken);
            self.next += usize::from(part.is_empty());
        }
        piece.len = u32::try_from(self.most - room).unwrap_or(0);
        self.next == self.rest.len()
    }

    /// Whether it leaves by an interface.
    pub(super) fn leaves_by(&self, interface: InterfaceId) -> bool {
        self.path.way.interface == interface
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
