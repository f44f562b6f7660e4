//! Tasks: joining, waking from here and from abroad, panics, aborts, and what is left afterwards.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::string::String;
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;
use std::vec::Vec;

use crate::testing::{TestWorld, run, settle};
use crate::{JoinError, spawn, spawn_fallible, yield_now};

/// A future that notes its waker and is ready once `done` is set.
fn parked(waker: &Rc<RefCell<Option<Waker>>>, done: &Rc<Cell<bool>>) -> impl Future<Output = ()> + 'static {
    let (waker, done) = (Rc::clone(waker), Rc::clone(done));
    poll_fn(move |cx| {
        waker.replace(Some(cx.waker().clone()));
        if done.get() { Poll::Ready(()) } else { Poll::Pending }
    })
}

#[test]
fn a_join_handle_gives_the_output() {
    let executor = TestWorld::default().executor();
    let sum = run(&executor, async {
        let (a, b) = (spawn(async { 2 }), spawn(async { 3 }));
        a.await.expect("it ends") + b.await.expect("it ends")
    });
    assert_eq!(sum, 5);
    assert_eq!((executor.stats().spawned_tasks, executor.stats().living_tasks), (3, 0));
    assert_eq!(executor.residents(), 0);
}

#[test]
fn a_handle_that_gave_its_output_keeps_nothing() {
    let executor = TestWorld::default().executor();
    let (output, finished) = run(&executor, async {
        let mut handle = spawn(async { 5 });
        assert!(!handle.is_finished());
        ((&mut handle).await, handle)
    });
    assert_eq!(output.expect("it ends"), 5);
    assert_eq!(executor.residents(), 0);
    executor.enter(|| finished.abort());
    assert!(finished.is_finished());
    assert!(matches!(run(&executor, finished), Err(JoinError::Aborted)));
}

#[test]
fn outputs_and_errors_that_nobody_takes_are_dropped_with_the_handle() {
    let executor = TestWorld::default().executor();
    let token = Rc::new(());
    let (output, payload) = (Rc::clone(&token), std::sync::Arc::new(()));
    let thrown = std::sync::Arc::clone(&payload);
    let ended = executor.spawn(async { output });
    let panicked = executor.spawn(async { std::panic::panic_any(thrown) });
    settle(&executor);
    assert_eq!((Rc::strong_count(&token), std::sync::Arc::strong_count(&payload)), (2, 2));
    executor.enter(|| drop((ended, panicked)));
    assert_eq!((Rc::strong_count(&token), std::sync::Arc::strong_count(&payload)), (1, 1));
    assert_eq!(executor.residents(), 0);
}

#[test]
fn tasks_run_in_the_order_of_their_wakes() {
    let executor = TestWorld::default().executor();
    let order = Rc::new(RefCell::new(Vec::new()));
    for name in ["a", "b", "c"] {
        let order = Rc::clone(&order);
        drop(executor.spawn(async move {
            order.borrow_mut().push(name);
            yield_now().await;
            order.borrow_mut().push(name);
        }));
    }
    settle(&executor);
    assert_eq!(*order.borrow(), ["a", "b", "c", "a", "b", "c"]);
}

#[test]
fn a_wait_runs_the_task_it_waits_for_only_if_that_is_next_and_the_turn_lasts() {
    let world = TestWorld::default();
    let executor = world.executor();
    let order = Rc::new(RefCell::new(Vec::new()));
    let note = |name: &'static str| {
        let order = Rc::clone(&order);
        async move { order.borrow_mut().push(name) }
    };
    let (first, second, third) = (note("first"), note("second"), note("third"));
    let (log, clock) = (Rc::clone(&order), world.clone());
    run(&executor, async move {
        let (one, two) = (spawn(first), spawn(second));
        two.await.expect("it ends");
        assert_eq!(*log.borrow(), ["first", "second"], "the queue's order holds");
        one.await.expect("it ended");
        clock.advance(Duration::from_secs(1));
        while !crate::need_preempt() {}
        let three = spawn(third);
        let mut three = pin!(three);
        let is_pending = poll_fn(|cx| Poll::Ready(three.as_mut().poll(cx).is_pending())).await;
        assert!(is_pending, "the turn is over");
        three.await.expect("it ends");
    });
    assert_eq!(*order.borrow(), ["first", "second", "third"]);
}

