//! Owned objects in memory that is reused while it is warm.

use alloc::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use crate::current;
use crate::task::recycler;

/// Owns a value in memory that came from the current shard's free blocks and goes back there, last in first out.
///
/// It is for objects that come and go with load, such as the state of a connection: the next one is made where the last
/// one was, which the processor most likely still has in its cache. Otherwise it is as a `Box`. Blocks are of multiples
/// of 64 bytes; a value of more than 4,096 bytes, or aligned to more than 64, always comes from the heap, as do all
/// outside of any shard. The value may outlive its shard.
pub struct Recycled<T> {
    value: NonNull<T>,
    _owned: PhantomData<T>,
}

impl<T> Recycled<T> {
    /// Puts a value into a block.
    pub fn new(value: T) -> Self {
        let layout = Layout::new::<T>();
        let block = current::try_with(|shard| shard.recycler.allocate(layout));
        let place = block.unwrap_or_else(|| recycler::allocate(layout)).cast::<T>();
        // SAFETY: fresh memory of the right layout.
        unsafe { place.write(value) };
        Self { value: place, _owned: PhantomData }
    }

    /// Takes the value out and gives the block back.
    pub fn into_inner(self) -> T {
        let place = self.into_raw();
        let _block = Block::of(place);
        // SAFETY: the value is there until it is taken, which happens once: `self` is used up and not dropped.
        unsafe { place.read() }
    }

    /// Where the value is, which is not dropped any more. Whoever has this owns the value and its [`Block`].
    pub(crate) fn into_raw(self) -> NonNull<T> {
        ManuallyDrop::new(self).value
    }
}

/// The memory of a value that is gone or will be first; dropping it gives it back.
pub(crate) struct Block {
    memory: NonNull<u8>,
    layout: Layout,
}

impl Block {
    /// The memory that a [`Recycled`] of this value has, or had before it was made an object of a trait. It must be given back
    /// once.
    #[inline]
    pub(crate) fn of<T: ?Sized>(value: NonNull<T>) -> Self {
        // SAFETY: it points to a value, whose size is known as long as it is there; that of a sized one is always known.
        let layout = Layout::for_value(unsafe { value.as_ref() });
        Self { memory: value.cast(), layout }
    }
}

impl Drop for Block {
    #[inline]
    fn drop(&mut self) {
        let Self { memory, layout } = *self;
        // SAFETY: it was allocated with the layout of the value, by a recycler or in place of one, and is not used again.
        let released = current::try_with(|shard| unsafe { shard.recycler.release(memory, layout) });
        if released.is_none() {
            // SAFETY: as above.
            unsafe { recycler::free(memory, layout) };
        }
    }
}

impl<T> Drop for Recycled<T> {
    fn drop(&mut self) {
        // Given back also if the value panics when it is dropped.
        let _block = Block::of(self.value);
        // SAFETY: the value is there, owned, and not used again.
        unsafe { self.value.drop_in_place() };
    }
}

impl<T> Deref for Recycled<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the value is there as long as `self`, and borrowed as `self` is.
        unsafe { self.value.as_ref() }
    }
}

impl<T> DerefMut for Recycled<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, uniquely.
        unsafe { self.value.as_mut() }
    }
}

impl<T: fmt::Debug> fmt::Debug for Recycled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::testing::TestWorld;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::rc::Rc;

    fn address<T>(value: &Recycled<T>) -> *const T {
        &raw const **value
    }

    #[test]
    fn memory_is_reused_last_in_first_out() {
        let shards = TestWorld::default().executors(2);
        let (a, b) = shards[0].enter(|| (Recycled::new([1_u64; 20]), Recycled::new([2_u64; 20])));
        let (place_a, place_b) = (address(&a), address(&b));
        shards[0].enter(|| {
            drop(a);
            assert_eq!(b.into_inner(), [2; 20]);
            let (c, d) = (Recycled::new([3_u64; 20]), Recycled::new([4_u64; 20]));
            assert_eq!((address(&c), address(&d)), (place_b, place_a));
            assert_eq!((c[0], d[19]), (3, 4));
        });
    }

    #[test]
    fn a_block_goes_to_the_shard_that_is_current_then() {
        let mut shards = TestWorld::default().executors(2);
        let value = shards[0].enter(|| Recycled::new([0_u8; 100]));
        let place = address(&value);
        drop(shards.remove(0));
        shards[0].enter(|| {
            drop(value);
            assert_eq!(address(&Recycled::new([0_u8; 128])).cast::<u8>(), place.cast());
        });
    }

    #[test]
    fn values_are_dropped_once_wherever_they_are() {
        let shards = TestWorld::default().executors(1);
        let alive = Rc::new(());
        let outside = Recycled::new(Rc::clone(&alive));
        let inside = shards[0].enter(|| Recycled::new(Rc::clone(&alive)));
        assert_eq!(Rc::strong_count(&alive), 3);
        shards[0].enter(|| drop(outside));
        drop(inside);
        drop(shards[0].enter(|| Recycled::new(Rc::clone(&alive)).into_inner()));
        assert_eq!(Rc::strong_count(&alive), 1);
    }

    #[test]
    fn all_sizes_and_alignments_have_a_place() {
        #[repr(align(4096))]
        struct Page([u8; 4096]);

        let shards = TestWorld::default().executors(1);
        shards[0].enter(|| {
            let mut page = Recycled::new(Page([7; 4096]));
            page.0[4095] = 8;
            assert_eq!(address(&page).align_offset(4096), 0);
            assert_eq!((page.0[0], page.0[4095]), (7, 8));
            let nothing = Recycled::new(());
            assert_eq!(format!("{nothing:?}"), "()");
        });
    }

    #[test]
    fn a_value_that_panics_when_it_is_dropped_gives_its_block_back() {
        struct Faulty;

        impl Drop for Faulty {
            fn drop(&mut self) {
                panic!("planned");
            }
        }

        let shards = TestWorld::default().executors(1);
        shards[0].enter(|| {
            let faulty = Recycled::new(Faulty);
            let place = address(&faulty).cast::<u8>();
            assert!(catch_unwind(AssertUnwindSafe(|| drop(faulty))).is_err());
            assert_eq!(address(&Recycled::new(1_u8)), place);
        });
    }
}
