//! The segment that is expected: the next bytes of an open connection, its end, an acknowledgement of what is in flight, or several of
//! these (header prediction, after Van Jacobson).
//!
//! What is expected needs none of the checks that `input` makes, and ends in the same functions. Whatever is unusual, about the segment or
//! about the connection, is not expected.

use super::input::Signs;
use super::{Connection, Queues, Segment, State};
use crate::time::Instant;
use sunstar_wire::{Seq, TcpFlags};

impl Connection {
    /// Takes in a segment that was expected; answers whether it was. If not, nothing has changed.
    #[inline]
    pub(super) fn take_predicted(&mut self, now: Instant, segment: &mut Segment, len: u32) -> bool {
        if !self.is_predicted(segment, len) {
            return false;
        }
        self.last_heard_at = now;
        self.keepalive_probes = 0;
        let header = &segment.header;
        self.remember_timestamp(now, header);
        self.update_window(header);
        if header.ack != self.snd_una {
            self.acknowledge_predicted(now, header.ack);
        } else {
            self.acknowledge_nothing(now);
        }
        if len > 0 {
            if segment.payload.len() == 1 {
                let _ = segment.payload.pop().map(|part| self.take_in_order(part));
            } else {
                segment.payload.drain(..).for_each(|part| self.take_in_order(part));
            }
            self.on_taken_in_order(now, len);
        }
        if segment.header.flags.contains(TcpFlags::FIN) {
            self.take_fin(self.rcv_nxt);
        }
        true
    }

    #[inline]
    fn is_predicted(&self, segment: &Segment, len: u32) -> bool {
        let header = &segment.header;
        let has_fin = header.flags.contains(TcpFlags::FIN);
        let is_plain =
            header.flags.without(TcpFlags::PSH | TcpFlags::FIN) == TcpFlags::ACK && header.options.sack.is_empty();
        let is_newer = match header.options.timestamps {
            Some(timestamps) => {
                self.agreed.has_timestamps && timestamps.tsval.wrapping_sub(self.ts_recent).cast_signed() >= 0
            }
            None => !self.agreed.has_timestamps,
        };
        // Numbers lie so near to each other that their differences tell.
        let (acked, in_flight) = (header.ack - self.snd_una, self.snd_nxt - self.snd_una);
        let room = self.rcv_adv - self.rcv_nxt;
        let is_in_order = header.seq == self.rcv_nxt && len <= room && room <= super::receive::MAX_WINDOW << 14;
        // What acknowledges nothing of what is in flight, and has no data, says something else.
        let says_something = acked <= in_flight && (acked > 0 || len > 0 || has_fin || in_flight == 0);
        let is_calm = self.recovery.is_none()
            && self.probe.is_none()
            && !self.waits_for_late()
            && (self.peer_fin.is_none() || self.has_fin && len == 0 && !has_fin)
            && self.duplicate_acks == 0
            && !self.syn.is_unconfirmed();
        let is_orderly = |queues: &Queues| queues.has_room() && queues.assembler.is_none() && queues.board.is_orderly();
        self.is_open()
            && is_plain
            && is_newer
            && is_in_order
            && says_something
            && is_calm
            && self.queues.as_deref().map_or(acked == 0, is_orderly)
            && segment.payload.iter().all(|part| !part.is_empty())
    }

    /// Whether both have opened, and not both have ended and heard of it.
    #[inline]
    fn is_open(&self) -> bool {
        !matches!(self.state, State::SynSent | State::SynReceived | State::TimeWait | State::Closed)
    }

    /// The acknowledgement is the one that came before: nothing follows from it but that the other side is there.
    #[inline]
    fn acknowledge_nothing(&mut self, now: Instant) {
        if !planted::is("round_not_ended") {
            self.rack.on_acked(self.snd_una);
        }
        if self.is_all_acknowledged() {
            // Nothing is late. What waits may wait for the other side's window.
            self.timeouts = 0;
            self.rearm(now);
        }
    }

    /// Something of what is in flight is acknowledged, up to `ack`.
    #[inline]
    fn acknowledge_predicted(&mut self, now: Instant, ack: Seq) {
        let Some(queues) = &mut self.queues else { return };
        let flight = queues.board.in_flight();
        let news = queues.board.on_ack_in_order(now, ack, &mut self.rack);
        self.move_una(ack, &news);
        self.on_progress();
        if self.may_have_lost() {
            let signs = Signs { is_duplicate: false, delivered: news.delivered };
            self.advance(now, &news, signs, flight, false);
            self.on_stream_acked(now);
            return;
        }
        // What `advance` comes to where nothing is lost, or was.
        if let Some(history) = &mut self.history {
            history.timeouts.on_recovered(now);
        }
        if !planted::is("predicted_not_grown") {
            self.widen(now, &news, flight);
        }
        self.rearm(now);
        self.on_stream_acked(now);
    }
}
