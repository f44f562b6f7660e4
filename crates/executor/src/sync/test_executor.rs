//! A deterministic executor for tests: polls what the test tells it to, and knows what was woken.

use std::boxed::Box;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Whether a task was woken since it was last polled.
#[derive(Default)]
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) fn is_woken(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A future that the test polls by hand.
pub(crate) struct TestTask<'a, T> {
    future: Pin<Box<dyn Future<Output = T> + 'a>>,
    flag: Arc<Flag>,
    polls: usize,
}

impl<'a, T> TestTask<'a, T> {
    pub(crate) fn new(future: impl Future<Output = T> + 'a) -> Self {
        let flag = Arc::new(Flag::default());
        flag.wake_by_ref();
        Self { future: Box::pin(future), flag, polls: 0 }
    }

    /// A task that was polled once and is expected to wait.
    #[track_caller]
    pub(crate) fn waiting(future: impl Future<Output = T> + 'a) -> Self {
        let mut task = Self::new(future);
        assert!(task.poll().is_pending(), "the task was expected to wait");
        task
    }

    pub(crate) fn poll(&mut self) -> Poll<T> {
        self.flag.clear();
        self.polls += 1;
        self.future.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&self.flag))))
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.flag.is_woken()
    }

    pub(crate) fn polls(&self) -> usize {
        self.polls
    }

    /// Polls once; the task must have been woken and must end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> T {
        assert!(self.is_woken(), "the task was expected to be woken");
        match self.poll() {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("the task was expected to end"),
        }
    }
}

/// Polls as long as the future wakes itself; it must end.
#[track_caller]
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut task = TestTask::new(future);
    while task.is_woken() {
        if let Poll::Ready(output) = task.poll() {
            return output;
        }
    }
    panic!("the future waits for ever");
}

/// Waits for one poll, having woken itself.
pub(crate) async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
