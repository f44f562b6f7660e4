//! Reading and writing.

use std::ffi::{c_int, c_void};

use libc::{iovec, msghdr, size_t, sockaddr, socklen_t, ssize_t};
use sunstar_sockets::Received;
use sunstar_sockets::calls;
use sunstar_sockets::errno::Errno;

use super::{call, read_address, write_address};
use crate::interface::Userdata;
use crate::machine::Machine;
use crate::{memory, messages};

/// More is not received at once.
const MAX_BYTES: usize = 64 << 20;

fn count(bytes: usize) -> ssize_t {
    ssize_t::try_from(bytes).unwrap_or(ssize_t::MAX)
}

/// Receives into the program's memory, part by part.
fn receive_into(machine: &Machine, fd: c_int, parts: &[iovec], flags: c_int) -> Result<Received, Errno> {
    let len: usize = parts.iter().map(|part| part.iov_len).sum();
    for part in parts.iter().filter(|part| part.iov_len > 0) {
        // Who hands over no memory hears of it before anything is waited for.
        memory::read(part.iov_base, 1)?;
    }
    let mut bytes = vec![0; len.min(MAX_BYTES)];
    let received = calls::receive(machine, fd, &mut [&mut bytes], flags)?;
    if flags & libc::MSG_TRUNC != 0 && flags & libc::MSG_ERRQUEUE == 0 {
        return Ok(received);
    }
    let mut rest = &bytes[..received.bytes];
    for part in parts {
        let (now, later) = rest.split_at(part.iov_len.min(rest.len()));
        memory::write(part.iov_base, now)?;
        rest = later;
    }
    Ok(received)
}

fn one(buffer: *mut c_void, len: size_t) -> [iovec; 1] {
    [iovec { iov_base: buffer, iov_len: len }]
}

/// The program's bytes, part by part. A part that is not there ends them, and is an error if it is the first one.
fn gather(parts: &[iovec]) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::new();
    for part in parts {
        match memory::read(part.iov_base, part.iov_len) {
            Ok(more) => bytes.extend(more),
            Err(error) if bytes.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(bytes)
}

pub(super) extern "C" fn read(_: Userdata, fd: c_int, buffer: *mut c_void, len: size_t) -> ssize_t {
    call(|machine| Ok(count(receive_into(machine, fd, &one(buffer, len), 0)?.bytes)))
}

pub(super) extern "C" fn readv(_: Userdata, fd: c_int, parts: *const iovec, number: c_int) -> ssize_t {
    call(|machine| {
        let parts = memory::parts(parts, usize::try_from(number).map_err(|_| Errno::INVAL)?)?;
        Ok(count(receive_into(machine, fd, &parts, 0)?.bytes))
    })
}

pub(super) extern "C" fn recv(_: Userdata, fd: c_int, buffer: *mut c_void, len: size_t, flags: c_int) -> ssize_t {
    call(|machine| Ok(count(receive_into(machine, fd, &one(buffer, len), flags)?.bytes)))
}

pub(super) extern "C" fn recvfrom(
    _: Userdata,
    fd: c_int,
    buffer: *mut c_void,
    len: size_t,
    flags: c_int,
    address: *mut sockaddr,
    address_len: *mut socklen_t,
) -> ssize_t {
    call(|machine| {
        let received = receive_into(machine, fd, &one(buffer, len), flags)?;
        let (family, names) = machine.with(|sockets, _| (sockets.family(fd), sockets.names(fd)));
        write_address(family?, names?.1, address, address_len)?;
        Ok(count(received.bytes))
    })
}

pub(super) extern "C" fn recvmsg(_: Userdata, fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    call(|machine| {
        let mut head = memory::read_value(message.cast_const())?;
        let parts = memory::parts(head.msg_iov, head.msg_iovlen)?;
        let received = receive_into(machine, fd, &parts, flags)?;
        head.msg_flags = received.flags;
        // A connected stream does not say from whom.
        head.msg_namelen = 0;
        messages::write(&mut head, &received.control)?;
        memory::write(message.cast(), messages::bytes_of(&head))?;
        Ok(count(received.bytes))
    })
}

fn send_bytes(
    machine: &Machine,
    fd: c_int,
    bytes: &[u8],
    flags: c_int,
    to: (*const sockaddr, socklen_t),
) -> Result<ssize_t, Errno> {
    // A stream knows where it goes, unless this opens it.
    let is_opening = flags & libc::MSG_FASTOPEN != 0 && !to.0.is_null();
    if is_opening {
        machine.refresh(None);
    }
    let to = match is_opening {
        true if memory::read_value(to.0)?.sa_family == 0 => return Err(Errno::OPNOTSUPP),
        true => Some(read_address(machine, fd, to.0, to.1)?),
        false => None,
    };
    Ok(count(calls::send(machine, fd, &[bytes], flags, to)?))
}

pub(super) extern "C" fn write(_: Userdata, fd: c_int, buffer: *const c_void, len: size_t) -> ssize_t {
    send_plain(fd, &one(buffer.cast_mut(), len), 0)
}

pub(super) extern "C" fn writev(_: Userdata, fd: c_int, parts: *const iovec, number: c_int) -> ssize_t {
    call(|machine| {
        let parts = memory::parts(parts, usize::try_from(number).map_err(|_| Errno::INVAL)?)?;
        send_bytes(machine, fd, &gather(&parts)?, 0, (std::ptr::null(), 0))
    })
}

pub(super) extern "C" fn send(_: Userdata, fd: c_int, buffer: *const c_void, len: size_t, flags: c_int) -> ssize_t {
    send_plain(fd, &one(buffer.cast_mut(), len), flags)
}

fn send_plain(fd: c_int, parts: &[iovec], flags: c_int) -> ssize_t {
    call(|machine| send_bytes(machine, fd, &gather(parts)?, flags, (std::ptr::null(), 0)))
}

pub(super) extern "C" fn sendto(
    _: Userdata,
    fd: c_int,
    buffer: *const c_void,
    len: size_t,
    flags: c_int,
    address: *const sockaddr,
    address_len: socklen_t,
) -> ssize_t {
    call(|machine| send_bytes(machine, fd, &gather(&one(buffer.cast_mut(), len))?, flags, (address, address_len)))
}

pub(super) extern "C" fn sendmsg(_: Userdata, fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    call(|machine| {
        let head = memory::read_value(message)?;
        let bytes = gather(&memory::parts(head.msg_iov, head.msg_iovlen)?)?;
        send_bytes(machine, fd, &bytes, flags, (head.msg_name.cast_const().cast(), head.msg_namelen))
    })
}
