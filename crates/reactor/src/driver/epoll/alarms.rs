//! What the driver waits for by the clock: rarely anything.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use sunstar_executor::Instant;

use super::descriptor::Watched;

/// Sockets that want to be called when a time has come, unless they are gone by then.
///
/// They are few: those that linger, and listeners and connections that the kernel had no room for.
#[derive(Default)]
pub(super) struct Alarms {
    /// By time, then by the order in which they were set.
    sockets: RefCell<BTreeMap<(Instant, u64), Weak<dyn Watched>>>,
    count: Cell<u64>,
}

impl Alarms {
    /// Has [`Watched::alarm`] called at `deadline`, or soon after.
    pub(super) fn set(&self, deadline: Instant, socket: Weak<dyn Watched>) {
        self.count.set(self.count.get() + 1);
        self.sockets.borrow_mut().insert((deadline, self.count.get()), socket);
    }

    /// Takes a socket off whose time has come, if there is one.
    pub(super) fn pop_due(&self, now: Instant) -> Option<Rc<dyn Watched>> {
        loop {
            let socket = {
                let mut sockets = self.sockets.borrow_mut();
                let first = sockets.first_entry().filter(|first| first.key().0 <= now)?;
                first.remove()
            };
            if let Some(socket) = socket.upgrade() {
                return Some(socket);
            }
        }
    }

    /// The next deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.sockets.borrow().first_key_value().map(|(key, _)| key.0)
    }

    /// Whether none is set.
    pub(super) fn is_empty(&self) -> bool {
        self.sockets.borrow().is_empty()
    }
}
