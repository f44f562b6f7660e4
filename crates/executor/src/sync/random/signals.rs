//! Condvar, AbortSource, Promise and SharedFuture.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::pin::Pin;
use std::rc::Rc;
use std::vec::Vec;

use super::Rng;
use super::harness::{Census, Item, Scenario, World, run};
use crate::sync::abort_source::Subscription;
use crate::sync::{AbortSource, Condvar, Promise, SharedFuture, promise, with_abort};

/// Waiters for tokens, each of which is announced to one of them.
const CONSUMERS: usize = 0;
/// Waiters for any notification.
const LISTENERS: usize = 1;

struct Condvars {
    world: Rc<World>,
    condvar: Rc<Condvar>,
    tokens: Rc<Cell<usize>>,
    broken: bool,
    listens: bool,
}

impl Condvars {
    fn new(world: &Rc<World>, rng: &mut Rng) -> Self {
        Self {
            world: Rc::clone(world),
            condvar: Rc::default(),
            tokens: Rc::default(),
            broken: false,
            listens: rng.one_in(2),
        }
    }

    fn spawn_consumer(&self) {
        let (world, condvar, tokens) = (Rc::clone(&self.world), Rc::clone(&self.condvar), Rc::clone(&self.tokens));
        self.world.spawn(async move {
            let _place = world.arrive(CONSUMERS, 0);
            if condvar.wait_until(|| tokens.get() > 0).await.is_ok() {
                tokens.set(tokens.get() - 1);
            }
        });
    }

    fn spawn_listener(&self) {
        let (world, condvar) = (Rc::clone(&self.world), Rc::clone(&self.condvar));
        self.world.spawn(async move {
            let place = world.arrive(LISTENERS, 0);
            if condvar.wait().await.is_ok() {
                place.served();
            }
        });
    }
}

impl Scenario for Condvars {
    fn act(&mut self, world: &World, rng: &mut Rng) {
        match rng.below(8) {
            0..4 if self.listens => self.spawn_listener(),
            0..4 => self.spawn_consumer(),
            4..7 => {
                self.tokens.set(self.tokens.get() + 1);
                let before = self.condvar.waiters();
                self.condvar.notify_one();
                assert_eq!(self.condvar.waiters(), before.saturating_sub(1), "one notification is for one waiter");
            }
            _ if rng.one_in(4) => {
                self.tokens.set(self.tokens.get() + 1);
                self.condvar.notify_all();
                assert_eq!(self.condvar.waiters(), 0, "somebody was not notified");
            }
            _ if world.tasks() > 4 && rng.one_in(8) => {
                self.broken = true;
                self.condvar.break_all();
            }
            _ => {}
        }
    }

    fn check_quiet(&self, world: &World) {
        let waiting = world.waiting(CONSUMERS) + world.waiting(LISTENERS);
        assert_eq!(self.condvar.waiters(), waiting, "somebody was notified and not woken");
        assert!(!self.broken || waiting == 0, "somebody waits for what will not happen");
        assert!(world.waiting(CONSUMERS) == 0 || self.tokens.get() == 0, "somebody waits for what is there");
    }

    fn release(&mut self) {
        self.broken = true;
        self.condvar.break_all();
    }
}

#[test]
fn sync_random_condvar() {
    run("sync_random_condvar", Condvars::new);
}

struct Aborts {
    world: Rc<World>,
    source: Rc<AbortSource>,
    calls: Rc<Cell<usize>>,
    subscriptions: Vec<Subscription<Rc<AbortSource>>>,
    expected_calls: usize,
    census: Census,
}

impl Aborts {
    fn new(world: &Rc<World>, _rng: &mut Rng) -> Self {
        Self {
            world: Rc::clone(world),
            source: Rc::default(),
            calls: Rc::default(),
            subscriptions: Vec::new(),
            expected_calls: 0,
            census: Census::default(),
        }
    }

    fn spawn(&self, limited: bool) {
        let (world, source, item) = (Rc::clone(&self.world), Rc::clone(&self.source), self.census.item(0));
        self.world.spawn(async move {
            let _place = world.arrive(0, 0);
            let limited_work = async {
                let _item = item;
                pending::<()>().await;
            };
            if limited {
                assert!(with_abort(&source, limited_work).await.is_err(), "what never ends has ended");
            } else {
                source.aborted().await;
            }
            assert!(source.abort_requested(), "an abort that nobody requested");
        });
    }

    fn abort(&mut self) {
        if !self.source.abort_requested() {
            self.expected_calls = self.subscriptions.len();
        }
        self.source.request_abort();
        assert_eq!(self.calls.get(), self.expected_calls, "each subscriber is called once");
    }
}

impl Scenario for Aborts {
    fn act(&mut self, world: &World, rng: &mut Rng) {
        match rng.below(8) {
            0..2 => self.spawn(true),
            2..4 => self.spawn(false),
            4..6 => {
                let (calls, item) = (Rc::clone(&self.calls), self.census.item(0));
                let subscribed = self.source.subscribe_owned(move || calls.set(calls.get() + 1 + item.value));
                assert_eq!(subscribed.is_err(), self.source.abort_requested(), "subscribed too late or not at all");
                self.subscriptions.extend(subscribed);
            }
            6 if !self.subscriptions.is_empty() => {
                drop(self.subscriptions.swap_remove(rng.below(self.subscriptions.len())));
            }
            _ if world.tasks() > 4 && rng.one_in(4) => self.abort(),
            _ => {}
        }
    }

