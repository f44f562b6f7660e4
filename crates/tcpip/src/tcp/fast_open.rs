//! TCP Fast Open (RFC 7413): the cookies that a server gives out, and those that a client has got.

use alloc::collections::BTreeMap;
use core::fmt;
use core::hash::Hasher;
use core::net::IpAddr;

use siphasher::sip::SipHasher24;
use sunstar_packet::Buffer;
use sunstar_wire::{AddressPair, FastOpenOption};

#[cfg(test)]
mod tests;

/// Options that others put into a SYN on its way need room beside the data (as in Linux).
pub(super) const RESERVED_BYTES: u16 = 40;

/// Keys from which cookies are made: the first one for new ones, the other one for those from before it was changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FastOpenKeys {
    primary: [u8; 16],
    backup: Option<[u8; 16]>,
}

impl fmt::Debug for FastOpenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FastOpenKeys")
    }
}

impl FastOpenKeys {
    /// Keys of random bytes.
    pub const fn new(primary: [u8; 16], backup: Option<[u8; 16]>) -> Self {
        Self { primary, backup }
    }

    /// The cookie for who has the first address, at the second one. It is that of Linux for the same key, so that a service may move.
    pub fn cookie(&self, addresses: AddressPair) -> [u8; 8] {
        cookie(self.primary, addresses)
    }

    /// Whether that is such a cookie.
    pub fn accepts(&self, addresses: AddressPair, given: &[u8]) -> bool {
        let keys = [Some(self.primary), self.backup];
        keys.into_iter().flatten().any(|key| given == cookie(key, addresses)) || planted::is("cookie_unchecked")
    }
}

fn cookie(key: [u8; 16], addresses: AddressPair) -> [u8; 8] {
    let mut hasher = SipHasher24::new_with_key(&key);
    match addresses {
        AddressPair::V4 { src, dst } => {
            let bytes: [u8; 8] =
                core::array::from_fn(|at| if at < 4 { src.octets()[at] } else { dst.octets()[at - 4] });
            hasher.write(&bytes);
        }
        AddressPair::V6 { src, dst } => {
            let bytes: [u8; 32] =
                core::array::from_fn(|at| if at < 16 { src.octets()[at] } else { dst.octets()[at - 16] });
            hasher.write(&bytes);
        }
    }
    hasher.finish().to_le_bytes()
}

/// How a listener takes data that come with a SYN (RFC 7413 §4.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FastOpenListener {
    /// As long as fewer connections wait to be accepted; further ones are opened in three steps (§5.1).
    pub backlog: usize,
    /// Whether only with a cookie. Without, whoever forges addresses makes connections, so it is for networks where nobody can.
    pub needs_cookie: bool,
    /// What cookies are made from.
    pub keys: FastOpenKeys,
}

/// What a SYN brings about at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The usual.
    Ordinary,
    /// The usual, and the answer has a cookie, in the older form if that is set.
    Offer(bool),
    /// A connection at once.
    Accept,
}

impl FastOpenListener {
    pub(super) fn decide(
        &self,
        waiting: usize,
        addresses: AddressPair,
        option: Option<FastOpenOption>,
        has_data: bool,
    ) -> Decision {
        if !has_data && option.is_none() || waiting >= self.backlog {
            return Decision::Ordinary;
        }
        if !self.needs_cookie {
            return Decision::Accept;
        }
        let Some(option) = option else { return Decision::Ordinary };
        if !option.is_request() && self.keys.accepts(addresses, option.cookie()) {
            return Decision::Accept;
        }
        Decision::Offer(option.is_experimental)
    }
}

/// What a client wants of Fast Open.
#[derive(Clone, Debug)]
pub struct FastOpenRequest {
    /// What may go with the SYN, as far as there is room.
    pub data: Buffer,
    /// Whether a cookie is needed: without one it is only asked for. If none is, data are sent at once.
    pub needs_cookie: bool,
}

/// What is known of a server.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// What it takes in a segment; zero if that is not known.
    mss: u16,
    cookie: FastOpenOption,
    /// It has not answered the option with its own number: the older one is tried once.
    attempt: Attempt,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Attempt {
    #[default]
    Standard,
    Experimental,
    StandardForEver,
}

/// What came of a SYN with the option.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) mss: Option<u16>,
    pub(super) cookie: Option<FastOpenOption>,
    /// A cookie was asked for, in the older form if that is set, and not given, though nothing was lost.
    pub(super) was_refused: Option<bool>,
}

/// Cookies that a client has got, by server (RFC 7413 §4.1.3.1). If as many are known as may be, any one is forgotten: what is lost is a
/// round trip.
#[derive(Debug)]
pub(super) struct Cookies {
    known: BTreeMap<IpAddr, Known>,
    limit: usize,
}

impl Cookies {
    pub(super) fn new(limit: usize) -> Self {
        Self { known: BTreeMap::new(), limit }
    }

    pub(super) fn clear(&mut self) {
        self.known.clear();
    }

    /// What to say to a server, and what it takes in a segment.
    pub(super) fn lookup(&self, server: IpAddr) -> (FastOpenOption, Option<u16>) {
        let known = self.known.get(&server).copied().unwrap_or_default();
        let is_old = known.cookie.is_request() && known.attempt == Attempt::Experimental;
        let option = if is_old { known.cookie.experimental(true) } else { known.cookie };
        (option, (known.mss != 0).then_some(known.mss))
    }

    pub(super) fn learn(&mut self, server: IpAddr, answer: Answer) {
        if !self.known.contains_key(&server) && self.known.len() >= self.limit {
            self.known.pop_first();
        }
        let known = self.known.entry(server).or_default();
        known.mss = answer.mss.unwrap_or(known.mss);
        if let Some(cookie) = answer.cookie.filter(|cookie| !cookie.is_request()) {
            (known.cookie, known.attempt) = (cookie, Attempt::Standard);
        } else if let Some(was_old) = answer.was_refused.filter(|_| known.cookie.is_request()) {
            let next = if was_old { Attempt::StandardForEver } else { Attempt::Experimental };
            known.attempt = known.attempt.max(next);
        }
    }
}
