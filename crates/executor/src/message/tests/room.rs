//! Who finds room, who waits for it, and who gives up waiting.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::sync::Mutex;

use super::super::{ShardId, Stopped, post, try_post};
use super::{alive, tokens};
use crate::Executor;
use crate::testing::{TestWorld, settle, settle_all};

const ONE: ShardId = ShardId::new(1);

type Posting = Pin<Box<dyn Future<Output = Result<(), Stopped>>>>;

/// Two shards, with the ring from the first to the second full.
fn two_with_a_full_ring() -> Vec<Executor> {
    let shards = TestWorld::default().executors(2);
    shards[0].enter(|| while try_post(ONE, || ()).is_ok() {});
    shards
}

/// A post to the second shard that waits for room.
fn waiting(from: &Executor, f: impl FnOnce() + Send + 'static) -> Posting {
    let mut posting: Posting = Box::pin(from.enter(|| post(ONE, f)));
    assert!(poll(from, &mut posting).is_pending());
    posting
}

fn poll(from: &Executor, posting: &mut Posting) -> Poll<Result<(), Stopped>> {
    from.enter(|| posting.as_mut().poll(&mut Context::from_waker(Waker::noop())))
}

fn is_refused(from: &Executor) -> bool {
    from.enter(|| try_post(ONE, || ())).is_err_and(|error| error.is_full())
}

#[test]
fn there_is_room_as_soon_as_the_other_side_has_made_some() {
    let shards = two_with_a_full_ring();
    assert!(is_refused(&shards[0]));
    shards[1].round();
    // Several laps, without a round of the sender.
    for _ in 0..1000 {
        assert!(!is_refused(&shards[0]));
        assert!(!is_refused(&shards[0]));
        shards[0].shard().exchange.publish();
        settle(&shards[1]);
    }
}

#[test]
fn newcomers_are_refused_only_while_somebody_waits() {
    let shards = two_with_a_full_ring();
    let (count, token) = tokens();
    let idle: Vec<_> = (0..2)
        .map(|_| {
            let token = token.clone();
            waiting(&shards[0], move || drop(token))
        })
        .collect();
    drop(token);
    settle(&shards[1]);
    let mut idle = idle.into_iter();
    assert!(is_refused(&shards[0]), "there is room, but two came first");
    drop(idle.next());
    assert!(is_refused(&shards[0]), "there is room, but one came first");
    assert_eq!(alive(&count), 1);
    drop(idle.next());
    assert_eq!(alive(&count), 0);
    assert!(!is_refused(&shards[0]), "there is room, and nobody waits");
    settle_all(&shards);
    assert!(!is_refused(&shards[0]));
}

#[test]
fn who_gives_up_holds_nobody_up() {
    let shards = two_with_a_full_ring();
    let log = Arc::new(Mutex::new(Vec::new()));
    let note = |n| {
        let log = Arc::clone(&log);
        move || log.lock().unwrap().push(n)
    };
    let mut postings: Vec<_> = (0..6).map(|n| waiting(&shards[0], note(n))).collect();
    // The first, one in the middle and the last.
    for n in [5, 3, 0] {
        drop(postings.remove(n));
    }
    assert_eq!(shards[0].stats().waiting_messages, 3);
    settle(&shards[1]);
    shards[0].round();
    postings.iter_mut().for_each(|posting| assert_eq!(poll(&shards[0], posting), Poll::Ready(Ok(()))));
    assert!(shards[0].enter(|| try_post(ONE, note(6))).is_ok());
    settle_all(&shards);
    assert_eq!(*log.lock().unwrap(), [1, 2, 4, 6]);
    let stats = shards[0].stats();
    assert_eq!((stats.waits_for_room, stats.waiting_messages), (6, 0));
}

#[test]
fn who_waits_after_all_others_gave_up_is_sent() {
    let shards = two_with_a_full_ring();
    drop(waiting(&shards[0], || ()));
    let mut posting = waiting(&shards[0], || ());
    settle(&shards[1]);
    assert!(is_refused(&shards[0]));
    shards[0].round();
    assert_eq!(poll(&shards[0], &mut posting), Poll::Ready(Ok(())));
}

#[test]
fn a_shard_in_the_memory_of_another_is_not_taken_for_it() {
    let mut known = Vec::new();
    for _ in 0..100 {
        let shard = TestWorld::default().executor();
        let origin = shard.shard().exchange.origin();
        assert!(!known.contains(&origin), "futures of a shard that is gone would be polled here");
        known.push(origin);
    }
}
