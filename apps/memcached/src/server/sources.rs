//! Which addresses are those of clients, and how much each may be answered: of them a connection is there, which nobody has who has
//! made up his address.

use std::cell::{Cell, RefCell};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use sunstar::executor::time::Instant;
use sunstar::executor::timer::lowres;
use sunstar::net::Address;

use super::Server;
use super::budget::{Budget, Rate};

/// So many addresses whose connections have ended are remembered while their budgets fill, so that a new connection brings no new one. Of
/// more the first ones are forgotten.
const LEAVING: usize = 4096;

/// They are looked at after so long.
const LEAVE_AFTER: Duration = Duration::from_secs(1);

/// The addresses of all shards' connections, of which there are no more than may be served, and of some that have ended.
pub(crate) struct Sources {
    rate: Rate,
    table: RefCell<Table>,
    /// How many were forgotten before their budgets were full.
    forgotten: Cell<u64>,
}

#[derive(Default)]
struct Table {
    sources: BTreeMap<IpAddr, Source>,
    /// Those that had no connection lately, each once, in the order of the times at which they are looked at; [`LEAVING`] at most.
    leaving: VecDeque<(Instant, IpAddr)>,
}

struct Source {
    connections: u32,
    budget: Budget,
    /// It is among those that leave.
    is_leaving: bool,
}

/// Whether an answer may go to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paid {
    /// It may, and was taken from its budget.
    Yes,
    /// Too little is left of its budget.
    Short,
    /// No connection from there is served.
    Stranger,
}

impl Sources {
    /// For answers at this rate.
    pub(crate) fn new(bytes_per_s: usize) -> Self {
        Self { rate: Rate::new(bytes_per_s), table: RefCell::default(), forgotten: Cell::new(0) }
    }

    /// How many addresses were forgotten before their budgets were full, since too many others left.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten.get()
    }

    /// Takes so many bytes from an address's budget, if it has one.
    pub(super) fn pay(&self, address: IpAddr, bytes: usize, now: Instant) -> Paid {
        let mut table = self.table.borrow_mut();
        let source = table.sources.get_mut(&address.to_canonical());
        let Some(source) = source.filter(|source| source.connections > 0) else { return Paid::Stranger };
        if source.budget.take(self.rate, bytes, now) { Paid::Yes } else { Paid::Short }
    }

    /// Puts back what was paid and not needed.
    pub(super) fn give_back(&self, address: IpAddr, bytes: usize) {
        if let Some(source) = self.table.borrow_mut().sources.get_mut(&address.to_canonical()) {
            source.budget.give_back(self.rate, bytes);
        }
    }

    fn add(&self, address: IpAddr, now: Instant) {
        let mut table = self.table.borrow_mut();
        table.forget(self.rate, now);
        let new = || Source { connections: 0, budget: Budget::full(self.rate, now), is_leaving: false };
        table.sources.entry(address).or_insert_with(new).connections += 1;
    }

    /// Lets go what [`add`](Self::add) has taken in.
    fn remove(&self, address: IpAddr, now: Instant) {
        let mut table = self.table.borrow_mut();
        table.forget(self.rate, now);
        let Some(source) = table.sources.get_mut(&address) else { return };
        source.connections -= 1;
        if source.connections > 0 || source.is_leaving {
            return;
        }
        if source.budget.is_full(self.rate, now) {
            table.sources.remove(&address);
        } else {
            source.is_leaving = true;
            table.leaving.push_back((now + LEAVE_AFTER, address));
            if table.leaving.len() > LEAVING && table.forget_first() {
                self.forgotten.update(|count| count + 1);
            }
        }
    }
}

impl Table {
    /// Forgets some addresses that have neither a connection nor anything to fill up.
    fn forget(&mut self, rate: Rate, now: Instant) {
        while let Some((_, address)) = self.leaving.pop_front_if(|(at, _)| *at <= now) {
            let Some(source) = self.sources.get_mut(&address) else { continue };
            if source.connections > 0 {
                source.is_leaving = false;
            } else if source.budget.is_full(rate, now) {
                self.sources.remove(&address);
            } else {
                self.leaving.push_back((now + LEAVE_AFTER, address));
            }
        }
    }

    /// Looks after the first one no longer; answers whether it is forgotten, since it has no connection.
    fn forget_first(&mut self) -> bool {
        let Some((_, address)) = self.leaving.pop_front() else { return false };
        let Entry::Occupied(mut first) = self.sources.entry(address) else { return false };
        if first.get().connections > 0 {
            first.get_mut().is_leaving = false;
            return false;
        }
        first.remove();
        true
    }
}

