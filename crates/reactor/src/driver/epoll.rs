//! The driver on `epoll(7)`.

mod wait;

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use sunstar_net::socket::{Connecting, DatagramSocket, ListenSocket, StreamSocket};
use sunstar_net::{Address, Error};

use super::Driver;
use crate::io_stats::IoCounters;
use crate::posix::DetachedStream;

/// The epoll driver of one shard.
pub(crate) struct EpollDriver {
    epoll: OwnedFd,
    /// Sockets that are watched. Without any, a poll needs no system call: bells end sleeps only.
    sockets: Cell<usize>,
    counters: IoCounters,
}

impl EpollDriver {
    /// A driver for the calling thread.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, sockets: Cell::new(0), counters: IoCounters::default() })
    }
}

/// Eventfds are watched edge-triggered: each write is one event, and nobody needs to read the count back.
fn watch_bell(epoll: BorrowedFd<'_>, bell: BorrowedFd<'_>) -> io::Result<()> {
    Ok(epoll::add(epoll, bell, EventData::new_u64(0), EventFlags::IN | EventFlags::ET)?)
}

impl Driver for EpollDriver {
    fn poll(&self) -> bool {
        self.sockets.get() > 0
    }

    fn sleep(&self, timeout: Option<Duration>) {
        let mut events: wait::Events = [libc::epoll_event { events: 0, u64: 0 }; _];
        match wait::wait(self.epoll.as_fd(), &mut events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                panic!("epoll cannot wait on its own descriptor: {error}")
            }
            _ => {}
        }
    }

    fn watch_bell(&self, bell: BorrowedFd<'_>) -> io::Result<()> {
        watch_bell(self.epoll.as_fd(), bell)
    }

    fn lingers(&self) -> bool {
        false
    }

    fn finish(&self) {}

    fn counters(&self) -> &IoCounters {
        &self.counters
    }

    fn stream(self: Rc<Self>, _stream: DetachedStream) -> io::Result<Rc<dyn StreamSocket>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn connect(self: Rc<Self>, _descriptor: OwnedFd, _to: &Address) -> Connecting {
        Box::pin(async { Err(Error::Unsupported) })
    }

    fn listener(self: Rc<Self>, _descriptor: OwnedFd) -> io::Result<Rc<dyn ListenSocket>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn datagram(self: Rc<Self>, _descriptor: OwnedFd) -> io::Result<Rc<dyn DatagramSocket>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
