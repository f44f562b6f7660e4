//! The driver on `io_uring(7)`.
//!
//! Each socket owns its operations and lives in a table until the last of them has completed. What tasks ask for is noted in
//! the socket, which is put on a list of dirty ones; the next poll turns the list into entries of the ring, so that all of a
//! round goes to the kernel in one system call, which brings what has completed meanwhile.

mod connect;
mod datagram;
mod frames;
mod listener;
mod message;
mod ring;
mod sockets;
mod stream;
mod watches;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::mem::{self, ManuallyDrop, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use io_uring::types::Fd;
use io_uring::{cqueue, opcode};
use rustix::io::Errno;
use sunstar_net::Address;
use sunstar_net::socket::{Connecting, DatagramSocket, ListenSocket, StreamSocket};

use crate::clock::Clock;
use crate::io_stats::{IoCounters, IoLevels};
use crate::posix::DetachedStream;

use super::Driver;
use frames::{FrameOptions, Frames};
use ring::{BURST, Burst, Ring};
use sockets::{Completion, Place, Sockets};
use watches::{READABLE, WRITABLE, Watches};

/// What streams receive into.
const STREAM_FRAMES: FrameOptions = FrameOptions { frames: 512, frame_bytes: 16 * 1024, offered: 128 };

/// The group of buffers that streams receive into.
const STREAM_GROUP: u16 = 0;

/// What datagrams are received into, each with a header and its sender: the largest datagram has room.
const DATAGRAM_FRAMES: FrameOptions = FrameOptions { frames: 64, frame_bytes: 68 * 1024, offered: 32 };

/// The group of buffers that datagrams are received into.
const DATAGRAM_GROUP: u16 = 1;

/// The operation of bells; the index of the bell stands above it.
const BELL: u8 = 1;

/// With so many sockets at most, streams are served by plain calls while the shard polls: an operation that is alone in its system call
/// costs more than the call, and who waits for a single answer waits for that.
const FEW_SOCKETS: usize = 4;

/// How often a stream is asked by a call for what has come before the kernel is to tell of it.
const CALLS: u16 = 512;

/// How long the driver, when it ends, waits at most for what it has cancelled: that takes long only on a machine with too much
/// to do, or where a disk does not answer.
const END_TIME: Duration = Duration::from_secs(5);

/// How many pauses of listeners one message in the log stands for, after the first ones.
const PAUSES_PER_LOG: u64 = 1024;

/// The io_uring driver of one shard.
pub(crate) struct UringDriver {
    /// Goes before the frames, into which the kernel writes.
    ring: ManuallyDrop<Ring>,
    frames: ManuallyDrop<Frames>,
    /// Made when the first datagram socket is.
    datagram_frames: ManuallyDrop<OnceCell<Frames>>,
    sockets: Sockets,
    /// Sockets with something to start.
    dirty: RefCell<Vec<Place>>,
    /// The other list of dirty sockets, which is empty between calls.
    starting: Cell<Vec<Place>>,
    /// Sockets for which there was no frame when something arrived; no more than there are sockets.
    starved: RefCell<VecDeque<Place>>,
    /// Sockets that are asked by calls for what has come, and how often still.
    calling: RefCell<Vec<(Place, u16)>>,
    /// How many sockets nobody has any more that have something left to send.
    lingering: Cell<u32>,
    /// Sockets that are to be started once more in the next poll.
    again: RefCell<Vec<Place>>,
    /// How often listeners have paused.
    pauses: Cell<u64>,
    /// Copies of the bells' descriptors, watched for ever.
    bells: RefCell<Vec<OwnedFd>>,
    watches: Watches,
}

impl UringDriver {
    /// A driver for the calling thread.
    ///
    /// # Errors
    /// If the kernel does not let this process have a ring, or lacks what the driver needs.
    pub(crate) fn new() -> io::Result<Self> {
        let ring = Ring::new()?;
        let frames = Frames::new(&ring, STREAM_GROUP, STREAM_FRAMES)?;
        Ok(Self {
            ring: ManuallyDrop::new(ring),
            frames: ManuallyDrop::new(frames),
            datagram_frames: ManuallyDrop::default(),
            sockets: Sockets::default(),
            dirty: RefCell::default(),
            starting: Cell::default(),
            starved: RefCell::default(),
            calling: RefCell::default(),
            lingering: Cell::new(0),
            again: RefCell::default(),
            pauses: Cell::new(0),
            bells: RefCell::default(),
            watches: Watches::default(),
        })
    }

    /// The frames of datagrams, once a datagram socket was made.
    fn made_datagram_frames(&self) -> &Frames {
        self.datagram_frames.get().expect("datagram sockets make them")
    }

