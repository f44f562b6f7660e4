//! When the connection wants to be looked at though nothing has arrived.

use core::time::Duration;

use super::{Connection, Failure, Fin, Options, State};
use crate::time::Instant;

/// What the one timer of the sending side is for: at any time one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Nothing was acknowledged for too long (RFC 6298 §5).
    Timeout,
    /// What was sent last may be lost, which no later segment can show (RFC 8985 §7.2).
    Probe,
    /// A segment that is late is lost by then (RFC 8985 §6.2, step 5).
    Reordering,
    /// The window is closed, and the segment that opens it may be lost (RFC 9293 §3.8.6.1).
    Persist,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct RetransmitTimer {
    pub(super) purpose: Purpose,
    pub(super) deadline: Instant,
}

impl Connection {
    /// When to call [`Connection::handle_timeout`], if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        let retransmit = self.retransmit_timer.map(|timer| timer.deadline);
        [retransmit, self.acks.deadline(), self.keepalive_deadline()].into_iter().flatten().min()
    }

    /// Time has passed. Ask [`Connection::poll_transmit`] afterwards.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(timer) = self.retransmit_timer.filter(|timer| timer.deadline <= now) {
            self.retransmit_timer = None;
            match timer.purpose {
                Purpose::Timeout => self.on_retransmission_timeout(now),
                Purpose::Probe => self.on_probe_timeout(now),
                Purpose::Reordering => self.on_reordering_timeout(now),
                Purpose::Persist => self.on_persist_timeout(now),
            }
        }
        if self.keepalive_deadline().is_some_and(|deadline| deadline <= now) {
            self.on_keepalive_timeout(now);
        }
    }

    pub(super) fn set_timer(&mut self, purpose: Purpose, deadline: Instant) {
        self.retransmit_timer = Some(RetransmitTimer { purpose, deadline });
    }

    /// Chooses what the sending side waits for, after something was sent or acknowledged.
    pub(super) fn rearm(&mut self, now: Instant) {
        self.retransmit_timer = None;
        if matches!(self.state, State::SynSent | State::SynReceived) || self.in_flight() + self.lost() > 0 {
            let timeout = now + self.rto.timeout();
            match self.probe_deadline(now).filter(|probe| *probe < timeout) {
                Some(probe) => self.set_timer(Purpose::Probe, probe),
                None => self.set_timer(Purpose::Timeout, timeout),
            }
        } else if self.unsent_bytes > 0 || self.fin == Fin::Queued {
            // Nothing is under way and something is held back: only the other side's window can have done that.
            self.set_timer(Purpose::Persist, now + self.rto.timeout());
        }
    }

    /// RFC 6298 §5.4 to §5.7.
    fn on_retransmission_timeout(&mut self, now: Instant) {
        let is_opening = matches!(self.state, State::SynSent | State::SynReceived);
        let limit = if is_opening { Options::MAX_SYN_TIMEOUTS } else { Options::MAX_TIMEOUTS };
        if self.timeouts >= limit || self.is_user_timeout_over(now) {
            self.fail(Failure::TimedOut);
            return;
        }
        self.timeouts += 1;
        if is_opening {
            self.must_send_syn = true;
        } else {
            self.begin_loss(now);
        }
        self.rto.on_timeout();
        self.set_timer(Purpose::Timeout, now + self.rto.timeout());
    }

    fn on_persist_timeout(&mut self, now: Instant) {
        // Answers to probes keep it open for ever (RFC 9293 §3.8.6.1), silence does not.
        if self.timeouts >= Options::MAX_TIMEOUTS || self.is_user_timeout_over(now) {
            self.fail(Failure::TimedOut);
            return;
        }
        self.timeouts += 1;
        // What fits goes out, though it is little (RFC 9293 §3.8.6.2.1, override timeout); into a closed window a question.
        self.may_send_little = self.peer_room() > 0;
        self.must_ask = !self.may_send_little;
        self.rto.on_timeout();
        self.set_timer(Purpose::Persist, now + self.rto.timeout());
    }

    fn is_user_timeout_over(&self, now: Instant) -> bool {
        self.options.user_timeout.is_some_and(|limit| now - self.last_heard_at >= limit)
    }

    fn keepalive_deadline(&self) -> Option<Instant> {
        let keepalive = self.options.keepalive.filter(|_| self.is_synchronized() && self.is_all_acknowledged())?;
        let probes = u32::from(self.keepalive_probes);
        Some(self.last_heard_at + keepalive.idle + keepalive.interval * probes)
    }

    fn on_keepalive_timeout(&mut self, now: Instant) {
        let Some(keepalive) = self.options.keepalive else { return };
        if self.keepalive_probes >= keepalive.probes || self.is_user_timeout_over(now) {
            self.fail(Failure::TimedOut);
        } else {
            self.keepalive_probes += 1;
            self.must_ask = true;
        }
    }

    /// When a probe is due (RFC 8985 §7.2): two round trips after the last segment was sent, and the other side's delay if that
    /// may hold back the acknowledgement of a single one.
    fn probe_deadline(&self, now: Instant) -> Option<Instant> {
        /// The longest delay of acknowledgements in use, as in RFC 8985 §7.2.
        const DELAYED_ACK: Duration = Duration::from_millis(200);

        let may_probe = self.agreed.has_sack && self.recovery.is_none() && self.probe.is_none() && self.sacked() == 0;
        let srtt = self.rto.srtt().filter(|_| may_probe)?;
        let is_single = self.in_flight() <= self.snd_mss;
        let wait = if is_single { 2 * srtt + DELAYED_ACK } else { 2 * srtt };
        Some(self.last_sent_at.max(now) + wait)
    }
}
