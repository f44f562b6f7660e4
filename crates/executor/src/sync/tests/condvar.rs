use std::cell::Cell;

use crate::sync::test_executor::{TestTask, block_on};
use crate::sync::{Condvar, CondvarBroken};

#[test]
fn one_notification_wakes_the_one_who_waited_longest() {
    let condvar = Condvar::new();
    condvar.notify_one();
    let (first, second) = (TestTask::waiting(condvar.wait()), TestTask::waiting(condvar.wait()));
    condvar.notify_one();
    assert!(first.is_woken() && !second.is_woken());
    assert_eq!(first.finish(), Ok(()));
    assert_eq!(condvar.waiters(), 1);
}

#[test]
fn a_notification_of_one_who_is_dropped_passes_on() {
    let condvar = Condvar::new();
    let (first, second) = (TestTask::waiting(condvar.wait()), TestTask::waiting(condvar.wait()));
    condvar.notify_one();
    drop(first);
    assert_eq!(second.finish(), Ok(()));
}

#[test]
fn a_notification_of_all_is_for_those_who_wait_then() {
    let condvar = Condvar::new();
    let (first, second) = (TestTask::waiting(condvar.wait()), TestTask::waiting(condvar.wait()));
    condvar.notify_all();
    let late = TestTask::waiting(condvar.wait());
    drop(first);
    assert_eq!(second.finish(), Ok(()));
    assert!(!late.is_woken());
}

#[test]
fn a_predicate_is_asked_at_once_and_after_each_notification() {
    let condvar = Condvar::new();
    let level = Cell::new(0);
    assert_eq!(block_on(condvar.wait_until(|| level.get() == 0)), Ok(()));
    let mut waiter = TestTask::waiting(condvar.wait_until(|| level.get() == 2));
    level.set(1);
    condvar.notify_one();
    assert!(waiter.is_woken() && waiter.poll().is_pending());
    level.set(2);
    condvar.notify_one();
    assert_eq!(waiter.finish(), Ok(()));
}

#[test]
fn breaking_fails_those_who_wait_and_those_who_come() {
    let condvar = Condvar::new();
    let waiter = TestTask::waiting(condvar.wait_until(|| false));
    condvar.break_all();
    assert_eq!(waiter.finish(), Err(CondvarBroken));
    assert_eq!(block_on(condvar.wait()), Err(CondvarBroken));
    assert_eq!(block_on(condvar.wait_until(|| true)), Ok(()));
}
