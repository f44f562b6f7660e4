//! Values that belong to a shard and are found by their type.
//!
//! For what a whole program has one of per shard, such as its network. Where several executors live on one thread, each
//! has its own, which a thread-local would not give.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::any::{Any, TypeId};
use core::cell::RefCell;

use crate::current;

/// A shard's values. There are few, so they are searched from the front.
#[derive(Default)]
pub(crate) struct Locals(RefCell<Vec<(TypeId, Rc<dyn Any>)>>);

impl Locals {
    fn replace(&self, key: TypeId, value: Rc<dyn Any>) -> Option<Rc<dyn Any>> {
        let mut entries = self.0.borrow_mut();
        if let Some((_, old)) = entries.iter_mut().find(|(known, _)| *known == key) {
            return Some(core::mem::replace(old, value));
        }
        entries.push((key, value));
        None
    }

    fn find(&self, key: TypeId) -> Option<Rc<dyn Any>> {
        let entries = self.0.borrow();
        Some(Rc::clone(&entries.iter().find(|(known, _)| *known == key)?.1))
    }

    /// Lets go of all values, the latest first.
    pub(crate) fn clear(&self) {
        while let Some(value) = { self.0.borrow_mut().pop() } {
            drop(value);
        }
    }
}

/// Makes `value` the current shard's value of type `T`, and answers the one that it replaces.
///
/// It is let go when the executor is dropped, after all tasks.
///
/// # Panics
/// Outside of any shard.
#[track_caller]
pub fn set<T: 'static>(value: Rc<T>) -> Option<Rc<T>> {
    let old = current::with(|shard| shard.locals.replace(TypeId::of::<T>(), value));
    old.and_then(|old| old.downcast().ok())
}

/// The current shard's value of type `T`, if one was set.
///
/// # Panics
/// Outside of any shard.
#[track_caller]
pub fn get<T: 'static>() -> Option<Rc<T>> {
    current::with(|shard| shard.locals.find(TypeId::of::<T>()))?.downcast().ok()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::testing::TestWorld;

    #[test]
    fn each_executor_has_its_own() {
        let (one, two) = (TestWorld::default().executor(), TestWorld::default().executor());
        one.enter(|| assert!(set(Rc::new(1_u32)).is_none()));
        two.enter(|| {
            assert!(get::<u32>().is_none());
            set(Rc::new(2_u32));
            assert_eq!(set(Rc::new(3_u32)).as_deref(), Some(&2));
        });
        one.enter(|| assert_eq!(get::<u32>().as_deref(), Some(&1)));
        two.enter(|| assert_eq!(get::<u32>().as_deref(), Some(&3)));
    }
}
