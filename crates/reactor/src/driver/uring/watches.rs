//! Descriptors of others, which only end sleeps.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::opcode;
use io_uring::types::Fd;

use super::UringDriver;
use super::sockets::Place;

/// The operations of watches; the number of the watch stands above them.
pub(super) const READABLE: u8 = 2;
pub(super) const WRITABLE: u8 = 3;

/// The watches of a driver. Each operation tells once, so that nobody hears of it while the shard is awake.
#[derive(Default)]
pub(super) struct Watches(RefCell<Vec<Watch>>);

/// Which operations are under way.
#[derive(Default)]
struct Watch {
    readable: Cell<bool>,
    writable: Cell<bool>,
}

impl Watch {
    fn operation(&self, operation: u8) -> &Cell<bool> {
        if operation == READABLE { &self.readable } else { &self.writable }
    }
}

impl Watches {
    pub(super) fn add(&self) -> u32 {
        let mut watches = self.0.borrow_mut();
        watches.push(Watch::default());
        u32::try_from(watches.len() - 1).expect("there are few watches")
    }

    /// Notes that an operation is under way; answers whether it was not.
    fn begin(&self, number: u32, operation: u8) -> bool {
        self.0.borrow().get(number as usize).is_some_and(|watch| !watch.operation(operation).replace(true))
    }

    /// An operation has ended.
    pub(super) fn told(&self, number: u32, operation: u8) {
        if let Some(watch) = self.0.borrow().get(number as usize) {
            watch.operation(operation).set(false);
        }
    }
}

impl UringDriver {
    pub(super) fn arm(&self, number: u32, descriptor: BorrowedFd<'_>, [readable, writable]: [bool; 2]) {
        for (wanted, operation, event) in [(readable, READABLE, libc::POLLIN), (writable, WRITABLE, libc::POLLOUT)] {
            if wanted && self.watches.begin(number, operation) {
                let events = u32::try_from(event).expect("a bit");
                let entry = opcode::PollAdd::new(Fd(descriptor.as_raw_fd()), events).build();
                // SAFETY: the entry points to nothing.
                unsafe { self.ring.push(&entry.user_data(Place::nobody(number).token(operation))) };
            }
        }
    }

    /// Cancels what is under way, which keeps the descriptor's file open.
    pub(super) fn end(&self, number: u32) {
        for operation in [READABLE, WRITABLE] {
            let entry = opcode::AsyncCancel::new(Place::nobody(number).token(operation)).build();
            // SAFETY: the entry points to nothing.
            unsafe { self.ring.push(&entry.user_data(Place::NOBODY.token(0))) };
        }
    }
}
