//! A descriptor that is watched from the first time on that it would have blocked.

use std::cell::{Cell, Ref, RefCell};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::event::epoll::{self, EventData, EventFlags};
use sunstar_net::Error;

use super::EpollDriver;
use crate::posix::error::from_errno;

/// What the driver tells a socket.
pub(super) trait Watched {
    /// Something has become possible, in the bits of `epoll_ctl(2)`.
    fn ready(self: Rc<Self>, events: u32);

    /// Try to send what was queued.
    fn flush(self: Rc<Self>) {}

    /// The shard ends: close what has no handle any more.
    fn finish(self: Rc<Self>) {}

    /// The time has come that was asked for.
    fn alarm(self: Rc<Self>) {}
}

/// A socket's descriptor, its driver, and its place among those that are watched.
pub(super) struct Descriptor {
    pub(super) driver: Rc<EpollDriver>,
    descriptor: RefCell<Option<OwnedFd>>,
    /// Zero while it is not watched.
    key: Cell<u64>,
}

impl Descriptor {
    pub(super) fn new(driver: Rc<EpollDriver>, descriptor: OwnedFd) -> Self {
        driver.open_sockets.set(driver.open_sockets.get() + 1);
        Self { driver, descriptor: RefCell::new(Some(descriptor)), key: Cell::new(0) }
    }

    /// Calls `f` with the descriptor, which it must not close.
    ///
    /// # Errors
    /// [`Error::NotConnected`] if it was closed.
    pub(super) fn with<R>(&self, f: impl FnOnce(BorrowedFd<'_>) -> Result<R, Error>) -> Result<R, Error> {
        f(self.borrow().ok_or(Error::NotConnected)?.as_fd())
    }

    /// The descriptor, if it was not closed. It can't be closed as long as the answer lives.
    pub(super) fn borrow(&self) -> Option<Ref<'_, OwnedFd>> {
        Ref::filter_map(self.descriptor.borrow(), Option::as_ref).ok()
    }

    /// Whether it was closed, or given away.
    pub(super) fn is_closed(&self) -> bool {
        self.descriptor.borrow().is_none()
    }

    /// Whether events come.
    pub(super) fn is_watched(&self) -> bool {
        self.key.get() != 0
    }

    /// Has events reported to `socket` from now on, and what is possible already as the first one.
    ///
    /// # Errors
    /// If the system has no memory or the user no watches left.
    pub(super) fn watch(&self, socket: Rc<dyn Watched>) -> Result<(), Error> {
        if self.is_watched() {
            return Ok(());
        }
        let descriptor = self.borrow().ok_or(Error::NotConnected)?;
        let key = self.driver.table.borrow_mut().insert(socket);
        let events = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::PRI | EventFlags::ET;
        self.driver.counters.system_calls.add(1);
        let added = epoll::add(&self.driver.epoll, &*descriptor, EventData::new_u64(key), events);
        drop(descriptor);
        self.key.set(key);
        added.map_err(|error| {
            self.forget();
            from_errno(error)
        })
    }

    /// Takes the descriptor away. Nobody watches it any more.
    pub(super) fn take(&self) -> Option<OwnedFd> {
        let descriptor = self.release()?;
        if self.is_watched() {
            self.driver.counters.system_calls.add(1);
            // It can't fail while the descriptor is open.
            let _ = epoll::delete(&self.driver.epoll, &descriptor);
            self.forget();
        }
        Some(descriptor)
    }

    /// Closes the descriptor. Events that are on their way find nobody.
    pub(super) fn close(&self) {
        // Closing takes it off the watched ones, as no copy of it exists.
        if let Some(descriptor) = self.release() {
            self.driver.counters.system_calls.add(1);
            drop(descriptor);
        }
        self.forget();
    }

    fn release(&self) -> Option<OwnedFd> {
        let descriptor = self.descriptor.take()?;
        self.driver.open_sockets.set(self.driver.open_sockets.get() - 1);
        Some(descriptor)
    }

    fn forget(&self) {
        let key = self.key.take();
        if key != 0 {
            let socket = self.driver.table.borrow_mut().remove(key);
            drop(socket);
        }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        drop(self.release());
    }
}
