//! A timer of the kernel that interrupts one thread.

use std::io;
use std::mem;
use std::ptr;
use std::sync::OnceLock;
use std::time::Duration;

/// A handler that is told what it interrupted.
pub(super) type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// The signal that the timers send, which the process chooses once: the first real-time signal from `SIGRTMIN` + 1 on
/// that nobody handles or ignores, so that it takes no meaning away.
fn signal() -> io::Result<libc::c_int> {
    static CHOSEN: OnceLock<Option<libc::c_int>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| (libc::SIGRTMIN() + 1..=libc::SIGRTMAX()).find(|&signal| is_free(signal)));
    chosen.ok_or_else(|| io::Error::other("all real-time signals have handlers; switch blocked_reactor_notify off (0)"))
}

/// Whether a signal still does what it does by default.
fn is_free(signal: libc::c_int) -> bool {
    // SAFETY: all zeros is a valid action.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: only asks, and the structure is writable.
    let answer = unsafe { libc::sigaction(signal, ptr::null(), &raw mut action) };
    answer == 0 && action.sa_sigaction == libc::SIG_DFL
}

/// Installs the handler for all timers of the process, once, and lets the calling thread be interrupted.
pub(super) fn install(handler: Handler) -> io::Result<()> {
    static INSTALLED: OnceLock<Option<i32>> = OnceLock::new();
    let signal = signal()?;
    let failure = INSTALLED.get_or_init(|| {
        // SAFETY: all zeros is a valid action, with an empty mask.
        let mut action: libc::sigaction = unsafe { mem::zeroed() };
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        // SAFETY: the action is valid, and its handler only does what handlers may.
        let answer = unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
        (answer != 0).then(|| io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL))
    });
    if let Some(code) = failure {
        return Err(io::Error::from_raw_os_error(*code));
    }
    // SAFETY: the set is made valid before use, and masks belong to the calling thread.
    let code = unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, ptr::null_mut())
    };
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

/// A periodic timer, disarmed at first.
#[derive(Debug)]
pub(super) struct Timer(libc::timer_t);

// SAFETY: the identifier is a name that the kernel knows in the whole process, not an address to follow.
unsafe impl Send for Timer {}
// SAFETY: as above; the system calls on it may be made by any thread.
unsafe impl Sync for Timer {}

impl Timer {
    /// A timer that interrupts the calling thread.
    pub(super) fn of_this_thread() -> io::Result<Self> {
        // SAFETY: all zeros is a valid event description.
        let mut event: libc::sigevent = unsafe { mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signal()?;
        // SAFETY: has no preconditions.
        event.sigev_notify_thread_id = unsafe { libc::gettid() };
        let mut timer: libc::timer_t = ptr::null_mut();
        // SAFETY: both point to valid structures.
        let answer = unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) };
        if answer == 0 { Ok(Self(timer)) } else { Err(io::Error::last_os_error()) }
    }

    /// Fires after `period`, and again after each further one.
    pub(super) fn arm(&self, period: Duration) {
        self.set(period);
    }

    /// Stops firing. Safe to call from signal handlers, which must keep `errno`.
    pub(super) fn disarm(&self) {
        self.set(Duration::ZERO);
    }

    #[cfg(test)]
    pub(super) fn is_armed(&self) -> bool {
        // SAFETY: all zeros is a valid setting.
        let mut setting: libc::itimerspec = unsafe { mem::zeroed() };
        // SAFETY: the timer exists for as long as `self`, and the setting is writable.
        assert_eq!(unsafe { libc::timer_gettime(self.0, &raw mut setting) }, 0);
        setting.it_interval.tv_sec != 0 || setting.it_interval.tv_nsec != 0
    }

    fn set(&self, period: Duration) {
        let period = libc::timespec {
            tv_sec: period.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: period.subsec_nanos().into(),
        };
        let setting = libc::itimerspec { it_interval: period, it_value: period };
        // SAFETY: the timer exists for as long as `self`, and the setting is valid. It can't fail then.
        unsafe { libc::timer_settime(self.0, 0, &raw const setting, ptr::null_mut()) };
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: made in `of_this_thread` and deleted only here.
        unsafe { libc::timer_delete(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern "C" fn foreign(_: libc::c_int) {}

    #[test]
    fn a_signal_that_somebody_handles_or_ignores_is_not_free() {
        // At the other end of the range, so that no other test chooses it.
        let last = libc::SIGRTMAX();
        assert!(is_free(last));
        for action in [foreign as extern "C" fn(libc::c_int) as usize, libc::SIG_IGN] {
            // SAFETY: nobody sends this signal, and the handler does nothing.
            unsafe { libc::signal(last, action) };
            assert!(!is_free(last));
        }
        // SAFETY: as above.
        unsafe { libc::signal(last, libc::SIG_DFL) };
        assert!(is_free(last));
    }
}
