//! What was sent and is not acknowledged yet.

mod losses;
mod payload;

use alloc::collections::VecDeque;
use smallvec::SmallVec;
use sunstar_wire::{SackBlock, SackBlocks, Seq};

use super::delivery::{Delivery, Sample, Stamp};
use super::rack::{Rack, Transmission};
use crate::time::Instant;
use payload::{drop_front, payload_len, split_payload};

pub use payload::Payload;

#[cfg(test)]
mod tests;

/// Reports of receivers divide segments further as long as there are not more than so many, and one for each [`PIECE_BYTES`]: enough for
/// every second one of usual ones being lost. Who reports every second byte gets no more of our memory.
const MAX_PIECES: usize = 1_024;
const PIECE_BYTES: u32 = 1_024;

/// The segments from `snd_una` to `snd_nxt`, with their bytes, and what is known of each (RFC 6675 §2).
///
/// Each byte is in flight, or has arrived behind a gap (sacked), or is lost and waits to be sent again. The bytes are referenced until
/// they are acknowledged by number: a receiver may drop what it has reported (RFC 2018 §8).
#[derive(Debug, Default)]
pub struct Scoreboard {
    /// By sequence number, without gaps; none is empty.
    segments: VecDeque<Segment>,
    in_flight: u32,
    sacked: u32,
    lost: u32,
    sacked_segments: u32,
    /// Segments that were sent again.
    sent_again: u32,
    /// Edges of reports that were not heard, since there were as many segments as may be, and not counted yet.
    refused: u32,
    /// No segment before this number is lost.
    first_lost: Seq,
    /// What was reported last; its segments need not be looked at again.
    reported: SackBlocks,
    delivery: Delivery,
}

#[derive(Debug)]
struct Segment {
    seq: Seq,
    transmission: Transmission,
    stamp: Stamp,
    payload: Payload,
    has_fin: bool,
    is_pushed: bool,
    state: State,
    /// It was lost, and was or will be sent again.
    was_lost: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    InFlight,
    Sacked,
    Lost,
}

impl Segment {
    fn end(&self) -> Seq {
        self.transmission.end
    }

    /// Sequence numbers that it takes.
    fn len(&self) -> u32 {
        self.end() - self.seq
    }
}

/// A segment to be sent (again).
#[derive(Debug)]
pub struct Outgoing {
    /// The number of its first byte.
    pub seq: Seq,
    /// Its bytes.
    pub payload: Payload,
    /// Whether it ends the stream.
    pub has_fin: bool,
    /// Whether it ends what the application had handed over.
    pub is_pushed: bool,
}

/// What an acknowledgement has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// Numbers that are acknowledged by `snd_una` now.
    pub acked: u32,
    /// Numbers that are known to have arrived and were not before.
    pub delivered: u32,
    /// The round-trip time in microseconds of the newest one that was sent once (Karn's rule, RFC 6298 §3).
    pub rtt_micros: Option<u32>,
    /// Whether timestamps show that something had not been lost when it was sent again the last time (RFC 3522).
    pub has_original: bool,
    /// The number behind the first segment that was sent once, and is known now to have arrived.
    pub original: Option<Seq>,
    /// How many numbers lie between the begin of the first segment that is seen to have been overtaken, and the highest that has arrived.
    pub reordered: u32,
    /// How fast this shows that the network delivers.
    pub sample: Sample,
    /// When the segment was sent that was sent last of those that have arrived, and how things stood then.
    newest: Option<(Instant, Stamp)>,
}

impl Acknowledged {
    /// A segment has arrived.
    fn note(&mut self, transmission: &Transmission, stamp: Stamp) {
        if self.newest.is_none_or(|(sent_at, _)| transmission.sent_at >= sent_at) {
            self.newest = Some((transmission.sent_at, stamp));
        }
        if !transmission.is_retransmission {
            let end = transmission.end;
            self.original = Some(self.original.map_or(end, |first| first.min(end)));
        }
    }
}

impl Scoreboard {
    /// Forgets all, but keeps memory for the next segments.
    pub fn clear(&mut self) {
        let Self {
            segments,
            in_flight,
            sacked,
            lost,
            sacked_segments,
            sent_again,
            refused,
            first_lost,
            reported,
            delivery,
        } = self;
        segments.clear();
        (*in_flight, *sacked, *lost) = (0, 0, 0);
        (*sacked_segments, *sent_again, *refused) = (0, 0, 0);
        (*first_lost, *reported, *delivery) = (Seq::default(), SackBlocks::NONE, Delivery::default());
    }

