//! Shards on threads of their own.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::super::{Mesh, MeshLinks, ShardId, invoke_on_all, post, submit_to};
use crate::testing::TestWorld;
use crate::{Executor, Round, current};

const MANY: usize = if cfg!(miri) { 50 } else { 5_000 };

/// Runs `begin` on each of some shards and then rounds until `done` is set and all are quiet.
fn on_threads(shards: usize, begin: impl Fn(&Executor) + Clone + Send + 'static, done: &Arc<AtomicBool>) {
    let quiet = Arc::new(AtomicUsize::new(0));
    let run = |links: MeshLinks| {
        let (begin, done, quiet) = (begin.clone(), Arc::clone(done), Arc::clone(&quiet));
        thread::spawn(move || {
            let executor = TestWorld::default().executor_of(links);
            begin(&executor);
            while !done.load(Ordering::Acquire) {
                turn(&executor);
            }
            // Others may need answers until they have seen it too.
            quiet.fetch_add(1, Ordering::AcqRel);
            while quiet.load(Ordering::Acquire) < shards {
                turn(&executor);
            }
        })
    };
    let threads: Vec<_> = Mesh::links(shards).into_iter().map(run).collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
}

fn turn(executor: &Executor) {
    if executor.round() != Round::Busy {
        thread::yield_now();
    }
}

#[test]
fn every_message_is_run_once_under_back_pressure() {
    let (received, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (count, finish) = (Arc::clone(&received), Arc::clone(&done));
    let begin = move |executor: &Executor| {
        if executor.id() == ShardId::new(0) {
            let (count, finish) = (Arc::clone(&count), Arc::clone(&finish));
            drop(executor.spawn(async move {
                for n in 0..MANY {
                    let (count, finish) = (Arc::clone(&count), Arc::clone(&finish));
                    let run = move || {
                        assert_eq!(count.fetch_add(1, Ordering::Relaxed), n);
                        if n + 1 == MANY {
                            finish.store(true, Ordering::Release);
                        }
                    };
                    post(ShardId::new(1), run).await.expect("the shard runs");
                }
            }));
        }
    };
    on_threads(2, begin, &done);
    assert_eq!(received.load(Ordering::Relaxed), MANY);
}

#[test]
fn requests_go_both_ways_at_once() {
    const TASKS: usize = 50;
    let (served, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (count, finish) = (Arc::clone(&served), Arc::clone(&done));
    let begin = move |executor: &Executor| {
        let from = executor.id().index();
        for task in 0..TASKS {
            let (count, finish) = (Arc::clone(&count), Arc::clone(&finish));
            drop(executor.spawn(async move {
                for n in 0..MANY / TASKS {
                    let to = ShardId::new(u16::try_from((from + 1 + (task + n) % 2) % 3).expect("three shards"));
                    let answer = submit_to(to, async move || (n, current::shard_id())).await;
                    assert_eq!(answer.expect("it is served"), (n, to));
                }
                if count.fetch_add(1, Ordering::AcqRel) + 1 == 3 * TASKS {
                    finish.store(true, Ordering::Release);
                }
            }));
        }
    };
    on_threads(3, begin, &done);
    assert_eq!(served.load(Ordering::Relaxed), 3 * TASKS);
}

#[test]
fn shards_that_stop_at_different_times_leave_nobody_waiting() {
    let done = Arc::new(AtomicBool::new(true));
    for _ in 0..20 {
        let begin = |executor: &Executor| {
            for _ in 0..20 {
                let request = executor.enter(|| invoke_on_all(async || crate::yield_now().await));
                drop(executor.spawn(request));
            }
            executor.round();
        };
        on_threads(3, begin, &done);
    }
}
