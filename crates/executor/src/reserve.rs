//! Memory that a shard's programs keep for reuse, and give back when the shard has nothing to do.

use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::RefCell;

use crate::current;

/// Somebody who keeps memory for reuse, such as a pool of buffers, free places of a table, or objects that are costly to make.
///
/// What was kept since a peak is more than is needed again soon, and may hold much more than its own size: the heap gives back only
/// pages of which every byte is free.
pub trait Reserve {
    /// Gives back what nobody uses. Called on the shard, between its rounds, when nothing came in for a while.
    fn free_unused_memory(&self);
}

/// Has `reserve` asked for its unused memory whenever the current shard gives memory back, for as long as it lives. Outside of any
/// shard nobody asks, and nothing happens.
pub fn add_reserve(reserve: Weak<dyn Reserve>) {
    // The answer is nothing, on a shard as elsewhere.
    let _ = current::try_with(|shard| shard.reserves.add(reserve));
}

/// A shard's reserves.
#[derive(Default)]
pub(crate) struct Reserves(RefCell<Vec<Weak<dyn Reserve>>>);

impl Reserves {
    fn add(&self, reserve: Weak<dyn Reserve>) {
        let mut reserves = self.0.borrow_mut();
        if reserves.len() == reserves.capacity() {
            // So the list grows only if most of its entries live.
            reserves.retain(is_alive);
            let live = reserves.len();
            reserves.reserve(live + 1);
        }
        reserves.push(reserve);
    }

    /// The next that is alive from a place on, and its place. Giving back may add others, so the list is not borrowed meanwhile.
    fn next(&self, from: usize) -> Option<(usize, Rc<dyn Reserve>)> {
        let reserves = self.0.borrow();
        let rest = reserves.get(from..).unwrap_or_default();
        (from..).zip(rest).find_map(|(place, reserve)| Some((place, reserve.upgrade()?)))
    }

    pub(crate) fn free_unused_memory(&self) {
        let mut from = 0;
        while let Some((place, reserve)) = self.next(from) {
            reserve.free_unused_memory();
            from = place + 1;
        }
        let mut reserves = self.0.borrow_mut();
        reserves.retain(is_alive);
        reserves.shrink_to_fit();
    }
}

fn is_alive(reserve: &Weak<dyn Reserve>) -> bool {
    reserve.strong_count() > 0
}

#[cfg(all(test, not(loom)))]
mod tests {
    use core::cell::Cell;

    use super::*;
    use crate::testing::TestWorld;

    #[derive(Default)]
    struct Counted {
        calls: Cell<u32>,
        /// Added when it is asked.
        next: RefCell<Option<Weak<dyn Reserve>>>,
    }

    impl Reserve for Counted {
        fn free_unused_memory(&self) {
            self.calls.set(self.calls.get() + 1);
            self.next.take().into_iter().for_each(add_reserve);
        }
    }

    fn weak(reserve: &Rc<Counted>) -> Weak<dyn Reserve> {
        Rc::downgrade(reserve) as Weak<dyn Reserve>
    }

    #[test]
    fn reserves_are_asked_with_their_executor() {
        let executor = TestWorld::default().executor();
        let (one, two) = (Rc::new(Counted::default()), Rc::new(Counted::default()));
        *one.next.borrow_mut() = Some(weak(&two));
        executor.enter(|| add_reserve(weak(&one)));
        assert_eq!((one.calls.get(), two.calls.get()), (0, 0));
        executor.free_unused_memory();
        assert_eq!((one.calls.get(), two.calls.get()), (1, 1), "also those that are added meanwhile");
        drop(one);
        executor.free_unused_memory();
        assert_eq!(two.calls.get(), 2);
    }

    #[test]
    fn those_that_are_gone_take_no_room() {
        let reserves = Reserves::default();
        let lasting: Vec<_> = (0..10).map(|_| Rc::new(Counted::default())).collect();
        lasting.iter().for_each(|reserve| reserves.add(weak(reserve)));
        (0..1_000).for_each(|_| reserves.add(weak(&Rc::new(Counted::default()))));
        assert!(reserves.0.borrow().capacity() <= 40);
        reserves.free_unused_memory();
        assert_eq!(reserves.0.borrow().len(), 10);
        assert!(lasting.iter().all(|reserve| reserve.calls.get() == 1));
    }

    #[test]
    fn outside_of_any_shard_nothing_happens() {
        add_reserve(weak(&Rc::new(Counted::default())));
    }
}
