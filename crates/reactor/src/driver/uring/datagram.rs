//! Datagram sockets.

mod receive;
mod send;

use std::cell::Cell;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll};

use io_uring::opcode;
use io_uring::types::Timespec;
use sunstar_net::socket::DatagramSocket;
use sunstar_net::{Address, Error};
use sunstar_packet::Buffer;

use super::UringDriver;
use super::sockets::{Base, Completion, Place, Socket};
use crate::driver::LINGER_TIME;
use crate::posix::error::from_errno;
use crate::posix::{address, groups};
use receive::Receiver;
use send::Sender;

/// Receives, for as long as it is not cancelled.
const RECEIVE: u8 = 1;
/// Ends the time that a closed socket has to send the rest.
const LINGER: u8 = 2;
/// Ends a pause after a datagram for which there was no room.
const PAUSE: u8 = 3;
/// The first of the operations that send.
const SEND: u8 = 16;

static LINGER_TIMESPEC: Timespec = Timespec::new().sec(LINGER_TIME.as_secs());

/// What has become of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Somebody has it.
    Open,
    /// Nobody has it, but it has something left to send.
    Lingering,
    /// Its descriptor is closed as soon as nothing is under way.
    Closing,
}

/// A socket as the table holds it.
struct Datagrams {
    base: Base,
    phase: Cell<Phase>,
    receiver: Receiver,
    sender: Sender,
    has_linger_timer: Cell<bool>,
}

/// The handle that tasks have.
struct Handle {
    driver: Rc<UringDriver>,
    socket: Rc<Datagrams>,
}

/// Sends and receives by a bound socket.
pub(super) fn open(driver: Rc<UringDriver>, descriptor: OwnedFd) -> io::Result<Rc<dyn DatagramSocket>> {
    rustix::io::ioctl_fionbio(&descriptor, false)?;
    driver.datagram_frames()?;
    let is_unix = matches!(address::local(descriptor.as_fd()), Ok(Address::Unix(_)));
    let make = |place: Place| Datagrams {
        base: Base::new(place, descriptor),
        phase: Cell::new(Phase::Open),
        receiver: Receiver::default(),
        sender: Sender::new(is_unix),
        has_linger_timer: Cell::new(false),
    };
    let socket = driver.sockets.insert(make);
    Ok(Rc::new(Handle { driver, socket }))
}

impl Datagrams {
    /// Does what is to be done for a socket that nobody has any more.
    fn wind_up(&self, driver: &UringDriver) {
        if self.phase.get() == Phase::Open {
            return;
        }
        self.cancel_receive(driver);
        if self.phase.get() == Phase::Lingering {
            if !self.sender.is_done() {
                self.start_linger_timer(driver);
                return;
            }
            self.end_linger(driver);
        }
        self.cancel_sends(driver);
        if !self.base.is_busy() {
            self.base.close(driver);
        }
    }

    fn end_linger(&self, driver: &UringDriver) {
        if self.phase.replace(Phase::Closing) == Phase::Lingering {
            driver.lingering.set(driver.lingering.get() - 1);
            if self.has_linger_timer.get() {
                self.base.cancel(driver, LINGER);
            }
        }
    }

    fn start_linger_timer(&self, driver: &UringDriver) {
        if !self.has_linger_timer.replace(true) {
            let entry = opcode::Timeout::new(&raw const LINGER_TIMESPEC).build();
            // SAFETY: the time is static.
            unsafe { self.base.submit(driver, LINGER, entry) };
        }
    }
}

impl Socket for Datagrams {
    fn base(&self) -> &Base {
        &self.base
    }

    fn start(&self, driver: &UringDriver) {
        self.start_receive(driver);
        self.start_sends(driver);
        self.wind_up(driver);
    }

    fn complete(&self, driver: &UringDriver, operation: u8, completion: Completion) {
        match operation {
            RECEIVE => self.received(driver, completion),
            LINGER => {
                self.base.note(&completion);
                self.has_linger_timer.set(false);
                self.sender.drop_queue(driver);
                self.end_linger(driver);
            }
            PAUSE => self.pause_over(driver, completion),
            _ => self.sent(driver, operation - SEND, completion),
        }
        if self.phase.get() != Phase::Open {
            self.base.touch(driver);
        }
    }

    fn lingers(&self) -> bool {
        self.phase.get() == Phase::Lingering
    }

    fn stop(&self, driver: &UringDriver) {
        self.sender.drop_queue(driver);
        self.end_linger(driver);
        self.base.touch(driver);
    }
}

impl DatagramSocket for Handle {
    fn local_address(&self) -> Result<Address, Error> {
        self.socket.base.with_descriptor(address::local)
    }

    fn poll_receive(&self, cx: &mut Context<'_>) -> Poll<Result<(Buffer, Address), Error>> {
        self.socket.poll_receive(&self.driver, cx)
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.socket.sender.poll_writable(cx)
    }

    fn enqueue(&self, bytes: Buffer, to: Option<&Address>) {
        if self.socket.sender.enqueue(&self.driver, bytes, to) {
            self.socket.base.touch(&self.driver);
        }
    }

    fn connect(&self, peer: &Address) -> Result<(), Error> {
        let system = address::to_system(peer)?;
        let connect = |socket: BorrowedFd<'_>| rustix::net::connect(socket, &system).map_err(from_errno);
        self.socket.base.with_descriptor(connect)?;
        // Not always what was asked for: a host may have many addresses.
        self.socket.receiver.keep_only(self.socket.base.with_descriptor(address::peer)?);
        Ok(())
    }

    fn join_group(&self, group: IpAddr, scope_id: u32) -> Result<(), Error> {
        self.socket.base.with_descriptor(|socket| groups::join(socket, group, scope_id))
    }

    fn leave_group(&self, group: IpAddr, scope_id: u32) -> Result<(), Error> {
        self.socket.base.with_descriptor(|socket| groups::leave(socket, group, scope_id))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let (socket, driver) = (&*self.socket, &*self.driver);
        socket.receiver.drop_queue();
        socket.start_sends(driver);
        socket.cancel_receive(driver);
        driver.ring.exchange();
        let lingers = !socket.sender.is_done();
        socket.phase.set(if lingers { Phase::Lingering } else { Phase::Closing });
        driver.lingering.set(driver.lingering.get() + u32::from(lingers));
        if socket.sender.is_queue_empty() && driver.ring.is_submitted() {
            // What is under way holds the file, so this frees the address as soon as that is done.
            drop(socket.base.take_descriptor());
        }
        socket.base.touch(driver);
    }
}
