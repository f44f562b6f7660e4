//! What arrives: RFC 9293 §3.10.7, with RFC 5961 and RFC 7323.

use core::time::Duration;

use sunstar_wire::{SackBlock, SackBlocks, Seq, TcpFlags, TcpHeader};

use super::timers::Purpose;
use super::{Agreement, Connection, Failure, Fin, State};
use crate::tcp::congestion::{Ack, CongestionControl};
use crate::tcp::half_open::ts_clock;
use crate::tcp::scoreboard::{Acknowledged, Payload};
use crate::time::Instant;

/// The age of a timestamp is measured in so many binary digits of microseconds: about seconds.
pub(super) const TS_AGE_SHIFT: u32 = 20;

/// A timestamp that is older than this says nothing any more (RFC 7323 §5.5).
/// 24 days in units of 2^20 µs, which are 16,384 / 15,625 s.
const TS_RECENT_LIFETIME: u32 = 24 * 24 * 3_600 / 64 * 15_625 / 256;

/// Between two answers to segments without data that do not fit, as in Linux (`tcp_invalid_ratelimit`).
const CHALLENGE_INTERVAL_MS: u32 = 500;

/// In that time so many more to segments with data: who retransmits what has come needs them soon, and does so ever more slowly. In
/// Linux nothing bounds these.
const DATA_CHALLENGES: u8 = 16;

/// How soon a SYN comes again after the other side was told that it has another connection in mind.
const ASK_AGAIN_WAIT: Duration = Duration::from_millis(10);

/// When a timestamp came.
pub(super) fn ts_age(now: Instant) -> u32 {
    u32::try_from(now.as_micros() >> TS_AGE_SHIFT).unwrap_or(u32::MAX)
}

/// What makes the first answer to a segment that does not fit due at once.
pub(super) fn may_challenge_from(now: Instant) -> u32 {
    ts_clock(now, 0).wrapping_sub(CHALLENGE_INTERVAL_MS)
}

/// A segment that arrived, without what the layers below have looked at.
#[derive(Clone, Debug, Default)]
pub struct Segment {
    /// Its header.
    pub header: TcpHeader,
    /// Its bytes.
    pub payload: Payload,
}

impl Segment {
    pub(in crate::tcp) fn payload_len(&self) -> u32 {
        self.payload.iter().map(|part| u32::try_from(part.len()).unwrap_or(u32::MAX)).sum()
    }

    /// The sequence numbers that it takes.
    pub(in crate::tcp) fn len(&self) -> u32 {
        let flags = self.header.flags;
        self.payload_len() + u32::from(flags.contains(TcpFlags::SYN)) + u32::from(flags.contains(TcpFlags::FIN))
    }

    fn has(&self, flags: TcpFlags) -> bool {
        self.header.flags.contains(flags)
    }
}

/// What the sender of a segment gets at once, beside what [`Connection::poll_transmit`] has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing.
    None,
    /// A reset that it believes: with this sequence number (RFC 9293 §3.10.7.1).
    Reset(Seq),
}

/// What an acknowledgement shows beside what it says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signs {
    /// It acknowledges nothing new by number, and something has arrived all the same.
    pub(super) is_duplicate: bool,
    /// So much has arrived, where peers report nothing by what their duplicate acknowledgements show.
    pub(super) delivered: u32,
}

impl Connection {
    /// A segment of this connection has arrived. Ask [`Connection::poll_transmit`] afterwards.
    pub fn handle_segment(&mut self, now: Instant, mut segment: Segment) -> Reply {
        let len = segment.payload_len();
        self.take_segment(now, &mut segment, len)
    }

    /// The same for a segment that stays where it is, since it is large. Its `len` bytes are taken out of it, as far as they are wanted.
    #[inline]
    pub(in crate::tcp) fn take_segment(&mut self, now: Instant, segment: &mut Segment, len: u32) -> Reply {
        self.totals.on_segments(self.segments(len));
        if self.take_predicted(now, segment, len) {
            return Reply::None;
        }
        self.take_unpredicted(now, segment)
    }

    /// The same for any segment, when it has been counted.
    #[inline(never)]
    pub(super) fn take_unpredicted(&mut self, now: Instant, segment: &mut Segment) -> Reply {
        match self.state {
            State::Closed => Reply::None,
            State::SynSent => self.on_segment_in_syn_sent(now, segment),
            _ => self.on_segment(now, segment),
        }
    }

