//! Listeners.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll};

use io_uring::opcode;
use io_uring::types::Timespec;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use sunstar_net::socket::{Detached, ListenSocket};
use sunstar_net::{Address, Error};

use super::UringDriver;
use super::sockets::{Base, Completion, Place, Socket, close};
use crate::driver::waiter::Waiter;
use crate::posix::error::from_errno;
use crate::posix::listener::let_no_more_in;
use crate::posix::{DetachedStream, address};

/// Accepts, for as long as it is not cancelled.
const ACCEPT: u8 = 1;
/// Ends a pause.
const PAUSE: u8 = 2;

/// Accepted connections that wait to be fetched before the listener stops to accept. Further ones wait in the kernel.
const ACCEPT_QUEUE: usize = 256;

/// How long a listener waits after an error that would come again at once, such as that no descriptor is left.
static PAUSE_TIME: Timespec = Timespec::new().nsec(100_000_000);

/// Whether the kernel accepts for the listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Accepting {
    Idle,
    Armed,
    /// It was told to stop, and will say when it has.
    Cancelling,
    /// It failed, and waits for better times.
    Paused,
}

/// What has become of a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Open,
    /// It accepts what is established, and then stops.
    Draining,
    /// Its descriptor is closed as soon as nothing is under way.
    Closing,
}

/// A listener as the table holds it.
struct Listener {
    base: Base,
    phase: Cell<Phase>,
    accepting: Cell<Accepting>,
    accepted: RefCell<VecDeque<OwnedFd>>,
    acceptor: Waiter,
    is_tcp: bool,
    /// Whether each connection's peer is asked for.
    with_peer: bool,
}

/// The handle that tasks have.
struct Handle {
    driver: Rc<UringDriver>,
    listener: Rc<Listener>,
}

/// Accepts from a socket that listens.
pub(super) fn open(driver: Rc<UringDriver>, descriptor: OwnedFd, with_peer: bool) -> io::Result<Rc<dyn ListenSocket>> {
    rustix::io::ioctl_fionbio(&descriptor, false)?;
    let is_tcp = matches!(address::local(descriptor.as_fd()), Ok(Address::Inet(_)));
    let make = |place: Place| Listener {
        base: Base::new(place, descriptor),
        phase: Cell::new(Phase::Open),
        accepting: Cell::new(Accepting::Idle),
        accepted: RefCell::default(),
        acceptor: Waiter::default(),
        is_tcp,
        with_peer,
    };
    let listener = driver.sockets.insert(make);
    Ok(Rc::new(Handle { driver, listener }))
}

impl Listener {
    /// Closes the descriptor at once, so that its address is free. What the kernel still accepts is closed when it says so.
    fn close_now(&self, driver: &UringDriver) {
        self.phase.set(Phase::Closing);
        self.cancel_accept(driver);
        self.base.touch(driver);
        // Accepting holds the file: only when it has ended does closing the descriptor close the socket.
        driver.ring.exchange();
        // An entry that the kernel has not taken would concern whatever gets the number next.
        if driver.ring.is_submitted() {
            drop(self.base.take_descriptor());
        }
    }

    fn start_accept(&self, driver: &UringDriver) {
        let may_accept = self.accepting.get() == Accepting::Idle && self.phase.get() == Phase::Open;
        if !may_accept || self.accepted.borrow().len() > ACCEPT_QUEUE / 2 {
            return;
        }
        self.accepting.set(Accepting::Armed);
        let entry = opcode::AcceptMulti::new(self.base.fd()).flags(libc::SOCK_CLOEXEC).build();
        // SAFETY: the entry points to nothing.
        unsafe { self.base.submit(driver, ACCEPT, entry) };
    }

    fn cancel_accept(&self, driver: &UringDriver) {
        if self.accepting.get() == Accepting::Armed {
            self.accepting.set(Accepting::Cancelling);
            self.base.cancel(driver, ACCEPT);
        }
    }

