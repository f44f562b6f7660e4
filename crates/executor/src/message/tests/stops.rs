//! What becomes of messages and requests when shards stop.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::{Future, pending};
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};

use super::super::{Mesh, ShardId, Stopped, SubmitError, TryPostError, post, submit_to, try_post};
use super::ring::Bomb;
use super::{alive, tokens};
use crate::testing::{TestWorld, rounds as run_rounds, run_among, settle_all};
use crate::{Executor, spawn, yield_now};

const ZERO: ShardId = ShardId::new(0);
const ONE: ShardId = ShardId::new(1);

fn two() -> Vec<Executor> {
    TestWorld::default().executors(2)
}

#[test]
fn a_request_that_is_served_when_the_shard_stops_its_tasks_ends() {
    let shards = two();
    let (count, token) = tokens();
    let handle = shards[0].spawn(async move {
        submit_to(ONE, async move || {
            let _token = token;
            pending::<()>().await;
        })
        .await
    });
    settle_all(&shards);
    shards[1].stop_tasks();
    assert_eq!(alive(&count), 0);
    let answer = run_among(&shards, handle).expect("no panic");
    assert!(matches!(answer, Err(SubmitError::Stopped)));
    assert_eq!(shards[0].residents(), 0);
}

#[test]
fn requests_at_every_stage_end_when_their_shard_is_dropped() {
    // How many rounds each shard has had when the second one is dropped.
    for rounds in [[0, 0], [1, 0], [1, 1], [2, 1]] {
        let mut shards = two();
        let (count, token) = tokens();
        let handles: Vec<_> = (0..300)
            .map(|_| {
                let token = token.clone();
                shards[0].spawn(async move {
                    submit_to(ONE, async move || {
                        let _token = token;
                        pending::<()>().await;
                    })
                    .await
                })
            })
            .collect();
        drop(token);
        for (shard, rounds) in shards.iter().zip(rounds) {
            run_rounds(shard, rounds);
        }
        drop(shards.pop());
        settle_all(&shards);
        assert_eq!(alive(&count), 0, "after rounds {rounds:?}");
        for handle in handles {
            let answer = run_among(&shards, handle).expect("no panic");
            assert!(matches!(answer, Err(SubmitError::Stopped)), "after rounds {rounds:?}");
        }
        assert_eq!(shards[0].residents(), 0, "after rounds {rounds:?}");
    }
}

#[test]
fn a_request_whose_caller_is_gone_is_served_to_its_end() {
    let mut shards = two();
    let (count, token) = tokens();
    let (request_count, request_token) = tokens();
    drop(shards[0].spawn(async move {
        submit_to(ONE, async move || {
            let _held = request_token;
            for _ in 0..3 {
                yield_now().await;
            }
            token
        })
        .await
    }));
    shards[0].round();
    shards[1].round();
    drop(shards.remove(0));
    settle_all(&shards);
    assert_eq!((alive(&count), alive(&request_count)), (0, 0));
}

#[test]
fn messages_to_a_dropped_shard_are_dropped_by_their_sender() {
    let mut shards = two();
    let (count, token) = tokens();
    let message = || {
        let token = token.clone();
        move || drop(token)
    };
    shards[0].enter(|| (0..3).for_each(|_| assert!(try_post(ONE, message()).is_ok())));
    shards[0].round();
    shards[0].enter(|| (0..3).for_each(|_| assert!(try_post(ONE, message()).is_ok())));
    drop(shards.pop());
    assert_eq!(alive(&count), 1 + 3, "what had arrived went with the shard");
    shards[0].round();
    assert_eq!(alive(&count), 1);
}

#[test]
fn a_post_that_waits_learns_that_the_shard_stopped() {
    let mut shards = two();
    shards[0].enter(|| while try_post(ONE, || ()).is_ok() {});
    let (count, token) = tokens();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let token = token.clone();
            shards[0].spawn(async move { post(ONE, move || drop(token)).await })
        })
        .collect();
    drop(token);
    shards[0].round();
    drop(shards.pop());
    settle_all(&shards);
    for handle in waiting {
        assert_eq!(run_among(&shards, handle).expect("no panic"), Err(Stopped));
    }
    assert_eq!(alive(&count), 0);
}

