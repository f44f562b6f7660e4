//! A connection that a stranger has asked for and not confirmed yet.

use alloc::rc::Rc;
use core::time::Duration;

use sunstar_wire::{FastOpenOption, Seq, TcpFlags, TcpHeader, TcpTimestamps, WindowScale};

use super::connection::{Agreement, Connection, Opened, Options, Reply, Segment};
use crate::time::Instant;

#[cfg(test)]
mod tests;

/// Our answer is repeated so often, a second after the first and then twice as long each time, as in Linux
/// (`tcp_synack_retries`): after some 63 s the stranger is forgotten.
pub const MAX_ANSWERS: u8 = 5;

/// Strangers who say what can't be make us repeat it so often, until it is due again by itself. Who answers with what can't be might do so
/// for ever, if both sides remember different connections. So often strangers who ask again also put off that they are forgotten.
const MAX_REPEATS: u8 = 8;

/// What the stranger may send before we have told our window again: none is shifted in our answer.
const WINDOW: u32 = 0xffff;

const FIRST_TIMEOUT: Duration = Duration::from_secs(1);

/// What SYN-RECEIVED needs (RFC 9293 §3.3.2), in a few dozen bytes: who floods us with SYNs takes no more (RFC 4987 §3.4).
#[derive(Clone, Copy, Debug)]
pub struct HalfOpen {
    iss: Seq,
    irs: Seq,
    ts_offset: u32,
    ts_recent: u32,
    /// What their SYN says: the largest segment that they take, and how much.
    mss: u16,
    window: u16,
    /// What we tell them.
    our_mss: u16,
    agreement: Agreement,
    /// Whether the answer offers a cookie for the next time (RFC 7413 §4.1.2), and in which form.
    offer: Offer,
    answers: u8,
    /// Whether it is known which answer of ours a confirmation confirms, and when that was sent.
    is_timed: bool,
    repeats: u8,
    answered_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offer {
    Nothing,
    Standard,
    Experimental,
}

/// What a segment means for a half-open connection.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is moved once, to where the connection will live")]
pub enum Verdict {
    /// It is open; the connection has taken in the segment.
    Open(Connection),
    /// Nothing has changed.
    Waits,
    /// The answer is to be sent again.
    Answer,
    /// It has nothing to do with this connection, and gets a reset with this number.
    Reset(Seq),
    /// The stranger takes it back.
    Gone,
}

impl HalfOpen {
    /// A SYN came, for a listener with those options. Answer with [`HalfOpen::answer`].
    pub fn new(syn: &TcpHeader, options: &Options, iss: Seq, ts_offset: u32) -> Self {
        let agreement = Agreement::new(options, &syn.options);
        Self {
            iss,
            irs: syn.seq,
            ts_offset,
            ts_recent: syn.options.timestamps.map_or(0, |timestamps| timestamps.tsval),
            mss: agreement.mss(options, &syn.options),
            window: syn.window,
            our_mss: options.mss,
            agreement,
            offer: Offer::Nothing,
            answers: 0,
            is_timed: true,
            repeats: 0,
            answered_at: Instant::default(),
        }
    }

    /// The link takes at most so many bytes of payload in a segment without options.
    pub fn limit_mss(&mut self, link_mss: u16) {
        let options = if self.agreement.has_timestamps() { 12 } else { 0 };
        self.our_mss = self.our_mss.min(link_mss);
        self.mss = self.mss.min(link_mss.max(options + 1) - options);
    }

    /// From now on the answer offers a cookie, in the older form or that of RFC 7413.
    pub(super) fn set_offer(&mut self, is_experimental: bool) {
        self.offer = if is_experimental { Offer::Experimental } else { Offer::Standard };
    }

    /// The offer, made of the cookie.
    pub(super) fn offer(&self, cookie: impl FnOnce() -> [u8; 8]) -> Option<FastOpenOption> {
        match self.offer {
            Offer::Nothing => None,
            Offer::Standard => FastOpenOption::new(&cookie()),
            Offer::Experimental => FastOpenOption::new(&cookie()).map(|option| option.experimental(true)),
        }
    }

    /// A connection at once, with what came with the SYN (RFC 7413 §4.2.2).
    pub(super) fn open_at_once(&self, now: Instant, options: &Options, syn: &Segment) -> Connection {
        let options = Rc::new(Options { mss: self.our_mss.min(options.mss), ..*options });
        let mut connection = Connection::opened(now, options, &self.opened());
        connection.begin_unconfirmed(now, syn);
        connection
    }

    fn opened(&self) -> Opened {
        Opened {
            iss: self.iss,
            irs: self.irs,
            ts_offset: self.ts_offset,
            ts_recent: self.ts_recent,
            mss: self.mss,
            window: self.window,
            agreement: self.agreement,
            // A round trip was measured if the answer was sent once (Karn, RFC 6298 §3).
            answered_at: (self.answers == 1 && self.is_timed).then_some(self.answered_at),
        }
    }

    /// The answer was sent without being remembered, at a time that is not known, and counts as sent now.
    pub(super) fn set_answered(&mut self, now: Instant) {
        (self.answers, self.answered_at, self.is_timed) = (1, now, false);
    }

