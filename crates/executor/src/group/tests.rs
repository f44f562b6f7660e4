//! Scheduling groups on a clock that the tasks move by hand, so that shares come out exactly.

use std::cell::Cell;
use std::rc::Rc;
use std::string::String;
use std::time::Duration;
use std::vec::Vec;

use super::{GroupError, SchedulingGroup};
use crate::testing::TestWorld;
use crate::{Executor, spawn_in, yield_now};

fn group(executor: &Executor, index: u8, shares: u32) -> SchedulingGroup {
    let group = SchedulingGroup { index, generation: 1 };
    executor.shard().groups.install(group, "test", shares);
    group
}

/// A task that works for ever, `step` at a time, and says how long in all.
fn worker(executor: &Executor, world: &TestWorld, group: SchedulingGroup, step: Duration) -> Rc<Cell<Duration>> {
    let total = Rc::new(Cell::new(Duration::ZERO));
    let (world, sum) = (world.clone(), Rc::clone(&total));
    executor.enter(|| {
        drop(spawn_in(group, async move {
            loop {
                world.advance(step);
                sum.set(sum.get() + step);
                yield_now().await;
            }
        }));
    });
    total
}

fn run_for(executor: &Executor, world: &TestWorld, time: Duration) {
    let end = world.now() + time;
    while world.now() < end {
        executor.round();
    }
}

fn share_of_first(a: &Cell<Duration>, b: &Cell<Duration>) -> f64 {
    a.get().as_secs_f64() / (a.get() + b.get()).as_secs_f64()
}

#[test]
fn time_is_divided_by_shares() {
    let world = TestWorld::default();
    let executor = world.executor();
    let (small, large) = (group(&executor, 1, 100), group(&executor, 2, 300));
    let a = worker(&executor, &world, small, Duration::from_micros(13));
    let b = worker(&executor, &world, large, Duration::from_micros(170));
    run_for(&executor, &world, Duration::from_secs(2));
    let share = share_of_first(&a, &b);
    assert!((share - 0.25).abs() < 0.005, "{share}");
}

#[test]
fn a_group_that_sleeps_now_and_then_gets_its_share_all_the_same() {
    let world = TestWorld::default();
    let executor = world.executor();
    let (small, large) = (group(&executor, 1, 100), group(&executor, 2, 300));
    let a = worker(&executor, &world, small, Duration::from_micros(20));
    let b = Rc::new(Cell::new(Duration::ZERO));
    let waker = Rc::new(Cell::new(None));
    let wake_at = Rc::new(Cell::new(world.now()));
    let (sum, slot, until, clock) = (Rc::clone(&b), Rc::clone(&waker), Rc::clone(&wake_at), world.clone());
    executor.enter(|| {
        drop(spawn_in(large, async move {
            let mut steps = 0;
            loop {
                clock.advance(Duration::from_micros(20));
                sum.set(sum.get() + Duration::from_micros(20));
                steps += 1;
                if steps % 500 == 0 {
                    until.set(clock.now() + Duration::from_millis(1));
                    std::future::poll_fn(|cx| {
                        if clock.now() >= until.get() {
                            return std::task::Poll::Ready(());
                        }
                        slot.set(Some(cx.waker().clone()));
                        std::task::Poll::Pending
                    })
                    .await;
                }
                yield_now().await;
            }
        }));
    });
    let end = world.now() + Duration::from_secs(4);
    while world.now() < end {
        executor.round();
        if world.now() >= wake_at.get()
            && let Some(waker) = waker.take()
        {
            executor.enter(|| waker.wake());
        }
    }
    let share = share_of_first(&a, &b);
    assert!((share - 0.25).abs() < 0.01, "{share}");
}

#[test]
fn a_group_that_slept_long_does_not_shut_the_others_out() {
    let world = TestWorld::default();
    let executor = world.executor();
    let (early, late) = (group(&executor, 1, 100), group(&executor, 2, 100));
    let a = worker(&executor, &world, early, Duration::from_micros(50));
    run_for(&executor, &world, Duration::from_secs(1));
    let before = a.get();
    let b = worker(&executor, &world, late, Duration::from_micros(50));
    run_for(&executor, &world, Duration::from_millis(40));
    assert!(b.get() <= Duration::from_millis(25), "at most the credit of 8 ms ahead: {:?}", b.get());
    assert!(a.get() - before >= Duration::from_millis(15));
}

#[test]
fn shares_change_while_tasks_run() {
    let world = TestWorld::default();
    let executor = world.executor();
    let (one, two) = (group(&executor, 1, 100), group(&executor, 2, 100));
    let a = worker(&executor, &world, one, Duration::from_micros(40));
    let b = worker(&executor, &world, two, Duration::from_micros(40));
    run_for(&executor, &world, Duration::from_secs(1));
    executor.shard().groups.set_shares(two, 900).expect("it exists");
    let (a0, b0) = (a.get(), b.get());
    run_for(&executor, &world, Duration::from_secs(1));
    let (a, b) = (Cell::new(a.get() - a0), Cell::new(b.get() - b0));
    let share = share_of_first(&a, &b);
    assert!((share - 0.1).abs() < 0.005, "{share}");
}

#[test]
fn a_spawned_task_inherits_the_group() {
    let executor = TestWorld::default().executor();
    let one = group(&executor, 1, 100);
    let seen = Rc::new(Cell::new(SchedulingGroup::MAIN));
    let note = Rc::clone(&seen);
    executor.enter(|| {
        drop(spawn_in(one, async move {
            let child = crate::spawn(async move { note.set(crate::current::scheduling_group()) });
            child.await.expect("it ends");
        }));
    });
    crate::testing::settle(&executor);
    assert_eq!(seen.get(), one);
}

#[test]
fn tasks_of_a_removed_group_go_on_in_the_main_group() {
    let world = TestWorld::default();
    let executor = world.executor();
    let one = group(&executor, 1, 100);
    let total = worker(&executor, &world, one, Duration::from_micros(100));
    executor.round();
    let shard = executor.shard();
    shard.groups.remove(one, &shard.tasks).expect("it exists");
    let before = total.get();
    run_for(&executor, &world, Duration::from_millis(5));
    assert!(total.get() > before);
    assert_eq!(shard.groups.set_shares(one, 5), Err(GroupError::Destroyed));
    assert_eq!(shard.groups.rename(one, "x"), Err(GroupError::Destroyed));
    let names: Vec<_> = executor.group_stats().into_iter().map(|stats| String::from(&*stats.name)).collect();
    assert_eq!(names, ["main"]);
}

#[test]
fn refusals_name_the_rule() {
    let executor = TestWorld::default().executor();
    let groups = &executor.shard().groups;
    assert_eq!(groups.remove(SchedulingGroup::MAIN, &executor.shard().tasks), Err(GroupError::Main));
    let refused = groups.set_shares(SchedulingGroup::MAIN, 1001);
    assert_eq!(refused, Err(GroupError::BadShares(1001)));
    let text = std::format!("{}", GroupError::BadShares(1001));
    assert_eq!(text, "shares of a scheduling group are 1 to 1000, not 1001");
}