#[test]
fn a_stop_wakes_the_other_shards() {
    let world = TestWorld::default();
    let mut shards = world.executors(2);
    settle_all(&shards);
    assert!(shards[0].prepare_sleep().is_idle());
    drop(shards.pop());
    assert_eq!(world.rings(), 1);
}

#[test]
fn a_dropped_message_may_send() {
    struct SendsOnDrop;
    impl Drop for SendsOnDrop {
        fn drop(&mut self) {
            let refused = try_post(ONE, || ());
            assert!(refused.is_err_and(|error| !error.is_full()));
        }
    }
    let mut shards = two();
    let bomb = SendsOnDrop;
    let stopping = shards.pop();
    shards[0].enter(|| assert!(try_post(ONE, move || drop(bomb)).is_ok()));
    drop(stopping);
    settle_all(&shards);
}

#[test]
fn tasks_that_send_while_their_shard_ends_do_no_harm() {
    struct Sends;
    impl Drop for Sends {
        fn drop(&mut self) {
            drop(try_post(ONE, || ()));
            drop(spawn(async { submit_to(ONE, async || ()).await }));
        }
    }
    let mut shards = two();
    drop(shards[0].spawn(async {
        let _sends = Sends;
        pending::<()>().await;
    }));
    settle_all(&shards);
    drop(shards.remove(0));
    settle_all(&shards);
}

#[test]
fn orderly_stop_leaves_nothing_behind() {
    let shards = TestWorld::default().executors(3);
    let (count, token) = tokens();
    for (from, shard) in shards.iter().enumerate() {
        for n in 0..200_u16 {
            let token = token.clone();
            let to = ShardId::new((u16::try_from(from).expect("three") + 1 + n % 2) % 3);
            drop(shard.spawn(async move {
                let serve = async move || {
                    if n % 3 == 0 {
                        pending::<()>().await;
                    }
                    token
                };
                submit_to(to, serve).await
            }));
        }
    }
    drop(token);
    (0..2).for_each(|_| shards.iter().for_each(|shard| run_rounds(shard, 1)));
    shards.iter().for_each(Executor::stop_tasks);
    settle_all(&shards);
    shards.iter().for_each(Executor::stop_tasks);
    settle_all(&shards);
    assert_eq!(shards.iter().map(Executor::residents).sum::<usize>(), 0);
    drop(shards);
    assert_eq!(alive(&count), 0);
}

#[test]
fn links_that_were_never_used_count_as_stopped() {
    let mut links = Mesh::links(2);
    drop(links.pop());
    let world = TestWorld::default();
    let shard = world.executor_of(links.pop().expect("two were made"));
    assert_eq!(shard.id(), ZERO);
    assert!(shard.prepare_sleep().is_idle());
    shard.end_sleep();
    let refused = run_among(&[shard], async { post(ONE, || ()).await });
    assert_eq!(refused, Err(Stopped));
}

#[test]
fn messages_that_panic_when_they_are_dropped_keep_no_shard_from_stopping() {
    let mut shards = two();
    let drops = Arc::new(AtomicUsize::new(0));
    let bomb = || {
        let bomb = Bomb(Arc::clone(&drops));
        move || drop(bomb)
    };
    // Some wait in the inbox, some in the rings, one for room.
    shards[0].enter(|| (0..3).for_each(|_| assert!(try_post(ZERO, bomb()).is_ok())));
    shards[1].enter(|| (0..5).for_each(|_| assert!(try_post(ZERO, bomb()).is_ok())));
    shards[1].shard().exchange.publish();
    shards[0].enter(|| (0..256).for_each(|_| assert!(try_post(ONE, bomb()).is_ok())));
    let mut waits = shards[0].enter(|| Box::pin(post(ONE, bomb())));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(shards[0].enter(|| waits.as_mut().poll(&mut cx)).is_pending());
    drop(shards.remove(0));
    assert_eq!(drops.load(Ordering::Relaxed), 3 + 5 + 1);
    assert_eq!(waits.as_mut().poll(&mut cx), Poll::Ready(Err(Stopped)));
    let refused = shards[0].enter(|| {
        shards[0].shard().exchange.flush(shards[0].shard());
        try_post(ZERO, || ())
    });
    assert!(matches!(refused, Err(TryPostError::Stopped(_))));
    drop(shards);
    assert_eq!(drops.load(Ordering::Relaxed), 3 + 5 + 1 + 256);
}
