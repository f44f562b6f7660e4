//! setsockopt(2).

use core::time::Duration;

use sunstar_tcpip::tcp::connection::Connection;

use super::{MIN_RCVBUF, MIN_SNDBUF};
use crate::errno::Errno;
use crate::numbers::{ip, ipv6, level, so, tcp};
use crate::stream::{Phase, Stream, World};

/// An `int`.
pub(in crate::stream) fn int(value: &[u8]) -> Result<i32, Errno> {
    value.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes)).ok_or(Errno::INVAL)
}

/// An `int` that is no less than `least` and no more than `most`.
pub(in crate::stream) fn within(value: &[u8], least: i32, most: i32) -> Result<u32, Errno> {
    let value = int(value)?;
    if value < least || value > most { Err(Errno::INVAL) } else { Ok(value.unsigned_abs()) }
}

/// A `struct timeval`; zero is for ever.
fn time(value: &[u8]) -> Result<Option<Duration>, Errno> {
    let (seconds, rest) = value.split_first_chunk().ok_or(Errno::INVAL)?;
    let micros = rest.first_chunk().ok_or(Errno::INVAL)?;
    let (seconds, micros) = (i64::from_ne_bytes(*seconds), i64::from_ne_bytes(*micros));
    if !(0..1_000_000).contains(&micros) {
        return Err(Errno::DOM);
    }
    let micros = u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000) + micros.unsigned_abs();
    Ok((micros > 0).then(|| Duration::from_micros(micros)))
}

/// Twice a size, for what is kept beside the bytes (socket(7)).
fn doubled(value: &[u8], least: u32) -> Result<u32, Errno> {
    Ok(int(value)?.unsigned_abs().saturating_mul(2).clamp(least, 1 << 30))
}

/// Bytes per second, in 32 or 64 bits; all ones are no bound (socket(7)).
fn pacing_rate(value: &[u8]) -> Result<Option<u64>, Errno> {
    let long = value.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes)).filter(|rate| *rate != u64::MAX);
    let short = Some(int(value)?.cast_unsigned()).filter(|rate| *rate != u32::MAX).map(u64::from);
    Ok(if value.len() < size_of::<u64>() { short } else { long })
}