    /// Numbers that are in the network, as far as one can know.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Numbers that wait to be sent again.
    pub fn lost(&self) -> u32 {
        self.lost
    }

    /// Numbers that have arrived behind a gap.
    pub fn sacked(&self) -> u32 {
        self.sacked
    }

    /// Segments that have arrived behind a gap.
    pub fn sacked_segments(&self) -> u32 {
        self.sacked_segments
    }

    /// Numbers that are in the network for the second time.
    pub fn retransmitted_in_flight(&self) -> u32 {
        let is_it = |segment: &&Segment| segment.state == State::InFlight && segment.transmission.is_retransmission;
        self.segments.iter().filter(is_it).map(Segment::len).sum()
    }

    /// Numbers that were lost and have not arrived since, whether they were sent again or wait for that.
    pub fn unrepaired(&self) -> u32 {
        let is_it = |segment: &&Segment| segment.was_lost && segment.state != State::Sacked;
        self.segments.iter().filter(is_it).map(Segment::len).sum()
    }

    /// When the first one was sent of those that were sent again and have not been acknowledged.
    pub fn first_retransmission(&self) -> Option<Instant> {
        let again = self.segments.iter().filter(|segment| segment.transmission.is_retransmission);
        again.map(|segment| segment.transmission.sent_at).min()
    }

    /// Whether everything that was sent is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// A new segment is sent, whose number follows the last one's.
    ///
    /// # Panics
    /// If it takes no sequence number.
    pub fn push(&mut self, seq: Seq, payload: Payload, has_fin: bool, now: Instant) {
        let len = payload_len(&payload) + u32::from(has_fin);
        self.push_sized(seq, len, payload, has_fin, false, now);
    }

    /// The same of a segment that takes `len` numbers. With one that is pushed ends what the application had handed over: that is said
    /// again when it is sent again.
    #[inline]
    pub(crate) fn push_sized(
        &mut self,
        seq: Seq,
        len: u32,
        payload: Payload,
        has_fin: bool,
        is_pushed: bool,
        now: Instant,
    ) {
        debug_assert_eq!(len, payload_len(&payload) + u32::from(has_fin));
        assert!(len > 0, "a segment without bytes is not sent again");
        debug_assert!(self.segments.back().is_none_or(|last| last.end() == seq));
        if self.segments.is_empty() {
            self.first_lost = seq;
        }
        let transmission = Transmission { sent_at: now, end: seq + len, is_retransmission: false };
        let stamp = self.delivery.stamp(now, self.segments.is_empty());
        self.segments.push_back(Segment {
            seq,
            transmission,
            stamp,
            payload,
            has_fin,
            is_pushed,
            state: State::InFlight,
            was_lost: false,
        });
        self.in_flight += len;
    }

    /// The last segment was sent before, with the SYN.
    pub fn mark_repeated(&mut self) {
        if let Some(last) = self.segments.back_mut() {
            self.sent_again += u32::from(!last.transmission.is_retransmission);
            last.transmission.is_retransmission = true;
        }
    }

    /// Everything before `snd_una` has arrived, and so has what `blocks` say, which lie between it and the last number sent.
    /// `acks_original` tells of a segment that was sent again whether timestamps prove that an earlier transmission has arrived.
    pub fn on_ack(
        &mut self,
        now: Instant,
        snd_una: Seq,
        blocks: SackBlocks,
        rack: &mut Rack,
        acks_original: impl Fn(&Transmission) -> bool,
    ) -> Acknowledged {
        let mut result = Acknowledged::default();
        let mut arrived = |seq: Seq, transmission: &Transmission, is_sacked: bool, result: &mut Acknowledged| {
            // Behind a gap receivers echo the timestamp from before the gap, which tells nothing (RFC 7323 §4.3).
            if rack.on_delivered(now, transmission, !is_sacked && acks_original(transmission)) {
                let highest = rack.highest_delivered().unwrap_or(transmission.end);
                result.reordered = result.reordered.max(highest - seq);
            }
            if !transmission.is_retransmission {
                result.rtt_micros = Some(rtt_micros(now, transmission.sent_at));
            } else if !is_sacked && acks_original(transmission) {
                result.has_original = true;
            }
        };
        self.acknowledge(snd_una, &mut result, &mut arrived);
        let known = core::mem::replace(&mut self.reported, blocks);
        for block in blocks.iter() {
            for part in without(*block, &known) {
                self.sack(part, &mut result, &mut arrived);
            }
        }
        if let Some(newest) = result.newest {
            result.sample = self.delivery.on_ack(now, result.delivered, newest, rack.min_rtt_micros());
        }
        result
    }

