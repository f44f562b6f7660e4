//! What packetdrill wants of a plug-in: one function that fills a structure of functions, each of which gets `userdata` first.
//!
//! Two of the functions take a variable number of arguments. They are declared with one more than is fixed: on Linux's calling
//! conventions for x86-64 and AArch64 it lies in the same register.

use std::ffi::{c_int, c_longlong, c_short, c_uint, c_ulong, c_void};

use libc::{epoll_event, iovec, loff_t, msghdr, pollfd, size_t, sockaddr, socklen_t, ssize_t, timeval};

/// What each function gets first.
pub type Userdata = *mut c_void;

/// The functions, in the order that packetdrill knows.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each is the system call of that name")]
pub struct Interface {
    pub userdata: Userdata,
    /// The script is over.
    pub free: extern "C" fn(Userdata),
    pub socket: extern "C" fn(Userdata, c_int, c_int, c_int) -> c_int,
    pub bind: extern "C" fn(Userdata, c_int, *const sockaddr, socklen_t) -> c_int,
    pub listen: extern "C" fn(Userdata, c_int, c_int) -> c_int,
    pub accept: extern "C" fn(Userdata, c_int, *mut sockaddr, *mut socklen_t) -> c_int,
    pub connect: extern "C" fn(Userdata, c_int, *const sockaddr, socklen_t) -> c_int,
    pub read: extern "C" fn(Userdata, c_int, *mut c_void, size_t) -> ssize_t,
    pub readv: extern "C" fn(Userdata, c_int, *const iovec, c_int) -> ssize_t,
    pub recv: extern "C" fn(Userdata, c_int, *mut c_void, size_t, c_int) -> ssize_t,
    pub recvfrom: extern "C" fn(Userdata, c_int, *mut c_void, size_t, c_int, *mut sockaddr, *mut socklen_t) -> ssize_t,
    pub recvmsg: extern "C" fn(Userdata, c_int, *mut msghdr, c_int) -> ssize_t,
    pub write: extern "C" fn(Userdata, c_int, *const c_void, size_t) -> ssize_t,
    pub writev: extern "C" fn(Userdata, c_int, *const iovec, c_int) -> ssize_t,
    pub send: extern "C" fn(Userdata, c_int, *const c_void, size_t, c_int) -> ssize_t,
    pub sendto: extern "C" fn(Userdata, c_int, *const c_void, size_t, c_int, *const sockaddr, socklen_t) -> ssize_t,
    pub sendmsg: extern "C" fn(Userdata, c_int, *const msghdr, c_int) -> ssize_t,
    pub fcntl: extern "C" fn(Userdata, c_int, c_int, c_ulong) -> c_int,
    pub ioctl: extern "C" fn(Userdata, c_int, c_ulong, *mut c_int) -> c_int,
    pub close: extern "C" fn(Userdata, c_int) -> c_int,
    pub shutdown: extern "C" fn(Userdata, c_int, c_int) -> c_int,
    pub getsockopt: extern "C" fn(Userdata, c_int, c_int, c_int, *mut c_void, *mut socklen_t) -> c_int,
    pub setsockopt: extern "C" fn(Userdata, c_int, c_int, c_int, *const c_void, socklen_t) -> c_int,
    pub poll: extern "C" fn(Userdata, *mut pollfd, c_ulong, c_int) -> c_int,
    /// A packet for the stack, from its IP header on.
    pub netdev_send: extern "C" fn(Userdata, *const c_void, size_t) -> c_int,
    /// The next packet from the stack, its length (in: the room), and when it left, in microseconds.
    pub netdev_receive: extern "C" fn(Userdata, *mut c_void, *mut size_t, *mut c_longlong) -> c_int,
    pub usleep: extern "C" fn(Userdata, c_uint) -> c_int,
    pub gettimeofday: extern "C" fn(Userdata, *mut timeval, *mut c_void) -> c_int,
    pub epoll_create: extern "C" fn(Userdata, c_int) -> c_int,
    pub epoll_ctl: extern "C" fn(Userdata, c_int, c_int, c_int, *mut epoll_event) -> c_int,
    pub epoll_wait: extern "C" fn(Userdata, c_int, *mut epoll_event, c_int, c_int) -> c_int,
    pub pipe: extern "C" fn(Userdata, *mut c_int) -> c_int,
    pub splice: extern "C" fn(Userdata, c_int, *mut loff_t, c_int, *mut loff_t, size_t, c_uint) -> ssize_t,
}

/// `struct pollfd` has its events as short integers.
pub(crate) const fn poll_events(events: c_short) -> u32 {
    events.cast_unsigned() as u32
}
