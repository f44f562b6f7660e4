//! Options, flags, poll and epoll.

use alloc::vec::Vec;

use sunstar_tcpip::time::Instant;

use super::{Object, Sockets};
use crate::descriptors::{Fd, ObjectId};
use crate::epoll::{Epoll, EpollEvent};
use crate::errno::Errno;
use crate::numbers::{file, ioctl, kind, ready};
use crate::stream::World;

impl Sockets {
    /// setsockopt(2).
    ///
    /// # Errors
    /// [`Errno::NOPROTOOPT`], [`Errno::INVAL`] and what setsockopt(2) knows.
    pub fn set_option(&mut self, now: Instant, fd: Fd, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        let (stream, mut world) = self.stream(now, fd)?;
        stream.set_option(&mut world, level, name, value)
    }

    /// getsockopt(2): the value, which the caller cuts to the room that there is.
    ///
    /// # Errors
    /// [`Errno::NOPROTOOPT`].
    pub fn option(&mut self, now: Instant, fd: Fd, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        let (stream, mut world) = self.stream(now, fd)?;
        stream.option(&mut world, level, name)
    }

    /// dup(2): another number for the same socket or epoll, which lives as long as either is open. What is set with `F_SETFL` holds for both.
    ///
    /// # Errors
    /// [`Errno::BADF`], [`Errno::MFILE`].
    pub fn duplicate(&mut self, fd: Fd) -> Result<Fd, Errno> {
        self.fcntl(fd, file::F_DUPFD, 0)
    }

    /// fcntl(2), of the operations that concern descriptors and flags.
    ///
    /// # Errors
    /// [`Errno::BADF`], [`Errno::INVAL`] for other operations, and for numbers that can't be; [`Errno::MFILE`] for `F_DUPFD`.
    pub fn fcntl(&mut self, fd: Fd, operation: i32, argument: i32) -> Result<i32, Errno> {
        match operation {
            file::F_DUPFD | file::F_DUPFD_CLOEXEC => {
                let closes_on_exec = operation == file::F_DUPFD_CLOEXEC;
                self.descriptors.duplicate(fd, argument, closes_on_exec, self.settings.descriptors)
            }
            file::F_GETFD => Ok(if self.descriptors.closes_on_exec(fd)? { file::FD_CLOEXEC } else { 0 }),
            file::F_SETFD => {
                self.descriptors.set_closes_on_exec(fd, argument & file::FD_CLOEXEC != 0)?;
                Ok(0)
            }
            file::F_GETFL => {
                let (stream, _) = self.stream(Instant::default(), fd)?;
                Ok(file::O_RDWR | if stream.is_nonblocking { file::O_NONBLOCK } else { 0 })
            }
            file::F_SETFL => {
                let (stream, _) = self.stream(Instant::default(), fd)?;
                stream.is_nonblocking = argument & file::O_NONBLOCK != 0;
                Ok(0)
            }
            _ => Err(Errno::INVAL),
        }
    }

    /// ioctl(2), of the operations that answer a number: how many bytes can be read, are not acknowledged, are not sent; whether the
    /// next byte is an urgent one.
    ///
    /// # Errors
    /// [`Errno::INVAL`] for a listener, [`Errno::NOTTY`] for other operations.
    pub fn ioctl(&mut self, fd: Fd, operation: u32) -> Result<i32, Errno> {
        let (stream, mut world) = self.stream(Instant::default(), fd)?;
        if matches!(stream.phase, crate::stream::Phase::Listening(_)) {
            return Err(Errno::INVAL);
        }
        let count = match operation {
            ioctl::FIONREAD => stream.readable_count(&mut world),
            ioctl::SIOCATMARK => stream.is_at_mark(&mut world).into(),
            ioctl::SIOCOUTQ => stream.connection(world.stack).map_or(0, |connection| connection.unacknowledged()),
            ioctl::SIOCOUTQNSD => stream.connection(world.stack).map_or(0, |connection| connection.unsent()),
            _ => return Err(Errno::NOTTY),
        };
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }

