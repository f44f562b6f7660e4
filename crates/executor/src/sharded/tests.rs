//! Services on several shards of one thread.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Waker};

use super::{Service, Sharded};
use crate::testing::{TestWorld, rounds, run_among, settle_all};
use crate::{Executor, ShardId, SubmitError, current, yield_now};

/// A service that is not `Send`, and counts how many of it are alive and were stopped.
struct Counter {
    hits: Rc<Cell<usize>>,
    alive: Arc<AtomicUsize>,
    stopped: Arc<AtomicUsize>,
}

impl Counter {
    fn new(alive: &Arc<AtomicUsize>, stopped: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self {
            hits: Rc::new(Cell::new(current::shard_id().index())),
            alive: Arc::clone(alive),
            stopped: Arc::clone(stopped),
        }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Service for Counter {
    async fn stop(&self) {
        yield_now().await;
        self.stopped.fetch_add(1, Ordering::Relaxed);
    }
}

impl Service for RefCell<Vec<&'static str>> {}
impl Service for u8 {}

fn counters() -> (Arc<AtomicUsize>, Arc<AtomicUsize>) {
    Default::default()
}

fn started(shards: &[Executor], alive: &Arc<AtomicUsize>, stopped: &Arc<AtomicUsize>) -> Sharded<Counter> {
    let (alive, stopped) = (Arc::clone(alive), Arc::clone(stopped));
    run_among(shards, Sharded::start(async move || Counter::new(&alive, &stopped))).expect("all shards start")
}

#[test]
fn every_shard_has_its_instance_until_the_stop() {
    let shards = TestWorld::default().executors(3);
    let (alive, stopped) = counters();
    let service = started(&shards, &alive, &stopped);
    assert_eq!(alive.load(Ordering::Relaxed), 3);
    for (index, shard) in shards.iter().enumerate() {
        assert_eq!(shard.enter(|| service.local().hits.get()), index);
    }
    run_among(&shards, async move { service.stop().await }).expect("all shards stop");
    assert_eq!((alive.load(Ordering::Relaxed), stopped.load(Ordering::Relaxed)), (0, 3));
    assert!(shards[1].enter(|| service.try_local()).is_none());
}

#[test]
fn instances_are_invoked_where_they_live() {
    let shards = TestWorld::default().executors(3);
    let (alive, stopped) = counters();
    let service = started(&shards, &alive, &stopped);
    let add = async |counter: Rc<Counter>| {
        yield_now().await;
        counter.hits.set(counter.hits.get() + 10);
    };
    let outputs = run_among(&shards, async move {
        service.invoke_on(ShardId::new(2), add).await?;
        service.invoke_on_all(add).await?;
        service.invoke_on_others(add).await?;
        let hits = service.map(async |counter| counter.hits.get()).await?;
        let sum = service.map_reduce(async |counter| counter.hits.get(), 0, |sum, hits| sum + hits).await?;
        Ok::<_, SubmitError>((hits, sum))
    });
    assert_eq!(outputs.expect("all are served"), (Vec::from([10, 21, 32]), 63));
}

#[test]
fn a_failed_start_stops_what_it_made() {
    let shards = TestWorld::default().executors(3);
    let (alive, stopped) = counters();
    let (made, stops) = (Arc::clone(&alive), Arc::clone(&stopped));
    let service = run_among(
        &shards,
        Sharded::start(async move || {
            let counter = Counter::new(&made, &stops);
            assert_ne!(current::shard_id(), ShardId::new(1), "planned");
            counter
        }),
    );
    assert!(matches!(service, Err(SubmitError::Panicked(_))));
    assert_eq!((alive.load(Ordering::Relaxed), stopped.load(Ordering::Relaxed)), (0, 2));
}

#[test]
fn a_single_instance_lives_on_its_shard_alone() {
    let shards = TestWorld::default().executors(2);
    let (alive, stopped) = counters();
    let (a, s) = (Arc::clone(&alive), Arc::clone(&stopped));
    let service = run_among(&shards, Sharded::start_single(async move || Counter::new(&a, &s)));
    assert!(shards[0].enter(|| service.try_local()).is_some());
    assert!(shards[1].enter(|| service.try_local()).is_none());
    let missing = run_among(&shards, async move { service.invoke_on(ShardId::new(1), async |_| ()).await });
    assert!(matches!(missing, Err(SubmitError::Panicked(panic)) if panic.message().contains("no instance")));
    run_among(&shards, async move { service.stop().await }).expect("all shards stop");
    assert_eq!((alive.load(Ordering::Relaxed), stopped.load(Ordering::Relaxed)), (0, 1));
}

#[test]
fn instances_go_with_their_shards() {
    let mut shards = TestWorld::default().executors(2);
    let (alive, stopped) = counters();
    started(&shards, &alive, &stopped);
    drop(shards.pop());
    assert_eq!(alive.load(Ordering::Relaxed), 1);
    settle_all(&shards);
    drop(shards);
    assert_eq!((alive.load(Ordering::Relaxed), stopped.load(Ordering::Relaxed)), (0, 0));
}

#[test]
fn services_are_told_apart() {
    let shards = TestWorld::default().executors(1);
    let words = run_among(&shards, Sharded::start(async || RefCell::new(Vec::from(["a"])))).expect("it starts");
    let number = run_among(&shards, Sharded::start(async || 7_u8)).expect("it starts");
    shards[0].enter(|| {
        words.local().borrow_mut().push("b");
        assert_eq!((words.local().borrow().len(), *number.local()), (2, 7));
    });
}

#[test]
fn a_start_that_nobody_awaits_any_more_is_undone() {
    // How many rounds all shards have had when the start is given up.
    for count in 0..8 {
        let shards = TestWorld::default().executors(3);
        let (alive, stopped) = counters();
        let (a, s) = (Arc::clone(&alive), Arc::clone(&stopped));
        let starting = shards[0].enter(|| Sharded::start(async move || Counter::new(&a, &s)));
        let mut starting = Box::pin(starting);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(shards[0].enter(|| starting.as_mut().poll(&mut cx)).is_pending());
        (0..count).for_each(|_| shards.iter().for_each(|shard| rounds(shard, 1)));
        shards[0].enter(|| drop(starting));
        settle_all(&shards);
        assert_eq!(alive.load(Ordering::Relaxed), 0, "after {count} rounds");
        assert_eq!(stopped.load(Ordering::Relaxed), 3, "after {count} rounds");
    }
}

#[test]
fn a_stop_that_is_dropped_or_repeated_stops_each_instance_once() {
    let shards = TestWorld::default().executors(3);
    let (alive, stopped) = counters();
    let service = started(&shards, &alive, &stopped);
    let mut stopping = Box::pin(service.stop());
    let mut cx = Context::from_waker(Waker::noop());
    shards[0].enter(|| {
        assert!(stopping.as_mut().poll(&mut cx).is_pending());
        drop(stopping);
    });
    settle_all(&shards);
    assert_eq!((alive.load(Ordering::Relaxed), stopped.load(Ordering::Relaxed)), (0, 3));
    run_among(&shards, service.stop()).expect("there is nothing to do");
    assert_eq!((alive.load(Ordering::Relaxed), stopped.load(Ordering::Relaxed)), (0, 3));
}

/// Finds the service that it is, and the one that it was made with, when it is dropped; and panics.
struct Dependent {
    relies_on: Option<Sharded<Dependent>>,
    dropped: Rc<Cell<usize>>,
}

impl Service for Dependent {}

impl Drop for Dependent {
    fn drop(&mut self) {
        if let Some(other) = &self.relies_on {
            assert!(other.try_local().is_some(), "what was made before is still there");
        }
        self.dropped.set(self.dropped.get() + 1);
        panic!("planned");
    }
}

#[test]
fn instances_are_dropped_one_by_one_the_last_first() {
    let dropped = Rc::new(Cell::new(0));
    let shards = TestWorld::default().executors(1);
    let dependent = |relies_on| {
        let dropped = Rc::clone(&dropped);
        run_among(&shards, Sharded::start_single(async move || Dependent { relies_on, dropped }))
    };
    let first = dependent(None);
    let second = dependent(Some(first));
    dependent(Some(second));
    shards[0].stop_messages();
    assert_eq!(dropped.get(), 3);
    assert_eq!(shards[0].stats().foreign_panics, 3);
}
