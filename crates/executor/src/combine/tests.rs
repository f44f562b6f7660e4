//! What each combinator promises.

use std::cell::{Cell, RefCell};
use std::future::{pending, ready};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;
use std::vec::Vec;

use super::*;
use crate::sync::test_executor::{TestTask, block_on, yield_once};
use crate::sync::{AbortSource, Promise, Promised, Semaphore, promise, with_abort};
use crate::testing::{self, TestWorld, settle};

fn promises<T>(count: usize) -> (Vec<Option<Promise<T>>>, Vec<Promised<T>>) {
    (0..count).map(|_| promise()).map(|(promise, promised)| (Some(promise), promised)).unzip()
}

fn keep<T>(promises: &mut [Option<Promise<T>>], index: usize, value: T) {
    assert!(promises[index].take().expect("it is kept once").resolve(value).is_ok(), "somebody waits for it");
}

#[test]
fn outputs_come_in_the_order_of_the_futures() {
    let (mut promises, promised) = promises(3);
    let mut all = TestTask::waiting(when_all(promised));
    for index in [2, 0] {
        keep(&mut promises, index, index);
        assert!(all.is_woken() && all.poll().is_pending());
    }
    keep(&mut promises, 1, 1);
    assert_eq!(all.finish(), [Ok(0), Ok(1), Ok(2)]);
}

#[test]
fn nothing_is_done_at_once() {
    assert!(block_on(when_all(Vec::<std::future::Ready<()>>::new())).is_empty());
    assert_eq!(block_on(parallel_for_each(0..0, async |_| Err(()))), Ok(()));
    assert_eq!(block_on(max_concurrent_for_each(0..0, 1, async |_| Err(()))), Ok(()));
    assert_eq!(block_on(map_reduce(0..0, async |i| i, 7, |a, b| a + b)), 7);
}

#[test]
fn tuples_hold_futures_of_different_types() {
    assert_eq!(block_on(when_all((ready(1), async { "a" }))), (1, "a"));
    assert_eq!(block_on(when_all((ready(1), ready(2), yield_once()))), (1, 2, ()));
    assert_eq!(block_on(when_all((ready(1), ready(2), ready(3), ready(4)))), (1, 2, 3, 4));
}

#[test]
fn an_error_waits_for_the_others_to_end() {
    let (mut promises, mut promised) = promises::<()>(1);
    let all = TestTask::waiting(when_all_succeed((ready(Err::<(), _>("bad")), async {
        promised.remove(0).await.unwrap();
        Ok(())
    })));
    assert!(!all.is_woken());
    keep(&mut promises, 0, ());
    assert_eq!(all.finish(), Err("bad"));
}

#[test]
fn the_first_error_in_order_counts() {
    let both = (ready(Ok::<i32, &str>(1)), ready(Err::<i32, _>("second")), ready(Err::<i32, _>("third")));
    assert_eq!(block_on(when_all_succeed(both)), Err("second"));
    let many: Vec<_> = [Err("first"), Ok(1), Err("third")].map(ready).into();
    assert_eq!(block_on(when_all_succeed(many)), Err("first"));
    assert_eq!(block_on(when_all_succeed(Vec::from([ready(Ok::<_, ()>(1)), ready(Ok(2))]))), Ok(Vec::from([1, 2])));
}

#[test]
fn a_failure_does_not_keep_others_from_being_begun_in_parallel() {
    let begun = Cell::new(0);
    let outcome = block_on(parallel_for_each(0..3, async |i| {
        begun.set(begun.get() + 1);
        if i == 1 { Err(i) } else { Ok(()) }
    }));
    assert_eq!((outcome, begun.get()), (Err(1), 3));
}

