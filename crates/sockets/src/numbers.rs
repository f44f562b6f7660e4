//! The numbers of Linux's interface, by the headers that have them. They are the same on every architecture that Sunstar runs on.

#![expect(
    missing_docs,
    reason = "the names are those of the manual pages: socket(7), tcp(7), send(2), recv(2), poll(2), epoll(7)"
)]

/// Address families.
pub mod family {
    pub const INET: u16 = 2;
    pub const INET6: u16 = 10;
}

/// Types of sockets, and what may be said with them.
pub mod kind {
    pub const STREAM: i32 = 1;
    pub const DGRAM: i32 = 2;
    pub const NONBLOCK: i32 = 0o4000;
    pub const CLOEXEC: i32 = 0o2000000;
}

/// Protocols.
pub mod protocol {
    pub const TCP: i32 = 6;
}

/// Levels of options.
pub mod level {
    pub const IP: i32 = 0;
    pub const SOCKET: i32 = 1;
    pub const TCP: i32 = 6;
    pub const IPV6: i32 = 41;
}

/// Options of [`level::SOCKET`].
pub mod so {
    pub const REUSEADDR: i32 = 2;
    pub const TYPE: i32 = 3;
    pub const ERROR: i32 = 4;
    pub const SNDBUF: i32 = 7;
    pub const RCVBUF: i32 = 8;
    pub const KEEPALIVE: i32 = 9;
    pub const OOBINLINE: i32 = 10;
    pub const PRIORITY: i32 = 12;
    pub const LINGER: i32 = 13;
    pub const REUSEPORT: i32 = 15;
    pub const RCVLOWAT: i32 = 18;
    pub const RCVTIMEO: i32 = 20;
    pub const SNDTIMEO: i32 = 21;
    pub const ACCEPTCONN: i32 = 30;
    pub const SNDBUFFORCE: i32 = 32;
    pub const RCVBUFFORCE: i32 = 33;
    pub const MARK: i32 = 36;
    pub const TIMESTAMPING: i32 = 37;
    pub const PROTOCOL: i32 = 38;
    pub const DOMAIN: i32 = 39;
    pub const MAX_PACING_RATE: i32 = 47;
    pub const MEMINFO: i32 = 55;
    pub const ZEROCOPY: i32 = 60;
}

/// Options of [`level::TCP`].
pub mod tcp {
    pub const NODELAY: i32 = 1;
    pub const MAXSEG: i32 = 2;
    pub const CORK: i32 = 3;
    pub const KEEPIDLE: i32 = 4;
    pub const KEEPINTVL: i32 = 5;
    pub const KEEPCNT: i32 = 6;
    pub const SYNCNT: i32 = 7;
    pub const LINGER2: i32 = 8;
    pub const DEFER_ACCEPT: i32 = 9;
    pub const WINDOW_CLAMP: i32 = 10;
    pub const INFO: i32 = 11;
    pub const QUICKACK: i32 = 12;
    pub const CONGESTION: i32 = 13;
    pub const USER_TIMEOUT: i32 = 18;
    pub const FASTOPEN: i32 = 23;
    pub const TIMESTAMP: i32 = 24;
    pub const NOTSENT_LOWAT: i32 = 25;
    pub const CC_INFO: i32 = 26;
    pub const FASTOPEN_CONNECT: i32 = 30;
    pub const FASTOPEN_KEY: i32 = 33;
    pub const FASTOPEN_NO_COOKIE: i32 = 34;
    pub const INQ: i32 = 36;
}

/// Options of [`level::IP`].
pub mod ip {
    pub const TOS: i32 = 1;
    pub const TTL: i32 = 2;
    pub const MTU_DISCOVER: i32 = 10;
    pub const RECVERR: i32 = 11;
    pub const FREEBIND: i32 = 15;
}

/// Options of [`level::IPV6`].
pub mod ipv6 {
    pub const MTU_DISCOVER: i32 = 23;
    pub const RECVERR: i32 = 25;
    pub const V6ONLY: i32 = 26;
    pub const TCLASS: i32 = 67;
}

/// Flags of sending and receiving.
pub mod msg {
    pub const OOB: i32 = 0x1;
    pub const PEEK: i32 = 0x2;
    pub const CTRUNC: i32 = 0x8;
    pub const TRUNC: i32 = 0x20;
    pub const DONTWAIT: i32 = 0x40;
    pub const EOR: i32 = 0x80;
    pub const WAITALL: i32 = 0x100;
    pub const ERRQUEUE: i32 = 0x2000;
    pub const NOSIGNAL: i32 = 0x4000;
    pub const MORE: i32 = 0x8000;
    pub const ZEROCOPY: i32 = 0x0400_0000;
    pub const FASTOPEN: i32 = 0x2000_0000;
}

