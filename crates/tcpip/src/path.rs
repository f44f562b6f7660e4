//! What is known of the way to a destination.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use crate::time::Instant;

#[cfg(test)]
mod tests;

/// What routers and hosts say of a packet that did not arrive (RFC 792), or ARP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// There is no way to the network (`ENETUNREACH`).
    Net,
    /// There is no way to the host, or it does not answer (`EHOSTUNREACH`).
    Host,
    /// The host does not speak the protocol (`ENOPROTOOPT`).
    Protocol,
    /// Nobody listens at the port (`ECONNREFUSED`).
    Port,
    /// A filter forbids it (`EHOSTUNREACH`).
    Prohibited,
    /// The packet was too large for a link and must not be cut (`EMSGSIZE`).
    TooBig {
        /// Bytes of the largest IP packet that goes through.
        mtu: u16,
    },
    /// Time ran out: on the way, or before all fragments had come (`EHOSTUNREACH`).
    TimeExceeded,
    /// A header was not understood (`EPROTO`).
    ParameterProblem,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Net => "there is no way to the network",
            Self::Host => "there is no way to the host",
            Self::Protocol => "the host does not speak the protocol",
            Self::Port => "nobody listens at the port",
            Self::Prohibited => "a filter forbids it",
            Self::TooBig { .. } => "the packet is too large for a link",
            Self::TimeExceeded => "time ran out on the way",
            Self::ParameterProblem => "a header was not understood",
        })
    }
}

impl core::error::Error for PathError {}

/// No path is taken for narrower, whatever it says: who forges that makes many small packets of each (RFC 5927 §7.2; as
/// `ip_rt_min_pmtu` of Linux).
pub const MIN_PATH_MTU: u16 = 552;

/// After so long a wider path is tried (RFC 1191 §6.3).
const LIFETIME: Duration = Duration::from_secs(600);

/// RFC 1191 §7, table 7-1: what paths are like whose routers don't tell.
const PLATEAUS: [u16; 8] = [32_000, 17_914, 8_166, 4_352, 2_002, 1_492, 1_006, 508];

/// The MTU of a path by which a packet of `len` bytes did not fit, from a router that does not tell.
pub(crate) fn plateau_below(len: u16) -> u16 {
    PLATEAUS.into_iter().find(|plateau| *plateau < len).unwrap_or(MIN_PATH_MTU)
}

/// The paths that are narrower than their first link.
#[derive(Debug)]
pub(crate) struct PathMtus {
    known: BTreeMap<IpAddr, Known>,
    /// By when they were heard of.
    order: BTreeMap<u64, IpAddr>,
    heard: u64,
    limit: usize,
}

#[derive(Debug)]
struct Known {
    mtu: u16,
    until: Instant,
    /// Its name in the order.
    heard: u64,
}

impl PathMtus {
    pub(crate) fn new(limit: usize) -> Self {
        Self { known: BTreeMap::new(), order: BTreeMap::new(), heard: 0, limit }
    }

    /// The path to `dst` takes at most `mtu` bytes. If as many are known as may be, the one that was heard of first is forgotten.
    pub(crate) fn learn(&mut self, now: Instant, dst: IpAddr, mtu: u16) {
        let mtu = mtu.max(MIN_PATH_MTU);
        // A later message never widens the path (RFC 1191 §3).
        let mtu = self.lookup(now, dst).map_or(mtu, |known| known.min(mtu));
        if let Some(before) = self.known.remove(&dst) {
            self.order.remove(&before.heard);
        }
        if self.known.len() >= self.limit
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.known.remove(&oldest);
        }
        self.heard += 1;
        self.order.insert(self.heard, dst);
        self.known.insert(dst, Known { mtu, until: now + LIFETIME, heard: self.heard });
    }

    pub(crate) fn lookup(&self, now: Instant, dst: IpAddr) -> Option<u16> {
        self.known.get(&dst).filter(|known| known.until > now).map(|known| known.mtu)
    }
}

/// Places for those to whom something large was sent.
const LARGE: usize = 256;

/// To whom datagrams were sent lately that a path may be too narrow for, by sockets that are connected with nobody. Only of them it is
/// believed that one was too large: whoever makes up such messages has to know whom we speak with.
#[derive(Debug)]
pub(crate) struct Large(Box<[Option<IpAddr>; LARGE]>);

impl Default for Large {
    fn default() -> Self {
        Self(Box::new([None; LARGE]))
    }
}

impl Large {
    /// Fewer bytes behind the IP header fit every path that is believed in.
    const LEAST: usize = MIN_PATH_MTU as usize - 40;

    fn place(dst: IpAddr) -> usize {
        let folded = match dst {
            IpAddr::V4(v4) => v4.octets().into_iter().fold(0, |sum: u8, byte| sum.rotate_left(3) ^ byte),
            IpAddr::V6(v6) => v6.octets().into_iter().fold(0, |sum: u8, byte| sum.rotate_left(3) ^ byte),
        };
        folded.into()
    }

    /// So many bytes were sent to somebody.
    pub(crate) fn note(&mut self, dst: IpAddr, bytes: usize) {
        if bytes > Self::LEAST {
            self.0[Self::place(dst)] = Some(dst);
        }
    }

    pub(crate) fn has(&self, dst: IpAddr) -> bool {
        self.0[Self::place(dst)] == Some(dst)
    }
}
