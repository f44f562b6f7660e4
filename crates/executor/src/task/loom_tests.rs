//! Models of a task's wakers on two threads, explored by loom.
//!
//! Run them with `cargo xtask loom`. Each bug that can be planted (`cargo xtask planted`) fails one of them:
//! `task_lost_wake`, `task_double_free`, `task_relaxed_word`.

use std::boxed::Box;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::vec::Vec;

use loom::cell::UnsafeCell;
use loom::sync::Notify;
use loom::thread;
use sunstar_packet::Doorbell;

use super::foreign_word::{Abroad, ForeignWord};
use crate::{Executor, ExecutorConfig, Instant, Platform, Round};

struct LoomBell(Arc<Notify>);

impl Doorbell for LoomBell {
    fn ring(&self) {
        self.0.notify();
    }
}

struct LoomPlatform(Arc<Notify>);

impl Platform for LoomPlatform {
    fn now(&self) -> Instant {
        Instant::ORIGIN
    }

    fn unix_time(&self) -> core::time::Duration {
        core::time::Duration::ZERO
    }

    fn entropy(&self, _bytes: &mut [u8]) {}

    fn poll(&self) -> bool {
        false
    }

    fn sleep(&self, _deadline: Option<Instant>) {
        self.0.wait();
    }

    fn doorbell(&self) -> Box<dyn Doorbell> {
        Box::new(LoomBell(Arc::clone(&self.0)))
    }
}

/// Explores `f` on a stack that an executor fits: loom's own is a few pages.
fn model(f: impl Fn() + Sync + Send + 'static) {
    let f = Arc::new(f);
    loom::model(move || {
        let f = Arc::clone(&f);
        let home = thread::Builder::new().stack_size(STACK_WORDS).spawn(move || f());
        home.expect("a model has room for its threads").join().expect("no panic");
    });
}

/// Half a megabyte: loom counts words.
const STACK_WORDS: usize = 1 << 16;

fn executor() -> Executor {
    Executor::new(ExecutorConfig::default(), Box::new(LoomPlatform(Arc::new(Notify::new()))))
}

/// Runs until `done`; sleeps whenever nothing is left to do, so that a lost wake is a deadlock.
fn run_until(executor: &Executor, done: impl Fn() -> bool) {
    while !done() {
        if executor.round() == Round::Busy {
            continue;
        }
        if executor.prepare_sleep().is_idle() {
            executor.platform().sleep(None);
        }
        executor.end_sleep();
    }
}

/// A cell that other threads write before they wake, and the task reads: loom checks the order.
struct Letter(UnsafeCell<u32>);

// SAFETY: the tests order all access by the wake; loom reports where they do not.
unsafe impl Sync for Letter {}
// SAFETY: as above.
unsafe impl Send for Letter {}

/// Spawns a task that gives away `wakers` of its wakers at its first poll and ends when it has been woken.
fn spawn_parked(executor: &Executor, wakers: usize, on_wake: impl Fn() + 'static) -> Vec<Waker> {
    let given = Rc::new(std::cell::RefCell::new(Vec::new()));
    let give = Rc::clone(&given);
    let mut polled = false;
    let handle = executor.spawn(std::future::poll_fn(move |cx| {
        if polled {
            on_wake();
            return Poll::Ready(());
        }
        polled = true;
        give.borrow_mut().extend((0..wakers).map(|_| cx.waker().clone()));
        Poll::Pending
    }));
    executor.enter(|| drop(handle));
    executor.round();
    let wakers = given.take();
    assert!(!wakers.is_empty(), "the first round polls the task");
    wakers
}

#[test]
fn loom_task_foreign_wake_is_not_lost() {
    model(|| {
        let executor = executor();
        let letter = Arc::new(Letter(UnsafeCell::new(0)));
        let read = Arc::clone(&letter);
        let waker = spawn_parked(&executor, 1, move || {
            // SAFETY: the wake orders this read after the write.
            read.0.with(|value| assert_eq!(unsafe { *value }, 7));
        })
        .pop()
        .expect("one was asked for");
        let other = thread::spawn(move || {
            // SAFETY: the task reads only after the wake.
            letter.0.with_mut(|value| unsafe { *value = 7 });
            waker.wake();
        });
        run_until(&executor, || executor.residents() == 0);
        other.join().expect("no panic");
    });
}

#[test]
fn loom_task_word_keeps_a_wake_and_publishes_what_came_before() {
    model(|| {
        let word = Arc::new(ForeignWord::new());
        let letter = Arc::new(Letter(UnsafeCell::new(0)));
        let (word_abroad, read) = (Arc::clone(&word), Arc::clone(&letter));
        let other = thread::spawn(move || {
            // SAFETY: it is read only after the wake.
            letter.0.with_mut(|value| unsafe { *value = 7 });
            // The task may be on its way home already: then nothing but the word itself publishes the letter.
            let _must_post = word_abroad.record(Abroad::Wake);
        });
        let woken = word.take().woken;
        if woken {
            // SAFETY: the wake orders this read after the write.
            read.0.with(|value| assert_eq!(unsafe { *value }, 7));
        }
        other.join().expect("no panic");
        assert!(woken != word.take().woken, "the wake is found once, now or later");
    });
}

#[test]
fn loom_task_two_foreign_handles_wake_and_drop() {
    model(|| {
        let executor = executor();
        let mut wakers = spawn_parked(&executor, 2, || ());
        let (one, two) = (wakers.pop().expect("two"), wakers.pop().expect("two"));
        let threads = [thread::spawn(move || one.wake()), thread::spawn(move || drop(two))];
        run_until(&executor, || executor.residents() == 0);
        for thread in threads {
            thread.join().expect("no panic");
        }
    });
}

#[test]
fn loom_task_cloned_abroad_while_dropped_at_home() {
    model(|| {
        let executor = executor();
        let mut wakers = spawn_parked(&executor, 2, || ());
        let (here, there) = (wakers.pop().expect("two"), wakers.pop().expect("two"));
        let other = thread::spawn(move || {
            let clone = there.clone();
            drop(there);
            drop(clone);
        });
        executor.enter(|| here.wake());
        run_until(&executor, || executor.residents() == 0);
        other.join().expect("no panic");
    });
}

#[test]
fn loom_task_wake_while_the_shard_ends() {
    model(|| {
        let executor = executor();
        let waker = spawn_parked(&executor, 1, || ()).pop().expect("one was asked for");
        let other = thread::spawn(move || waker.wake());
        drop(executor);
        other.join().expect("no panic");
    });
}
