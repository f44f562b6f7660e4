//! Semaphore, RwLock and Gate.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::vec::Vec;

use super::Rng;
use super::harness::{Scenario, World, run};
use crate::sync::{Gate, GateHolder, OwnedPermit, OwnedReadGuard, OwnedWriteGuard, Permit, RwLock, Semaphore};

const LINE: usize = 0;

type Shared<T> = Rc<RefCell<Vec<T>>>;

fn take_random<T>(from: &Shared<T>, rng: &mut Rng) -> Option<T> {
    let mut from = from.borrow_mut();
    if from.is_empty() {
        return None;
    }
    let index = rng.below(from.len());
    Some(from.swap_remove(index))
}

struct Semaphores {
    world: Rc<World>,
    semaphore: Rc<Semaphore>,
    held: Shared<OwnedPermit>,
    forgotten: usize,
    total: usize,
    closes: bool,
}

impl Semaphores {
    fn new(world: &Rc<World>, rng: &mut Rng) -> Self {
        let total = 1 + rng.below(10);
        Self {
            world: Rc::clone(world),
            semaphore: Rc::new(Semaphore::new(total)),
            held: Shared::default(),
            forgotten: 0,
            total,
            closes: rng.one_in(8),
        }
    }

    fn spawn_acquire(&self, units: usize) {
        let (world, semaphore, held) = (Rc::clone(&self.world), Rc::clone(&self.semaphore), Rc::clone(&self.held));
        self.world.spawn(async move {
            let place = world.arrive(LINE, units);
            if let Ok(permit) = semaphore.acquire_owned(units).await {
                place.served();
                assert_eq!(permit.units(), units, "a permit is for what was asked");
                held.borrow_mut().push(permit);
            }
        });
    }

    fn change_permit(&mut self, rng: &mut Rng) {
        let Some(mut permit) = take_random(&self.held, rng) else { return };
        match rng.below(4) {
            0 => {
                let part = permit.split(rng.below(permit.units() + 1)).expect("it holds that many");
                self.held.borrow_mut().push(part);
            }
            1 => {
                if let Some(other) = take_random(&self.held, rng) {
                    permit.merge(other);
                }
            }
            2 => permit.return_units(rng.below(permit.units() + 1)),
            _ => {
                self.forgotten += permit.forget();
                return;
            }
        }
        self.held.borrow_mut().push(permit);
    }
}

impl Scenario for Semaphores {
    fn act(&mut self, world: &World, rng: &mut Rng) {
        match rng.below(10) {
            0..4 => self.spawn_acquire(rng.below(self.total + 1)),
            4..6 => drop(take_random(&self.held, rng)),
            6 => self.change_permit(rng),
            7 => {
                self.semaphore.add_units(self.forgotten);
                self.forgotten = 0;
            }
            8 => {
                let units = rng.below(self.total + 1);
                if let Some(permit) = self.semaphore.try_acquire_owned(units) {
                    assert_eq!(self.semaphore.waiters(), 0, "somebody overtook those who wait");
                    self.held.borrow_mut().push(permit);
                }
            }
            _ if rng.one_in(2) => {
                let units = rng.below(self.total + 1);
                let taken = self.semaphore.try_acquire(units).map_or(0, Permit::forget);
                self.forgotten += taken;
                assert!(taken == 0 || taken == units, "a permit is for what was asked");
            }
            _ if self.closes && world.tasks() > 4 && rng.one_in(8) => self.semaphore.close(),
            _ => {}
        }
    }

    fn check(&self, world: &World) {
        if self.semaphore.is_closed() {
            return;
        }
        let requests = world.requests(LINE);
        // Those who wait are served in order, so the granted are the first ones.
        let granted: usize = requests[..requests.len() - self.semaphore.waiters()].iter().sum();
        let held: usize = self.held.borrow().iter().map(OwnedPermit::units).sum();
        let all = self.semaphore.available_units() + granted + held + self.forgotten;
        assert_eq!(all, self.total, "units were lost or made");
    }

    fn check_quiet(&self, world: &World) {
        assert_eq!(self.semaphore.waiters(), world.waiting(LINE), "somebody was granted units and not woken");
        if let Some(first) = world.requests(LINE).first() {
            assert!(*first > self.semaphore.available_units(), "the first in line could go on");
        }
    }

    fn release(&mut self) {
        self.semaphore.add_units(core::mem::take(&mut self.forgotten));
        self.held.take();
    }

    fn check_end(&self) {
        assert_eq!(self.semaphore.available_units(), self.total, "units were lost or made");
    }
}

#[test]
fn sync_random_semaphore() {
    run("sync_random_semaphore", Semaphores::new);
}

/// What a waiter for the lock asked for.
const READ: usize = 0;
const WRITE: usize = 1;

struct Locks {
    world: Rc<World>,
    lock: Rc<RwLock<usize>>,
    readers: Shared<OwnedReadGuard<usize>>,
    writers: Shared<OwnedWriteGuard<usize>>,
    writes: Rc<Cell<usize>>,
}

impl Locks {
    fn new(world: &Rc<World>, _rng: &mut Rng) -> Self {
        Self {
            world: Rc::clone(world),
            lock: Rc::new(RwLock::new(0)),
            readers: Shared::default(),
            writers: Shared::default(),
            writes: Rc::default(),
        }
    }

