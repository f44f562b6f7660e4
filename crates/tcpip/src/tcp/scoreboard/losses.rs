//! What is lost, and is sent again.

use core::time::Duration;

use sunstar_wire::{SackBlocks, Seq};

use super::{Outgoing, Scoreboard, Segment, State};
use crate::tcp::rack::{Rack, Verdict};
use crate::time::Instant;

impl Scoreboard {
    /// Marks what is lost by now, and answers how much that is and until when to look again.
    pub fn detect_losses(&mut self, now: Instant, rack: &Rack, reordering_window: Duration) -> (u32, Option<Instant>) {
        let (mut lost, mut look_again) = (0, None);
        for at in 0..self.segments.len() {
            let Segment { transmission, state, .. } = self.segments[at];
            if state != State::InFlight {
                continue;
            }
            // Who was sent once was sent in the order of numbers: all that follow were sent later still.
            if !transmission.is_retransmission && rack.is_beyond(&transmission) {
                break;
            }
            match rack.judge(now, &transmission, reordering_window) {
                Verdict::Open => {}
                Verdict::LostAt(when) => look_again = look_again.max(Some(when)),
                Verdict::Lost => lost += self.lose(at),
            }
        }
        (lost, look_again)
    }

    /// The retransmission timer has rung: the first segment is lost, and with it what RACK finds overdue (RFC 8985 §6.3). What a
    /// receiver has reported it may have dropped by now, if the first segment was among it (RFC 2018 §8).
    pub fn on_timeout(&mut self, now: Instant, rack: &Rack, reordering_window: Duration) -> u32 {
        let has_reneged = self.segments.front().is_some_and(|first| first.state == State::Sacked);
        let has_reneged = has_reneged && !planted::is("reneging_ignored");
        let mut lost = 0;
        for at in 0..self.segments.len() {
            let Segment { transmission, state, .. } = self.segments[at];
            let is_sacked = state == State::Sacked && !has_reneged;
            let is_overdue = at == 0 || rack.is_overdue(now, &transmission, reordering_window);
            if !is_sacked && state != State::Lost && (has_reneged || is_overdue) {
                lost += self.lose(at);
            }
        }
        if has_reneged {
            self.reported = SackBlocks::NONE;
        }
        lost
    }

    /// What was taken for lost was not: nothing waits to be sent again any more.
    pub fn keep_in_flight(&mut self) {
        for segment in &mut self.segments {
            segment.was_lost = false;
            if segment.state == State::Lost {
                segment.state = State::InFlight;
            }
        }
        self.in_flight += core::mem::take(&mut self.lost);
    }

    /// The first segment is lost, or the first `mss` numbers of it: three duplicates of an acknowledgement said so (RFC 5681 §3.2), or a
    /// partial one (RFC 6582).
    pub fn lose_first(&mut self, mss: u32) -> u32 {
        let Some(first) = self.segments.front().filter(|first| first.state == State::InFlight) else { return 0 };
        // What follows in a segment that is more than one on the wire may have arrived.
        if first.len() > mss + u32::from(first.has_fin) {
            let edge = first.seq + mss;
            self.split(0, edge);
        }
        self.lose(0)
    }

    /// The path takes no segments with more than `mss` bytes: those that are in flight are lost. Answers how much that is.
    pub fn lose_larger_than(&mut self, mss: u32) -> u32 {
        let mut lost = 0;
        for at in 0..self.segments.len() {
            let segment = &self.segments[at];
            if segment.state == State::InFlight && segment.len() > mss + u32::from(segment.has_fin) {
                lost += self.lose(at);
            }
        }
        lost
    }

    /// The segment that begins with this number is lost. Answers how much that is.
    pub fn lose_segment(&mut self, seq: Seq) -> u32 {
        let at = self.segments.partition_point(|segment| segment.seq.is_before(seq));
        let is_it = |segment: &Segment| segment.seq == seq && segment.state == State::InFlight;
        if self.segments.get(at).is_some_and(is_it) { self.lose(at) } else { 0 }
    }

    /// Whether the segment that begins with this number is lost.
    pub fn is_lost(&self, seq: Seq) -> bool {
        let at = self.segments.partition_point(|segment| segment.seq.is_before(seq));
        self.segments.get(at).is_some_and(|segment| segment.seq == seq && segment.state == State::Lost)
    }

    /// Payload bytes of the first segment.
    pub fn first_len(&self) -> u32 {
        self.segments.front().map_or(0, |first| first.len() - u32::from(first.has_fin))
    }

    /// The first segment that is lost, at most `max_len` numbers of it, to be sent again now.
    pub fn retransmit(&mut self, now: Instant, max_len: u32) -> Option<Outgoing> {
        if self.lost == 0 {
            return None;
        }
        let from = self.segments.partition_point(|segment| segment.seq.is_before(self.first_lost));
        let at = (from..self.segments.len()).find(|&at| self.segments[at].state == State::Lost)?;
        Some(self.send_again(at, now, max_len))
    }

    /// The last segment, or the last `max_len` numbers of it, to be sent again as a probe (RFC 8985 §7.3); none if nothing is
    /// in flight.
    pub fn probe(&mut self, now: Instant, max_len: u32) -> Option<Outgoing> {
        let last = self.segments.iter().rposition(|segment| segment.state == State::InFlight)?;
        let end = self.segments[last].end();
        let at = if self.segments[last].len() > max_len {
            self.split(last, end - max_len);
            last + 1
        } else {
            last
        };
        Some(self.send_again(at, now, max_len))
    }

    fn send_again(&mut self, at: usize, now: Instant, max_len: u32) -> Outgoing {
        if self.segments[at].len() > max_len {
            self.split(at, self.segments[at].seq + max_len);
        }
        let segment = &mut self.segments[at];
        let was = segment.state;
        segment.state = State::InFlight;
        segment.transmission.sent_at = now;
        self.sent_again += u32::from(!segment.transmission.is_retransmission);
        segment.transmission.is_retransmission = true;
        segment.stamp = self.delivery.stamp(now, false);
        let outgoing = Outgoing {
            seq: segment.seq,
            payload: segment.payload.clone(),
            has_fin: segment.has_fin,
            is_pushed: segment.is_pushed,
        };
        let (len, end) = (segment.len(), segment.end());
        self.account(was, len, false);
        self.account(State::InFlight, len, true);
        if was == State::Lost {
            self.first_lost = end + u32::from(planted::is("lost_skipped"));
        }
        outgoing
    }

    fn lose(&mut self, at: usize) -> u32 {
        let segment = &mut self.segments[at];
        let (was, len, seq) = (segment.state, segment.len(), segment.seq);
        segment.state = State::Lost;
        segment.was_lost = true;
        self.account(was, len, false);
        self.account(State::Lost, len, true);
        self.first_lost = self.first_lost.min(seq);
        len
    }
}