    /// RFC 9293 §3.10.7.3.
    fn on_segment_in_syn_sent(&mut self, now: Instant, segment: &mut Segment) -> Reply {
        let header = &segment.header;
        let most = self.opening_len();
        if segment.has(TcpFlags::ACK) && !header.ack.is_within(self.snd_nxt, most + 1) {
            return if segment.has(TcpFlags::RST) { Reply::None } else { Reply::Reset(header.ack) };
        }
        if segment.has(TcpFlags::ACK) && !segment.has(TcpFlags::RST) && self.echoes_others(now, header) {
            return Reply::Reset(header.ack);
        }
        if segment.has(TcpFlags::RST) {
            if segment.has(TcpFlags::ACK) {
                self.fail(Failure::Refused);
            }
            return Reply::None;
        }
        if !segment.has(TcpFlags::SYN) {
            return Reply::None;
        }
        self.agree(now, header);
        self.syn.set_due(false);
        if segment.has(TcpFlags::ACK) {
            self.on_opened(now, header);
            // What is due to an answer: the other side waits for it, whether it has data or not.
            self.acks.at_once();
            let seq = header.seq + 1;
            self.take_payload(now, seq, segment);
        } else {
            // Both sides have opened at once (RFC 9293 §3.5, figure 7).
            self.state = State::SynReceived;
            self.syn.set_due(true);
        }
        Reply::None
    }

    /// The reset was sent for which [`Reply::Reset`] has asked: so if our SYN waits for its answer, the other side had a connection in mind
    /// that we don't know, an old one or one that somebody has begun in our name. It forgets that, and the first time our SYN comes again
    /// soon, as Linux has it, if it may come again at all.
    pub fn on_reset_sent(&mut self, now: Instant) {
        let soon = now + ASK_AGAIN_WAIT;
        let may_ask = self.state == State::SynSent && self.timeouts < self.options.syn_retries;
        let is_later = self.retransmit_timer.is_some_and(|timer| timer.deadline() > soon);
        if may_ask && is_later && self.rto.backoff() == 0 {
            self.set_timer(Purpose::Timeout, soon);
        }
    }

    /// Whether the answer to our SYN echoes a timestamp that none of ours had (RFC 7323 §3.2 has it echo one): it is from another
    /// connection, as Linux takes it.
    fn echoes_others(&self, now: Instant, header: &TcpHeader) -> bool {
        let Some(timestamps) = header.options.timestamps.filter(|_| self.options.offers_timestamps) else {
            return false;
        };
        // What was heard last is that it was to be opened.
        let first = ts_clock(self.last_heard_at, self.ts_offset);
        timestamps.tsecr != 0 && timestamps.tsecr.wrapping_sub(first) > self.ts_now(now).wrapping_sub(first)
    }

    /// RFC 9293 §3.10.7.4.
    fn on_segment(&mut self, now: Instant, segment: &mut Segment) -> Reply {
        if self.state == State::SynReceived && segment.has(TcpFlags::SYN) && segment.header.seq + 1 == self.rcv_nxt {
            return self.on_syn_again(now, segment);
        }
        if self.is_old_duplicate(now, segment) || !self.is_acceptable(segment) {
            // Also what answers keepalive and window probes, whose number lies before the window.
            if !segment.has(TcpFlags::RST) {
                self.note_old(segment);
                self.challenge(now, segment.payload_len() > 0);
            }
            return Reply::None;
        }
        if segment.has(TcpFlags::RST) {
            self.on_reset(now, segment);
            return Reply::None;
        }
        if segment.has(TcpFlags::SYN) {
            // RFC 5961 §4: whoever sent it hears where we are; if it is the other side after a restart, it resets us.
            self.challenge(now, false);
            return Reply::None;
        }
        if !segment.has(TcpFlags::ACK) {
            return Reply::None;
        }
        if self.syn.is_unconfirmed() {
            self.confirm(now, &segment.header);
        }
        self.last_heard_at = now;
        self.keepalive_probes = 0;
        if self.state == State::SynReceived {
            if segment.header.ack != self.snd_nxt {
                return Reply::Reset(segment.header.ack);
            }
            self.on_opened(now, &segment.header);
        }
        if self.on_ack(now, segment) && self.state != State::Closed {
            if segment.has(TcpFlags::URG) {
                self.take_urgent(&segment.header);
            }
            let seq = segment.header.seq;
            self.take_payload(now, seq, segment);
        }
        Reply::None
    }