    /// The application has less to send than may be sent.
    #[inline]
    pub(crate) fn on_drained(&mut self) {
        self.delivery.on_drained(self.in_flight);
    }

    /// Whether everything is in flight, and was sent once.
    #[inline]
    pub(crate) fn is_orderly(&self) -> bool {
        self.sacked == 0 && self.lost == 0 && self.sent_again == 0
    }

    /// The same as [`on_ack`](Self::on_ack) without blocks, if everything [is in order](Self::is_orderly) so far.
    #[inline]
    pub(crate) fn on_ack_in_order(&mut self, now: Instant, snd_una: Seq, rack: &mut Rack) -> Acknowledged {
        // One segment, most often.
        if let Some(first) = self.segments.pop_front_if(|first| first.end() == snd_una) {
            rack.on_delivered(now, &first.transmission, false);
            let newest = (first.transmission.sent_at, first.stamp);
            return self.end_ack_in_order(now, snd_una, first.len(), Some(newest), rack);
        }
        let mut acked = 0;
        let mut newest = None;
        while let Some(first) = self.segments.front_mut()
            && first.seq.is_before(snd_una)
        {
            let end = first.end();
            let is_whole = end.is_at_or_before(snd_una);
            let arrived = Transmission { end: if is_whole { end } else { snd_una }, ..first.transmission };
            rack.on_delivered(now, &arrived, false);
            newest = Some((arrived.sent_at, first.stamp));
            acked += arrived.end - first.seq;
            if is_whole {
                self.segments.pop_front();
            } else {
                // Part of a segment that is more than one on the wire: the rest of it stays.
                drop_front(&mut first.payload, snd_una - first.seq);
                first.seq = snd_una;
            }
        }
        self.end_ack_in_order(now, snd_una, acked, newest, rack)
    }

    /// So much is acknowledged, of which this was sent last.
    #[inline]
    fn end_ack_in_order(
        &mut self,
        now: Instant,
        snd_una: Seq,
        acked: u32,
        newest: Option<(Instant, Stamp)>,
        rack: &Rack,
    ) -> Acknowledged {
        let mut result = Acknowledged { acked, delivered: acked, ..Acknowledged::default() };
        if let Some(newest) = newest {
            result.rtt_micros = Some(rtt_micros(now, newest.0));
            result.sample = self.delivery.on_ack(now, acked, newest, rack.min_rtt_micros());
        }
        self.in_flight -= acked;
        if !self.segments.is_empty() {
            self.first_lost = self.first_lost.max(snd_una);
        }
        self.reported = SackBlocks::NONE;
        result
    }

    /// Whether no segment can be found to be lost by [`detect_losses`](Self::detect_losses), as its first look at the first one tells.
    #[inline]
    pub(crate) fn has_no_suspect(&self, rack: &Rack) -> bool {
        self.segments.front().is_none_or(|first| {
            let Segment { transmission, state, .. } = first;
            *state == State::InFlight && !transmission.is_retransmission && rack.is_beyond(transmission)
        })
    }

    /// Drops what lies before `snd_una`.
    fn acknowledge(
        &mut self,
        snd_una: Seq,
        result: &mut Acknowledged,
        arrived: &mut impl FnMut(Seq, &Transmission, bool, &mut Acknowledged),
    ) {
        // Part of a segment that is more than one on the wire: the rest of it stays.
        if let Some(at) = self.segment_across(snd_una) {
            self.split(at, snd_una);
        }
        // What closes a gap may have been acknowledged long after the rest arrived, if that was not reported.
        let covered = self.segments.iter().take_while(|segment| segment.end().is_at_or_before(snd_una));
        let closes_gap = covered
            .filter(|segment| segment.state != State::Sacked)
            .any(|segment| segment.transmission.is_retransmission);
        while let Some(segment) = self.segments.pop_front_if(|first| first.end().is_at_or_before(snd_una)) {
            result.acked += segment.len();
            if segment.state != State::Sacked {
                result.note(&segment.transmission, segment.stamp);
                result.delivered += segment.len();
                if segment.transmission.is_retransmission || !closes_gap {
                    arrived(segment.seq, &segment.transmission, false, result);
                }
            }
            self.account(segment.state, segment.len(), false);
            self.sent_again -= u32::from(segment.transmission.is_retransmission);
        }
        if !self.segments.is_empty() {
            self.first_lost = self.first_lost.max(snd_una);
        }
    }

