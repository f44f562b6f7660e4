//! What is known of a connection, for those who look at it.

use core::time::Duration;

use super::recovery::Stage;
use super::{Connection, Fin, State};
use crate::tcp::delivery::Rate;
use crate::tcp::scoreboard::Scoreboard;
use crate::time::Instant;

/// What was counted since the connection began. As small as what it says allows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    segments_in: u32,
    segments_out: u32,
    data_segments_in: u32,
    data_segments_out: u32,
    retransmitted: u32,
    /// Bytes received in order, and how often that count, and that of acknowledged ones, has gone round.
    received: u32,
    received_rounds: u16,
    acked_rounds: u16,
    /// How fast the network delivers.
    pub(super) rate: Rate,
    busy: u32,
}

impl Totals {
    /// So many segments came, of which `data` carry bytes; the others are one.
    #[inline]
    pub(super) fn on_segments(&mut self, data: u32) {
        self.segments_in = self.segments_in.wrapping_add(data.max(1));
        self.data_segments_in = self.data_segments_in.wrapping_add(data);
    }

    #[inline]
    pub(super) fn on_sent(&mut self, segments: u32, has_data: bool) {
        self.segments_out = self.segments_out.wrapping_add(segments);
        self.data_segments_out = self.data_segments_out.wrapping_add(if has_data { segments } else { 0 });
    }

    pub(super) fn on_retransmitted(&mut self, segments: u32) {
        self.retransmitted = self.retransmitted.wrapping_add(segments);
    }

    pub(super) fn has_retransmitted(&self) -> bool {
        self.retransmitted > 0
    }

    /// Answers how many had been received before, wrapping around.
    pub(super) fn on_received(&mut self, bytes: u32) -> u32 {
        let before = self.received;
        let (received, is_round) = self.received.overflowing_add(bytes);
        self.received = received;
        self.received_rounds = self.received_rounds.wrapping_add(is_round.into());
        before
    }

    pub(super) fn received(&self) -> u64 {
        (u64::from(self.received_rounds) << 32) + u64::from(self.received)
    }

    /// There was something to send for so many ticks more (`connection::busy`).
    pub(super) fn on_busy(&mut self, ticks: u32) {
        self.busy = self.busy.wrapping_add(ticks);
    }

    pub(super) fn busy_ticks(&self) -> u32 {
        self.busy
    }

    /// The distance of `snd_una` from the first number was one, and is another one.
    pub(super) fn on_acked(&mut self, before: u32, after: u32) {
        self.acked_rounds = self.acked_rounds.wrapping_add((after < before).into());
    }
}

/// How a connection takes what the network does (`tcpi_ca_state` of Linux).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CaState {
    /// All is well.
    #[default]
    Open,
    /// Something has arrived behind a gap, or twice.
    Disorder,
    /// What was lost is sent again.
    Recovery,
    /// Nothing was acknowledged for a timeout.
    Loss,
}

/// Segments that may overtake another one, as long as nothing else was seen (`tcp_reordering` of Linux, RFC 5681 §3.2).
const USUAL_REORDERING: u16 = 3;

