//! Connecting.

use std::cell::Cell;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use io_uring::opcode;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrAny};
use sunstar_net::socket::{Connecting, StreamSocket};
use sunstar_net::{Address, Error};

use super::sockets::{Base, Completion, Place, Socket};
use super::{UringDriver, stream};
use crate::driver::waiter::Waiter;
use crate::posix::error::{from_errno, from_io};
use crate::posix::{DetachedStream, address};

/// Connects.
const CONNECT: u8 = 1;

/// A Unix socket whose queue is full is waited for by a thread of the kernel, in turns of so long: now and then such a thread does not
/// notice that it is cancelled.
const FULL_QUEUE_TURN: Duration = Duration::from_millis(100);

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// It is to be started.
    New,
    /// The kernel has it in hand.
    UnderWay,
    /// This is what became of it.
    Done(Result<(), Error>),
    /// Nobody waits for it any more.
    GivenUp,
}

/// A connection in the making, as the table holds it.
struct Connection {
    base: Base,
    phase: Cell<Phase>,
    /// Where to, which the kernel reads.
    to: SocketAddrAny,
    waiter: Waiter,
}

/// What the task waits for.
struct Handle {
    driver: Rc<UringDriver>,
    connection: Rc<Connection>,
}

/// Connects a socket and makes a stream of it.
pub(super) fn connect(driver: Rc<UringDriver>, descriptor: OwnedFd, to: &Address) -> Connecting {
    match begin(driver, descriptor, to) {
        Ok(handle) => Connecting::new(handle),
        Err(error) => Connecting::new(async move { Err(error) }),
    }
}

fn begin(driver: Rc<UringDriver>, descriptor: OwnedFd, to: &Address) -> Result<Handle, Error> {
    let to = address::to_system(to)?;
    rustix::io::ioctl_fionbio(&descriptor, false).map_err(from_errno)?;
    if is_unix(&to) {
        set_socket_timeout(&descriptor, Timeout::Send, Some(FULL_QUEUE_TURN)).map_err(from_errno)?;
    }
    let make = |place: Place| Connection {
        base: Base::new(place, descriptor),
        phase: Cell::new(Phase::New),
        to,
        waiter: Waiter::default(),
    };
    let connection = driver.sockets.insert(make);
    connection.base.touch(&driver);
    Ok(Handle { driver, connection })
}

fn is_unix(to: &SocketAddrAny) -> bool {
    to.address_family() == AddressFamily::UNIX
}

impl Socket for Connection {
    fn base(&self) -> &Base {
        &self.base
    }

    fn start(&self, driver: &UringDriver) {
        match self.phase.get() {
            Phase::New => {
                self.phase.set(Phase::UnderWay);
                let entry = opcode::Connect::new(self.base.fd(), self.to.as_ptr().cast(), self.to.addr_len()).build();
                // SAFETY: the address lies in the socket and is never changed.
                unsafe { self.base.submit(driver, CONNECT, entry) };
            }
            Phase::GivenUp if !self.base.is_busy() => self.base.close(driver),
            _ => {}
        }
    }

    fn complete(&self, driver: &UringDriver, _operation: u8, completion: Completion) {
        self.base.note(&completion);
        if self.phase.get() == Phase::UnderWay {
            let outcome = completion.result.map(drop).map_err(Errno::from_raw_os_error);
            if outcome == Err(Errno::AGAIN) && is_unix(&self.to) {
                self.phase.set(Phase::New);
            } else {
                self.phase.set(Phase::Done(outcome.map_err(from_errno)));
                self.waiter.wake();
            }
        }
        self.base.touch(driver);
    }

    fn stop(&self, driver: &UringDriver) {
        if self.phase.replace(Phase::GivenUp) == Phase::UnderWay {
            self.base.cancel(driver, CONNECT);
        }
        // The kernel may take longer than the shard lives, and so would what the task has left.
        self.waiter.forget();
        self.base.touch(driver);
    }
}

impl Future for Handle {
    type Output = Result<Rc<dyn StreamSocket>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Phase::Done(outcome) = self.connection.phase.get() else {
            self.connection.waiter.wait(cx);
            return Poll::Pending;
        };
        outcome?;
        let descriptor = self.connection.base.take_descriptor().expect("a connected socket is taken but once");
        self.driver.counters().connected.add(1);
        let is_tcp = !is_unix(&self.connection.to);
        if !is_tcp {
            set_socket_timeout(&descriptor, Timeout::Send, None).map_err(from_errno)?;
        }
        let stream = DetachedStream { blocks: true, is_tcp, ..DetachedStream::new(descriptor) };
        Poll::Ready(stream::open(Rc::clone(&self.driver), stream).map_err(from_io))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.connection.stop(&self.driver);
    }
}
