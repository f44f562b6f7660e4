//! Streams.

mod file;
mod receive;
mod send;

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll};

use io_uring::opcode;
use io_uring::types::Timespec;
use sunstar_net::socket::{Detached, StreamOption, StreamSocket};
use sunstar_net::{Address, Error};
use sunstar_packet::{Buffer, ForeignBuffer};

use super::UringDriver;
use super::sockets::{Base, Completion, Place, Socket, close};
use crate::driver::LINGER_TIME;
use crate::driver::incoming::Incoming;
use crate::driver::outgoing::Outgoing;
use crate::posix::stream::{abort, set_option, unacknowledged_bytes};
use crate::posix::{DetachedStream, address};
use receive::Receiving;
use send::Sender;

/// Receives, for as long as it is not cancelled.
const RECEIVE: u8 = 1;
/// Sends what is first in the queue.
const SEND: u8 = 2;
/// Ends the time that a closed stream has to send the rest.
const LINGER: u8 = 3;
/// Reads what is next of a file.
const READ_FILE: u8 = 4;
/// Sends what was read of a file.
const SEND_FILE: u8 = 5;
/// Waits until a file can be sent.
const WAIT_FOR_ROOM: u8 = 6;
/// The first of the operations that send without copying.
const ZERO_COPY: u8 = 16;

static LINGER_TIMESPEC: Timespec = Timespec::new().sec(LINGER_TIME.as_secs());

/// What has become of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Somebody has it.
    Open,
    /// Nobody has it, but it has something left to send.
    Lingering,
    /// Its descriptor is closed as soon as nothing is under way.
    Closing,
}

/// A stream as the table holds it.
pub(super) struct Stream {
    base: Base,
    is_tcp: bool,
    phase: Cell<Phase>,
    incoming: Incoming,
    receiving: Cell<Receiving>,
    /// Whether the stream is to receive, if it doesn't.
    wants_receive: Cell<bool>,
    /// Whether it was to receive before.
    has_received: Cell<bool>,
    outgoing: Outgoing,
    sender: Sender,
    /// Whether it had something left to send when it was let go, and was looked at since.
    lingers_on: Cell<bool>,
    has_linger_timer: Cell<bool>,
}

/// The handle that tasks have.
struct Handle {
    driver: Rc<UringDriver>,
    stream: Rc<Stream>,
}

/// Makes a stream of a connected socket.
pub(super) fn open(driver: Rc<UringDriver>, mut stream: DetachedStream) -> io::Result<Rc<dyn StreamSocket>> {
    // Of what does not block, the kernel would answer that it would have to.
    stream.set_blocks(true)?;
    let incoming = Incoming::new(stream.unread.into_iter().map(ForeignBuffer::into_buffer));
    let is_tcp = stream.is_tcp;
    let stream = driver.sockets.insert(|place| Stream::new(place, stream.descriptor, is_tcp, incoming));
    Ok(Rc::new(Handle { driver, stream }))
}

impl Stream {
    fn new(place: Place, descriptor: OwnedFd, is_tcp: bool, incoming: Incoming) -> Self {
        Self {
            base: Base::new(place, descriptor),
            is_tcp,
            phase: Cell::new(Phase::Open),
            incoming,
            receiving: Cell::new(Receiving::Idle),
            wants_receive: Cell::new(false),
            has_received: Cell::new(false),
            outgoing: Outgoing::default(),
            sender: Sender::default(),
            lingers_on: Cell::new(false),
            has_linger_timer: Cell::new(false),
        }
    }

    /// Lets the stream go: nobody reads any more, what is to be sent has some time left.
    fn close(&self, driver: &UringDriver) {
        if self.outgoing.failure().is_some() && self.incoming.failure().is_none() {
            // The peer must not take what it got for all, which an orderly end would say.
            return self.abort(driver, Error::Stopped);
        }
        self.incoming.end(Err(Error::Stopped));
        drop(self.incoming.take_all());
        if self.phase.get() == Phase::Open {
            self.phase.set(if self.outgoing.is_empty() { Phase::Closing } else { Phase::Lingering });
            driver.lingering.set(driver.lingering.get() + u32::from(self.phase.get() == Phase::Lingering));
        }
        self.base.touch(driver);
    }

