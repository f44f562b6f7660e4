//! What leaves.

use core::time::Duration;

use sunstar_packet::Buffer;
use sunstar_wire::{Seq, TcpFlags, TcpHeader, TcpTimestamps};

use super::receive::MAX_WINDOW;
use super::search::DueProbe;
use super::{Connection, Fin, State};
use crate::tcp::scoreboard::{self, Payload};
use crate::time::Instant;

/// What is corked leaves after so long at the latest, as in Linux (tcp(7), `TCP_CORK`).
const CORK_TIME: Duration = Duration::from_millis(200);

/// A segment to be sent. Its ports are those of whoever knows the addresses.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    /// Its header.
    pub header: TcpHeader,
    /// Its bytes, and how many they are.
    pub payload: Payload,
    /// See [`Outgoing::payload`].
    pub len: u32,
    /// If there are more of them than this, they have to be cut into pieces of this size.
    pub mss: u32,
}

impl Outgoing {
    /// Leaves the header alone.
    #[inline]
    fn clear(&mut self) {
        self.len = 0;
        if !self.payload.is_empty() {
            self.payload.clear();
        }
    }

    /// How many segments it is on the wire.
    pub(in crate::tcp) fn segments(&self) -> u32 {
        // Dividing takes long.
        if self.len > self.mss { self.len.div_ceil(self.mss) } else { 1 }
    }
}

impl Connection {
    /// The next segment that has to leave. `max_len` is how many bytes the device takes at once, and cuts; at least one
    /// segment is always allowed. Ask until there is none.
    pub fn poll_transmit(&mut self, now: Instant, max_len: u32) -> Option<Outgoing> {
        let mut outgoing = Outgoing::default();
        self.transmit(now, max_len, &mut outgoing).then_some(outgoing)
    }

    /// The same, put where it is wanted, since it is large; answers whether there is one. What `outgoing` had is gone then.
    pub(in crate::tcp) fn transmit(&mut self, now: Instant, max_len: u32, outgoing: &mut Outgoing) -> bool {
        outgoing.mss = self.segment_mss();
        // Each segment of a large one says the same, and a duplicate is told once (RFC 2883 §4).
        let max_len = if self.has_duplicate() { outgoing.mss } else { max_len };
        let is_any = self.next_segment(now, max_len, outgoing);
        if is_any {
            let is_syn = outgoing.header.flags.contains(TcpFlags::SYN);
            self.totals.on_sent(outgoing.segments(), outgoing.len > 0 && !is_syn);
        }
        is_any
    }

    /// Whether there may be another segment after one that left; if not, asking for it changes nothing.
    #[inline]
    pub(in crate::tcp) fn has_more_to_send(&self, now: Instant) -> bool {
        let is_open = !matches!(self.state, State::SynSent | State::SynReceived);
        let has_data = self.unsent_bytes > 0 || self.fin == Fin::Queued || self.lost() > 0;
        !is_open
            || self.syn.is_due()
            || has_data
            || self.due_probe != DueProbe::None
            || self.must_ask
            || self.acks.is_due(now)
    }

    fn next_segment(&mut self, now: Instant, max_len: u32, outgoing: &mut Outgoing) -> bool {
        match self.state {
            State::Closed => false,
            State::SynSent | State::SynReceived => self.syn(now, outgoing),
            _ if self.syn.is_due() => self.syn(now, outgoing),
            _ => {
                if self.has_only_news() {
                    return self.new_data(now, max_len, outgoing) || self.pure_ack(now, outgoing);
                }
                let max_len = self.burst_len(max_len, outgoing.mss);
                self.again(now, max_len, outgoing)
                    || self.tail_probe(now, max_len, outgoing)
                    || self.path_probe(now, outgoing)
                    || self.due_probe != DueProbe::Path && self.new_data(now, max_len, outgoing)
                    || self.question(now, outgoing)
                    || self.pure_ack(now, outgoing)
            }
        }
    }

    /// Whether nothing has to be sent again, and nothing asked.
    #[inline]
    fn has_only_news(&self) -> bool {
        self.lost() == 0 && self.due_probe == DueProbe::None && !self.must_ask
    }