impl Stream {
    /// Sets an option.
    pub(crate) fn set_option(&mut self, world: &mut World<'_>, at: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        match at {
            level::SOCKET => self.set_socket_option(name, value)?,
            level::TCP => self.set_tcp_option(world, name, value)?,
            level::IP | level::IPV6 => self.set_ip_option(at, name, value)?,
            _ => return Err(Errno::NOPROTOOPT),
        }
        self.apply(world);
        Ok(())
    }

    fn set_socket_option(&mut self, name: i32, value: &[u8]) -> Result<(), Errno> {
        let wishes = &mut self.wishes;
        match name {
            so::REUSEADDR => wishes.is_reusable = int(value)? != 0,
            so::REUSEPORT => wishes.is_port_reusable = int(value)? != 0,
            so::SNDBUF | so::SNDBUFFORCE => wishes.sndbuf = Some(doubled(value, MIN_SNDBUF)?),
            so::RCVBUF | so::RCVBUFFORCE => wishes.rcvbuf = Some(doubled(value, MIN_RCVBUF)?),
            so::KEEPALIVE => wishes.has_keepalive = int(value)? != 0,
            so::OOBINLINE => wishes.is_oob_inline = int(value)? != 0,
            so::PRIORITY => wishes.priority = int(value)?,
            so::MARK => wishes.mark = int(value)?.cast_unsigned(),
            so::RCVLOWAT => wishes.rcvlowat = int(value)?.unsigned_abs().max(1),
            so::RCVTIMEO => wishes.receive_timeout = time(value)?,
            so::SNDTIMEO => wishes.send_timeout = time(value)?,
            so::ZEROCOPY => wishes.is_zerocopy = within(value, 0, 1)? != 0,
            so::TIMESTAMPING => {
                let had_ids = wishes.timestamping & crate::numbers::timestamping::OPT_ID != 0;
                wishes.timestamping = int(value)?.cast_unsigned();
                if !had_ids {
                    self.notices.begin_ids(self.written);
                }
            }
            so::MAX_PACING_RATE => wishes.max_pacing_rate = pacing_rate(value)?,
            so::LINGER => {
                let (on, rest) = value.split_first_chunk().ok_or(Errno::INVAL)?;
                let seconds = rest.first_chunk().ok_or(Errno::INVAL)?;
                let seconds = u64::try_from(i32::from_ne_bytes(*seconds)).unwrap_or(0);
                wishes.linger = (i32::from_ne_bytes(*on) != 0).then(|| Duration::from_secs(seconds));
            }
            _ => return Err(Errno::NOPROTOOPT),
        }
        Ok(())
    }

    fn set_tcp_option(&mut self, world: &mut World<'_>, name: i32, value: &[u8]) -> Result<(), Errno> {
        let wishes = &mut self.wishes;
        match name {
            tcp::NODELAY => {
                wishes.is_no_delay = int(value)? != 0;
                // Lets out what waits, also if it is corked (tcp(7)).
                if let (true, Phase::Open(id)) = (wishes.is_no_delay, self.phase) {
                    world.stack.tcp().configure(id, Connection::push_all);
                }
            }
            tcp::MAXSEG => match within(value, 0, 32_767)? {
                0 => wishes.maxseg = None,
                mss if mss < 88 => return Err(Errno::INVAL),
                mss => wishes.maxseg = u16::try_from(mss).ok(),
            },
            tcp::CORK => {
                wishes.is_corked = int(value)? != 0;
                let is_corked = wishes.is_corked;
                if let Phase::Open(id) = self.phase {
                    world.stack.tcp().configure(id, |connection| connection.set_corked(is_corked));
                }
            }
            tcp::KEEPIDLE => wishes.keepidle = Some(within(value, 1, 32_767)?),
            tcp::KEEPINTVL => wishes.keepintvl = Some(within(value, 1, 32_767)?),
            tcp::KEEPCNT => wishes.keepcnt = u8::try_from(within(value, 1, 127)?).ok(),
            tcp::SYNCNT => wishes.syncnt = u8::try_from(within(value, 1, 127)?).ok(),
            tcp::LINGER2 => wishes.linger2 = int(value)?,
            tcp::DEFER_ACCEPT => wishes.defer_accept = int(value)?.unsigned_abs(),
            tcp::WINDOW_CLAMP => wishes.window_clamp = int(value)?.unsigned_abs(),
            tcp::QUICKACK | tcp::TIMESTAMP => drop(int(value)?),
            tcp::USER_TIMEOUT => wishes.user_timeout_ms = within(value, 0, i32::MAX)?,
            tcp::NOTSENT_LOWAT => wishes.notsent_lowat = int(value)?.cast_unsigned(),
            tcp::FASTOPEN | tcp::FASTOPEN_CONNECT | tcp::FASTOPEN_KEY | tcp::FASTOPEN_NO_COOKIE => {
                self.set_fast_open_option(world, name, value)?
            }
            tcp::INQ => wishes.tells_inq = within(value, 0, 1)? != 0,
            tcp::CONGESTION => {
                let name = value.split(|byte| *byte == 0).next().unwrap_or_default();
                let name = core::str::from_utf8(name).map_err(|_| Errno::NOENT)?;
                wishes.congestion = Some(name.parse().map_err(|_| Errno::NOENT)?);
            }
            _ => return Err(Errno::NOPROTOOPT),
        }
        Ok(())
    }

    fn set_ip_option(&mut self, at: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        let wishes = &mut self.wishes;
        // Of IP also one byte will do (ip(7)).
        let value = if value.len() == 1 { i32::from(value[0]) } else { int(value)? };
        match (at, name) {
            (level::IP, ip::TOS) | (level::IPV6, ipv6::TCLASS) => {
                wishes.tos = u8::try_from(value & 0xff).unwrap_or(0);
            }
            (level::IP, ip::MTU_DISCOVER) | (level::IPV6, ipv6::MTU_DISCOVER) => wishes.mtu_discover = value,
            (level::IP, ip::RECVERR) | (level::IPV6, ipv6::RECVERR) => wishes.recverr = value != 0,
            (level::IP, ip::FREEBIND) => wishes.is_freebind = value != 0,
            (level::IPV6, ipv6::V6ONLY) => wishes.is_v6only = value != 0,
            (level::IP, ip::TTL) => {}
            _ => return Err(Errno::NOPROTOOPT),
        }
        Ok(())
    }

    /// Lets an open connection know.
    fn apply(&mut self, world: &mut World<'_>) {
        let wanted = self.wishes.connection_options(world.settings);
        if let Phase::Listening(listener) = self.phase {
            world.stack.tcp().set_listener_options(listener, wanted);
        }
        let Phase::Open(id) = self.phase else { return };
        if self.connection(world.stack).map(Connection::options).is_some_and(|options| *options != wanted) {
            world.stack.tcp().set_options(id, wanted);
        }
    }
}
