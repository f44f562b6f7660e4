//! The sending side of a stream.

use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, Shutdown, send, sendmsg, shutdown};
use sunstar_net::Error;

use super::super::descriptor::Watched;
use super::core::{Closing, Core};
use crate::driver::outgoing::Next;
use crate::driver::{LINGER_TIME, file};
use crate::posix::error::from_errno;

/// System calls that one stream makes to send before others get their turn.
const SENDS_AT_ONCE: usize = 16;

/// For how many of them a chunk of a file counts.
const SENDS_PER_CHUNK: usize = SENDS_AT_ONCE / file::CHUNKS_AT_ONCE;

impl Core {
    /// Sends as much as the kernel takes. What it does not take is sent when an event says that there is room.
    pub(super) fn send(self: &Rc<Self>) {
        let mut turn = SENDS_AT_ONCE;
        while turn > 0 {
            if self.file_reading.is_under_way() {
                return self.linger();
            }
            let next = self.outgoing.next();
            turn = turn.saturating_sub(if matches!(next, Next::File(_)) { SENDS_PER_CHUNK } else { 1 });
            if !matches!(next, Next::Nothing) && !self.may_send.get() {
                return self.wait_for_room();
            }
            let outcome = match next {
                Next::Nothing => return self.sent_all(),
                Next::Bytes => self.send_bytes(),
                Next::File(part) => self.send_file(&part),
                Next::Shutdown => self.send_end(),
            };
            match outcome {
                Ok(()) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.may_send.set(false),
                Err(error) => self.send_failed(error),
            }
        }
        if self.outgoing.has_more() { self.flush_later() } else { self.sent_all() }
    }

    fn send_bytes(&self) -> Result<(), Errno> {
        let is_last = self.closing.get() != Closing::No && self.outgoing.is_short();
        let more = if is_last || self.outgoing.has_files() { SendFlags::MORE } else { SendFlags::empty() };
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT | more;
        let count = self.call(|socket| {
            self.outgoing.with_slices(|slices| match slices {
                [bytes] => send(socket, bytes, flags),
                _ => sendmsg(socket, slices, &mut SendAncillaryBuffer::default(), flags),
            })
        })?;
        self.sent(count as u64);
        Ok(())
    }

    fn send_end(&self) -> Result<(), Errno> {
        match self.call(|socket| shutdown(socket, Shutdown::Write)) {
            // The peer may have been faster to end it all. How, the reader hears.
            Ok(()) | Err(Errno::NOTCONN) => self.outgoing.shutdown_done(),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    pub(super) fn call<R>(&self, f: impl FnOnce(BorrowedFd<'_>) -> Result<R, Errno>) -> Result<R, Errno> {
        let descriptor = self.descriptor.borrow().ok_or(Errno::NOTCONN)?;
        self.driver().counters.system_calls.add(1);
        f(descriptor.as_fd())
    }

    pub(super) fn sent(&self, count: u64) {
        self.driver().counters.sent_bytes.add(count);
        self.outgoing.advance(count);
    }

    fn send_failed(&self, errno: Errno) {
        let error = from_errno(errno);
        if errno != Errno::PIPE {
            // The kernel tells of it once: the reader would take what follows for an orderly end.
            self.broken.set(Some(error));
        }
        self.outgoing.fail(error);
    }

    fn wait_for_room(self: &Rc<Self>) {
        if let Err(error) = self.descriptor.watch(Rc::clone(self) as Rc<dyn Watched>) {
            self.outgoing.fail(error);
            return self.sent_all();
        }
        self.linger();
    }

    /// Gives a stream that was closed a limited time to send the rest.
    fn linger(self: &Rc<Self>) {
        let driver = self.driver();
        if self.closing.get() == Closing::Sending {
            self.closing.set(Closing::Lingering);
            driver.lingering.set(driver.lingering.get() + 1);
            driver.alarms.set(driver.now() + LINGER_TIME, Rc::downgrade(self) as _);
        }
    }

    /// All is sent, or nothing more can be.
    fn sent_all(&self) {
        match self.closing.replace(Closing::No) {
            Closing::No => return,
            Closing::Sending => {}
            Closing::Lingering => self.driver().lingering.set(self.driver().lingering.get() - 1),
        }
        self.descriptor.close();
    }

    /// Ends the stream though not all is sent.
    pub(super) fn cut_off(&self) {
        self.driver().counters.cut_off_streams.add(1);
        // A reset, for what has come is not all.
        self.abort(Error::TimedOut);
        self.sent_all();
    }
}