#[test]
fn no_more_than_so_many_run_at_a_time_and_none_begins_after_a_failure() {
    let (mut promises, promised) = promises(5);
    let promised: Vec<_> = promised.into_iter().map(|promised| Cell::new(Some(promised))).collect();
    let begun = Cell::new(0);
    let mut all = TestTask::waiting(max_concurrent_for_each(0..5, 2, async |i: usize| {
        begun.set(begun.get() + 1);
        promised[i].take().unwrap().await.unwrap()
    }));
    assert_eq!(begun.get(), 2);
    keep(&mut promises, 1, Ok(()));
    assert!(all.poll().is_pending());
    assert_eq!(begun.get(), 3);
    keep(&mut promises, 0, Err("bad"));
    assert!(all.poll().is_pending(), "what began has to end");
    keep(&mut promises, 2, Err("worse"));
    assert_eq!(all.finish(), Err("bad"));
    assert_eq!(begun.get(), 3);
}

#[test]
fn the_reduction_is_in_order() {
    let (mut promises, promised) = promises(3);
    let reduced = TestTask::waiting(map_reduce(promised, async |p| p.await.unwrap(), 0, |a, b| a * 10 + b));
    for index in [2, 1, 0] {
        keep(&mut promises, index, index + 1);
    }
    assert_eq!(reduced.finish(), 123);
}

#[test]
fn loops_end_when_they_are_told_to() {
    let count = Cell::new(0);
    let step = async || {
        yield_once().await;
        count.set(count.get() + 1);
        count.get()
    };
    assert_eq!(
        block_on(repeat(async || if step().await == 3 { ControlFlow::Break("b") } else { ControlFlow::Continue(()) })),
        "b"
    );
    assert_eq!(block_on(repeat_until_value(async || (step().await == 5).then_some(5))), 5);
    let counted = async || {
        step().await;
        Ok::<(), ()>(())
    };
    assert_eq!(block_on(do_until(|| count.get() == 7, counted)), Ok(()));
    assert_eq!(block_on(do_until(|| false, async || Err(1))), Err(1));
    let fails = async || if step().await == 9 { Err("nine") } else { Ok(()) };
    assert_eq!(block_on(keep_doing(fails)), "nine");
}

#[test]
fn a_deadline_drops_the_future() {
    assert_eq!(block_on(with_deadline(ready(()), ready(1))), Ok(1));
    assert_eq!(block_on(with_deadline(ready(()), pending::<()>())), Err(TimedOut));
    let semaphore = Semaphore::new(0);
    let (timer, timed) = promise::<()>();
    let limited = TestTask::waiting(with_deadline(timed, semaphore.acquire(1)));
    assert_eq!(semaphore.waiters(), 1);
    drop(timer);
    assert_eq!(limited.finish().unwrap_err(), TimedOut);
    assert_eq!(semaphore.waiters(), 0);
}

/// Nested in each other they must not multiply.
#[test]
fn what_limits_a_future_holds_it_once() {
    const BYTES: usize = 1024;
    let large = async || {
        let held = [0_u8; BYTES];
        yield_once().await;
        std::hint::black_box(&held);
    };
    let source = AbortSource::new();
    let limited = with_deadline(pending::<()>(), with_abort(&source, with_deadline(pending::<()>(), large())));
    assert!(size_of_val(&limited) < 2 * BYTES, "it has {} bytes", size_of_val(&limited));
    assert_eq!(block_on(limited), Ok(Ok(Ok(()))));
}

#[test]
fn a_child_is_polled_only_when_it_was_woken() {
    const CHILDREN: usize = 10_000;
    let polls = Cell::new(0);
    let (mut promises, promised) = promises(CHILDREN);
    let counted = |promised: Promised<usize>| {
        let mut promised = Box::pin(promised);
        let polls = &polls;
        std::future::poll_fn(move |cx| {
            polls.set(polls.get() + 1);
            promised.as_mut().poll(cx)
        })
    };
    let mut all = TestTask::waiting(when_all(promised.into_iter().map(counted).collect::<Vec<_>>()));
    for index in (1..CHILDREN).rev() {
        keep(&mut promises, index, index);
        assert!(all.is_woken() && all.poll().is_pending());
    }
    keep(&mut promises, 0, 0);
    assert_eq!(all.finish().len(), CHILDREN);
    assert_eq!(polls.get(), 2 * CHILDREN);
}

