use std::rc::Rc;

use crate::sync::test_executor::{TestTask, block_on};
use crate::sync::{Queue, QueueClosed, Rejected, TryPopError, TryPushError};

#[test]
fn items_come_out_as_they_went_in() {
    let queue: Queue<i32> = Queue::new(3);
    for item in 0..3 {
        block_on(queue.push(item)).unwrap();
    }
    assert_eq!([block_on(queue.pop()), block_on(queue.pop()), block_on(queue.pop())], [Ok(0), Ok(1), Ok(2)]);
}

#[test]
fn who_pushes_waits_for_room() {
    let queue: Queue<i32> = Queue::new(1);
    queue.try_push(0).unwrap();
    let (first, second) = (TestTask::waiting(queue.push(1)), TestTask::waiting(queue.push(2)));
    assert_eq!(queue.try_pop(), Ok(0));
    assert!(first.is_woken() && !second.is_woken());
    assert_eq!(queue.try_push(3), Err(Rejected { item: 3, error: TryPushError::Full }));
    first.finish().unwrap();
    assert_eq!(queue.try_pop(), Ok(1));
    second.finish().unwrap();
}

#[test]
fn room_granted_to_one_who_is_dropped_goes_to_the_next() {
    let queue: Queue<i32> = Queue::new(1);
    queue.try_push(0).unwrap();
    let (first, second) = (TestTask::waiting(queue.push(1)), TestTask::waiting(queue.push(2)));
    queue.try_pop().unwrap();
    drop(first);
    second.finish().unwrap();
    assert_eq!(queue.try_pop(), Ok(2));
}

#[test]
fn who_pops_waits_for_an_item_that_nobody_else_gets() {
    let queue = Queue::new(2);
    let waiter = TestTask::waiting(queue.pop());
    queue.try_push(1).unwrap();
    assert_eq!(queue.try_pop(), Err(TryPopError::<QueueClosed>::Empty));
    assert_eq!(waiter.finish(), Ok(1));
}

#[test]
fn an_item_granted_to_one_who_is_dropped_goes_to_the_next() {
    let queue: Queue<i32> = Queue::new(2);
    let (first, second) = (TestTask::waiting(queue.pop()), TestTask::waiting(queue.pop()));
    queue.try_push(1).unwrap();
    drop(first);
    assert_eq!(second.finish(), Ok(1));
}

#[test]
fn a_closed_queue_is_emptied_first() {
    let queue = Queue::new(1);
    queue.try_push(1).unwrap();
    let pusher = TestTask::waiting(queue.push(2));
    queue.close("over");
    assert_eq!(pusher.finish(), Err(Rejected { item: 2, error: "over" }));
    assert_eq!(queue.try_push(3), Err(Rejected { item: 3, error: TryPushError::Ended("over") }));
    assert_eq!(block_on(queue.pop()), Ok(1));
    assert_eq!(block_on(queue.pop()), Err("over"));
    assert_eq!(queue.try_pop(), Err(TryPopError::Ended("over")));
}

#[test]
fn the_last_item_of_a_closed_queue_is_not_left_behind() {
    let queue = Queue::new(1);
    let (first, mut second) = (TestTask::waiting(queue.pop()), TestTask::waiting(queue.pop()));
    queue.try_push(1).unwrap();
    queue.close("over");
    assert!(second.poll().is_pending(), "the item may still come to it");
    drop(first);
    assert_eq!(second.finish(), Ok(1));
}

#[test]
fn aborting_drops_the_items_and_fails_everybody() {
    let item = Rc::new(());
    let full = Queue::new(1);
    full.try_push(Rc::clone(&item)).unwrap();
    let pusher = TestTask::waiting(full.push(Rc::clone(&item)));
    full.abort("gone");
    full.abort("once more");
    assert_eq!(pusher.finish().unwrap_err().error, "gone");
    assert_eq!(Rc::strong_count(&item), 1);

    let empty: Queue<i32, &str> = Queue::new(1);
    let popper = TestTask::waiting(empty.pop());
    empty.abort("gone");
    assert_eq!(popper.finish(), Err("gone"));
}

#[test]
fn an_abort_revokes_what_was_granted() {
    let queue = Queue::new(1);
    let popper = TestTask::waiting(queue.pop());
    queue.try_push(1).unwrap();
    queue.abort("gone");
    assert_eq!(popper.finish(), Err("gone"));
}

#[test]
fn more_capacity_lets_pushers_in() {
    let queue: Queue<i32> = Queue::new(1);
    queue.try_push(0).unwrap();
    let tasks = [1, 2, 3].map(|item| TestTask::waiting(queue.push(item)));
    queue.set_capacity(3);
    assert_eq!(tasks.each_ref().map(TestTask::is_woken), [true, true, false]);
}

#[test]
#[should_panic(expected = "without room")]
fn a_queue_has_room() {
    let _ = Queue::<()>::new(0);
}
