//! Descriptors and the calls on them. None of them waits.

mod control;
mod passing;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use sunstar_tcpip::stack::Stack;
use sunstar_tcpip::time::Instant;

use crate::address::Family;
use crate::descriptors::{Descriptors, Fd, LeastFree, Numbers, ObjectId};
use crate::epoll::Epoll;
use crate::errno::Errno;
use crate::numbers::{kind, msg, protocol};
use crate::settings::Settings;
use crate::stream::{Bound, Received, Stream, Wishes, World};

/// What a descriptor stands for.
#[derive(Debug)]
enum Object {
    Stream(Box<Stream>),
    Epoll(Epoll),
}

/// For which of its ways a call waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Reading and accepting (`SO_RCVTIMEO`).
    Receive,
    /// Writing and connecting (`SO_SNDTIMEO`).
    Send,
}

/// How long a call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Not at all: the descriptor does not block.
    None,
    /// So long.
    Until(Duration),
    /// For ever.
    Unbounded,
}

/// A stack, and sockets as programs know them.
///
/// Each call says what time it is. Afterwards, and after packets have come and time has passed, [`Sockets::look`] finds out who is to be
/// told, and [`Stack::poll_transmit`] has what must leave: the [`Platform`](crate::calls::Platform) sees to both.
#[derive(Debug)]
pub struct Sockets {
    stack: Stack,
    settings: Settings,
    descriptors: Descriptors,
    objects: BTreeMap<ObjectId, Object>,
    bound: BTreeMap<SocketAddr, Bound>,
    next_object: u64,
}

impl Sockets {
    /// Sockets over a stack; descriptors get the least number that is free.
    pub fn new(stack: Stack, settings: Settings) -> Self {
        Self::with_numbers(stack, settings, Box::new(LeastFree::default()))
    }

    /// The same where somebody else gives out the numbers.
    pub fn with_numbers(stack: Stack, settings: Settings, numbers: Box<dyn Numbers>) -> Self {
        Self {
            stack,
            settings,
            descriptors: Descriptors::new(numbers),
            objects: BTreeMap::new(),
            bound: BTreeMap::new(),
            next_object: 0,
        }
    }

    /// The stack below.
    pub fn stack(&mut self) -> &mut Stack {
        &mut self.stack
    }