#[test]
fn waits_within_waits_are_bounded_in_depth() {
    fn descend(depth: u32) -> std::pin::Pin<Box<dyn Future<Output = u32>>> {
        Box::pin(async move { if depth == 0 { 0 } else { spawn(descend(depth - 1)).await.expect("it ends") + 1 } })
    }
    let executor = TestWorld::default().executor();
    assert_eq!(run(&executor, descend(20_000)), 20_000);
    assert_eq!(executor.residents(), 0);
}

#[test]
fn a_detached_task_goes_on_and_its_output_is_dropped() {
    let executor = TestWorld::default().executor();
    let token = Rc::new(());
    let output = Rc::clone(&token);
    drop(executor.spawn(async move {
        yield_now().await;
        output
    }));
    settle(&executor);
    assert_eq!(Rc::strong_count(&token), 1);
    assert_eq!(executor.residents(), 0);
}

#[test]
fn a_wake_during_the_last_poll_does_no_harm() {
    let executor = TestWorld::default().executor();
    run(
        &executor,
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Ready(())
        }),
    );
    assert_eq!(executor.residents(), 0);
}

#[test]
fn a_panicking_task_ends_only_itself() {
    let executor = TestWorld::default().executor();
    let neighbour = executor.spawn(async {
        yield_now().await;
        1
    });
    let error = run(&executor, async { spawn(async { panic!("boom {}", 7) }).await });
    assert!(matches!(error, Err(JoinError::Panicked(panic)) if panic.message() == "boom 7"));
    assert!(neighbour.is_finished());
    assert_eq!(executor.stats().panicked_tasks, 1);
}

#[test]
fn a_panic_in_the_drop_of_a_future_ends_only_its_task() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in drop");
        }
    }
    let executor = TestWorld::default().executor();
    let bomb = Bomb;
    let mut polls = 0;
    let handle = executor.spawn(poll_fn(move |_| {
        let _held = &bomb;
        polls += 1;
        Poll::Ready(polls)
    }));
    settle(&executor);
    let error = run(&executor, handle);
    assert!(matches!(error, Err(JoinError::Panicked(panic)) if panic.message() == "in drop"));
    assert_eq!(executor.residents(), 0);
}

#[test]
fn errors_that_nobody_looks_at_are_counted() {
    let executor = TestWorld::default().executor();
    executor.enter(|| drop(spawn_fallible(async { Err::<(), _>(String::from("lost")) })));
    let seen = executor.enter(|| spawn_fallible(async { Err::<(), _>(String::from("seen")) }));
    settle(&executor);
    assert_eq!(executor.stats().abandoned_errors, 1);
    assert!(run(&executor, seen).expect("it ends").is_err());
    assert_eq!(executor.stats().abandoned_errors, 1);
}

#[test]
fn abort_drops_the_future_of_a_waiting_task_at_once() {
    let executor = TestWorld::default().executor();
    let token = Rc::new(());
    let held = Rc::clone(&token);
    let handle = executor.spawn(async move {
        let _held = held;
        pending::<()>().await;
    });
    settle(&executor);
    executor.enter(|| handle.abort());
    assert_eq!(Rc::strong_count(&token), 1);
    assert!(matches!(run(&executor, handle), Err(JoinError::Aborted)));
    assert_eq!(executor.residents(), 0);
}

#[test]
fn abort_from_within_takes_effect_when_the_task_waits() {
    let executor = TestWorld::default().executor();
    let slot = Rc::new(RefCell::new(None::<crate::JoinHandle<()>>));
    let reached = Rc::new(Cell::new(0));
    let (own, count) = (Rc::clone(&slot), Rc::clone(&reached));
    let handle = executor.spawn(async move {
        own.borrow().as_ref().expect("put there below").abort();
        count.set(1);
        yield_now().await;
        count.set(2);
    });
    slot.replace(Some(handle));
    settle(&executor);
    assert_eq!(reached.get(), 1);
    executor.enter(|| drop(slot.take()));
    assert_eq!(executor.residents(), 0);
}