/// What can be waited for: the bits of poll, and of epoll, which are the same.
pub mod ready {
    pub const IN: u32 = 0x1;
    pub const PRI: u32 = 0x2;
    pub const OUT: u32 = 0x4;
    pub const ERR: u32 = 0x8;
    pub const HUP: u32 = 0x10;
    pub const NVAL: u32 = 0x20;
    pub const RDNORM: u32 = 0x40;
    pub const RDBAND: u32 = 0x80;
    pub const WRNORM: u32 = 0x100;
    pub const WRBAND: u32 = 0x200;
    pub const MSG: u32 = 0x400;
    pub const RDHUP: u32 = 0x2000;
}

/// What else a watch of epoll may say, and the operations of `epoll_ctl`.
pub mod epoll {
    pub const EXCLUSIVE: u32 = 1 << 28;
    pub const WAKEUP: u32 = 1 << 29;
    pub const ONESHOT: u32 = 1 << 30;
    pub const ET: u32 = 1 << 31;
    pub const CTL_ADD: i32 = 1;
    pub const CTL_DEL: i32 = 2;
    pub const CTL_MOD: i32 = 3;
}

/// Operations of fcntl, and the flags that it knows.
pub mod file {
    pub const F_DUPFD: i32 = 0;
    pub const F_DUPFD_CLOEXEC: i32 = 1_030;
    pub const F_GETFD: i32 = 1;
    pub const F_SETFD: i32 = 2;
    pub const F_GETFL: i32 = 3;
    pub const F_SETFL: i32 = 4;
    pub const FD_CLOEXEC: i32 = 1;
    pub const O_RDWR: i32 = 2;
    pub const O_NONBLOCK: i32 = 0o4000;
}

/// Operations of ioctl.
pub mod ioctl {
    pub const FIONREAD: u32 = 0x541B;
    pub const SIOCATMARK: u32 = 0x8905;
    pub const SIOCOUTQ: u32 = 0x5411;
    pub const FIONBIO: u32 = 0x5421;
    pub const SIOCOUTQNSD: u32 = 0x894B;
}

/// How to shut down.
pub mod shut {
    pub const RD: i32 = 0;
    pub const WR: i32 = 1;
    pub const RDWR: i32 = 2;
}

/// What is told beside received bytes (`cmsg_type`), by level.
pub mod control {
    /// Of [`super::level::SOCKET`]: `SCM_TIMESTAMPING`.
    pub const TIMESTAMPING: i32 = 37;
    /// Of [`super::level::SOCKET`]: `SCM_TIMESTAMPING_OPT_STATS`.
    pub const TIMESTAMPING_OPT_STATS: i32 = 54;
    /// Of [`super::level::TCP`]: `TCP_CM_INQ`.
    pub const INQ: i32 = 36;
}

/// Flags of `SO_TIMESTAMPING`, and what its messages are about.
pub mod timestamping {
    pub const TX_SOFTWARE: u32 = 1 << 1;
    pub const SOFTWARE: u32 = 1 << 4;
    pub const OPT_ID: u32 = 1 << 7;
    pub const TX_SCHED: u32 = 1 << 8;
    pub const TX_ACK: u32 = 1 << 9;
    pub const OPT_TSONLY: u32 = 1 << 11;
    pub const OPT_STATS: u32 = 1 << 12;
    /// `SCM_TSTAMP_SND`: the last byte has left.
    pub const SND: u32 = 0;
    /// `SCM_TSTAMP_SCHED`: the last byte was given to the device's queue.
    pub const SCHED: u32 = 1;
    /// `SCM_TSTAMP_ACK`: the last byte was acknowledged.
    pub const ACK: u32 = 2;
}

/// Where an entry of the error queue comes from (`ee_origin`), and `ee_code` of zero-copy.
pub mod origin {
    pub const LOCAL: u8 = 1;
    pub const ICMP: u8 = 2;
    pub const TIMESTAMPING: u8 = 4;
    pub const ZEROCOPY: u8 = 5;
    pub const CODE_ZEROCOPY_COPIED: u8 = 1;
}
