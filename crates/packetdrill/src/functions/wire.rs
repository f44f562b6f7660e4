//! The wire, time, and pipes.

use std::ffi::{c_int, c_longlong, c_uint, c_void};

use libc::{loff_t, size_t, ssize_t, timeval};
use sunstar_sockets::calls;
use sunstar_sockets::errno::Errno;
use sunstar_sockets::numbers::ioctl;

use super::{call, machine, set_errno};
use crate::interface::Userdata;
use crate::machine::Machine;
use crate::{memory, messages};

/// A pipe has room for so much.
const PIPE_BYTES: usize = 65_536;

pub(super) extern "C" fn netdev_send(_: Userdata, packet: *const c_void, len: size_t) -> c_int {
    call(|machine| {
        machine.inject(&memory::read(packet, len)?);
        Ok(0)
    })
}

pub(super) extern "C" fn netdev_receive(
    _: Userdata,
    packet: *mut c_void,
    len: *mut size_t,
    at: *mut c_longlong,
) -> c_int {
    let Some(machine) = machine() else { return -1 };
    let fill = || {
        let room = memory::read_value(len.cast_const())?;
        let (micros, bytes) = machine.next_packet().unwrap_or_else(|| (machine.ask_time(), Vec::new()));
        let fitting = &bytes[..bytes.len().min(room)];
        memory::write(packet, fitting)?;
        memory::write(len.cast(), &fitting.len().to_ne_bytes())?;
        memory::write(at.cast(), &micros.to_ne_bytes())
    };
    // Who asks does not look at errors but asks again.
    fill().map_or_else(
        |error: Errno| {
            set_errno(error);
            -1
        },
        |()| 0,
    )
}

pub(super) extern "C" fn usleep(_: Userdata, micros: c_uint) -> c_int {
    let Some(machine) = machine() else { return -1 };
    machine.sleep(micros.into());
    0
}

pub(super) extern "C" fn gettimeofday(_: Userdata, to: *mut timeval, _: *mut c_void) -> c_int {
    let Some(machine) = machine() else { return -1 };
    let micros = i64::try_from(machine.ask_time()).unwrap_or(i64::MAX);
    let time = timeval { tv_sec: micros / 1_000_000, tv_usec: micros % 1_000_000 };
    match memory::write(to.cast(), messages::bytes_of(&time)) {
        Ok(()) => 0,
        Err(error) => {
            set_errno(error);
            -1
        }
    }
}

pub(super) extern "C" fn pipe(_: Userdata, ends: *mut c_int) -> c_int {
    // SAFETY: the program says that there is room for two descriptors. Pipes are the kernel's own.
    unsafe { libc::pipe(ends) }
}

pub(super) extern "C" fn splice(
    _: Userdata,
    from: c_int,
    from_offset: *mut loff_t,
    to: c_int,
    to_offset: *mut loff_t,
    len: size_t,
    flags: c_uint,
) -> ssize_t {
    call(|machine| {
        // The tool has room for offsets in any case; where the script has none they are zero.
        let is_given =
            |offset: *mut loff_t| !offset.is_null() && memory::read_value(offset.cast_const()).is_ok_and(|at| at != 0);
        if is_given(from_offset) || is_given(to_offset) {
            return Err(Errno::SPIPE);
        }
        let is_ours = |fd| machine.with(|sockets, _| sockets.is_open(fd));
        let flags = if flags & libc::SPLICE_F_NONBLOCK != 0 { libc::MSG_DONTWAIT } else { 0 };
        match (is_ours(from), is_ours(to)) {
            (true, false) => from_socket(machine, from, to, len, flags),
            (false, true) => to_socket(machine, from, to, len, flags),
            _ => Err(Errno::INVAL),
        }
    })
}

fn from_socket(machine: &Machine, from: c_int, to: c_int, len: size_t, flags: c_int) -> Result<ssize_t, Errno> {
    if machine.with(|sockets, _| sockets.ioctl(from, ioctl::SIOCATMARK)) == Ok(1) {
        // Nothing is urgent in a pipe: what is so has to be read (Linux).
        return Ok(0);
    }
    let mut bytes = vec![0; len.min(PIPE_BYTES)];
    let received = calls::receive(machine, from, &mut [&mut bytes], flags)?;
    // SAFETY: as many bytes were received. What does not fit into the pipe waits, since it is the kernel's.
    let written = unsafe { libc::write(to, bytes.as_ptr().cast(), received.bytes) };
    if written < 0 { Err(Errno::PIPE) } else { Ok(written) }
}

/// What is in a pipe or a file goes to a socket.
pub(crate) fn to_socket(
    machine: &Machine,
    from: c_int,
    to: c_int,
    len: size_t,
    flags: c_int,
) -> Result<ssize_t, Errno> {
    let mut bytes = vec![0; len.min(PIPE_BYTES)];
    // SAFETY: the vector has as much room.
    let read = unsafe { libc::read(from, bytes.as_mut_ptr().cast(), bytes.len()) };
    let read = usize::try_from(read).map_err(|_| Errno::BADF)?;
    let sent = calls::send(machine, to, &[&bytes[..read]], flags, None)?;
    ssize_t::try_from(sent).map_err(|_| Errno::INVAL)
}
