//! Ports that shards have opened, without a lock: what is open is a number per port.

use std::fmt;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use sunstar_tcpip::free_ports::FreePorts;

/// So many of the lowest bits take all their values among the ports that are chosen from where none is named, if nothing is said of those.
pub(super) const FREE_BITS: u32 = 28_232_u32.ilog2();

/// So many times shards may share a port without naming one.
const SHARED_PORTS: usize = 1_024;

/// How a shard opens a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claim {
    /// For itself: what comes there is this shard's.
    Alone,
    /// With all other shards: each gets what its hash says.
    Shared,
}

/// The ports of a protocol, looked at for each packet.
pub(crate) struct Ports {
    ports: Box<[AtomicU32]>,
    /// The ports that were given to those who share one without naming it, in order; zero where none was yet.
    shared: Box<[AtomicU16]>,
    /// Those that are chosen from where none is named.
    free: FreePorts,
}

/// What is known of a port, as it is in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct State {
    /// The shard that has it, or had it last; none if it is shared out.
    shard: Option<u16>,
    /// How often it is open.
    count: u16,
}

impl State {
    fn unpack(packed: u32) -> Self {
        let [a, b, c, d] = packed.to_be_bytes();
        Self { shard: u16::from_be_bytes([a, b]).checked_sub(1), count: u16::from_be_bytes([c, d]) }
    }

    fn pack(self) -> u32 {
        u32::from(self.shard.map_or(0, |shard| shard + 1)) << 16 | u32::from(self.count)
    }
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            ports: std::iter::repeat_with(AtomicU32::default).take(1 << u16::BITS).collect(),
            shared: std::iter::repeat_with(AtomicU16::default).take(SHARED_PORTS).collect(),
            free: FreePorts::default(),
        }
    }
}

impl Ports {
    /// All of them, where only those are chosen from if none is named.
    pub(super) fn choosing_from(free: FreePorts) -> Self {
        Self { free, ..Self::default() }
    }

    /// The shard that has a port for itself.
    pub(crate) fn pinned_to(&self, port: u16) -> Option<u16> {
        State::unpack(self.at(port).load(Ordering::Relaxed)).shard
    }

    /// A shard opens a port; answers whether it may.
    pub(crate) fn open(&self, port: u16, claim: Claim, shard: u16) -> bool {
        let shard = (claim == Claim::Alone).then_some(shard);
        self.change(port, |state| match state {
            State { count: 0, .. } => Some(State { shard, count: 1 }),
            State { shard: other, count } if other == shard => Some(State { shard, count: count.checked_add(1)? }),
            State { .. } => None,
        })
    }

    /// A shard opens some port for itself, `first` being where the search begins; answers which.
    pub(crate) fn open_any(&self, first: u16, shard: u16) -> Option<u16> {
        self.free.all_from(first.into()).find(|port| self.is_free(*port) && self.open(*port, Claim::Alone, shard))
    }

    /// Whether nobody has a port, had it for itself last, or was told to share it.
    fn is_free(&self, port: u16) -> bool {
        let is_given = || self.shared.iter().any(|given| given.load(Ordering::Relaxed) == port);
        self.at(port).load(Ordering::Relaxed) == 0 && !is_given()
    }

    /// The port of those who share one without naming it: the same for the first call of each shard, for the second one, and so on.
    pub(crate) fn shared_port(&self, nth: usize, first: u16) -> Option<u16> {
        let place = self.shared.get(nth)?;
        match place.load(Ordering::Relaxed) {
            0 => {
                let port = self.free.all_from(first.into()).find(|port| self.is_free(*port))?;
                // Another shard may have been first.
                let given = place.compare_exchange(0, port, Ordering::Relaxed, Ordering::Relaxed);
                Some(given.err().unwrap_or(port))
            }
            port => Some(port),
        }
    }

    /// A shard closes a port. One that was its own stays so if `keeps`, until somebody opens it again: what it has accepted there may
    /// still speak.
    pub(crate) fn close(&self, port: u16, keeps: bool) {
        self.change(port, |State { shard, count }| {
            let count = count.saturating_sub(1);
            Some(State { shard: shard.filter(|_| keeps || count > 0), count })
        });
    }

    fn change(&self, port: u16, change: impl Fn(State) -> Option<State>) -> bool {
        let change = |packed| change(State::unpack(packed)).map(State::pack);
        self.at(port).fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_ok()
    }

    fn at(&self, port: u16) -> &AtomicU32 {
        &self.ports[usize::from(port)]
    }
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_port_is_of_one_shard_or_of_all() {
        let ports = Ports::default();
        assert!(ports.open(80, Claim::Shared, 0) && ports.open(80, Claim::Shared, 1));
        assert_eq!(ports.pinned_to(80), None);
        assert!(!ports.open(80, Claim::Alone, 0));
        assert!(ports.open(81, Claim::Alone, 2));
        assert_eq!(ports.pinned_to(81), Some(2));
        assert!(!ports.open(81, Claim::Alone, 1) && !ports.open(81, Claim::Shared, 2));
        assert!(ports.open(81, Claim::Alone, 2), "at another address");
    }

    #[test]
    fn what_is_closed_can_be_opened_by_others() {
        let ports = Ports::default();
        assert!(ports.open(80, Claim::Alone, 2) && ports.open(80, Claim::Alone, 2));
        ports.close(80, false);
        assert!(!ports.open(80, Claim::Shared, 0), "it is open once more");
        ports.close(80, true);
        assert_eq!(ports.pinned_to(80), Some(2), "what it has accepted goes on");
        assert!(ports.open(80, Claim::Shared, 0));
        assert_eq!(ports.pinned_to(80), None);
        ports.close(80, true);
        assert!(ports.open(80, Claim::Alone, 1));
        ports.close(80, false);
        assert_eq!(ports.pinned_to(80), None);
    }

    #[test]
    fn ports_that_nobody_names_are_free_and_the_same_for_all_who_share() {
        let ports = Ports::default();
        let first = ports.shared_port(0, 7).expect("there are many");
        assert_eq!(ports.shared_port(0, 9_999), Some(first));
        let second = ports.shared_port(1, 7).expect("there are many");
        let alone = ports.open_any(7, 0).expect("there are many");
        assert!(first != second && ports.open(first, Claim::Shared, 0));
        assert_ne!(ports.open_any(7, 0).expect("there are many"), alone);
        assert_eq!(ports.shared_port(SHARED_PORTS, 0), None);
    }

    #[test]
    fn ports_are_chosen_from_those_that_are_free() {
        let usual: BTreeSet<u16> = Ports::default().free.all_from(u64::from(u16::MAX)).collect();
        assert_eq!(usual, (32_768..61_000).collect());
        assert!(usual.len() >= 1 << FREE_BITS);
        let ports = Ports::choosing_from((5_000..=5_001).collect());
        let opened = BTreeSet::from([7, 8].map(|first| ports.open_any(first, 0).unwrap()));
        assert_eq!((opened, ports.open_any(9, 0)), (BTreeSet::from([5_000, 5_001]), None));
        assert!(ports.open(80, Claim::Alone, 0), "others are to be named");
    }
}