    /// The frames of datagrams, which are made if there are none.
    fn datagram_frames(&self) -> io::Result<&Frames> {
        if self.datagram_frames.get().is_none() {
            let frames = Frames::new(&self.ring, DATAGRAM_GROUP, DATAGRAM_FRAMES)?;
            let _ = self.datagram_frames.set(frames);
        }
        Ok(self.datagram_frames.get().expect("set just now"))
    }

    /// What is counted.
    fn counters(&self) -> &IoCounters {
        self.ring.counters()
    }

    /// Logs that a listener pauses, but not more than once in a while.
    fn warn_of_pause(&self, error: Errno) {
        let count = self.pauses.replace(self.pauses.get() + 1);
        if count.is_power_of_two() || count.is_multiple_of(PAUSES_PER_LOG) {
            log::warn!("cannot accept: {error}; {count} times before");
        }
    }

    /// Turns what was asked for into entries.
    fn start_dirty(&self) {
        self.refill_frames();
        while let Some(place) = { self.again.borrow_mut().pop() } {
            self.sockets.get(place).into_iter().for_each(|socket| socket.base().touch(self));
        }
        if self.dirty.borrow().is_empty() {
            return;
        }
        let starting = self.dirty.replace(self.starting.take());
        for place in &starting {
            if let Some(socket) = self.sockets.get(*place) {
                socket.base().begin_start();
                socket.start(self);
            }
        }
        let mut starting = starting;
        starting.clear();
        self.starting.set(starting);
    }

    /// Offers free frames to the kernel, and lets sockets that found none receive again.
    fn refill_frames(&self) {
        if let Some(frames) = self.datagram_frames.get() {
            frames.refill();
        }
        if self.frames.refill() && !self.starved.borrow().is_empty() {
            // As many as there are frames for: the others would find none again.
            let count = self.starved.borrow().len().min(usize::from(STREAM_FRAMES.offered));
            let fed: Vec<_> = self.starved.borrow_mut().drain(..count).collect();
            fed.into_iter().filter_map(|place| self.sockets.get(place)).for_each(|socket| socket.base().feed(self));
        }
    }

    /// Whether plain calls pay.
    fn has_few_sockets(&self) -> bool {
        self.sockets.len() <= FEW_SOCKETS
    }

    /// Has a socket asked by calls for what has come, from the present poll on.
    fn call_from_now_on(&self, place: Place) {
        let mut calling = self.calling.borrow_mut();
        calling.retain(|(other, _)| *other != place);
        calling.push((place, CALLS));
    }

    /// Asks sockets by calls for what has come, and answers whether something has.
    fn call(&self) -> bool {
        if self.calling.borrow().is_empty() {
            return false;
        }
        let (mut calling, is_few, mut found) = (self.calling.take(), self.has_few_sockets(), false);
        calling.retain_mut(|(place, calls_left)| {
            let Some(socket) = self.sockets.get(*place) else { return false };
            *calls_left -= 1;
            let goes_on = socket.receive_by_call(self);
            found |= !goes_on;
            if goes_on && (*calls_left == 0 || !is_few) {
                socket.receive_by_ring(self);
                return false;
            }
            goes_on
        });
        // Nobody has asked for calls meanwhile: that is done by starting.
        self.calling.replace(calling);
        found
    }

    /// Lets the kernel tell of what comes.
    fn end_calls(&self) {
        for (place, _) in self.calling.borrow_mut().drain(..) {
            self.sockets.get(place).into_iter().for_each(|socket| socket.receive_by_ring(self));
        }
    }

    /// Has a socket started once more in the next poll, after what is submitted now may have completed.
    fn look_again(&self, place: Place) {
        self.again.borrow_mut().push(place);
    }

    /// Deals with completions, those of one ring full at most, and answers whether any concerned
    /// sockets.
    fn complete(&self) -> bool {
        let mut burst: Burst = [const { MaybeUninit::uninit() }; BURST];
        let mut found = false;
        for _ in 0..ring::BURSTS {
            let entries = self.ring.take(&mut burst);
            entries.iter().for_each(|entry| found |= self.dispatch(entry));
            if entries.len() < BURST {
                break;
            }
        }
        found
    }

    /// Hands a completion to its socket, and answers whether it has one.
    fn dispatch(&self, entry: &cqueue::Entry) -> bool {
        let (place, operation) = Place::of_token(entry.user_data());
        let completion = Completion::of(entry);
        let socket = self.sockets.get(place);
        match &socket {
            Some(socket) => socket.complete(self, operation, completion),
            None if operation == BELL && !completion.has_more() => {
                place.number().into_iter().for_each(|n| self.watch(n))
            }
            None if matches!(operation, READABLE | WRITABLE) => {
                place.number().into_iter().for_each(|n| self.watches.told(n, operation));
            }
            None => {}
        }
        socket.is_some()
    }

