//! The smallest world that a shard can live in: a clock that moves when it sleeps, and nobody to wake it.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::ptr;
use core::time::Duration;

use sunstar_executor::current::register;
use sunstar_executor::message::Mesh;
use sunstar_executor::{Executor, ExecutorConfig, Instant, Platform, Round};
use sunstar_packet::Doorbell;

/// Nobody rings it: there is one processor.
pub(crate) struct Silent;

impl Doorbell for Silent {
    fn ring(&self) {}
}

struct World {
    now: Rc<Cell<Instant>>,
}

impl Platform for World {
    fn now(&self) -> Instant {
        self.now.get()
    }

    fn unix_time(&self) -> core::time::Duration {
        core::time::Duration::ZERO
    }

    fn entropy(&self, bytes: &mut [u8]) {
        bytes.fill(4);
    }

    fn poll(&self) -> bool {
        false
    }

    fn sleep(&self, deadline: Option<Instant>) {
        self.now.set(deadline.unwrap_or(self.now.get() + Duration::from_millis(1)));
    }

    fn doorbell(&self) -> Box<dyn Doorbell> {
        Box::new(Silent)
    }
}

struct Slot(Cell<*const ()>);

// SAFETY: there is one processor, and it has one thread.
unsafe impl Sync for Slot {}

static CURRENT: Slot = Slot(Cell::new(ptr::null()));

fn current() -> *const Cell<*const ()> {
    &raw const CURRENT.0
}

/// A shard at the origin of its clock.
pub(crate) fn shard() -> Executor {
    Executor::new(ExecutorConfig::default(), platform())
}

/// Shards that can send messages to each other, each with a clock of its own.
pub(crate) fn shards(count: usize) -> Vec<Executor> {
    let links = Mesh::links(count).into_iter();
    links.map(|links| Executor::with_links(ExecutorConfig::default(), platform(), links)).collect()
}

fn platform() -> Box<dyn Platform> {
    // SAFETY: the slot lives as long as the program, and there is only one processor.
    unsafe { register(current) };
    Box::new(World { now: Rc::new(Cell::new(Instant::ORIGIN)) })
}

/// Drives a shard until nothing is left to do, sleeping over its timers, for at most `rounds` rounds.
pub(crate) fn drive(executor: &Executor, rounds: usize) {
    for _ in 0..rounds {
        match executor.round() {
            Round::Busy => {}
            Round::Idle { deadline: None } => return,
            Round::Idle { .. } => {
                if let Round::Idle { deadline } = executor.prepare_sleep() {
                    executor.platform().sleep(deadline);
                }
                executor.end_sleep();
            }
        }
    }
}
