//! Services on several shards of one thread.

use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::sync::atomic::{AtomicUsize, Ordering};

use super::{Service, Sharded};
use crate::testing::{TestWorld, run_among, settle_all};
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
fn a_failed_start_leaves_no_instance() {
    let shards = TestWorld::default().executors(3);
    let (alive, stopped) = counters();
    let made = Arc::clone(&alive);
    let service = run_among(
        &shards,
        Sharded::start(async move || {
            let counter = Counter::new(&made, &stopped);
            assert_ne!(current::shard_id(), ShardId::new(1), "planned");
            counter
        }),
    );
    assert!(matches!(service, Err(SubmitError::Panicked(_))));
    assert_eq!(alive.load(Ordering::Relaxed), 0);
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
