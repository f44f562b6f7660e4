//! What hostile but safe code may try: driving the executor from inside, joining itself, panicking everywhere.

use std::boxed::Box;
use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::panic::{panic_any, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::string::String;
use std::sync::Arc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};
use std::vec::Vec;

use crate::testing::{TestWorld, run, run_among, settle};
use crate::{Executor, JoinError, JoinHandle, Round, SchedulingGroup, spawn, spawn_in, yield_now};

fn shared() -> Rc<Executor> {
    Rc::new(TestWorld::default().executor())
}

/// The message of the panic that a task ended in.
fn panic_of<T>(joined: Result<T, JoinError>) -> String {
    match joined {
        Err(JoinError::Panicked(panic)) => panic.message().into(),
        _ => panic!("the task should have panicked"),
    }
}

#[test]
fn a_round_within_a_task_is_refused() {
    let executor = shared();
    let inside = Rc::clone(&executor);
    let joined = run(&executor, async move {
        spawn(poll_fn(move |cx| {
            cx.waker().wake_by_ref();
            inside.round();
            Poll::Ready(())
        }))
        .await
    });
    assert!(panic_of(joined).contains("inside of one of its tasks"));
}

#[test]
fn stopping_all_tasks_within_a_task_is_refused() {
    let executor = shared();
    let inside = Rc::clone(&executor);
    let joined = run(&executor, async move { spawn(async move { inside.stop_tasks() }).await });
    assert!(panic_of(joined).contains("inside of one of its tasks"));
}

#[test]
fn a_round_while_an_aborted_future_is_dropped_is_refused() {
    struct DrivesOnDrop(Rc<Executor>);
    impl Drop for DrivesOnDrop {
        fn drop(&mut self) {
            self.0.round();
        }
    }
    let executor = shared();
    let held = DrivesOnDrop(Rc::clone(&executor));
    let handle = executor.spawn(async move {
        let _held = held;
        pending::<()>().await;
    });
    executor.enter(|| handle.abort());
    assert!(panic_of(run(&executor, handle)).contains("inside of one of its tasks"));
    assert_eq!(executor.residents(), 0);
}

#[test]
fn a_task_that_joins_itself_waits() {
    let executor = shared();
    let slot = Rc::new(RefCell::new(None::<JoinHandle<()>>));
    let own = Rc::clone(&slot);
    let handle = executor.spawn(poll_fn(move |cx| {
        cx.waker().wake_by_ref();
        let mut own = own.borrow_mut();
        let polled = Pin::new(own.as_mut().expect("put there below")).poll(cx);
        assert!(polled.is_pending());
        Poll::Ready(())
    }));
    slot.replace(Some(handle));
    settle(&executor);
    let handle = slot.take().expect("still there");
    run(&executor, handle).expect("it ends");
}

#[test]
fn two_tasks_that_join_each_other_do_not_run_within_themselves() {
    let executor = shared();
    let slot = Rc::new(RefCell::new(None::<JoinHandle<()>>));
    let first = Rc::clone(&slot);
    let handle = executor.spawn(poll_fn(move |cx| {
        let (first, waker) = (Rc::clone(&first), cx.waker().clone());
        let mut second = spawn(poll_fn(move |cx| {
            waker.wake_by_ref();
            let polled = Pin::new(first.borrow_mut().as_mut().expect("put there below")).poll(cx);
            assert!(polled.is_pending());
            Poll::Ready(())
        }));
        assert!(Pin::new(&mut second).poll(cx).is_ready(), "the next task runs within the wait for it");
        Poll::Ready(())
    }));
    slot.replace(Some(handle));
    settle(&executor);
    assert!(slot.take().expect("still there").is_finished());
}

#[test]
fn a_panic_payload_that_panics_when_it_is_dropped_ends_only_its_task() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            resume_unwind(Box::new(Bomb));
        }
    }
    let executor = shared();
    drop(executor.spawn(async { panic_any(Bomb) }));
    let polls = Rc::new(Cell::new(0));
    let count = Rc::clone(&polls);
    drop(executor.spawn(async move {
        yield_now().await;
        count.set(1);
    }));
    settle(&executor);
    assert_eq!((polls.get(), executor.stats().living_tasks, executor.residents()), (1, 0, 0));
}

#[test]
fn a_waker_that_panics_harms_nobody() {
    struct Hostile;
    impl Wake for Hostile {
        fn wake(self: Arc<Self>) {
            panic!("no");
        }
    }
    let executor = shared();
    let mut handle = executor.spawn(async { 5 });
    let waker = Waker::from(Arc::new(Hostile));
    let mut cx = Context::from_waker(&waker);
    assert!(executor.enter(|| Pin::new(&mut handle).poll(&mut cx)).is_pending());
    let mut sleep = Box::pin(executor.enter(|| crate::timer::sleep(std::time::Duration::from_nanos(1))));
    assert!(executor.enter(|| sleep.as_mut().poll(&mut cx)).is_pending());
    settle(&executor);
    assert_eq!(executor.stats().foreign_panics, 1);
    assert_eq!(run(&executor, handle).expect("it ends"), 5);
}