#[test]
fn abort_outside_of_the_shard_takes_effect_in_the_next_round() {
    let executor = TestWorld::default().executor();
    let handle = executor.spawn(pending::<()>());
    settle(&executor);
    handle.abort();
    settle(&executor);
    assert!(handle.is_finished());
    drop(handle);
    settle(&executor);
    assert_eq!(executor.residents(), 0);
}

#[test]
fn wakers_are_cloned_woken_and_dropped_on_other_threads() {
    let executor = TestWorld::default().executor();
    let (slot, done) = (Rc::default(), Rc::new(Cell::new(false)));
    let handle = executor.spawn(parked(&slot, &done));
    settle(&executor);
    let waker = slot.borrow().clone().expect("the task was polled");
    thread::spawn(move || {
        let other = waker.clone();
        other.wake_by_ref();
        waker.wake();
        drop(other);
    })
    .join()
    .expect("no panic");
    done.set(true);
    assert!(!handle.is_finished());
    settle(&executor);
    assert!(handle.is_finished(), "the wake came home");
    drop((handle, slot.take()));
    settle(&executor);
    assert_eq!(executor.residents(), 0);
}

#[test]
fn a_waker_cloned_abroad_may_be_dropped_at_home() {
    let executor = TestWorld::default().executor();
    let (slot, done) = (Rc::default(), Rc::new(Cell::new(false)));
    let handle = executor.spawn(parked(&slot, &done));
    settle(&executor);
    let waker = slot.take().expect("the task was polled");
    let clones = thread::spawn(move || (waker.clone(), waker)).join().expect("no panic");
    executor.enter(|| {
        handle.abort();
        drop(handle);
        drop(clones.0);
        drop(clones.1);
    });
    assert_eq!(executor.residents(), 0, "freed at once: nothing is on its way home");
}

#[test]
fn a_waker_may_outlive_its_shard() {
    let executor = TestWorld::default().executor();
    let (slot, done) = (Rc::default(), Rc::new(Cell::new(false)));
    drop(executor.spawn(parked(&slot, &done)));
    settle(&executor);
    let waker = slot.take().expect("the task was polled");
    drop(executor);
    waker.wake_by_ref();
    thread::spawn(move || drop(waker.clone())).join().expect("no panic");
}

#[test]
fn dropping_the_executor_drops_its_tasks_and_those_that_they_spawn_meanwhile() {
    struct SpawnsOnDrop(Rc<()>);
    impl Drop for SpawnsOnDrop {
        fn drop(&mut self) {
            let token = Rc::clone(&self.0);
            drop(spawn(async move {
                pending::<()>().await;
                drop(token);
            }));
        }
    }
    let executor = TestWorld::default().executor();
    let token = Rc::new(());
    let bomb = SpawnsOnDrop(Rc::clone(&token));
    drop(executor.spawn(async move {
        let _bomb = bomb;
        pending::<()>().await;
    }));
    settle(&executor);
    drop(executor);
    assert_eq!(Rc::strong_count(&token), 1);
}

#[test]
fn a_wake_rings_the_bell_only_while_the_shard_sleeps() {
    let world = TestWorld::default();
    let executor = world.executor();
    let (slot, done) = (Rc::default(), Rc::new(Cell::new(false)));
    drop(executor.spawn(parked(&slot, &done)));
    settle(&executor);
    let waker = slot.take().expect("the task was polled");
    let waker = thread::spawn(move || {
        waker.wake_by_ref();
        waker
    });
    let waker = waker.join().expect("no panic");
    assert_eq!(world.rings(), 0, "awake");
    assert!(!executor.prepare_sleep().is_idle(), "the wake is seen");
    executor.end_sleep();
    settle(&executor);
    assert!(executor.prepare_sleep().is_idle());
    let waker = thread::spawn(move || {
        waker.wake_by_ref();
        waker
    });
    drop(waker.join().expect("no panic"));
    assert_eq!(world.rings(), 1);
    executor.end_sleep();
    settle(&executor);
}
