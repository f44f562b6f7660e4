//! Requests among shards on one thread.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::{Future, pending};
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Waker};

use super::super::{
    ServiceGroup, ShardId, SubmitError, invoke_on_all, invoke_on_others, submit_to, submit_to_with, try_post,
};
use super::{alive, tokens};
use crate::testing::{TestWorld, rounds as run_rounds, run_among, settle_all};
use crate::{Executor, current, spawn, yield_now};

const ZERO: ShardId = ShardId::new(0);
const ONE: ShardId = ShardId::new(1);

fn two() -> Vec<Executor> {
    TestWorld::default().executors(2)
}

fn residents(shards: &[Executor]) -> Vec<usize> {
    shards.iter().map(Executor::residents).collect()
}

#[test]
fn the_output_comes_back() {
    let shards = two();
    let answer = run_among(&shards, async {
        let add = 40;
        submit_to(ONE, async move || {
            let local = Rc::new(Cell::new(add));
            yield_now().await;
            local.set(local.get() + 2);
            (local.get(), current::shard_id())
        })
        .await
    });
    assert_eq!(answer.expect("it is served"), (42, ONE));
    assert_eq!(residents(&shards), [0, 0]);
    assert_eq!((shards[1].stats().spawned_tasks, shards[1].stats().living_tasks), (1, 0));
}

#[test]
fn outputs_of_every_size_come_back() {
    let shards = two();
    let (small, large, boxed) = run_among(&shards, async {
        let weight = [3_u64; 20];
        let large = submit_to(ONE, async move || weight.map(|w| w + 1)).await;
        (submit_to(ONE, async || ()).await, large, submit_to(ONE, async || Box::new(5)).await)
    });
    small.expect("it is served");
    assert_eq!(large.expect("it is served"), [4; 20]);
    assert_eq!(*boxed.expect("it is served"), 5);
}

#[test]
fn a_request_to_the_own_shard_is_part_of_the_task() {
    let shards = two();
    let answer = run_among(&shards, async {
        let before = current::with(|shard| shard.tasks.len());
        submit_to(ZERO, async move || current::with(|shard| shard.tasks.len()) - before).await
    });
    assert_eq!(answer.expect("it is served"), 0);
    let error = run_among(&shards, async { submit_to(ZERO, async || panic!("at home")).await });
    assert!(matches!(error, Err(SubmitError::Panicked(panic)) if panic.message() == "at home"));
}

#[test]
fn a_panic_reaches_the_caller() {
    let shards = two();
    let (early, late, in_drop) = run_among(&shards, async {
        let early = submit_to(ONE, || {
            if current::shard_id() == ONE {
                panic!("early {}", 1);
            }
            async {}
        })
        .await;
        let late = submit_to(ONE, async || {
            yield_now().await;
            panic!("late");
        })
        .await;
        let in_drop = submit_to(ONE, async || {
            struct Bomb;
            impl Drop for Bomb {
                fn drop(&mut self) {
                    panic!("in drop");
                }
            }
            let _bomb = Bomb;
            1
        })
        .await;
        (early.map(drop), late, in_drop)
    });
    assert!(matches!(early, Err(SubmitError::Panicked(panic)) if panic.message() == "early 1"));
    assert!(matches!(late, Err(SubmitError::Panicked(panic)) if panic.message() == "late"));
    assert!(matches!(in_drop, Err(SubmitError::Panicked(panic)) if panic.message() == "in drop"));
    assert_eq!(shards[1].stats().panicked_messages, 3);
    assert_eq!(residents(&shards), [0, 0]);
}