    /// What holds for sockets that say nothing else.
    pub fn settings(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// Whether a descriptor is one of these.
    pub fn is_open(&self, fd: Fd) -> bool {
        self.descriptors.get(fd).is_ok()
    }

    /// All descriptors.
    pub fn open_descriptors(&self) -> Vec<Fd> {
        self.descriptors.all().collect()
    }

    /// socket(2): of TCP only.
    ///
    /// # Errors
    /// [`Errno::AFNOSUPPORT`], [`Errno::SOCKTNOSUPPORT`], [`Errno::PROTONOSUPPORT`], [`Errno::INVAL`], [`Errno::MFILE`].
    pub fn socket(&mut self, family: i32, kind: i32, protocol: i32) -> Result<Fd, Errno> {
        let family = Family::from_number(family)?;
        let (flags, kind) = (kind & (kind::NONBLOCK | kind::CLOEXEC), kind & !(kind::NONBLOCK | kind::CLOEXEC));
        match kind {
            kind::STREAM => {}
            0..=0xf => return Err(Errno::SOCKTNOSUPPORT),
            _ => return Err(Errno::INVAL),
        }
        if protocol != 0 && protocol != protocol::TCP {
            return Err(Errno::PROTONOSUPPORT);
        }
        self.add_stream(Stream::new(family, Wishes::default()), flags)
    }

    fn add_stream(&mut self, mut stream: Stream, flags: i32) -> Result<Fd, Errno> {
        stream.is_nonblocking = flags & kind::NONBLOCK != 0;
        self.add(Object::Stream(Box::new(stream)), flags & kind::CLOEXEC != 0)
    }

    fn add(&mut self, object: Object, closes_on_exec: bool) -> Result<Fd, Errno> {
        let id = ObjectId(self.next_object);
        let fd = self.descriptors.add(id, closes_on_exec, self.settings.descriptors)?;
        self.next_object += 1;
        self.objects.insert(id, object);
        Ok(fd)
    }

    /// The socket behind a descriptor, and what its calls need.
    fn stream(&mut self, now: Instant, fd: Fd) -> Result<(&mut Stream, World<'_>), Errno> {
        let id = self.descriptors.get(fd)?;
        let Some(Object::Stream(stream)) = self.objects.get_mut(&id) else { return Err(Errno::NOTSOCK) };
        let world = World { stack: &mut self.stack, settings: &self.settings, now, bound: &mut self.bound };
        Ok((stream, world))
    }

    /// The family of a socket's addresses.
    ///
    /// # Errors
    /// [`Errno::BADF`], [`Errno::NOTSOCK`].
    pub fn family(&mut self, fd: Fd) -> Result<Family, Errno> {
        Ok(self.stream(Instant::default(), fd)?.0.family)
    }

    /// bind(2).
    ///
    /// # Errors
    /// [`Errno::ADDRINUSE`], [`Errno::ADDRNOTAVAIL`], [`Errno::INVAL`] if it has an address.
    pub fn bind(&mut self, fd: Fd, address: SocketAddr) -> Result<(), Errno> {
        let (stream, mut world) = self.stream(Instant::default(), fd)?;
        stream.bind(&mut world, address)
    }

    /// listen(2).
    ///
    /// # Errors
    /// [`Errno::ADDRINUSE`], [`Errno::INVAL`] if it is connected.
    pub fn listen(&mut self, fd: Fd, backlog: i32) -> Result<(), Errno> {
        let (stream, mut world) = self.stream(Instant::default(), fd)?;
        stream.listen(&mut world, backlog)
    }

    /// accept4(2).
    ///
    /// # Errors
    /// [`Errno::AGAIN`] if nobody is there, [`Errno::INVAL`] if it does not listen, [`Errno::MFILE`], which resets who was there.
    pub fn accept(&mut self, now: Instant, fd: Fd, flags: i32) -> Result<Fd, Errno> {
        let (stream, mut world) = self.stream(now, fd)?;
        let accepted = stream.accept(&mut world)?;
        self.add_stream(accepted, flags)
    }

    /// connect(2). Ask [`Sockets::connecting`] what has become of it.
    ///
    /// # Errors
    /// [`Errno::INPROGRESS`] when it has begun, [`Errno::ALREADY`] if it had; what connect(2) knows.
    pub fn connect(&mut self, now: Instant, fd: Fd, to: SocketAddr) -> Result<(), Errno> {
        let (stream, mut world) = self.stream(now, fd)?;
        stream.connect(&mut world, to)
    }

    /// What has become of a connect that has begun.
    ///
    /// # Errors
    /// [`Errno::AGAIN`] if nothing has yet; why it failed.
    pub fn connecting(&mut self, now: Instant, fd: Fd) -> Result<(), Errno> {
        let (stream, world) = self.stream(now, fd)?;
        stream.go_on_connecting(world.stack, Errno::AGAIN)
    }

    /// shutdown(2).
    ///
    /// # Errors
    /// [`Errno::NOTCONN`], [`Errno::INVAL`].
    pub fn shutdown(&mut self, now: Instant, fd: Fd, how: i32) -> Result<(), Errno> {
        let id = self.descriptors.get(fd)?;
        let (stream, mut world) = self.stream(now, fd)?;
        let done = stream.shutdown(&mut world, how);
        if done.is_ok() {
            // Whoever waits looks again (`sk_state_change`).
            self.tell(id, u32::MAX);
        }
        done
    }

    /// Whether closing a descriptor has to wait, as `SO_LINGER` says, and for how long at most.
    ///
    /// # Errors
    /// [`Errno::BADF`].
    pub fn lingers(&mut self, now: Instant, fd: Fd) -> Result<Option<Duration>, Errno> {
        match self.stream(now, fd) {
            Ok((stream, world)) => Ok(stream.wishes.linger().filter(|_| stream.lingers(world.stack))),
            Err(Errno::NOTSOCK) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// close(2).
    ///
    /// # Errors
    /// [`Errno::BADF`].
    pub fn close(&mut self, now: Instant, fd: Fd) -> Result<(), Errno> {
        let (id, is_last) = self.descriptors.remove(fd)?;
        if !is_last {
            return Ok(());
        }
        let object = self.objects.remove(&id);
        for other in self.objects.values_mut() {
            if let Object::Epoll(epoll) = other {
                epoll.forget(id);
            }
        }
        if let Some(Object::Stream(mut stream)) = object {
            let mut world = World { stack: &mut self.stack, settings: &self.settings, now, bound: &mut self.bound };
            stream.close(&mut world);
        }
        Ok(())
    }

    /// Its own address, and the other side's.
    ///
    /// # Errors
    /// [`Errno::BADF`], [`Errno::NOTSOCK`].
    pub fn names(&mut self, fd: Fd) -> Result<(SocketAddr, Option<SocketAddr>), Errno> {
        let (stream, world) = self.stream(Instant::default(), fd)?;
        Ok(stream.names(world.stack))
    }

    /// recvmsg(2).
    ///
    /// # Errors
    /// [`Errno::AGAIN`] if nothing is there; what recvmsg(2) knows.
    pub fn receive(&mut self, now: Instant, fd: Fd, parts: &mut [&mut [u8]], flags: i32) -> Result<Received, Errno> {
        let (stream, mut world) = self.stream(now, fd)?;
        stream.receive(&mut world, parts, flags)
    }

    /// sendmsg(2): answers how many bytes were taken, which may be fewer than there are.
    ///
    /// # Errors
    /// [`Errno::AGAIN`] if there is no room; what sendmsg(2) knows.
    pub fn send(
        &mut self,
        now: Instant,
        fd: Fd,
        parts: &[&[u8]],
        flags: i32,
        to: Option<SocketAddr>,
    ) -> Result<usize, Errno> {
        let (stream, mut world) = self.stream(now, fd)?;
        stream.send(&mut world, parts, flags, to)
    }

    /// Whether a writer that waits goes on: a third of the send buffer is free, as with `EPOLLOUT`, or nothing will be any more.
    ///
    /// # Errors
    /// [`Errno::BADF`], [`Errno::NOTSOCK`].
    pub fn wakes_writers(&mut self, now: Instant, fd: Fd) -> Result<bool, Errno> {
        let (stream, mut world) = self.stream(now, fd)?;
        Ok(stream.is_writable(&mut world))
    }

    /// Whether a connection that a write has begun is open.
    ///
    /// # Errors
    /// [`Errno::AGAIN`] if it is still being opened; why it could not be.
    pub fn opened(&mut self, now: Instant, fd: Fd) -> Result<(), Errno> {
        match self.connecting(now, fd) {
            Err(Errno::ISCONN) => Ok(()),
            opened => opened,
        }
    }

    /// Whether a connection is still being opened: who sends with the SYN waits for that.
    ///
    /// # Errors
    /// [`Errno::BADF`], [`Errno::NOTSOCK`].
    pub fn is_opening(&mut self, fd: Fd) -> Result<bool, Errno> {
        let (stream, mut world) = self.stream(Instant::default(), fd)?;
        Ok(stream.is_opening(&mut world))
    }

    /// How long a call on a descriptor may wait. `flags` are those of the call.
    ///
    /// # Errors
    /// [`Errno::BADF`], [`Errno::NOTSOCK`].
    pub fn patience(&mut self, fd: Fd, direction: Direction, flags: i32) -> Result<Patience, Errno> {
        let (stream, _) = self.stream(Instant::default(), fd)?;
        // What is urgent is there or not.
        let hurried = if direction == Direction::Receive { msg::OOB } else { 0 };
        if stream.is_nonblocking || flags & (msg::DONTWAIT | msg::ERRQUEUE | hurried) != 0 {
            return Ok(Patience::None);
        }
        Ok(stream.wishes.timeout(direction).map_or(Patience::Unbounded, Patience::Until))
    }
}
