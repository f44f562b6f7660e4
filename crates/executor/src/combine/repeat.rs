//! Loops of asynchronous steps.

use core::ops::ControlFlow;

/// Repeats `step` until it breaks, and answers what it breaks with.
///
/// ```
/// # use core::{future::Future, pin::pin, task::{Context, Poll, Waker}};
/// use core::ops::ControlFlow;
/// use sunstar_executor::combine::repeat;
///
/// # let looped = async {
/// let mut left = 3;
/// repeat(async || {
///     left -= 1;
///     if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
/// })
/// .await;
/// # };
/// # assert!(pin!(looped).poll(&mut Context::from_waker(Waker::noop())).is_ready());
/// ```
pub async fn repeat<B>(mut step: impl AsyncFnMut() -> ControlFlow<B>) -> B {
    loop {
        if let ControlFlow::Break(value) = step().await {
            return value;
        }
    }
}

/// Repeats `step` until it answers a value.
pub async fn repeat_until_value<T>(mut step: impl AsyncFnMut() -> Option<T>) -> T {
    loop {
        if let Some(value) = step().await {
            return value;
        }
    }
}

/// Repeats `step` until `stop` holds, which is asked before every step, or a step fails.
///
/// # Errors
/// That of the step which failed.
pub async fn do_until<E>(
    mut stop: impl FnMut() -> bool,
    mut step: impl AsyncFnMut() -> Result<(), E>,
) -> Result<(), E> {
    while !stop() {
        step().await?;
    }
    Ok(())
}

/// Repeats `step` until it fails, and answers its error.
pub async fn keep_doing<E>(mut step: impl AsyncFnMut() -> Result<(), E>) -> E {
    loop {
        if let Err(error) = step().await {
            return error;
        }
    }
}
