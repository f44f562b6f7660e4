//! One side of a connection.

mod acks;
mod busy;
mod fast_open;
mod history;
mod info;
mod input;
mod options;
mod output;
mod pacing;
mod path;
mod predicted;
mod receive;
mod recovery;
mod search;
mod send;
mod timers;
mod tuning;
mod urgent;

#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use core::fmt;
use core::time::Duration;

use sunstar_packet::Buffer;
use sunstar_wire::{SackBlock, Seq, TcpOptions, WindowScale};

use super::assembler::Assembler;
use super::congestion::{Algorithm, Window};
use super::half_open::ts_clock;
use super::rack::Rack;
use super::rto::Rto;
use super::scoreboard::Scoreboard;
use crate::time::Instant;
use acks::AckPolicy;
use busy::Sending;
use fast_open::Syn;
use history::History;
use info::Totals;
use pacing::Departure;
use recovery::{Probe, Recovery};
use search::DueProbe;
use timers::RetransmitTimer;

pub use info::{CaState, Info};
pub use input::{Reply, Segment};
pub use options::{Keepalive, Options};
pub use output::Outgoing;
pub use search::PathProbing;
pub use send::SendError;

/// RFC 9293 §3.3.2. LISTEN and most of SYN-RECEIVED need no connection, and TIME-WAIT none any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// A SYN was sent.
    SynSent,
    /// SYNs have crossed, or a listener was asked.
    SynReceived,
    /// Data flow both ways.
    Established,
    /// We have ended our stream; it is not acknowledged.
    FinWait1,
    /// We have ended our stream, the other side not.
    FinWait2,
    /// The other side has ended its stream, we not.
    CloseWait,
    /// Both have ended, and ours is not acknowledged.
    Closing,
    /// The other side had ended first, and ours is not acknowledged.
    LastAck,
    /// Both have ended, and the last acknowledgement may get lost.
    TimeWait,
    /// It is over.
    #[default]
    Closed,
}

/// Why a connection is over that neither side has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The other side does not listen (`ECONNREFUSED`).
    Refused,
    /// The other side has reset the connection (`ECONNRESET`).
    Reset,
    /// The other side has not answered in time (`ETIMEDOUT`).
    TimedOut,
    /// There is no way to the other side (`EHOSTUNREACH`).
    Unreachable,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "the other side does not listen on this port",
            Self::Reset => "the other side has reset the connection",
            Self::TimedOut => "the other side has not answered in time",
            Self::Unreachable => "there is no way to the other side",
        })
    }
}

impl core::error::Error for Failure {}

/// What both sides have agreed upon.
#[derive(Clone, Copy, Debug, Default)]
pub struct Agreement {
    has_timestamps: bool,
    has_sack: bool,
    has_scales: bool,
    /// By how much the windows that we receive, and those that we send, are shifted; zero if that was not agreed upon.
    snd_scale: WindowScale,
    rcv_scale: WindowScale,
}

impl Agreement {
    /// What follows from our options and those of their SYN.
    pub(super) fn new(ours: &Options, theirs: &TcpOptions) -> Self {
        let scales = theirs.window_scale.map(|scale| (scale, ours.window_scale()));
        let (snd_scale, rcv_scale) = scales.unwrap_or_default();
        Self {
            has_timestamps: ours.offers_timestamps && theirs.timestamps.is_some(),
            has_sack: ours.offers_sack && theirs.is_sack_permitted,
            has_scales: scales.is_some(),
            snd_scale,
            rcv_scale,
        }
    }

    pub(super) fn has_timestamps(&self) -> bool {
        self.has_timestamps
    }

    pub(super) fn has_sack(&self) -> bool {
        self.has_sack
    }

    pub(super) fn has_scales(&self) -> bool {
        self.has_scales
    }

