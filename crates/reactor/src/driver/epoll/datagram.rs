//! Datagram sockets.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SendFlags, SocketAddrAny, connect, send, sendto};
use sunstar_net::socket::{DEFAULT_SEND_QUEUE_BYTES, DatagramSocket};
use sunstar_net::{Address, Error, UnixAddress};
use sunstar_packet::Buffer;

use super::descriptor::{Descriptor, Watched};
use super::{EpollDriver, wait::Bits};
use crate::driver::waiter::Waiter;
use crate::posix::error::from_errno;
use crate::posix::{address, groups};

/// Datagrams that are sent before others get their turn.
const SENDS_AT_ONCE: usize = 64;

/// How long to wait before a datagram is sent again to a Unix socket whose queue is full. No event tells of room in it.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(1);

/// What a datagram costs in the send queue besides its bytes, so that empty ones are bounded too.
const DATAGRAM_COST_BYTES: usize = 64;

/// The handle of a datagram socket: dropping it closes the socket.
pub(super) struct Datagrams(Rc<Core>);

/// Received datagrams stay in the kernel's queue until they are asked for; what comes when that is full is lost.
struct Core {
    descriptor: Descriptor,
    receiver: Waiter,
    may_receive: Cell<bool>,
    /// The only one to receive from. The kernel's queue may hold what came from elsewhere before.
    peer: RefCell<Option<Address>>,
    queue: RefCell<VecDeque<(Buffer, Option<SocketAddrAny>)>>,
    queued_bytes: Cell<usize>,
    writer: Waiter,
    may_send: Cell<bool>,
    is_unix: bool,
    is_dirty: Cell<bool>,
    /// What became of a datagram that was sent before.
    error: Cell<Option<Error>>,
}

impl Datagrams {
    pub(super) fn open(driver: Rc<EpollDriver>, descriptor: OwnedFd) -> Rc<dyn DatagramSocket> {
        let is_unix = matches!(address::local(descriptor.as_fd()), Ok(Address::Unix(_)));
        Rc::new(Self(Rc::new(Core {
            descriptor: Descriptor::new(driver, descriptor),
            receiver: Waiter::default(),
            may_receive: Cell::new(true),
            peer: RefCell::default(),
            queue: RefCell::default(),
            queued_bytes: Cell::new(0),
            writer: Waiter::default(),
            may_send: Cell::new(true),
            is_unix,
            is_dirty: Cell::new(false),
            error: Cell::new(None),
        })))
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        // Nobody promises that datagrams arrive: what the kernel does not take now is lost.
        self.0.send(usize::MAX);
        self.0.descriptor.driver.counters.dropped_datagrams.add(self.0.queue.take().len() as u64);
        self.0.descriptor.close();
    }
}

impl DatagramSocket for Datagrams {
    fn local_address(&self) -> Result<Address, Error> {
        self.0.descriptor.with(address::local)
    }

    fn poll_receive(&self, cx: &mut Context<'_>) -> Poll<Result<(Buffer, Address), Error>> {
        let answer = self.0.poll_receive();
        if answer.is_pending() {
            self.0.receiver.wait(cx);
        }
        answer
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Some(error) = self.0.error.take() {
            return Poll::Ready(Err(error));
        }
        if self.0.has_room() {
            return Poll::Ready(Ok(()));
        }
        self.0.writer.wait(cx);
        Poll::Pending
    }

    fn enqueue(&self, bytes: Buffer, to: Option<&Address>) {
        let core = &self.0;
        let counters = &core.descriptor.driver.counters;
        let to = match to.map(address::to_system).transpose() {
            Ok(to) if core.has_room() => to,
            Ok(_) => return counters.dropped_datagrams.add(1),
            Err(error) => return core.error.set(Some(error)),
        };
        core.queued_bytes.set(core.queued_bytes.get() + bytes.len() + DATAGRAM_COST_BYTES);
        core.queue.borrow_mut().push_back((bytes, to));
        core.flush_later();
    }

    fn connect(&self, peer: &Address) -> Result<(), Error> {
        let peer = address::to_system(peer)?;
        self.0.descriptor.with(|socket| connect(socket, &peer).map_err(from_errno))?;
        // Not always what was asked for: a host may have many addresses.
        let peer = self.0.descriptor.with(address::peer)?;
        self.0.peer.replace(Some(peer));
        Ok(())
    }

    fn join_group(&self, group: IpAddr, scope_id: u32) -> Result<(), Error> {
        self.0.descriptor.with(|socket| groups::join(socket, group, scope_id))
    }

