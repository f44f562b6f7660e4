//! When what connections have sent really left, since that is not when they sent it.
//!
//! What tasks send in a round leaves together when the round is over: sending it by the kernel is the first thing of the next one. So
//! that round's begin is when a request left, whatever else seawreck had to do between, and nobody reads a clock for it. In a closed loop that is
//! where a latency begins; in an open loop it is where seawreck's own part of one ends.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use sunstar::executor::Instant;
use sunstar::executor::timer::{Timer, lowres};

/// So many bursts are remembered. An answer to an older one counts from when its request was sent, and so has the rest of that round as well.
const KEPT: usize = 4096;

/// The bursts of a shard.
pub(super) struct Departures {
    /// The number of the burst that grows, or of the next one.
    growing: Cell<Burst>,
    /// When bursts left, each at its number's place.
    left: RefCell<Box<[Instant]>>,
    /// Since when each request of an open loop that is in the burst that grows could have been sent.
    waiting: RefCell<Vec<Instant>>,
    /// Fires when the round after that of the burst that grows has begun.
    next_round: Timer,
}

/// What left together. Numbers wrap around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Burst(u32);

impl Departures {
    /// `on_round` is to call [`Departures::leave`].
    pub(super) fn new(mut on_round: impl FnMut() + 'static) -> Self {
        Self {
            growing: Cell::new(Burst(0)),
            left: RefCell::new(vec![Instant::ORIGIN; KEPT].into_boxed_slice()),
            waiting: RefCell::default(),
            next_round: Timer::new(move |_| on_round()),
        }
    }

    /// Something is sent; answers with what it leaves.
    #[inline]
    pub(super) fn join(&self) -> Burst {
        if !self.next_round.is_armed() {
            self.next_round.rearm(lowres::now());
        }
        self.growing.get()
    }

    /// The same for something that could have been sent since then.
    pub(super) fn join_late(&self, since: Instant) {
        self.join();
        // No more than are under way on the connections.
        self.waiting.borrow_mut().push(since);
    }

    /// A round begins, and what was sent until `now` leaves. Tells how late each is that could have been sent before.
    pub(super) fn leave(&self, now: Instant, late: impl FnMut(Duration)) {
        let burst = self.growing.get();
        self.left.borrow_mut()[burst.place()] = now;
        self.growing.set(Burst(burst.0.wrapping_add(1)));
        self.waiting.borrow_mut().drain(..).map(|since| now - since).for_each(late);
    }

    /// When a burst left; nothing if it has not, or nobody remembers.
    #[inline]
    pub(super) fn when(&self, burst: Burst) -> Option<Instant> {
        let age = self.growing.get().0.wrapping_sub(burst.0) as usize;
        (1..=KEPT).contains(&age).then(|| self.left.borrow()[burst.place()])
    }
}

impl Burst {
    const fn place(self) -> usize {
        self.0 as usize % KEPT
    }
}

#[cfg(test)]
mod tests {
    use sunstar::reactor::{Config, run};

    use super::*;

    #[test]
    fn a_burst_leaves_when_the_next_round_begins_and_is_remembered_for_a_while() {
        let config = Config { smp: Some(1), overprovisioned: true, ..Config::default() };
        let test = || async {
            let departures = Departures::new(|| ());
            let at = |nanos| lowres::now() + Duration::from_nanos(nanos);
            let first = departures.join();
            assert_eq!((departures.join(), departures.when(first)), (first, None), "it grows");
            for nanos in 1..=KEPT as u64 {
                departures.leave(at(nanos), |_| panic!("nothing waits"));
            }
            assert_eq!(departures.when(first), Some(at(1)));
            departures.leave(at(5000), |_| panic!("nothing waits"));
            assert_eq!(departures.when(first), None, "its place is another one's");
            departures.join_late(at(5001));
            departures.join_late(at(5003));
            let mut late = Vec::new();
            departures.leave(at(5004), |by| late.push(by.as_nanos()));
            departures.leave(at(5005), |by| late.push(by.as_nanos()));
            assert_eq!(late, [3, 1]);
        };
        run(config, test).expect("a shard runs");
    }
}