    /// The payload of a full segment: what both sides take, without the timestamps that each segment has (RFC 6691 §2).
    pub(super) fn mss(&self, ours: &Options, theirs: &TcpOptions) -> u16 {
        /// RFC 9293 §3.7.1: what is taken by who does not say.
        const DEFAULT_MSS: u16 = 536;
        let options = if self.has_timestamps { 12 } else { 0 };
        let theirs = theirs.mss.map_or(DEFAULT_MSS, Into::into);
        let theirs = if planted::is("mss_believed") { theirs } else { theirs.max(LEAST_MSS) };
        theirs.min(ours.mss).max(options + 1) - options
    }
}

/// As in Linux (`TCP_MIN_SND_MSS`): who takes less would have us send more headers than bytes.
pub(in crate::tcp) const LEAST_MSS: u16 = 48;

/// How a connection was opened from the other side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    pub(super) iss: Seq,
    pub(super) irs: Seq,
    pub(super) ts_offset: u32,
    pub(super) ts_recent: u32,
    pub(super) mss: u16,
    pub(super) window: u16,
    pub(super) agreement: Agreement,
    /// When our SYN was answered, if that measures a round trip.
    pub(super) answered_at: Option<Instant>,
}

/// One side of a TCP connection (RFC 9293), without addresses, which are of no interest here.
///
/// Four kinds of methods, none of which waits: what arrives is told by [`Connection::handle_segment`], what the application wants
/// by [`Connection::send`], [`Connection::receive`], [`Connection::close`]; what must leave is asked for by
/// [`Connection::poll_transmit`] until there is nothing; and when the connection wants to be looked at again though nothing
/// arrives, [`Connection::deadline`] tells: then [`Connection::handle_timeout`].
#[derive(Debug)]
pub struct Connection {
    state: State,
    failure: Option<Failure>,
    options: Rc<Options>,
    agreed: Agreement,
    /// None while nothing is under way in either direction.
    queues: Option<Box<Queues>>,

    /// Sending, RFC 9293 §3.3.1.
    iss: Seq,
    snd_una: Seq,
    snd_nxt: Seq,
    snd_wnd: u32,
    snd_wl1: Seq,
    snd_wl2: Seq,
    max_snd_wnd: u32,
    /// Payload of a full segment, beside the options that each one has.
    snd_mss: u32,
    unsent_bytes: u32,
    fin: Fin,

    window: Window,
    algorithm: Algorithm,
    /// The end of the present round: what is sent when it begins is acknowledged when it ends.
    round_end: Seq,
    /// Whether the congestion window kept something from being sent since the last acknowledgement.
    is_cwnd_limited: bool,
    rto: Rto,
    rtt_round_end: Seq,
    rack: Rack,
    recovery: Option<Box<Recovery>>,
    history: Option<Box<History>>,
    probe: Option<Probe>,
    syn: Syn,
    /// Due: a probe, what a timeout has lost, a segment without data that must be answered.
    due_probe: DueProbe,
    must_resend: bool,
    must_ask: bool,
    /// The path has refused segments, and nothing was acknowledged since.
    is_path_broken: bool,
    /// The window has kept what is left from being a full segment for so long that it may leave as it is.
    may_send_little: bool,
    /// The application has let it go: nobody reads any more, and it ends by itself.
    is_orphan: bool,
    /// What is no full segment waits, see [`Connection::set_corked`].
    is_corked: bool,
    /// What was handed over leaves as it is.
    must_push: bool,
    /// To let it go resets the other side.
    has_zero_linger: bool,
    keepalive_probes: u8,
    retransmit_timer: Option<RetransmitTimer>,
    timeouts: u8,
    last_sent_at: Instant,
    last_heard_at: Instant,
    duplicate_acks: u8,

    /// Receiving.
    rcv_nxt: Seq,
    /// The right edge of the window as the other side knows it.
    rcv_adv: Seq,
    last_ack_sent: Seq,
    ready_bytes: u32,
    /// Where the other side's stream ends, if that was heard, and whether all before it has arrived.
    peer_fin: Option<Seq>,
    has_fin: bool,
    acks: AckPolicy,
    /// When a segment that did not fit was answered, in milliseconds, which turn, and how many more with data since.
    challenged_ms: u32,
    challenges: u8,
    ts_recent: u32,
    /// When that came, in units of [`input::TS_AGE_SHIFT`].
    ts_recent_at: u32,
    /// Added to our clock, so that it tells nobody how long we run (RFC 7323 §5.4).
    ts_offset: u32,
    totals: Totals,
}

