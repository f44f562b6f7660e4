//! Which port a connection gets that is opened here, where none is named.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use sunstar_wire::FourTuple;

use super::Sockets;
use crate::free_ports::FreePorts;
use crate::rate::TokenBucket;
use crate::tcp::secret::Secret;
use crate::time::Instant;

/// After so many ports in a row that are in use the search goes on elsewhere: long-lived connections have taken whole ranges of them.
const RUN: usize = 4;

/// The same after so many in a row that the filter refuses: the hash of a network card may lead thousands of ports in a row to one shard.
const REFUSED_RUN: usize = 16;

/// So many places are tried, until all ports are looked at in order.
const MAX_PLACES: usize = 64;

/// Destinations that are remembered as having no free port.
const MAX_EXHAUSTED: usize = 1_024;

/// For so long, unless one of their connections ends: what else makes a port free is not told here, such as what other shards have opened.
const EXHAUSTED_TIME: Duration = Duration::from_millis(10);

/// So many ports are looked at in order, each time that this may go on: as often as this at once, which are all ports several times, and once in
/// this time. So however many destinations have no free port, all of them together cost a small part of a processor's time.
const SEARCHED: usize = 64;
const SEARCH_INTERVAL: Duration = Duration::from_micros(64);
const SEARCH_BURST: u32 = 4_096;

/// Which flows may get a port.
type Filter = Box<dyn Fn(&FourTuple) -> bool>;

/// Where ports are looked for, and for which destinations there are none.
pub(super) struct PortChoice {
    free: FreePorts,
    filter: Option<Filter>,
    /// How many were looked at, and what was skipped.
    next: u64,
    /// How often some were skipped.
    skips: u64,
    /// Until when destinations are remembered for which all ports were in use.
    exhausted: BTreeMap<Destination, Instant>,
    /// The same in the order in which they are forgotten, with such as have been already.
    order: VecDeque<(Instant, Destination)>,
    searches: TokenBucket,
}

/// An address of ours, and whom connections from there lead to.
type Destination = (IpAddr, SocketAddr);

fn destination(flow: &FourTuple) -> Destination {
    (flow.src().ip(), flow.dst())
}

impl Default for PortChoice {
    fn default() -> Self {
        Self {
            free: FreePorts::default(),
            filter: None,
            next: 0,
            skips: 0,
            exhausted: BTreeMap::new(),
            order: VecDeque::new(),
            searches: TokenBucket::new(SEARCH_INTERVAL, SEARCH_BURST),
        }
    }
}

impl PortChoice {
    pub(super) fn choose_from(&mut self, free: FreePorts) {
        self.free = free;
        self.forget_exhausted();
    }

    pub(super) fn set_filter(&mut self, passes: Filter) {
        self.filter = Some(passes);
        self.forget_exhausted();
    }

    /// A port of a flow is free again.
    #[inline]
    pub(super) fn note_free(&mut self, flow: &FourTuple) {
        if !self.exhausted.is_empty() && !planted::is("exhausted_kept") {
            self.exhausted.remove(&destination(flow));
        }
    }

    /// Ports are free again of which it is not known for whom.
    pub(super) fn forget_exhausted(&mut self) {
        self.exhausted.clear();
        self.order.clear();
    }

    fn is_exhausted(&mut self, now: Instant, flow: &FourTuple) -> bool {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_oldest();
        }
        self.exhausted.contains_key(&destination(flow))
    }

    fn note_exhausted(&mut self, now: Instant, flow: &FourTuple) {
        if self.order.len() == MAX_EXHAUSTED {
            self.forget_oldest();
        }
        let (until, destination) = (now + EXHAUSTED_TIME, destination(flow));
        self.exhausted.insert(destination, until);
        self.order.push_back((until, destination));
    }

    fn forget_oldest(&mut self) {
        let Some((until, destination)) = self.order.pop_front() else { return };
        // It may have been forgotten, and noted again.
        if self.exhausted.get(&destination) == Some(&until) {
            self.exhausted.remove(&destination);
        }
    }

    /// The next flow that may be, but for who uses its port already.
    fn next(&mut self, offset: u64, flow: &FourTuple) -> Option<FourTuple> {
        let count = self.next;
        self.next = self.next.wrapping_add(1);
        let candidate = FourTuple { src_port: self.free.nth(offset.wrapping_add(count))?, ..*flow };
        self.filter.as_ref().is_none_or(|passes| passes(&candidate)).then_some(candidate)
    }

    fn skip(&mut self, secret: &Secret) {
        self.next = self.next.wrapping_add(secret.draw(&mut self.skips) >> 32);
    }
}

impl fmt::Debug for PortChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortChoice").field("free", &self.free).finish_non_exhaustive()
    }
}

impl Sockets {
    /// RFC 6056 §3.3.4, algorithm 4 in essence: from a secret place for this destination on, by a count, the first that is free.
    ///
    /// How many are looked at does not depend on how many there are, but on what part of them is in use: where several in a row are, or are refused, it
    /// goes on at a place drawn by lot. When even that finds none again and again all are looked at, unless that was done too often of late for
    /// whichever destinations: then some may be free, and whoever tries again has others looked at. If all are in use, none is looked at for this
    /// destination for a while.
    pub(super) fn choose_port(&mut self, now: Instant, flow: &FourTuple) -> Option<u16> {
        if self.ports.is_exhausted(now, flow) {
            self.counters.ports_exhausted += 1;
            return None;
        }
        let offset = self.secret.port_offset(flow);
        let count = self.ports.free.count();
        let (mut used, mut refused, mut looked_at) = (0, 0, 0);
        while used < RUN * MAX_PLACES && looked_at < count {
            looked_at += 1;
            let Some(candidate) = self.ports.next(offset, flow) else {
                refused += 1;
                if refused == REFUSED_RUN {
                    self.ports.skip(&self.secret);
                    refused = 0;
                }
                continue;
            };
            refused = 0;
            if !self.is_used(&candidate) {
                return Some(candidate.src_port);
            }
            used += 1;
            if used % RUN == 0 && !planted::is("ports_in_order") {
                self.ports.skip(&self.secret);
            }
        }
        for searched in 0..count {
            if searched % SEARCHED == 0 && !self.ports.searches.take(now) {
                self.counters.port_searches_cut += 1;
                return None;
            }
            let candidate = self.ports.next(offset, flow);
            if let Some(candidate) = candidate.filter(|candidate| !self.is_used(candidate)) {
                return Some(candidate.src_port);
            }
        }
        self.ports.note_exhausted(now, flow);
        self.counters.ports_exhausted += 1;
        None
    }

    /// Whether somebody listens at a flow's source, or has the flow.
    fn is_used(&self, flow: &FourTuple) -> bool {
        super::bound_at(&self.bound, flow.src()).is_some() || self.find(flow).is_some()
    }
}
