//! Waiting for all of several futures.

use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll};

use super::child_set::ChildSet;

/// Several futures that [`when_all`] runs at once: a tuple of two to four, or a `Vec`.
pub trait Concurrent {
    /// The outputs, in the same order.
    type Outputs;

    /// Runs them all; what [`when_all`] calls.
    fn all(self) -> impl Future<Output = Self::Outputs>;
}

/// Several fallible futures that [`when_all_succeed`] runs at once: a tuple of two to four, or a `Vec`.
pub trait ConcurrentFallible {
    /// The values, in the same order.
    type Values;
    /// Why one failed.
    type Error;

    /// Runs them all; what [`when_all_succeed`] calls.
    fn all_succeed(self) -> impl Future<Output = Result<Self::Values, Self::Error>>;
}

/// Runs several futures at once and answers all their outputs, in the order of the futures.
///
/// ```
/// # use core::{future::Future, pin::pin, task::{Context, Poll, Waker}};
/// use sunstar_executor::combine::when_all;
///
/// # let both = async {
/// let (a, b) = when_all((async { 1 }, async { "two" })).await;
/// assert_eq!((a, b), (1, "two"));
/// # };
/// # assert!(pin!(both).poll(&mut Context::from_waker(Waker::noop())).is_ready());
/// ```
pub async fn when_all<C: Concurrent>(futures: C) -> C::Outputs {
    futures.all().await
}

/// Runs several fallible futures at once to their ends, whether one fails or not, and answers all their values.
///
/// # Errors
/// If any failed, the error of the first one in order.
pub async fn when_all_succeed<C: ConcurrentFallible>(futures: C) -> Result<C::Values, C::Error> {
    futures.all_succeed().await
}

/// Polls a future of a tuple unless its output is there; answers whether it is.
fn advance<F: Future>(future: Pin<&mut F>, output: &mut Option<F::Output>, cx: &mut Context<'_>) -> bool {
    if output.is_none()
        && let Poll::Ready(value) = future.poll(cx)
    {
        *output = Some(value);
    }
    output.is_some()
}

const ALL_DONE: &str = "every output is there when the loop ends";

impl<A: Future, B: Future> Concurrent for (A, B) {
    type Outputs = (A::Output, B::Output);

    async fn all(self) -> Self::Outputs {
        let (mut a, mut b) = (pin!(self.0), pin!(self.1));
        let mut outputs = (None, None);
        poll_fn(|cx| {
            let done = advance(a.as_mut(), &mut outputs.0, cx) & advance(b.as_mut(), &mut outputs.1, cx);
            if done { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        (outputs.0.expect(ALL_DONE), outputs.1.expect(ALL_DONE))
    }
}

impl<A: Future, B: Future, C: Future> Concurrent for (A, B, C) {
    type Outputs = (A::Output, B::Output, C::Output);

    async fn all(self) -> Self::Outputs {
        let (a, b, c) = self;
        let ((a, b), c) = ((a, b).all(), c).all().await;
        (a, b, c)
    }
}

impl<A: Future, B: Future, C: Future, D: Future> Concurrent for (A, B, C, D) {
    type Outputs = (A::Output, B::Output, C::Output, D::Output);

    async fn all(self) -> Self::Outputs {
        let (a, b, c, d) = self;
        let ((a, b), (c, d)) = ((a, b).all(), (c, d).all()).all().await;
        (a, b, c, d)
    }
}

impl<F: Future> Concurrent for Vec<F> {
    type Outputs = Vec<F::Output>;

    async fn all(self) -> Self::Outputs {
        let mut outputs: Vec<Option<F::Output>> = Vec::with_capacity(self.len());
        outputs.resize_with(self.len(), || None);
        let mut children = ChildSet::new();
        let mut futures = self.into_iter().enumerate();
        poll_fn(|cx| {
            for (index, future) in futures.by_ref() {
                if let Some((index, output)) = children.start(index, future, cx) {
                    outputs[index] = Some(output);
                }
            }
            while let Poll::Ready(ended) = children.poll_next(cx) {
                let Some((index, output)) = ended else { return Poll::Ready(()) };
                outputs[index] = Some(output);
            }
            Poll::Pending
        })
        .await;
        outputs.into_iter().map(|output| output.expect(ALL_DONE)).collect()
    }
}

impl<A, B, T, U, E> ConcurrentFallible for (A, B)
where
    A: Future<Output = Result<T, E>>,
    B: Future<Output = Result<U, E>>,
{
    type Values = (T, U);
    type Error = E;

    async fn all_succeed(self) -> Result<Self::Values, E> {
        let (a, b) = self.all().await;
        Ok((a?, b?))
    }
}

impl<A, B, C, T, U, V, E> ConcurrentFallible for (A, B, C)
where
    A: Future<Output = Result<T, E>>,
    B: Future<Output = Result<U, E>>,
    C: Future<Output = Result<V, E>>,
{
    type Values = (T, U, V);
    type Error = E;

    async fn all_succeed(self) -> Result<Self::Values, E> {
        let (a, b, c) = self.all().await;
        Ok((a?, b?, c?))
    }
}

impl<A, B, C, D, T, U, V, W, E> ConcurrentFallible for (A, B, C, D)
where
    A: Future<Output = Result<T, E>>,
    B: Future<Output = Result<U, E>>,
    C: Future<Output = Result<V, E>>,
    D: Future<Output = Result<W, E>>,
{
    type Values = (T, U, V, W);
    type Error = E;

    async fn all_succeed(self) -> Result<Self::Values, E> {
        let (a, b, c, d) = self.all().await;
        Ok((a?, b?, c?, d?))
    }
}

impl<F, T, E> ConcurrentFallible for Vec<F>
where
    F: Future<Output = Result<T, E>>,
{
    type Values = Vec<T>;
    type Error = E;

    async fn all_succeed(self) -> Result<Self::Values, E> {
        self.all().await.into_iter().collect()
    }
}