/// What is under way: taken out of an idle connection, and used again for the next one that is not.
#[derive(Debug, Default)]
pub(super) struct Queues {
    board: Scoreboard,
    unsent: VecDeque<Buffer>,
    ready: VecDeque<Buffer>,
    /// So many pieces at its end were not looked at yet, whether they are small.
    apart: u8,
    /// Segments that were dropped since too many pieces wait, and not counted yet.
    refused: u32,
    /// Segments that do not fit and were not answered, and not counted yet.
    unanswered: u32,
    /// So many bytes that the other side has not acknowledged were counted.
    counted_bytes: u32,
    sending: Sending,
    assembler: Option<Box<Assembler>>,
    /// What came twice, to be told once (RFC 2883 §4).
    duplicate: Option<SackBlock>,
    /// Until when what is no full segment is held back.
    corked_until: Option<Instant>,
    /// When more may leave, on paths that are paced.
    departure: Departure,
    /// What was handed over last is to be followed by more: its end is not pushed.
    is_unpushed: bool,
    /// The most bytes that were under way in this round.
    round_flight: u32,
    /// When the first of what is under way was sent.
    busy_since: Instant,
    /// Where the last segment ended that was no full one.
    small_end: Option<Seq>,
    /// The application waits for room, though there may be some.
    awaits_room: bool,
    /// Where urgent data end that the other side has not acknowledged.
    urgent_end: Option<Seq>,
    /// The other side has to hear of them before it is asked for room.
    must_announce: bool,
    /// Up to here what is sent went with our SYN already, and was not taken.
    again_until: Option<Seq>,
    /// Where records end that wait to be sent, see [`Connection::end_record`].
    records: VecDeque<Seq>,
}

impl Queues {
    /// Forgets all, but keeps memory. It is large, so it stays where it is.
    fn clear(&mut self) {
        let Self {
            board,
            unsent,
            ready,
            apart,
            refused,
            unanswered,
            counted_bytes,
            sending,
            assembler,
            duplicate,
            corked_until,
            departure,
            is_unpushed,
            round_flight,
            busy_since,
            small_end,
            awaits_room,
            urgent_end,
            must_announce,
            again_until,
            records,
        } = self;
        board.clear();
        unsent.clear();
        ready.clear();
        records.clear();
        (*apart, *refused, *unanswered, *counted_bytes) = (0, 0, 0, 0);
        (*sending, *departure, *busy_since) = (Sending::default(), Departure::default(), Instant::default());
        (*assembler, *duplicate, *corked_until) = (None, None, None);
        (*is_unpushed, *awaits_room, *must_announce, *round_flight) = (false, false, false, 0);
        (*small_end, *urgent_end, *again_until) = (None, None, None);
    }
}

/// Where the end of our stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fin {
    /// The application may send more.
    Open,
    /// It may not; what it has sent comes first.
    Queued,
    /// It was sent, and not acknowledged.
    Sent,
    /// It was acknowledged.
    Acked,
}

impl Connection {
    /// A connection that wants to be opened: a SYN is due. `iss` is the initial sequence number (RFC 6528), `ts_offset` as random.
    pub fn connect(now: Instant, options: Rc<Options>, iss: Seq, ts_offset: u32) -> Self {
        let mut connection = Self::new(now, options, iss, ts_offset);
        connection.snd_nxt = iss + 1;
        connection
    }

