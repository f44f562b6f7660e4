//! Futures of any type behind one type, in memory that is reused while it is warm.

use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::ptr::NonNull;
use core::task::{Context, Poll};

use alloc::boxed::Box;

use crate::recycled::{Block, Recycled};

/// Owns a pinned future whose type is not known, in memory of the current shard's free blocks.
///
/// It is as a `Pin<Box<dyn Future>>` otherwise, and for what is called by a table: a handler per route costs no allocation once
/// blocks of its size have been used. A future of more than 4,096 bytes, or aligned to more than 64, comes from the heap; see
/// [`Recycled`].
///
/// Dropping it drops the future, at any point.
pub struct ErasedFuture<'a, T> {
    future: NonNull<dyn Future<Output = T> + 'a>,
    _owned: PhantomData<Box<dyn Future<Output = T> + 'a>>,
}

impl<'a, T> ErasedFuture<'a, T> {
    /// Puts a future into a block.
    #[inline]
    pub fn new(future: impl Future<Output = T> + 'a) -> Self {
        Self { future: Recycled::new(future).into_raw(), _owned: PhantomData }
    }
}

impl<T> Future for ErasedFuture<'_, T> {
    type Output = T;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // SAFETY: the future is there as long as `self`, which owns it. It stays in its block until it is dropped there, and
        // nobody gets it unpinned.
        unsafe { Pin::new_unchecked(self.future.as_mut()) }.poll(cx)
    }
}

impl<T> Drop for ErasedFuture<'_, T> {
    fn drop(&mut self) {
        // Given back also if the future panics when it is dropped.
        let _block = Block::of(self.future);
        // SAFETY: the future is there, owned, and not used again. It is dropped where it was pinned.
        unsafe { self.future.drop_in_place() };
    }
}

impl<T> fmt::Debug for ErasedFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErasedFuture").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::testing::TestWorld;
    use core::future::{pending, ready};
    use core::task::Waker;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::rc::Rc;

    fn poll<T>(future: &mut ErasedFuture<'_, T>) -> Poll<T> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn place<T>(future: &ErasedFuture<'_, T>) -> *const u8 {
        future.future.cast::<u8>().as_ptr()
    }

    /// Drops a value that panics then.
    struct Faulty;

    impl Drop for Faulty {
        fn drop(&mut self) {
            panic!("planned");
        }
    }

    #[test]
    fn futures_of_several_types_lie_in_one_block_after_each_other() {
        let shards = TestWorld::default().executors(1);
        shards[0].enter(|| {
            let text = String::from("borrowed");
            let mut first = ErasedFuture::new(ready(text.len()));
            let block = place(&first);
            assert_eq!(poll(&mut first), Poll::Ready(8));
            drop(first);
            let mut second = ErasedFuture::new(async {
                core::future::poll_fn(|_| Poll::Ready(())).await;
                text.as_str()
            });
            assert_eq!(place(&second), block);
            assert_eq!(poll(&mut second), Poll::Ready("borrowed"));
        });
    }

    #[test]
    fn a_future_stays_where_it_is_while_its_owner_moves() {
        struct Where<'a>(&'a core::cell::Cell<usize>, core::marker::PhantomPinned);

        impl Future for Where<'_> {
            type Output = ();

            fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
                self.0.set((&raw const *self).addr());
                Poll::Pending
            }
        }

        let seen = core::cell::Cell::new(0);
        let mut future = ErasedFuture::new(Where(&seen, core::marker::PhantomPinned));
        assert!(poll(&mut future).is_pending());
        let first = seen.take();
        let mut moved = Box::new(future);
        assert!(poll(&mut moved).is_pending());
        assert_eq!(seen.get(), first);
    }

    #[test]
    fn what_a_future_holds_is_dropped_once_wherever_it_is() {
        let shards = TestWorld::default().executors(2);
        let alive = Rc::new(());
        let hold = || {
            let held = Rc::clone(&alive);
            ErasedFuture::new(async move {
                let _held = held;
                pending::<()>().await;
            })
        };
        let mut outside = hold();
        let mut inside = shards[0].enter(hold);
        assert!(poll(&mut outside).is_pending() && poll(&mut inside).is_pending());
        assert_eq!(Rc::strong_count(&alive), 3);
        shards[1].enter(|| drop(outside));
        assert_eq!(Rc::strong_count(&alive), 2);
        drop(inside);
        drop(shards[0].enter(hold));
        assert_eq!(Rc::strong_count(&alive), 1);
    }

    #[test]
    fn large_and_overaligned_futures_have_a_place() {
        #[repr(align(4096))]
        struct Page([u8; 8192]);

        let shards = TestWorld::default().executors(1);
        shards[0].enter(|| {
            let page = Page([7; 8192]);
            let mut future = ErasedFuture::new(async move {
                let page = page;
                core::future::poll_fn(|_| Poll::Ready(())).await;
                (page.0.as_ptr().align_offset(4096), page.0[8191])
            });
            assert_eq!(poll(&mut future), Poll::Ready((0, 7)));
            let mut nothing = ErasedFuture::new(ready(()));
            assert!(poll(&mut nothing).is_ready());
        });
    }

    #[test]
    fn a_panic_leaves_a_future_that_can_be_dropped() {
        let shards = TestWorld::default().executors(1);
        shards[0].enter(|| {
            let held = Rc::new(());
            let in_future = Rc::clone(&held);
            let mut future = ErasedFuture::new(async move {
                let _held = in_future;
                panic!("planned")
            });
            let block = place(&future);
            assert!(catch_unwind(AssertUnwindSafe(|| poll::<()>(&mut future))).is_err());
            drop(future);
            assert_eq!(Rc::strong_count(&held), 1);

            let faulty = Faulty;
            let future = ErasedFuture::new(async move {
                let _faulty = faulty;
            });
            assert!(catch_unwind(AssertUnwindSafe(|| drop(future))).is_err());
            assert_eq!(place(&ErasedFuture::new(ready(()))), block, "its block came back");
        });
    }
}
