use std::cell::{Cell, RefCell};
use std::future::{pending, ready};
use std::rc::Rc;
use std::vec::Vec;

use crate::sync::test_executor::{TestTask, block_on};
use crate::sync::{AbortSource, Aborted, with_abort};

#[test]
fn abort_is_learned_by_asking_waiting_and_being_called() {
    let source = AbortSource::new();
    let calls = Rc::new(Cell::new(0));
    let subscription = source.subscribe({
        let calls = Rc::clone(&calls);
        move || calls.set(calls.get() + 1)
    });
    let waiter = TestTask::waiting(source.aborted());
    assert_eq!((source.check(), source.abort_requested()), (Ok(()), false));
    source.request_abort();
    source.request_abort();
    assert_eq!((source.check(), source.abort_requested(), calls.get()), (Err(Aborted), true, 1));
    waiter.finish();
    block_on(source.aborted());
    drop(subscription);
    assert_eq!(source.subscribe(|| ()).unwrap_err(), Aborted);
}

#[test]
fn callbacks_run_in_order_unless_their_subscription_is_dropped() {
    let source = Rc::new(AbortSource::new());
    let order = Rc::new(RefCell::new(Vec::new()));
    let note = |number| {
        let order = Rc::clone(&order);
        move || order.borrow_mut().push(number)
    };
    let _first = source.subscribe_owned(note(1)).unwrap();
    drop(source.subscribe_owned(note(2)).unwrap());
    let _third = source.subscribe_owned(note(3)).unwrap();
    source.request_abort();
    assert_eq!(*order.borrow(), [1, 3]);
}

#[test]
fn a_callback_may_drop_a_later_subscription() {
    let source = Rc::new(AbortSource::new());
    let victim = Rc::new(RefCell::new(None));
    let _first = source.subscribe_owned({
        let victim = Rc::clone(&victim);
        move || drop(victim.take())
    });
    *victim.borrow_mut() = Some(source.subscribe_owned(|| panic!("its subscription was dropped")).unwrap());
    source.request_abort();
}

#[test]
fn a_future_is_dropped_on_abort() {
    let source = AbortSource::new();
    let dropped = Cell::new(false);
    let work = async {
        let _guard = Set(&dropped);
        pending::<()>().await;
    };
    let limited = TestTask::waiting(with_abort(&source, work));
    source.request_abort();
    assert_eq!(limited.finish(), Err(Aborted));
    assert!(dropped.get());
}

#[test]
fn an_output_wins_over_an_abort_but_nothing_begins_after_one() {
    let source = AbortSource::new();
    assert_eq!(block_on(with_abort(&source, ready(1))), Ok(1));
    let finished = Cell::new(false);
    let done =
        std::future::poll_fn(|_| if finished.get() { std::task::Poll::Ready(2) } else { std::task::Poll::Pending });
    let limited = TestTask::waiting(with_abort(&source, done));
    finished.set(true);
    source.request_abort();
    assert_eq!(limited.finish(), Ok(2));
    assert_eq!(block_on(with_abort(&source, async { unreachable!("it was aborted before") })), Err::<(), _>(Aborted));
}

#[test]
fn a_callback_that_panics_strands_nobody() {
    let source = Rc::new(AbortSource::new());
    let calls = Rc::new(Cell::new(0));
    let count = || {
        let calls = Rc::clone(&calls);
        move || calls.set(calls.get() + 1)
    };
    let _before = source.subscribe_owned(count()).unwrap();
    let _faulty = source.subscribe_owned(|| panic!("planned")).unwrap();
    let _after: Vec<_> = (0..10_000).map(|_| source.subscribe_owned(count()).unwrap()).collect();
    let waiter = TestTask::waiting(source.aborted());
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| source.request_abort()));
    assert!(outcome.is_err(), "the panic comes through");
    assert_eq!(calls.get(), 10_001);
    waiter.finish();
}

struct Set<'a>(&'a Cell<bool>);

impl Drop for Set<'_> {
    fn drop(&mut self) {
        self.0.set(true);
    }
}