    /// The other side's SYN has come already: here it is with the acknowledgement of ours, or ours has not arrived.
    fn on_syn_again(&mut self, now: Instant, segment: &mut Segment) -> Reply {
        let header = &segment.header;
        if !segment.has(TcpFlags::ACK) {
            self.syn.set_due(true);
            return Reply::None;
        }
        if !header.ack.is_within(self.snd_nxt, self.opening_len() + 1) {
            return Reply::Reset(header.ack);
        }
        self.on_opened(now, header);
        // The SYN had come (RFC 2883 §4).
        self.note_duplicate(header.seq, 1);
        self.acks.at_once();
        let seq = header.seq + 1;
        self.take_payload(now, seq, segment);
        Reply::None
    }

    /// What the other side's SYN says.
    fn agree(&mut self, now: Instant, header: &TcpHeader) {
        let agreement = Agreement::new(&self.options, &header.options);
        let mss = agreement.mss(&self.options, &header.options);
        let ts_recent = header.options.timestamps.map_or(0, |timestamps| timestamps.tsval);
        self.learn(now, header.seq, agreement, mss, ts_recent);
    }

    /// Our SYN is acknowledged.
    fn on_opened(&mut self, now: Instant, header: &TcpHeader) {
        if self.timeouts == 0 {
            // Where both have opened at once our SYN was sent twice, and may have been answered before.
            if self.state == State::SynSent {
                self.measure_opening(now, now - self.last_sent_at);
            }
        } else {
            self.history().timeouts.on_recovered(now);
        }
        self.on_opening_acked(now, header);
        self.timeouts = 0;
        self.rto.reset_backoff();
        self.last_heard_at = now;
        self.snd_una = header.ack;
        self.state = State::Established;
        let scale = if header.flags.contains(TcpFlags::SYN) { 0 } else { self.agreed.snd_scale.shift() };
        self.set_window(header.seq, header.ack, u32::from(header.window) << scale);
        self.retransmit_timer = None;
    }

    /// Whether timestamps show that the segment is from long ago (PAWS, RFC 7323 §5.3). A reset needs none.
    fn is_old_duplicate(&self, now: Instant, segment: &Segment) -> bool {
        if !self.agreed.has_timestamps || segment.has(TcpFlags::RST) {
            return false;
        }
        let Some(timestamps) = segment.header.options.timestamps else { return false };
        let is_older = timestamps.tsval.wrapping_sub(self.ts_recent).cast_signed() < 0;
        is_older && ts_age(now) - self.ts_recent_at < TS_RECENT_LIFETIME && !planted::is("paws_ignored")
    }

    /// Whether a part of it lies in the window (RFC 9293 §3.10.7.4, first).
    fn is_acceptable(&self, segment: &Segment) -> bool {
        let (seq, len) = (segment.header.seq, segment.len());
        let window = if self.rcv_adv.is_after(self.rcv_nxt) { self.rcv_adv - self.rcv_nxt } else { 0 };
        match (len, window) {
            // Up to the edge, as in Linux: there is who has filled the window, though what filled it was lost.
            (0, _) => seq.is_within(self.rcv_nxt, window + 1),
            // Data that a closed window does not take still carries an acknowledgement.
            (_, 0) => seq == self.rcv_nxt,
            (_, _) => seq.is_within(self.rcv_nxt, window) || (seq + len - 1).is_within(self.rcv_nxt, window),
        }
    }

    /// Tells the sender of a segment that does not fit where we are. If it carries no data, at most twice a second (RFC 5961
    /// §7): the answer may not fit there either, and so on for ever. There is no bound for all connections together, which would tell
    /// others of this one (RFC 5961 §10, CVE-2016-5696).
    fn challenge(&mut self, now: Instant, has_data: bool) {
        let now_ms = ts_clock(now, 0);
        if now_ms.wrapping_sub(self.challenged_ms) >= CHALLENGE_INTERVAL_MS {
            (self.challenged_ms, self.challenges) = (now_ms, 0);
            self.acks.at_once();
        } else if self.acks.is_at_once() {
            // One answer for all of them.
        } else if has_data && (self.challenges < DATA_CHALLENGES || planted::is("challenges_unbounded")) {
            self.challenges = self.challenges.saturating_add(1);
            self.acks.at_once();
        } else {
            let queues = self.queues.get_or_insert_default();
            queues.unanswered = queues.unanswered.saturating_add(1);
        }
    }

