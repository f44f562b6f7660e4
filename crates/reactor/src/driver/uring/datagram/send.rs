//! The sending side of datagram sockets.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::{mem, ptr, slice};

use io_uring::types::{Fd, Timespec};
use io_uring::{opcode, squeue};
use rustix::io::Errno;
use rustix::net::SocketAddrAny;
use sunstar_net::socket::DEFAULT_SEND_QUEUE_BYTES;
use sunstar_net::{Address, Error};
use sunstar_packet::Buffer;

use super::{Datagrams, PAUSE, Phase, SEND};
use crate::driver::uring::UringDriver;
use crate::driver::uring::message::Message;
use crate::driver::uring::sockets::Completion;
use crate::driver::waiter::Waiter;
use crate::posix::address;
use crate::posix::error::from_errno;

/// What a datagram costs in the send queue besides its bytes, so that empty ones are bounded too.
const DATAGRAM_COST_BYTES: usize = 64;

/// Datagrams that the kernel has in hand at a time, where their order does not matter.
const SENDS_IN_FLIGHT: usize = 16;

/// The kernel must not wait for room by itself: when a Unix socket has some again, it would send an empty datagram, since it has
/// consumed the bytes in the first attempt.
const FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;

/// How long a datagram for which there was no room waits. Unix sockets can't tell when another one has room.
static PAUSE_TIME: Timespec = Timespec::new().nsec(1_000_000);

/// A datagram that the kernel has in hand, or the place for one.
#[derive(Default)]
struct Letter {
    is_under_way: bool,
    is_cancelled: bool,
    message: Message,
    bytes: Buffer,
    to: Option<SocketAddrAny>,
}

/// The state of the sending side.
#[derive(Default)]
pub(super) struct Sender {
    queue: RefCell<VecDeque<(Buffer, Option<SocketAddrAny>)>>,
    queued_bytes: Cell<usize>,
    /// The kernel knows them by their address. Kept for the next ones.
    #[expect(clippy::vec_box, reason = "they must stay in their place when the list grows")]
    letters: RefCell<Vec<Box<Letter>>>,
    under_way: Cell<usize>,
    /// Whether datagrams must not overtake each other: those of Unix sockets never do.
    keeps_order: bool,
    /// Whether there was no room for a datagram, so that a moment passes until it is tried again.
    is_paused: Cell<bool>,
    /// What became of an earlier one.
    error: Cell<Option<Error>>,
    writer: Waiter,
}

impl Letter {
    /// An entry that sends the datagram.
    fn entry(&mut self, fd: Fd) -> squeue::Entry {
        self.message.of_buffers(slice::from_ref(&self.bytes));
        let header = match &self.to {
            Some(to) => self.message.with_name(to.as_ptr().cast(), to.addr_len()),
            None => self.message.with_name(ptr::null(), 0),
        };
        opcode::SendMsg::new(fd, header).flags(FLAGS.cast_unsigned()).build()
    }
}

impl Sender {
    pub(super) fn new(keeps_order: bool) -> Self {
        Self { keeps_order, ..Self::default() }
    }

    pub(super) fn poll_writable(&self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        if let Some(error) = self.error.take() {
            return Poll::Ready(Err(error));
        }
        if self.has_room() {
            return Poll::Ready(Ok(()));
        }
        self.writer.wait(cx);
        Poll::Pending
    }

    fn has_room(&self) -> bool {
        self.queued_bytes.get() < DEFAULT_SEND_QUEUE_BYTES
    }

    /// What became of an earlier datagram, if nobody was told yet.
    pub(super) fn take_error(&self) -> Option<Error> {
        self.error.take()
    }

    /// Queues a datagram, unless the queue is full or the address makes no sense; answers whether it did.
    pub(super) fn enqueue(&self, driver: &UringDriver, bytes: Buffer, to: Option<&Address>) -> bool {
        if !self.has_room() {
            driver.counters().dropped_datagrams.add(1);
            return false;
        }
        match to.map(address::to_system).transpose() {
            Ok(to) => {
                self.queued_bytes.set(self.queued_bytes.get() + bytes.len() + DATAGRAM_COST_BYTES);
                self.queue.borrow_mut().push_back((bytes, to));
                true
            }
            Err(error) => {
                self.error.set(Some(error));
                false
            }
        }
    }

    /// Whether the kernel has taken all.
    pub(super) fn is_done(&self) -> bool {
        self.under_way.get() == 0 && self.queue.borrow().is_empty()
    }

