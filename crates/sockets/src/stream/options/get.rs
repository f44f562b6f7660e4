//! getsockopt(2).

use alloc::vec::Vec;

use core::time::Duration;

use crate::errno::Errno;
use crate::numbers::{ip, ipv6, kind, level, protocol, so, tcp};
use crate::stream::{Phase, Stream, World};

/// Without a connection segments are as large as every host takes them (RFC 9293 §3.7.1).
const DEFAULT_MSS: i32 = 536;

/// `struct timeval`.
fn time(value: Option<Duration>) -> Vec<u8> {
    let value = value.unwrap_or_default();
    let mut bytes = value.as_secs().to_ne_bytes().to_vec();
    bytes.extend(u64::from(value.subsec_micros()).to_ne_bytes());
    bytes
}

fn int(value: impl TryInto<i32>) -> Vec<u8> {
    value.try_into().unwrap_or(i32::MAX).to_ne_bytes().to_vec()
}

impl Stream {
    /// The value of an option.
    pub(crate) fn option(&mut self, world: &mut World<'_>, at: i32, name: i32) -> Result<Vec<u8>, Errno> {
        match at {
            level::SOCKET => self.socket_option(world, name),
            level::TCP => self.tcp_option(world, name),
            level::IP | level::IPV6 => self.ip_option(at, name),
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    fn socket_option(&mut self, world: &mut World<'_>, name: i32) -> Result<Vec<u8>, Errno> {
        let wishes = &self.wishes;
        Ok(match name {
            so::REUSEADDR => int(wishes.is_reusable),
            so::REUSEPORT => int(wishes.is_port_reusable),
            so::TYPE => int(kind::STREAM),
            so::PROTOCOL => int(protocol::TCP),
            so::DOMAIN => int(self.family.number()),
            so::ERROR => int(self.take_error(world.stack).map_or(0, Errno::number)),
            so::SNDBUF => {
                let grown = self.connection(world.stack).map(|connection| connection.send_capacity());
                int(grown.or(wishes.sndbuf).unwrap_or(world.settings.wmem[0]))
            }
            so::RCVBUF => int(wishes.rcvbuf.unwrap_or(world.settings.rmem[0])),
            so::KEEPALIVE => int(wishes.has_keepalive),
            so::OOBINLINE => int(wishes.is_oob_inline),
            so::PRIORITY => int(wishes.priority),
            so::MARK => wishes.mark.to_ne_bytes().to_vec(),
            so::RCVLOWAT => int(wishes.rcvlowat.max(1)),
            so::RCVTIMEO => time(wishes.receive_timeout),
            so::SNDTIMEO => time(wishes.send_timeout),
            so::ACCEPTCONN => int(matches!(self.phase, Phase::Listening(_))),
            so::ZEROCOPY => int(wishes.is_zerocopy),
            so::TIMESTAMPING => wishes.timestamping.to_ne_bytes().to_vec(),
            so::MAX_PACING_RATE => wishes.max_pacing_rate.unwrap_or(u64::MAX).to_ne_bytes().to_vec(),
            so::MEMINFO => self.memory(world),
            so::LINGER => {
                let seconds = wishes.linger.map_or(0, |linger| linger.as_secs());
                [int(wishes.linger.is_some()), int(seconds)].concat()
            }
            _ => return Err(Errno::NOPROTOOPT),
        })
    }

    fn tcp_option(&mut self, world: &mut World<'_>, name: i32) -> Result<Vec<u8>, Errno> {
        let (wishes, settings) = (&self.wishes, world.settings);
        let (idle, interval, probes) = settings.keepalive;
        Ok(match name {
            tcp::NODELAY => int(wishes.is_no_delay),
            tcp::MAXSEG => match self.connection(world.stack) {
                Some(connection) => int(connection.info(world.now).snd_mss),
                None => int(self.wishes.maxseg.map_or(DEFAULT_MSS, i32::from)),
            },
            tcp::CORK => int(wishes.is_corked),
            tcp::KEEPIDLE => int(wishes.keepidle.map_or(idle.as_secs(), u64::from)),
            tcp::KEEPINTVL => int(wishes.keepintvl.map_or(interval.as_secs(), u64::from)),
            tcp::KEEPCNT => int(wishes.keepcnt.unwrap_or(probes)),
            tcp::SYNCNT => int(wishes.syncnt.unwrap_or(settings.syn_retries)),
            tcp::LINGER2 => int(wishes.linger2),
            tcp::DEFER_ACCEPT => int(wishes.defer_accept),
            tcp::WINDOW_CLAMP => int(wishes.window_clamp),
            tcp::QUICKACK => int(1),
            tcp::USER_TIMEOUT => int(wishes.user_timeout_ms),
            tcp::NOTSENT_LOWAT => wishes.notsent_lowat.to_ne_bytes().to_vec(),
            tcp::FASTOPEN => int(wishes.fast_open_backlog),
            tcp::FASTOPEN_CONNECT => int(wishes.connects_fast),
            tcp::FASTOPEN_NO_COOKIE => int(wishes.needs_no_cookie),
            tcp::FASTOPEN_KEY => self.fast_open_key_bytes(settings),
            tcp::INQ => int(wishes.tells_inq),
            tcp::INFO => self.tcp_info(world),
            // What the algorithm has to say: nothing.
            tcp::CC_INFO => Vec::new(),
            tcp::CONGESTION => {
                let mut name = wishes.congestion.unwrap_or(settings.congestion).as_str().as_bytes().to_vec();
                name.resize(16, 0);
                name
            }
            _ => return Err(Errno::NOPROTOOPT),
        })
    }

    fn ip_option(&self, at: i32, name: i32) -> Result<Vec<u8>, Errno> {
        let wishes = &self.wishes;
        Ok(match (at, name) {
            (level::IP, ip::TOS) | (level::IPV6, ipv6::TCLASS) => int(wishes.tos),
            (level::IP, ip::MTU_DISCOVER) | (level::IPV6, ipv6::MTU_DISCOVER) => int(wishes.mtu_discover),
            (level::IP, ip::RECVERR) | (level::IPV6, ipv6::RECVERR) => int(wishes.recverr),
            (level::IP, ip::FREEBIND) => int(wishes.is_freebind),
            (level::IPV6, ipv6::V6ONLY) => int(wishes.is_v6only),
            _ => return Err(Errno::NOPROTOOPT),
        })
    }

    /// `SO_MEMINFO`: bytes that are received and not read, the bound on those, what is sent and not acknowledged takes, the bound on that, and five
    /// that mean nothing here.
    fn memory(&mut self, world: &mut World<'_>) -> Vec<u8> {
        let rcvbuf = self.wishes.rcvbuf.unwrap_or(world.settings.rmem[0]);
        let sndbuf = self.wishes.sndbuf.unwrap_or(world.settings.wmem[0]);
        let queued = self.connection(world.stack).map_or(0, |connection| self.wmem_queued(connection));
        let values = [self.receivable(world.stack), rcvbuf, 0, sndbuf, 0, queued, 0, 0, 0];
        values.iter().flat_map(|value| value.to_ne_bytes()).collect()
    }
}
