//! Messages from threads that are no shards.

use core::future::pending;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;
use std::vec::Vec;

use super::{Alien, AlienError};
use crate::message::{MAX_ALIEN_MESSAGES, Mesh};
use crate::testing::{TestWorld, settle_all};
use crate::{Round, ShardId, SubmitError, current, yield_now};

const ZERO: ShardId = ShardId::new(0);
const ONE: ShardId = ShardId::new(1);

#[test]
fn posts_run_on_their_shard_and_ring_its_bell() {
    let world = TestWorld::default();
    let shards = world.executors(2);
    let alien = Alien::new(Arc::clone(shards[0].mesh()));
    let seen = Arc::new(AtomicUsize::new(9));
    settle_all(&shards);
    assert!(shards[1].prepare_sleep().is_idle());
    let note = Arc::clone(&seen);
    let posted = thread::spawn(move || {
        alien.post(ONE, move || note.store(current::shard_id().index(), Ordering::Relaxed)).is_ok()
    });
    assert!(posted.join().expect("no panic"));
    assert_eq!(world.rings(), 1);
    shards[1].end_sleep();
    settle_all(&shards);
    assert_eq!(seen.load(Ordering::Relaxed), 1);
}

#[test]
fn so_many_may_be_under_way_and_no_more() {
    let shards = TestWorld::default().executors(1);
    let alien = Alien::new(Arc::clone(shards[0].mesh()));
    let posted = (0..).take_while(|_| alien.post(ZERO, || ()).is_ok()).count();
    assert_eq!(posted, MAX_ALIEN_MESSAGES);
    assert!(matches!(alien.submit_to(ZERO, async || ()), Err(AlienError::Full(_))));
    settle_all(&shards);
    assert!(alien.post(ZERO, || ()).is_ok());
    settle_all(&shards);
    assert_eq!(shards[0].group_stats()[0].messages, MAX_ALIEN_MESSAGES as u64 + 1);
}

#[test]
fn shards_that_do_not_run_take_nothing() {
    let world = TestWorld::default();
    let mut links = Mesh::links(2);
    let alien = Alien::new(Arc::clone(links[0].mesh()));
    assert!(matches!(alien.post(ZERO, || ()), Err(AlienError::NotRunning(_))), "not yet");
    assert!(matches!(alien.post(ShardId::new(2), || ()), Err(AlienError::NotRunning(_))), "none such");
    let shard = world.executor_of(links.remove(0));
    let token = Arc::new(());
    let held = Arc::clone(&token);
    assert!(alien.post(ZERO, move || drop(held)).is_ok());
    drop(shard);
    assert_eq!(Arc::strong_count(&token), 1, "dropped with the shard");
    let held = Arc::clone(&token);
    let refused = alien.submit_to(ZERO, async move || drop(held));
    assert!(matches!(refused, Err(AlienError::NotRunning(_))), "no more");
}

#[test]
fn requests_are_answered_to_any_thread() {
    let (done, alien) = (Arc::new(AtomicBool::new(false)), Arc::new(std::sync::OnceLock::new()));
    let (finished, door) = (Arc::clone(&done), Arc::clone(&alien));
    let shard = thread::spawn(move || {
        let shards = TestWorld::default().executors(1);
        door.set(Alien::new(Arc::clone(shards[0].mesh()))).expect("set once");
        while !finished.load(Ordering::Acquire) {
            if shards[0].round() != Round::Busy {
                thread::yield_now();
            }
        }
    });
    let alien = loop {
        match alien.get() {
            Some(alien) => break alien.clone(),
            None => thread::yield_now(),
        }
    };
    let callers: Vec<_> = (0..3_usize)
        .map(|caller| {
            let alien = alien.clone();
            thread::spawn(move || {
                for n in 0..50 {
                    let request = alien.submit_to(ZERO, async move || {
                        yield_now().await;
                        caller * n
                    });
                    assert_eq!(request.expect("few are under way").wait().expect("it is served"), caller * n);
                }
                let panics = alien.submit_to(ZERO, async || panic!("planned")).expect("few are under way");
                assert!(matches!(panics.wait(), Err(SubmitError::Panicked(panic)) if panic.message() == "planned"));
            })
        })
        .collect();
    callers.into_iter().for_each(|caller| caller.join().expect("no panic"));
    let hangs = alien.submit_to(ZERO, pending::<()>).expect("few are under way");
    drop(alien.submit_to(ZERO, pending::<()>).expect("few are under way"));
    done.store(true, Ordering::Release);
    assert!(matches!(hangs.wait(), Err(SubmitError::Stopped)));
    shard.join().expect("no panic");
}

#[test]
fn requests_that_run_count_as_under_way_and_refusals_are_counted() {
    let mut shards = TestWorld::default().executors(2);
    let alien = shards[0].enter(Alien::of_current);
    let hang = || alien.submit_to(ONE, pending::<()>);
    let hanging: Vec<_> = (0..MAX_ALIEN_MESSAGES)
        .map(|_| {
            let hangs = hang().expect("fewer are under way");
            settle_all(&shards);
            hangs
        })
        .collect();
    assert!(matches!(hang(), Err(AlienError::Full(_))));
    assert!(matches!(alien.post(ONE, || ()), Err(AlienError::Full(_))));
    assert_eq!((alien.refused(ONE), alien.refused(ZERO)), (2, 0));
    assert_eq!((shards[1].stats().refused_aliens, shards[0].stats().refused_aliens), (2, 0));
    // Those that run don't keep their shard from stopping its messages.
    shards[1].stop_messages();
    drop(shards.pop());
    assert!(hanging.into_iter().all(|request| matches!(request.wait(), Err(SubmitError::Stopped))));
}

#[test]
fn what_arrives_after_its_shard_ended_goes_to_no_other() {
    let mut shards = TestWorld::default().executors(1);
    let other = TestWorld::default().executor();
    let alien = Alien::new(Arc::clone(shards[0].mesh()));
    let arrived = Arc::new(AtomicUsize::new(0));
    let note = Arc::clone(&arrived);
    let count = move || {
        note.fetch_add(1, Ordering::Relaxed);
    };
    alien.post(ZERO, count).expect("the shard runs");
    other.enter(|| shards[0].shard().home.drain());
    settle_all(&[other]);
    drop(shards.pop());
    assert_eq!(arrived.load(Ordering::Relaxed), 0);
    assert_eq!(Arc::strong_count(&arrived), 1);
}