    fn spawn_read(&self) {
        let (world, lock, readers) = (Rc::clone(&self.world), Rc::clone(&self.lock), Rc::clone(&self.readers));
        self.world.spawn(async move {
            let place = world.arrive(LINE, READ);
            let guard = lock.read_owned().await;
            place.served();
            readers.borrow_mut().push(guard);
        });
    }

    fn spawn_write(&self) {
        let (world, lock, writers) = (Rc::clone(&self.world), Rc::clone(&self.lock), Rc::clone(&self.writers));
        let writes = Rc::clone(&self.writes);
        self.world.spawn(async move {
            let place = world.arrive(LINE, WRITE);
            let mut guard = lock.write_owned().await;
            place.served();
            *guard += 1;
            writes.set(writes.get() + 1);
            writers.borrow_mut().push(guard);
        });
    }
}

impl Scenario for Locks {
    fn act(&mut self, _world: &World, rng: &mut Rng) {
        match rng.below(8) {
            0..3 => self.spawn_read(),
            3 => self.spawn_write(),
            4 => drop(take_random(&self.readers, rng)),
            5 => drop(take_random(&self.writers, rng)),
            6 => {
                if let Some(guard) = take_random(&self.writers, rng) {
                    self.readers.borrow_mut().push(guard.downgrade());
                }
            }
            _ => {
                let free = self.lock.waiters() == 0 && self.writers.borrow().is_empty();
                assert!(free || self.lock.try_read().is_none(), "somebody overtook those who wait");
            }
        }
    }

    fn check(&self, _world: &World) {
        let (readers, writers) = (self.readers.borrow(), self.writers.borrow());
        assert!(writers.len() <= 1, "two write at a time");
        assert!(writers.is_empty() || readers.is_empty(), "somebody reads what is being written");
        for value in readers.iter().map(|guard| **guard).chain(writers.iter().map(|guard| **guard)) {
            assert_eq!(value, self.writes.get(), "a write was lost");
        }
    }

    fn check_quiet(&self, world: &World) {
        assert_eq!(self.lock.waiters(), world.waiting(LINE), "somebody was granted the lock and not woken");
        let (readers, writers) = (self.readers.borrow().len(), self.writers.borrow().len());
        match world.requests(LINE).first() {
            Some(&READ) => assert_eq!(writers, 1, "the first in line could read"),
            Some(_) => assert!(readers + writers > 0, "the first in line could write"),
            None => {}
        }
    }

    fn release(&mut self) {
        self.readers.take();
        self.writers.take();
    }

    fn check_end(&self) {
        assert!(self.lock.try_write().is_some(), "nobody is left and the lock is taken");
    }
}

#[test]
fn sync_random_rw_lock() {
    run("sync_random_rw_lock", Locks::new);
}

struct Gates {
    world: Rc<World>,
    gate: Rc<Gate>,
    inside: Shared<GateHolder<Rc<Gate>>>,
}

impl Gates {
    fn new(world: &Rc<World>, _rng: &mut Rng) -> Self {
        Self { world: Rc::clone(world), gate: Rc::default(), inside: Shared::default() }
    }

    fn spawn_close(&self) {
        let (world, gate) = (Rc::clone(&self.world), Rc::clone(&self.gate));
        self.world.spawn(async move {
            let place = world.arrive(LINE, 0);
            gate.close().await;
            place.served();
            assert_eq!(gate.holders(), 0, "a gate has closed on somebody inside");
        });
    }
}

impl Scenario for Gates {
    fn act(&mut self, _world: &World, rng: &mut Rng) {
        match rng.below(8) {
            0..3 => match self.gate.enter_owned() {
                Ok(holder) => self.inside.borrow_mut().push(holder),
                Err(_) => assert!(self.gate.is_closed(), "an open gate refused somebody"),
            },
            3..5 => drop(take_random(&self.inside, rng)),
            5 => {
                let clone = self.inside.borrow().first().cloned();
                self.inside.borrow_mut().extend(clone);
            }
            6 => {
                let (world, gate) = (Rc::clone(&self.world), Rc::clone(&self.gate));
                self.world.spawn(async move {
                    // Holds the gate until it is dropped or the scenario ends.
                    let closed = gate.run(crate::sync::test_executor::yield_once()).await;
                    assert!(closed.is_ok() || gate.is_closed(), "an open gate refused somebody");
                    drop(world);
                });
            }
            _ if rng.one_in(3) => self.spawn_close(),
            _ => {}
        }
    }

    fn check(&self, world: &World) {
        let inside = self.inside.borrow().len();
        assert!((inside..=inside + world.tasks()).contains(&self.gate.holders()), "holders were lost or made");
    }

    fn check_quiet(&self, world: &World) {
        assert_eq!(self.gate.holders(), self.inside.borrow().len(), "holders were lost or made");
        assert!(self.gate.holders() > 0 || world.waiting(LINE) == 0, "who closes an empty gate waits");
    }

    fn release(&mut self) {
        self.inside.take();
    }

    fn check_end(&self) {
        assert_eq!(self.gate.holders(), 0, "holders were made");
    }
}

#[test]
fn sync_random_gate() {
    run("sync_random_gate", Gates::new);
}
