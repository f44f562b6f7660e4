//! Who is to hear of a server's stop, and that another connection waits for a place.

use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::task::{Context, Waker};

use sunstar_executor::Instant;
use sunstar_executor::timer::lowres;

/// The one that has been idle for longest is looked for among so many.
const CANDIDATES: usize = 16;

/// The wakers of a shard's connections, in one table: a connection that waits has a number for it.
#[derive(Default)]
pub(crate) struct Ears {
    places: RefCell<Places>,
    /// Connections that wait for others to end.
    waiting: Cell<usize>,
    /// Those that end for it.
    leaving: Cell<usize>,
}

#[derive(Default)]
struct Places {
    wakers: Vec<Option<Waker>>,
    /// Since when each has been idle; in the far future if it is not.
    idle_since: Vec<Instant>,
    vacant: Vec<u32>,
    /// Where an idle one is looked for next.
    hand: usize,
}

/// A place among those who hear; none at first.
pub(crate) struct Ear(u32);

/// In the place of a place.
const NONE: u32 = u32::MAX;

impl Default for Ear {
    fn default() -> Self {
        Self(NONE)
    }
}

impl Ears {
    /// Wakes the task of `cx` when the server is asked to stop, which it was not so far, in place of the one of before.
    pub(crate) fn listen(&self, ear: &mut Ear, cx: &Context<'_>) {
        let mut places = self.places.borrow_mut();
        if ear.0 == NONE {
            ear.0 = places.take();
        }
        let waker = &mut places.wakers[ear.0 as usize];
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            let old = waker.replace(cx.waker().clone());
            // Dropping a waker may run anything.
            drop(places);
            drop(old);
        }
    }

    /// Gives a place up. Memory is given back with the last one.
    pub(crate) fn leave(&self, ear: &mut Ear) {
        let place = core::mem::replace(&mut ear.0, NONE);
        if place == NONE {
            return;
        }
        let mut places = self.places.borrow_mut();
        let waker = places.wakers[place as usize].take();
        places.idle_since[place as usize] = Instant::FAR_FUTURE;
        places.vacant.push(place);
        let unused = (places.vacant.len() == places.wakers.len()).then(|| core::mem::take(&mut *places));
        drop(places);
        drop((waker, unused));
    }

    /// Takes note that a connection waits for nothing but its client's next request.
    pub(crate) fn rest(&self, ear: &Ear) {
        let since = &mut self.places.borrow_mut().idle_since[ear.0 as usize];
        if *since == Instant::FAR_FUTURE {
            *since = lowres::now();
        }
    }

    /// Takes note of the opposite, which lets another one be asked for its place if this one was.
    #[inline]
    pub(crate) fn rouse(&self, ear: &Ear) {
        if ear.0 != NONE {
            self.places.borrow_mut().idle_since[ear.0 as usize] = Instant::FAR_FUTURE;
            if self.waiting.get() > self.leaving.get() {
                self.wake_idle();
            }
        }
    }

    /// A connection waits from now on until an idle one has ended, or any other; or no longer.
    pub(crate) fn set_waiting(&self, waits: bool) {
        if waits {
            self.waiting.set(self.waiting.get() + 1);
            self.wake_idle();
        } else {
            self.waiting.set(self.waiting.get() - 1);
        }
    }

    /// Whether an idle connection is to end, since another one waits for its place. Then [`Ears::has_left`] follows.
    #[inline]
    pub(crate) fn is_to_leave(&self) -> bool {
        let is_to_leave = self.waiting.get() > self.leaving.get();
        if is_to_leave {
            self.leaving.set(self.leaving.get() + 1);
        }
        is_to_leave
    }

    /// A connection has ended that was to.
    pub(crate) fn has_left(&self) {
        self.leaving.set(self.leaving.get() - 1);
    }

    /// Wakes one that has been idle for long, if there is any.
    #[cold]
    fn wake_idle(&self) {
        let waker = self.places.borrow_mut().longest_idle();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Wakes all.
    pub(crate) fn tell(&self) {
        let count = self.places.borrow().wakers.len();
        for place in 0..count {
            let waker = self.places.borrow_mut().wakers.get_mut(place).and_then(Option::take);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Places {
    fn take(&mut self) -> u32 {
        self.vacant.pop().unwrap_or_else(|| {
            self.wakers.push(None);
            self.idle_since.push(Instant::FAR_FUTURE);
            u32::try_from(self.wakers.len() - 1).expect("there are fewer connections")
        })
    }

    /// Of the next idle ones, the waker of the one that has been for longest.
    fn longest_idle(&mut self) -> Option<Waker> {
        let count = self.wakers.len();
        let places = (0..count).map(|step| (self.hand + step) % count);
        let idle = places.filter(|&place| self.idle_since[place] != Instant::FAR_FUTURE).take(CANDIDATES);
        let longest = idle.min_by_key(|&place| self.idle_since[place])?;
        self.hand = longest + 1;
        // It is asked once only.
        self.idle_since[longest] = Instant::FAR_FUTURE;
        self.wakers[longest].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;
    use alloc::task::Wake;
    use core::sync::atomic::{AtomicU32, Ordering};

    #[derive(Default)]
    struct Wakes(AtomicU32);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn those_who_have_not_left_are_told_once_by_the_last_waker_that_they_gave() {
        let ears = Ears::default();
        let wakes: [Arc<Wakes>; 3] = Default::default();
        let wakers = wakes.each_ref().map(|wakes| Waker::from(Arc::clone(wakes)));
        let mut list = [Ear::default(), Ear::default()];
        for (ear, waker) in [(0, 0), (1, 1), (1, 1), (1, 2)] {
            ears.listen(&mut list[ear], &Context::from_waker(&wakers[waker]));
        }
        ears.leave(&mut list[0]);
        ears.leave(&mut list[0]);
        ears.tell();
        ears.tell();
        assert_eq!(wakes.each_ref().map(|wakes| wakes.0.load(Ordering::Relaxed)), [0, 0, 1]);
        ears.leave(&mut list[1]);
        assert_eq!(wakes.each_ref().map(Arc::strong_count), [2, 2, 2], "no waker is kept");
    }

    #[test]
    fn whoever_has_been_idle_for_longest_is_asked_for_its_place_and_another_one_if_it_is_not_idle_any_more() {
        let ears = Ears::default();
        let wakes: [Arc<Wakes>; 3] = Default::default();
        let mut list: [Ear; 3] = Default::default();
        for (at, ear) in list.iter_mut().enumerate() {
            ears.listen(ear, &Context::from_waker(&Waker::from(Arc::clone(&wakes[at]))));
        }
        ears.places.borrow_mut().idle_since = [30, 10, 20].map(Instant::from_nanos).to_vec();
        let woken = || wakes.each_ref().map(|wakes| wakes.0.load(Ordering::Relaxed));
        assert!(!ears.is_to_leave(), "nobody waits");
        ears.set_waiting(true);
        assert_eq!(woken(), [0, 1, 0]);
        ears.rouse(&list[1]);
        assert_eq!(woken(), [0, 1, 1]);
        assert!(ears.is_to_leave() && !ears.is_to_leave(), "one is enough");
        ears.rouse(&list[0]);
        assert_eq!(woken(), [0, 1, 1]);
        ears.set_waiting(false);
        ears.has_left();
        assert!(!ears.is_to_leave());
    }

    #[test]
    fn places_are_used_again_and_memory_goes_with_the_last() {
        let ears = Ears::default();
        let cx = Context::from_waker(Waker::noop());
        let mut list: Vec<Ear> = (0..10).map(|_| Ear::default()).collect();
        list.iter_mut().for_each(|ear| ears.listen(ear, &cx));
        ears.leave(&mut list[3]);
        ears.listen(&mut list[3], &cx);
        assert_eq!(ears.places.borrow().wakers.len(), 10);
        list.iter_mut().for_each(|ear| ears.leave(ear));
        assert_eq!(ears.places.borrow().wakers.capacity(), 0);
    }
}
