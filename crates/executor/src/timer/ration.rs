//! How many timers a round fires.

use core::cell::Cell;

use super::MAX_FIRED_PER_ADVANCE;

/// So many a round may fire in any case: about what wakes as much work as fits into a task quota.
const LEAST: usize = 16;

/// What a round may fire, so that a flood of timers does not stand in front of all else.
///
/// Tasks run in the order in which they became ready. If all that is due were fired at once, as when the limits of thousands of
/// connections end together, whoever asks something meanwhile would wait for all of them. So a round fires few, and more only
/// while what they wake is done by its end: cheap timers soon ring by the thousand, and costly ones let others in between.
pub(crate) struct Ration {
    most: Cell<usize>,
    fired: Cell<usize>,
}

impl Ration {
    /// For a shard that has fired nothing yet.
    pub(crate) fn new() -> Self {
        Self { most: Cell::new(LEAST), fired: Cell::new(0) }
    }

    /// How many the round may fire at most.
    pub(crate) fn most(&self) -> usize {
        self.most.get()
    }

    /// The round has fired so many.
    pub(crate) fn fired(&self, count: usize) {
        self.fired.set(count);
    }

    /// The round ends, and tasks are left to run or not.
    pub(crate) fn end_round(&self, has_work: bool) {
        let most = self.most.get();
        let next = if self.fired.replace(0) < most {
            LEAST
        } else if has_work {
            (most / 2).max(LEAST)
        } else {
            (most * 2).min(MAX_FIRED_PER_ADVANCE)
        };
        self.most.set(next);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::time::Duration;

    use crate::testing::TestWorld;
    use crate::timer::sleep;
    use crate::{Executor, Instant};

    const FLOOD: usize = 2000;

    /// An executor on which a flood of timers is due, each of which wakes a task that takes so long.
    fn flooded(world: &TestWorld, cost: Duration) -> (Executor, Rc<Cell<usize>>) {
        let (executor, done) = (world.executor(), Rc::new(Cell::new(0)));
        for _ in 0..FLOOD {
            let (world, done) = (world.clone(), Rc::clone(&done));
            drop(executor.spawn(async move {
                sleep(Duration::from_secs(1)).await;
                world.advance(cost);
                done.set(done.get() + 1);
            }));
        }
        while !executor.round().is_idle() {}
        world.advance(Duration::from_secs(1));
        (executor, done)
    }

    #[test]
    fn who_asks_during_a_flood_does_not_wait_for_all_of_it() {
        let world = TestWorld::default();
        let (executor, done) = flooded(&world, Duration::from_micros(20));
        let longest = Rc::new(Cell::new(Duration::ZERO));
        while done.get() < FLOOD {
            let (clock, longest, asked) = (world.clone(), Rc::clone(&longest), world.now());
            drop(executor.spawn(async move { longest.set(longest.get().max(clock.now() - asked)) }));
            executor.round();
        }
        assert!(longest.get() <= Duration::from_millis(2), "{:?}", longest.get());
    }

    #[test]
    fn cheap_timers_take_few_rounds() {
        let world = TestWorld::default();
        let (executor, done) = flooded(&world, Duration::ZERO);
        let mut rounds = 0;
        while done.get() < FLOOD {
            executor.round();
            rounds += 1;
        }
        assert!(rounds <= 8, "{rounds}");
    }

    #[test]
    fn a_shard_that_never_rests_fires_all_the_same() {
        let world = TestWorld::default();
        let (executor, done) = flooded(&world, Duration::from_millis(1));
        let begin: Instant = world.now();
        for _ in 0..FLOOD {
            executor.round();
        }
        assert!(done.get() > 0 && world.now() > begin);
        while done.get() < FLOOD {
            executor.round();
        }
    }
}
