//! `TCP_INFO` as it lies in memory.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use sunstar_tcpip::tcp::connection::{CaState, Info, State};

use super::{Phase, Stream, World};

/// Bytes of `struct tcp_info` of Linux 6.18.
const BYTES: usize = 280;

/// Bits of `tcpi_options`.
const OPT_TIMESTAMPS: u8 = 1;
const OPT_SACK: u8 = 2;
const OPT_WSCALE: u8 = 4;
const OPT_SYN_DATA: u8 = 32;

/// Numbers of states (`TCP_ESTABLISHED` and so on).
const CLOSED: u8 = 7;
const LISTEN: u8 = 10;

fn state_number(state: State) -> u8 {
    match state {
        State::Established => 1,
        State::SynSent => 2,
        State::SynReceived => 3,
        State::FinWait1 => 4,
        State::FinWait2 => 5,
        State::TimeWait => 6,
        State::Closed => CLOSED,
        State::CloseWait => 8,
        State::LastAck => 9,
        State::Closing => 11,
    }
}

fn ca_number(state: CaState) -> u8 {
    match state {
        CaState::Open => 0,
        CaState::Disorder => 1,
        CaState::Recovery => 3,
        CaState::Loss => 4,
    }
}

/// The structure, filled by the places of its members.
struct Layout(Vec<u8>);

impl Layout {
    fn put<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        self.0[at..at + N].copy_from_slice(&bytes);
    }

    fn word(&mut self, at: usize, value: u32) {
        self.put(at, value.to_ne_bytes());
    }

    fn long(&mut self, at: usize, value: u64) {
        self.put(at, value.to_ne_bytes());
    }

    fn micros(&mut self, at: usize, time: Duration) {
        self.word(at, u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }

    fn millis(&mut self, at: usize, time: Duration) {
        self.word(at, u32::try_from(time.as_millis()).unwrap_or(u32::MAX));
    }
}

impl Stream {
    /// `struct tcp_info`. What the stack does not measure is zero.
    pub(super) fn tcp_info(&mut self, world: &mut World<'_>) -> Vec<u8> {
        let mut layout = Layout(vec![0; BYTES]);
        let now = world.now;
        let Some(info) = self.connection(world.stack).map(|connection| connection.info(now)) else {
            let is_listening = matches!(self.phase, Phase::Listening(_));
            layout.put(0, [if is_listening { LISTEN } else { CLOSED }]);
            return layout.0;
        };
        put_head(&mut layout, &info);
        put_path(&mut layout, &info);
        put_counts(&mut layout, &info);
        layout.millis(52, now - self.seen.data_at);
        put_times(&mut layout, &info);
        layout.0
    }
}

fn put_head(layout: &mut Layout, info: &Info) {
    let options = [
        (info.has_timestamps, OPT_TIMESTAMPS),
        (info.has_sack, OPT_SACK),
        (info.has_wscale, OPT_WSCALE),
        (info.has_syn_data, OPT_SYN_DATA),
    ];
    let options = options.iter().filter(|(is_set, _)| *is_set).fold(0, |all, (_, bit)| all | bit);
    layout.put(0, [state_number(info.state), ca_number(info.ca_state), info.retransmits, info.probes]);
    layout.put(4, [info.backoff, options, info.snd_wscale | (info.rcv_wscale << 4)]);
    layout.micros(8, info.rto);
    layout.micros(12, info.ato);
    layout.word(16, info.snd_mss);
    layout.word(20, info.rcv_mss);
    layout.word(24, info.unacked);
    layout.word(28, info.sacked);
    layout.word(32, info.lost);
    layout.word(36, info.retrans);
    layout.millis(44, info.last_data_sent);
    layout.millis(56, info.last_ack_recv);
}

fn put_path(layout: &mut Layout, info: &Info) {
    /// What Linux says when there is no threshold.
    const INFINITE_SSTHRESH: u32 = 0x7fff_ffff;

    layout.word(60, info.pmtu);
    layout.word(64, info.rcv_ssthresh);
    layout.micros(68, info.rtt);
    layout.micros(72, info.rttvar);
    layout.word(76, info.snd_ssthresh.min(INFINITE_SSTHRESH));
    layout.word(80, info.snd_cwnd);
    layout.word(84, info.advmss);
    layout.word(88, info.reordering);
    layout.micros(92, info.rcv_rtt);
    layout.word(96, info.rcv_space);
    layout.word(148, info.min_rtt.map_or(u32::MAX, |rtt| u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX)));
    layout.word(228, info.snd_wnd);
    layout.word(232, info.rcv_wnd);
}

fn put_times(layout: &mut Layout, info: &Info) {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    layout.long(168, micros(info.busy_time));
    layout.long(176, micros(info.rwnd_limited));
    layout.long(184, micros(info.sndbuf_limited));
    layout.word(224, info.rcv_ooopack);
    let short = |count: u32| u16::try_from(count).unwrap_or(u16::MAX).to_ne_bytes();
    layout.put(240, short(info.total_rto));
    layout.put(242, short(info.total_rto_recoveries));
    layout.millis(244, info.total_rto_time);
}

fn put_counts(layout: &mut Layout, info: &Info) {
    layout.word(100, info.total_retrans);
    layout.long(104, u64::MAX);
    layout.long(112, u64::MAX);
    layout.long(120, info.bytes_acked);
    layout.long(128, info.bytes_received);
    layout.word(136, info.segs_out);
    layout.word(140, info.segs_in);
    layout.word(144, info.notsent_bytes);
    layout.word(152, info.data_segs_in);
    layout.word(156, info.data_segs_out);
    layout.long(160, info.delivery_rate);
    // Our SYN counts.
    let is_open = !matches!(info.state, State::SynSent | State::SynReceived);
    layout.word(192, info.delivered.wrapping_add(is_open.into()));
    layout.long(200, info.bytes_sent);
    layout.long(208, info.bytes_retrans);
    layout.word(216, info.dsack_dups);
    layout.word(220, info.reord_seen);
}
