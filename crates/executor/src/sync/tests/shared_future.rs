use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::sync::test_executor::{TestTask, block_on};
use crate::sync::{SharedFuture, promise};

#[test]
fn everybody_gets_the_output_of_one_run() {
    let runs = Cell::new(0);
    let (promise, promised) = promise();
    let shared = SharedFuture::new(async {
        runs.set(runs.get() + 1);
        promised.await
    });
    let (first, second) = (TestTask::waiting(shared.get()), TestTask::waiting(shared.get()));
    assert!(shared.peek().is_none() && !shared.is_ready());
    promise.resolve(1).unwrap();
    assert!(first.is_woken() && !second.is_woken(), "one drives");
    assert_eq!((first.finish(), second.finish()), (Ok(1), Ok(1)));
    assert_eq!((block_on(shared.clone().get()), shared.peek(), runs.get()), (Ok(1), Some(Ok(1)), 1));
}

#[test]
fn another_drives_when_the_driver_is_dropped() {
    let (promise, promised) = promise();
    let shared = SharedFuture::new(promised);
    let driver = TestTask::waiting(shared.get());
    let mut other = TestTask::waiting(shared.get());
    drop(driver);
    assert!(other.is_woken() && other.poll().is_pending());
    promise.resolve(1).unwrap();
    assert_eq!(other.finish(), Ok(1));
}

#[test]
fn a_wake_is_not_lost_with_the_driver() {
    let (promise, promised) = promise();
    let shared = SharedFuture::new(promised);
    let driver = TestTask::waiting(shared.get());
    let other = TestTask::waiting(shared.get());
    promise.resolve(1).unwrap();
    assert!(driver.is_woken());
    drop(driver);
    assert_eq!(other.finish(), Ok(1));
}

#[test]
fn the_inner_future_rests_while_nobody_waits_and_is_dropped_once_done() {
    let held = Rc::new(());
    let (promise, promised) = promise::<()>();
    let shared = SharedFuture::new({
        let held = Rc::clone(&held);
        async move {
            promised.await.unwrap();
            Rc::strong_count(&held)
        }
    });
    drop(TestTask::waiting(shared.get()));
    assert_eq!(Rc::strong_count(&held), 2);
    promise.resolve(()).unwrap();
    assert_eq!(block_on(shared.get()), 2);
    assert_eq!(Rc::strong_count(&held), 1);
}

#[test]
fn futures_of_any_type_can_be_shared() {
    let shared: SharedFuture<dyn Future<Output = i32>> = SharedFuture::from_boxed(Box::pin(async { 1 }));
    assert_eq!(block_on(shared.get()), 1);
}

#[test]
fn a_panic_reaches_everybody() {
    let (promise, promised) = promise::<()>();
    let shared = SharedFuture::new(async move {
        let _ = promised.await;
        panic!("inside");
    });
    let (first, second) = (TestTask::<()>::waiting(shared.get()), TestTask::waiting(shared.get()));
    drop(promise);
    assert!(catch_unwind(AssertUnwindSafe(|| first.finish())).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| second.finish())).is_err());
}
