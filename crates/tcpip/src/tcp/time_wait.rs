//! What is left of a connection that both sides have ended.

use core::time::Duration;

use sunstar_wire::{Seq, TcpFlags, TcpHeader, TcpOptions, TcpTimestamps};

use super::connection::Segment;
use super::half_open::ts_clock;
use crate::time::Instant;

#[cfg(test)]
mod tests;

/// How long a connection is remembered, RFC 9293 §3.6.1 (which asks for four minutes), as in Linux.
pub const DURATION: Duration = Duration::from_secs(60);

/// So long the other side's end, when it comes again, has it remembered anew: that is how long RFC 9293 §3.6.1 has it remembered. Who
/// repeats it for ever does not keep it for ever.
pub const RENEWABLE: Duration = Duration::from_secs(240);

/// TIME-WAIT (RFC 9293 §3.3.2): answers when the other side has not heard our last acknowledgement, and keeps old segments from
/// a new connection of the same ports.
#[derive(Clone, Copy, Debug)]
pub struct TimeWait {
    pub(super) snd_nxt: Seq,
    pub(super) rcv_nxt: Seq,
    pub(super) ts_recent: u32,
    pub(super) ts_offset: u32,
    pub(super) has_timestamps: bool,
    pub(super) ends_at: Instant,
    /// When it was over, in seconds of the clock, which may wrap.
    pub(super) since_secs: u32,
}

/// What a segment means for a connection that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Ignore,
    /// It is over, and nothing is answered.
    End,
    /// The last acknowledgement again.
    Answer(TcpHeader),
    /// A new connection of the same ports, if there is somebody for whom it can be opened: what is old can be told from what is new. It
    /// has to begin beyond the numbers of the old one. If not, the last acknowledgement is the answer.
    Reopen,
}

impl TimeWait {
    /// When nothing is left.
    pub fn deadline(&self) -> Instant {
        self.ends_at
    }

    /// A segment of these ports and addresses has come.
    pub fn handle_segment(&mut self, now: Instant, segment: &Segment) -> Verdict {
        let header = &segment.header;
        if header.flags.contains(TcpFlags::RST) {
            // Who has begun anew refuses our last acknowledgement with its number, and can't open a connection before this is over. An old
            // reset may have that number too (RFC 1337 §2), which is the rarer harm; with any other number it ends nothing.
            return if header.seq == self.rcv_nxt { Verdict::End } else { Verdict::Ignore };
        }
        if header.flags.contains(TcpFlags::SYN) && !header.flags.contains(TcpFlags::ACK) && self.is_newer(header) {
            return Verdict::Reopen;
        }
        if header.flags.contains(TcpFlags::FIN) {
            if self.is_last_again(segment) && self.is_renewable(now) {
                self.ends_at = now + DURATION;
            }
        } else if segment.payload.is_empty() && header.seq == self.rcv_nxt {
            return Verdict::Ignore;
        }
        Verdict::Answer(self.answer(now))
    }

    /// RFC 6191 §2: by timestamps, or by a number beyond all that was used.
    fn is_newer(&self, header: &TcpHeader) -> bool {
        match header.options.timestamps.filter(|_| self.has_timestamps) {
            Some(timestamps) => timestamps.tsval.wrapping_sub(self.ts_recent).cast_signed() > 0,
            None => header.seq.is_after(self.rcv_nxt),
        }
    }

    /// Whether it is the other side's end once more, which is all that may come (RFC 9293 §3.10.7.4), and no old segment (RFC 7323 §5.3).
    fn is_last_again(&self, segment: &Segment) -> bool {
        let header = &segment.header;
        let timestamps = header.options.timestamps.filter(|_| self.has_timestamps);
        let is_older = timestamps.is_some_and(|both| both.tsval.wrapping_sub(self.ts_recent).cast_signed() < 0);
        let is_plain = header.flags.contains(TcpFlags::ACK) && !header.flags.contains(TcpFlags::SYN);
        is_plain && !is_older && header.seq + segment.len() == self.rcv_nxt
    }

    fn is_renewable(&self, now: Instant) -> bool {
        u64::from(seconds(now).wrapping_sub(self.since_secs)) < RENEWABLE.as_secs()
    }

    /// The first number of a connection that takes its place, and else would begin at `iss`: beyond all that was sent in this one (RFC 9293
    /// §3.10.7.4, MAY-2), and as in Linux beyond what the other side's window may have let in.
    pub(super) fn next_iss(&self, iss: Seq) -> Seq {
        const GAP: u32 = 65_537;
        let least = self.snd_nxt + GAP;
        if iss.is_after(least) { iss } else { least }
    }

    /// The last acknowledgement.
    pub(super) fn answer(&self, now: Instant) -> TcpHeader {
        let timestamps = TcpTimestamps { tsval: ts_clock(now, self.ts_offset), tsecr: self.ts_recent };
        let options = TcpOptions { timestamps: self.has_timestamps.then_some(timestamps), ..TcpOptions::default() };
        TcpHeader { flags: TcpFlags::ACK, seq: self.snd_nxt, ack: self.rcv_nxt, options, ..TcpHeader::default() }
    }
}

/// The clock in seconds.
pub(super) fn seconds(now: Instant) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "a clock that wraps")]
    let seconds = (now.as_micros() / 1_000_000) as u32;
    seconds
}
