//! The standard algorithm.

use super::{Ack, CongestionControl, SlowStart, Window};

/// NewReno: one segment more per round trip, half the window at a loss (RFC 5681, RFC 6582), counting bytes (RFC 3465).
#[derive(Clone, Copy, Debug, Default)]
pub struct NewReno {
    slow_start: SlowStart,
    /// Bytes that were acknowledged since the window grew last.
    acked: u32,
}

impl CongestionControl for NewReno {
    fn on_ack(&mut self, window: &mut Window, ack: &Ack) {
        if window.is_in_slow_start() {
            self.slow_start.on_ack(window, ack);
        } else if ack.is_cwnd_limited {
            self.acked = self.acked.saturating_add(ack.bytes);
            if self.acked >= window.cwnd {
                self.acked -= window.cwnd;
                window.grow(window.mss);
            }
        }
    }

    fn on_loss(&mut self, window: &mut Window) {
        self.slow_start.end();
        self.acked = 0;
        window.reduce(1, 2);
    }

    fn on_timeout(&mut self, window: &mut Window) {
        self.on_loss(window);
        window.cwnd = window.mss;
    }
}
