//! When the connection wants to be looked at though nothing has arrived.

use core::num::NonZeroU64;

use super::{Connection, Fin, Options, State};
use crate::stack::earliest;
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
    /// Nobody is there any more to whom the rest of the other side's stream would matter.
    Orphan,
}

/// Purpose and deadline in one word, since every connection has one.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetransmitTimer(NonZeroU64);

/// The deadline, in microseconds, lies above the bits of the purpose.
const PURPOSE_BITS: u32 = 4;

impl RetransmitTimer {
    fn new(purpose: Purpose, deadline: Instant) -> Self {
        let deadline = deadline.as_micros().min(u64::MAX >> PURPOSE_BITS);
        Self(purpose.bits() | (deadline << PURPOSE_BITS))
    }

    #[inline]
    pub(super) fn is_for(self, purpose: Purpose) -> bool {
        self.0.get() & ((1 << PURPOSE_BITS) - 1) == purpose.bits().get()
    }

    #[inline]
    pub(super) fn deadline(self) -> Instant {
        Instant::from_micros(self.0.get() >> PURPOSE_BITS)
    }
}

impl Purpose {
    const ALL: [Self; 5] = [Self::Timeout, Self::Probe, Self::Reordering, Self::Persist, Self::Orphan];

    /// Never zero, and less than 16.
    #[inline]
    const fn bits(self) -> NonZeroU64 {
        NonZeroU64::MIN.saturating_add(self as u64)
    }
}

