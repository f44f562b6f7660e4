//! How many timers a round fires.

use core::cell::Cell;
use core::time::Duration;

use super::MAX_FIRED_PER_ADVANCE;
use crate::time::Instant;

/// So many a round may fire in any case: about what wakes as much work as fits into a task quota.
const LEAST: usize = 16;

/// What a round may fire, so that a flood of timers does not stand in front of all else.
///
/// Tasks run in the order in which they became ready. If all that is due were fired at once, as when the limits of thousands of
/// connections end together, whoever asks something meanwhile would wait for all of them. So a round fires few, and more only
/// while rounds stay short: cheap timers soon ring by the thousand, and costly ones let others in between.
pub(crate) struct Ration {
    most: Cell<usize>,
    fired: Cell<usize>,
    begin: Cell<Instant>,
}

impl Ration {
    /// For a shard that has fired nothing yet.
    pub(crate) fn new() -> Self {
        Self { most: Cell::new(LEAST), fired: Cell::new(0), begin: Cell::new(Instant::ORIGIN) }
    }

    /// A round begins; the one before it has left tasks to run or not. It is timed as a whole, since what tasks ask the network for
    /// is done by the poll after them.
    pub(crate) fn begin_round(&self, now: Instant, task_quota: Duration, has_work: bool) {
        let (most, took) = (self.most.get(), now - self.begin.replace(now));
        let next = if self.fired.replace(0) < most {
            LEAST
        } else if has_work || took > task_quota {
            (most / 2).max(LEAST)
        } else {
            (most * 2).min(MAX_FIRED_PER_ADVANCE)
        };
        self.most.set(next);
    }

    /// How many the round may fire at most.
    pub(crate) fn most(&self) -> usize {
        self.most.get()
    }

    /// The round has fired so many.
    pub(crate) fn fired(&self, count: usize) {
        self.fired.set(count);
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
    fn what_tasks_leave_to_the_network_counts_as_well() {
        let world = TestWorld::default();
        let (executor, done) = flooded(&world, Duration::ZERO);
        let mut longest = Duration::ZERO;
        while done.get() < FLOOD {
            let before = (done.get(), world.now());
            executor.round();
            world.advance(Duration::from_micros(20) * u32::try_from(done.get() - before.0).expect("few"));
            longest = longest.max(world.now() - before.1);
        }
        assert!(longest <= Duration::from_millis(1), "{longest:?}");
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
