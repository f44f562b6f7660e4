//! When to acknowledge.

use core::time::Duration;

use crate::time::Instant;

/// An acknowledgement waits so long for data to go with, RFC 9293 §3.8.6.3 (which allows 500 ms), as in Linux.
pub(super) const DELAY: Duration = Duration::from_millis(40);

/// So many segments of a connection are acknowledged at once, since its sender is in slow start, as in Linux.
const QUICK_ACKS: u8 = 16;

/// Which acknowledgement is owed.
#[derive(Clone, Copy, Debug)]
pub(super) struct AckPolicy {
    owed: Owed,
    /// Bytes that came since the last acknowledgement.
    bytes: u32,
    quick: u8,
    /// Answers follow what is received: they carry its acknowledgements (the "ping-pong mode" of Linux).
    is_interactive: bool,
    /// When data came last, by [`clock`]; zero if none have.
    data_at: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    Nothing,
    By(Instant),
    Now,
}

impl Default for AckPolicy {
    fn default() -> Self {
        Self { owed: Owed::Nothing, bytes: 0, quick: QUICK_ACKS, is_interactive: false, data_at: 0 }
    }
}

/// What is sent before so much time has passed since data came, by [`clock`], is an answer to them: [`DELAY`].
const FRESH: u16 = 40_000 >> 10;

/// A clock that counts 1,024 microseconds, wraps around, and is never zero.
#[expect(clippy::cast_possible_truncation, reason = "it wraps around")]
const fn clock(now: Instant) -> u16 {
    match (now.as_micros() >> 10) as u16 {
        0 => 1,
        count => count,
    }
}

impl AckPolicy {
    /// Data came in order: every second full segment is acknowledged at once (RFC 9293 §3.8.6.3).
    pub(super) fn on_data(&mut self, now: Instant, bytes: u32, mss: u32) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.data_at = clock(now);
        let is_quick = self.quick > 0 && !self.is_interactive;
        if self.bytes >= 2 * mss || is_quick {
            self.quick = self.quick.saturating_sub(u8::from(is_quick));
            self.owed = Owed::Now;
        } else if self.owed == Owed::Nothing {
            self.owed = Owed::By(now + DELAY);
        }
    }

    /// Something must be told at once: a gap, the end of one, a duplicate, the end of the stream (RFC 5681 §4.2).
    pub(super) fn at_once(&mut self) {
        self.owed = Owed::Now;
    }

    /// The sender has lost something or was idle: it will be in slow start.
    pub(super) fn be_quick(&mut self) {
        self.quick = QUICK_ACKS;
        self.is_interactive = false;
    }

    /// What is sent next is no answer to anything: it had been waiting.
    pub(super) fn no_answer(&mut self, now: Instant) {
        /// Long ago, as the clock wraps around.
        const LONG_AGO: u16 = 0x8000;

        self.data_at = clock(now).wrapping_sub(LONG_AGO).max(1);
    }

    /// Data are sent. If some came just before, or the answer to our SYN, they are an answer; and the next ones may carry what is owed.
    pub(super) fn on_data_sent(&mut self, now: Instant) {
        let is_first = self.data_at == 0;
        let is_fresh = clock(now).wrapping_sub(self.data_at) < FRESH;
        self.is_interactive |= if is_first { self.owed == Owed::Now } else { is_fresh };
    }

    /// A segment with an acknowledgement has left.
    pub(super) fn on_sent(&mut self) {
        self.owed = Owed::Nothing;
        self.bytes = 0;
    }

    /// Whether it is due whatever the time.
    pub(super) fn is_at_once(&self) -> bool {
        self.owed == Owed::Now
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        match self.owed {
            Owed::Nothing => false,
            Owed::By(deadline) => deadline <= now,
            Owed::Now => true,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.owed {
            Owed::By(deadline) => Some(deadline),
            Owed::Nothing | Owed::Now => None,
        }
    }
}
