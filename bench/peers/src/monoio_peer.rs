//! Monoio: one io_uring runtime.
//!
//! The benchmarks of timers are left out: its timers don't fire while a task keeps yielding.

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

use monoio::{IoUringDriver, RuntimeBuilder};
use sunstar_bench_common::local::Runtime;
use sunstar_bench_common::measure::pin;

/// Monoio's executor.
pub(crate) struct Monoio;

impl Runtime for Monoio {
    const NAME: &'static str = "monoio";

    fn run<F: Future<Output = ()> + 'static>(core: usize, main: impl FnOnce() -> F + Send + 'static) {
        pin(core);
        let mut runtime =
            RuntimeBuilder::<IoUringDriver>::new().enable_timer().build().expect("the kernel has io_uring");
        runtime.block_on(async move { main().await });
    }

    fn spawn<F: Future + 'static>(future: F) -> impl Future<Output = F::Output> + 'static {
        monoio::spawn(future)
    }

    /// Monoio has no word for it.
    fn yield_now() -> impl Future<Output = ()> {
        let mut yielded = false;
        poll_fn(move |cx| {
            if yielded {
                return Poll::Ready(());
            }
            yielded = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        monoio::time::sleep(duration)
    }
}
