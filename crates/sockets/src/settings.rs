//! What holds for sockets that say nothing else: as `sysctl net.ipv4` of Linux.

use core::time::Duration;

use sunstar_tcpip::tcp::congestion::AlgorithmName;
use sunstar_tcpip::tcp::connection::PathProbing;
use sunstar_tcpip::tcp::fast_open::FastOpenKeys;

/// Bits of [`Settings::fast_open`].
pub mod fast_open {
    /// Programs may send with their SYN.
    pub const CLIENT: u32 = 1;
    /// Listeners may take what comes with a SYN.
    pub const SERVER: u32 = 2;
    /// Data are sent without a cookie.
    pub const CLIENT_NO_COOKIE: u32 = 4;
    /// They are taken without one.
    pub const SERVER_COOKIE_NOT_REQUIRED: u32 = 0x200;
    /// Listeners take them though they have not said so (`TCP_FASTOPEN`).
    pub const SERVER_WITHOUT_OPTION: u32 = 0x400;
}

/// Defaults of sockets, with the names that Linux gives them. A change holds for connections that are opened afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Received bytes that wait at most: in the beginning, and up to what it grows (`tcp_rmem`).
    pub rmem: [u32; 2],
    /// The same of bytes that are sent and not acknowledged (`tcp_wmem`).
    pub wmem: [u32; 2],
    /// Whether timestamps are offered and taken (`tcp_timestamps`).
    pub timestamps: bool,
    /// Whether selective acknowledgements are (`tcp_sack`).
    pub sack: bool,
    /// Whether windows are scaled (`tcp_window_scaling`).
    pub window_scaling: bool,
    /// How often a SYN is sent again (`tcp_syn_retries`).
    pub syn_retries: u8,
    /// Whether it is found out how large segments may be, and what that begins with (`tcp_mtu_probing`, `tcp_base_mss`).
    pub mtu_probing: PathProbing,
    /// See [`Settings::mtu_probing`].
    pub base_mss: u16,
    /// So many segments leave at once, however slow the path is (`tcp_min_tso_segs`).
    pub min_tso_segs: u8,
    /// Unsent bytes up to which a socket may be written to (`tcp_notsent_lowat`).
    pub notsent_lowat: u32,
    /// On paths whose round trip takes so many microseconds or more new data leave evenly, as with `fq`; `u32::MAX` paces nobody,
    /// unless it asks for that (`SO_MAX_PACING_RATE`).
    pub paced_from_micros: u32,
    /// The algorithm of the congestion window (`tcp_congestion_control`).
    pub congestion: AlgorithmName,
    /// Whether the congestion window falls back after a pause (`tcp_slow_start_after_idle`).
    pub slow_start_after_idle: bool,
    /// Where Fast Open is used (`tcp_fastopen`): the bits of [`fast_open`].
    pub fast_open: u32,
    /// What listeners make cookies from that have no keys of their own (`tcp_fastopen_key`); without it they give none.
    pub fast_open_keys: Option<FastOpenKeys>,
    /// The bound on listeners' backlogs (`somaxconn`).
    pub somaxconn: u32,
    /// When to ask a silent peer, how often and how many times (`tcp_keepalive_time` and so on).
    pub keepalive: (Duration, Duration, u8),
    /// Descriptors at most.
    pub descriptors: usize,
}

impl Settings {
    /// Those of Linux, and of this stack where it begins with other buffers.
    pub const DEFAULT: Self = Self {
        rmem: [128 << 10, 6 << 20],
        wmem: [128 << 10, 4 << 20],
        timestamps: true,
        sack: true,
        window_scaling: true,
        syn_retries: 6,
        mtu_probing: PathProbing::AfterBlackHole,
        base_mss: 1_024,
        min_tso_segs: 2,
        notsent_lowat: u32::MAX,
        paced_from_micros: u32::MAX,
        congestion: AlgorithmName::Cubic,
        slow_start_after_idle: true,
        fast_open: fast_open::CLIENT,
        fast_open_keys: None,
        somaxconn: 4_096,
        keepalive: (Duration::from_secs(7_200), Duration::from_secs(75), 9),
        descriptors: 65_536,
    };
}