    fn check_quiet(&self, world: &World) {
        assert!(!self.source.abort_requested() || world.waiting(0) == 0, "somebody was not told of the abort");
    }

    fn release(&mut self) {
        self.abort();
        self.subscriptions.clear();
    }

    fn check_end(&self) {
        assert_eq!(self.census.alive(), 0, "a callback leaked");
    }
}

#[test]
fn sync_random_abort_source() {
    run("sync_random_abort_source", Aborts::new);
}

struct Promises {
    world: Rc<World>,
    open: Vec<(Promise<Item>, Rc<Cell<bool>>)>,
    census: Census,
    next_value: usize,
}

/// Sets a flag when it is dropped.
struct Tell(Rc<Cell<bool>>);

impl Drop for Tell {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

impl Promises {
    fn new(world: &Rc<World>, _rng: &mut Rng) -> Self {
        Self { world: Rc::clone(world), open: Vec::new(), census: Census::default(), next_value: 0 }
    }

    fn spawn(&mut self) {
        let (promise, promised) = promise::<Item>();
        let gone = Rc::new(Cell::new(false));
        let tell = Tell(Rc::clone(&gone));
        self.open.push((promise, gone));
        let world = Rc::clone(&self.world);
        self.world.spawn(async move {
            // In this order: dropped, the promised value goes before it is told.
            let tell = tell;
            let _place = world.arrive(0, 0);
            let answer = promised.await;
            assert!(answer.is_ok_and(|item| item.value > 0) || !tell.0.get(), "a promise was kept with nothing");
        });
    }

    fn end_one(&mut self, rng: &mut Rng, keeps: bool) {
        if self.open.is_empty() {
            return;
        }
        let (promise, gone) = self.open.swap_remove(rng.below(self.open.len()));
        assert_eq!(promise.is_abandoned(), gone.get(), "a promise knows whether somebody waits for it");
        if keeps {
            self.next_value += 1;
            let kept = promise.resolve(self.census.item(self.next_value));
            assert_eq!(kept.is_err(), gone.get(), "a value that nobody waits for comes back");
        }
    }
}

impl Scenario for Promises {
    fn act(&mut self, _world: &World, rng: &mut Rng) {
        match rng.below(4) {
            0..2 => self.spawn(),
            2 => self.end_one(rng, true),
            _ => {
                let keeps = rng.one_in(2);
                self.end_one(rng, keeps);
            }
        }
    }

    fn check_quiet(&self, world: &World) {
        let waited_for = self.open.iter().filter(|(_, gone)| !gone.get()).count();
        assert_eq!(world.waiting(0), waited_for, "somebody waits for a promise that was kept or broken");
        assert_eq!(self.census.alive(), 0, "a value leaked");
    }

    fn release(&mut self) {
        self.open.clear();
    }

    fn check_end(&self) {
        assert_eq!(self.census.alive(), 0, "a value leaked");
    }
}

#[test]
fn sync_random_promise() {
    run("sync_random_promise", Promises::new);
}

type Inner = dyn Future<Output = Item>;

struct SharedFutures {
    world: Rc<World>,
    /// Taken when the scenario lets go of its own handle.
    shared: Option<SharedFuture<Inner>>,
    /// The waits inside the shared future, the next one last.
    steps: Rc<RefCell<Vec<Promise<()>>>>,
    left: usize,
    census: Census,
}

impl SharedFutures {
    fn new(world: &Rc<World>, rng: &mut Rng) -> Self {
        // The shared future keeps its driver's waker for as long as it pleases.
        world.keeps_wakers();
        let left = rng.below(4);
        let (mut steps, promised): (Vec<_>, Vec<_>) = (0..left).map(|_| promise::<()>()).unzip();
        steps.reverse();
        let census = Census::default();
        let item = census.item(7);
        let inner: Pin<Box<Inner>> = Box::pin(async move {
            for step in promised {
                step.await.expect("the scenario keeps its promises");
            }
            item
        });
        let shared = Some(SharedFuture::from_boxed(inner));
        Self { world: Rc::clone(world), shared, steps: Rc::new(RefCell::new(steps)), left, census }
    }

    fn spawn(&self) {
        let Some(shared) = self.shared.clone() else { return };
        let world = Rc::clone(&self.world);
        self.world.spawn(async move {
            let _place = world.arrive(0, 0);
            assert_eq!(shared.get().await.value, 7, "everybody gets the same");
            assert!(shared.is_ready(), "who has the output knows it is there");
        });
    }

    fn step(&mut self) {
        if let Some(promise) = self.steps.borrow_mut().pop() {
            self.left -= 1;
            promise.resolve(()).expect("the inner future lives as long as it is not done");
        }
    }
}

impl Scenario for SharedFutures {
    fn act(&mut self, _world: &World, rng: &mut Rng) {
        match rng.below(8) {
            0..6 => self.spawn(),
            6 => {
                let ready = self.shared.as_ref().is_some_and(SharedFuture::is_ready);
                assert!(!ready || self.left == 0, "it is ready before its time");
            }
            _ if rng.one_in(4) => self.step(),
            _ => {}
        }
    }

    fn check_quiet(&self, world: &World) {
        assert!(self.left > 0 || world.waiting(0) == 0, "somebody waits for what is there");
    }

    fn release(&mut self) {
        while self.left > 0 {
            self.step();
        }
        self.shared = None;
    }

    fn check_end(&self) {
        assert_eq!(self.census.alive(), 0, "a value leaked");
    }
}

#[test]
fn sync_random_shared_future() {
    run("sync_random_shared_future", SharedFutures::new);
}