#[test]
fn a_request_can_be_given_up_at_any_step() {
    // How many rounds each shard has had when the caller gives up.
    for rounds in [[0, 0], [1, 0], [1, 1], [1, 2], [2, 3]] {
        let shards = two();
        let (count, token) = tokens();
        let request = {
            let token = token.clone();
            submit_to_from(&shards[0], ONE, async move || {
                yield_now().await;
                token
            })
        };
        drop(token);
        let handle = shards[0].spawn(request);
        for (shard, rounds) in shards.iter().zip(rounds) {
            run_rounds(shard, rounds);
        }
        shards[0].enter(|| handle.abort());
        drop(handle);
        settle_all(&shards);
        assert_eq!(alive(&count), 0, "after rounds {rounds:?}");
        assert_eq!(residents(&shards), [0, 0], "after rounds {rounds:?}");
    }
}

fn submit_to_from<F, Fut>(
    shard: &Executor,
    to: ShardId,
    f: F,
) -> impl Future<Output = Result<Fut::Output, SubmitError>> + use<F, Fut>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future + 'static,
    Fut::Output: Send + 'static,
{
    shard.enter(|| submit_to(to, f))
}

#[test]
fn an_answered_request_may_be_dropped_outside_of_its_shard() {
    let shards = two();
    let (count, token) = tokens();
    let mut request = Box::pin(submit_to_from(&shards[0], ONE, async move || token));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(shards[0].enter(|| request.as_mut().poll(&mut cx)).is_pending());
    settle_all(&shards);
    assert_eq!(alive(&count), 1, "the answer waits for the caller");
    drop(request);
    assert_eq!(alive(&count), 0);
    settle_all(&shards);
    assert_eq!(residents(&shards), [0, 0]);
}

#[test]
fn replies_that_find_no_room_are_kept() {
    let shards = two();
    let requests: Vec<_> =
        (0..600).map(|n| shards[0].spawn(submit_to_from(&shards[0], ONE, async move || n))).collect();
    shards[0].round();
    // The ring back is full before the first request is served.
    shards[1].enter(|| while try_post(ZERO, || ()).is_ok() {});
    shards[1].round();
    assert!(shards[1].stats().overflowed_replies > 0);
    shards[1].enter(|| assert!(try_post(ZERO, || ()).is_err(), "replies go first"));
    settle_all(&shards);
    assert!(requests.iter().all(crate::JoinHandle::is_finished));
    assert_eq!(shards[0].stats().waits_for_room, 600 - 256);
    drop(requests);
    settle_all(&shards);
    assert_eq!(residents(&shards), [0, 0]);
}

#[test]
fn a_service_group_caps_what_is_in_flight() {
    let shards = two();
    let group = ServiceGroup::new(3);
    assert_eq!(group.max_in_flight(), 3);
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    for _ in 0..20 {
        let (now, most, group) = (Arc::clone(&now), Arc::clone(&most), group.clone());
        drop(shards[0].spawn(async move {
            let serve = async move || {
                most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                for _ in 0..9 {
                    yield_now().await;
                }
                now.fetch_sub(1, Ordering::Relaxed);
            };
            submit_to_with(&group, ONE, serve).await.expect("it is served");
        }));
    }
    settle_all(&shards);
    assert_eq!(most.load(Ordering::Relaxed), 3);
    assert_eq!(now.load(Ordering::Relaxed), 0);
    assert_eq!(shards[0].stats().waits_for_service, 17);
}

#[test]
fn what_was_given_up_counts_until_its_reply_is_back() {
    let shards = two();
    let group = ServiceGroup::new(1);
    let first = {
        let group = group.clone();
        shards[0].spawn(async move { submit_to_with(&group, ONE, pending::<()>).await })
    };
    settle_all(&shards);
    shards[0].enter(|| first.abort());
    let second = shards[0].spawn(async move { submit_to_with(&group, ONE, async || ()).await });
    settle_all(&shards);
    assert!(!second.is_finished());
    shards[1].stop_tasks();
    settle_all(&shards);
    assert!(second.is_finished());
}

