//! What packetdrill does without asking the interface: it gets here if the library is loaded before libc.

#![expect(unreachable_pub, reason = "the linker exports them")]

use std::ffi::{c_int, c_long, c_void};
use std::sync::atomic::{AtomicI64, Ordering};

use libc::{off_t, size_t, socklen_t, ssize_t, tms};
use sunstar_sockets::errno::Errno;

use crate::functions::{call, control, machine, wire};

fn is_ours(fd: c_int) -> bool {
    machine().is_some_and(|machine| machine.with(|sockets, _| sockets.is_open(fd)))
}

/// getsockopt(2), by which `TCP_INFO` is collected for a script's code.
///
/// # Safety
/// As getsockopt(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: *mut socklen_t,
) -> c_int {
    if is_ours(fd) {
        return control::getsockopt(std::ptr::null_mut(), fd, level, name, value, len);
    }
    // SAFETY: the caller's arguments, as they are.
    let done = unsafe { libc::syscall(libc::SYS_getsockopt, fd, level, name, value, len) };
    c_int::try_from(done).unwrap_or(-1)
}

/// sendfile(2), to our sockets.
///
/// # Safety
/// As sendfile(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendfile(to: c_int, from: c_int, offset: *mut off_t, len: size_t) -> ssize_t {
    if !is_ours(to) {
        // SAFETY: the caller's arguments, as they are.
        let done: c_long = unsafe { libc::syscall(libc::SYS_sendfile, to, from, offset, len) };
        return ssize_t::try_from(done).unwrap_or(-1);
    }
    call(|machine| {
        if !offset.is_null() {
            // SAFETY: the caller says that it points to an offset.
            let at = unsafe { *offset };
            // SAFETY: lseek takes numbers only.
            if unsafe { libc::lseek(from, at, libc::SEEK_SET) } < 0 {
                return Err(Errno::SPIPE);
            }
        }
        let sent = wire::to_socket(machine, from, to, len, 0)?;
        if !offset.is_null() {
            // SAFETY: as above; it is the caller's to be written.
            unsafe { *offset += i64::try_from(sent).unwrap_or(0) };
        }
        Ok(sent)
    })
}

/// sendfile(2) under the name that programs with large files use.
///
/// # Safety
/// As sendfile(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendfile64(to: c_int, from: c_int, offset: *mut off_t, len: size_t) -> ssize_t {
    // SAFETY: the same arguments.
    unsafe { sendfile(to, from, offset, len) }
}

/// times(2). packetdrill waits for ten ticks of the kernel's clock before a script begins, which a virtual clock does not need.
///
/// # Safety
/// As times(2); nothing is written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn times(_: *mut tms) -> c_long {
    static TICKS: AtomicI64 = AtomicI64::new(1);
    TICKS.fetch_add(1, Ordering::Relaxed)
}
