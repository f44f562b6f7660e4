//! How large buffers have to be for the path.
//!
//! A receiver can't know the sender's window, but it sees how much the application takes in a round trip; the window has to be twice
//! that, so that it never is what holds the sender back (dynamic right-sizing, as in Linux: `tcp_rmem`). A sender keeps twice its
//! congestion window: what is under way, and what follows it (`tcp_wmem`).

use core::time::Duration;

use sunstar_wire::Seq;

use super::Connection;
use super::history::History;
use super::receive::MAX_WINDOW;
use crate::tcp::assembler::{MAX_PIECES, PIECE_BYTES};
use crate::tcp::half_open::ts_clock;
use crate::time::Instant;

/// After so many binary digits of received bytes it is looked whether a connection moves much.
const LOOK_SHIFT: u32 = 14;

/// What a window has beside twice what was taken: the first flight of a sender that begins, and some more (as Linux).
const SLACK_SEGMENTS: u32 = 16;

/// How much a connection receives in a round trip.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Receiving {
    /// The round-trip time in microseconds as the receiver sees it; zero if it was not measured.
    rtt: u32,
    /// The least one that timestamps have shown in this round, and the last echo.
    round_rtt: u32,
    last_echo: u32,
    /// When the round began, and what the application had taken by then.
    round_at: Instant,
    round_seq: Seq,
    /// Without timestamps: when this number has come, a window was filled, which takes a round trip at least.
    window_end: Seq,
    window_at: Instant,
    /// The most that the application has taken in a round.
    space: u32,
    /// What the window should be.
    wanted: u32,
}

impl Receiving {
    fn begin(&mut self, now: Instant, taken: Seq, window_end: Seq) {
        (self.round_at, self.round_seq, self.round_rtt) = (now, taken, 0);
        (self.window_at, self.window_end) = (now, window_end);
    }

    /// The other side has echoed a timestamp of ours, `ms` after it was sent, as far as that can be believed: not beyond `most`.
    fn on_echo(&mut self, echo: u32, ms: u32, most: Duration) {
        if echo != self.last_echo {
            self.last_echo = echo;
            let most = u32::try_from(most.as_micros()).unwrap_or(u32::MAX);
            // On short paths the clock of timestamps is too coarse, and what was measured otherwise is nearer.
            let micros = ms.max(1).saturating_mul(1_000).min(most.max(1));
            self.round_rtt = if self.round_rtt == 0 { micros } else { self.round_rtt.min(micros) };
        }
    }

    /// A window was filled since the last time, which takes a round trip or longer. It takes `most` at most, unless not the window is what
    /// holds the sender back.
    fn on_window(&mut self, now: Instant, most: Duration, window_end: Seq) {
        let elapsed = (now - self.window_at).min(most);
        let micros = u32::try_from(elapsed.as_micros()).unwrap_or(u32::MAX).max(1);
        self.rtt = if self.rtt == 0 { micros } else { self.rtt.min(micros) };
        (self.window_at, self.window_end) = (now, window_end);
    }

    /// The round is over: `taken` bytes were taken in it.
    fn end_round(&mut self, taken: u32, mss: u32, capacity: u32) {
        // The first flight of a sender that begins is none that it would be held back from, unless the window is as small.
        let space = self.space.max((10 * mss).min(capacity / 2)).max(1);
        if taken <= space {
            return;
        }
        // A sender in slow start doubles its window each time, and hears of ours a round trip late.
        let (taken, space) = (u64::from(taken), u64::from(space));
        let window = 2 * taken + u64::from(SLACK_SEGMENTS * mss);
        let growth = (2 * window).saturating_mul(taken.saturating_sub(space)) / space;
        self.wanted = u32::try_from(window.saturating_add(growth)).unwrap_or(u32::MAX);
        self.space = u32::try_from(taken).unwrap_or(u32::MAX);
    }
}

/// What became of a wish for larger buffers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::tcp) struct Growth {
    /// So many bytes were added.
    pub(in crate::tcp) bytes: u32,
    /// More were wanted.
    pub(in crate::tcp) is_refused: bool,
}

/// How much can be kept behind a gap in segments of `mss` bytes, however large the window is that is told.
fn most_in_pieces(mss: u32) -> u32 {
    let Some(short) = PIECE_BYTES.checked_sub(mss).filter(|short| *short > 0) else { return u32::MAX };
    let most = u64::from(mss) * MAX_PIECES as u64 * u64::from(PIECE_BYTES) / u64::from(short);
    u32::try_from(most).unwrap_or(u32::MAX)
}

impl Connection {
    /// Received bytes that wait for the application at most: what the options begin with, and what was added since.
    pub fn receive_capacity(&self) -> u32 {
        self.options.receive_capacity + self.history.as_ref().map_or(0, |history| history.receive_growth)
    }

    /// Bytes that may be handed over and not acknowledged: what the options begin with, and what was added since.
    pub fn send_capacity(&self) -> u32 {
        self.options.send_capacity + self.history.as_ref().map_or(0, |history| history.send_growth)
    }

    /// By how much the buffers have grown.
    pub(in crate::tcp) fn grown(&self) -> u64 {
        let grown = |history: &History| u64::from(history.receive_growth) + u64::from(history.send_growth);
        self.history.as_deref().map_or(0, grown)
    }

