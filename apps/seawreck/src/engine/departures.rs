//! When what connections have sent really left, since that is not when they sent it.
//!
//! What tasks send in a round leaves together when the round is over: sending it by the kernel is the first thing of the next one. So
//! that round's begin is when a request left, whatever else seawreck had to do between, and nobody reads a clock for it.

use std::cell::{Cell, RefCell};

use sunstar::executor::Instant;
use sunstar::executor::timer::{Timer, lowres};

/// So many bursts are remembered. What an answer to an older one counts from, is off by less than a thousandth.
const KEPT: usize = 4096;

/// The bursts of a shard.
pub(super) struct Departures {
    /// The number of the burst that grows, or of the next one.
    growing: Cell<Burst>,
    /// When bursts left, each at its number's place.
    left: RefCell<Box<[Instant]>>,
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

    /// A round begins: what was sent until now leaves.
    pub(super) fn leave(&self) {
        let burst = self.growing.get();
        self.left.borrow_mut()[burst.place()] = lowres::now();
        self.growing.set(Burst(burst.0.wrapping_add(1)));
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
