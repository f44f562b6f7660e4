//! Drivers: how a shard does input and output, and sleeps.
//!
//! Operations × drivers form a matrix: each driver has the sockets of `sunstar_net::socket`, each in a file of its own.
//! What they share, such as making and binding a socket, is in [`crate::posix`].

pub(crate) mod epoll;
mod file;
pub(crate) mod incoming;
pub(crate) mod outgoing;
mod queue;
mod selection;
#[cfg(test)]
mod testing;
pub(crate) mod uring;
mod waiter;

use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use sunstar_net::Address;
use sunstar_net::socket::{Connecting, DatagramSocket, ListenSocket, StreamSocket};

use crate::io_stats::{IoCounters, IoLevels};
use crate::posix::DetachedStream;
pub(crate) use selection::{make, select};

/// How long a stream that was dropped goes on sending what is in its send queue.
pub(crate) const LINGER_TIME: Duration = Duration::from_secs(10);

/// The kernel's interface by which a shard does input and output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backend {
    /// Completions through a ring shared with the kernel (`io_uring(7)`).
    IoUring,
    /// Readiness, and system calls that don't block (`epoll(7)`).
    Epoll,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        })
    }
}

impl FromStr for Backend {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "io_uring" => Ok(Self::IoUring),
            "epoll" => Ok(Self::Epoll),
            _ => Err("the reactor backends are io_uring and epoll"),
        }
    }
}

/// What a driver does for the platform and for sockets. All on the shard's thread.
///
/// Sockets are made of descriptors that are set to not block. The driver owns them from then on, and closes them after the
/// last operation on them has ended.
pub(crate) trait Driver {
    /// Starts what was asked for and deals with what is there, without blocking; answers whether there was anything.
    ///
    /// Makes no system call if there is nothing to start and nothing can have come without one.
    fn poll(&self) -> bool;

    /// Waits until something is there, a watched bell rings, or the time has passed (for ever if there is none). It may return
    /// early, and does if something was asked for since the last poll. What is there is dealt with by the next poll.
    ///
    /// Answers false if nothing but a signal has ended it: whoever handles one rings a bell if there is something to do.
    fn sleep(&self, timeout: Option<Duration>) -> bool;

    /// Whether sockets that were dropped have something to send, and time left to do so. To be asked between polls.
    fn lingers(&self) -> bool;

    /// Closes what lingers, and lets nothing linger from now on. The shard ends.
    fn finish(&self);

    /// Gives memory back that load has left behind and that nobody uses.
    fn free_unused_memory(&self);

    /// What has been counted.
    fn counters(&self) -> &IoCounters;

    /// What is in use at the moment.
    fn levels(&self) -> IoLevels;

    /// Lets `bell`, an eventfd, end sleeps. Each write to it is one event; nobody reads its count.
    fn watch_bell(&self, bell: BorrowedFd<'_>) -> io::Result<()>;

    /// A place for a descriptor that is no socket of the driver's and ends sleeps.
    fn new_watch(&self) -> u32;

    /// Has a descriptor end the next sleep when it is readable or writable, as asked; always the same one for a watch. It tells once.
    fn arm_watch(&self, watch: u32, descriptor: BorrowedFd<'_>, readable: bool, writable: bool) -> io::Result<()>;

    /// Lets go of a watch's descriptor.
    fn end_watch(&self, watch: u32);

    /// Makes a stream of one that came from another shard, or was accepted.
    fn stream(self: Rc<Self>, stream: DetachedStream) -> io::Result<Rc<dyn StreamSocket>>;

    /// Connects a socket and makes a stream of it.
    fn connect(self: Rc<Self>, descriptor: OwnedFd, to: &Address) -> Connecting;

    /// Accepts from a socket that listens. What it accepts is a [`DetachedStream`] within the [`Detached`].
    ///
    /// [`Detached`]: sunstar_net::socket::Detached
    fn listener(self: Rc<Self>, descriptor: OwnedFd, with_peer: bool) -> io::Result<Rc<dyn ListenSocket>>;

    /// Sends and receives by a bound socket.
    fn datagram(self: Rc<Self>, descriptor: OwnedFd) -> io::Result<Rc<dyn DatagramSocket>>;
}
