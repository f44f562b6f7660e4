//! What the application hands over.

use core::fmt;

use sunstar_packet::Buffer;
use sunstar_wire::{TcpFlags, TcpHeader, TcpOptions, TcpTimestamps};

use super::{Connection, Failure, Fin, State};
use crate::tcp::scoreboard::Scoreboard;
use crate::tcp::time_wait::{self, TimeWait};
use crate::time::Instant;

/// RFC 9293 §3.7.1.
const DEFAULT_MSS: u32 = 536;

/// Why nothing was taken.
#[derive(Debug)]
pub enum SendError {
    /// There is no room: [`Connection::send_capacity`] bytes are under way. The bytes come back.
    Full(Buffer),
    /// The stream was ended by [`Connection::close`], or the connection is over (`EPIPE`).
    Closed,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "as many bytes are under way as may be",
            Self::Closed => "the stream has been ended",
        })
    }
}

impl core::error::Error for SendError {}

impl Connection {
    /// Takes bytes to be sent, all of them, if there is room for one byte: what is bounded is what is kept waiting, and the
    /// application decides in what pieces it hands over. They are referenced until the other side has acknowledged them.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send(&mut self, data: Buffer) -> Result<(), SendError> {
        if self.sendable() == 0 && self.fin == Fin::Open && self.state != State::Closed {
            return Err(SendError::Full(data));
        }
        self.send_beyond(data)
    }

    /// The same also if there is no room, for an application that has a bound of its own and asks for
    /// [`Connection::unacknowledged`].
    ///
    /// # Errors
    /// [`SendError::Closed`].
    pub fn send_beyond(&mut self, data: Buffer) -> Result<(), SendError> {
        if self.fin != Fin::Open || self.state == State::Closed {
            return Err(SendError::Closed);
        }
        if !data.is_empty() {
            if self.unsent_bytes == 0 && self.lost() == 0 && self.pipe() < self.window.cwnd {
                self.queues.get_or_insert_default().board.on_drained();
            }
            self.unsent_bytes = self.unsent_bytes.saturating_add(u32::try_from(data.len()).unwrap_or(u32::MAX));
            let unsent = &mut self.queues.get_or_insert_default().unsent;
            // Who hands over memory in small parts, one after the other, has it sent in as few pieces as if it were whole.
            let apart = match unsent.back_mut() {
                Some(last) => last.try_append(data).err(),
                None => Some(data),
            };
            if let Some(data) = apart {
                unsent.push_back(data);
            }
        }
        Ok(())
    }

    /// For how many bytes there is room.
    pub fn sendable(&self) -> u32 {
        self.send_capacity().saturating_sub(self.unacknowledged())
    }

    /// Bytes that the application has handed over and the other side has not acknowledged.
    pub fn unacknowledged(&self) -> u32 {
        let outstanding =
            if matches!(self.state, State::SynSent | State::SynReceived) { 0 } else { self.snd_nxt - self.snd_una };
        self.unsent_bytes.saturating_add(outstanding)
    }

    /// By how many bytes what the other side has not acknowledged has changed since the last call; what has ended keeps nothing.
    pub(in crate::tcp) fn recount(&mut self) -> i64 {
        let held = if self.state == State::Closed { 0 } else { self.unacknowledged() };
        let Some(queues) = self.queues.as_deref_mut() else { return 0 };
        i64::from(held) - i64::from(core::mem::replace(&mut queues.counted_bytes, held))
    }

    /// Bytes that the application has handed over and that were never sent.
    pub fn unsent(&self) -> u32 {
        self.unsent_bytes
    }

    /// How many bytes leave at once at most, in whole segments: 64 KiB, and no more than half of the largest window that the other side has
    /// told, so that acknowledgements keep coming (`tcp_xmit_size_goal` of Linux).
    pub fn size_goal(&self) -> u32 {
        /// What headers leave of a packet of 64 KiB.
        const MOST: u32 = 65_535 - 340;

        let most = match self.max_snd_wnd {
            // It was never open.
            0 => MOST,
            window if window <= DEFAULT_MSS => window,
            window => MOST.min(window / 2),
        };
        if most < self.snd_mss { most } else { most / self.snd_mss * self.snd_mss }
    }

    /// Payload bytes of a full segment.
    pub fn mss(&self) -> u32 {
        self.snd_mss
    }

    /// For how many bytes both windows have room beside what is handed over already.
    pub fn may_leave(&self) -> u32 {
        let room = self.window.cwnd.saturating_sub(self.pipe()).min(self.peer_room());
        room.saturating_sub(self.unsent_bytes)
    }

    /// In how many pieces there is what was sent and is not acknowledged.
    pub fn pieces_sent(&self) -> usize {
        self.board().map_or(0, Scoreboard::segments)
    }

    /// The application has more to hand over than its bound on what waits lets it, or has not: that is what holds the connection up when all
    /// has left ([`Info::sndbuf_limited`](super::Info::sndbuf_limited)). For applications whose bound is not [`Connection::send_capacity`].
    pub fn set_awaits_room(&mut self, awaits_room: bool) {
        if let Some(queues) = &mut self.queues {
            queues.awaits_room = awaits_room;
        }
    }

    /// Lets what was handed over leave at once, though it is no full segment, and others are not acknowledged (the push flag of RFC
    /// 9293 §3.9.1.2). Both windows bound it all the same.
    pub fn push_all(&mut self) {
        self.must_push = self.unsent_bytes > 0;
        if let Some(queues) = &mut self.queues {
            queues.corked_until = None;
        }
    }

    /// What was handed over last ends a record (`MSG_EOR`): no segment has bytes of it and of what follows, and it leaves though it is no
    /// full segment. Of more than 16,384 that wait only the first ones are kept apart.
    pub fn end_record(&mut self) {
        /// Records that wait at most.
        const MAX_RECORDS: usize = 16_384;

        let end = self.snd_nxt + self.unsent_bytes;
        let has_data = self.unsent_bytes > 0;
        if let Some(queues) = self
            .queues
            .as_deref_mut()
            .filter(|queues| has_data && queues.records.len() < MAX_RECORDS && queues.records.back() != Some(&end))
        {
            queues.records.push_back(end);
        }
    }

    /// More follows what was handed over last (`MSG_MORE`), so that its end is not pushed; or does not.
    pub fn set_unpushed(&mut self, is_unpushed: bool) {
        if self.queues.is_some() || is_unpushed {
            self.queues.get_or_insert_default().is_unpushed = is_unpushed;
        }
    }

    /// Whether what is no full segment is held back.
    pub fn is_corked(&self) -> bool {
        self.is_corked
    }

    /// Holds back what is no full segment, or lets it leave again (`TCP_CORK`): for 200 ms at most, or until the stream ends, or
    /// until [`Connection::push_all`].
    pub fn set_corked(&mut self, is_corked: bool) {
        if self.is_corked && !is_corked {
            self.push_all();
        }
        self.is_corked = is_corked;
    }

    /// Whether letting the connection go resets the other side and drops what it has not taken (`SO_LINGER` with a time of zero).
    pub fn set_zero_linger(&mut self, is_zero: bool) {
        self.has_zero_linger = is_zero;
    }

    pub(in crate::tcp) fn has_zero_linger(&self) -> bool {
        self.has_zero_linger
    }

    /// Whether the other side has acknowledged all that was handed over, and the end of our stream: who lingers waits for that, as
    /// long as it likes (`SO_LINGER`), before it lets the connection go. What was not acknowledged when a connection failed never is.
    pub fn is_drained(&self) -> bool {
        self.fin == Fin::Acked
    }

    /// Ends our stream: what was handed over is sent, then FIN. Receiving goes on (RFC 9293 §3.10.4).
    pub fn close(&mut self) {
        if self.fin != Fin::Open {
            return;
        }
        match self.state {
            State::SynSent => self.end(),
            State::SynReceived | State::Established | State::CloseWait => self.fin = Fin::Queued,
            _ => {}
        }
    }

    /// Ends the connection at once, and answers with the reset that tells the other side, if it has to be told (RFC 9293 §3.10.5).
    pub fn reset(&mut self, now: Instant) -> Option<TcpHeader> {
        let must_tell = !matches!(self.state, State::SynSent | State::TimeWait | State::Closed);
        let (flags, seq, ack) = (TcpFlags::RST | TcpFlags::ACK, self.snd_nxt, self.rcv_nxt);
        // RFC 7323 §5.2 has resets carry them too.
        let timestamps = TcpTimestamps { tsval: self.ts_now(now), tsecr: self.ts_recent };
        let options =
            TcpOptions { timestamps: self.agreed.has_timestamps.then_some(timestamps), ..TcpOptions::default() };
        self.end();
        self.failure = Some(Failure::Reset);
        must_tell.then(|| TcpHeader { flags, seq, ack, options, ..TcpHeader::default() })
    }

    /// The application lets it go, having ended it in whatever way: it must come to an end by itself.
    pub(in crate::tcp) fn let_go(&mut self, now: Instant) {
        self.is_orphan = true;
        self.wait_for_end(now);
    }

    pub(in crate::tcp) fn is_orphan(&self) -> bool {
        self.is_orphan
    }

    /// Whether an acknowledgement is due.
    pub(in crate::tcp) fn must_acknowledge(&self) -> bool {
        self.acks.is_at_once()
    }

    /// Whether an acknowledgement is due, or will be.
    pub(in crate::tcp) fn owes_ack(&self, now: Instant) -> bool {
        self.acks.is_due(now) || self.acks.deadline().is_some()
    }

    /// What has to be remembered of a connection in [`State::TimeWait`], which is over then. What was received can still be
    /// read.
    pub(in crate::tcp) fn retire(&mut self, now: Instant) -> TimeWait {
        let rest = TimeWait {
            snd_nxt: self.snd_nxt,
            rcv_nxt: self.rcv_nxt,
            ts_recent: self.ts_recent,
            ts_offset: self.ts_offset,
            has_timestamps: self.agreed.has_timestamps,
            ends_at: now + time_wait::DURATION,
            since_secs: time_wait::seconds(now),
        };
        self.end();
        rest
    }
}
