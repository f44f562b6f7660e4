//! Waiting on an epoll instance with nanoseconds where the kernel can, else with milliseconds.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The bits of events, in the kernel's type.
pub(super) struct Bits;

impl Bits {
    pub(super) const IN: u32 = libc::EPOLLIN.cast_unsigned();
    pub(super) const OUT: u32 = libc::EPOLLOUT.cast_unsigned();
    /// The end, an error, or urgent data.
    pub(super) const UNUSUAL: u32 =
        (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR | libc::EPOLLPRI).cast_unsigned();
}

/// Events taken at once; what is left over ends the next wait at once.
const BURST: libc::c_int = 64;

/// What a wait found.
pub(super) type Events = [libc::epoll_event; BURST as usize];

/// Whether the kernel lacks `epoll_pwait2` (older than 5.11, or a filter forbids it).
static MILLISECONDS_ONLY: AtomicBool = AtomicBool::new(false);

/// Waits for events, for ever without a `timeout`, and answers how many there were.
pub(super) fn wait(epoll: BorrowedFd<'_>, events: &mut Events, timeout: Option<Duration>) -> io::Result<usize> {
    if !MILLISECONDS_ONLY.load(Ordering::Relaxed) {
        match wait_nanoseconds(epoll, events, timeout) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                MILLISECONDS_ONLY.store(true, Ordering::Relaxed);
            }
            answer => return answer,
        }
    }
    wait_milliseconds(epoll, events, timeout)
}

fn wait_nanoseconds(epoll: BorrowedFd<'_>, events: &mut Events, timeout: Option<Duration>) -> io::Result<usize> {
    let limit = timeout.map(|timeout| libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    let limit = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
    let no_mask: *const libc::sigset_t = ptr::null();
    // SAFETY: the kernel writes at most `BURST` events, reads the limit, and is given no signal mask.
    let count = unsafe {
        libc::syscall(libc::SYS_epoll_pwait2, epoll.as_raw_fd(), events.as_mut_ptr(), BURST, limit, no_mask, 0_usize)
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

fn wait_milliseconds(epoll: BorrowedFd<'_>, events: &mut Events, timeout: Option<Duration>) -> io::Result<usize> {
    let limit = timeout.map_or(-1, whole_milliseconds);
    // SAFETY: the kernel writes at most `BURST` events.
    let count = unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), BURST, limit) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Rounds up, so that a wait does not end before its time and then spins through the rest of it.
fn whole_milliseconds(timeout: Duration) -> libc::c_int {
    timeout.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(libc::c_int::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::watch_bell;
    use super::*;
    use crate::bell::EventBell;
    use rustix::event::epoll::{CreateFlags, create};
    use std::os::fd::AsFd;
    use sunstar_packet::Doorbell;

    type Wait = fn(BorrowedFd<'_>, &mut Events, Option<Duration>) -> io::Result<usize>;

    #[test]
    fn both_system_calls_see_a_ring_once_and_end_at_the_timeout() {
        for wait in [wait_nanoseconds as Wait, wait_milliseconds as Wait] {
            let mut events: Events = [libc::epoll_event { events: 0, u64: 0 }; _];
            let epoll = create(CreateFlags::CLOEXEC).expect("a descriptor is free");
            let bell = EventBell::new().expect("a descriptor is free");
            watch_bell(epoll.as_fd(), bell.as_fd()).expect("an eventfd can be watched");
            bell.ring();
            bell.ring();
            assert_eq!(wait(epoll.as_fd(), &mut events, None).expect("rung"), 1);
            assert_eq!(wait(epoll.as_fd(), &mut events, Some(Duration::ZERO)).expect("silent"), 0);
            assert_eq!(wait(epoll.as_fd(), &mut events, Some(Duration::from_micros(10))).expect("silent"), 0);
            bell.ring();
            assert_eq!(wait(epoll.as_fd(), &mut events, Some(Duration::MAX)).expect("rung again"), 1);
        }
    }

    #[test]
    fn milliseconds_are_rounded_up() {
        assert_eq!(whole_milliseconds(Duration::ZERO), 0);
        assert_eq!(whole_milliseconds(Duration::from_nanos(1)), 1);
        assert_eq!(whole_milliseconds(Duration::from_millis(7)), 7);
        assert_eq!(whole_milliseconds(Duration::MAX), libc::c_int::MAX);
    }
}
