use std::future::{pending, ready};
use std::rc::Rc;

use crate::sync::test_executor::{TestTask, block_on};
use crate::sync::{AbortSource, AcquireError, Semaphore, SemaphoreClosed};

#[test]
fn units_come_back_when_the_permit_is_dropped() {
    let semaphore = Semaphore::new(3);
    let permit = block_on(semaphore.acquire(2)).unwrap();
    assert_eq!((permit.units(), semaphore.available_units()), (2, 1));
    drop(permit);
    assert_eq!(semaphore.available_units(), 3);
}

#[test]
fn waiters_are_served_in_order_and_each_is_woken_once_it_can_go_on() {
    let semaphore = Semaphore::new(1);
    let held = semaphore.try_acquire(1).unwrap();
    let first = TestTask::waiting(semaphore.acquire(1));
    let second = TestTask::waiting(semaphore.acquire(1));
    assert_eq!(semaphore.waiters(), 2);
    drop(held);
    assert!(first.is_woken() && !second.is_woken());
    drop(first.finish());
    drop(second.finish().unwrap());
}

#[test]
fn a_large_request_is_not_starved_by_small_ones() {
    let semaphore = Semaphore::new(2);
    let held = semaphore.try_acquire(1).unwrap();
    let large = TestTask::waiting(semaphore.acquire(2));
    let small = TestTask::waiting(semaphore.acquire(1));
    assert!(semaphore.try_acquire(1).is_none() && semaphore.try_acquire(0).is_none());
    drop(held);
    assert!(large.is_woken() && !small.is_woken());
    drop(large);
    assert_eq!(small.finish().unwrap().units(), 1);
}

#[test]
fn who_queues_behind_a_dropped_request_is_looked_at() {
    let semaphore = Semaphore::new(1);
    let large = TestTask::waiting(semaphore.acquire(2));
    let small = TestTask::waiting(semaphore.acquire(1));
    drop(large);
    drop(small.finish().unwrap());
}

#[test]
fn a_refused_try_changes_nothing() {
    let semaphore = Semaphore::new(1);
    assert!(semaphore.try_acquire(2).is_none());
    assert!(Rc::new(Semaphore::new(1)).try_acquire_owned(2).is_none());
    assert_eq!(semaphore.available_units(), 1);
}

#[test]
fn permits_split_merge_return_and_are_forgotten() {
    let semaphore = Semaphore::new(10);
    let mut permit = semaphore.try_acquire(8).unwrap();
    assert!(permit.split(9).is_none());
    let part = permit.split(3).unwrap();
    assert_eq!((permit.units(), part.units()), (5, 3));
    permit.merge(part);
    permit.return_units(2);
    assert_eq!((permit.units(), semaphore.available_units()), (6, 4));
    assert_eq!(permit.forget(), 6);
    assert_eq!(semaphore.available_units(), 4);
    semaphore.add_units(6);
    assert_eq!(semaphore.available_units(), 10);
}

#[test]
#[should_panic(expected = "different semaphores")]
fn permits_of_different_semaphores_do_not_merge() {
    let (a, b) = (Semaphore::new(1), Semaphore::new(1));
    a.try_acquire(1).unwrap().merge(b.try_acquire(1).unwrap());
}

#[test]
#[should_panic(expected = "no more units than it holds")]
fn a_permit_does_not_return_more_than_it_holds() {
    Semaphore::new(3).try_acquire(1).unwrap().return_units(2);
}

#[test]
fn added_units_serve_as_many_as_they_can() {
    let semaphore = Semaphore::new(0);
    let tasks = [1, 2, 3].map(|units| TestTask::waiting(semaphore.acquire(units)));
    semaphore.add_units(4);
    assert_eq!(tasks.each_ref().map(TestTask::is_woken), [true, true, false]);
}

#[test]
fn a_debt_is_paid_before_anything_is_available() {
    let semaphore = Semaphore::new(2);
    let all = semaphore.consume(5);
    assert_eq!((semaphore.available_units(), semaphore.debt()), (0, 3));
    semaphore.add_units(2);
    assert_eq!((semaphore.available_units(), semaphore.debt()), (0, 1));
    drop(all);
    assert_eq!((semaphore.available_units(), semaphore.debt()), (4, 0));
}

#[test]
fn closing_fails_those_who_wait_and_those_who_come_but_keeps_permits() {
    let semaphore = Semaphore::new(1);
    let held = semaphore.try_acquire(1).unwrap();
    let waiter = TestTask::waiting(semaphore.acquire(1));
    semaphore.close();
    assert_eq!(waiter.finish().unwrap_err(), SemaphoreClosed);
    assert_eq!(block_on(semaphore.acquire(0)).unwrap_err(), SemaphoreClosed);
    assert!(semaphore.is_closed() && semaphore.try_acquire(0).is_none());
    drop(held);
    assert_eq!(semaphore.available_units(), 1);
}

#[test]
fn waiting_ends_with_a_timer_or_an_abort() {
    let semaphore = Semaphore::new(0);
    let source = AbortSource::new();
    assert_eq!(block_on(semaphore.acquire_before(ready(()), 1)).unwrap_err(), AcquireError::TimedOut);
    let waiter = TestTask::waiting(semaphore.acquire_unless(&source, 1));
    source.request_abort();
    assert_eq!(waiter.finish().unwrap_err(), AcquireError::Aborted);
    assert_eq!(semaphore.waiters(), 0);
    semaphore.close();
    assert_eq!(block_on(semaphore.acquire_before(pending::<()>(), 1)).unwrap_err(), AcquireError::Closed);
}

#[test]
fn units_are_held_while_a_future_runs() {
    let semaphore = Semaphore::new(1);
    let runs = TestTask::waiting(semaphore.with_units(1, pending::<()>()));
    assert_eq!(semaphore.available_units(), 0);
    drop(runs);
    assert_eq!(block_on(semaphore.with_units(1, ready(7))), Ok(7));
    assert_eq!(semaphore.available_units(), 1);
}

#[test]
fn an_owned_permit_outlives_the_callers_handle() {
    let semaphore = Rc::new(Semaphore::new(1));
    let permit = block_on(Rc::clone(&semaphore).acquire_owned(1)).unwrap();
    drop(semaphore);
    assert_eq!(permit.units(), 1);
}

#[test]
#[should_panic(expected = "async fn` resumed after completion")]
fn a_finished_wait_is_not_polled_again() {
    let semaphore = Semaphore::new(1);
    let mut task = TestTask::new(semaphore.acquire(1));
    assert!(task.poll().is_ready());
    let _ = task.poll();
}
