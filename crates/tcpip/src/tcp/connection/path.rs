//! What the path says about segments that did not arrive.

use sunstar_wire::Seq;

use super::{Connection, Failure, State};
use crate::path::{MIN_PATH_MTU, PathError};
use crate::tcp::congestion::Window;
use crate::time::Instant;

/// Bytes of headers without options, and of timestamps.
const HEADER_BYTES: u16 = 40;
const TIMESTAMPS_BYTES: u16 = 12;

impl Connection {
    /// A segment of ours with the number `seq` was refused on its way. Answers whether that is believed: only what is in flight can
    /// have been refused (RFC 5927 §4.1). Ask [`Connection::poll_transmit`] afterwards.
    ///
    /// While the connection is being opened it ends it; later it is only remembered, for the case that nothing arrives any more
    /// (RFC 1122 §4.2.3.9, RFC 5461 §4.1).
    pub fn handle_path_error(&mut self, now: Instant, seq: Seq, error: PathError) -> bool {
        let is_syn = self.syn.is_unconfirmed() && seq == self.iss;
        let is_in_flight =
            is_syn || seq.is_within(self.snd_una, self.snd_nxt - self.snd_una) || planted::is("forged_error");
        if self.state == State::Closed || !is_in_flight {
            return false;
        }
        match error {
            PathError::TooBig { mtu } => self.on_too_big(now, mtu),
            _ if !matches!(self.state, State::SynSent | State::SynReceived) && !self.syn.is_unconfirmed() => {
                self.is_path_broken = true;
            }
            PathError::Port | PathError::Protocol => self.fail(Failure::Refused),
            _ => self.fail(Failure::Unreachable),
        }
        true
    }

    /// RFC 1191 §6.4: what was too big is sent again in smaller pieces at once, and that is no sign of congestion.
    fn on_too_big(&mut self, now: Instant, mtu: u16) {
        let options = if self.agreed.has_timestamps() { TIMESTAMPS_BYTES } else { 0 };
        let mss = u32::from(mtu.max(MIN_PATH_MTU) - HEADER_BYTES - options);
        if !self.on_told_mss(now, mss) {
            return;
        }
        if self.state == State::SynSent || self.state == State::SynReceived {
            self.snd_mss = mss;
            self.window = Window::new(mss);
            self.open_plainly(mtu.max(MIN_PATH_MTU) - HEADER_BYTES);
        } else if mss < self.snd_mss {
            self.send_smaller(now, mss);
        }
    }

    /// When the newest of what has arrived at the other side was sent: the way there was open then.
    pub(in crate::tcp) fn last_delivered(&self) -> Option<Instant> {
        self.rack.last_delivered()
    }

    /// The address that it speaks from is gone.
    pub(in crate::tcp) fn cut_off(&mut self) {
        self.fail(Failure::Unreachable);
    }

    /// Why a connection ends that nothing arrives at any more.
    pub(super) fn silence(&self) -> Failure {
        if self.is_path_broken { Failure::Unreachable } else { Failure::TimedOut }
    }
}
