use std::rc::Rc;

use crate::sync::test_executor::{TestTask, block_on};
use crate::sync::{BrokenPromise, Promise, promise};

#[test]
fn a_promise_may_be_kept_before_or_after_the_wait_begins() {
    let (first, promised) = promise();
    first.resolve(1).unwrap();
    assert!(promised.is_ready());
    assert_eq!(block_on(promised), Ok(1));

    let (second, promised) = promise();
    let waiter = TestTask::waiting(promised);
    second.resolve(2).unwrap();
    assert_eq!(waiter.finish(), Ok(2));
}

#[test]
fn a_dropped_promise_is_a_broken_one() {
    let (promise, promised) = promise::<()>();
    let waiter = TestTask::waiting(promised);
    drop(promise);
    assert_eq!(waiter.finish(), Err(BrokenPromise));
}

#[test]
fn an_abandoned_promise_gives_the_value_back() {
    let (promise, promised) = promise();
    assert!(!promise.is_abandoned());
    drop(TestTask::waiting(promised));
    assert!(promise.is_abandoned());
    assert_eq!(promise.resolve(3), Err(3));
}

#[test]
fn a_value_that_nobody_looked_at_is_dropped_with_the_other_side() {
    let (promise, promised): (Promise<Rc<()>>, _) = promise();
    let value = Rc::new(());
    promise.resolve(Rc::clone(&value)).unwrap();
    assert_eq!(Rc::strong_count(&value), 2);
    drop(promised);
    assert_eq!(Rc::strong_count(&value), 1);
}

#[test]
fn a_value_is_delivered_once() {
    let (promise, promised) = promise();
    promise.resolve(1).unwrap();
    let mut promised = TestTask::new(promised);
    assert_eq!(promised.poll(), std::task::Poll::Ready(Ok(1)));
    assert_eq!(promised.poll(), std::task::Poll::Ready(Err(BrokenPromise)));
}
