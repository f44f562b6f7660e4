//! The combinators, with children that end when the scenario lets them.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::vec::Vec;

use super::Rng;
use super::harness::{Census, Item, Scenario, World, run};
use crate::combine::{
    map_reduce, max_concurrent_for_each, parallel_for_each, when_all, when_all_succeed, with_deadline,
};
use crate::sync::test_executor::yield_once;
use crate::sync::{Promise, promise};

struct Combined {
    world: Rc<World>,
    open: Rc<RefCell<Vec<Promise<()>>>>,
    census: Census,
    /// Children and timers that wait.
    running: Census,
}

impl Combined {
    fn new(world: &Rc<World>, _rng: &mut Rng) -> Self {
        let (census, running) = (Census::default(), Census::default());
        Self { world: Rc::clone(world), open: Rc::default(), census, running }
    }

    /// Makes children, which end when the scenario keeps a promise or at once.
    fn nursery(&self, rng: &mut Rng) -> Nursery {
        Nursery {
            open: Rc::clone(&self.open),
            census: self.census.clone(),
            running: self.running.clone(),
            rng: RefCell::new(Rng::new(rng.next())),
        }
    }

    fn spawn(&self, rng: &mut Rng) {
        let count = if rng.one_in(8) { 60 + rng.below(100) } else { rng.below(6) };
        let nursery = Rc::new(self.nursery(rng));
        let world = Rc::clone(&self.world);
        let kind = rng.below(7);
        let width = 1 + rng.below(4);
        self.world.spawn(async move {
            let _place = world.arrive(0, 0);
            match kind {
                0 => check_when_all(&nursery, count).await,
                1 => check_tuple(&nursery).await,
                2 => check_for_each(&nursery, count, None).await,
                3 => check_for_each(&nursery, count, Some(width)).await,
                4 => check_map_reduce(&nursery, count).await,
                5 => check_succeed(&nursery, count).await,
                _ => check_deadline(&nursery).await,
            }
        });
    }
}

struct Nursery {
    open: Rc<RefCell<Vec<Promise<()>>>>,
    census: Census,
    running: Census,
    rng: RefCell<Rng>,
}

impl Nursery {
    fn child(&self, value: usize) -> impl Future<Output = Item> + use<> {
        let item = self.census.item(value);
        let running = self.running.item(value);
        let mut waits = Vec::new();
        let mut rng = self.rng.borrow_mut();
        while !rng.one_in(2) {
            let (promise, promised) = promise();
            self.open.borrow_mut().push(promise);
            waits.push(promised);
        }
        let yields = rng.one_in(4);
        async move {
            let _running = running;
            for wait in waits {
                // Kept or broken, it goes on.
                let _ = wait.await;
            }
            if yields {
                yield_once().await;
            }
            item
        }
    }

    async fn failing_child(&self, value: usize) -> Result<Item, usize> {
        let fails = self.rng.borrow_mut().one_in(6);
        let item = self.child(value).await;
        if fails { Err(item.value) } else { Ok(item) }
    }
}

async fn check_when_all(nursery: &Nursery, count: usize) {
    let items = when_all((0..count).map(|value| nursery.child(value)).collect::<Vec<_>>()).await;
    assert!(items.iter().map(|item| item.value).eq(0..count), "an output for each, in order");
}

async fn check_tuple(nursery: &Nursery) {
    let (a, b, c) = when_all((nursery.child(1), nursery.child(2), nursery.child(3))).await;
    assert_eq!((a.value, b.value, c.value), (1, 2, 3), "an output for each, in order");
}

async fn check_for_each(nursery: &Nursery, count: usize, most: Option<usize>) {
    let (begun, ended, failed) = (Cell::new(0), Cell::new(0), Cell::new(None));
    let step = |value| {
        let (begun, ended, failed) = (&begun, &ended, &failed);
        async move {
            assert_eq!(begun.replace(value + 1), value, "items are begun in order");
            assert!(most.is_none_or(|most| begun.get() - ended.get() <= most), "too many at a time");
            let outcome = nursery.failing_child(value).await;
            ended.set(ended.get() + 1);
            if let (Err(value), None) = (&outcome, failed.get()) {
                failed.set(Some(*value));
            }
            outcome.map(drop)
        }
    };
    let outcome = match most {
        Some(most) => max_concurrent_for_each(0..count, most, step).await,
        None => parallel_for_each(0..count, step).await,
    };
    assert_eq!(outcome.err(), failed.get(), "the first error counts");
    assert_eq!(begun.get(), ended.get(), "what began has ended");
    if failed.get().is_none() || most.is_none() {
        assert_eq!(ended.get(), count, "something was left out");
    }
}

async fn check_map_reduce(nursery: &Nursery, count: usize) {
    let values = map_reduce(
        0..count,
        |value| nursery.child(value),
        Vec::new(),
        |mut all, item: Item| {
            all.push(item.value);
            all
        },
    )
    .await;
    assert!(values.into_iter().eq(0..count), "each is reduced once, in order");
}

async fn check_succeed(nursery: &Nursery, count: usize) {
    let outcome = when_all_succeed((0..count).map(|value| nursery.failing_child(value)).collect::<Vec<_>>()).await;
    if let Ok(items) = outcome {
        assert!(items.iter().map(|item| item.value).eq(0..count), "an output for each, in order");
    }
}

async fn check_deadline(nursery: &Nursery) {
    if let Ok(item) = with_deadline(nursery.child(0), nursery.child(1)).await {
        assert_eq!(item.value, 1, "the output is the future's, not the timer's");
    }
}

impl Scenario for Combined {
    fn act(&mut self, _world: &World, rng: &mut Rng) {
        if rng.one_in(3) {
            self.spawn(rng);
        }
        let mut open = self.open.borrow_mut();
        for _ in 0..rng.below(8) {
            if !open.is_empty() {
                let index = rng.below(open.len());
                let promise = open.swap_remove(index);
                drop(promise);
            }
        }
    }

    fn check_quiet(&self, world: &World) {
        let pending = self.open.borrow().iter().filter(|promise| !promise.is_abandoned()).count();
        assert!(pending > 0 || world.waiting(0) == 0, "somebody waits for children that could have ended");
    }

    fn release(&mut self) {
        self.open.take();
    }

    fn check_end(&self) {
        assert_eq!((self.census.alive(), self.running.alive()), (0, 0), "a child leaked");
    }
}

#[test]
fn sync_random_combine() {
    run("sync_random_combine", Combined::new);
}