    fn syn(&mut self, now: Instant, outgoing: &mut Outgoing) -> bool {
        if !self.syn.is_due() {
            return false;
        }
        self.syn.set_due(false);
        self.last_sent_at = now;
        let header = &mut outgoing.header;
        self.write_header(now, self.iss, TcpFlags::SYN, header);
        // Who answers offers nothing that was not offered.
        let (is_first, agreed) = (self.state == State::SynSent, &self.agreed);
        let has_timestamps = if is_first { self.options.offers_timestamps } else { agreed.has_timestamps() };
        let has_scales = is_first || agreed.has_scales();
        header.options.mss = self.options.mss.try_into().ok();
        header.options.window_scale = has_scales.then(|| self.options.window_scale());
        header.options.is_sack_permitted = if is_first { self.options.offers_sack } else { agreed.has_sack() };
        if has_timestamps {
            header.options.timestamps = Some(TcpTimestamps { tsval: self.ts_now(now), tsecr: self.ts_recent });
        }
        outgoing.clear();
        let header = &mut outgoing.header;
        if is_first {
            // Nothing to acknowledge; and the window of a SYN counts from the number that the answer will have.
            header.window = u16::try_from(self.options.receive_capacity.min(MAX_WINDOW)).unwrap_or(u16::MAX);
            self.write_opening(header, &mut outgoing.payload);
            outgoing.len = payload_len(&outgoing.payload);
        } else {
            header.flags |= TcpFlags::ACK;
            header.window = self.advertise(true);
        }
        if self.retransmit_timer.is_none() {
            self.rearm(now);
        }
        true
    }

    /// What was lost, as far as the congestion window lets it out.
    fn again(&mut self, now: Instant, max_len: u32, outgoing: &mut Outgoing) -> bool {
        if self.lost() == 0 {
            return false;
        }
        self.is_cwnd_limited = true;
        let room = self.window.cwnd.saturating_sub(self.pipe());
        // The first one after a timeout leaves in any case. The next ones wait until it is clear that it was one.
        let is_trying = self.is_trying();
        let must_resend = core::mem::take(&mut self.must_resend) || self.in_flight() == 0 && !is_trying;
        if (room < self.snd_mss || self.doubts_timeout()) && !must_resend {
            return false;
        }
        let board = &mut self.queues.get_or_insert_default().board;
        let segment = board.retransmit(now, max_len.min(room.max(outgoing.mss)));
        self.sent_again(now, segment, outgoing)
    }

    fn sent_again(&mut self, now: Instant, segment: Option<scoreboard::Outgoing>, outgoing: &mut Outgoing) -> bool {
        let Some(segment) = segment else { return false };
        let bytes = payload_len(&segment.payload) + u32::from(segment.has_fin);
        self.totals.on_retransmitted(self.segments(bytes));
        self.on_retransmitted(bytes);
        self.last_sent_at = now;
        if self.retransmit_timer.is_none() {
            self.rearm(now);
        }
        let mut flags = TcpFlags::ACK;
        if segment.is_pushed || bytes > outgoing.mss {
            flags |= TcpFlags::PSH;
        }
        if segment.has_fin {
            flags |= TcpFlags::FIN;
        }
        self.write_header(now, segment.seq, flags, &mut outgoing.header);
        self.write_urgent(&mut outgoing.header);
        outgoing.payload = segment.payload;
        outgoing.len = bytes - u32::from(segment.has_fin);
        true
    }

    /// RFC 8985 §7.3: something new if there is, else the last segment again.
    fn tail_probe(&mut self, now: Instant, max_len: u32, outgoing: &mut Outgoing) -> bool {
        if self.due_probe != DueProbe::Tail {
            return false;
        }
        if self.unsent_bytes > 0 && self.peer_room() > 0 {
            let len = self.unsent_bytes.min(self.peer_room()).min(outgoing.mss).min(self.record_len());
            self.push(now, len, outgoing);
            self.on_probe_sent(false);
            // One probe, and then the timeout.
            self.rearm(now);
            return true;
        }
        let segment = self.queues.get_or_insert_default().board.probe(now, max_len.min(outgoing.mss));
        let is_sent = self.sent_again(now, segment, outgoing);
        self.on_probe_sent(true);
        is_sent
    }