    /// Watches the bell with this index.
    fn watch(&self, index: u32) {
        let bells = self.bells.borrow();
        let Some(bell) = bells.get(index as usize) else { return };
        let events = u32::try_from(libc::POLLIN).expect("a bit");
        let entry = opcode::PollAdd::new(Fd(bell.as_raw_fd()), events).multi(true).build();
        // SAFETY: the entry points to nothing.
        unsafe { self.ring.push(&entry.user_data(Place::nobody(index).token(BELL))) };
    }

    /// Calls the kernel until nothing is under way or the time is over; answers whether nothing is.
    fn settle(&self, limit: Duration) -> bool {
        // Each wait ends with the first thing that happens, of which there may be many.
        let clock = Clock::new();
        let deadline = clock.now() + limit;
        loop {
            loop {
                self.start_dirty();
                self.ring.exchange();
                if !self.complete() && self.dirty.borrow().is_empty() {
                    break;
                }
            }
            if self.ring.is_submitted() && self.sockets.all().iter().all(|socket| !socket.base().is_busy()) {
                return true;
            }
            let left = deadline.saturating_duration_since(clock.now());
            if left.is_zero() {
                return false;
            }
            self.ring.wait(Some(left));
        }
    }
}

impl Drop for UringDriver {
    fn drop(&mut self) {
        // What is left are sockets that nobody has any more.
        self.sockets.all().iter().for_each(|socket| socket.stop(self));
        if !self.settle(END_TIME) {
            log::error!("the kernel does not end what was cancelled; its memory is kept for ever");
            mem::forget(self.sockets.all());
            return;
        }
        // SAFETY: neither is used again. The ring goes first, so the kernel writes to no frame from then on; nothing that
        // would is under way.
        unsafe {
            ManuallyDrop::drop(&mut self.ring);
            ManuallyDrop::drop(&mut self.frames);
            ManuallyDrop::drop(&mut self.datagram_frames);
        }
    }
}

impl Driver for UringDriver {
    fn poll(&self) -> bool {
        self.start_dirty();
        let found = self.call();
        self.ring.exchange();
        self.complete() || found
    }

    fn sleep(&self, timeout: Option<Duration>) -> bool {
        // Starting may wake tasks, which would not be run now.
        let is_idle =
            self.dirty.borrow().is_empty() && self.again.borrow().is_empty() && self.starved.borrow().is_empty();
        if !is_idle {
            return true;
        }
        self.end_calls();
        self.ring.wait(timeout)
    }

    fn watch_bell(&self, bell: BorrowedFd<'_>) -> io::Result<()> {
        let bell = bell.try_clone_to_owned()?;
        self.bells.borrow_mut().push(bell);
        self.watch(u32::try_from(self.bells.borrow().len() - 1).expect("there are few bells"));
        Ok(())
    }

    fn new_watch(&self) -> u32 {
        self.watches.add()
    }

    fn arm_watch(&self, watch: u32, descriptor: BorrowedFd<'_>, readable: bool, writable: bool) -> io::Result<()> {
        self.arm(watch, descriptor, [readable, writable]);
        Ok(())
    }

    fn end_watch(&self, watch: u32) {
        self.end(watch);
    }

    fn lingers(&self) -> bool {
        self.lingering.get() > 0
    }

    fn finish(&self) {
        self.sockets.all().iter().filter(|socket| socket.lingers()).for_each(|socket| socket.stop(self));
    }

    fn free_unused_memory(&self) {
        self.frames.free_unused_memory();
        self.datagram_frames.get().into_iter().for_each(Frames::free_unused_memory);
    }

    fn counters(&self) -> &IoCounters {
        self.ring.counters()
    }

    fn levels(&self) -> IoLevels {
        let (lent_frames, frames) = (self.frames.lent().into(), STREAM_FRAMES.frames.into());
        IoLevels { open_sockets: self.sockets.len(), lent_frames, frames }
    }

    fn stream(self: Rc<Self>, stream: DetachedStream) -> io::Result<Rc<dyn StreamSocket>> {
        stream::open(self, stream)
    }

    fn connect(self: Rc<Self>, descriptor: OwnedFd, to: &Address) -> Connecting {
        connect::connect(self, descriptor, to)
    }

    fn listener(self: Rc<Self>, descriptor: OwnedFd, with_peer: bool) -> io::Result<Rc<dyn ListenSocket>> {
        listener::open(self, descriptor, with_peer)
    }

    fn datagram(self: Rc<Self>, descriptor: OwnedFd) -> io::Result<Rc<dyn DatagramSocket>> {
        datagram::open(self, descriptor)
    }
}

#[cfg(test)]
mod tests;
