//! Segments that have come one behind the other, put together: what is done for each segment is done once for all of them.

use sunstar_packet::{Buffer, Packet};
use sunstar_wire::{FourTuple, Seq, TcpFlags, TcpHeader};

use super::Stack;
use crate::interface::InterfaceId;
use crate::tcp::connection::Segment;
use crate::tcp::scoreboard::Payload;
use crate::time::Instant;

/// Payload that is put together at most, as in devices that do it.
const MAX_BYTES: usize = 65_535;

/// Segments of one flow that differ in their numbers and their bytes only.
#[derive(Debug, Default)]
pub(super) struct Batch {
    flow: Option<FourTuple>,
    segment: Segment,
    bytes: usize,
    /// The number of what can follow.
    next: Seq,
    link_mss: u16,
    /// Whether anything may follow.
    is_open: bool,
}

impl Batch {
    /// Whether a segment with `len` bytes says nothing that the others don't. One without bytes does: that it was sent.
    fn is_followed_by(&self, flow: &FourTuple, header: &TcpHeader, len: usize) -> bool {
        let first = &self.segment.header;
        self.is_open
            && len > 0
            && self.bytes + len <= MAX_BYTES
            && header.seq == self.next
            && self.flow.as_ref() == Some(flow)
            && header.flags.without(TcpFlags::PSH) == TcpFlags::ACK
            && (header.ack, header.window) == (first.ack, first.window)
            && header.options == first.options
    }

    /// Puts the bytes of a segment behind the others.
    fn push(&mut self, header: &TcpHeader, packet: &mut Packet) {
        let len = packet.len();
        self.bytes += len;
        self.next = header.seq + u32::try_from(len).unwrap_or(u32::MAX);
        self.is_open = header.flags == TcpFlags::ACK && len > 0;
        self.segment.header.flags |= header.flags;
        match packet.take_only() {
            Some(part) => push_joined(&mut self.segment.payload, part),
            None => packet.drain().for_each(|part| push_joined(&mut self.segment.payload, part)),
        }
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
    /// A segment has come, of which the packet has the bytes.
    pub(super) fn input_segment(
        &mut self,
        now: Instant,
        id: InterfaceId,
        flow: &FourTuple,
        header: &TcpHeader,
        packet: &mut Packet,
    ) {
        if self.batch.is_followed_by(flow, header, packet.len()) {
            self.counters.segments_joined += 1;
            self.tcp.count_joined();
        } else {
            self.end_batch(now);
            self.batch.flow = Some(*flow);
            self.batch.segment.header = *header;
            self.batch.bytes = 0;
            self.batch.link_mss =
                self.network.interface(id).map_or(u16::MAX, |interface| interface.mss(flow.addresses));
        }
        self.batch.push(header, packet);
    }

    /// Hands over what was put together.
    pub(super) fn end_batch(&mut self, now: Instant) {
        let Some(flow) = self.batch.flow.take() else { return };
        self.tcp.take_segment(now, flow, &mut self.batch.segment, self.batch.link_mss);
        // What nobody wanted.
        self.batch.segment.payload.clear();
    }
}
