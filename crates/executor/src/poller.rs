//! Input and output that a shard has beside its platform's, such as a network stack of its own.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::cell::{OnceCell, RefCell};
use core::task::{Context, Waker};

use sunstar_packet::Doorbell;

use crate::current;
use crate::platform::Platform;
use crate::time::Instant;

/// Somebody who does input and output in a shard's rounds, beside the platform.
///
/// All methods are called on the shard, and none of them may wait.
pub trait Poller {
    /// Takes in what has come, and wakes the tasks concerned. Answers how much came from elsewhere, such as packets: after anything another
    /// round follows, and if nothing came, the shard stays awake for a while, as more may come. `now` is the round's time.
    fn poll(&self, now: Instant) -> usize;

    /// Starts what tasks have asked for. Called at the end of each round, so that what its tasks have asked for need not wait for the
    /// next one. Answers whether there was anything: then another round follows. `now` is the time after the tasks.
    fn submit(&self, now: Instant) -> bool {
        let _ = now;
        false
    }

    /// When it wants to be polled though nothing happens.
    fn deadline(&self) -> Option<Instant>;

    /// The shard is going to sleep: answers whether it may. If so, the context's waker is called, from wherever, when a poll is
    /// worthwhile; or the platform was told what else is to end the sleep.
    fn prepare_sleep(&self, cx: &mut Context<'_>) -> bool;

    /// Whether something is left to be sent for those who are gone. Asked when the shard ends, between polls.
    fn lingers(&self) -> bool {
        false
    }

    /// Drops what lingers: the shard ends.
    fn finish(&self) {}

    /// Gives back memory that is kept for reuse: the shard has nothing to do.
    fn free_unused_memory(&self) {}
}

/// Has `poller` polled in every round of the current shard from the next one on, until the executor is dropped.
///
/// # Panics
/// Outside of any shard.
#[track_caller]
pub fn add_poller(poller: Rc<dyn Poller>) {
    current::with(|shard| shard.pollers.add(poller));
}

/// A shard's pollers.
#[derive(Default)]
pub(crate) struct Pollers {
    /// A list that is replaced when one is added: polling may add others.
    pollers: RefCell<Rc<[Rc<dyn Poller>]>>,
    waker: OnceCell<Waker>,
}

impl Pollers {
    fn add(&self, poller: Rc<dyn Poller>) {
        let more = self.all().iter().cloned().chain([poller]).collect();
        self.pollers.replace(more);
    }

    /// Those that there are now.
    fn all(&self) -> Rc<[Rc<dyn Poller>]> {
        Rc::clone(&self.pollers.borrow())
    }

    /// Polls all; answers how much they found.
    #[inline]
    pub(crate) fn poll(&self, now: Instant) -> usize {
        if self.is_empty() { 0 } else { self.poll_all(now) }
    }

    fn poll_all(&self, now: Instant) -> usize {
        self.all().iter().map(|poller| poller.poll(now)).sum()
    }

    /// Has all start what was asked of them; answers whether any was asked for something.
    pub(crate) fn submit(&self, now: Instant) -> bool {
        self.all().iter().fold(false, |found, poller| poller.submit(now) | found)
    }

    /// Whether the shard has none, as most have.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.pollers.borrow().is_empty()
    }

    /// The earliest time that one asks for.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.all().iter().filter_map(|poller| poller.deadline()).min()
    }

    /// Whether all let the shard sleep.
    pub(crate) fn prepare_sleep(&self, platform: &dyn Platform) -> bool {
        if self.is_empty() {
            return true;
        }
        let waker = self.waker.get_or_init(|| Waker::from(Arc::new(Bell(platform.doorbell()))));
        let mut cx = Context::from_waker(waker);
        self.all().iter().all(|poller| poller.prepare_sleep(&mut cx))
    }

    pub(crate) fn lingers(&self) -> bool {
        self.all().iter().any(|poller| poller.lingers())
    }

    pub(crate) fn finish(&self) {
        self.all().iter().for_each(|poller| poller.finish());
    }

    pub(crate) fn free_unused_memory(&self) {
        self.all().iter().for_each(|poller| poller.free_unused_memory());
    }

    /// Lets go of all.
    pub(crate) fn clear(&self) {
        drop(self.pollers.take());
    }
}