    /// Whether the kernel has at least all in hand.
    pub(super) fn is_queue_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    /// Drops what the kernel does not have in hand yet.
    pub(super) fn drop_queue(&self, driver: &UringDriver) {
        self.queued_bytes.set(0);
        let dropped = self.queue.take();
        driver.counters().dropped_datagrams.add(dropped.len() as u64);
    }

    /// Puts a datagram into a free place, and answers which.
    fn place(&self, bytes: Buffer, to: Option<SocketAddrAny>) -> usize {
        let mut letters = self.letters.borrow_mut();
        let free = letters.iter().position(|letter| !letter.is_under_way).unwrap_or_else(|| {
            letters.push(Box::default());
            letters.len() - 1
        });
        let letter = &mut letters[free];
        (letter.is_under_way, letter.is_cancelled, letter.bytes, letter.to) = (true, false, bytes, to);
        free
    }
}

impl Datagrams {
    pub(super) fn start_sends(&self, driver: &UringDriver) {
        let sender = &self.sender;
        let limit = if sender.keeps_order { 1 } else { SENDS_IN_FLIGHT };
        while sender.under_way.get() < limit && !sender.is_paused.get() {
            let first = sender.queue.borrow_mut().pop_front();
            let Some((bytes, to)) = first else { break };
            sender.queued_bytes.set(sender.queued_bytes.get() - bytes.len() - DATAGRAM_COST_BYTES);
            let index = sender.place(bytes, to);
            sender.under_way.set(sender.under_way.get() + 1);
            let entry = sender.letters.borrow_mut()[index].entry(self.base.fd());
            // SAFETY: the letter and the bytes stay where they are, unchanged, until the completion.
            unsafe { self.base.submit(driver, operation(index), entry) };
        }
        if sender.has_room() {
            sender.writer.wake();
        }
    }

    fn pause(&self, driver: &UringDriver) {
        if !self.sender.is_paused.replace(true) {
            let entry = opcode::Timeout::new(&raw const PAUSE_TIME).build();
            // SAFETY: the time is static.
            unsafe { self.base.submit(driver, PAUSE, entry) };
        }
    }

    /// Tries again to send that for which there was no room.
    pub(super) fn pause_over(&self, driver: &UringDriver, completion: Completion) {
        self.base.note(&completion);
        self.sender.is_paused.set(false);
        self.base.touch(driver);
    }

    /// Tells the kernel to send no more of what it has in hand.
    pub(super) fn cancel_sends(&self, driver: &UringDriver) {
        for (index, letter) in self.sender.letters.borrow_mut().iter_mut().enumerate() {
            if letter.is_under_way && !letter.is_cancelled {
                letter.is_cancelled = true;
                self.base.cancel(driver, operation(index));
            }
        }
    }

    pub(super) fn sent(&self, driver: &UringDriver, index: u8, completion: Completion) {
        self.base.note(&completion);
        let sender = &self.sender;
        sender.under_way.set(sender.under_way.get() - 1);
        let (bytes, to) = {
            let letter = &mut sender.letters.borrow_mut()[usize::from(index)];
            letter.is_under_way = false;
            (mem::take(&mut letter.bytes), letter.to.take())
        };
        let may_wait = self.phase.get() != Phase::Closing && self.base.with_descriptor(|_| Ok(())).is_ok();
        if completion.result == Err(libc::EAGAIN) && may_wait {
            sender.queued_bytes.set(sender.queued_bytes.get() + bytes.len() + DATAGRAM_COST_BYTES);
            sender.queue.borrow_mut().push_front((bytes, to));
            return self.pause(driver);
        }
        // Dropped when nothing is borrowed: its owner may be told.
        drop(bytes);
        match completion.result.map_err(Errno::from_raw_os_error) {
            Ok(count) => driver.counters().sent_bytes.add(count.into()),
            Err(error) => {
                driver.counters().dropped_datagrams.add(1);
                // A lack of buffers is what a full queue on the way is: datagrams get lost.
                if !matches!(error, Errno::CANCELED | Errno::NOBUFS) {
                    sender.error.set(Some(from_errno(error)));
                    sender.writer.wake();
                    self.receiver.wake();
                }
            }
        }
        if !sender.queue.borrow().is_empty() {
            self.base.touch(driver);
        }
    }
}

/// The operation that sends the letter at this index.
fn operation(index: usize) -> u8 {
    SEND + u8::try_from(index).expect("there are few")
}
