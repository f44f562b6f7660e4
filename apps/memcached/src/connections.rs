//! The connections that a shard serves: who they are, and who of them takes no answers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use sunstar::executor::sync::AbortSource;
use sunstar::executor::time::Instant;
use sunstar::net::Address;

/// Who has taken nothing for so long of answers with large values is ended when the values that such answers hold are too many.
const SLOW: Duration = Duration::from_secs(2);

/// So many connections of a shard are ended at a time.
const ENDED: usize = 4;

/// The connections of one shard, oldest first.
#[derive(Default)]
pub(crate) struct Connections {
    served: RefCell<BTreeMap<u64, Rc<Served>>>,
    next: Cell<u64>,
}

/// A connection.
pub(crate) struct Served {
    number: u64,
    pub(crate) peer: Option<Address>,
    /// When a request has come, on the clock of items.
    pub(crate) last_s: Cell<u32>,
    /// Since when the client has taken nothing, if answers with large values wait for it.
    owes_since: Cell<Option<Instant>>,
    /// Ends it without any regard.
    pub(crate) end: AbortSource,
}

impl Connections {
    /// Takes a connection in.
    pub(crate) fn enter(&self, peer: Option<Address>, now_s: u32) -> Rc<Served> {
        let number = self.next.replace(self.next.get() + 1);
        let served = Rc::new(Served {
            number,
            peer,
            last_s: Cell::new(now_s),
            owes_since: Cell::new(None),
            end: AbortSource::new(),
        });
        self.served.borrow_mut().insert(number, Rc::clone(&served));
        served
    }

    /// Lets one go.
    pub(crate) fn leave(&self, served: &Served) {
        self.served.borrow_mut().remove(&served.number);
    }

    /// Those that are there.
    pub(crate) fn all(&self) -> Vec<Rc<Served>> {
        self.served.borrow().values().cloned().collect()
    }

    /// Ends all; answers how many.
    pub(crate) fn end_all(&self) -> usize {
        // Who is told may leave at once.
        let all = self.all();
        all.iter().for_each(|served| served.end.request_abort());
        all.len()
    }

    /// Ends some of those that have taken nothing for too long, the longest first; answers how many.
    pub(crate) fn end_slow(&self, now: Instant) -> usize {
        let mut slow: Vec<(Instant, Rc<Served>)> = Vec::new();
        for served in self.served.borrow().values() {
            let since = served.owes_since.get().filter(|since| now.saturating_duration_since(*since) >= SLOW);
            slow.extend(since.map(|since| (since, Rc::clone(served))));
        }
        slow.sort_by_key(|(since, _)| *since);
        slow.truncate(ENDED);
        slow.iter().for_each(|(_, served)| served.end.request_abort());
        slow.len()
    }
}

impl Served {
    /// Its number on this shard.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether answers with large values wait for the client.
    pub(crate) fn is_owed(&self) -> bool {
        self.owes_since.get().is_some()
    }

    /// Takes note that such answers wait from now on, or that the client has taken something of them.
    pub(crate) fn owe(&self, now: Instant) {
        self.owes_since.set(Some(now));
    }

    /// Takes note that the client has taken all of them.
    pub(crate) fn settle(&self) {
        self.owes_since.set(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_nothing_is_ended_and_nobody_else() {
        let connections = Connections::default();
        let [waits, takes, idle] = [(); 3].map(|()| connections.enter(None, 0));
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        [&waits, &takes].into_iter().for_each(|served| served.owe(at(0)));
        assert_eq!(connections.end_slow(at(1_999)), 0);
        takes.owe(at(1_000));
        assert_eq!(connections.end_slow(at(2_000)), 1);
        let ended = [&waits, &takes, &idle].map(|served| served.end.abort_requested());
        assert_eq!(ended, [true, false, false]);
        connections.leave(&waits);
        takes.settle();
        assert_eq!((connections.end_slow(at(9_000)), connections.end_all()), (0, 2));
    }
}
