//! The sending side of streams.
//!
//! One operation at a time sends what is first in the queue. Its buffers are held here until the kernel is done with them,
//! which for what is sent without copying is later than when it is sent.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::mem;
use std::rc::Rc;

use io_uring::{opcode, squeue};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, Shutdown, send, sendmsg};
use smallvec::SmallVec;
use sunstar_net::Error;
use sunstar_packet::Buffer;

use super::{Phase, SEND, Stream, ZERO_COPY};
use crate::driver::outgoing::{MAX_SLICES, Next};
use crate::driver::uring::UringDriver;
use crate::driver::uring::message::Message;
use crate::driver::uring::sockets::Completion;
use crate::posix::error::from_errno;

/// From how many bytes on it pays to send without copying: below, the page references and the notification cost more than the
/// copy.
const ZERO_COPY_BYTES: usize = 32 * 1024;

/// How many sends of a stream may wait for the notification that their memory is free.
const MAX_ZERO_COPIES: usize = 4;

/// Asks for the notification to say whether the kernel has copied nevertheless (`IORING_SEND_ZC_REPORT_USAGE`).
const REPORT_USAGE: u16 = 1 << 3;

/// What such a notification says if it has (`IORING_NOTIF_USAGE_ZC_COPIED`), as an error's number.
const COPIED: i32 = i32::MIN;

/// All at once, and no signal if the peer is gone.
pub(super) const FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;

/// Under what operation a send is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Sending {
    #[default]
    Idle,
    /// The operation, and whether it was cancelled.
    Busy { operation: u8, is_cancelled: bool },
}

/// The buffers of one send; most are one.
type Buffers = SmallVec<[Buffer; 1]>;

/// What the kernel reads. What few streams need at a time is apart, so that those that wait have no room for it.
#[derive(Default)]
pub(super) struct Sender {
    pub(super) sending: Cell<Sending>,
    /// Whether it showed that the kernel copies anyhow, or can't do it on this socket.
    copies_anyhow: Cell<bool>,
    /// The buffers of [`SEND`].
    buffers: RefCell<Buffers>,
    pub(super) rare: RefCell<Option<Box<Rare>>>,
}

/// What few streams need at a time. The kernel reads it where it lies.
#[derive(Default)]
pub(super) struct Rare {
    /// How the buffers of the present operation are told to the kernel, if they are several.
    message: Option<Message>,
    /// Of a file that is not in memory.
    pub(super) reading: Option<Reading>,
    /// Buffers sent without copying, by operation; empty ones are free.
    zero_copies: [Buffers; MAX_ZERO_COPIES],
}

/// What was read of a file, or is being read.
pub(super) struct Reading {
    /// The file, while it is being read.
    pub(super) file: Option<Rc<File>>,
    pub(super) chunk: Box<[u8]>,
}

impl Sender {
    /// Frees what few streams need if this one does not: one that waits keeps no memory for it.
    pub(super) fn free_unused(&self) {
        drop(self.rare.borrow_mut().take_if(|rare| rare.is_unused()));
    }
}

impl Rare {
    fn is_unused(&self) -> bool {
        self.message.is_none() && self.reading.is_none() && self.zero_copies.iter().all(|buffers| buffers.is_empty())
    }
}

impl Stream {
    pub(super) fn start_send(&self, driver: &UringDriver) {
        if self.sender.sending.get() != Sending::Idle {
            return;
        }
        match self.outgoing.next() {
            Next::Nothing => {}
            Next::Bytes if self.should_call(driver) => self.send_by_call(driver),
            Next::Bytes => self.send_bytes(driver),
            Next::File(_) => self.send_file(driver),
            Next::Shutdown => self.send_end(),
        }
    }

    /// Sends short output when the reader begins to wait, if calls pay: it waits for what the output brings about, so the rest of the
    /// round can be done meanwhile.
    pub(super) fn send_ahead(&self, driver: &UringDriver) {
        if !self.is_sending() && self.should_call(driver) && matches!(self.outgoing.next(), Next::Bytes) {
            self.send_by_call(driver);
        }
    }

    /// Whether bytes, if they are next, are sent by a call.
    fn should_call(&self, driver: &UringDriver) -> bool {
        driver.has_few_sockets() && self.outgoing.is_short()
    }

    /// Sends by a call what the kernel takes of a few bytes at once, and has the ring send the rest.
    fn send_by_call(&self, driver: &UringDriver) {
        driver.counters().system_calls.add(1);
        let more = if self.phase.get() == Phase::Open { SendFlags::empty() } else { SendFlags::MORE };
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT | more;
        let outcome = self.base.with_descriptor(|socket| {
            Ok(self.outgoing.with_slices(|slices| match slices {
                [bytes] => send(socket, bytes, flags),
                _ => sendmsg(socket, slices, &mut SendAncillaryBuffer::default(), flags),
            }))
        });
        match outcome {
            Ok(Ok(count)) => self.send_done(driver, Ok(u32::try_from(count).expect("a few bytes"))),
            Ok(Err(Errno::AGAIN | Errno::INTR)) => self.send_bytes(driver),
            Ok(Err(error)) => self.send_done(driver, Err(error.raw_os_error())),
            Err(error) => self.outgoing.fail(error),
        }
    }