    /// When what confirms was sent is not known any more.
    pub(super) fn set_untimed(&mut self) {
        self.is_timed = false;
    }

    /// Our SYN with the acknowledgement of theirs, for the first time or since it is due again.
    pub fn answer(&mut self, now: Instant, options: &Options) -> TcpHeader {
        self.answers += 1;
        self.repeats = 0;
        self.answered_at = now;
        self.header(now, options)
    }

    /// The same for a SYN that came again. When it is due by itself does not depend on strangers, and a little only for how long: who asks once more
    /// before he is forgotten gets the time to confirm, so the last wait begins anew, but not for ever. [`HalfOpen::deadline`] may be another one
    /// afterwards.
    pub fn answer_again(&mut self, now: Instant, options: &Options) -> TcpHeader {
        self.repeats = self.repeats.saturating_add(1);
        self.set_untimed();
        if self.is_last_answer() && self.repeats <= MAX_REPEATS {
            self.answered_at = now;
        }
        self.header(now, options)
    }

    fn header(&self, now: Instant, options: &Options) -> TcpHeader {
        let mut header = TcpHeader {
            flags: TcpFlags::SYN | TcpFlags::ACK,
            seq: self.iss,
            ack: self.irs + 1,
            ..TcpHeader::default()
        };
        header.window = u16::try_from(options.receive_capacity).unwrap_or(u16::MAX);
        header.options.mss = self.our_mss.try_into().ok();
        header.options.is_sack_permitted = self.agreement.has_sack();
        header.options.window_scale = self.agreement.has_scales().then(|| options.window_scale());
        let timestamps = TcpTimestamps { tsval: ts_clock(now, self.ts_offset), tsecr: self.ts_recent };
        header.options.timestamps = self.agreement.has_timestamps().then_some(timestamps);
        header
    }

    /// Whether an answer with that number was sent.
    pub fn has_answered_with(&self, seq: Seq) -> bool {
        self.answers > 0 && (seq == self.iss || planted::is("forged_error"))
    }

    /// When the answer is due again, or the stranger forgotten.
    pub fn deadline(&self) -> Instant {
        self.answered_at + FIRST_TIMEOUT * (1 << self.answers.saturating_sub(1))
    }

    /// Whether the last answer was the last one, so that [`HalfOpen::deadline`] is the end.
    pub fn is_last_answer(&self) -> bool {
        self.answers > MAX_ANSWERS
    }

    /// A segment of these ports and addresses has come (RFC 9293 §3.10.7.4).
    pub fn handle_segment(&self, now: Instant, options: &Rc<Options>, mut segment: Segment) -> Verdict {
        self.take_segment(now, options, &mut segment)
    }

    /// The same for a segment that stays where it is, since it is large.
    pub(super) fn take_segment(&self, now: Instant, options: &Rc<Options>, segment: &mut Segment) -> Verdict {
        let header = &segment.header;
        let has = |flags| header.flags.contains(flags);
        if has(TcpFlags::SYN) && header.seq == self.irs {
            // Ours got lost, or theirs came twice.
            return Verdict::Answer;
        }
        let tsval = header.options.timestamps.filter(|_| self.agreement.has_timestamps()).map(|both| both.tsval);
        let is_older = tsval.is_some_and(|tsval| tsval.wrapping_sub(self.ts_recent).cast_signed() < 0);
        let challenge = if self.repeats < MAX_REPEATS { Verdict::Answer } else { Verdict::Waits };
        if has(TcpFlags::RST) {
            // RFC 5961 §3: what is not exactly expected ends nothing.
            return if header.seq == self.irs + 1 { Verdict::Gone } else { Verdict::Waits };
        }
        let most = if planted::is("challenged_for_ever") { 0 } else { WINDOW };
        let is_in_window = header.seq - (self.irs + 1) <= most;
        // From before their SYN (PAWS, RFC 7323 §5.3), not acceptable (RFC 9293 §3.10.7.4), or a SYN that is not theirs (RFC 5961 §4).
        if is_older || !is_in_window || has(TcpFlags::SYN) {
            return challenge;
        }
        if !has(TcpFlags::ACK) {
            return Verdict::Waits;
        }
        // What precedes it may have got lost: it confirms nevertheless.
        if header.ack != self.iss + 1 {
            return Verdict::Reset(header.ack);
        }
        let mut connection = Connection::opened(now, Rc::clone(options), &self.opened());
        let len = segment.payload_len();
        match connection.take_segment(now, segment, len) {
            Reply::None => Verdict::Open(connection),
            Reply::Reset(seq) => Verdict::Reset(seq),
        }
    }
}

/// A clock in milliseconds as it stands in timestamps (RFC 7323 §5.4).
pub(super) fn ts_clock(now: Instant, offset: u32) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "a clock that wraps")]
    let ms = (now.as_micros() / 1_000) as u32;
    ms.wrapping_add(offset)
}

impl Options {
    /// The least shift with which the header can hold the largest window (RFC 7323 §2.2).
    pub(super) fn window_scale(&self) -> WindowScale {
        let most = self.receive_capacity.max(self.max_receive_capacity);
        let bits = 32 - (most >> 16).leading_zeros();
        WindowScale::new(u8::try_from(bits).unwrap_or(u8::MAX))
    }
}
