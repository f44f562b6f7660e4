//! Descriptors of others, which only end sleeps.

use std::cell::RefCell;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::event::epoll::{self, EventData, EventFlags};

/// What events of watches carry: numbers from here on, below those of sockets.
const FIRST: u64 = 1;

/// Keys of sockets are above this.
const END: u64 = 1 << 32;

/// Whether an event is of no socket.
pub(super) fn is_no_socket(key: u64) -> bool {
    key < END
}

/// The watches of a driver. Each tells once, so that nobody hears of it while the shard is awake.
#[derive(Default)]
pub(super) struct Watches(RefCell<Vec<Watch>>);

#[derive(Clone, Copy, Default)]
struct Watch {
    is_added: bool,
    armed: Option<EventFlags>,
}

impl Watches {
    pub(super) fn add(&self) -> u32 {
        let mut watches = self.0.borrow_mut();
        watches.push(Watch::default());
        u32::try_from(watches.len() - 1).expect("there are few watches")
    }

    /// Answers whether the kernel had to be told.
    pub(super) fn arm(
        &self,
        epoll: BorrowedFd<'_>,
        number: u32,
        descriptor: BorrowedFd<'_>,
        [readable, writable]: [bool; 2],
    ) -> io::Result<bool> {
        let mut watches = self.0.borrow_mut();
        let watch = watches.get_mut(number as usize).expect("it was added");
        let mut flags = EventFlags::ONESHOT;
        flags.set(EventFlags::IN, readable);
        flags.set(EventFlags::OUT, writable);
        if watch.armed == Some(flags) {
            return Ok(false);
        }
        let data = EventData::new_u64(FIRST + u64::from(number));
        if watch.is_added {
            epoll::modify(epoll, descriptor, data, flags)?;
        } else {
            epoll::add(epoll, descriptor, data, flags)?;
        }
        *watch = Watch { is_added: true, armed: Some(flags) };
        Ok(true)
    }

    /// An event has come, which is the last one.
    pub(super) fn told(&self, key: u64) {
        let place = key.checked_sub(FIRST).and_then(|place| usize::try_from(place).ok());
        let mut watches = self.0.borrow_mut();
        if let Some(watch) = place.and_then(|place| watches.get_mut(place)) {
            watch.armed = None;
        }
    }
}
