//! A platform for tests: its clock stands still until the test moves it.

use std::boxed::Box;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use std::vec::Vec;

use sunstar_packet::Doorbell;

use crate::message::{Mesh, MeshLinks};
use crate::{Executor, ExecutorConfig, Instant, JoinHandle, Platform, Round};

type Hook = Rc<dyn Fn()>;

/// What a test sees and moves of its platform.
#[derive(Clone, Default)]
pub(crate) struct TestWorld {
    now: Rc<Cell<Instant>>,
    rings: Arc<AtomicUsize>,
    /// Called whenever an executor reads the clock.
    when_asked: Rc<RefCell<Option<Hook>>>,
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
        let when_asked = self.0.when_asked.borrow().clone();
        if let Some(f) = when_asked {
            f();
        }
        self.0.now.get()
    }

    fn unix_time(&self) -> Duration {
        Duration::from_secs(784_111_777) + (self.0.now.get() - Instant::ORIGIN)
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

    /// An executor of a mesh.
    pub(crate) fn executor_of(&self, links: MeshLinks) -> Executor {
        Executor::with_links(ExecutorConfig::default(), Box::new(TestPlatform(self.clone())), links)
    }

    /// The executors of a mesh, all of this world.
    pub(crate) fn executors(&self, shards: usize) -> Vec<Executor> {
        Mesh::links(shards).into_iter().map(|links| self.executor_of(links)).collect()
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.now.set(self.now.get() + by);
    }

    pub(crate) fn now(&self) -> Instant {
        self.now.get()
    }

    /// Has `f` run whenever an executor reads the clock, before it gets its answer.
    pub(crate) fn when_asked(&self, f: impl Fn() + 'static) {
        *self.when_asked.borrow_mut() = Some(Rc::new(f));
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

/// Runs some rounds of an executor.
pub(crate) fn rounds(executor: &Executor, count: usize) {
    for _ in 0..count {
        executor.round();
    }
}

/// Runs rounds of several executors in turn until all are idle.
pub(crate) fn settle_all(executors: &[Executor]) {
    for _ in 0..100_000 {
        let rounds: Vec<_> = executors.iter().map(Executor::round).collect();
        if rounds.iter().all(|round| matches!(round, Round::Idle { .. })) {
            return;
        }
    }
    panic!("the executors do not come to rest");
}

/// Runs `future` as a task of the first executor to its end, with the others taking their turns.
pub(crate) fn run_among<F: Future + 'static>(executors: &[Executor], future: F) -> F::Output {
    let handle = executors[0].spawn(future);
    settle_all(executors);
    output_of(&executors[0], handle)
}

/// Runs `future` as a task to its end.
pub(crate) fn run<F: Future + 'static>(executor: &Executor, future: F) -> F::Output {
    let handle = executor.spawn(future);
    settle(executor);
    output_of(executor, handle)
}

fn output_of<T>(executor: &Executor, mut handle: JoinHandle<T>) -> T {
    executor.enter(|| match Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => {
            drop(handle);
            output.expect("the test's task ends with an output")
        }
        Poll::Pending => panic!("the test's task waits for ever"),
    })
}
