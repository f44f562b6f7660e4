//! What a stream is made of, and its receiving side.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll};

use rustix::io::Errno;
use sunstar_net::Error;
use sunstar_net::socket::Detached;
use sunstar_packet::Buffer;

use super::super::descriptor::{Descriptor, Watched};
use super::super::frames::FRAME_BYTES;
use super::super::{EpollDriver, wait::Bits};
use super::file::FileReading;
use crate::driver::incoming::Incoming;
use crate::driver::outgoing::Outgoing;
use crate::driver::waiter::Waiter;
use crate::posix::error::from_errno;
use crate::posix::{self, DetachedStream};

/// A stream, as its handle and the driver know it.
pub(in super::super) struct Core {
    pub(in super::super) descriptor: Descriptor,
    pub(super) incoming: Incoming,
    pub(super) outgoing: Outgoing,
    /// Waits until the connection is made.
    connector: Waiter,
    /// Whether receiving may find something. Set again by an event.
    may_receive: Cell<bool>,
    /// Whether the kernel may take bytes. Set again by an event.
    pub(super) may_send: Cell<bool>,
    /// Whether a receive that got less than it had room for has emptied the socket, so that an event follows when more comes.
    ///
    /// So it is with TCP (`epoll(7)`, question 9) until the end, an error or urgent data has come, of which no further event
    /// may tell.
    short_means_empty: Cell<bool>,
    /// Whether the driver is to let it send.
    is_dirty: Cell<bool>,
    /// What sending failed with, if reading would not tell of it by itself.
    pub(super) broken: Cell<Option<Error>>,
    pub(super) closing: Cell<Closing>,
    pub(super) file_reading: FileReading,
}

/// How far the stream is on its way to be closed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Closing {
    /// It has a handle.
    No,
    /// It has none, and is to send what it has before it is closed.
    Sending,
    /// As above, and the kernel has not taken all at once. An alarm is set.
    Lingering,
}

impl Core {
    pub(in super::super) fn new(
        driver: Rc<EpollDriver>,
        descriptor: OwnedFd,
        is_tcp: bool,
        unread: impl IntoIterator<Item = Buffer>,
    ) -> Rc<Self> {
        Rc::new(Self {
            descriptor: Descriptor::new(driver, descriptor),
            incoming: Incoming::new(unread),
            outgoing: Outgoing::default(),
            connector: Waiter::default(),
            may_receive: Cell::new(true),
            may_send: Cell::new(true),
            short_means_empty: Cell::new(is_tcp),
            is_dirty: Cell::new(false),
            broken: Cell::new(None),
            closing: Cell::new(Closing::No),
            file_reading: FileReading::default(),
        })
    }

    pub(super) fn driver(&self) -> &Rc<EpollDriver> {
        &self.descriptor.driver
    }

    /// Waits until an event says that a connection was made or has failed, or that it may be tried again.
    pub(in super::super) fn poll_event(self: &Rc<Self>, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        if self.may_send.get() {
            return Poll::Ready(Ok(()));
        }
        self.connector.wait(cx);
        Poll::Pending
    }

    /// Lets [`Core::poll_event`] wait.
    pub(in super::super) fn expect_event(&self) {
        self.may_send.set(false);
    }