/// What is known of a connection: `struct tcp_info` of Linux, with its names, as far as it is measured here. Segments are full
/// ones, into which bytes are converted.
///
/// Not told: `pacing_rate`, which follows from the window and the round trip, and `max_pacing_rate`, which is among the options;
/// `delivered_ce`, since ECN is not spoken; `last_data_recv`, which would take room in each connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Where it stands.
    pub state: State,
    /// How it takes what the network does.
    pub ca_state: CaState,
    /// Timeouts in a row.
    pub retransmits: u8,
    /// Questions in a row that were not answered (keepalive).
    pub probes: u8,
    /// How often the timeout was doubled.
    pub backoff: u8,
    /// Whether timestamps were agreed upon (`TCPI_OPT_TIMESTAMPS`).
    pub has_timestamps: bool,
    /// Whether selective acknowledgements were (`TCPI_OPT_SACK`).
    pub has_sack: bool,
    /// Whether windows are scaled (`TCPI_OPT_WSCALE`).
    pub has_wscale: bool,
    /// Whether data went or came with the SYN, and have arrived (`TCPI_OPT_SYN_DATA`).
    pub has_syn_data: bool,
    /// By how many bits the windows are shifted that are received, and those that are sent.
    pub snd_wscale: u8,
    /// See [`Info::snd_wscale`].
    pub rcv_wscale: u8,
    /// The retransmission timeout.
    pub rto: Duration,
    /// For how long an acknowledgement may be delayed.
    pub ato: Duration,
    /// Payload bytes of a full segment.
    pub snd_mss: u32,
    /// Payload bytes of the segments that are expected.
    pub rcv_mss: u32,
    /// Segments that were sent and not acknowledged by number.
    pub unacked: u32,
    /// Of those: that have arrived behind a gap.
    pub sacked: u32,
    /// Of those: that were lost, whether they were sent again or not.
    pub lost: u32,
    /// Of those: that were sent again, and are in flight.
    pub retrans: u32,
    /// Since the last segment was sent that takes numbers.
    pub last_data_sent: Duration,
    /// Since the other side was heard.
    pub last_ack_recv: Duration,
    /// Bytes of the largest packet.
    pub pmtu: u32,
    /// The window that is told at most, in bytes.
    pub rcv_ssthresh: u32,
    /// The round-trip time as the receiver sees it; zero while it was not measured, which is only while much comes.
    pub rcv_rtt: Duration,
    /// The most that the application has taken in such a round trip, in bytes; measured when the window may grow.
    pub rcv_space: u32,
    /// The smoothed round-trip time; zero before the first sample.
    pub rtt: Duration,
    /// Its mean deviation.
    pub rttvar: Duration,
    /// The least one of the last five minutes; none before the first sample.
    pub min_rtt: Option<Duration>,
    /// The slow start threshold in segments; `u32::MAX` as long as there is none.
    pub snd_ssthresh: u32,
    /// The congestion window in segments.
    pub snd_cwnd: u32,
    /// What the other side was told that we take.
    pub advmss: u32,
    /// How often a segment was seen to be overtaken by others; counts to 65,535.
    pub reord_seen: u32,
    /// So many segments may overtake another one as far as was seen; three while nothing was. Nothing follows from it: RACK goes by time.
    pub reordering: u32,
    /// Segments that were sent again, wrapping around.
    pub total_retrans: u32,
    /// Bytes of the stream that the other side has acknowledged. Counts 48 bits.
    pub bytes_acked: u64,
    /// Bytes of the other side's stream that have come in order. Counts 48 bits.
    pub bytes_received: u64,
    /// Bytes of the stream that were sent, those that were sent again included. Counts 48 bits and wraps around.
    pub bytes_sent: u64,
    /// Bytes that were sent again.
    pub bytes_retrans: u64,
    /// Segments that the other side has got twice, as it says (RFC 2883).
    pub dsack_dups: u32,
    /// Segments with data that were sent, and that came; both wrap around.
    pub data_segs_out: u32,
    /// See [`Info::data_segs_out`].
    pub data_segs_in: u32,
    /// Segments that were sent, and that came; both wrap around.
    pub segs_out: u32,
    /// See [`Info::segs_out`].
    pub segs_in: u32,
    /// Bytes that wait to be sent.
    pub notsent_bytes: u32,
    /// The window that the other side has told, in bytes.
    pub snd_wnd: u32,
    /// The window that it knows of, in bytes.
    pub rcv_wnd: u32,
    /// Segments with data that have arrived, as far as is known; wraps around.
    pub delivered: u32,
    /// How many bytes per second the network delivers, as the newest acknowledgement shows for which there was enough to send; zero
    /// before the first sample (draft-ietf-ccwg-bbr).
    pub delivery_rate: u64,
    /// Whether that is bounded by how much the application had to send.
    pub delivery_rate_app_limited: bool,
    /// For how long something was not acknowledged, or waited to be sent. Wraps around after 19 hours, as the next two do.
    pub busy_time: Duration,
    /// Of that: for how long the other side's window held up what waited.
    pub rwnd_limited: Duration,
    /// Of that: for how long [`Connection::send_capacity`] did, though the network would have taken more.
    pub sndbuf_limited: Duration,
    /// Pieces that have come behind gaps.
    pub rcv_ooopack: u32,
    /// Retransmission timeouts, those of the SYN included.
    pub total_rto: u32,
    /// How often a timeout began that others may have followed before something arrived, the present one included.
    pub total_rto_recoveries: u32,
    /// The time that those took.
    pub total_rto_time: Duration,
}

