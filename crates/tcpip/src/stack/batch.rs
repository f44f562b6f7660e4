//! Segments that have come one behind the other, put together: what is done for each segment is done once for all of them.

use core::net::Ipv4Addr;

use sunstar_packet::{Buffer, Packet};
use sunstar_wire::{FourTuple, MacAddr, Seq, TcpFlags, TcpSegment};

use super::Stack;
use crate::interface::InterfaceId;
use crate::neighbours::Station;
use crate::tcp::connection::Segment;
use crate::tcp::scoreboard::Payload;
use crate::tcp::sockets::Origin;
use crate::time::Instant;

/// Payload that is put together at most, as in devices that do it.
const MAX_BYTES: usize = 65_535;

/// Segments of one flow that differ in their numbers and their bytes only.
#[derive(Debug)]
pub(super) struct Batch {
    flow: Option<FourTuple>,
    segment: Segment,
    bytes: usize,
    /// The number of what can follow.
    next: Seq,
    /// Where the first one came in, and from whom, if there are stations.
    interface: InterfaceId,
    station: MacAddr,
    /// Whether anything may follow.
    is_open: bool,
    /// The addresses of the last packet that came the short way, where it came in, and the version of the network by which they were
    /// those of hosts.
    pub(super) hosts: Option<(InterfaceId, u32, Ipv4Addr, Ipv4Addr)>,
}

impl Default for Batch {
    fn default() -> Self {
        let (segment, interface) = (Segment::default(), InterfaceId::LOOPBACK);
        let station = MacAddr::BROADCAST;
        Self { flow: None, segment, bytes: 0, next: Seq::default(), interface, station, is_open: false, hosts: None }
    }
}

impl Batch {
    /// Whether a segment with `len` bytes says nothing that the others don't. One without bytes does: that it was sent.
    #[inline]
    fn is_followed_by(&self, flow: &FourTuple, view: &TcpSegment<'_>, len: usize) -> bool {
        let first = &self.segment.header;
        self.is_open
            && len > 0
            && self.bytes + len <= MAX_BYTES
            && view.seq() == self.next
            && self.flow.as_ref() == Some(flow)
            && view.flags().without(TcpFlags::PSH) == TcpFlags::ACK
            && (view.ack(), view.window()) == (first.ack, first.window)
            && view.has_options(&first.options)
    }

    /// Puts the bytes of a segment that lie behind headers of so many bytes, which are there, behind the others.
    #[inline]
    fn push(&mut self, headers_len: usize, packet: &mut Packet) {
        match packet.take_behind(headers_len) {
            Some(part) => push_joined(&mut self.segment.payload, part),
            None => self.push_scattered(headers_len, packet),
        }
    }

    #[inline(never)]
    fn push_scattered(&mut self, headers_len: usize, packet: &mut Packet) {
        let _ = packet.trim_front(headers_len);
        packet.drain().for_each(|part| push_joined(&mut self.segment.payload, part));
    }
}

/// Puts a buffer behind others; what was cut from one piece, as by who sends over a link in memory, becomes one again.
#[inline]
fn push_joined(payload: &mut Payload, part: Buffer) {
    let apart = match payload.last_mut() {
        Some(last) => last.try_append(part).err(),
        None => Some(part),
    };
    if let Some(part) = apart {
        payload.push(part);
    }
}

impl Stack {
    /// The header of a segment has come, which has `len` bytes: [`Stack::take_payload`] gets them.
    #[inline]
    pub(super) fn begin_segment(
        &mut self,
        now: Instant,
        (id, station): Station,
        flow: &FourTuple,
        view: &TcpSegment<'_>,
        len: usize,
    ) {
        let flags = view.flags();
        if self.batch.is_followed_by(flow, view, len) {
            self.counters.segments_joined += 1;
            self.tcp.count_joined();
            self.batch.segment.header.flags |= flags;
            self.batch.bytes += len;
        } else {
            self.end_batch(now);
            self.batch.flow = Some(*flow);
            view.read_header(&mut self.batch.segment.header);
            self.batch.bytes = len;
            (self.batch.interface, self.batch.station) = (id, station);
        }
        self.batch.next = view.seq() + u32::try_from(len).unwrap_or(u32::MAX);
        self.batch.is_open = flags == TcpFlags::ACK && len > 0;
    }

    /// The bytes of the segment that has come last: all of its packet that is behind so many bytes, which were all looked at.
    #[inline]
    pub(super) fn take_payload(&mut self, headers_len: usize, packet: &mut Packet) {
        if packet.len() == headers_len {
            packet.drain().for_each(drop);
        } else {
            self.batch.push(headers_len, packet);
        }
    }

    /// Hands over what was put together.
    pub(super) fn end_batch(&mut self, now: Instant) {
        let Batch { flow: Some(flow), segment, bytes, interface, station, .. } = &mut self.batch else { return };
        let len = u32::try_from(*bytes).unwrap_or(u32::MAX);
        let link = self.network.interface(*interface);
        let origin = || {
            let Some(link) = link else { return Origin::default() };
            let is_other = station.is_unicast() && link.mac().is_some_and(|own| own != *station);
            Origin { link_mss: link.mss(flow.addresses), station: is_other.then_some((*interface, *station)) }
        };
        if let Some(station) = self.tcp.take_segment(now, flow, segment, len, origin) {
            let address = flow.addresses.src();
            self.introduce(now, address, station);
        }
        self.batch.flow = None;
        if !self.batch.segment.payload.is_empty() {
            // What nobody wanted.
            self.batch.segment.payload.clear();
        }
    }
}