    /// What the application has handed over, as far as both windows let it out.
    fn new_data(&mut self, now: Instant, max_len: u32, outgoing: &mut Outgoing) -> bool {
        let waiting = self.unsent_bytes + u32::from(self.fin == Fin::Queued);
        if waiting == 0 {
            return false;
        }
        if self.snd_una == self.snd_nxt {
            self.restart_if_idle(now);
        }
        let congestion = self.window.cwnd.saturating_sub(self.pipe());
        let room = congestion.min(self.peer_room());
        self.is_cwnd_limited = congestion < waiting.min(self.peer_room()).max(self.snd_mss);
        let record = self.record_len();
        let len = self.unsent_bytes.min(room).min(record);
        // Dividing takes long.
        let len = if len > outgoing.mss { len.min(self.burst_len(max_len, outgoing.mss)) } else { len };
        // Several segments at once are full ones, unless nothing follows, and the last one may be small.
        let is_cut = len > outgoing.mss && (len < self.unsent_bytes.min(record) || self.is_end_held(len, outgoing.mss));
        let odd = if is_cut { len % outgoing.mss } else { 0 };
        let len = len - odd;
        if len > 0 && len == record || self.is_worth_sending(len, congestion, outgoing.mss) {
            if len > 0 && self.is_held_by_pace(now) {
                return false;
            }
            self.push(now, len, outgoing);
            return true;
        }
        if self.is_corked && len > 0 {
            self.queues.get_or_insert_default().corked_until.get_or_insert(now + CORK_TIME);
        }
        if self.retransmit_timer.is_none() {
            self.rearm(now);
        }
        false
    }

    /// Of a path over which nothing was sent for so long the window says nothing any more.
    #[inline]
    fn restart_if_idle(&mut self, now: Instant) {
        let old_at = self.last_sent_at.after_micros(self.rto.timeout_micros());
        if now > old_at && self.options.restarts_after_idle {
            self.window.restart();
        }
    }

    /// Bytes up to the end of the record that is being sent.
    pub(super) fn record_len(&self) -> u32 {
        let end = self.queues.as_ref().and_then(|queues| queues.records.front());
        end.map_or(u32::MAX, |end| *end - self.snd_nxt)
    }

    /// Whether a segment is under way that is no full one: others wait for it. That is Nagle's algorithm as Minshall has mended it and
    /// Linux has it: the end of a long write does not wait for its beginning.
    fn has_small_in_flight(&self) -> bool {
        let small_end = self.queues.as_ref().and_then(|queues| queues.small_end);
        small_end.is_some_and(|end| end.is_after(self.snd_una))
    }

    /// RFC 9293 §3.7.4 (Nagle) and §3.8.6.2.1 (silly window): a full segment, or all there is and nothing on the way, or half of
    /// the largest window that there was.
    pub(super) fn is_worth_sending(&self, len: u32, congestion: u32, mss: u32) -> bool {
        let is_last = len == self.unsent_bytes;
        let ends_stream = is_last && self.fin == Fin::Queued;
        // The congestion window does not keep the end alone.
        if ends_stream && (len == 0 || congestion > 0 || self.in_flight() == 0) {
            return true;
        }
        len >= mss || len > 0 && self.is_worth_sending_alone(len, is_last)
    }

    /// The same of a few bytes that are no full segment, and perhaps the last ones that wait.
    fn is_worth_sending_alone(&self, len: u32, is_last: bool) -> bool {
        let may_be_small = !self.is_corked && (self.options.is_no_delay || !self.has_small_in_flight());
        self.may_send_little || is_last && (self.must_push || may_be_small) || len >= self.max_snd_wnd / 2
    }

    /// Whether the end of what waits, which makes no full segment behind others, is to wait for more bytes or for an acknowledgement.
    fn is_end_held(&self, len: u32, mss: u32) -> bool {
        let end = len % mss;
        end > 0 && len < self.record_len() && self.fin != Fin::Queued && !self.is_worth_sending_alone(end, true)
    }

    /// The payload of a full segment that leaves now, beside what it reports (RFC 6691 §2).
    #[inline]
    pub(super) fn segment_mss(&self) -> u32 {
        if !self.has_reports() || planted::is("reports_beside_mss") {
            return self.snd_mss;
        }
        // Of the tiniest segments half is left.
        self.snd_mss.saturating_sub(self.report_len()).max(self.snd_mss.div_ceil(2))
    }

