//! Who is to hear of a server's stop.

use alloc::vec::Vec;
use core::cell::RefCell;
use core::task::{Context, Waker};

/// The wakers of a shard's connections, in one table: a connection that waits has a number for it.
#[derive(Default)]
pub(crate) struct Ears {
    places: RefCell<Places>,
}

#[derive(Default)]
struct Places {
    wakers: Vec<Option<Waker>>,
    vacant: Vec<u32>,
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
        places.vacant.push(place);
        let unused = (places.vacant.len() == places.wakers.len()).then(|| core::mem::take(&mut *places));
        drop(places);
        drop((waker, unused));
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
            u32::try_from(self.wakers.len() - 1).expect("there are fewer connections")
        })
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