    fn sack(
        &mut self,
        block: SackBlock,
        result: &mut Acknowledged,
        arrived: &mut impl FnMut(Seq, &Transmission, bool, &mut Acknowledged),
    ) {
        for edge in [block.left, block.right] {
            if let Some(at) = self.segment_across(edge) {
                if self.may_divide() {
                    self.split(at, edge);
                } else {
                    self.refused += 1;
                }
            }
        }
        let first = self.segments.partition_point(|segment| segment.seq.is_before(block.left));
        for at in first..self.segments.len() {
            let segment = &mut self.segments[at];
            if !segment.end().is_at_or_before(block.right) {
                break;
            }
            let (was, len) = (segment.state, segment.len());
            if was != State::Sacked {
                segment.state = State::Sacked;
                result.note(&segment.transmission, segment.stamp);
                result.delivered += len;
                arrived(segment.seq, &segment.transmission, true, result);
                self.account(was, len, false);
                self.account(State::Sacked, len, true);
            }
        }
    }

    fn account(&mut self, state: State, len: u32, is_added: bool) {
        let count = match state {
            State::InFlight => &mut self.in_flight,
            State::Lost => &mut self.lost,
            State::Sacked => {
                let segments = &mut self.sacked_segments;
                *segments = if is_added { *segments + 1 } else { *segments - 1 };
                &mut self.sacked
            }
        };
        *count = if is_added { *count + len } else { *count - len };
    }

    /// Whether a report may make two segments of one. What it says of a part is not heard otherwise, and sent again if need be.
    fn may_divide(&self) -> bool {
        let pieces = usize::try_from((self.in_flight + self.sacked + self.lost) / PIECE_BYTES).unwrap_or(0);
        self.segments.len() < MAX_PIECES + pieces || planted::is("reports_unbounded")
    }

    /// How many edges of reports were not heard since the last time.
    pub(crate) fn take_refused(&mut self) -> u32 {
        core::mem::take(&mut self.refused)
    }

    /// The same, and they stay uncounted.
    #[inline]
    pub(crate) const fn refused(&self) -> u32 {
        self.refused
    }

    /// How many segments there are.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// The segment that has bytes on both sides of a number.
    fn segment_across(&self, seq: Seq) -> Option<usize> {
        let behind = self.segments.partition_point(|segment| segment.seq.is_before(seq));
        behind.checked_sub(1).filter(|&at| self.segments[at].end().is_after(seq))
    }

    /// Makes two segments of one.
    fn split(&mut self, at: usize, seq: Seq) {
        let segment = &mut self.segments[at];
        let rest = Segment {
            seq,
            transmission: segment.transmission,
            stamp: segment.stamp,
            payload: split_payload(&mut segment.payload, seq - segment.seq),
            has_fin: core::mem::take(&mut segment.has_fin),
            is_pushed: core::mem::take(&mut segment.is_pushed),
            state: segment.state,
            was_lost: segment.was_lost,
        };
        segment.transmission.end = seq;
        self.sent_again += u32::from(segment.transmission.is_retransmission);
        self.sacked_segments += u32::from(segment.state == State::Sacked);
        self.segments.insert(at + 1, rest);
    }
}

/// How long ago something was sent.
#[inline]
fn rtt_micros(now: Instant, sent_at: Instant) -> u32 {
    u32::try_from(now.micros_since(sent_at)).unwrap_or(u32::MAX)
}

/// The parts of a block that no known one has: at most one more than there are known ones.
fn without(block: SackBlock, known: &SackBlocks) -> SmallVec<[SackBlock; 5]> {
    let mut parts: SmallVec<[SackBlock; 5]> = SmallVec::from_slice(&[block]);
    for other in known.iter() {
        parts = parts
            .into_iter()
            .flat_map(|part| {
                let before = SackBlock { left: part.left, right: part.right.min(other.left) };
                let behind = SackBlock { left: part.left.max(other.right), right: part.right };
                [before, behind]
            })
            .filter(|part| part.left.is_before(part.right))
            .collect();
    }
    parts
}
