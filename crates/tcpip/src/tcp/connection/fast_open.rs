//! Fast Open (RFC 7413): data with the SYN, on either side.

use alloc::rc::Rc;

use sunstar_packet::Buffer;
use sunstar_wire::{FastOpenOption, TcpHeader};

use super::{Connection, Options, Segment, State};
use crate::tcp::fast_open::Answer;
use crate::tcp::scoreboard::Payload;
use crate::time::Instant;

/// How far our SYN is, in one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Syn(u8);

impl Syn {
    /// There is nothing more to do about it.
    pub(super) const DONE: Self = Self(0);
    /// It is to be sent.
    pub(super) const DUE: Self = Self(1);

    const UNCONFIRMED: u8 = 2;

    pub(super) const fn is_due(self) -> bool {
        self.0 & Self::DUE.0 != 0
    }

    /// The other side's SYN has opened the connection, and has not heard of ours (RFC 7413 §4.2.2).
    pub(super) const fn is_unconfirmed(self) -> bool {
        self.0 & Self::UNCONFIRMED != 0
    }

    pub(super) const fn set_due(&mut self, is_due: bool) {
        self.0 = self.0 & Self::UNCONFIRMED | is_due as u8;
    }

    pub(super) const fn set_unconfirmed(&mut self, is_unconfirmed: bool) {
        self.0 = self.0 & Self::DUE.0 | if is_unconfirmed { Self::UNCONFIRMED } else { 0 };
    }
}

/// What a client's SYN carries.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Opening {
    option: Option<FastOpenOption>,
    /// So many bytes of what waits to be sent.
    len: u32,
    answer: Option<Answer>,
}

impl Connection {
    /// The SYN carries the option, and as much of `data` as has room beside it; answers how much that is.
    pub(in crate::tcp) fn open_fast(&mut self, option: Option<FastOpenOption>, mut data: Buffer, room: u16) -> u32 {
        data.truncate(room.into());
        let len = u32::try_from(data.len()).unwrap_or(0);
        // It is open for sending.
        let _ = self.send_beyond(data);
        self.history().fast_open = Some(Opening { option, len, answer: None });
        len
    }

    /// What the first SYN has beside the others: a copy of the first bytes, which stay where they are until they are acknowledged. Who
    /// asks again asks without, since that may be what was lost (§4.1.3).
    pub(super) fn write_opening(&mut self, header: &mut TcpHeader, payload: &mut Payload) {
        let Some(opening) = self.opening().filter(|_| self.timeouts == 0) else { return };
        header.options.fast_open = opening.option;
        let mut left = opening.len as usize;
        for part in self.queues.iter().flat_map(|queues| &queues.unsent) {
            let len = left.min(part.len());
            left -= len;
            if len > 0 {
                payload.push(part.slice(..len));
            }
        }
    }

    fn opening(&self) -> Option<Opening> {
        self.history.as_ref().and_then(|history| history.fast_open)
    }

    /// The path does not take what went with the SYN: it is sent again at once, alone, and says that we take no more than the path does.
    pub(super) fn open_plainly(&mut self, mss: u16) {
        let Some(opening) = self.history.as_mut().and_then(|history| history.fast_open.as_mut()) else { return };
        if opening.len > 0 && self.state == State::SynSent {
            *opening = Opening::default();
            self.options = Rc::new(Options { mss: self.options.mss.min(mss), ..*self.options });
            self.syn.set_due(true);
        }
    }

    /// Numbers that a SYN may have taken beside its own.
    pub(super) fn opening_len(&self) -> u32 {
        self.opening().map_or(0, |opening| opening.len)
    }

    /// The SYN is acknowledged, and so are the bytes that went with it, or the first of them. The others are sent as usual.
    pub(super) fn on_opening_acked(&mut self, now: Instant, header: &TcpHeader) {
        let Some(mut opening) = self.opening() else { return };
        let acked = (header.ack - self.iss).saturating_sub(1);
        let mut payload = Payload::new();
        let rest = opening.len.saturating_sub(acked);
        self.take_unsent(acked.min(opening.len), &mut payload);
        self.snd_nxt = header.ack;
        if self.unsent_bytes > 0 {
            self.acks.no_answer(now);
        }
        if rest > 0 {
            // What went once goes again as it was, and is not what an application sends in small pieces.
            let queues = self.queues.get_or_insert_default();
            queues.again_until = Some(header.ack + rest);
            queues.records.push_front(header.ack + rest);
        }
        let has_data = acked > 0 && acked >= opening.len;
        self.history().has_syn_data = has_data;
        let cookie = header.options.fast_open.filter(|_| opening.option.is_some());
        let was_refused = opening.option.filter(|option| {
            let has_asked = option.is_request() && self.timeouts == 0;
            has_asked && cookie.is_none()
        });
        opening.answer = Some(Answer {
            mss: header.options.mss.map(Into::into),
            cookie,
            was_refused: was_refused.map(|option| option.is_experimental),
        });
        opening.len = 0;
        self.history().fast_open = Some(opening);
    }

    /// What came of it, once.
    pub(in crate::tcp) fn take_opening_answer(&mut self) -> Option<Answer> {
        let history = self.history.as_deref_mut()?;
        let answer = history.fast_open.as_mut()?.answer.take()?;
        history.fast_open = None;
        Some(answer)
    }

    /// The other side's SYN had the right to open the connection at once: it is open, though our answer is still to be sent, and to be
    /// acknowledged. Takes in the data that came with it.
    pub(in crate::tcp) fn begin_unconfirmed(&mut self, now: Instant, segment: &Segment) {
        self.syn.set_unconfirmed(true);
        self.syn.set_due(true);
        let seq = self.rcv_nxt;
        let has_data = !segment.payload.is_empty();
        self.history().has_syn_data = has_data;
        self.take_data(now, seq, segment.payload.iter().cloned());
        // Our answer tells.
        self.acks.on_sent();
    }

    /// Whether data came or went with the first SYN, and have arrived (`TCPI_OPT_SYN_DATA`).
    pub fn has_syn_data(&self) -> bool {
        self.history.as_ref().is_some_and(|history| history.has_syn_data)
    }

    /// Whether the other side has not acknowledged our SYN, though data may flow.
    pub fn is_unconfirmed(&self) -> bool {
        self.syn.is_unconfirmed()
    }

    /// The first acknowledgement of a connection that was opened at once.
    pub(super) fn confirm(&mut self, now: Instant, header: &TcpHeader) {
        if self.state == State::Closed || !header.ack.is_after(self.iss) || header.ack.is_after(self.snd_nxt) {
            return;
        }
        self.syn.set_unconfirmed(false);
        self.syn.set_due(false);
        if self.timeouts == 0 {
            self.measure_opening(now, now - self.last_heard_at);
        }
        self.timeouts = 0;
        self.rto.reset_backoff();
        self.retransmit_timer = None;
        self.rearm(now);
    }
}
