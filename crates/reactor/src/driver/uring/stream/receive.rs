//! The receiving side of streams.

use std::ptr;

use io_uring::{opcode, squeue};
use rustix::io::Errno;

use super::{Phase, RECEIVE, Stream};
use sunstar_net::Error;

use crate::driver::uring::sockets::Completion;
use crate::driver::uring::{STREAM_GROUP, UringDriver};
use crate::posix::error::from_errno;

/// Bytes that wait to be read before a stream stops to receive. What the kernel has in hand by then still comes: a few
/// frames.
const RECEIVE_QUEUE_BYTES: usize = 128 * 1024;

/// Buffers that wait to be read before a stream stops to receive.
const RECEIVE_QUEUE_BUFFERS: usize = 64;

/// Whether the kernel receives for a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Receiving {
    Idle,
    /// It does not: each poll calls to see what has come.
    Calling,
    Armed,
    /// It was told to stop, and will say when it has.
    Cancelling,
}

impl Stream {
    /// Lets the stream receive if there is room: when somebody waits, and when a full queue is half empty.
    pub(super) fn receive_if_wanted(&self, driver: &UringDriver, is_waited_for: bool) {
        let is_wanted = is_waited_for || self.queue_is_below(RECEIVE_QUEUE_BYTES / 2, RECEIVE_QUEUE_BUFFERS / 2);
        if is_wanted
            && matches!(self.receiving.get(), Receiving::Idle | Receiving::Cancelling)
            && !self.incoming.has_ended()
        {
            self.wants_receive.set(true);
            if self.receiving.get() == Receiving::Idle {
                self.base.touch(driver);
            }
        }
    }

    fn queue_is_below(&self, bytes: usize, buffers: usize) -> bool {
        self.incoming.queued_bytes() < bytes && self.incoming.len() < buffers
    }

    pub(super) fn start_receive(&self, driver: &UringDriver) {
        let is_wanted = self.wants_receive.get() && self.phase.get() == Phase::Open && !self.incoming.has_ended();
        if !is_wanted || self.receiving.get() != Receiving::Idle || self.base.is_starved() {
            return;
        }
        self.wants_receive.set(false);
        if self.has_received.get() && driver.has_few_sockets() {
            self.receiving.set(Receiving::Calling);
            driver.call_from_now_on(self.base.place());
        } else {
            self.arm_receive(driver);
        }
    }

    /// Lets the kernel receive.
    pub(super) fn arm_receive(&self, driver: &UringDriver) {
        self.receiving.set(Receiving::Armed);
        // A connection with but one request needs no operation that goes on, and has to be cancelled. One that is asked by calls
        // could not be asked again.
        let entry = if self.has_received.replace(true) && !driver.has_few_sockets() {
            opcode::RecvMulti::new(self.base.fd(), STREAM_GROUP).build()
        } else {
            let receive = opcode::Recv::new(self.base.fd(), ptr::null_mut(), 0).buf_group(STREAM_GROUP);
            receive.build().flags(squeue::Flags::BUFFER_SELECT)
        };
        // SAFETY: the entry points to nothing; the kernel writes to frames only.
        unsafe { self.base.submit(driver, RECEIVE, entry) };
    }

    /// Calls to see what has come. Answers whether that was nothing.
    pub(super) fn call(&self, driver: &UringDriver) -> bool {
        if self.receiving.get() != Receiving::Calling {
            return false;
        }
        let counters = driver.counters();
        counters.system_calls.add(1);
        let received = self.base.with_descriptor(|socket| Ok(driver.frames.receive(socket, counters)));
        if matches!(received, Ok(Err(Errno::AGAIN | Errno::INTR))) {
            return true;
        }
        self.receiving.set(Receiving::Idle);
        match received {
            Ok(Ok(bytes)) if !bytes.is_empty() => {
                counters.received_bytes.add(bytes.len() as u64);
                self.incoming.push(bytes);
            }
            Ok(outcome) => self.received_nothing(driver, outcome.err()),
            // It was given away.
            Err(_) => {}
        }
        false
    }

    /// Calls no more.
    pub(super) fn end_calls(&self) {
        if self.receiving.get() == Receiving::Calling {
            self.receiving.set(Receiving::Idle);
        }
    }

    /// Tells the kernel to receive no more, if it does.
    pub(super) fn cancel_receive(&self, driver: &UringDriver) {
        self.end_calls();
        if self.receiving.get() == Receiving::Armed {
            self.receiving.set(Receiving::Cancelling);
            self.base.cancel(driver, RECEIVE);
        }
    }

    pub(super) fn received(&self, driver: &UringDriver, completion: Completion) {
        self.base.note(&completion);
        let was_cancelled = self.receiving.get() == Receiving::Cancelling;
        if !completion.has_more() {
            self.receiving.set(Receiving::Idle);
        }
        match completion.result {
            Ok(len) if len > 0 => self.received_bytes(driver, completion.frame(), len as usize),
            outcome => {
                if let Some(frame) = completion.frame() {
                    // SAFETY: the kernel named it in this completion.
                    unsafe { driver.frames.untake(frame) };
                }
                self.received_nothing(driver, outcome.err().map(Errno::from_raw_os_error));
            }
        }
        if self.receiving.get() == Receiving::Idle {
            if was_cancelled {
                // Perhaps to give the descriptor away.
                self.incoming.wake();
            }
            if self.wants_receive.get() && !self.base.is_starved() {
                self.base.touch(driver);
            }
        }
    }

    fn received_bytes(&self, driver: &UringDriver, frame: Option<u16>, len: usize) {
        let frame = frame.expect("bytes come in frames");
        // SAFETY: the kernel named the frame in this completion, and wrote this many bytes to it.
        let bytes = unsafe { driver.frames.take(frame, 0..len, driver.counters()) };
        driver.counters().received_bytes.add(len as u64);
        self.incoming.push(bytes);
        if !self.queue_is_below(RECEIVE_QUEUE_BYTES, RECEIVE_QUEUE_BUFFERS) {
            self.cancel_receive(driver);
        }
    }

    /// The end, for which `error` is none, or an error.
    fn received_nothing(&self, driver: &UringDriver, error: Option<Errno>) {
        match error {
            // The kernel tells once that a connection was reset. If sending has heard of it, this is no orderly end. That the
            // peer takes no more says nothing of what it sent before.
            None => self.receive_end(
                driver,
                match self.outgoing.failure() {
                    None | Some(Error::BrokenPipe) => Ok(()),
                    Some(_) => Err(Error::ConnectionReset),
                },
            ),
            // Whoever cancelled it knows, or lets it go on when it is read again.
            Some(Errno::CANCELED) => {}
            Some(Errno::NOBUFS) => {
                driver.counters().short_frames.add(1);
                // Who has enough to read asks again after reading.
                if self.queue_is_below(RECEIVE_QUEUE_BYTES, RECEIVE_QUEUE_BUFFERS) {
                    self.wants_receive.set(true);
                    self.base.starve(driver);
                }
            }
            Some(Errno::INTR | Errno::AGAIN) => self.wants_receive.set(true),
            Some(error) => {
                let error = from_errno(error);
                self.receive_end(driver, Err(error));
                self.outgoing.fail(error);
            }
        }
    }

    fn receive_end(&self, driver: &UringDriver, how: Result<(), Error>) {
        if how == Err(Error::ConnectionReset) && !self.incoming.has_ended() {
            driver.counters().resets.add(1);
        }
        self.incoming.end(how);
    }
}
