//! Uses the pure crates without operating system and C library, and exits with 0 if they do what they should.
#![no_std]
#![no_main]

extern crate alloc;

mod bare;
mod memory;
mod world;

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::Cell;
use core::future::poll_fn;
use core::ptr::NonNull;
use core::task::Poll;
use core::time::Duration;

use sunstar_executor::{Instant, task};
use sunstar_packet::{HomeNode, HomeOwner};

use world::{Silent, drive, shard};

/// Runs every check and answers the exit status: 0, or the number of the first check that failed.
fn checks() -> u8 {
    let checks: [fn() -> bool; 4] =
        [instants_add_up, what_was_posted_comes_home, tasks_run_and_are_joined, wakes_find_their_task];
    for (number, check) in (1..).zip(checks) {
        if !check() {
            return number;
        }
    }
    0
}

fn instants_add_up() -> bool {
    let later = Instant::ORIGIN + Duration::from_micros(3);
    later - Instant::ORIGIN == Duration::from_nanos(3_000) && Instant::FAR_FUTURE + Duration::MAX == Instant::FAR_FUTURE
}

/// A thing that notes its arrival. The node comes first, so that both have the same address.
#[repr(C)]
struct Traveller {
    node: HomeNode,
    arrived: Cell<bool>,
}

/// # Safety
/// `node` must be that of a live `Traveller`.
unsafe fn arrive(node: NonNull<HomeNode>) {
    // SAFETY: the caller vouches for it; the node is the first field of a `repr(C)` struct.
    unsafe { node.cast::<Traveller>().as_ref() }.arrived.set(true);
}

fn what_was_posted_comes_home() -> bool {
    let owner = HomeOwner::new(Box::new(Silent));
    let traveller = Box::new(Traveller { node: HomeNode::new(arrive), arrived: Cell::new(false) });
    let node = NonNull::from(&*traveller).cast::<HomeNode>();
    // SAFETY: the traveller outlives the drain below, is posted once, and `arrive` fits it.
    unsafe { owner.home().post(node) };
    owner.drain() == 1 && traveller.arrived.get() && !owner.has_arrivals()
}

fn tasks_run_and_are_joined() -> bool {
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

fn wakes_find_their_task() -> bool {
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
