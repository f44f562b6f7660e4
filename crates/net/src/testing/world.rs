//! Shards with a network in memory, all on one thread, in turn.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sunstar_executor::message::Mesh;
use sunstar_executor::{Executor, ExecutorConfig, Instant, JoinHandle, Platform, Round, local};
use sunstar_packet::Doorbell;

use super::network::Network;
use crate::socket;

/// The shards of a program and their network.
pub(crate) struct World {
    pub(crate) network: Network,
    now: Rc<Cell<Instant>>,
    shards: Vec<Executor>,
}

/// Who waits for the next round of a shard.
#[derive(Default)]
struct Ticker(RefCell<Vec<Waker>>);

struct TestPlatform {
    network: Network,
    ticker: Rc<Ticker>,
    now: Rc<Cell<Instant>>,
}

struct Silent;

impl Doorbell for Silent {
    fn ring(&self) {}
}

impl Platform for TestPlatform {
    fn now(&self) -> Instant {
        self.now.get()
    }

    fn unix_time(&self) -> Duration {
        Duration::ZERO
    }

    fn entropy(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }

    fn poll(&self) -> bool {
        let waiting = self.ticker.0.take();
        let is_busy = self.network.step() || !waiting.is_empty();
        waiting.into_iter().for_each(Waker::wake);
        is_busy
    }

    fn sleep(&self, _deadline: Option<Instant>) {
        unreachable!("tests drive rounds themselves");
    }

    fn doorbell(&self) -> Box<dyn Doorbell> {
        Box::new(Silent)
    }
}

impl World {
    pub(crate) fn new(seed: u64, shards: usize) -> Self {
        let (network, now) = (Network::new(seed), Rc::new(Cell::new(Instant::ORIGIN)));
        let shard = |links| {
            let ticker = Rc::<Ticker>::default();
            let platform = TestPlatform { network: network.clone(), ticker: Rc::clone(&ticker), now: Rc::clone(&now) };
            let shard = Executor::with_links(ExecutorConfig::default(), Box::new(platform), links);
            shard.enter(|| {
                socket::install(Rc::new(network.clone()));
                local::set(ticker);
            });
            shard
        };
        let shards = Mesh::links(shards).into_iter().map(shard).collect();
        Self { network, now, shards }
    }

    pub(crate) fn spawn<F: Future + 'static>(&self, shard: usize, future: F) -> JoinHandle<F::Output> {
        self.shards[shard].spawn(future)
    }

    pub(crate) fn enter<R>(&self, shard: usize, f: impl FnOnce() -> R) -> R {
        self.shards[shard].enter(f)
    }

    /// Runs one round of a shard.
    pub(crate) fn round(&self, shard: usize) -> Round {
        self.shards[shard].round()
    }

    /// Runs rounds of all shards in turn until nothing is left to do.
    pub(crate) fn settle(&self) {
        for _ in 0..1_000_000 {
            let rounds: Vec<_> = self.shards.iter().map(Executor::round).collect();
            if rounds.into_iter().all(Round::is_idle) {
                return;
            }
        }
        panic!("the shards do not come to rest");
    }

    /// Lets time pass, and all that it brings about.
    pub(crate) fn advance(&self, by: Duration) {
        self.now.set(self.now.get() + by);
        self.settle();
    }

    /// Runs `future` as a task of a shard to its end, with the others taking their turns.
    pub(crate) fn run<F: Future + 'static>(&self, shard: usize, future: F) -> F::Output {
        let handle = self.spawn(shard, future);
        self.settle();
        self.output(shard, handle)
    }

    /// The output of a task that has ended.
    pub(crate) fn output<T>(&self, shard: usize, mut handle: JoinHandle<T>) -> T {
        self.enter(shard, || match Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => {
                drop(handle);
                output.expect("the test's task ends with an output")
            }
            Poll::Pending => panic!("the test's task waits for ever"),
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shards.iter().for_each(Executor::stop_tasks);
        self.shards.iter().for_each(Executor::stop_messages);
        self.shards.iter().for_each(|shard| {
            shard.receive_home();
        });
    }
}

/// Polls `future` in as many rounds more than one, and whenever it is woken in between, and then drops it.
pub(crate) async fn give_up_after<F: Future>(rounds: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut patience = pin!(async {
        for _ in 0..rounds {
            tick().await;
        }
    });
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        patience.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// Waits for the shard's next round.
pub(crate) async fn tick() {
    let mut is_registered = false;
    poll_fn(|cx| {
        if is_registered {
            return Poll::Ready(());
        }
        is_registered = true;
        let ticker: Rc<Ticker> = local::get().expect("every shard of the world has one");
        ticker.0.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    })
    .await;
}

/// Waits for ever.
pub(crate) async fn never() {
    std::future::pending().await
}