impl Connection {
    /// When to call [`Connection::handle_timeout`], if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        let retransmit = self.retransmit_timer.map_or(Instant::NEVER, RetransmitTimer::deadline);
        let ack = self.acks.deadline().unwrap_or(Instant::NEVER);
        let held = self.held_until().unwrap_or(Instant::NEVER);
        let keepalive = self.keepalive_deadline().unwrap_or(Instant::NEVER);
        let first = retransmit.min(ack).min(held).min(keepalive);
        (first != Instant::NEVER).then_some(first)
    }

    /// Time has passed. Ask [`Connection::poll_transmit`] afterwards.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(timer) = self.retransmit_timer.take_if(|timer| timer.deadline() <= now) {
            match Purpose::ALL.into_iter().find(|purpose| timer.is_for(*purpose)) {
                Some(Purpose::Timeout) => self.on_retransmission_timeout(now),
                Some(Purpose::Probe) => self.on_probe_timeout(now),
                Some(Purpose::Reordering) => self.on_reordering_timeout(now),
                Some(Purpose::Persist) => self.on_persist_timeout(now),
                Some(Purpose::Orphan) | None => self.end(),
            }
        }
        if self.corked_until().is_some_and(|deadline| deadline <= now) {
            self.set_unpushed(false);
            self.push_all();
        }
        if let Some(queues) = &mut self.queues {
            queues.departure.on_timeout(now);
        }
        if self.keepalive_deadline().is_some_and(|deadline| deadline <= now) {
            self.on_keepalive_timeout(now);
        }
    }

    /// When what is held back looks again.
    fn held_until(&self) -> Option<Instant> {
        let queues = self.queues.as_deref()?;
        earliest(queues.corked_until, queues.departure.deadline())
    }

    fn corked_until(&self) -> Option<Instant> {
        self.queues.as_ref()?.corked_until
    }

    pub(super) fn set_timer(&mut self, purpose: Purpose, deadline: Instant) {
        self.retransmit_timer = Some(RetransmitTimer::new(purpose, deadline));
    }

    /// Whether the timer is for a segment that is late, and must stay so.
    #[inline]
    pub(super) fn waits_for_late(&self) -> bool {
        self.retransmit_timer.is_some_and(|timer| timer.is_for(Purpose::Reordering))
    }

    /// Chooses what the sending side waits for, after something was sent or acknowledged.
    pub(super) fn rearm(&mut self, now: Instant) {
        if self.retransmit_timer.is_some_and(|timer| timer.is_for(Purpose::Orphan)) {
            return;
        }
        let running = self.retransmit_timer.take();
        if self.is_given_up_silently() {
            return;
        }
        if self.is_opening() || self.in_flight() + self.lost() > 0 {
            let timeout = now.after_micros(self.rto.timeout_micros());
            match self.probe_deadline(now) {
                // A timeout that would come before is a probe too (RFC 8985 §7.2, the last sentence).
                Some(probe) => self.set_timer(Purpose::Probe, probe.min(timeout)),
                None => self.set_timer(Purpose::Timeout, timeout),
            }
        } else if (self.unsent_bytes > 0 || self.fin == Fin::Queued) && !planted::is("closed_window_unasked") {
            // Nothing is under way and something is held back: only the other side's window can have done that.
            let deadline = now.after_micros(self.rto.timeout_micros());
            // What would fit is not put off by whatever else the other side says (RFC 9293 §3.8.6.2.1, override timeout).
            let is_put_off = |timer: &RetransmitTimer| timer.is_for(Purpose::Persist) && self.peer_room() > 0;
            let waits_until = running.filter(is_put_off).map_or(Instant::NEVER, RetransmitTimer::deadline);
            self.set_timer(Purpose::Persist, deadline.min(waits_until));
        }
    }

    /// Does not wait for ever for the end of a stream that nobody reads.
    pub(super) fn wait_for_end(&mut self, now: Instant) {
        if self.is_orphan && self.state == State::FinWait2 {
            self.set_timer(Purpose::Orphan, now + Options::ORPHAN_WAIT);
        }
    }

    /// Whether the other side is there, but has not taken anything for so long that what was left to the connection will never be
    /// sent: nobody else is there to end it.
    pub(in crate::tcp) fn is_abandoned(&self, now: Instant) -> bool {
        let timer = self.retransmit_timer.filter(|timer| timer.is_for(Purpose::Persist) && timer.deadline() <= now);
        timer.is_some() && self.is_orphan && self.rto.backoff() >= Options::MAX_ORPHAN_TIMEOUTS
    }

    /// Whether our SYN is not acknowledged.
    fn is_opening(&self) -> bool {
        matches!(self.state, State::SynSent | State::SynReceived) || self.syn.is_unconfirmed()
    }

    fn max_timeouts(&self) -> u8 {
        match self.is_orphan {
            _ if self.is_opening() => self.options.syn_retries,
            true => Options::MAX_ORPHAN_TIMEOUTS,
            false => Options::MAX_TIMEOUTS,
        }
    }

    /// RFC 6298 §5.4 to §5.7.
    fn on_retransmission_timeout(&mut self, now: Instant) {
        let is_opening = self.is_opening();
        if self.timeouts >= self.max_timeouts() || self.is_user_timeout_over(now) {
            self.fail(self.silence());
            return;
        }
        self.timeouts += 1;
        self.history().timeouts.on_timeout(now);
        if is_opening {
            self.syn.set_due(true);
        } else {
            self.begin_loss(now);
            self.look_for_black_hole(now);
        }
        self.rto.on_timeout();
        if !self.is_given_up_silently() {
            self.set_timer(Purpose::Timeout, self.within_user_timeout(now, now + self.rto.timeout()));
        }
    }

    /// Never, but for a bug.
    fn is_given_up_silently(&self) -> bool {
        self.timeouts >= 3 && planted::is("timer_not_rearmed")
    }

    fn on_persist_timeout(&mut self, now: Instant) {
        // Answers to probes keep it open for ever (RFC 9293 §3.8.6.1), silence does not.
        if self.timeouts >= self.max_timeouts() || self.is_user_timeout_over(now) {
            self.fail(self.silence());
            return;
        }
        self.timeouts += 1;
        // What fits goes out, though it is little (RFC 9293 §3.8.6.2.1, override timeout); into a closed window a question.
        self.may_send_little = self.peer_room() > 0;
        self.must_ask = !self.may_send_little;
        if self.must_ask {
            self.announce_urgent();
        }
        self.rto.on_timeout();
        self.set_timer(Purpose::Persist, self.within_user_timeout(now, now + self.rto.timeout()));
    }

    /// When the application has waited long enough (RFC 5482), if it has said how long that is.
    fn user_timeout_at(&self) -> Option<Instant> {
        // What was sent late is not overdue because the other side had nothing to say before.
        let since = self.queues.as_ref().map_or(self.last_heard_at, |queues| queues.busy_since.max(self.last_heard_at));
        self.options.user_timeout.map(|limit| since + limit)
    }

    fn is_user_timeout_over(&self, now: Instant) -> bool {
        self.user_timeout_at().is_some_and(|end| end <= now)
    }

    /// A time to wait until, or the application's if that comes before: it is not to be told late because we ask ever more seldom.
    fn within_user_timeout(&self, now: Instant, deadline: Instant) -> Instant {
        self.user_timeout_at().filter(|end| *end > now).map_or(deadline, |end| end.min(deadline))
    }

    fn keepalive_deadline(&self) -> Option<Instant> {
        let keepalive = self.options.keepalive.filter(|_| self.is_synchronized() && self.is_all_acknowledged())?;
        let probes = u32::from(self.keepalive_probes);
        Some(self.last_heard_at + keepalive.idle + keepalive.interval * probes)
    }

    fn on_keepalive_timeout(&mut self, now: Instant) {
        let Some(keepalive) = self.options.keepalive else { return };
        if self.keepalive_probes >= keepalive.probes || self.is_user_timeout_over(now) {
            self.fail(self.silence());
        } else {
            self.keepalive_probes += 1;
            self.must_ask = true;
        }
    }

    /// When a probe is due (RFC 8985 §7.2): two round trips after the last segment was sent, and the other side's delay if that
    /// may hold back the acknowledgement of a single one.
    fn probe_deadline(&self, now: Instant) -> Option<Instant> {
        /// The longest delay of acknowledgements in use, as in RFC 8985 §7.2.
        const DELAYED_ACK_MICROS: u64 = 200_000;

        let may_probe = self.agreed.has_sack && self.recovery.is_none() && self.probe.is_none() && self.sacked() == 0;
        let srtt = self.rto.srtt_micros().filter(|_| may_probe)?;
        let is_single = self.in_flight() <= self.snd_mss;
        let wait = u64::from(srtt) * 2 + if is_single { DELAYED_ACK_MICROS } else { 0 };
        Some(self.last_sent_at.max(now).after_micros(wait))
    }
}