    pub(super) fn poll_read(self: &Rc<Self>, cx: &Context<'_>) -> Poll<Result<Buffer, Error>> {
        if let Some(answer) = self.incoming.read() {
            return Poll::Ready(answer);
        }
        while self.may_receive.get() {
            match self.receive() {
                Ok(bytes) if !bytes.is_empty() => return Poll::Ready(Ok(bytes)),
                Ok(_end) => self.receive_end(self.broken.get().map_or(Ok(()), Err)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.may_receive.set(false),
                Err(error) => self.receive_end(Err(self.broken.get().unwrap_or(from_errno(error)))),
            }
            if self.incoming.has_ended() {
                return self.incoming.poll_read(cx);
            }
        }
        // Once it is watched, the first event tells of what has come until then.
        match self.descriptor.watch(Rc::clone(self) as Rc<dyn Watched>) {
            Ok(()) => self.incoming.poll_read(cx),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn receive(&self) -> Result<Buffer, Errno> {
        let descriptor = self.descriptor.borrow().ok_or(Errno::NOTCONN)?;
        let driver = self.driver();
        let bytes = driver.frames.receive(descriptor.as_fd(), &driver.counters)?;
        if bytes.len() < FRAME_BYTES && self.short_means_empty.get() {
            self.may_receive.set(false);
        }
        Ok(bytes)
    }

    /// Nothing more comes. A stream that has failed does not send either.
    fn receive_end(&self, how: Result<(), Error>) {
        self.may_receive.set(false);
        if how == Err(Error::ConnectionReset) && !self.incoming.has_ended() {
            self.driver().counters.resets.add(1);
        }
        self.incoming.end(how);
        if let Err(error) = how {
            self.outgoing.fail(error);
        }
    }

    /// Has the driver let this stream send at the end of the round.
    pub(super) fn flush_later(self: &Rc<Self>) {
        if !self.is_dirty.replace(true) {
            self.driver().flush_later(Rc::clone(self) as Rc<dyn Watched>);
        }
    }

    /// Ends the stream at once in both directions.
    pub(super) fn abort(&self, error: Error) {
        if let Some(descriptor) = self.descriptor.borrow() {
            self.driver().counters.system_calls.add(1);
            posix::stream::abort(descriptor.as_fd());
        }
        self.outgoing.fail(error);
        self.receive_end(Err(error));
    }

    /// Takes the stream off the shard once all is sent.
    pub(super) fn poll_detach(&self, cx: &Context<'_>) -> Poll<Result<Detached, Error>> {
        if let Some(error) = self.incoming.failure() {
            return Poll::Ready(Err(error));
        }
        match self.outgoing.poll_writable(cx) {
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            _ => std::task::ready!(self.outgoing.poll_flush(cx))?,
        }
        let descriptor = self.descriptor.take().ok_or(Error::NotConnected)?;
        let peer = posix::address::peer(descriptor.as_fd()).ok();
        let unread = self.incoming.take_all();
        self.outgoing.fail(Error::NotConnected);
        self.receive_end(Err(Error::NotConnected));
        let is_tcp = self.short_means_empty.get();
        Poll::Ready(Ok(Detached::new(DetachedStream { is_tcp, ..DetachedStream::leaving(descriptor, unread) }, peer)))
    }

    /// The handle is gone: what is queued is sent, then the descriptor is closed.
    pub(in super::super) fn close(self: &Rc<Self>) {
        if self.descriptor.is_closed() {
            return;
        }
        if self.outgoing.failure().is_some() && self.incoming.failure().is_none() {
            // The peer must not take what it got for all, which an orderly end would say.
            self.abort(Error::Stopped);
        }
        if !self.outgoing.has_more() {
            return self.descriptor.close();
        }
        self.closing.set(Closing::Sending);
        if self.driver().is_finished.get() { self.cut_off() } else { self.flush_later() }
    }
}

impl Watched for Core {
    fn ready(self: Rc<Self>, events: u32) {
        if events & Bits::UNUSUAL != 0 {
            self.short_means_empty.set(false);
        }
        if events & (Bits::IN | Bits::UNUSUAL) != 0 {
            self.may_receive.set(true);
            self.incoming.wake();
        }
        if events & (Bits::OUT | Bits::UNUSUAL) != 0 {
            self.may_send.set(true);
            self.connector.wake();
            if self.outgoing.has_more() {
                self.send();
            }
        }
    }

    fn flush(self: Rc<Self>) {
        self.is_dirty.set(false);
        self.send();
    }

    fn finish(self: Rc<Self>) {
        if self.closing.get() != Closing::No {
            self.cut_off();
        }
    }

    fn alarm(self: Rc<Self>) {
        self.may_send.set(true);
        self.connector.wake();
        if self.closing.get() == Closing::Lingering {
            self.cut_off();
        }
    }
}