#[test]
fn a_waker_that_ends_the_task_while_it_is_cloned_is_not_kept() {
    /// Drives the executor whenever it is cloned.
    struct Driver {
        executor: Executor,
        wakers: Cell<i32>,
    }
    fn driver<'a>(data: *const ()) -> &'a Driver {
        // SAFETY: the only waker with this table is made below, of a driver that outlives it.
        unsafe { &*data.cast() }
    }
    fn clone(data: *const ()) -> RawWaker {
        driver(data).wakers.update(|wakers| wakers + 1);
        driver(data).executor.round();
        RawWaker::new(data, &TABLE)
    }
    fn drop_waker(data: *const ()) {
        driver(data).wakers.update(|wakers| wakers - 1);
    }
    static TABLE: RawWakerVTable = RawWakerVTable::new(clone, drop_waker, |_| (), drop_waker);

    let driver = Driver { executor: TestWorld::default().executor(), wakers: Cell::new(1) };
    let mut handle = driver.executor.spawn(async { 5 });
    // SAFETY: the table takes the pointer as the driver that it is; the driver is dropped last.
    let waker = unsafe { Waker::from_raw(RawWaker::new((&raw const driver).cast(), &TABLE)) };
    let polled = driver.executor.enter(|| Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)));
    assert!(matches!(polled, Poll::Ready(Ok(5))));
    assert_eq!((driver.wakers.get(), driver.executor.residents()), (1, 0));
}

#[test]
fn an_output_that_panics_when_it_is_dropped_leaks_nothing() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in drop");
        }
    }
    let executor = shared();
    let joined = run(&executor, async {
        spawn(async {
            let handle = spawn(async { Bomb });
            yield_now().await;
            drop(handle);
        })
        .await
    });
    assert_eq!(panic_of(joined), "in drop");
    assert_eq!(executor.residents(), 0);
}

#[test]
fn a_round_ends_on_a_clock_that_stands_still() {
    let executor = shared();
    drop(executor.spawn(async {
        loop {
            yield_now().await;
        }
    }));
    assert_eq!(executor.round(), Round::Busy);
    drop(executor.spawn(async { while !crate::need_preempt() {} }));
    assert_eq!(executor.round(), Round::Busy);
}

#[test]
fn a_group_with_an_aborted_task_in_its_queue_can_be_destroyed() {
    let shards = TestWorld::default().executors(1);
    let ended = run_among(&shards, async {
        let group = SchedulingGroup::create("short", 100).await.expect("there is room");
        let handle = spawn_in(group, pending::<()>());
        handle.abort();
        group.destroy().await
    });
    assert_eq!(ended, Ok(()));
    assert_eq!(shards[0].residents(), 0);
}

#[test]
fn a_clock_that_moves_the_task_which_is_about_to_run_is_seen_through() {
    let world = TestWorld::default();
    let executor = Rc::new(world.executor());
    let group = SchedulingGroup { index: 3, generation: 1 };
    executor.shard().groups.install(group, "short-lived", 100);
    let (armed, removed) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
    // They keep the memory of tasks, so that a task that is taken for another does not go unnoticed.
    let wakers = Rc::new(RefCell::new(Vec::new()));
    world.when_asked({
        let (executor, armed, removed) = (Rc::downgrade(&executor), Rc::clone(&armed), Rc::clone(&removed));
        move || {
            if armed.get() && !removed.replace(true) {
                let executor = executor.upgrade().expect("it runs");
                let shard = executor.shard();
                shard.groups.remove(group, &shard.tasks).expect("it was installed");
            }
        }
    });
    let kept = Rc::clone(&wakers);
    let parent = executor.enter(|| {
        spawn_in(group, async move {
            for _ in 0..64 {
                let (disarmed, kept) = (Rc::clone(&armed), Rc::clone(&kept));
                let child = spawn(poll_fn(move |cx| {
                    disarmed.set(false);
                    kept.borrow_mut().push(cx.waker().clone());
                    Poll::Ready(())
                }));
                // From here on the clock is asked only by the wait.
                armed.set(true);
                child.await.expect("no panic");
            }
        })
    });
    settle(&executor);
    assert!(parent.is_finished() && removed.get());
    assert_eq!((executor.stats().panicked_tasks, executor.stats().living_tasks), (0, 0));
    drop(parent);
    assert_eq!(wakers.borrow().len(), 64);
    executor.enter(|| wakers.take());
    settle(&executor);
    assert_eq!(executor.residents(), 0);
}