    /// A connection that the other side has asked for, and that our answer has reached.
    pub(super) fn opened(now: Instant, options: Rc<Options>, opened: &Opened) -> Self {
        let mut connection = Self::new(now, options, opened.iss, opened.ts_offset);
        connection.syn = Syn::DONE;
        connection.snd_nxt = opened.iss + 1;
        connection.snd_una = opened.iss + 1;
        connection.state = State::Established;
        connection.learn(now, opened.irs, opened.agreement, opened.mss, opened.ts_recent);
        connection.set_window(opened.irs, connection.snd_una, u32::from(opened.window));
        if let Some(answered_at) = opened.answered_at {
            connection.measure_opening(now, now - answered_at);
        }
        connection
    }

    /// Our SYN was sent once, and answered after so long.
    fn measure_opening(&mut self, now: Instant, rtt: Duration) {
        self.rto.on_sample(rtt);
        self.rack.on_opened(now, rtt);
    }

    /// What the other side's SYN says.
    fn learn(&mut self, now: Instant, irs: Seq, agreement: Agreement, mss: u16, ts_recent: u32) {
        self.agreed = agreement;
        self.rcv_nxt = irs + 1;
        self.last_ack_sent = self.rcv_nxt;
        // What our SYN has told.
        self.rcv_adv = self.rcv_nxt + self.options.receive_capacity.min(receive::MAX_WINDOW);
        (self.ts_recent, self.ts_recent_at) = (ts_recent, input::ts_age(now));
        self.snd_mss = self.first_mss(u32::from(mss));
        self.window = Window::new(self.snd_mss);
    }

    /// The first window, and the first round, of an open connection.
    fn set_window(&mut self, seq: Seq, ack: Seq, window: u32) {
        self.snd_wnd = window;
        self.max_snd_wnd = window;
        (self.snd_wl1, self.snd_wl2) = (seq, ack);
        (self.round_end, self.rtt_round_end) = (self.snd_nxt, self.snd_nxt);
    }

    fn new(now: Instant, options: Rc<Options>, iss: Seq, ts_offset: u32) -> Self {
        let snd_mss = u32::from(options.mss);
        Self {
            state: State::SynSent,
            failure: None,
            algorithm: Algorithm::new(options.congestion),
            totals: Totals::default(),
            agreed: Agreement::default(),
            queues: None,
            options,
            iss,
            snd_una: iss,
            snd_nxt: iss,
            snd_wnd: 0,
            snd_wl1: Seq::default(),
            snd_wl2: Seq::default(),
            max_snd_wnd: 0,
            snd_mss,
            unsent_bytes: 0,
            fin: Fin::Open,
            window: Window::new(snd_mss),
            round_end: iss + 1,
            is_cwnd_limited: false,
            rto: Rto::default(),
            rtt_round_end: iss,
            rack: Rack::default(),
            recovery: None,
            history: None,
            probe: None,
            syn: Syn::DUE,
            due_probe: DueProbe::None,
            must_resend: false,
            must_ask: false,
            is_path_broken: false,
            may_send_little: false,
            is_orphan: false,
            is_corked: false,
            must_push: false,
            has_zero_linger: false,
            keepalive_probes: 0,
            retransmit_timer: None,
            timeouts: 0,
            last_sent_at: now,
            last_heard_at: now,
            duplicate_acks: 0,
            rcv_nxt: Seq::default(),
            rcv_adv: Seq::default(),
            last_ack_sent: Seq::default(),
            ready_bytes: 0,
            peer_fin: None,
            has_fin: false,
            acks: AckPolicy::default(),
            challenged_ms: input::may_challenge_from(now),
            challenges: 0,
            ts_recent: 0,
            ts_recent_at: input::ts_age(now),
            ts_offset,
        }
    }

    /// Memory for what is under way, so that it has not to be allocated.
    pub(super) fn lend(&mut self, queues: impl FnOnce() -> Option<Box<Queues>>) {
        if self.queues.is_none() {
            self.queues = queues();
        }
    }

