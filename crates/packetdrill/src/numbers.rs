//! Descriptors' numbers, reserved from the kernel.

use sunstar_sockets::descriptors::{Fd, Numbers};

/// Each number is that of an event counter of the kernel, which nobody uses.
#[derive(Debug)]
pub(crate) struct Reserved;

impl Numbers for Reserved {
    fn take(&mut self) -> Option<Fd> {
        // SAFETY: eventfd takes two integers and touches no memory of ours.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        (fd >= 0).then_some(fd)
    }

    fn give_back(&mut self, fd: Fd) {
        // SAFETY: the number is ours alone since `take`, and nobody uses it any more.
        unsafe { libc::close(fd) };
    }
}
