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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    Nothing,
    By(Instant),
    Now,
}

impl Default for AckPolicy {
    fn default() -> Self {
        Self { owed: Owed::Nothing, bytes: 0, quick: QUICK_ACKS }
    }
}

impl AckPolicy {
    /// Data came in order: every second full segment is acknowledged at once (RFC 9293 §3.8.6.3).
    pub(super) fn on_data(&mut self, now: Instant, bytes: u32, mss: u32) {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes >= 2 * mss || self.quick > 0 {
            self.quick = self.quick.saturating_sub(1);
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