    /// What a descriptor is ready for now: the bits of poll(2); [`ready::NVAL`] if there is none.
    pub fn readiness(&mut self, now: Instant, fd: Fd) -> u32 {
        self.descriptors.get(fd).map_or(ready::NVAL, |id| self.object_readiness(now, id))
    }

    fn object_readiness(&mut self, now: Instant, id: ObjectId) -> u32 {
        let is_nested = matches!(self.objects.get(&id), Some(Object::Epoll(_)));
        if is_nested {
            // One deep: epolls that watch epolls are refused.
            return if self.has_ready_watch(now, id) { ready::IN | ready::RDNORM } else { 0 };
        }
        let Some(Object::Stream(stream)) = self.objects.get_mut(&id) else { return 0 };
        let mut world = World { stack: &mut self.stack, settings: &self.settings, now, bound: &mut self.bound };
        stream.readiness(&mut world)
    }

    fn has_ready_watch(&mut self, now: Instant, id: ObjectId) -> bool {
        let Some(Object::Epoll(epoll)) = self.objects.get(&id) else { return false };
        let listed: Vec<(ObjectId, u32)> = epoll.listed().collect();
        listed.into_iter().any(|(object, events)| self.object_readiness(now, object) & events != 0)
    }

    /// epoll_create1(2).
    ///
    /// # Errors
    /// [`Errno::MFILE`].
    pub fn epoll_create(&mut self, flags: i32) -> Result<Fd, Errno> {
        if flags & !kind::CLOEXEC != 0 {
            return Err(Errno::INVAL);
        }
        self.add(Object::Epoll(Epoll::default()), flags & kind::CLOEXEC != 0)
    }

    /// epoll_ctl(2).
    ///
    /// # Errors
    /// [`Errno::EXIST`], [`Errno::NOENT`], [`Errno::INVAL`], also if `fd` is an epoll.
    pub fn epoll_control(
        &mut self,
        now: Instant,
        at: Fd,
        operation: i32,
        fd: Fd,
        event: Option<EpollEvent>,
    ) -> Result<(), Errno> {
        let (epoll, watched) = (self.descriptors.get(at)?, self.descriptors.get(fd)?);
        if !matches!(self.objects.get(&watched), Some(Object::Stream(_))) {
            return Err(Errno::INVAL);
        }
        let readiness = self.object_readiness(now, watched);
        let Some(Object::Epoll(epoll)) = self.objects.get_mut(&epoll) else { return Err(Errno::INVAL) };
        epoll.control(operation, (fd, watched), event, readiness)
    }

    /// epoll_wait(2): at most `max` events.
    ///
    /// # Errors
    /// [`Errno::AGAIN`] if there are none, [`Errno::INVAL`] if it is no epoll or `max` is zero.
    pub fn epoll_wait(&mut self, now: Instant, at: Fd, max: usize) -> Result<Vec<EpollEvent>, Errno> {
        let id = self.descriptors.get(at)?;
        if max == 0 || !matches!(self.objects.get(&id), Some(Object::Epoll(_))) {
            return Err(Errno::INVAL);
        }
        let Some(Object::Epoll(mut epoll)) = self.objects.remove(&id) else { return Err(Errno::INVAL) };
        let found = epoll.collect(max, |object| self.object_readiness(now, object));
        self.objects.insert(id, Object::Epoll(epoll));
        if found.is_empty() { Err(Errno::AGAIN) } else { Ok(found) }
    }

    /// Tells all epolls that something has happened to a socket.
    pub(super) fn tell(&mut self, object: ObjectId, mask: u32) {
        for other in self.objects.values_mut() {
            if let Object::Epoll(epoll) = other {
                epoll.on_ready(object, mask);
            }
        }
    }
}