    fn leave_group(&self, group: IpAddr, scope_id: u32) -> Result<(), Error> {
        self.0.descriptor.with(|socket| groups::leave(socket, group, scope_id))
    }
}

impl Core {
    fn has_room(&self) -> bool {
        self.queued_bytes.get() < DEFAULT_SEND_QUEUE_BYTES
    }

    fn poll_receive(self: &Rc<Self>) -> Poll<Result<(Buffer, Address), Error>> {
        if let Some(error) = self.error.take() {
            return Poll::Ready(Err(error));
        }
        let driver = &self.descriptor.driver;
        while self.may_receive.get() {
            let received = {
                let Some(descriptor) = self.descriptor.borrow() else { return Poll::Ready(Err(Error::NotConnected)) };
                driver.frames.receive_datagram(descriptor.as_fd(), &driver.counters)
            };
            match received {
                Ok(Ok((bytes, from))) => {
                    let from = from.map_or(Ok(Address::Unix(UnixAddress::Unnamed)), address::from_system)?;
                    if self.peer.borrow().as_ref().is_none_or(|peer| *peer == from) {
                        return Poll::Ready(Ok((bytes, from)));
                    }
                }
                Ok(Err(_too_long)) => driver.counters.dropped_datagrams.add(1),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.may_receive.set(false),
                Err(error) => return Poll::Ready(Err(from_errno(error))),
            }
        }
        match self.descriptor.watch(Rc::clone(self) as Rc<dyn Watched>) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn flush_later(self: &Rc<Self>) {
        if !self.is_dirty.replace(true) {
            self.descriptor.driver.flush_later(Rc::clone(self) as Rc<dyn Watched>);
        }
    }

    /// Sends until the kernel takes no more, at most `limit` datagrams.
    fn send(&self, limit: usize) {
        for _ in 0..limit {
            if !self.may_send.get() {
                break;
            }
            let outcome = match self.queue.borrow().front() {
                Some((bytes, to)) => self.send_one(bytes, to.as_ref()),
                None => break,
            };
            match outcome {
                Ok(count) => self.descriptor.driver.counters.sent_bytes.add(count as u64),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {
                    self.may_send.set(false);
                    continue;
                }
                Err(error) => self.failed(error),
            }
            let sent = self.queue.borrow_mut().pop_front();
            let cost = sent.map_or(0, |(bytes, _)| bytes.len() + DATAGRAM_COST_BYTES);
            self.queued_bytes.set(self.queued_bytes.get() - cost);
        }
        if self.has_room() {
            self.writer.wake();
        }
    }

    fn send_one(&self, bytes: &Buffer, to: Option<&SocketAddrAny>) -> Result<usize, Errno> {
        let descriptor = self.descriptor.borrow().ok_or(Errno::NOTCONN)?;
        self.descriptor.driver.counters.system_calls.add(1);
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match to {
            Some(to) => sendto(&*descriptor, bytes, flags, to),
            None => send(&*descriptor, bytes, flags),
        }
    }

    fn failed(&self, error: Errno) {
        self.descriptor.driver.counters.dropped_datagrams.add(1);
        // A lack of buffers is what a full queue on the way is: datagrams get lost.
        if error != Errno::NOBUFS {
            self.error.set(Some(from_errno(error)));
            self.receiver.wake();
            self.writer.wake();
        }
    }
}

impl Watched for Core {
    fn ready(self: Rc<Self>, events: u32) {
        if events & (Bits::IN | Bits::UNUSUAL) != 0 {
            self.may_receive.set(true);
            self.receiver.wake();
        }
        if events & (Bits::OUT | Bits::UNUSUAL) != 0 {
            self.may_send.set(true);
            self.flush();
        }
    }

    fn alarm(self: Rc<Self>) {
        self.may_send.set(true);
        self.flush();
    }

    fn flush(self: Rc<Self>) {
        self.is_dirty.set(false);
        if !self.may_send.get() {
            // An event or an alarm is waited for already.
            return;
        }
        self.send(SENDS_AT_ONCE);
        if self.queue.borrow().is_empty() || self.descriptor.is_closed() {
            return;
        }
        if self.may_send.get() {
            self.flush_later();
        } else if self.is_unix {
            let driver = &self.descriptor.driver;
            driver.alarms.set(driver.now() + FULL_QUEUE_PAUSE, Rc::downgrade(&self) as _);
        } else if let Err(error) = self.descriptor.watch(Rc::clone(&self) as Rc<dyn Watched>) {
            self.error.set(Some(error));
            self.writer.wake();
        }
    }
}