impl Server {
    /// Lets all shards know of a connection, if they want to; answers whom they are to [forget](Self::forget).
    pub(super) async fn make_known(&self, peer: Option<&Address>) -> Option<IpAddr> {
        let peer = peer.filter(|_| self.settings.udp_port != 0)?.inet()?.ip().to_canonical();
        let add = move |server: Rc<Self>| async move { server.udp.sources.add(peer, lowres::now()) };
        // Within the connection's task it would have memory of it for as long as that lasts. It fails when all ends.
        Box::pin(self.peers().invoke_on_all(add)).await.is_ok().then_some(peer)
    }

    /// Lets them forget it.
    pub(super) async fn forget(&self, peer: IpAddr) {
        let remove = move |server: Rc<Self>| async move { server.udp.sources.remove(peer, lowres::now()) };
        let _ = Box::pin(self.peers().invoke_on_all(remove)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::server::budget::MOST_ANSWER_BYTES;

    const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn who_has_a_connection_has_a_budget_and_nobody_else() {
        let sources = Sources::new(1);
        assert_eq!(sources.pay(A, 1, at(0)), Paid::Stranger);
        (0..2).for_each(|_| sources.add(A, at(0)));
        let mapped = IpAddr::V6(Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped());
        assert_eq!(sources.pay(mapped, MOST_ANSWER_BYTES - 10, at(0)), Paid::Yes);
        assert_eq!((sources.pay(A, 11, at(0)), sources.pay(A, 10, at(0))), (Paid::Short, Paid::Yes));
        sources.give_back(A, 5);
        sources.remove(A, at(0));
        assert_eq!((sources.pay(A, 6, at(0)), sources.pay(A, 5, at(0))), (Paid::Short, Paid::Yes));
        sources.remove(A, at(0));
        assert_eq!(sources.pay(A, 1, at(100_000)), Paid::Stranger);
    }

    /// Who opens one connection after the other is answered no more than who keeps one.
    #[test]
    fn a_new_connection_brings_no_new_budget() {
        let sources = Sources::new(MOST_ANSWER_BYTES / 4);
        sources.add(A, at(0));
        assert_eq!(sources.pay(A, MOST_ANSWER_BYTES, at(0)), Paid::Yes);
        for ms in 1..=3_000 {
            sources.remove(A, at(ms));
            sources.add(A, at(ms));
            assert_eq!(sources.pay(A, MOST_ANSWER_BYTES, at(ms)), Paid::Short, "after {ms} ms");
        }
        sources.remove(A, at(3_000));
        assert_eq!((sources.table.borrow().sources.len(), sources.table.borrow().leaving.len()), (1, 1));
        // When nothing is missing it is forgotten.
        let other = IpAddr::V4(Ipv4Addr::LOCALHOST);
        sources.add(other, at(6_000));
        sources.remove(other, at(6_000));
        assert!(sources.table.borrow().sources.is_empty() && sources.table.borrow().leaving.is_empty());
    }

    /// However many leave: who has a connection is no stranger.
    #[test]
    fn those_that_leave_take_no_room_from_those_that_come() {
        let sources = Sources::new(1);
        let address = |number: usize| IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(number).expect("it is small")));
        for number in 0..LEAVING + 4 {
            sources.add(address(number), at(0));
            assert_eq!(sources.pay(address(number), MOST_ANSWER_BYTES, at(0)), Paid::Yes);
            sources.remove(address(number), at(0));
        }
        let lens = || (sources.table.borrow().sources.len(), sources.table.borrow().leaving.len());
        assert_eq!((lens(), sources.forgotten()), ((LEAVING, LEAVING), 4));
        // The first one that is left is back, and keeps what it has used up.
        sources.add(address(4), at(0));
        let others = [A, address(LEAVING + 4)];
        for other in others {
            sources.add(other, at(0));
            assert_eq!(sources.pay(other, MOST_ANSWER_BYTES, at(0)), Paid::Yes, "{other}");
        }
        assert_eq!((lens(), sources.forgotten()), ((LEAVING + 2, LEAVING), 4));
        others.iter().for_each(|other| sources.remove(*other, at(0)));
        assert_eq!((lens(), sources.forgotten()), ((LEAVING + 1, LEAVING), 5));
        for (number, paid) in [(3, Paid::Yes), (4, Paid::Short), (5, Paid::Yes), (6, Paid::Short)] {
            sources.add(address(number), at(0));
            assert_eq!(sources.pay(address(number), 1, at(0)), paid, "{number}");
        }
    }

    #[test]
    fn an_address_is_known_until_its_last_connection_ends() {
        let sources = Sources::new(0);
        (0..3).for_each(|_| sources.add(A, at(0)));
        for _ in 0..3 {
            assert_eq!(sources.pay(A, 1, at(0)), Paid::Short);
            sources.remove(A, at(0));
        }
        assert_eq!(sources.pay(A, 1, at(0)), Paid::Stranger);
    }
}
