//! Sending files.
//!
//! What is in memory is sent from there, by a call that neither copies nor waits. The rest is read by the ring first.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::rc::Rc;

use io_uring::opcode;
use io_uring::types::Fd;
use rustix::io::{Errno, ioctl_fionbio};
use sunstar_net::Error;

use super::send::{FLAGS, Reading, Sending};
use super::{READ_FILE, SEND_FILE, Stream, WAIT_FOR_ROOM};
use crate::driver::file;
use crate::driver::outgoing::{FilePart, Next};
use crate::driver::uring::UringDriver;
use crate::driver::uring::sockets::Completion;
use crate::posix::error::from_errno;

/// Bytes of a file that are read at once.
const READ_BYTES: usize = 128 * 1024;

impl Stream {
    /// Sends what is in memory of the next chunks, or has the next one read if that is nothing.
    pub(super) fn send_file(&self, driver: &UringDriver) {
        for _ in 0..file::CHUNKS_AT_ONCE {
            let Next::File(part) = self.outgoing.next() else { break };
            let ready_bytes = file::resident_bytes(&part);
            if ready_bytes == 0 {
                return self.read_file(driver, &part);
            }
            driver.counters().system_calls.add(1);
            match self.base.with_descriptor(|socket| Ok(send_from_memory(socket, &part, ready_bytes))) {
                // It is shorter than it was said to be, and the peer can't be told otherwise.
                Ok(Ok(0)) => return self.abort(driver, Error::ConnectionAborted),
                Ok(Ok(count)) => {
                    driver.counters().sent_bytes.add(count);
                    self.outgoing.advance(count);
                }
                Ok(Err(Errno::INTR)) => {}
                Ok(Err(Errno::AGAIN)) => return self.wait_for_room(driver),
                Ok(Err(error)) => return self.outgoing.fail(from_errno(error)),
                Err(error) => return self.outgoing.fail(error),
            }
        }
        if self.outgoing.has_more() {
            self.base.touch(driver);
        }
    }

    /// Tries again when the kernel takes something.
    fn wait_for_room(&self, driver: &UringDriver) {
        let events = u32::try_from(libc::POLLOUT).expect("a bit");
        let entry = opcode::PollAdd::new(self.base.fd(), events).build();
        self.sender.sending.set(Sending::Busy { operation: WAIT_FOR_ROOM, is_cancelled: false });
        // SAFETY: the entry points to nothing.
        unsafe { self.base.submit(driver, WAIT_FOR_ROOM, entry) };
    }

    pub(super) fn has_room(&self, driver: &UringDriver, completion: Completion) {
        self.base.note(&completion);
        self.sender.sending.set(Sending::Idle);
        self.base.touch(driver);
    }

    /// Reads what is next of a file by the ring: on a thread of the kernel where that must wait for a disk.
    fn read_file(&self, driver: &UringDriver, part: &FilePart) {
        let mut rare = self.sender.rare.borrow_mut();
        let reading = rare.get_or_insert_default().reading.get_or_insert_with(|| {
            let chunk = vec![0; READ_BYTES].into_boxed_slice();
            Reading { file: None, chunk }
        });
        let chunk = &mut reading.chunk;
        let len = u32::try_from(part.len_bytes).unwrap_or(u32::MAX).min(u32::try_from(chunk.len()).unwrap_or(u32::MAX));
        let file = Fd(part.file.as_raw_fd());
        driver.counters().cold_file_chunks.add(1);
        let entry = opcode::Read::new(file, chunk.as_mut_ptr(), len).offset(part.offset).build();
        reading.file = Some(Rc::clone(&part.file));
        self.sender.sending.set(Sending::Busy { operation: READ_FILE, is_cancelled: false });
        // SAFETY: the chunk and the file are the socket's, and left alone until the completion.
        unsafe { self.base.submit(driver, READ_FILE, entry) };
    }

    /// Sends what was read of a file.
    pub(super) fn file_read(&self, driver: &UringDriver, completion: Completion) {
        self.base.note(&completion);
        let file = self.sender.rare.borrow_mut().as_mut().and_then(|rare| rare.reading.as_mut()?.file.take());
        drop(file);
        self.sender.sending.set(Sending::Idle);
        match completion.result.map_err(Errno::from_raw_os_error) {
            _ if self.outgoing.failure().is_some() => {}
            // It is shorter than it was said to be, and the peer can't be told otherwise.
            Ok(0) => self.abort(driver, Error::ConnectionAborted),
            Ok(len) => {
                let rare = self.sender.rare.borrow();
                let chunk = &rare.as_ref().and_then(|rare| rare.reading.as_ref()).expect("it was read to").chunk;
                let entry = opcode::Send::new(self.base.fd(), chunk.as_ptr(), len).flags(FLAGS).build();
                self.sender.sending.set(Sending::Busy { operation: SEND_FILE, is_cancelled: false });
                // SAFETY: the chunk is the socket's, and left alone until the completion.
                unsafe { self.base.submit(driver, SEND_FILE, entry) };
            }
            Err(Errno::CANCELED | Errno::INTR | Errno::AGAIN) => self.base.touch(driver),
            Err(error) => self.outgoing.fail(from_errno(error)),
        }
    }

    /// Takes note of what was sent of a file.
    pub(super) fn file_sent(&self, driver: &UringDriver, completion: Completion) {
        self.base.note(&completion);
        self.send_done(driver, completion.result);
        if !matches!(self.outgoing.next(), Next::File(_)) {
            let reading = self.sender.rare.borrow_mut().as_mut().and_then(|rare| rare.reading.take());
            self.sender.free_unused();
            drop(reading);
        }
    }
}

/// Sends from memory without waiting for room.
fn send_from_memory(socket: BorrowedFd<'_>, part: &FilePart, len_bytes: u64) -> Result<u64, Errno> {
    // The call asks the socket whether it may wait. Operations of the ring must find that it may; none of them runs meanwhile,
    // since they do only when this thread is in the kernel for the ring.
    ioctl_fionbio(socket, true)?;
    let outcome = file::send(socket, part, len_bytes);
    ioctl_fionbio(socket, false)?;
    outcome
}
