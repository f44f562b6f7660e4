//! Uses the pure crates without operating system and C library, and exits with 0 if they do what they should.
#![no_std]
#![no_main]

extern crate alloc;

mod bare;

use alloc::boxed::Box;
use core::cell::Cell;
use core::ptr::NonNull;
use core::time::Duration;

use sunstar_executor::Instant;
use sunstar_packet::{Doorbell, HomeNode, HomeOwner};

/// Runs every check and answers the exit status: 0, or the number of the first check that failed.
fn checks() -> u8 {
    let checks: [fn() -> bool; 2] = [instants_add_up, what_was_posted_comes_home];
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

struct Silent;

impl Doorbell for Silent {
    fn ring(&self) {}
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