impl Connection {
    /// What is known of the connection.
    pub fn info(&self, now: Instant) -> Info {
        let outstanding = self.in_flight() + self.lost() + self.sacked();
        // When a connection fails, what was under way is forgotten, and the end of the stream with it.
        let under_way = outstanding.saturating_sub(u32::from(self.fin == Fin::Sent));
        let headers = 40 + if self.agreed.has_timestamps() { 12 } else { 0 };
        let ssthresh = self.window.ssthresh;
        let (rcv_rtt, rcv_space) = self.receiving();
        let history = self.history.as_deref();
        let (bytes_retrans, dsack_dups) =
            history.map_or((0, 0), |history| (history.retransmitted_bytes, history.duplicates));
        Info {
            state: if self.syn.is_unconfirmed() { State::SynReceived } else { self.state },
            has_syn_data: self.has_syn_data(),
            ca_state: self.ca_state(),
            retransmits: self.timeouts,
            probes: self.keepalive_probes,
            backoff: self.rto.backoff(),
            has_timestamps: self.agreed.has_timestamps(),
            has_sack: self.agreed.has_sack(),
            has_wscale: self.agreed.has_scales(),
            snd_wscale: self.agreed.snd_scale.shift(),
            rcv_wscale: self.agreed.rcv_scale.shift(),
            rto: self.rto.timeout(),
            ato: super::acks::DELAY,
            snd_mss: self.snd_mss,
            rcv_mss: self.options.mss.into(),
            unacked: self.segments(outstanding),
            sacked: self.segments(self.sacked()),
            lost: self.segments(self.board().map_or(0, Scoreboard::unrepaired)),
            retrans: self.segments(self.board().map_or(0, |board| board.retransmitted_in_flight())),
            last_data_sent: now - self.last_sent_at,
            last_ack_recv: now - self.last_heard_at,
            pmtu: self.snd_mss + headers,
            rcv_ssthresh: self.receive_capacity(),
            rcv_rtt,
            rcv_space,
            rtt: self.rto.srtt().unwrap_or_default(),
            rttvar: self.rto.rttvar(),
            min_rtt: self.rack.min_rtt(),
            snd_ssthresh: if ssthresh == u32::MAX { ssthresh } else { ssthresh / self.snd_mss },
            snd_cwnd: self.window.cwnd / self.snd_mss,
            advmss: self.options.mss.into(),
            reord_seen: self.rack.overtaken(),
            total_retrans: self.totals.retransmitted,
            bytes_acked: self.bytes_acked(),
            bytes_sent: self.bytes_acked() + u64::from(under_way) + bytes_retrans,
            bytes_retrans,
            dsack_dups,
            data_segs_out: self.totals.data_segments_out,
            data_segs_in: self.totals.data_segments_in,
            bytes_received: self.totals.received(),
            segs_out: self.totals.segments_out,
            segs_in: self.totals.segments_in,
            notsent_bytes: self.unsent_bytes,
            snd_wnd: self.snd_wnd,
            rcv_wnd: if self.rcv_adv.is_after(self.rcv_nxt) { self.rcv_adv - self.rcv_nxt } else { 0 },
            ..self.measured(now, outstanding)
        }
    }

    /// What is measured on what is under way, of which `outstanding` numbers are not acknowledged by number.
    fn measured(&self, now: Instant, outstanding: u32) -> Info {
        let history = self.history.as_deref();
        let timeouts = history.map(|history| history.timeouts).unwrap_or_default();
        let times = self.times(now);
        let unarrived = self.segments(outstanding).saturating_sub(self.segments(self.sacked()));
        let sent_once = self.totals.data_segments_out.wrapping_sub(self.totals.retransmitted);
        Info {
            delivered: sent_once.wrapping_sub(unarrived),
            delivery_rate: self.totals.rate.bytes_per_second(),
            delivery_rate_app_limited: self.totals.rate.is_app_limited(),
            busy_time: times.busy,
            rwnd_limited: times.by_peer_window,
            sndbuf_limited: times.by_send_buffer,
            reordering: history.map_or(0, |history| history.reordering).max(USUAL_REORDERING).into(),
            rcv_ooopack: history.map_or(0, |history| history.out_of_order),
            total_rto: timeouts.count,
            total_rto_recoveries: timeouts.recoveries,
            total_rto_time: timeouts.time(now),
            ..Info::default()
        }
    }

    fn ca_state(&self) -> CaState {
        match self.stage() {
            Some(Stage::AfterTimeout) => CaState::Loss,
            Some(Stage::Fast) => CaState::Recovery,
            None if self.sacked() > 0 || self.duplicate_acks > 0 => CaState::Disorder,
            None => CaState::Open,
        }
    }

    fn bytes_acked(&self) -> u64 {
        // SYN and FIN take a number each, and are no bytes.
        let numbers = (u64::from(self.totals.acked_rounds) << 32) + u64::from(self.snd_una - self.iss);
        numbers.saturating_sub(1 + u64::from(self.fin == Fin::Acked))
    }
}
