//! What holds for sockets that say nothing else: as `sysctl net.ipv4` of Linux.

use core::time::Duration;

use sunstar_tcpip::tcp::congestion::AlgorithmName;

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
    /// Unsent bytes up to which a socket may be written to (`tcp_notsent_lowat`).
    pub notsent_lowat: u32,
    /// The algorithm of the congestion window (`tcp_congestion_control`).
    pub congestion: AlgorithmName,
    /// Whether the congestion window falls back after a pause (`tcp_slow_start_after_idle`).
    pub slow_start_after_idle: bool,
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
        notsent_lowat: u32::MAX,
        congestion: AlgorithmName::Cubic,
        slow_start_after_idle: true,
        somaxconn: 4_096,
        keepalive: (Duration::from_secs(7_200), Duration::from_secs(75), 9),
        descriptors: 65_536,
    };
}
