//! Randomised tests of cancellation: random operations, polls and drops, with the books checked all along.
//!
//! Each case is drawn from one seed, which is printed when it fails: `SUNSTAR_SEED=<seed>` replays it. Long runs set
//! `SUNSTAR_SOAK_SECONDS`, the time for each test, whose first seed is then a new one, or `SUNSTAR_CANCEL_ITERATIONS`, the
//! number of cases. The seeds of a run are consecutive.
//!
//! What the tests are worth is shown by planted bugs: with any of these the run must fail, e.g.
//! `cargo xtask planted lost_wake`.
//!
//! | planted | the bug |
//! |---|---|
//! | `lost_wake` | a granted waiter that is dropped doesn't pass the grant on |
//! | `double_release` | a permit gives its units back twice |
//! | `leaked_waiter` | a waiter that is dropped keeps its waker alive |
//! | `blocked_by_gone` | who queued behind a waiter that is dropped is not looked at |
//! | `overtaking` | a newcomer takes units while others wait |
//! | `lost_child_wake` | a combinator's child is woken, its parent not |

mod combine;
mod harness;
mod locks;
mod queues;
mod signals;

/// A small pseudo-random generator (SplitMix64); the same seed means the same numbers for ever.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).expect("usize has at most 64 bits");
        usize::try_from(self.next() % bound).expect("it is below a usize")
    }

    /// Whether something happens that does so in one of `n` cases.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}
