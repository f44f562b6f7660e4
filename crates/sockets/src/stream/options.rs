//! What a program has set: setsockopt(2), getsockopt(2).

mod get;
pub(super) mod set;

use alloc::vec::Vec;
use core::time::Duration;

use sunstar_tcpip::tcp::congestion::AlgorithmName;
use sunstar_tcpip::tcp::connection::{Keepalive, Options};

use crate::settings::Settings;
use crate::sockets::Direction;

/// The least buffers, as Linux has them (`SOCK_MIN_SNDBUF`, `SOCK_MIN_RCVBUF`).
const MIN_SNDBUF: u32 = 4_608;
const MIN_RCVBUF: u32 = 2_304;

/// What a program wants of a socket; nothing where it has said nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    pub(super) is_reusable: bool,
    pub(super) is_port_reusable: bool,
    pub(super) is_freebind: bool,
    pub(super) is_v6only: bool,
    /// Zero resets, more waits; see `SO_LINGER`.
    pub(super) linger: Option<Duration>,
    pub(super) receive_timeout: Option<Duration>,
    pub(super) send_timeout: Option<Duration>,
    /// Doubled, as Linux does it.
    pub(super) sndbuf: Option<u32>,
    pub(super) rcvbuf: Option<u32>,
    pub(super) is_oob_inline: bool,
    pub(super) is_no_delay: bool,
    pub(super) is_corked: bool,
    pub(super) maxseg: Option<u16>,
    pub(super) has_keepalive: bool,
    pub(super) keepidle: Option<u32>,
    pub(super) keepintvl: Option<u32>,
    pub(super) keepcnt: Option<u8>,
    pub(super) syncnt: Option<u8>,
    pub(super) user_timeout_ms: u32,
    /// Bytes per second.
    pub(super) max_pacing_rate: Option<u64>,
    pub(super) congestion: Option<AlgorithmName>,
    pub(super) notsent_lowat: u32,
    pub(super) tells_inq: bool,
    pub(super) is_zerocopy: bool,
    pub(super) timestamping: u32,
    pub(super) tos: u8,
    pub(super) mark: u32,
    pub(super) priority: i32,
    pub(super) rcvlowat: u32,
    pub(super) mtu_discover: i32,
    pub(super) recverr: bool,
    pub(super) linger2: i32,
    pub(super) defer_accept: u32,
    pub(super) window_clamp: u32,
    /// Connections that may wait to be accepted before they are confirmed (`TCP_FASTOPEN`).
    pub(super) fast_open_backlog: u32,
    pub(super) fast_open_keys: Vec<u8>,
    pub(super) connects_fast: bool,
    pub(super) needs_no_cookie: bool,
}

impl Wishes {
    /// What an accepted socket has of its listener's.
    pub(super) fn inherited(&self) -> Self {
        self.clone()
    }

    /// For how long closing waits.
    pub(crate) fn linger(&self) -> Option<Duration> {
        self.linger
    }

    /// For how long a call waits at most.
    pub(crate) fn timeout(&self, direction: Direction) -> Option<Duration> {
        match direction {
            Direction::Receive => self.receive_timeout,
            Direction::Send => self.send_timeout,
        }
    }

    /// So many bytes are worth waking for.
    pub(super) fn receive_low_water(&self) -> u32 {
        self.rcvlowat.max(1)
    }

    pub(super) fn notsent_lowat(&self, settings: &Settings) -> u32 {
        if self.notsent_lowat == 0 { settings.notsent_lowat } else { self.notsent_lowat }
    }

    /// Received bytes that wait at most, without what is kept beside them: half of what was asked for is for that in Linux
    /// (`tcp_adv_win_scale`).
    pub(super) fn receive_capacity(&self, settings: &Settings) -> u32 {
        self.rcvbuf.map_or(settings.rmem[0], |rcvbuf| rcvbuf / 2)
    }

    fn keepalive(&self, settings: &Settings) -> Option<Keepalive> {
        let (idle, interval, probes) = settings.keepalive;
        let seconds = |wanted: Option<u32>, usual| wanted.map_or(usual, |secs| Duration::from_secs(secs.into()));
        self.has_keepalive.then(|| Keepalive {
            idle: seconds(self.keepidle, idle),
            interval: seconds(self.keepintvl, interval),
            probes: self.keepcnt.unwrap_or(probes),
        })
    }

    /// The options with which a connection is opened or goes on.
    pub(super) fn connection_options(&self, settings: &Settings) -> Options {
        let user_timeout = u64::from(self.user_timeout_ms);
        Options {
            mss: self.maxseg.unwrap_or(u16::MAX),
            receive_capacity: self.receive_capacity(settings),
            max_receive_capacity: if self.rcvbuf.is_some() { 0 } else { settings.rmem[1] },
            send_capacity: self.sndbuf.unwrap_or(settings.wmem[0]),
            max_send_capacity: if self.sndbuf.is_some() { 0 } else { settings.wmem[1] },
            congestion: self.congestion.unwrap_or(settings.congestion),
            is_no_delay: self.is_no_delay,
            keepalive: self.keepalive(settings),
            user_timeout: (user_timeout > 0).then(|| Duration::from_millis(user_timeout)),
            burst_segments: settings.min_tso_segs,
            restarts_after_idle: settings.slow_start_after_idle,
            path_probing: settings.mtu_probing,
            base_mss: settings.base_mss,
            paced_from_micros: settings.paced_from_micros,
            max_pacing_rate: self.max_pacing_rate.unwrap_or(u64::MAX),
            syn_retries: self.syncnt.unwrap_or(settings.syn_retries),
            offers_timestamps: settings.timestamps,
            offers_sack: settings.sack,
        }
    }
}