    /// How much the other side takes.
    pub(super) fn peer_room(&self) -> u32 {
        let edge = self.snd_una + self.snd_wnd + u32::from(planted::is("window_off_by_one"));
        if edge.is_after(self.snd_nxt) { edge - self.snd_nxt } else { 0 }
    }

    /// Makes a segment of the next `len` bytes, and of the end of the stream if it follows.
    pub(super) fn push(&mut self, now: Instant, len: u32, outgoing: &mut Outgoing) {
        self.may_send_little = false;
        self.take_unsent(len, &mut outgoing.payload);
        outgoing.len = len;
        let is_last = self.unsent_bytes == 0;
        let ends_record = len > 0 && self.record_len() == len;
        if ends_record {
            self.queues.get_or_insert_default().records.pop_front();
        }
        // Behind what fills its window the other side need not wait for more.
        let fills_window = self.peer_room() < len + outgoing.mss;
        let queues = self.queues.get_or_insert_default();
        let is_pushed = ends_record || is_last && len > 0 && (!queues.is_unpushed || self.fin == Fin::Queued);
        if is_last {
            self.must_push = false;
            queues.corked_until = None;
        }
        let has_fin = is_last && self.fin == Fin::Queued;
        let seq = self.snd_nxt;
        let mut flags = TcpFlags::ACK;
        if is_pushed || len > outgoing.mss || fills_window {
            flags |= TcpFlags::PSH;
        }
        if has_fin {
            flags |= TcpFlags::FIN;
            self.fin = Fin::Sent;
            self.state = if self.state == State::CloseWait { State::LastAck } else { State::FinWait1 };
        }
        let is_alone = self.snd_una == seq;
        if is_alone {
            queues.busy_since = now;
        }
        let goes_again = queues.again_until.is_some_and(|end| seq.is_before(end));
        if !goes_again && len != outgoing.mss && (len < outgoing.mss || !len.is_multiple_of(outgoing.mss)) {
            queues.small_end = Some(seq + len);
        }
        let bytes = len + u32::from(has_fin);
        let board = &mut queues.board;
        board.push_sized(seq, bytes, shared(&outgoing.payload), has_fin, is_pushed, now);
        if goes_again {
            board.mark_repeated();
        }
        let was_idle = board.in_flight() == bytes;
        self.snd_nxt += bytes;
        self.pace(now, len, is_alone);
        self.acks.on_data_sent(now);
        self.last_sent_at = now;
        if self.recovery.is_none() {
            if !self.waits_for_late() {
                self.rearm(now);
            }
        } else {
            self.on_sent(bytes);
            if was_idle {
                self.rearm(now);
            }
        }
        self.write_header(now, seq, flags, &mut outgoing.header);
        self.write_urgent(&mut outgoing.header);
    }

    /// How many bytes leave at once, of the `max_len` that the device takes: whole segments, at least one. As in Linux a burst is what
    /// leaves in a millisecond at twice the pace of the congestion window, and larger on short paths; `Options::burst_segments` at least. Its end is
    /// pushed, since who receives it need not wait for more (RFC 9293 §3.9.1.2 leaves that to the sender).
    fn burst_len(&self, max_len: u32, mss: u32) -> u32 {
        // Each segment says for itself how far urgent data go.
        if self.is_urgent_from(self.snd_una) {
            return mss;
        }
        /// The largest burst.
        const MOST: u32 = 65_536;

        // So that acknowledgements come at least twice in a round trip, also if the other side's window is what bounds.
        let max_len = max_len.min(self.window.cwnd / 2).min(self.max_snd_wnd / 2);
        let Some(srtt) = self.rto.srtt_micros() else { return whole_segments(max_len, mss) };
        let shortest = self.rack.min_rtt().map_or(u128::from(srtt), |rtt| rtt.as_micros());
        let extra = u32::try_from(shortest >> 9).ok().and_then(|shift| MOST.checked_shr(shift)).unwrap_or(0);
        // A queue that builds up shows in the newest one first.
        let rtt = srtt.max(self.rack.rtt_micros()).max(1);
        let per_ms = u64::from(self.window.cwnd) * 2_000 / u64::from(rtt) + u64::from(extra);
        let per_ms = per_ms.min(self.options.max_pacing_rate / 1_000);
        let burst = u32::try_from(per_ms.min(MOST.into())).unwrap_or(MOST);
        let least = u32::from(self.options.burst_segments).max(1) * mss;
        whole_segments(max_len.min(burst.max(least)), mss)
    }