    /// How many segments that do not fit were not answered since the last call.
    pub(in crate::tcp) fn take_unanswered(&mut self) -> u32 {
        self.queues.as_deref_mut().map_or(0, |queues| core::mem::take(&mut queues.unanswered))
    }

    /// All that a segment carries, or its beginning, had come before (RFC 2883 §4.1).
    fn note_old(&mut self, segment: &Segment) {
        let (seq, len) = (segment.header.seq, segment.payload_len());
        if seq.is_before(self.rcv_nxt) {
            self.note_duplicate(seq, len.min(self.rcv_nxt - seq));
        }
    }

    /// RFC 5961 §3: only a reset with exactly the expected number is believed; others are asked for one.
    fn on_reset(&mut self, now: Instant, segment: &Segment) {
        if segment.header.seq == self.rcv_nxt || planted::is("reset_believed") {
            let failure = if self.state == State::SynReceived { Failure::Refused } else { Failure::Reset };
            self.fail(failure);
        } else {
            self.challenge(now, false);
        }
    }

    /// RFC 7323 §4.3: the timestamp to echo is that of the segment that the last acknowledgement was for.
    #[inline]
    pub(super) fn remember_timestamp(&mut self, now: Instant, header: &TcpHeader) {
        let Some(timestamps) = header.options.timestamps.filter(|_| self.agreed.has_timestamps) else { return };
        let is_newer = timestamps.tsval.wrapping_sub(self.ts_recent).cast_signed() >= 0;
        if is_newer && header.seq.is_at_or_before(self.last_ack_sent) {
            (self.ts_recent, self.ts_recent_at) = (timestamps.tsval, ts_age(now));
        }
        if self.history.is_some() {
            self.note_echo(now, timestamps.tsecr);
        }
    }

    /// The acknowledgement of a segment. Answers whether its data count (RFC 5961 §5).
    fn on_ack(&mut self, now: Instant, segment: &Segment) -> bool {
        let header = &segment.header;
        let ack = header.ack;
        if ack.is_after(self.snd_nxt) || ack.is_before(self.snd_una - self.max_snd_wnd) {
            self.challenge(now, false);
            return false;
        }
        self.remember_timestamp(now, header);
        if ack.is_before(self.snd_una) {
            self.take_late_reports(now, segment);
            return true;
        }
        let old_window = self.snd_wnd;
        self.update_window(header);
        let flight = self.in_flight() + self.lost();
        let duplicate = self.duplicate_report(header);
        let blocks = header.options.sack.iter().copied().skip(usize::from(duplicate.is_some()));
        let blocks = blocks.filter(|block| self.is_plausible(*block, ack)).collect();
        let news = self.acknowledge(now, header, ack, blocks);
        if news.delivered > 0 || news.acked > 0 {
            self.on_progress();
        } else if self.is_all_acknowledged() {
            // Who answers probes of a closed window may keep it closed (RFC 9293 §3.8.6.1), less and less often asked.
            self.timeouts = 0;
        }
        if let Some(block) = duplicate {
            self.on_duplicate(block);
        }
        let signs = self.count_duplicate_ack(segment, &news, old_window);
        self.advance(now, &news, signs, flight, duplicate.is_some());
        self.on_stream_acked(now);
        true
    }

    /// What an acknowledgement reports has arrived, also if others have overtaken it.
    fn take_late_reports(&mut self, now: Instant, segment: &Segment) {
        let (ack, flight) = (self.snd_una, self.in_flight() + self.lost());
        let blocks = segment.header.options.sack.iter().copied();
        let blocks: SackBlocks = blocks.filter(|block| self.is_plausible(*block, ack)).collect();
        if blocks.is_empty() {
            return;
        }
        let news = self.acknowledge(now, &segment.header, ack, blocks);
        if news.delivered > 0 {
            self.on_progress();
            let signs = Signs { is_duplicate: true, delivered: news.delivered };
            self.advance(now, &news, signs, flight, false);
        }
    }

    /// RFC 2883 §4: the first block reports a duplicate if it lies before the acknowledgement, or in the second block.
    fn duplicate_report(&self, header: &TcpHeader) -> Option<SackBlock> {
        let blocks = &header.options.sack;
        let first = *blocks.first().filter(|_| self.agreed.has_sack)?;
        let is_inside =
            |other: &SackBlock| first.left.is_at_or_after(other.left) && first.right.is_at_or_before(other.right);
        let is_it = first.right.is_at_or_before(header.ack) || blocks.get(1).is_some_and(is_inside);
        is_it.then_some(first)
    }

