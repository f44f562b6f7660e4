//! Scheduling groups of several shards, made, changed and destroyed at run time.

use std::cell::RefCell;
use std::rc::Rc;
use std::string::{String, ToString};
use std::time::Duration;
use std::vec::Vec;

use super::{GroupError, MAX_GROUPS, SchedulingGroup, with_scheduling_group};
use crate::testing::{TestWorld, run_among, settle_all};
use crate::timer::Timer;
use crate::{Executor, ShardId, current, submit_to, yield_now};

const ONE: ShardId = ShardId::new(1);

/// Names and shares of the groups of a shard.
fn groups(executor: &Executor) -> Vec<(String, u32)> {
    executor.group_stats().into_iter().map(|stats| (stats.name.to_string(), stats.shares)).collect()
}

#[test]
fn a_group_is_made_changed_and_destroyed_on_all_shards() {
    let shards = TestWorld::default().executors(3);
    let group = run_among(&shards, SchedulingGroup::create("web", 300)).expect("there is room");
    run_among(&shards, group.rename("site")).expect("it exists");
    run_among(&shards, group.set_shares(400)).expect("it exists");
    shards[2].enter(|| group.set_local_shares(50)).expect("it exists");
    let expected = |shares| [("main".into(), 200), ("site".into(), shares)];
    assert_eq!(groups(&shards[0]), expected(400));
    assert_eq!(groups(&shards[1]), expected(400));
    assert_eq!(groups(&shards[2]), expected(50));
    run_among(&shards, group.destroy()).expect("it exists");
    for shard in &shards {
        assert_eq!(groups(shard), [("main".into(), 200)]);
    }
    assert_eq!(run_among(&shards, group.destroy()), Err(GroupError::Destroyed));
    assert_eq!(run_among(&shards, group.rename("again")), Err(GroupError::Destroyed));
    assert_eq!(run_among(&shards, SchedulingGroup::MAIN.destroy()), Err(GroupError::Main));
    assert_eq!(run_among(&shards, SchedulingGroup::create("none", 0)), Err(GroupError::BadShares(0)));
}

#[test]
fn groups_are_bounded_and_a_place_is_used_again_under_another_handle() {
    let shards = TestWorld::default().executors(2);
    let made: Vec<_> = (1..MAX_GROUPS)
        .map(|_| run_among(&shards, SchedulingGroup::create("one of many", 100)).expect("there is room"))
        .collect();
    assert_eq!(run_among(&shards, SchedulingGroup::create("too many", 100)), Err(GroupError::TooMany));
    run_among(&shards, made[3].destroy()).expect("it exists");
    let again = run_among(&shards, SchedulingGroup::create("again", 100)).expect("there is room");
    assert_eq!(again.index, made[3].index);
    assert_ne!(again, made[3]);
    assert_eq!(run_among(&shards, made[3].set_shares(7)), Err(GroupError::Destroyed));
}

#[test]
fn destroying_a_group_twice_at_once_frees_its_place_once() {
    let shards = TestWorld::default().executors(2);
    let group = run_among(&shards, SchedulingGroup::create("short", 100)).expect("there is room");
    let (a, b) = (shards[0].spawn(group.destroy()), shards[1].spawn(group.destroy()));
    settle_all(&shards);
    assert!(a.is_finished() && b.is_finished());
    let (one, two) = run_among(&shards, async {
        let one = SchedulingGroup::create("one", 100).await;
        (one, SchedulingGroup::create("two", 100).await)
    });
    assert_ne!(one.expect("there is room").index, two.expect("there is room").index);
}

#[test]
fn a_creation_that_nobody_awaits_any_more_is_undone() {
    let shards = TestWorld::default().executors(2);
    let creating = shards[0].spawn(SchedulingGroup::create("unwanted", 100));
    shards[0].round();
    shards[0].enter(|| creating.abort());
    settle_all(&shards);
    for shard in &shards {
        assert_eq!(groups(shard), [("main".into(), 200)]);
    }
}

#[test]
fn a_request_runs_under_its_senders_group() {
    let shards = TestWorld::default().executors(2);
    let group = run_among(&shards, SchedulingGroup::create("web", 300)).expect("there is room");
    let (there, spawned) = run_among(&shards, async move {
        with_scheduling_group(group, async {
            let there = submit_to(ONE, async || {
                yield_now().await;
                let spawned = crate::spawn(async { current::scheduling_group() });
                (current::scheduling_group(), spawned.await.expect("it ends"))
            });
            there.await.expect("it is served")
        })
        .await
        .expect("it ends")
    });
    assert_eq!((there, spawned), (group, group));
}

#[test]
fn changes_are_refused_when_a_shard_has_stopped() {
    let mut shards = TestWorld::default().executors(2);
    drop(shards.pop());
    let refused = run_among(&shards, SchedulingGroup::create("late", 100));
    assert_eq!(refused, Err(GroupError::Stopped));
}

#[test]
fn what_runs_in_a_group_is_dropped_with_the_wait_for_it() {
    let shards = TestWorld::default().executors(1);
    let group = run_among(&shards, SchedulingGroup::create("web", 300)).expect("there is room");
    let alive = Rc::new(());
    for polls in 0..3 {
        let held = Rc::clone(&alive);
        let waiting = shards[0].spawn(async move {
            let inner = async move {
                let _held = held;
                core::future::pending::<()>().await;
            };
            with_scheduling_group(group, inner).await
        });
        crate::testing::rounds(&shards[0], polls);
        assert_eq!(Rc::strong_count(&alive), 2);
        shards[0].enter(|| waiting.abort());
        settle_all(&shards);
        assert_eq!(Rc::strong_count(&alive), 1, "after {polls} rounds");
        assert_eq!(shards[0].stats().living_tasks, 0);
    }
}

#[test]
fn what_a_timer_starts_is_in_the_group_that_armed_it() {
    let world = TestWorld::default();
    let shards = world.executors(1);
    let group = run_among(&shards, SchedulingGroup::create("web", 300)).expect("there is room");
    let seen = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&seen);
    let timer = Timer::new(move |_| {
        let noted = Rc::clone(&noted);
        noted.borrow_mut().push(current::scheduling_group());
        drop(crate::spawn(async move { noted.borrow_mut().push(current::scheduling_group()) }));
    });
    let timer = Rc::new(timer);
    let arm = |within| {
        let timer = Rc::clone(&timer);
        let armed = async move { timer.rearm_periodic(Duration::from_millis(1)) };
        run_among(&shards, async move { with_scheduling_group(within, armed).await }).expect("it ends");
    };
    let fire = || {
        world.advance(Duration::from_millis(1));
        settle_all(&shards);
        seen.take()
    };
    arm(group);
    assert_eq!(fire(), [group, group]);
    assert_eq!(fire(), [group, group], "also the second time");
    shards[0].enter(|| assert_eq!(current::scheduling_group(), SchedulingGroup::MAIN));
    arm(SchedulingGroup::MAIN);
    assert_eq!(fire(), [SchedulingGroup::MAIN; 2]);
    arm(group);
    run_among(&shards, group.destroy()).expect("it exists");
    assert_eq!(fire(), [SchedulingGroup::MAIN; 2]);
}
