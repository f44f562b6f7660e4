//! The world of a shard on Linux: a driver to do input and output and to sleep in, a clock, and bells to be woken by.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use sunstar_executor::{Instant, Platform};
use sunstar_packet::Doorbell;

use crate::bell::{EventBell, SharedBell};
use crate::clock::{self, Clock};
use crate::driver::{self, Backend, Driver};
use crate::time_stats::TimeCounters;

/// Polls of an idle round. With one that calls the kernel they take about a microsecond, which timers can wait.
const IDLE_POLLS: u32 = 4;

/// Something that fills a place in memory and rings a bell.
pub(crate) trait Source {
    /// Whether something is there, known without a system call. Asked on every poll, so it must be cheap.
    fn is_pending(&self) -> bool;

    /// Deals with what is there, on the shard's thread.
    fn handle(&self);
}

/// The platform of one shard. Its clones are handles to the same one.
#[derive(Clone)]
pub struct LinuxPlatform {
    inner: Rc<Inner>,
}

struct Inner {
    driver: Rc<dyn Driver>,
    bell: Arc<EventBell>,
    clock: Clock,
    sources: RefCell<Vec<Rc<dyn Source>>>,
    /// How often a source had something.
    events: Cell<u64>,
    times: TimeCounters,
}

impl LinuxPlatform {
    /// A platform for the calling thread, on the best backend that works here.
    ///
    /// # Errors
    /// If the process or the system has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        Self::with_backend(None)
    }

    /// A platform for the calling thread, on a backend that may be chosen.
    ///
    /// # Errors
    /// If the process or the system has no file descriptor left, or the backend does not work here.
    pub fn with_backend(backend: Option<Backend>) -> io::Result<Self> {
        let backend = backend.map_or_else(|| driver::select(None, 1).map(|selection| selection.backend), Ok)?;
        let driver = driver::make(backend)?;
        let bell = Arc::new(EventBell::new()?);
        driver.watch_bell(bell.as_fd())?;
        let inner = Inner {
            driver,
            bell,
            clock: Clock::new(),
            sources: RefCell::default(),
            events: Cell::new(0),
            times: TimeCounters::default(),
        };
        Ok(Self { inner: Rc::new(inner) })
    }

    /// The driver by which sockets are made.
    pub(crate) fn driver(&self) -> Rc<dyn Driver> {
        Rc::clone(&self.inner.driver)
    }

    /// The doorbell as a shared handle.
    pub(crate) fn bell(&self) -> Arc<EventBell> {
        Arc::clone(&self.inner.bell)
    }

    /// Lets `bell`, an eventfd that whoever fills `source` writes to, end sleeps, and asks `source` on every poll.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn add_source(&self, bell: BorrowedFd<'_>, source: Rc<dyn Source>) -> io::Result<()> {
        self.driver().watch_bell(bell)?;
        self.inner.sources.borrow_mut().push(source);
        Ok(())
    }

    /// Gives memory back that load has left behind and that nobody uses.
    pub(crate) fn free_unused_memory(&self) {
        self.inner.driver.free_unused_memory();
    }

    /// What the shard does with its time.
    pub(crate) fn times(&self) -> &TimeCounters {
        &self.inner.times
    }

    /// How often a poll has found something.
    pub(crate) fn events(&self) -> u64 {
        self.inner.events.get()
    }

    fn count_event(&self) {
        self.inner.events.set(self.inner.events.get() + 1);
    }

    /// Deals with all that is there and answers whether there was anything.
    fn handle_sources(&self) -> bool {
        let is_pending = |sources: &Vec<Rc<dyn Source>>| sources.iter().any(|source| source.is_pending());
        if !is_pending(&self.inner.sources.borrow()) {
            return false;
        }
        self.count_event();
        // Handling may add a source, so the list is not borrowed meanwhile.
        let sources = self.inner.sources.borrow().clone();
        sources.iter().filter(|source| source.is_pending()).for_each(|source| source.handle());
        true
    }
}

impl Platform for LinuxPlatform {
    #[inline]
    fn now(&self) -> Instant {
        self.inner.clock.now()
    }

    fn unix_time(&self) -> Duration {
        clock::unix_time()
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

    #[inline]
    fn poll(&self) -> bool {
        let found = self.inner.driver.poll();
        if found {
            self.count_event();
        }
        self.handle_sources() || found
    }

    #[inline]
    fn idle_polls(&self) -> u32 {
        IDLE_POLLS
    }

    fn sleep(&self, deadline: Option<Instant>) {
        // Of a signal with something to do a bell tells. Others, such as the one that looks for stalls, disturb no sleep.
        loop {
            let timeout = deadline.map(|deadline| deadline.saturating_duration_since(self.now()));
            if self.inner.driver.sleep(timeout) {
                break;
            }
        }
        self.inner.clock.check();
    }

    fn doorbell(&self) -> Box<dyn Doorbell> {
        Box::new(SharedBell(self.bell()))
    }
}

impl fmt::Debug for LinuxPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources = self.inner.sources.borrow().len();
        f.debug_struct("LinuxPlatform").field("sources", &sources).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
