//! When the other side sees what was sent.

use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll};
use std::sync::Mutex;

use super::super::{ShardId, submit_to, try_post};
use crate::testing::{TestWorld, settle_all};
use crate::{Executor, need_preempt, spawn};

const ZERO: ShardId = ShardId::new(0);
const ONE: ShardId = ShardId::new(1);

fn two() -> Rc<[Executor]> {
    TestWorld::default().executors(2).into()
}

fn sees_messages(shard: &Executor) -> bool {
    shard.shard().exchange.has_arrivals()
}

/// Has a task of the first shard run `f` in its one poll.
fn in_a_task(shards: &Rc<[Executor]>, f: impl FnOnce(&[Executor], &mut Context<'_>) + 'static) {
    let (inside, mut f) = (Rc::clone(shards), Some(f));
    let task = shards[0].spawn(poll_fn(move |cx| {
        f.take().expect("it is polled once")(&inside, cx);
        Poll::Ready(())
    }));
    settle_all(shards);
    assert!(shards[0].enter(|| pin!(task).poll(&mut Context::from_waker(core::task::Waker::noop()))).is_ready());
    assert_eq!(shards[0].stats().panicked_tasks, 0);
}

#[test]
fn what_a_task_sent_is_published_when_its_turn_looks_at_the_clock() {
    let shards = two();
    let looks = Rc::new(Cell::new(0));
    let counted = Rc::clone(&looks);
    in_a_task(&shards, move |shards, _| {
        assert!(try_post(ONE, || ()).is_ok());
        assert!(try_post(ONE, || ()).is_ok());
        assert!(!sees_messages(&shards[1]), "they may be joined by others");
        while !sees_messages(&shards[1]) && counted.get() < 100 {
            assert!(!need_preempt());
            counted.set(counted.get() + 1);
        }
    });
    assert!((1..=17).contains(&looks.get()), "published after {} questions", looks.get());
}

#[test]
fn what_a_message_sent_is_published_while_others_run() {
    let world = TestWorld::default();
    let shards: Rc<[Executor]> = world.executors(2).into();
    let (ran, seen) = (Arc::new(AtomicUsize::new(0)), Rc::new(RefCell::new(Vec::new())));
    world.when_asked({
        let (shards, ran, seen) = (Rc::clone(&shards), Arc::clone(&ran), Rc::clone(&seen));
        move || seen.borrow_mut().push((ran.load(Ordering::Relaxed), sees_messages(&shards[1])))
    });
    shards[0].enter(|| {
        for n in 0..100 {
            let ran = Arc::clone(&ran);
            let run = move || {
                ran.fetch_add(1, Ordering::Relaxed);
                assert!(n != 0 || try_post(ONE, || ()).is_ok());
            };
            assert!(try_post(ZERO, run).is_ok());
        }
    });
    shards[0].round();
    world.when_asked(|| ());
    assert_eq!(shards[0].stats().panicked_messages, 0);
    let first = seen.borrow().iter().find(|(_, published)| *published).map(|(ran, _)| *ran);
    assert!(first.is_some_and(|ran| ran <= 17), "published after {first:?} messages");
}

#[test]
fn a_request_of_the_last_task_is_published_at_once_and_in_order() {
    let shards = two();
    let log = Arc::new(Mutex::new(Vec::new()));
    let note = |n| {
        let log = Arc::clone(&log);
        move || log.lock().unwrap().push(n)
    };
    let (before, asked, after) = (note(1), note(2), note(3));
    in_a_task(&shards, move |shards, cx| {
        assert!(try_post(ONE, before).is_ok());
        assert!(!sees_messages(&shards[1]), "a post may wait for others");
        let mut request = pin!(submit_to(ONE, async move || asked()));
        assert!(request.as_mut().poll(cx).is_pending());
        assert!(sees_messages(&shards[1]), "somebody waits for a request");
        assert!(try_post(ONE, after).is_ok());
    });
    assert_eq!(*log.lock().unwrap(), [1, 2, 3]);
}

#[test]
fn a_request_joins_the_batch_while_its_group_has_more_to_run() {
    let shards = two();
    in_a_task(&shards, |shards, cx| {
        drop(spawn(async {}));
        let mut request = pin!(submit_to(ONE, async || ()));
        assert!(request.as_mut().poll(cx).is_pending());
        assert!(!sees_messages(&shards[1]), "the task may send more");
    });
    in_a_task(&shards, |shards, cx| {
        assert!(try_post(ZERO, || ()).is_ok());
        let mut request = pin!(submit_to(ONE, async || ()));
        assert!(request.as_mut().poll(cx).is_pending());
        assert!(!sees_messages(&shards[1]), "the message may send more");
    });
}

#[test]
fn the_last_reply_is_published_at_once_and_those_before_it_with_it() {
    let shards = two();
    let requests: Vec<_> =
        (0..2).map(|n| shards[0].spawn(async move { submit_to(ONE, async move || n).await })).collect();
    shards[0].round();
    let server = shards[1].shard();
    let serve_one = || shards[1].enter(|| server.groups.run_messages(0, || false));
    shards[1].enter(|| server.exchange.receive(server));
    serve_one();
    assert!(!sees_messages(&shards[0]), "another request is about to be served");
    serve_one();
    assert!(sees_messages(&shards[0]));
    assert_eq!(shards[0].enter(|| shards[0].shard().exchange.receive(shards[0].shard())), 2);
    settle_all(&shards);
    assert!(requests.iter().all(crate::JoinHandle::is_finished));
}

#[test]
fn what_was_published_within_a_turn_wakes_a_sleeper_at_its_end() {
    let world = TestWorld::default();
    let shards: Rc<[Executor]> = world.executors(2).into();
    settle_all(&shards);
    assert!(shards[1].prepare_sleep().is_idle());
    let inside = Rc::clone(&shards);
    let task = shards[0].spawn(async move {
        assert!(try_post(ONE, || ()).is_ok());
        while !sees_messages(&inside[1]) {
            assert!(!need_preempt());
        }
    });
    shards[0].round();
    assert!(task.is_finished());
    assert_eq!(world.rings(), 1);
    shards[1].end_sleep();
}
