//! What the executor needs from the world: a clock, a way to sleep and be woken, entropy, and I/O to poll.

use alloc::boxed::Box;
use core::time::Duration;
use sunstar_packet::Doorbell;

use crate::time::Instant;

/// The world of one shard. The Linux reactor, the simulator and the unikernel implement it.
///
/// Every method but the doorbell's is called on the shard's own thread, from within
/// [`Executor::round`](crate::Executor::round) or the functions of this crate that read the clock.
pub trait Platform {
    /// The monotonic clock. Called a few times per round, never per task.
    fn now(&self) -> Instant;

    /// The time since the Unix epoch, for what people and protocols call the time of day. It may jump; nothing is measured by
    /// it. Called about once per second.
    fn unix_time(&self) -> Duration;

    /// Fills `bytes` with entropy; a simulator draws them from its seed.
    fn entropy(&self, bytes: &mut [u8]);

    /// Polls I/O without blocking and wakes the tasks concerned; answers whether anything was found.
    fn poll(&self) -> bool;

    /// How often a round polls at most while nothing comes in, if the round before was idle too. Timers wait for all of these polls.
    fn idle_polls(&self) -> u32 {
        1
    }

    /// Waits for the doorbell, for I/O or until `deadline` (for ever, if there is none).
    ///
    /// It may return early. A doorbell rung before the call ends it at once.
    fn sleep(&self, deadline: Option<Instant>);

    /// A doorbell that ends [`Platform::sleep`] from any thread.
    fn doorbell(&self) -> Box<dyn Doorbell>;
}

#[cfg(all(test, not(loom)))]
mod tests {
    use alloc::rc::Rc;
    use core::cell::Cell;

    use super::*;
    use crate::message::{Mesh, MeshLinks};
    use crate::testing::TestWorld;
    use crate::{Executor, ExecutorConfig, Round, submit_to};

    /// Lets itself be polled thrice in idle rounds, and finds something in one of the polls.
    #[derive(Clone, Default)]
    struct Scripted {
        polls: Rc<Cell<u32>>,
        finds_in: Rc<Cell<u32>>,
    }

    struct NoBell;

    impl Doorbell for NoBell {
        fn ring(&self) {}
    }

    impl Platform for Scripted {
        fn now(&self) -> Instant {
            Instant::ORIGIN
        }

        fn unix_time(&self) -> Duration {
            Duration::ZERO
        }

        fn entropy(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }

        fn poll(&self) -> bool {
            self.polls.set(self.polls.get() + 1);
            self.polls.get() == self.finds_in.get()
        }

        fn idle_polls(&self) -> u32 {
            3
        }

        fn sleep(&self, _deadline: Option<Instant>) {
            unreachable!("tests drive rounds themselves");
        }

        fn doorbell(&self) -> Box<dyn Doorbell> {
            Box::new(NoBell)
        }
    }

    fn executor(platform: &Scripted, links: MeshLinks) -> Executor {
        Executor::with_links(ExecutorConfig::default(), Box::new(platform.clone()), links)
    }

    #[test]
    fn a_round_after_an_idle_one_polls_until_something_is_found() {
        let platform = Scripted::default();
        let executor = executor(&platform, Mesh::links(1).remove(0));
        let polls_of_a_round = || {
            let before = platform.polls.get();
            (executor.round().is_idle(), platform.polls.get() - before)
        };
        assert_eq!(polls_of_a_round(), (true, 1), "the first round follows none");
        assert_eq!(polls_of_a_round(), (true, 3));
        platform.finds_in.set(platform.polls.get() + 2);
        assert_eq!(polls_of_a_round(), (false, 2));
        assert_eq!(polls_of_a_round(), (true, 1), "the round before was busy");
        assert_eq!(polls_of_a_round(), (true, 3));
    }

    #[test]
    fn what_comes_from_elsewhere_ends_the_polls() {
        let platform = Scripted::default();
        let mut links = Mesh::links(2);
        let other = TestWorld::default().executor_of(links.remove(1));
        let executor = executor(&platform, links.remove(0));
        assert!(executor.round().is_idle() && executor.round().is_idle());
        let to = executor.enter(crate::current::shard_id);
        drop(other.spawn(async move { submit_to(to, || async {}).await }));
        other.round();
        let before = platform.polls.get();
        assert_eq!(executor.round(), Round::Busy);
        assert_eq!(platform.polls.get() - before, 1);
    }
}