#[test]
fn requests_within_requests_go_on_with_groups_of_their_own() {
    let shards = two();
    let (outer, inner) = (ServiceGroup::new(1), ServiceGroup::new(1));
    let sum = Arc::new(AtomicUsize::new(0));
    for _ in 0..50 {
        let (outer, inner, sum) = (outer.clone(), inner.clone(), Arc::clone(&sum));
        drop(shards[0].spawn(async move {
            let there_and_back = async move || {
                let nested = submit_to_with(&inner, ZERO, async || submit_to(ONE, async || 1).await);
                nested.await.expect("it is served").expect("it is served")
            };
            let got = submit_to_with(&outer, ONE, there_and_back).await.expect("it is served");
            sum.fetch_add(got, Ordering::Relaxed);
        }));
    }
    settle_all(&shards);
    assert_eq!(sum.load(Ordering::Relaxed), 50);
}

#[test]
fn limits_of_groups_that_nobody_has_are_forgotten() {
    let shards = two();
    for _ in 0..100 {
        let group = ServiceGroup::new(1);
        run_among(&shards, async move { submit_to_with(&group, ONE, async || ()).await }).expect("it is served");
    }
    assert_eq!(shards[0].shard().exchange.limits.groups(), 1);
    for _ in 0..100 {
        let group = ServiceGroup::new(1);
        for (caller, to) in [(0, ONE), (1, ZERO)] {
            let group = group.clone();
            drop(shards[caller].spawn(async move { submit_to_with(&group, to, async || ()).await }));
        }
        settle_all(&shards);
    }
    assert_eq!(shards[0].shard().exchange.limits.groups(), 1, "also of those that several shards have used");
    assert_eq!(shards[1].shard().exchange.limits.groups(), 1);
}

#[test]
fn all_shards_or_all_others_are_invoked() {
    let shards = TestWorld::default().executors(4);
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let note = {
        let seen = Arc::clone(&seen);
        async move || seen.lock().unwrap().push(current::shard_id().index())
    };
    let again = note.clone();
    run_among(&shards, async move { invoke_on_all(note).await }).expect("all are served");
    seen.lock().unwrap().sort_unstable();
    assert_eq!(*seen.lock().unwrap(), [0, 1, 2, 3]);
    seen.lock().unwrap().clear();
    run_among(&shards, async move { invoke_on_others(again).await }).expect("all are served");
    seen.lock().unwrap().sort_unstable();
    assert_eq!(*seen.lock().unwrap(), [1, 2, 3]);
    let error = run_among(&shards, invoke_on_all_in(&shards[0]));
    assert!(matches!(error, Err(SubmitError::Panicked(panic)) if panic.message() == "shard 2"));
}

fn invoke_on_all_in(shard: &Executor) -> impl Future<Output = Result<(), SubmitError>> + use<> {
    shard.enter(|| {
        invoke_on_all(async || {
            let shard = current::shard_id();
            assert!(shard.index() < 2, "shard {shard}");
        })
    })
}

#[test]
fn a_reply_polled_by_changing_tasks_wakes_the_last() {
    let shards = two();
    let slot = Rc::new(RefCell::new(Some(Box::pin(submit_to_from(&shards[0], ONE, async || 9)))));
    shards[0].enter(|| {
        let mut slot = slot.borrow_mut();
        let request = slot.as_mut().expect("put there above");
        assert!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    });
    let request = slot.borrow_mut().take().expect("put there above");
    let answer = run_among(&shards, async move {
        let handle = spawn(request);
        handle.await.expect("no panic")
    });
    assert_eq!(answer.expect("it is served"), 9);
}

#[test]
fn nothing_is_sent_before_the_first_poll() {
    let shards = two();
    let (count, token) = tokens();
    let request = submit_to_from(&shards[0], ONE, async move || drop(token));
    settle_all(&shards);
    assert_eq!(alive(&count), 1);
    drop(request);
    assert_eq!(alive(&count), 0);
    assert_eq!(shards[0].stats().sent_messages, 0);
}
