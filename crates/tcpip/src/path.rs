//! What is known of the way to a destination.

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
    known: BTreeMap<IpAddr, (u16, Instant)>,
    limit: usize,
}

impl PathMtus {
    pub(crate) fn new(limit: usize) -> Self {
        Self { known: BTreeMap::new(), limit }
    }

    /// The path to `dst` takes at most `mtu` bytes. If as many are known as may be, the one that was heard of first is forgotten.
    pub(crate) fn learn(&mut self, now: Instant, dst: IpAddr, mtu: u16) {
        let mtu = mtu.max(MIN_PATH_MTU);
        if !self.known.contains_key(&dst) && self.known.len() >= self.limit {
            let oldest = self.known.iter().min_by_key(|(_, (_, until))| *until).map(|(dst, _)| *dst);
            oldest.map(|oldest| self.known.remove(&oldest));
        }
        // A later message never widens the path (RFC 1191 §3).
        let mtu = self.lookup(now, dst).map_or(mtu, |known| known.min(mtu));
        self.known.insert(dst, (mtu, now + LIFETIME));
    }

    pub(crate) fn lookup(&self, now: Instant, dst: IpAddr) -> Option<u16> {
        self.known.get(&dst).filter(|(_, until)| *until > now).map(|(mtu, _)| *mtu)
    }
}
