//! The receiving side of datagram sockets.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem::{MaybeUninit, size_of};
use std::ptr;
use std::task::{Context, Poll};

use io_uring::opcode;
use io_uring::types::RecvMsgOut;
use rustix::io::Errno;
use rustix::net::SocketAddrAny;
use sunstar_net::{Address, Error, UnixAddress};
use sunstar_packet::Buffer;

use super::{Datagrams, Phase, RECEIVE};
use crate::driver::uring::sockets::Completion;
use crate::driver::uring::{DATAGRAM_FRAMES, DATAGRAM_GROUP, UringDriver};
use crate::driver::waiter::Waiter;
use crate::posix::address;
use crate::posix::error::from_errno;

/// Datagrams that wait to be read before a socket stops to receive. The kernel keeps further ones, as far as the socket's
/// receive buffer goes, and then drops them.
const RECEIVE_QUEUE_DATAGRAMS: usize = 128;

/// Whether the kernel receives for the socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Receiving {
    #[default]
    Idle,
    Armed,
    /// It was told to stop, and will say when it has.
    Cancelling,
}

/// The state of the receiving side.
pub(super) struct Receiver {
    receiving: Cell<Receiving>,
    wants_receive: Cell<bool>,
    queue: RefCell<VecDeque<Result<(Buffer, Address), Error>>>,
    /// The only one to receive from.
    peer: RefCell<Option<Address>>,
    reader: Waiter,
    /// Tells the kernel how much room senders' addresses have.
    layout: libc::msghdr,
}

impl Default for Receiver {
    fn default() -> Self {
        // SAFETY: null pointers and zero lengths are a valid header.
        let mut layout: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        layout.msg_namelen = u32::try_from(size_of::<libc::sockaddr_storage>()).expect("an address is small");
        Self {
            receiving: Cell::default(),
            wants_receive: Cell::new(false),
            queue: RefCell::default(),
            peer: RefCell::default(),
            reader: Waiter::default(),
            layout,
        }
    }
}

impl Receiver {
    /// Drops what came and still comes from elsewhere: the kernel's queue may hold some of it.
    pub(super) fn keep_only(&self, peer: Address) {
        self.peer.replace(Some(peer));
        let queue = self.queue.take();
        self.queue.replace(queue.into_iter().filter(|entry| self.is_welcome(entry)).collect());
    }

    fn is_welcome(&self, entry: &Result<(Buffer, Address), Error>) -> bool {
        match (entry, &*self.peer.borrow()) {
            (Ok((_, from)), Some(peer)) => from == peer,
            _ => true,
        }
    }

    /// Lets the reader look again.
    pub(super) fn wake(&self) {
        self.reader.wake();
    }

    pub(super) fn drop_queue(&self) {
        drop(self.queue.take());
    }
}

impl Datagrams {
    pub(super) fn poll_receive(
        &self,
        driver: &UringDriver,
        cx: &Context<'_>,
    ) -> Poll<Result<(Buffer, Address), Error>> {
        if let Some(error) = self.sender.take_error() {
            return Poll::Ready(Err(error));
        }
        let receiver = &self.receiver;
        let (first, left) = {
            let mut queue = receiver.queue.borrow_mut();
            (queue.pop_front(), queue.len())
        };
        if receiver.receiving.get() != Receiving::Armed && left < RECEIVE_QUEUE_DATAGRAMS / 2 {
            receiver.wants_receive.set(true);
            self.base.touch(driver);
        }
        match first {
            Some(answer) => Poll::Ready(answer),
            None => {
                receiver.reader.wait(cx);
                Poll::Pending
            }
        }
    }

    pub(super) fn start_receive(&self, driver: &UringDriver) {
        let receiver = &self.receiver;
        let is_wanted = receiver.wants_receive.get() && self.phase.get() == Phase::Open;
        if !is_wanted || receiver.receiving.get() != Receiving::Idle {
            return;
        }
        receiver.wants_receive.set(false);
        receiver.receiving.set(Receiving::Armed);
        let entry = opcode::RecvMsgMulti::new(self.base.fd(), &raw const receiver.layout, DATAGRAM_GROUP).build();
        // SAFETY: the header lies in the socket and is never changed; the kernel writes to frames only.
        unsafe { self.base.submit(driver, RECEIVE, entry) };
    }

