//! The world of a shard on Linux: epoll to sleep in and eventfds to be woken by. It watches no sockets and no files.

mod wait;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use rustix::event::epoll::{CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use sunstar_executor::{Instant, Platform};
use sunstar_packet::Doorbell;

use crate::clock::Clock;

/// Something that a shard's epoll instance watches.
pub(crate) trait Source {
    /// Whether something is there, known without a system call. Asked on every poll, so it must be cheap.
    fn is_pending(&self) -> bool;

    /// Deals with what is there, on the shard's thread.
    fn handle(&self);
}

/// The epoll driver of one shard. Its clones are handles to the same driver.
#[derive(Clone)]
pub struct EpollPlatform {
    driver: Rc<Driver>,
}

struct Driver {
    epoll: OwnedFd,
    bell: Arc<EventBell>,
    clock: Clock,
    sources: RefCell<Vec<Rc<dyn Source>>>,
    /// How often a source had something.
    events: Cell<u64>,
}

/// A doorbell that is an eventfd.
#[derive(Debug)]
pub(crate) struct EventBell(OwnedFd);

/// A handle to the bell in the form that the executor takes.
struct SharedBell(Arc<EventBell>);

impl EpollPlatform {
    /// A driver for the calling thread.
    ///
    /// # Errors
    /// If the process or the system has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let bell = Arc::new(EventBell::new()?);
        watch(&epoll, bell.0.as_fd())?;
        let sources = RefCell::default();
        let driver = Driver { epoll, bell, clock: Clock::new(), sources, events: Cell::new(0) };
        Ok(Self { driver: Rc::new(driver) })
    }

    /// The doorbell as a shared handle.
    pub(crate) fn bell(&self) -> Arc<EventBell> {
        Arc::clone(&self.driver.bell)
    }

    /// Lets `bell`, an eventfd that whoever fills `source` writes to, end sleeps, and asks `source` on every poll.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn add_source(&self, bell: BorrowedFd<'_>, source: Rc<dyn Source>) -> io::Result<()> {
        watch(&self.driver.epoll, bell)?;
        self.driver.sources.borrow_mut().push(source);
        Ok(())
    }

    /// How often a poll has found something.
    pub(crate) fn events(&self) -> u64 {
        self.driver.events.get()
    }

    /// Deals with all that is there and answers whether there was anything.
    fn handle_sources(&self) -> bool {
        let is_pending = |sources: &Vec<Rc<dyn Source>>| sources.iter().any(|source| source.is_pending());
        if !is_pending(&self.driver.sources.borrow()) {
            return false;
        }
        self.driver.events.set(self.driver.events.get() + 1);
        // Handling may add a source, so the list is not borrowed meanwhile.
        let sources = self.driver.sources.borrow().clone();
        sources.iter().filter(|source| source.is_pending()).for_each(|source| source.handle());
        true
    }
}

/// Eventfds are watched edge-triggered: each write is one event, and nobody needs to read the count back.
fn watch(epoll: &OwnedFd, bell: BorrowedFd<'_>) -> io::Result<()> {
    Ok(epoll::add(epoll, bell, EventData::new_u64(0), EventFlags::IN | EventFlags::ET)?)
}

impl Platform for EpollPlatform {
    #[inline]
    fn now(&self) -> Instant {
        self.driver.clock.now()
    }

    /// # Panics
    /// If the kernel has no entropy to give (older than 3.17, or a filter forbids the call): keys that an
    /// attacker can guess would be worse.
    fn entropy(&self, bytes: &mut [u8]) {
        let mut filled = 0;
        while filled < bytes.len() {
            match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                Err(error) => panic!("the system gives no entropy: {error}"),
            }
        }
    }

    /// Makes no system call: everything that is watched also shows in memory.
    #[inline]
    fn poll(&self) -> bool {
        self.handle_sources()
    }

    fn sleep(&self, deadline: Option<Instant>) {
        loop {
            let timeout = deadline.map(|deadline| deadline.saturating_duration_since(self.now()));
            match wait::wait(self.driver.epoll.as_fd(), timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => panic!("epoll cannot wait on its own descriptor: {error}"),
                Ok(_) => break,
            }
        }
        self.driver.clock.check();
    }

    fn doorbell(&self) -> Box<dyn Doorbell> {
        Box::new(SharedBell(self.bell()))
    }
}

impl fmt::Debug for EpollPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources = self.driver.sources.borrow().len();
        f.debug_struct("EpollPlatform").field("epoll", &self.driver.epoll).field("sources", &sources).finish()
    }
}

impl EventBell {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }
}

impl AsFd for EventBell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Doorbell for EventBell {
    /// Safe to call from signal handlers, which must keep `errno`.
    fn ring(&self) {
        while let Err(Errno::INTR) = rustix::io::write(&self.0, &1_u64.to_ne_bytes()) {}
        // The only other error is that the count is full: then 2^64 - 2 rings are on their way.
    }
}

impl Doorbell for SharedBell {
    fn ring(&self) {
        self.0.ring();
    }
}

#[cfg(test)]
mod tests;