    fn is_plausible(&self, block: SackBlock, ack: Seq) -> bool {
        self.agreed.has_sack
            && block.left.is_before(block.right)
            && block.left.is_after(ack)
            && block.right.is_at_or_before(self.snd_nxt)
    }

    /// RFC 9293 §3.10.7.4, fifth: the window of the newest segment counts. As in Linux, also of one that acknowledges more, though its
    /// data were sent before: an old window behind a new acknowledgement would reach further than the other side has told.
    #[inline]
    pub(super) fn update_window(&mut self, header: &TcpHeader) {
        let is_newer = header.ack.is_after(self.snd_una)
            || self.snd_wl1.is_before(header.seq)
            || (self.snd_wl1 == header.seq && self.snd_wl2.is_at_or_before(header.ack));
        if is_newer {
            self.snd_wnd = u32::from(header.window) << self.agreed.snd_scale.shift();
            self.max_snd_wnd = self.max_snd_wnd.max(self.snd_wnd);
            (self.snd_wl1, self.snd_wl2) = (header.seq, header.ack);
        }
    }

    fn acknowledge(&mut self, now: Instant, header: &TcpHeader, ack: Seq, blocks: SackBlocks) -> Acknowledged {
        let echo = header.options.timestamps.filter(|_| self.agreed.has_timestamps).map(|timestamps| timestamps.tsecr);
        let offset = self.ts_offset;
        let is_from_before = |sent_at: Instant| {
            let sent = ts_clock(sent_at, offset);
            echo.is_some_and(|echo| echo.wrapping_sub(sent).cast_signed() < 0)
        };
        let acks_original = |transmission: &crate::tcp::rack::Transmission| is_from_before(transmission.sent_at);
        // Where nothing is under way there is nothing to be found out.
        let news =
            self.queues.as_mut().map(|queues| queues.board.on_ack(now, ack, blocks, &mut self.rack, acks_original));
        let mut news = news.unwrap_or_default();
        // An earlier transmission may have been sent again too: it is the first one only if nothing had been by then (RFC 3522 §3.2).
        news.has_original &= self.recovery_begun_at().is_none_or(is_from_before);
        if news.reordered > 0 {
            let segments = u16::try_from(self.segments(news.reordered)).unwrap_or(u16::MAX);
            let history = self.history();
            history.reordering = history.reordering.max(segments);
        }
        self.move_una(ack, &news);
        news
    }

    /// Something has arrived for the first time.
    pub(super) fn on_progress(&mut self) {
        self.timeouts = 0;
        self.is_path_broken = false;
        self.rto.reset_backoff();
    }

    /// All before `ack` is acknowledged.
    #[inline]
    pub(super) fn move_una(&mut self, ack: Seq, news: &Acknowledged) {
        self.totals.on_acked(self.snd_una - self.iss, ack - self.iss);
        self.snd_una = ack;
        self.rack.on_acked(ack);
        self.totals.rate.take(news.sample);
        if let Some(history) = &mut self.history {
            history.on_acked(ack);
        }
        // One sample per round trip (RFC 6298 §3).
        if let Some(rtt) = news.rtt_micros.filter(|_| ack.is_after(self.rtt_round_end)) {
            self.rto.on_sample_micros(rtt);
            self.rtt_round_end = self.snd_nxt;
            self.forget_passed(ack);
        }
    }

    /// Forgets ends that are acknowledged: numbers come round, and would lie ahead again. Once a round is often enough.
    fn forget_passed(&mut self, ack: Seq) {
        let Some(queues) = &mut self.queues else { return };
        for end in [&mut queues.urgent_end, &mut queues.again_until, &mut queues.small_end] {
            end.take_if(|end| end.is_at_or_before(ack));
        }
    }

