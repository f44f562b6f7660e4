//! Sockets that listen.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with};
use sunstar_executor::Instant;
use sunstar_net::socket::{Detached, ListenSocket};
use sunstar_net::{Address, Error, UnixAddress};

use super::EpollDriver;
use super::descriptor::{Descriptor, Watched};
use crate::driver::waiter::Waiter;
use crate::posix::error::from_errno;
use crate::posix::listener::let_no_more_in;
use crate::posix::{DetachedStream, address};

/// Connections that are accepted before others get their turn.
const ACCEPTS_AT_ONCE: u32 = 64;

/// How long nothing is accepted when the process or the system lacks something for it. What waits, waits in the kernel.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// How much time lies between two reports of such shortages.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// The handle of a socket that listens: dropping it closes the socket.
pub(super) struct Listener(Rc<Core>);

struct Core {
    descriptor: Descriptor,
    acceptor: Waiter,
    /// Whether a connection may wait. Set again by an event.
    may_accept: Cell<bool>,
    /// Whether the listener waits until a shortage may be over.
    is_paused: Cell<bool>,
    reported: Cell<Option<Instant>>,
    is_closing: Cell<bool>,
    is_tcp: bool,
    /// In which poll of the driver connections were accepted last, and how many.
    turn: Cell<(u64, u32)>,
}

impl Listener {
    pub(super) fn open(driver: Rc<EpollDriver>, descriptor: OwnedFd) -> Rc<dyn ListenSocket> {
        let is_tcp = matches!(address::local(descriptor.as_fd()), Ok(Address::Inet(_)));
        Rc::new(Self(Rc::new(Core {
            descriptor: Descriptor::new(driver, descriptor),
            acceptor: Waiter::default(),
            may_accept: Cell::new(true),
            is_paused: Cell::new(false),
            reported: Cell::new(None),
            is_closing: Cell::new(false),
            is_tcp,
            turn: Cell::new((0, 0)),
        })))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.descriptor.close();
    }
}

impl ListenSocket for Listener {
    fn local_address(&self) -> Result<Address, Error> {
        self.0.descriptor.with(address::local)
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Result<Detached, Error>> {
        let answer = self.0.poll_accept();
        if answer.is_pending() {
            self.0.acceptor.wait(cx);
        }
        answer
    }

    fn close(&self) {
        let core = &self.0;
        if !core.is_closing.get() {
            // Where this fails, some that come in meanwhile are reset.
            let _ = core.descriptor.with(|listener| let_no_more_in(listener, core.is_tcp).map_err(from_errno));
        }
        core.is_closing.set(true);
        core.may_accept.set(true);
        core.acceptor.wake();
    }
}

impl Core {
    fn poll_accept(self: &Rc<Self>) -> Poll<Result<Detached, Error>> {
        let driver = &self.descriptor.driver;
        while self.may_accept.get() && !self.is_paused.get() {
            if self.takes_too_long() {
                // Not an event, but the next poll wakes it like one.
                driver.flush_later(Rc::clone(self) as Rc<dyn Watched>);
                return Poll::Pending;
            }
            match self.accept() {
                Ok((descriptor, peer)) => {
                    driver.counters.accepted.add(1);
                    return Poll::Ready(Ok(self.detached(descriptor, peer)));
                }
                Err(Errno::AGAIN) => self.may_accept.set(false),
                Err(Errno::INTR) => {}
                Err(Errno::BADF | Errno::INVAL | Errno::NOTCONN) => {
                    self.descriptor.close();
                    return Poll::Ready(Err(Error::Stopped));
                }
                Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => self.pause(error),
                // Something has happened to one connection before it was accepted (accept(2), "Error handling").
                Err(_) => driver.counters.accept_failures.add(1),
            }
        }
        if self.is_closing.get() && !self.is_paused.get() {
            self.descriptor.close();
            return Poll::Ready(Err(Error::Stopped));
        }
        match self.descriptor.watch(Rc::clone(self) as Rc<dyn Watched>) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn accept(&self) -> Result<(OwnedFd, Option<SocketAddrAny>), Errno> {
        let descriptor = self.descriptor.borrow().ok_or(Errno::NOTCONN)?;
        self.descriptor.driver.counters.system_calls.add(1);
        acceptfrom_with(&*descriptor, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
    }

    fn detached(&self, descriptor: OwnedFd, peer: Option<SocketAddrAny>) -> Detached {
        let peer = match peer.map(address::from_system) {
            None if !self.is_tcp => Some(Address::Unix(UnixAddress::Unnamed)),
            peer => peer.and_then(Result::ok),
        };
        Detached::new(DetachedStream { is_tcp: self.is_tcp, ..DetachedStream::new(descriptor) }, peer)
    }

    /// Counts the connections that are accepted between two polls of the driver.
    fn takes_too_long(&self) -> bool {
        let poll = self.descriptor.driver.polls.get();
        let (last, count) = self.turn.get();
        let count = if last == poll { count + 1 } else { 1 };
        self.turn.set((poll, count));
        count > ACCEPTS_AT_ONCE
    }

    fn pause(self: &Rc<Self>, errno: Errno) {
        let driver = &self.descriptor.driver;
        driver.counters.accept_failures.add(1);
        let now = driver.now();
        if self.reported.get().is_none_or(|reported| now - reported >= REPORT_INTERVAL) {
            self.reported.set(Some(now));
            log::warn!("cannot accept: {}; trying again every {SHORTAGE_PAUSE:?}", from_errno(errno));
        }
        self.is_paused.set(true);
        driver.alarms.set(now + SHORTAGE_PAUSE, Rc::downgrade(self) as _);
    }
}

impl Watched for Core {
    fn ready(self: Rc<Self>, _events: u32) {
        self.may_accept.set(true);
        self.acceptor.wake();
    }

    fn flush(self: Rc<Self>) {
        self.acceptor.wake();
    }

    fn alarm(self: Rc<Self>) {
        self.is_paused.set(false);
        self.acceptor.wake();
    }
}