    fn completed_accept(&self, driver: &UringDriver, completion: Completion) {
        self.base.note(&completion);
        if !completion.has_more() {
            self.accepting.set(Accepting::Idle);
        }
        match completion.result {
            Ok(number) => self.accept(driver, number),
            // Whoever cancelled it knows, or shut the socket down.
            Err(libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {}
            Err(libc::EINVAL) if self.phase.get() == Phase::Draining => {}
            Err(error) => self.accept_failed(driver, Errno::from_raw_os_error(error)),
        }
        if self.accepting.get() == Accepting::Idle {
            self.base.touch(driver);
            self.acceptor.wake();
        }
    }

    fn accept(&self, driver: &UringDriver, number: u32) {
        let number = RawFd::try_from(number).expect("descriptors are small");
        // SAFETY: the kernel has made this descriptor for this completion.
        let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
        if self.phase.get() == Phase::Closing {
            return close(driver, descriptor);
        }
        driver.counters().accepted.add(1);
        self.accepted.borrow_mut().push_back(descriptor);
        if self.accepted.borrow().len() >= ACCEPT_QUEUE {
            self.cancel_accept(driver);
        }
        self.acceptor.wake();
    }

    fn accept_failed(&self, driver: &UringDriver, error: Errno) {
        driver.counters().accept_failures.add(1);
        match error {
            Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => self.pause(driver, error),
            Errno::BADF | Errno::INVAL | Errno::NOTCONN => self.phase.set(Phase::Closing),
            // Something has happened to one connection before it was accepted (accept(2), "Error handling").
            _ => {}
        }
    }

    fn pause(&self, driver: &UringDriver, error: Errno) {
        self.accepting.set(Accepting::Paused);
        driver.warn_of_pause(error);
        let entry = opcode::Timeout::new(&raw const PAUSE_TIME).build();
        // SAFETY: the time is static.
        unsafe { self.base.submit(driver, PAUSE, entry) };
    }

    /// A connection that is there, or that there will be none; nothing if the kernel has the listener in hand.
    fn next(&self, driver: &UringDriver) -> Option<Result<Detached, Error>> {
        let first = self.accepted.borrow_mut().pop_front();
        if let Some(descriptor) = first {
            return Some(Ok(self.detached(descriptor)));
        }
        match self.phase.get() {
            Phase::Open => None,
            Phase::Closing => Some(Err(Error::Stopped)),
            Phase::Draining if self.base.is_busy() => None,
            Phase::Draining => self.drain(driver),
        }
    }

    /// A connection on its way to a shard. Accepting by itself, the kernel does not say from where it comes.
    fn detached(&self, descriptor: OwnedFd) -> Detached {
        let peer = if self.with_peer { address::peer(descriptor.as_fd()).ok() } else { None };
        Detached::new(DetachedStream { blocks: true, is_tcp: self.is_tcp, ..DetachedStream::new(descriptor) }, peer)
    }

    /// Accepts what is established, once the kernel does not accept by itself any more; nothing while that can't be done.
    fn drain(&self, driver: &UringDriver) -> Option<Result<Detached, Error>> {
        let accept = |socket: BorrowedFd<'_>| Ok(accept_with(socket, SocketFlags::CLOEXEC));
        while self.phase.get() == Phase::Draining {
            match self.base.with_descriptor(accept) {
                Ok(Ok(descriptor)) => {
                    driver.counters().accepted.add(1);
                    return Some(Ok(self.detached(descriptor)));
                }
                Ok(Err(Errno::AGAIN | Errno::INVAL)) | Err(_) => break,
                Ok(Err(Errno::INTR)) => {}
                Ok(Err(error)) => self.accept_failed(driver, error),
            }
            if self.base.is_busy() {
                // Until the pause is over.
                return None;
            }
        }
        self.close_now(driver);
        Some(Err(Error::Stopped))
    }
}

impl Socket for Listener {
    fn base(&self) -> &Base {
        &self.base
    }

    fn start(&self, driver: &UringDriver) {
        self.start_accept(driver);
        if self.phase.get() == Phase::Open {
            return;
        }
        self.cancel_accept(driver);
        if self.phase.get() != Phase::Closing {
            return;
        }
        if self.accepting.get() == Accepting::Paused {
            self.base.cancel(driver, PAUSE);
        }
        if !self.base.is_busy() {
            self.base.close(driver);
        }
    }

    fn complete(&self, driver: &UringDriver, operation: u8, completion: Completion) {
        if operation == ACCEPT {
            self.completed_accept(driver, completion);
        } else {
            self.base.note(&completion);
            self.accepting.set(Accepting::Idle);
            self.base.touch(driver);
        }
        if !self.base.is_busy() {
            self.acceptor.wake();
            self.base.touch(driver);
        }
    }

    fn stop(&self, driver: &UringDriver) {
        self.phase.set(Phase::Closing);
        drop(self.accepted.take());
        self.base.touch(driver);
    }
}

impl ListenSocket for Handle {
    fn local_address(&self) -> Result<Address, Error> {
        self.listener.base.with_descriptor(address::local)
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Result<Detached, Error>> {
        let listener = &*self.listener;
        let next = listener.next(&self.driver);
        if listener.accepting.get() == Accepting::Idle && listener.accepted.borrow().len() <= ACCEPT_QUEUE / 2 {
            listener.base.touch(&self.driver);
        }
        match next {
            Some(answer) => Poll::Ready(answer),
            None => {
                listener.acceptor.wait(cx);
                Poll::Pending
            }
        }
    }

    fn close(&self) {
        if self.listener.phase.get() == Phase::Open {
            self.listener.phase.set(Phase::Draining);
            // Where this fails, some that come in meanwhile are reset. What is drained is accepted by calls that must not block.
            let _ = self.listener.base.with_descriptor(|listener| {
                let _ = let_no_more_in(listener, self.listener.is_tcp);
                rustix::io::ioctl_fionbio(listener, true).map_err(from_errno)
            });
            self.listener.base.touch(&self.driver);
            self.listener.acceptor.wake();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let accepted = self.listener.accepted.take();
        drop(accepted);
        // The kernel may take longer than the shard lives, and so would what the task has left.
        self.listener.acceptor.forget();
        if self.listener.phase.get() != Phase::Closing {
            self.listener.close_now(&self.driver);
        }
    }
}
