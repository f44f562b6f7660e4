//! How long a connection had something to send, and what held it up (`tcp_chrono` of Linux).

use core::time::Duration;

use super::{Connection, Queues, State};
use crate::time::Instant;

/// Times are counted in so many binary digits of microseconds, by a clock that turns after 19 hours.
const TICK_SHIFT: u32 = 4;

#[expect(clippy::cast_possible_truncation, reason = "it turns")]
const fn ticks(now: Instant) -> u32 {
    (now.as_micros() >> TICK_SHIFT) as u32
}

/// What a connection is doing with what it has to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// There is nothing that is not acknowledged.
    #[default]
    Idle,
    Busy,
    /// The other side's window keeps what waits from leaving.
    PeerWindow,
    /// The send buffer is full, and all in it has left.
    SendBuffer,
}

/// What it is doing, and since when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sending {
    phase: Phase,
    since: u32,
}

/// For how long it was held up, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HeldUp {
    by_peer_window: u32,
    by_send_buffer: u32,
}

/// The same, as it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) busy: Duration,
    pub(super) by_peer_window: Duration,
    pub(super) by_send_buffer: Duration,
}

impl Connection {
    /// All that can be sent has been: notes what is waited for.
    pub(in crate::tcp) fn note_sending(&mut self, now: Instant) {
        let phase = self.phase();
        let Some(queues) = &mut self.queues else { return };
        if queues.sending.phase != phase {
            let was = core::mem::replace(&mut queues.sending, Sending { phase, since: ticks(now) });
            self.count(was, ticks(now));
        }
    }

    /// Nothing will be sent any more.
    pub(super) fn stop_sending(&mut self) {
        if let Some(queues) = &mut self.queues {
            queues.sending = Sending::default();
        }
    }

    fn phase(&self) -> Phase {
        let is_opening = matches!(self.state, State::SynSent | State::SynReceived);
        let has_nothing = |queues: &Queues| queues.unsent.is_empty() && queues.board.is_empty();
        if is_opening || self.queues.as_deref().is_none_or(has_nothing) {
            return Phase::Idle;
        }
        let by_network = || self.window.cwnd.saturating_sub(self.pipe());
        if self.unsent_bytes > 0 {
            let is_shut = self.peer_room() < self.unsent_bytes.min(self.snd_mss).min(by_network());
            return if is_shut { Phase::PeerWindow } else { Phase::Busy };
        }
        let sent = self.snd_nxt - self.snd_una;
        let has_no_room = || sent >= self.options.send_capacity && sent >= self.send_capacity();
        let awaits_room = self.queues.as_deref().is_some_and(|queues| queues.awaits_room);
        let is_full = (awaits_room || has_no_room()) && by_network() > 0;
        if is_full { Phase::SendBuffer } else { Phase::Busy }
    }

    fn count(&mut self, was: Sending, now: u32) {
        let elapsed = now.wrapping_sub(was.since);
        match was.phase {
            Phase::Idle => return,
            Phase::Busy => {}
            Phase::PeerWindow => {
                let held_up = &mut self.history().held_up;
                held_up.by_peer_window = held_up.by_peer_window.wrapping_add(elapsed);
            }
            Phase::SendBuffer => {
                let held_up = &mut self.history().held_up;
                held_up.by_send_buffer = held_up.by_send_buffer.wrapping_add(elapsed);
            }
        }
        self.totals.on_busy(elapsed);
    }

    /// For how long it has been sending, and was held up, until now.
    pub(super) fn times(&self, now: Instant) -> Times {
        let sending = self.queues.as_deref().map(|queues| queues.sending).unwrap_or_default();
        let present = |phases: &[Phase]| {
            if phases.contains(&sending.phase) { ticks(now).wrapping_sub(sending.since) } else { 0 }
        };
        let time = |ticks: u32| Duration::from_micros(u64::from(ticks) << TICK_SHIFT);
        let HeldUp { by_peer_window, by_send_buffer } =
            self.history.as_deref().map(|history| history.held_up).unwrap_or_default();
        Times {
            busy: time(self.totals.busy_ticks().wrapping_add(present(&[
                Phase::Busy,
                Phase::PeerWindow,
                Phase::SendBuffer,
            ]))),
            by_peer_window: time(by_peer_window.wrapping_add(present(&[Phase::PeerWindow]))),
            by_send_buffer: time(by_send_buffer.wrapping_add(present(&[Phase::SendBuffer]))),
        }
    }
}