    /// Whether [`Connection::grow`] may do something: the application fills what there is, or more has come than was expected.
    #[inline]
    pub(in crate::tcp) fn wants_growth(&self) -> bool {
        let is_filled = self.unacknowledged() >= self.send_capacity() / 2;
        is_filled || self.history.as_deref().is_some_and(|history| history.receiving.wanted > 0)
    }

    /// Lets the buffers grow to what the path needs, by `room` bytes at most.
    pub(in crate::tcp) fn grow(&mut self, room: u64) -> Growth {
        let most = self.options.max_send_capacity.min(self.window.cwnd.saturating_mul(2));
        // The application fills what there is.
        let is_filled = most > self.send_capacity() && self.unacknowledged() >= self.send_capacity() / 2;
        let send = if is_filled { most - self.send_capacity() } else { 0 };
        let wanted = self.history.as_mut().map_or(0, |history| core::mem::take(&mut history.receiving.wanted));
        // What the header can't tell, and what can't be kept behind gaps, is of no use.
        let most = (MAX_WINDOW << self.agreed.rcv_scale.shift()).min(most_in_pieces(self.snd_mss));
        let receive = wanted.min(self.options.max_receive_capacity).min(most).saturating_sub(self.receive_capacity());
        if send == 0 && receive == 0 {
            return Growth::default();
        }
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        let receive_growth = receive.min(room);
        let send_growth = send.min(room - receive_growth);
        let history = self.history();
        history.receive_growth += receive_growth;
        history.send_growth += send_growth;
        if receive_growth < receive {
            // The next round asks again.
            history.receiving.space /= 2;
        }
        let bytes = receive_growth + send_growth;
        Growth { bytes, is_refused: bytes < receive.saturating_add(send) }
    }

    /// The options have changed: who says how much there is to be means it.
    pub(super) fn stop_growing(&mut self) {
        let (receive, send) = (self.options.max_receive_capacity, self.options.max_send_capacity);
        let (receive, send) =
            (receive.saturating_sub(self.options.receive_capacity), send.saturating_sub(self.options.send_capacity));
        if let Some(history) = &mut self.history {
            history.receive_growth = history.receive_growth.min(receive);
            history.send_growth = history.send_growth.min(send);
        }
    }

    /// A timestamp of ours came back.
    pub(super) fn note_echo(&mut self, now: Instant, echo: u32) {
        let now = ts_clock(now, self.ts_offset);
        let longest = self.longest_round();
        if let Some(history) = &mut self.history {
            history.receiving.on_echo(echo, now.wrapping_sub(echo), longest);
        }
    }

    /// So many bytes came in order.
    pub(super) fn on_received(&mut self, now: Instant, bytes: u32) {
        let before = self.totals.on_received(bytes);
        let may_grow = self.options.max_receive_capacity > self.options.receive_capacity;
        if !may_grow || planted::is("window_not_grown") {
            return;
        }
        if self.history.is_none() && before >> LOOK_SHIFT == before.wrapping_add(bytes) >> LOOK_SHIFT {
            return;
        }
        self.measure_receiving(now);
    }

    /// What a round trip may take, whatever the other side makes of it: queues may have filled since we have measured it.
    fn longest_round(&self) -> Duration {
        self.rto.srtt().map_or(Duration::MAX, |srtt| 4 * srtt)
    }

    fn measure_receiving(&mut self, now: Instant) {
        let taken = self.rcv_nxt - self.ready_bytes;
        let (mss, rcv_nxt, capacity) = (self.snd_mss, self.rcv_nxt, self.receive_capacity());
        let window_end = rcv_nxt + capacity;
        let longest = self.longest_round();
        let receiving = &mut self.history().receiving;
        if receiving.round_at == Instant::default() {
            receiving.begin(now, taken, window_end);
            return;
        }
        let is_first = receiving.rtt == 0;
        if rcv_nxt.is_at_or_after(receiving.window_end) {
            receiving.on_window(now, longest, window_end);
        }
        if receiving.round_rtt != 0 {
            receiving.rtt = receiving.round_rtt;
        }
        if receiving.rtt == 0 || now - receiving.round_at < Duration::from_micros(receiving.rtt.into()) {
            return;
        }
        let taken_bytes = taken - receiving.round_seq;
        (receiving.round_at, receiving.round_seq, receiving.round_rtt) = (now, taken, 0);
        if is_first {
            // What went before was longer than a round trip.
            return;
        }
        receiving.end_round(taken_bytes, mss, capacity);
        if taken_bytes < capacity / 8 {
            self.forget_receiving();
        }
    }

    /// Nothing much comes: a window that was not needed need not be measured.
    fn forget_receiving(&mut self) {
        self.history.take_if(|history| history.is_plain());
    }

    /// The round-trip time as the receiver sees it, and the most that the application has taken in one.
    pub(super) fn receiving(&self) -> (Duration, u32) {
        let receiving = self.history.as_ref().map_or_else(Receiving::default, |history| history.receiving);
        (Duration::from_micros(receiving.rtt.into()), receiving.space)
    }
}
