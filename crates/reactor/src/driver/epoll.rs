//! The driver on `epoll(7)`.
//!
//! Sockets call first and ask afterwards: they try an operation when somebody wants its result, and only one that would block
//! has the descriptor watched, edge-triggered, from then on. So bytes stay in the kernel until they are read, which is the
//! back-pressure that the peer feels. What is to be sent waits for the round's end, so that it leaves together.

mod alarms;
mod connect;
mod datagram;
mod descriptor;
mod frames;
mod listener;
mod stream;
mod table;
mod wait;
mod watches;

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use sunstar_executor::Instant;
use sunstar_net::Address;
use sunstar_net::socket::{Connecting, DatagramSocket, ListenSocket, StreamSocket};

use super::Driver;
use crate::clock::Clock;
use crate::io_stats::{IoCounters, IoLevels};
use crate::posix::DetachedStream;
use alarms::Alarms;
use descriptor::Watched;
use frames::Frames;
use table::{BELL, Table};
use watches::Watches;

/// The epoll driver of one shard.
pub(crate) struct EpollDriver {
    epoll: OwnedFd,
    /// Sockets that are watched. Without any, a poll needs no system call: bells end sleeps only.
    table: RefCell<Table>,
    /// Sockets that have something to send which they have not tried to send yet.
    dirty: RefCell<Vec<Rc<dyn Watched>>>,
    alarms: Alarms,
    watches: Watches,
    /// Events of sockets that were taken and not dealt with yet.
    arrived: Cell<usize>,
    /// Whether a sleep has just taken what events there were.
    has_slept: Cell<bool>,
    events: RefCell<wait::Events>,
    frames: Frames,
    clock: Clock,
    /// Streams that were dropped and still send.
    lingering: Cell<usize>,
    /// Whether nothing lingers any more, since the shard ends.
    is_finished: Cell<bool>,
    /// How many polls there were.
    polls: Cell<u64>,
    open_sockets: Cell<usize>,
    counters: IoCounters,
}

impl EpollDriver {
    /// A driver for the calling thread.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            table: RefCell::default(),
            dirty: RefCell::default(),
            alarms: Alarms::default(),
            watches: Watches::default(),
            arrived: Cell::new(0),
            has_slept: Cell::new(false),
            events: RefCell::new([libc::epoll_event { events: 0, u64: 0 }; _]),
            frames: Frames::new(),
            clock: Clock::new(),
            lingering: Cell::new(0),
            is_finished: Cell::new(false),
            polls: Cell::new(0),
            open_sockets: Cell::new(0),
            counters: IoCounters::default(),
        })
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Lets a socket send at the end of the round. After the last round nobody would, and the two would hold each other for ever.
    fn flush_later(&self, socket: Rc<dyn Watched>) {
        if !self.is_finished.get() {
            self.dirty.borrow_mut().push(socket);
        }
    }

    /// Lets sockets send what they were given since the last time. Some may ask for another turn.
    fn flush(&self) {
        if self.dirty.borrow().is_empty() {
            return;
        }
        let mut dirty = self.dirty.take();
        dirty.drain(..).for_each(|socket| socket.flush());
        let mut again = self.dirty.borrow_mut();
        dirty.append(&mut again);
        *again = dirty;
    }

    /// Waits for events; they are kept for [`EpollDriver::dispatch`].
    fn wait(&self, timeout: Option<Duration>) -> bool {
        self.counters.system_calls.add(1);
        let mut events = self.events.borrow_mut();
        match wait::wait(self.epoll.as_fd(), &mut events, timeout) {
            Ok(count) => {
                self.arrived.set(self.sockets_first(&mut events[..count]));
                true
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => false,
            Err(error) => panic!("epoll cannot wait on its own descriptor: {error}"),
        }
    }

    /// Moves the events of sockets to the front, and answers how many there are. A bell, or a watch, has done its work when the wait
    /// ends.
    fn sockets_first(&self, events: &mut [libc::epoll_event]) -> usize {
        let mut count = 0;
        for place in 0..events.len() {
            let key = events[place].u64;
            if watches::is_no_socket(key) {
                self.watches.told(key);
            } else {
                events.swap(count, place);
                count += 1;
            }
        }
        count
    }

    /// Tells sockets of the events that have arrived, and answers whether there were any.
    fn dispatch(&self) -> bool {
        let mut found = false;
        for place in 0..self.arrived.take() {
            let event = self.events.borrow()[place];
            // A socket may have been closed since the event was taken, by somebody whom an earlier one woke.
            let socket = self.table.borrow().find(event.u64);
            if let Some(socket) = socket {
                socket.ready(event.events);
                found = true;
            }
        }
        found
    }

    /// Lets what was waited for long enough go on.
    fn ring_alarms(&self) -> bool {
        let mut found = false;
        if !self.alarms.is_empty() {
            let now = self.now();
            while let Some(socket) = self.alarms.pop_due(now) {
                socket.alarm();
                found = true;
            }
        }
        found
    }
}

