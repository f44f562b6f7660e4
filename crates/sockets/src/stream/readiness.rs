//! What a socket is ready for, and what has changed since it was looked at last.

use sunstar_tcpip::tcp::connection::{Connection, State};
use sunstar_tcpip::time::Instant;

use super::{Phase, Stream, World};
use crate::numbers::ready;

/// A socket as it was looked at last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    received: u64,
    /// When bytes came last, or the connection was seen first.
    pub(super) data_at: Instant,
    acceptable: usize,
    acked: u64,
    pub(super) has_peer_ended: bool,
    state: Option<State>,
    /// Somebody was told that there is no room, and is to hear when there is.
    pub(super) lacks_space: bool,
}

impl Stream {
    /// What can be done now without waiting: the bits of poll(2).
    pub(crate) fn readiness(&mut self, world: &mut World<'_>) -> u32 {
        if let Phase::Listening(listener) = self.phase {
            return if world.stack.tcp().acceptable(listener) > 0 { ready::IN | ready::RDNORM } else { 0 };
        }
        if self.deferred.is_some() {
            return ready::OUT | ready::WRNORM;
        }
        self.note_failure(world.stack);
        let state = self.state(world.stack);
        let has_shut_read = self.has_shut_read || self.has_peer_ended_or_will(world);
        let mut mask = 0;
        if has_shut_read && self.has_shut_write || state == State::Closed {
            mask |= ready::HUP;
        }
        if has_shut_read {
            mask |= ready::IN | ready::RDNORM | ready::RDHUP;
        }
        if !matches!(state, State::SynSent | State::SynReceived) {
            if self.has_urgent(world) {
                mask |= ready::PRI;
            }
            if self.readable(world) >= self.wishes.receive_low_water() {
                mask |= ready::IN | ready::RDNORM;
            }
            if self.has_shut_write || self.is_writable(world) {
                mask |= ready::OUT | ready::WRNORM;
            } else {
                self.set_lacks_space(world, true);
            }
        }
        if self.error.is_some() || self.notices.is_any_waiting() {
            mask |= ready::ERR;
        }
        mask
    }

    /// Whether the end of the other side's stream has come, though there may be bytes before it.
    fn has_peer_ended_or_will(&self, world: &mut World<'_>) -> bool {
        self.connection(world.stack).is_some_and(Connection::has_peer_ended)
    }

    /// Somebody was told that there is no room, or that there is again; the connection counts for how long that held it up.
    pub(super) fn set_lacks_space(&mut self, world: &mut World<'_>, lacks_space: bool) {
        self.seen.lacks_space = lacks_space;
        if let Phase::Open(id) = self.phase {
            world.stack.tcp().configure(id, |connection| connection.set_awaits_room(lacks_space));
        }
    }

    fn let_go_of_more(&mut self, world: &mut World<'_>) {
        if let Phase::Open(id) = self.phase {
            world.stack.tcp().configure(id, |connection| connection.set_corked(false));
        }
    }

    /// Looks at the connection after anything that may have changed it. Answers who is to be told: bits of readiness, of those that are
    /// new.
    pub(crate) fn look(&mut self, world: &mut World<'_>) -> u32 {
        if let Phase::Listening(listener) = self.phase {
            let acceptable = world.stack.tcp().acceptable(listener);
            let has_more = acceptable > core::mem::replace(&mut self.seen.acceptable, acceptable);
            return if has_more { ready::IN | ready::RDNORM } else { 0 };
        }
        let now = world.now;
        let [_, sent, acked] = self.progress(world.stack);
        let mut news = 0;
        if self.notices.advance(now, sent, acked) {
            news |= ready::ERR;
        }
        if acked > core::mem::replace(&mut self.seen.acked, acked) && core::mem::take(&mut self.has_more) {
            self.let_go_of_more(world);
        }
        news |= self.look_for_urgent(world);
        let Some(connection) = self.connection(world.stack) else { return news };
        let (state, has_peer_ended) = (connection.state(), connection.has_peer_ended());
        let received = connection.bytes_received();
        let before = self.seen;
        let has_opened = before.state == Some(State::SynSent) && state == State::Established;
        let is_news = before.state.is_none() || has_opened || received != before.received;
        let data_at = if is_news { now } else { before.data_at };
        if before.state.is_some() && received != before.received {
            news |= ready::IN | ready::RDNORM;
        }
        if has_peer_ended && !before.has_peer_ended {
            news |= ready::IN | ready::RDNORM | ready::RDHUP;
        }
        if before.state != Some(state) && matches!(state, State::Established | State::Closed) {
            news |= ready::IN | ready::OUT | ready::RDNORM | ready::WRNORM;
        }
        if state == State::Closed {
            self.note_failure(world.stack);
            if before.state != Some(state) {
                news |= ready::HUP | if self.error.is_some() { ready::ERR } else { 0 };
            }
        }
        if before.lacks_space && self.is_writable(world) && !planted::is("room_untold") {
            self.set_lacks_space(world, false);
            news |= ready::OUT | ready::WRNORM;
        }
        self.seen = Seen { received, has_peer_ended, state: Some(state), data_at, ..self.seen };
        news
    }
}
