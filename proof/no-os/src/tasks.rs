//! Checks of the executor.

use alloc::rc::Rc;
use core::cell::Cell;
use core::future::poll_fn;
use core::task::Poll;
use core::time::Duration;

use sunstar_executor::message::submit_to;
use sunstar_executor::sync::Semaphore;
use sunstar_executor::{Instant, task, timer};

use crate::world::{drive, shard, shards};

pub(crate) fn instants_add_up() -> bool {
    let later = Instant::ORIGIN + Duration::from_micros(3);
    later - Instant::ORIGIN == Duration::from_nanos(3_000) && Instant::FAR_FUTURE + Duration::MAX == Instant::FAR_FUTURE
}

pub(crate) fn tasks_run_and_are_joined() -> bool {
    let executor = shard();
    let sum = Rc::new(Cell::new(0));
    let total = Rc::clone(&sum);
    executor.spawn(async move {
        let parts: [_; 3] = core::array::from_fn(|part| task::spawn(async move { part + 1 }));
        for part in parts {
            total.set(total.get() + part.await.unwrap_or(100));
        }
    });
    drive(&executor, 100);
    sum.get() == 6
}

pub(crate) fn wakes_find_their_task() -> bool {
    let executor = shard();
    let polls = Rc::new(Cell::new(0));
    let counter = Rc::clone(&polls);
    executor.spawn(poll_fn(move |context| {
        counter.set(counter.get() + 1);
        context.waker().wake_by_ref();
        if counter.get() < 5 { Poll::Pending } else { Poll::Ready(()) }
    }));
    drive(&executor, 100);
    polls.get() == 5
}

pub(crate) fn timers_fire_in_order() -> bool {
    let executor = shard();
    let order = Rc::new(Cell::new(0));
    for digit in [3, 1, 2] {
        let order = Rc::clone(&order);
        executor.spawn(async move {
            timer::sleep(Duration::from_millis(digit)).await;
            order.set(order.get() * 10 + digit);
        });
    }
    drive(&executor, 100);
    order.get() == 123 && executor.platform().now() >= Instant::ORIGIN + Duration::from_millis(3)
}

pub(crate) fn tasks_wait_for_each_other() -> bool {
    let executor = shard();
    let semaphore = Rc::new(Semaphore::new(1));
    let served = Rc::new(Cell::new(0));
    for _ in 0..3 {
        let (semaphore, served) = (Rc::clone(&semaphore), Rc::clone(&served));
        executor.spawn(async move {
            if let Ok(permit) = semaphore.acquire(1).await {
                timer::sleep(Duration::from_millis(1)).await;
                served.set(served.get() + 1);
                drop(permit);
            }
        });
    }
    drive(&executor, 100);
    served.get() == 3 && executor.platform().now() >= Instant::ORIGIN + Duration::from_millis(3)
}

pub(crate) fn shards_answer_each_other() -> bool {
    let shards = shards(2);
    let [here, there] = shards.as_slice() else { return false };
    let answer = Rc::new(Cell::new(0));
    let (received, destination) = (Rc::clone(&answer), there.id());
    here.spawn(async move {
        if let Ok(sum) = submit_to(destination, async || 40 + 2).await {
            received.set(sum);
        }
    });
    for _ in 0..10 {
        shards.iter().for_each(|shard| drive(shard, 10));
    }
    answer.get() == 42
}
