//! Flags, options, waiting.

use std::ffi::{c_int, c_ulong, c_void};
use std::time::Duration;

use libc::{epoll_event, pollfd, socklen_t};
use sunstar_sockets::EpollEvent;
use sunstar_sockets::calls::{self, PollFd};
use sunstar_sockets::errno::Errno;

use super::call;
use crate::interface::{Userdata, poll_events};
use crate::memory;

/// A time in milliseconds; a negative one is for ever.
fn limit(millis: c_int) -> Option<Duration> {
    u64::try_from(millis).ok().map(Duration::from_millis)
}

pub(super) extern "C" fn fcntl(_: Userdata, fd: c_int, operation: c_int, argument: c_ulong) -> c_int {
    // The argument is an int, whatever lies above it.
    let argument = u32::try_from(argument & 0xffff_ffff).unwrap_or(0).cast_signed();
    call(|machine| machine.with(|sockets, _| sockets.fcntl(fd, operation, argument)))
}

pub(super) extern "C" fn ioctl(_: Userdata, fd: c_int, operation: c_ulong, to: *mut c_int) -> c_int {
    call(|machine| {
        let operation = u32::try_from(operation).map_err(|_| Errno::NOTTY)?;
        let value = machine.with(|sockets, _| sockets.ioctl(fd, operation))?;
        memory::write(to.cast(), &value.to_ne_bytes())?;
        Ok(0)
    })
}

pub(crate) extern "C" fn getsockopt(
    _: Userdata,
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: *mut socklen_t,
) -> c_int {
    call(|machine| {
        let room = memory::read_value(len.cast_const())? as usize;
        let bytes = machine.with(|sockets, now| sockets.option(now, fd, level, name))?;
        let fitting = &bytes[..bytes.len().min(room)];
        memory::write(value, fitting)?;
        memory::write(len.cast(), &u32::try_from(fitting.len()).unwrap_or(0).to_ne_bytes())?;
        Ok(0)
    })
}

pub(super) extern "C" fn setsockopt(
    _: Userdata,
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    len: socklen_t,
) -> c_int {
    call(|machine| {
        let bytes = memory::read(value, len as usize)?;
        machine.refresh(None);
        machine.with(|sockets, now| sockets.set_option(now, fd, level, name, &bytes)).map(|()| 0)
    })
}

pub(super) extern "C" fn poll(_: Userdata, fds: *mut pollfd, number: c_ulong, timeout: c_int) -> c_int {
    call(|machine| {
        let number = usize::try_from(number).map_err(|_| Errno::INVAL)?;
        let mut asked: Vec<pollfd> =
            (0..number).map(|index| memory::read_value(fds.wrapping_add(index))).collect::<Result<_, _>>()?;
        let watched = asked.iter().map(|one| PollFd { fd: one.fd, events: poll_events(one.events), revents: 0 });
        let mut watched: Vec<PollFd> = watched.collect();
        let found = calls::poll(machine, &mut watched, limit(timeout))?;
        for (index, (one, seen)) in asked.iter_mut().zip(&watched).enumerate() {
            one.revents = u16::try_from(seen.revents).unwrap_or(0).cast_signed();
            memory::write(fds.wrapping_add(index).cast(), crate::messages::bytes_of(one))?;
        }
        c_int::try_from(found).map_err(|_| Errno::INVAL)
    })
}

pub(super) extern "C" fn epoll_create(_: Userdata, size: c_int) -> c_int {
    call(|machine| {
        if size <= 0 {
            return Err(Errno::INVAL);
        }
        machine.with(|sockets, _| sockets.epoll_create(0))
    })
}

pub(super) extern "C" fn epoll_ctl(
    _: Userdata,
    at: c_int,
    operation: c_int,
    fd: c_int,
    event: *mut epoll_event,
) -> c_int {
    call(|machine| {
        let event = match operation {
            libc::EPOLL_CTL_DEL => None,
            _ => {
                let event = memory::read_value(event.cast_const())?;
                Some(EpollEvent { events: event.events, data: event.u64 })
            }
        };
        machine.with(|sockets, now| sockets.epoll_control(now, at, operation, fd, event)).map(|()| 0)
    })
}

pub(super) extern "C" fn epoll_wait(
    _: Userdata,
    at: c_int,
    events: *mut epoll_event,
    max: c_int,
    timeout: c_int,
) -> c_int {
    call(|machine| {
        let max = usize::try_from(max).map_err(|_| Errno::INVAL)?;
        let found = calls::epoll_wait(machine, at, max, limit(timeout))?;
        for (index, one) in found.iter().enumerate() {
            let event = epoll_event { events: one.events, u64: one.data };
            memory::write(events.wrapping_add(index).cast(), crate::messages::bytes_of(&event))?;
        }
        c_int::try_from(found.len()).map_err(|_| Errno::INVAL)
    })
}
