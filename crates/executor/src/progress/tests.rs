//! What a stall detector sees.

use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::vec::Vec;

use super::*;
use crate::testing::{TestWorld, rounds};
use crate::timer::Timer;
use crate::{Foreign, ShardId, TaskBuilder, try_post};

/// What a handler would see now: the running task's name or the activity, and the steps so far.
fn look(progress: &Progress) -> (Result<Option<&'static str>, Activity>, u64) {
    // SAFETY: on the shard's thread.
    let task = unsafe { progress.running_task() };
    (task.map(|task| task.name).ok_or(progress.activity()), progress.steps())
}

#[test]
fn it_shows_what_runs() {
    let world = TestWorld::default();
    let shards = world.executors(2);
    let progress = Arc::clone(shards[1].progress());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = || {
        let (seen, progress) = (Arc::clone(&seen), Arc::clone(&progress));
        move || seen.lock().expect("no panic").push(look(&progress))
    };
    let on_timer = note();
    let timer = Timer::new(move |_| on_timer());
    shards[1].enter(|| timer.arm_after(Duration::from_millis(1)));
    world.advance(Duration::from_millis(1));
    let in_task = note();
    drop(shards[1].enter(|| TaskBuilder::new().name("seen").spawn(async move { in_task() })));
    for message in [note(), note()] {
        shards[0].enter(|| assert!(try_post(ShardId::new(1), message).is_ok()));
    }
    let coming_home = shards[1].enter(|| Foreign::new(CallOnDrop(note())));
    shards[0].enter(|| drop(coming_home));
    rounds(&shards[0], 1);
    rounds(&shards[1], 1);
    let seen = seen.lock().expect("no panic").clone();
    let what: Vec<_> = seen.iter().map(|(what, _)| *what).collect();
    let messages = Err(Activity::Messages);
    assert_eq!(what, [Err(Activity::Timers), Err(Activity::Arrivals), Ok(Some("seen")), messages, messages]);
    assert!(seen.is_sorted_by(|one, next| one.1 < next.1), "each is a step: {seen:?}");
    assert_eq!(look(&progress).0, Err(Activity::Executor));
}

struct CallOnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for CallOnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
