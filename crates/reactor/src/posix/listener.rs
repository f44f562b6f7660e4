//! Listening sockets as far as they are the same for all drivers.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};

/// Lets no more connections in: attempts get no answer, while those that are being made come into being.
///
/// The kernel gives listening sockets no other way to do that. Closing one resets what waits to be accepted; this, then
/// accepting until nothing waits, then closing it, resets nothing. Peers that got no answer try again after a second and find the
/// port closed, or another socket at it. A Unix socket refuses at once.
///
/// # Errors
/// What the system says; then connections may still come in.
pub(crate) fn let_no_more_in(listener: BorrowedFd<'_>, is_tcp: bool) -> Result<(), Errno> {
    // TCP would drop what waits.
    if is_tcp { drop_attempts(listener) } else { shutdown(listener, Shutdown::Read) }
}

fn drop_attempts(listener: BorrowedFd<'_>) -> Result<(), Errno> {
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    // The filter sees TCP's header. The sockets of connections inherit it, where it does no harm: theirs have begun.
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, FLAGS),
        libc::sock_filter { jt: 0, jf: 1, ..statement(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, SYN) },
        statement(libc::BPF_RET | libc::BPF_K, 0),
        statement(libc::BPF_RET | libc::BPF_K, u32::MAX),
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    let size = size_of_val(&program).try_into().expect("it is two words");
    let (descriptor, program) = (listener.as_raw_fd(), &raw const program);
    // SAFETY: the kernel reads a program of as many instructions as it says, which lives until the call returns.
    let outcome =
        unsafe { libc::setsockopt(descriptor, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, program.cast(), size) };
    if outcome == 0 { Ok(()) } else { Err(last_errno()) }
}

fn statement(code: u32, operand: u32) -> libc::sock_filter {
    libc::sock_filter { code: code.try_into().expect("codes have 16 bits"), jt: 0, jf: 0, k: operand }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_established_stays_and_nothing_new_comes() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let mut early = TcpStream::connect(address).expect("it listens");
        let_no_more_in(listener.as_fd(), true).expect("sockets take filters");
        let late = TcpStream::connect_timeout(&address, Duration::from_millis(20));
        assert_eq!(late.map_err(|error| error.kind()).err(), Some(std::io::ErrorKind::TimedOut));
        let (accepted, _) = listener.accept().expect("it waits");
        listener.set_nonblocking(true).expect("it can be set");
        assert_eq!(listener.accept().map_err(|error| error.kind()).err(), Some(std::io::ErrorKind::WouldBlock));
        drop(listener);
        assert!(TcpStream::connect(address).is_err());
        drop(accepted);
        assert_eq!(early.read(&mut [0]).expect("it was not reset"), 0);
    }
}