    fn send_bytes(&self, driver: &UringDriver) {
        debug_assert!(self.sender.buffers.borrow().is_empty(), "taken when the last send was done");
        let mut buffers = Buffers::new();
        self.outgoing.clone_front(MAX_SLICES, &mut buffers);
        let zero_copy = self.zero_copy_operation(driver, &buffers);
        let operation = zero_copy.unwrap_or(SEND);
        let is_last = self.phase.get() != Phase::Open && self.outgoing.is_short();
        let flags = if is_last || self.outgoing.has_files() { FLAGS | libc::MSG_MORE } else { FLAGS };
        let entry = self.send_entry(&buffers, zero_copy.is_some(), flags);
        match zero_copy {
            None => *self.sender.buffers.borrow_mut() = buffers,
            Some(operation) => {
                let mut rare = self.sender.rare.borrow_mut();
                rare.get_or_insert_default().zero_copies[usize::from(operation - ZERO_COPY)] = buffers;
                driver.counters().zero_copy_sends.add(1);
            }
        }
        self.sender.sending.set(Sending::Busy { operation, is_cancelled: false });
        // SAFETY: the buffers are held by the socket, and the message is left alone, until the completion, or the
        // notification that follows it.
        unsafe { self.base.submit(driver, operation, entry) };
    }

    /// An entry that sends these buffers.
    fn send_entry(&self, buffers: &[Buffer], without_copy: bool, flags: i32) -> squeue::Entry {
        let fd = self.base.fd();
        if let [bytes] = buffers {
            let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            return if without_copy {
                opcode::SendZc::new(fd, bytes.as_ptr(), len).flags(flags).zc_flags(REPORT_USAGE).build()
            } else {
                opcode::Send::new(fd, bytes.as_ptr(), len).flags(flags).build()
            };
        }
        let mut rare = self.sender.rare.borrow_mut();
        let header = rare.get_or_insert_default().message.get_or_insert_default().of_buffers(buffers);
        let flags = flags.cast_unsigned();
        if without_copy {
            opcode::SendMsgZc::new(fd, header).flags(flags).ioprio(REPORT_USAGE).build()
        } else {
            opcode::SendMsg::new(fd, header).flags(flags).build()
        }
    }

    /// The operation to send these without copying, if that pays and is possible.
    fn zero_copy_operation(&self, driver: &UringDriver, buffers: &[Buffer]) -> Option<u8> {
        if self.sender.copies_anyhow.get() || !driver.ring.has_zero_copy() {
            return None;
        }
        let len: usize = buffers.iter().map(|bytes| bytes.len()).sum();
        if len < ZERO_COPY_BYTES * buffers.len().div_ceil(4) {
            return None;
        }
        let rare = self.sender.rare.borrow();
        let free =
            rare.as_ref().map_or(Some(0), |rare| rare.zero_copies.iter().position(|buffers| buffers.is_empty()))?;
        Some(ZERO_COPY + u8::try_from(free).expect("there are few"))
    }

    /// Ends the sending side, which no kernel waits for.
    fn send_end(&self) {
        let outcome =
            self.base.with_descriptor(|socket| rustix::net::shutdown(socket, Shutdown::Write).map_err(from_errno));
        match outcome {
            // The peer may have been faster to end it all.
            Ok(()) | Err(Error::NotConnected) => self.outgoing.shutdown_done(),
            Err(error) => self.outgoing.fail(error),
        }
    }

    /// Whether an operation is under way that needs the descriptor, or a file.
    pub(super) fn is_sending(&self) -> bool {
        self.sender.sending.get() != Sending::Idle
    }

    /// Tells the kernel to send no more, if it does.
    pub(super) fn cancel_send(&self, driver: &UringDriver) {
        if let Sending::Busy { operation, is_cancelled: false } = self.sender.sending.get() {
            self.sender.sending.set(Sending::Busy { operation, is_cancelled: true });
            self.base.cancel(driver, operation);
        }
    }

    pub(super) fn sent(&self, driver: &UringDriver, completion: Completion) {
        self.base.note(&completion);
        // Whoever owned them may be told by their end, and do anything: nothing is borrowed meanwhile.
        drop(self.sender.buffers.take());
        self.send_done(driver, completion.result);
    }

    pub(super) fn sent_without_copy(&self, driver: &UringDriver, index: u8, completion: Completion) {
        self.base.note(&completion);
        if completion.is_notification() {
            if completion.result == Err(COPIED) {
                self.sender.copies_anyhow.set(true);
                driver.counters().zero_copies_in_vain.add(1);
            }
        } else {
            self.send_done(driver, self.without_refusal(completion.result));
        }
        if !completion.has_more() {
            let mut rare = self.sender.rare.borrow_mut();
            let buffers = rare.as_mut().map(|rare| mem::take(&mut rare.zero_copies[usize::from(index)]));
            drop(rare);
            self.sender.free_unused();
            // Whoever owned the bytes may be told by their end, and do anything: nothing is borrowed meanwhile.
            drop(buffers);
        }
    }

    /// Turns the answer of a socket that can't send without copying, or of a user who may lock no more memory, into nothing sent.
    fn without_refusal(&self, result: Result<u32, i32>) -> Result<u32, i32> {
        match result {
            Err(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOMEM) if !self.sender.copies_anyhow.replace(true) => Ok(0),
            result => result,
        }
    }

    pub(super) fn send_done(&self, driver: &UringDriver, result: Result<u32, i32>) {
        self.sender.sending.set(Sending::Idle);
        if let Some(rare) = self.sender.rare.borrow_mut().as_mut() {
            rare.message = None;
        }
        self.sender.free_unused();
        match result.map_err(Errno::from_raw_os_error) {
            // The queue may have been dropped meanwhile.
            Ok(count) if self.outgoing.failure().is_none() => {
                driver.counters().sent_bytes.add(count.into());
                self.outgoing.advance(count.into());
            }
            Ok(_) | Err(Errno::CANCELED | Errno::INTR | Errno::AGAIN) => {}
            Err(error) => self.outgoing.fail(from_errno(error)),
        }
        if self.outgoing.has_more() {
            self.base.touch(driver);
        }
    }
}