    pub(super) fn cancel_receive(&self, driver: &UringDriver) {
        if self.receiver.receiving.get() == Receiving::Armed {
            self.receiver.receiving.set(Receiving::Cancelling);
            self.base.cancel(driver, RECEIVE);
        }
    }

    pub(super) fn received(&self, driver: &UringDriver, completion: Completion) {
        self.base.note(&completion);
        if !completion.has_more() {
            self.receiver.receiving.set(Receiving::Idle);
        }
        match (completion.result, completion.frame()) {
            (Ok(len), Some(frame)) => self.received_frame(driver, frame, len as usize),
            (outcome, frame) => {
                if let Some(frame) = frame {
                    // SAFETY: the kernel named it in this completion.
                    unsafe { driver.made_datagram_frames().untake(frame) };
                }
                self.received_error(driver, outcome.err().map(Errno::from_raw_os_error));
            }
        }
        if self.receiver.receiving.get() == Receiving::Idle && self.receiver.wants_receive.get() {
            self.base.touch(driver);
        }
    }

    fn received_frame(&self, driver: &UringDriver, frame: u16, len: usize) {
        let frames = driver.made_datagram_frames();
        // SAFETY: the kernel named the frame in this completion, and wrote this many bytes to it.
        let bytes = unsafe { frames.peek(frame, len.min(DATAGRAM_FRAMES.frame_bytes as usize)) };
        let parsed =
            RecvMsgOut::parse(bytes, &self.receiver.layout).ok().filter(|parsed| !parsed.is_payload_truncated());
        let datagram = parsed.map(|parsed| {
            let payload = parsed.payload_data();
            let start = payload.as_ptr().addr() - bytes.as_ptr().addr();
            (start..start + payload.len(), sender(parsed.name_data()))
        });
        let Some((range, from)) = datagram else {
            // SAFETY: as above; it was not taken yet.
            unsafe { frames.untake(frame) };
            return driver.counters().dropped_datagrams.add(1);
        };
        driver.counters().received_bytes.add(range.len() as u64);
        // SAFETY: as above; it was not taken yet.
        let bytes = unsafe { frames.take(frame, range, driver.counters()) };
        self.push(driver, from.map(|from| (bytes, from)));
    }

    fn push(&self, driver: &UringDriver, entry: Result<(Buffer, Address), Error>) {
        if self.phase.get() != Phase::Open || !self.receiver.is_welcome(&entry) {
            return;
        }
        self.receiver.queue.borrow_mut().push_back(entry);
        if self.receiver.queue.borrow().len() >= RECEIVE_QUEUE_DATAGRAMS {
            self.cancel_receive(driver);
        }
        self.receiver.reader.wake();
    }

    fn received_error(&self, driver: &UringDriver, error: Option<Errno>) {
        match error {
            // Whoever cancelled it knows, or lets it go on when it is read again.
            None | Some(Errno::CANCELED) => {}
            Some(Errno::NOBUFS) => {
                driver.counters().short_frames.add(1);
                self.receiver.wants_receive.set(true);
            }
            Some(Errno::INTR | Errno::AGAIN) => self.receiver.wants_receive.set(true),
            Some(error) => self.push(driver, Err(from_errno(error))),
        }
    }
}

/// The address that the kernel put before a datagram.
fn sender(name: &[u8]) -> Result<Address, Error> {
    if name.len() <= size_of::<libc::sa_family_t>() {
        return Ok(Address::Unix(UnixAddress::Unnamed));
    }
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let len = name.len().min(size_of::<libc::sockaddr_storage>());
    // SAFETY: the storage has room for this many bytes, and is not the frame.
    unsafe { ptr::copy_nonoverlapping(name.as_ptr(), storage.as_mut_ptr().cast(), len) };
    let len = u32::try_from(len).expect("an address is small");
    // SAFETY: the storage is initialised, and holds an address of this length that the kernel wrote.
    address::from_system(unsafe { SocketAddrAny::read(storage.as_ptr().cast(), len) })
}