#[test]
fn a_child_that_wakes_itself_waits_for_the_next_poll() {
    let polls = Cell::new(0);
    let busy = std::future::poll_fn(|cx| {
        polls.set(polls.get() + 1);
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    });
    let mut all = TestTask::waiting(when_all(Vec::from([busy])));
    let after_one = polls.get();
    assert!(all.is_woken() && all.poll().is_pending() && all.is_woken());
    assert!(polls.get() <= after_one + 1);
    assert_eq!(all.polls(), 2);
}

#[test]
fn children_wake_whoever_polled_last() {
    let (mut promises, promised) = promises(2);
    let all = RefCell::new(Box::pin(when_all(promised)));
    let poll = || std::future::poll_fn(|cx| all.borrow_mut().as_mut().poll(cx));
    drop(TestTask::waiting(poll()));
    let mut second = TestTask::waiting(poll());
    keep(&mut promises, 0, 0);
    assert!(second.is_woken() && second.poll().is_pending());
    keep(&mut promises, 1, 1);
    assert_eq!(second.finish(), [Ok(0), Ok(1)]);
}

/// A combinator whose only child gives away a waker.
fn with_waker() -> (TestTask<'static, Vec<()>>, Waker) {
    let kept: Rc<RefCell<Option<Waker>>> = Rc::default();
    let keep = Rc::clone(&kept);
    let child = std::future::poll_fn(move |cx| {
        *keep.borrow_mut() = Some(cx.waker().clone());
        Poll::<()>::Pending
    });
    let all = TestTask::waiting(when_all(Vec::from([child])));
    (all, kept.take().expect("the child was polled"))
}

fn leave_the_shard() {
    let (all, waker) = with_waker();
    let came_home = thread::spawn(move || {
        let clone = waker.clone();
        waker.wake();
        clone
    });
    let waker = came_home.join().expect("no panic");
    assert!(all.is_woken());
    drop(waker.clone());
    drop(all);
    waker.wake_by_ref();
    thread::spawn(move || waker.wake()).join().expect("no panic");
}

#[test]
fn a_childs_waker_may_outlive_the_combinator_and_leave_the_shard() {
    leave_the_shard();
    TestWorld::default().executor().enter(leave_the_shard);
}

#[test]
fn a_childs_waker_may_outlive_its_shard() {
    let executor = TestWorld::default().executor();
    let (all, waker) = executor.enter(with_waker);
    drop(executor);
    waker.wake_by_ref();
    assert!(all.is_woken());
    drop(all);
    waker.wake();
}

#[test]
fn a_combinator_may_be_polled_in_another_shard() {
    let (first, second) = (TestWorld::default().executor(), TestWorld::default().executor());
    let (mut all, waker) = first.enter(with_waker);
    second.enter(|| {
        waker.wake_by_ref();
        assert!(all.is_woken() && all.poll().is_pending());
    });
    first.enter(|| {
        waker.wake_by_ref();
        assert!(all.is_woken());
        drop(waker);
    });
    second.enter(|| drop(all));
}

#[test]
fn a_timeout_counts_from_the_call() {
    let world = TestWorld::default();
    let executor = world.executor();
    let limited = executor.enter(|| with_timeout(Duration::from_millis(5), pending::<()>()));
    world.advance(Duration::from_millis(3));
    let mut handle = executor.spawn(async move { limited.await.unwrap_err() });
    settle(&executor);
    assert!(!handle.is_finished());
    world.advance(Duration::from_millis(2));
    settle(&executor);
    let outcome = executor.enter(|| Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop())));
    assert!(matches!(outcome, Poll::Ready(Ok(TimedOut))));
    assert_eq!(testing::run(&executor, async { with_timeout(Duration::ZERO, ready(1)).await }), Ok(1));
}