/// Eventfds are watched edge-triggered: each write is one event, and nobody needs to read the count back.
fn watch_bell(epoll: BorrowedFd<'_>, bell: BorrowedFd<'_>) -> io::Result<()> {
    Ok(epoll::add(epoll, bell, EventData::new_u64(BELL), EventFlags::IN | EventFlags::ET)?)
}

impl Driver for EpollDriver {
    fn poll(&self) -> bool {
        self.polls.set(self.polls.get() + 1);
        self.flush();
        if !self.has_slept.take() && !self.table.borrow().is_empty() {
            self.wait(Some(Duration::ZERO));
        }
        let found = self.dispatch();
        self.ring_alarms() || found
    }

    fn sleep(&self, timeout: Option<Duration>) -> bool {
        // Sending may wake tasks, so it is for the next poll.
        if self.arrived.get() > 0 || !self.dirty.borrow().is_empty() {
            return true;
        }
        let until_alarm = self.alarms.next().map(|next| next.saturating_duration_since(self.now()));
        let was_woken = self.wait([timeout, until_alarm].into_iter().flatten().min());
        self.has_slept.set(true);
        was_woken
    }

    fn lingers(&self) -> bool {
        self.lingering.get() > 0 || !self.dirty.borrow().is_empty()
    }

    fn finish(&self) {
        self.is_finished.set(true);
        let dirty = self.dirty.take();
        let watched = self.table.borrow().all();
        dirty.into_iter().chain(watched).for_each(|socket| socket.finish());
    }

    fn free_unused_memory(&self) {
        self.frames.free_unused_memory();
    }

    fn counters(&self) -> &IoCounters {
        &self.counters
    }

    fn levels(&self) -> IoLevels {
        let (lent_frames, frames) = self.frames.lent();
        IoLevels { open_sockets: self.open_sockets.get(), lent_frames, frames }
    }

    fn watch_bell(&self, bell: BorrowedFd<'_>) -> io::Result<()> {
        watch_bell(self.epoll.as_fd(), bell)
    }

    fn new_watch(&self) -> u32 {
        self.watches.add()
    }

    fn arm_watch(&self, watch: u32, descriptor: BorrowedFd<'_>, readable: bool, writable: bool) -> io::Result<()> {
        let has_called = self.watches.arm(self.epoll.as_fd(), watch, descriptor, [readable, writable])?;
        self.counters.system_calls.add(u64::from(has_called));
        Ok(())
    }

    fn end_watch(&self, _watch: u32) {
        // Closing takes the descriptor off the watched ones.
    }

    fn stream(self: Rc<Self>, mut stream: DetachedStream) -> io::Result<Rc<dyn StreamSocket>> {
        stream.set_blocks(false)?;
        Ok(stream::Stream::attach(self, stream))
    }

    fn connect(self: Rc<Self>, descriptor: OwnedFd, to: &Address) -> Connecting {
        Connecting::new(connect::Connect::start(self, descriptor, to))
    }

    fn listener(self: Rc<Self>, descriptor: OwnedFd, _with_peer: bool) -> io::Result<Rc<dyn ListenSocket>> {
        Ok(listener::Listener::open(self, descriptor))
    }

    fn datagram(self: Rc<Self>, descriptor: OwnedFd) -> io::Result<Rc<dyn DatagramSocket>> {
        Ok(datagram::Datagrams::open(self, descriptor))
    }
}