    pub(super) fn take_unsent(&mut self, len: u32, payload: &mut Payload) {
        let unsent = &mut self.queues.get_or_insert_default().unsent;
        let mut left = len as usize;
        if !payload.is_empty() {
            payload.clear();
        }
        self.unsent_bytes -= len;
        // One write, most often.
        if let Some(whole) = unsent.pop_front_if(|first| first.len() == left) {
            payload.push(whole);
            return;
        }
        while left > 0
            && let Some(first) = unsent.front_mut()
        {
            let part: Buffer = first.split_to(left.min(first.len()));
            if first.is_empty() {
                unsent.pop_front();
            }
            left -= part.len();
            payload.push(part);
        }
    }

    /// The number of what is sent next for the first time.
    pub(in crate::tcp) fn snd_nxt(&self) -> Seq {
        self.snd_nxt
    }

    /// How many segments so many bytes are.
    pub(super) fn segments(&self, bytes: u32) -> u32 {
        // Most are one, and dividing takes long.
        if bytes > self.snd_mss { bytes.div_ceil(self.snd_mss) } else { u32::from(bytes > 0) }
    }

    /// A segment that the other side answers, whatever its state: an old number, no data (RFC 9293 §3.8.4, §3.8.6.1). It is no place to
    /// announce urgent data, since nothing of it counts: that goes before it, with the number that is expected.
    fn question(&mut self, now: Instant, outgoing: &mut Outgoing) -> bool {
        let must_ask = core::mem::take(&mut self.must_ask);
        if must_ask {
            let queues = self.queues.as_deref_mut();
            let announces = queues.is_some_and(|queues| core::mem::take(&mut queues.must_announce));
            let seq = if announces { self.snd_una } else { self.snd_una - 1 };
            self.write_header(now, seq, TcpFlags::ACK, &mut outgoing.header);
            if announces {
                self.must_ask = true;
                self.write_urgent(&mut outgoing.header);
            }
            outgoing.clear();
        }
        must_ask
    }

    fn pure_ack(&mut self, now: Instant, outgoing: &mut Outgoing) -> bool {
        let is_due = self.acks.is_due(now);
        if is_due {
            self.write_header(now, self.snd_nxt, TcpFlags::ACK, &mut outgoing.header);
            self.write_urgent(&mut outgoing.header);
            outgoing.clear();
        }
        is_due
    }

    /// Writes a header with what every segment says.
    fn write_header(&mut self, now: Instant, seq: Seq, flags: TcpFlags, header: &mut TcpHeader) {
        (header.seq, header.ack, header.flags, header.urgent_pointer) = (seq, self.rcv_nxt, flags, 0);
        let timestamps = TcpTimestamps { tsval: self.ts_now(now), tsecr: self.ts_recent };
        header.options.set_lone_timestamps(self.agreed.has_timestamps.then_some(timestamps));
        if flags.contains(TcpFlags::SYN) {
            (header.window, header.options.timestamps) = (0, None);
            return;
        }
        header.window = self.advertise(false);
        if self.has_reports() {
            header.options.sack = self.take_reports();
        }
        self.last_ack_sent = self.rcv_nxt;
        self.acks.on_sent();
    }
}

/// The same bytes once more.
#[inline]
fn shared(payload: &Payload) -> Payload {
    match &payload[..] {
        [only] => {
            let mut one = Payload::new();
            one.push(only.clone());
            one
        }
        _ => payload.clone(),
    }
}

fn payload_len(payload: &Payload) -> u32 {
    payload.iter().map(|part| u32::try_from(part.len()).unwrap_or(u32::MAX)).sum()
}

/// As many bytes as are whole segments, at least one.
fn whole_segments(max_len: u32, mss: u32) -> u32 {
    (max_len / mss).max(1) * mss
}
