//! Going over an iterator with several futures at a time.

use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::task::Poll;

use super::child_set::ChildSet;
use super::when_all::when_all;

/// Runs `f` on every item, all at once, and waits for all.
///
/// The calls are made in order at the first poll, and each future begins at once.
///
/// # Errors
/// If any failed, the error of the one that failed first; by then all have ended.
///
/// ```
/// # use core::{future::Future, pin::pin, task::{Context, Poll, Waker}};
/// use core::cell::Cell;
/// use sunstar_executor::combine::parallel_for_each;
///
/// # let all = async {
/// let sum = Cell::new(0);
/// parallel_for_each(1..=10, async |i| Ok(sum.set(sum.get() + i))).await?;
/// assert_eq!(sum.get(), 55);
/// # Ok::<(), core::fmt::Error>(())
/// # };
/// # assert!(pin!(all).poll(&mut Context::from_waker(Waker::noop())).is_ready());
/// ```
pub async fn parallel_for_each<I, F, E>(items: I, f: impl FnMut(I::Item) -> F) -> Result<(), E>
where
    I: IntoIterator,
    F: Future<Output = Result<(), E>>,
{
    for_each(items, usize::MAX, |_| true, f).await
}

/// Runs `f` on every item, at most `max_concurrent` at a time, and waits for all.
///
/// After a failure no further item is begun.
///
/// # Errors
/// The first failure; by then all that began have ended.
///
/// # Panics
/// If `max_concurrent` is zero.
pub async fn max_concurrent_for_each<I, F, E>(
    items: I,
    max_concurrent: usize,
    f: impl FnMut(I::Item) -> F,
) -> Result<(), E>
where
    I: IntoIterator,
    F: Future<Output = Result<(), E>>,
{
    assert!(max_concurrent > 0, "with none at a time nothing would ever end");
    for_each(items, max_concurrent, Result::is_ok, f).await
}

/// Runs `f` on items, at most `max_concurrent` at a time, as long as `goes_on` holds of the result so far.
async fn for_each<I, F, E>(
    items: I,
    max_concurrent: usize,
    goes_on: impl Fn(&Result<(), E>) -> bool,
    mut f: impl FnMut(I::Item) -> F,
) -> Result<(), E>
where
    I: IntoIterator,
    F: Future<Output = Result<(), E>>,
{
    let mut items = items.into_iter();
    let mut children = ChildSet::new();
    let mut result = Ok(());
    poll_fn(|cx| {
        loop {
            while children.len() < max_concurrent
                && goes_on(&result)
                && let Some(item) = items.next()
            {
                if let Some(((), outcome)) = children.start((), f(item), cx) {
                    result = core::mem::replace(&mut result, Ok(())).and(outcome);
                }
            }
            match children.poll_next(cx) {
                Poll::Ready(Some(((), outcome))) => result = core::mem::replace(&mut result, Ok(())).and(outcome),
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
    result
}

/// Maps every item, all at once, and folds what comes out, in the order of the items.
pub async fn map_reduce<I, F, A>(
    items: I,
    map: impl FnMut(I::Item) -> F,
    initial: A,
    reduce: impl FnMut(A, F::Output) -> A,
) -> A
where
    I: IntoIterator,
    F: Future,
{
    let mapped = items.into_iter().map(map).collect::<Vec<_>>();
    when_all(mapped).await.into_iter().fold(initial, reduce)
}