    /// The same back, if nothing is under way.
    pub(super) fn reclaim(&mut self, now: Instant) -> Option<Box<Queues>> {
        let is_unread = |queues: &Queues| !queues.ready.is_empty() && !planted::is("queues_shared");
        let is_idle = |queues: &Queues| !is_unread(queues) && queues.assembler.is_none() && queues.duplicate.is_none();
        let is_idle = self.unsent_bytes == 0
            && self.is_all_acknowledged()
            && self.queues.as_deref().is_some_and(is_idle)
            && !self.owes_pace(now);
        let mut queues = self.queues.take_if(|_| is_idle)?;
        // The next one has other numbers.
        (queues.is_unpushed, queues.round_flight, queues.small_end) = (false, 0, None);
        (queues.awaits_room, queues.again_until, queues.urgent_end) = (false, None, None);
        (queues.departure, queues.must_announce) = (Departure::default(), false);
        queues.records.clear();
        Some(queues)
    }

    /// The same of a connection that is over: what is in it is for nobody any more.
    pub(super) fn salvage(&mut self) -> Option<Box<Queues>> {
        let mut queues = self.queues.take()?;
        queues.clear();
        Some(queues)
    }

    fn board(&self) -> Option<&Scoreboard> {
        self.queues.as_ref().map(|queues| &queues.board)
    }

    fn in_flight(&self) -> u32 {
        self.board().map_or(0, Scoreboard::in_flight)
    }

    /// The same without what peers that report nothing have, by their duplicate acknowledgements, got behind the first gap: each is
    /// the sign of a full segment (RFC 5681 §3.2, step 4).
    fn pipe(&self) -> u32 {
        self.in_flight().saturating_sub(u32::from(self.duplicate_acks) * self.snd_mss)
    }

    fn lost(&self) -> u32 {
        self.board().map_or(0, Scoreboard::lost)
    }

    fn sacked(&self) -> u32 {
        self.board().map_or(0, Scoreboard::sacked)
    }

    /// Segments that have arrived behind a gap. A piece of the board may be several of them on the wire.
    fn sacked_segments(&self) -> u32 {
        self.board().map_or(0, |board| board.sacked_segments().max(board.sacked() / self.snd_mss))
    }

    fn history(&mut self) -> &mut History {
        self.history.get_or_insert_default()
    }

    fn is_all_acknowledged(&self) -> bool {
        self.board().is_none_or(Scoreboard::is_empty)
    }

    /// Where the connection stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Why it is over, if neither side has ended it.
    pub fn failure(&self) -> Option<Failure> {
        self.failure
    }

    /// What it was made with, or was told since.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Changes the options, without those that both sides have agreed upon.
    pub(super) fn set_options(&mut self, options: Options) {
        let Options { mss, offers_timestamps, offers_sack, is_no_delay, .. } = *self.options;
        if options.is_no_delay && !is_no_delay && !self.is_corked {
            self.push_all();
        }
        self.options = Rc::new(Options { mss, offers_timestamps, offers_sack, ..options });
        self.stop_growing();
    }

    /// Whether data may flow from the other side, or may have.
    fn is_synchronized(&self) -> bool {
        !matches!(self.state, State::SynSent | State::SynReceived | State::Closed)
    }

    /// Ends it at once.
    fn fail(&mut self, failure: Failure) {
        self.failure = Some(failure);
        self.end();
    }

    fn end(&mut self) {
        self.state = State::Closed;
        self.unsent_bytes = 0;
        self.stop_sending();
        if let Some(queues) = &mut self.queues {
            queues.unsent.clear();
            queues.records.clear();
            queues.corked_until = None;
            queues.departure = Departure::default();
            queues.board.clear();
            queues.assembler = None;
            queues.duplicate = None;
        }
        self.recovery = None;
        if let Some(history) = &mut self.history {
            history.take_past();
        }
        self.retransmit_timer = None;
        self.acks = AckPolicy::default();
    }

    /// Our clock as it stands in timestamps: milliseconds (RFC 7323 §5.4).
    fn ts_now(&self, now: Instant) -> u32 {
        ts_clock(now, self.ts_offset)
    }
}