    /// Ends both sides with an error.
    fn fail(&self, driver: &UringDriver, error: Error) {
        self.end_linger(driver);
        self.phase.set(Phase::Closing);
        self.incoming.end(Err(error));
        self.outgoing.fail(error);
        self.base.touch(driver);
    }

    /// Ends both sides with an error, and lets the peer see a reset.
    fn abort(&self, driver: &UringDriver, error: Error) {
        // What can't be done to the descriptor needs no doing: it is closed.
        let _ = self.base.with_descriptor(|descriptor| {
            abort(descriptor);
            Ok(())
        });
        self.fail(driver, error);
    }

    /// Notes that a closed stream has nothing left to send, if it was one that had.
    fn end_linger(&self, driver: &UringDriver) {
        if self.phase.get() == Phase::Lingering {
            self.phase.set(Phase::Closing);
            driver.lingering.set(driver.lingering.get() - 1);
            if self.has_linger_timer.get() {
                self.base.cancel(driver, LINGER);
            }
        }
    }

    /// Does what is to be done for a stream that nobody has any more.
    fn wind_up(&self, driver: &UringDriver) {
        if self.phase.get() == Phase::Open {
            return;
        }
        self.cancel_receive(driver);
        if self.phase.get() == Phase::Lingering {
            if !self.outgoing.is_empty() {
                // Most are done in a moment, and need no timer.
                if self.lingers_on.replace(true) {
                    self.start_linger_timer(driver);
                } else {
                    driver.look_again(self.base.place());
                }
                return;
            }
            self.end_linger(driver);
        }
        self.cancel_send(driver);
        if !self.base.is_busy() {
            self.base.close(driver);
        } else if self.receiving.get() == Receiving::Idle && !self.is_sending() {
            self.close_before_notifications(driver);
        }
    }

    /// Closes the descriptor though the peer has not taken all that was sent without copying: the end must not wait for that,
    /// nor may a peer that reads no more keep a descriptor. The slot holds the bytes until the kernel is done with them, which
    /// is when the peer has taken them, or has taken nothing for a while.
    fn close_before_notifications(&self, driver: &UringDriver) {
        if let Some(descriptor) = self.base.take_descriptor() {
            // Without it the kernel waits for as long as the peer says that it is full.
            let _ = set_option(descriptor.as_fd(), StreamOption::UserTimeout(Some(LINGER_TIME)));
            close(driver, descriptor);
        }
    }

    fn start_linger_timer(&self, driver: &UringDriver) {
        if !self.has_linger_timer.replace(true) {
            let entry = opcode::Timeout::new(&raw const LINGER_TIMESPEC).build();
            // SAFETY: the time is static.
            unsafe { self.base.submit(driver, LINGER, entry) };
        }
    }

    fn linger_over(&self, driver: &UringDriver, completion: Completion) {
        self.base.note(&completion);
        self.has_linger_timer.set(false);
        if self.phase.get() == Phase::Lingering {
            driver.counters().cut_off_streams.add(1);
            // A reset, for what has come is not all.
            self.abort(driver, Error::TimedOut);
        }
    }
}

impl Socket for Stream {
    fn base(&self) -> &Base {
        &self.base
    }

    fn start(&self, driver: &UringDriver) {
        self.start_receive(driver);
        self.start_send(driver);
        self.wind_up(driver);
    }

    fn complete(&self, driver: &UringDriver, operation: u8, completion: Completion) {
        match operation {
            RECEIVE => self.received(driver, completion),
            SEND => self.sent(driver, completion),
            LINGER => self.linger_over(driver, completion),
            READ_FILE => self.file_read(driver, completion),
            SEND_FILE => self.file_sent(driver, completion),
            WAIT_FOR_ROOM => self.has_room(driver, completion),
            _ => self.sent_without_copy(driver, operation - ZERO_COPY, completion),
        }
        if self.phase.get() != Phase::Open {
            self.base.touch(driver);
        }
    }

    fn receive_by_call(&self, driver: &UringDriver) -> bool {
        self.call(driver)
    }

