//! What a connection is made with.

use core::time::Duration;

use super::PathProbing;
use crate::tcp::congestion::AlgorithmName;

/// What a connection is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Payload bytes of the largest segment that the path takes, without options (RFC 9293 §3.7.1).
    pub mss: u16,
    /// Received bytes that wait for the application at most, in the beginning; what the other side is told that it may send.
    pub receive_capacity: u32,
    /// Up to which it grows, to twice what the application takes in a round trip, as long as the stack has room for that
    /// ([`Limits::growth_bytes`](crate::tcp::sockets::Limits::growth_bytes)). It never shrinks. If this is no more than
    /// [`Options::receive_capacity`], that holds as it is: what `SO_RCVBUF` is for.
    pub max_receive_capacity: u32,
    /// Bytes that the application has handed over and the other side has not acknowledged, at most, in the beginning.
    pub send_capacity: u32,
    /// Up to which that grows, to twice the congestion window, if the application makes use of it; the same holds (`SO_SNDBUF`).
    pub max_send_capacity: u32,
    /// How the congestion window moves.
    pub congestion: AlgorithmName,
    /// Sends small segments at once, though others are not acknowledged yet (`TCP_NODELAY`: no Nagle, RFC 9293 §3.7.4).
    pub is_no_delay: bool,
    /// After so much time without a segment asks whether the other side is there (RFC 9293 §3.8.4).
    pub keepalive: Option<Keepalive>,
    /// For so long at most may data be unacknowledged (RFC 5482); none leaves it to [`Options::MAX_TIMEOUTS`].
    pub user_timeout: Option<Duration>,
    /// After so many unanswered SYNs, beside the first one, the connection attempt ends (`TCP_SYNCNT`).
    pub syn_retries: u8,
    /// So many segments leave at once, if there are and may, however slow the path is (`tcp_min_tso_segs`).
    pub burst_segments: u8,
    /// Whether it is found out what gets through, where routers do not tell (RFC 4821).
    pub path_probing: PathProbing,
    /// Payload bytes of segments that get through nearly everywhere, which that begins with (`tcp_base_mss`).
    pub base_mss: u16,
    /// Whether the congestion window falls back to the initial one when nothing was sent for a retransmission timeout (RFC 5681 §4.1,
    /// `tcp_slow_start_after_idle`).
    pub restarts_after_idle: bool,
    /// On paths whose round trip takes so many microseconds or more, new data leave evenly: two windows per round trip in slow start, and
    /// 1.2 afterwards (as with `fq` of Linux). `u32::MAX` paces nobody.
    pub paced_from_micros: u32,
    /// New data leave at so many bytes per second at most, however short the path is; `u64::MAX` is no bound (`SO_MAX_PACING_RATE`).
    pub max_pacing_rate: u64,
    /// Whether timestamps are offered (RFC 7323 §3).
    pub offers_timestamps: bool,
    /// Whether selective acknowledgements are offered (RFC 2018 §2).
    pub offers_sack: bool,
}

/// When to ask a silent peer whether it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// After so much silence the first time (`TCP_KEEPIDLE`).
    pub idle: Duration,
    /// Then again after so much each time (`TCP_KEEPINTVL`).
    pub interval: Duration,
    /// After so many questions without an answer the connection ends (`TCP_KEEPCNT`).
    pub probes: u8,
}

impl Options {
    /// After so many timeouts in a row without an acknowledgement the connection ends: some 15 minutes (`tcp_retries2` of
    /// Linux; RFC 9293 §3.8.3 asks for at least 100 s).
    pub const MAX_TIMEOUTS: u8 = 15;

    /// The same of a connection that the application has let go, also if the other side answers and keeps its window closed: some
    /// 2 minutes (`tcp_orphan_retries` of Linux).
    pub const MAX_ORPHAN_TIMEOUTS: u8 = 8;

    /// For so long a connection that the application has let go waits for the end of the other side's stream (`tcp_fin_timeout` of
    /// Linux; RFC 9293 §3.6 lets it wait for ever).
    pub const ORPHAN_WAIT: Duration = Duration::from_secs(60);

    /// What Ethernet takes, with the buffers that Linux begins with and lets grow (`tcp_rmem`, `tcp_wmem`).
    pub const DEFAULT: Self = Self {
        mss: 1_460,
        receive_capacity: 128 << 10,
        max_receive_capacity: 6 << 20,
        send_capacity: 128 << 10,
        max_send_capacity: 4 << 20,
        congestion: AlgorithmName::Cubic,
        is_no_delay: false,
        keepalive: None,
        user_timeout: None,
        // Some 2 minutes, as `tcp_syn_retries` of Linux.
        syn_retries: 6,
        burst_segments: 2,
        path_probing: PathProbing::AfterBlackHole,
        base_mss: 1_024,
        restarts_after_idle: true,
        paced_from_micros: 5_000,
        max_pacing_rate: u64::MAX,
        offers_timestamps: true,
        offers_sack: true,
    };
}
