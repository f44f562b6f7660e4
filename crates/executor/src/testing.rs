//! A platform for tests: its clock stands still until the test moves it.

use std::boxed::Box;
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sunstar_packet::Doorbell;

use crate::{Executor, ExecutorConfig, Instant, Platform, Round};

/// What a test sees and moves of its platform.
#[derive(Clone, Default)]
pub(crate) struct TestWorld {
    now: Rc<Cell<Instant>>,
    rings: Arc<AtomicUsize>,
}

struct TestPlatform(TestWorld);

struct TestBell(Arc<AtomicUsize>);

impl Doorbell for TestBell {
    fn ring(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Platform for TestPlatform {
    fn now(&self) -> Instant {
        self.0.now.get()
    }

    fn entropy(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }

    fn poll(&self) -> bool {
        false
    }

    fn sleep(&self, _deadline: Option<Instant>) {
        unreachable!("tests drive rounds themselves");
    }

    fn doorbell(&self) -> Box<dyn Doorbell> {
        Box::new(TestBell(Arc::clone(&self.0.rings)))
    }
}

impl TestWorld {
    pub(crate) fn executor(&self) -> Executor {
        Executor::new(ExecutorConfig::default(), Box::new(TestPlatform(self.clone())))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.now.set(self.now.get() + by);
    }

    pub(crate) fn now(&self) -> Instant {
        self.now.get()
    }

    pub(crate) fn rings(&self) -> usize {
        self.rings.load(Ordering::Relaxed)
    }
}

/// Runs rounds until the executor is idle.
pub(crate) fn settle(executor: &Executor) {
    for _ in 0..100_000 {
        if matches!(executor.round(), Round::Idle { .. }) {
            return;
        }
    }
    panic!("the executor does not come to rest");
}

/// Runs `future` as a task to its end.
pub(crate) fn run<F: Future + 'static>(executor: &Executor, future: F) -> F::Output {
    let mut handle = executor.spawn(future);
    settle(executor);
    executor.enter(|| match Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => {
            drop(handle);
            output.expect("the test's task ends with an output")
        }
        Poll::Pending => panic!("the test's task waits for ever"),
    })
}