    /// Peers without SACK: a duplicate of an acknowledgement shows that a segment has arrived, and three that one is lost (RFC 5681
    /// §3.2). Also counts what is delivered by that measure.
    fn count_duplicate_ack(&mut self, segment: &Segment, news: &Acknowledged, old_window: u32) -> Signs {
        let is_duplicate =
            news.acked == 0 && segment.len() == 0 && self.snd_wnd == old_window && !self.is_all_acknowledged();
        let mut signs = Signs { is_duplicate, delivered: news.delivered };
        if self.agreed.has_sack {
            signs.is_duplicate |= news.acked == 0 && news.delivered > 0;
        } else if news.acked > 0 && self.duplicate_acks > 0 {
            // One segment closes the gap; the others had arrived, and were counted (RFC 9937 §6.2).
            let counted = self.duplicate_acks;
            let covered = u8::try_from(self.segments(news.acked) - 1).unwrap_or(u8::MAX);
            self.duplicate_acks = if self.is_in_fast_recovery() { counted.saturating_sub(covered) } else { 0 };
            let known = u32::from(counted.min(covered)) * self.snd_mss;
            signs.delivered = news.delivered.saturating_sub(known).max(1);
        } else if is_duplicate && !self.is_after_timeout() && self.pipe() >= self.snd_mss {
            self.duplicate_acks = self.duplicate_acks.saturating_add(1);
            signs.delivered = self.snd_mss;
        }
        signs
    }

    /// Losses, recovery, the congestion window and the timer after an acknowledgement.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        news: &Acknowledged,
        signs: Signs,
        flight: u32,
        has_duplicate: bool,
    ) {
        let found_loss = self.detect_losses(now, flight) | self.detect_by_duplicates(now, news, flight);
        let was_recovering = self.recovery.is_some();
        let is_paced = self.follow(news, signs, found_loss);
        self.on_probe_answer(has_duplicate);
        if !self.is_after_timeout()
            && let Some(history) = &mut self.history
        {
            history.timeouts.on_recovered(now);
        }
        // What arrives behind a gap lets as much out, and does not widen the window (RFC 3042 §2).
        if news.acked > 0 && news.delivered > 0 && !is_paced && !(was_recovering && self.recovery.is_none()) {
            self.widen(now, news, flight);
        }
        if (news.acked > 0 || news.delivered > 0 || self.is_all_acknowledged()) && !self.waits_for_late() {
            self.rearm(now);
        }
    }

    /// Lets the congestion window grow, as its algorithm has it. `flight` bytes were in the network before the acknowledgement.
    #[inline]
    pub(super) fn widen(&mut self, now: Instant, news: &Acknowledged, flight: u32) {
        let begins_round = self.snd_una.is_after(self.round_end);
        if begins_round {
            self.round_end = self.snd_nxt;
            if self.unsent_bytes > 0 && self.history.is_some() {
                self.on_round(now);
            }
        }
        let flight = self.round_flight(begins_round, flight);
        let ack = Ack {
            now,
            bytes: news.delivered,
            rtt_micros: news.rtt_micros,
            srtt_micros: self.rto.srtt_micros().unwrap_or(0),
            begins_round,
            is_cwnd_limited: self.is_cwnd_limited || self.is_half_used(flight),
        };
        self.algorithm.on_ack(&mut self.window, &ack);
    }

    /// The most that was under way in this round.
    fn round_flight(&mut self, begins_round: bool, flight: u32) -> u32 {
        let Some(queues) = self.queues.as_deref_mut() else { return flight };
        let before = if begins_round { 0 } else { queues.round_flight };
        queues.round_flight = before.max(flight);
        queues.round_flight
    }

    /// Whether more than half of the window was in use, which is enough for slow start: it doubles it each round (as Linux; RFC 9438 §5.8
    /// leaves it to the sender).
    fn is_half_used(&self, flight: u32) -> bool {
        self.window.is_in_slow_start() && flight > self.window.cwnd / 2
    }

    /// Data and the end of the stream, from `seq` on.
    fn take_payload(&mut self, now: Instant, seq: Seq, segment: &mut Segment) {
        let (len, has_fin) = (segment.payload_len(), segment.has(TcpFlags::FIN));
        if len > 0 && !self.has_fin {
            self.take_data(now, seq, segment.payload.drain(..));
        }
        if has_fin {
            self.take_fin(seq + len);
        } else {
            self.end_if_complete();
        }
    }

    /// What the acknowledgement of our FIN changes (RFC 9293 §3.10.7.4, fifth).
    #[inline]
    pub(super) fn on_stream_acked(&mut self, now: Instant) {
        if self.fin == Fin::Sent && self.snd_una == self.snd_nxt {
            self.on_fin_acked(now);
        }
    }

    fn on_fin_acked(&mut self, now: Instant) {
        self.fin = Fin::Acked;
        match self.state {
            State::FinWait1 => {
                self.state = State::FinWait2;
                self.wait_for_end(now);
            }
            State::Closing => self.state = State::TimeWait,
            State::LastAck => self.end(),
            _ => {}
        }
    }
}