/// A waker that ends the shard's sleep.
struct Bell(Box<dyn Doorbell>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.ring();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use core::cell::Cell;
    use core::time::Duration;

    use super::*;
    use crate::shard::Round;
    use crate::testing::TestWorld;

    #[derive(Default)]
    struct Scripted {
        found: Cell<bool>,
        is_restless: Cell<bool>,
        deadline: Cell<Option<Instant>>,
        polls: Cell<usize>,
        is_asked: Cell<bool>,
        waker: RefCell<Option<Waker>>,
        has_freed: Cell<bool>,
        /// Added when it is polled.
        adds: RefCell<Option<Rc<Scripted>>>,
    }

    impl Poller for Scripted {
        fn poll(&self, _now: Instant) -> usize {
            self.polls.set(self.polls.get() + 1);
            self.adds.take().into_iter().for_each(|other| add_poller(other));
            usize::from(self.found.take())
        }

        fn submit(&self, _now: Instant) -> bool {
            self.is_asked.take()
        }

        fn deadline(&self) -> Option<Instant> {
            self.deadline.get()
        }

        fn prepare_sleep(&self, cx: &mut Context<'_>) -> bool {
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            !self.is_restless.get()
        }

        fn free_unused_memory(&self) {
            self.has_freed.set(true);
        }
    }

    #[test]
    fn a_poller_is_polled_in_rounds_and_asked_before_sleeps() {
        let world = TestWorld::default();
        let (executor, poller) = (world.executor(), Rc::new(Scripted::default()));
        executor.enter(|| add_poller(Rc::clone(&poller) as Rc<dyn Poller>));
        poller.found.set(true);
        assert_eq!(executor.round(), Round::Busy);
        let at = Instant::ORIGIN + Duration::from_secs(5);
        poller.deadline.set(Some(at));
        assert_eq!(executor.round(), Round::Idle { deadline: Some(at) });
        assert_eq!(poller.polls.get(), 2);
        poller.is_restless.set(true);
        assert_eq!(executor.prepare_sleep(), Round::Busy);
        executor.end_sleep();
        poller.is_restless.set(false);
        assert_eq!(executor.prepare_sleep(), Round::Idle { deadline: Some(at) });
        let waker = poller.waker.take().expect("it was given one");
        let before = world.rings();
        waker.wake();
        assert_eq!(world.rings(), before + 1);
        executor.end_sleep();
    }

    #[test]
    fn what_tasks_ask_for_is_started_in_their_round() {
        let world = TestWorld::default();
        let (executor, poller) = (world.executor(), Rc::new(Scripted::default()));
        executor.enter(|| add_poller(Rc::clone(&poller) as Rc<dyn Poller>));
        let asked = Rc::clone(&poller);
        executor.spawn(async move { asked.is_asked.set(true) });
        assert_eq!(executor.round(), Round::Busy);
        assert!(!poller.is_asked.get());
        assert_eq!(executor.round(), Round::Idle { deadline: None });
    }

    #[test]
    fn a_poller_may_add_another_one() {
        let executor = TestWorld::default().executor();
        let (first, second) = (Rc::new(Scripted::default()), Rc::new(Scripted::default()));
        *first.adds.borrow_mut() = Some(Rc::clone(&second));
        executor.enter(|| add_poller(Rc::clone(&first) as Rc<dyn Poller>));
        executor.round();
        assert_eq!((first.polls.get(), second.polls.get()), (1, 0));
        executor.round();
        assert_eq!((first.polls.get(), second.polls.get()), (2, 1));
    }

    #[test]
    fn a_poller_gives_memory_back_with_its_executor() {
        let (executor, poller) = (TestWorld::default().executor(), Rc::new(Scripted::default()));
        executor.enter(|| add_poller(Rc::clone(&poller) as Rc<dyn Poller>));
        assert!(!poller.has_freed.get());
        executor.free_unused_memory();
        assert!(poller.has_freed.get());
    }

    #[test]
    fn a_poller_goes_with_its_executor() {
        let poller = Rc::new(Scripted::default());
        let executor = TestWorld::default().executor();
        executor.enter(|| add_poller(Rc::clone(&poller) as Rc<dyn Poller>));
        assert_eq!(Rc::strong_count(&poller), 2);
        drop(executor);
        assert_eq!(Rc::strong_count(&poller), 1);
    }
}