    fn receive_by_ring(&self, driver: &UringDriver) {
        if self.receiving.get() == Receiving::Calling {
            self.arm_receive(driver);
        }
    }

    fn lingers(&self) -> bool {
        self.phase.get() == Phase::Lingering
    }

    fn stop(&self, driver: &UringDriver) {
        if self.outgoing.is_empty() {
            self.fail(driver, Error::Stopped);
        } else {
            driver.counters().cut_off_streams.add(1);
            self.abort(driver, Error::Stopped);
        }
    }
}

impl Handle {
    fn with_descriptor<R>(&self, f: impl FnOnce(BorrowedFd<'_>) -> Result<R, Error>) -> Result<R, Error> {
        self.stream.base.with_descriptor(f)
    }
}

impl StreamSocket for Handle {
    fn local_address(&self) -> Result<Address, Error> {
        self.with_descriptor(address::local)
    }

    fn peer_address(&self) -> Result<Address, Error> {
        self.with_descriptor(address::peer)
    }

    fn poll_read(&self, cx: &mut Context<'_>) -> Poll<Result<Buffer, Error>> {
        let answer = self.stream.incoming.poll_read(cx);
        if answer.is_pending() {
            self.stream.send_ahead(&self.driver);
        }
        self.stream.receive_if_wanted(&self.driver, answer.is_pending());
        answer
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.stream.outgoing.poll_writable(cx)
    }

    fn enqueue(&self, bytes: Buffer) {
        if self.stream.outgoing.enqueue(bytes) {
            self.stream.base.touch(&self.driver);
        }
    }

    fn enqueue_file(&self, file: &Rc<dyn Any>, offset: u64, len_bytes: u64) -> Result<(), Error> {
        if self.stream.outgoing.enqueue_file(file, offset, len_bytes)? {
            self.stream.base.touch(&self.driver);
        }
        Ok(())
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.stream.outgoing.poll_flush(cx)
    }

    fn unacknowledged_bytes(&self) -> u64 {
        // Of a connection that was reset the kernel tells a number that means nothing.
        if self.stream.outgoing.failure().is_some() {
            return 0;
        }
        let in_kernel = self.with_descriptor(|descriptor| Ok(unacknowledged_bytes(descriptor)));
        // What is failed is closed.
        self.stream.outgoing.queued_bytes() + in_kernel.unwrap_or(0)
    }

    fn shutdown(&self) {
        if self.stream.outgoing.shutdown() {
            self.stream.base.touch(&self.driver);
        }
    }

    fn abort(&self) {
        self.stream.abort(&self.driver, Error::ConnectionAborted);
    }

    fn poll_detach(&self, cx: &mut Context<'_>) -> Poll<Result<Detached, Error>> {
        let stream = &*self.stream;
        if let Some(error) = stream.incoming.failure() {
            return Poll::Ready(Err(error));
        }
        if stream.outgoing.is_closed() {
            return Poll::Ready(Err(stream.outgoing.failure().unwrap_or(Error::BrokenPipe)));
        }
        std::task::ready!(stream.outgoing.poll_flush(cx))?;
        stream.end_calls();
        if stream.receiving.get() != Receiving::Idle {
            stream.incoming.wait(cx);
            stream.wants_receive.set(false);
            stream.cancel_receive(&self.driver);
            return Poll::Pending;
        }
        let descriptor = stream.base.take_descriptor().ok_or(Error::NotConnected)?;
        let unread = stream.incoming.take_all();
        stream.fail(&self.driver, Error::NotConnected);
        let peer = address::peer(descriptor.as_fd()).ok();
        let detached = DetachedStream::leaving(descriptor, unread);
        Poll::Ready(Ok(Detached::new(DetachedStream { blocks: true, is_tcp: stream.is_tcp, ..detached }, peer)))
    }

    fn set_option(&self, option: StreamOption) -> Result<(), Error> {
        if let StreamOption::SendQueueBytes(bytes) = option {
            self.stream.outgoing.set_limit(bytes);
            return Ok(());
        }
        self.with_descriptor(|descriptor| set_option(descriptor, option))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stream.close(&self.driver);
    }
}
