//! Streams as far as they are the same for all drivers.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{Shutdown, connect_unspec, shutdown, sockopt};
use sunstar_executor::IntoForeign;
use sunstar_net::Error;
use sunstar_net::socket::{Keepalive, StreamOption};
use sunstar_packet::{Buffer, ForeignBuffer};

use super::error::from_errno;

/// A stream on its way between shards.
#[derive(Debug)]
pub(crate) struct DetachedStream {
    /// A connected socket. No operation on it is under way.
    pub(crate) descriptor: OwnedFd,
    /// Whether calls on the socket block. Drivers differ in what they need.
    pub(crate) blocks: bool,
    /// What was received and not read, in order. It comes before what the socket has.
    pub(crate) unread: Vec<ForeignBuffer>,
    /// Whether it is known to be a TCP connection.
    pub(crate) is_tcp: bool,
}

impl DetachedStream {
    /// A stream of which nothing was received yet.
    pub(crate) fn new(descriptor: OwnedFd) -> Self {
        Self { descriptor, blocks: false, unread: Vec::new(), is_tcp: false }
    }

    /// A stream that leaves the current shard.
    pub(crate) fn leaving(descriptor: OwnedFd, unread: impl IntoIterator<Item = Buffer>) -> Self {
        let unread = unread.into_iter().map(IntoForeign::into_foreign_here).collect();
        Self { unread, ..Self::new(descriptor) }
    }

    /// Sees to it that calls on the socket block, or don't.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn set_blocks(&mut self, blocks: bool) -> io::Result<()> {
        if self.blocks != blocks {
            rustix::io::ioctl_fionbio(&self.descriptor, !blocks)?;
            self.blocks = blocks;
        }
        Ok(())
    }
}

/// Sets an option of a connected socket. The length of the send queue is the driver's to set.
pub(crate) fn set_option(socket: BorrowedFd<'_>, option: StreamOption) -> Result<(), Error> {
    let outcome = match option {
        StreamOption::NoDelay(on) => sockopt::set_tcp_nodelay(socket, on),
        StreamOption::Keepalive(None) => sockopt::set_socket_keepalive(socket, false),
        StreamOption::Keepalive(Some(keepalive)) => return set_keepalive(socket, keepalive),
        StreamOption::UserTimeout(timeout) => {
            let timeout_ms = timeout.map_or(Ok(0), |timeout| timeout.as_millis().max(1).try_into());
            sockopt::set_tcp_user_timeout(socket, timeout_ms.map_err(|_| Error::InvalidInput)?)
        }
        StreamOption::ReceiveBufferBytes(bytes) => sockopt::set_socket_recv_buffer_size(socket, bytes as usize),
        StreamOption::SendBufferBytes(bytes) => sockopt::set_socket_send_buffer_size(socket, bytes as usize),
        _ => return Err(Error::Unsupported),
    };
    outcome.map_err(from_errno)
}

fn set_keepalive(socket: BorrowedFd<'_>, keepalive: Keepalive) -> Result<(), Error> {
    sockopt::set_tcp_keepidle(socket, keepalive.idle).map_err(from_errno)?;
    sockopt::set_tcp_keepintvl(socket, keepalive.interval).map_err(from_errno)?;
    sockopt::set_tcp_keepcnt(socket, keepalive.probes).map_err(from_errno)?;
    sockopt::set_socket_keepalive(socket, true).map_err(from_errno)
}

/// How many bytes of those that the kernel has taken the peer's kernel has not acknowledged; zero where nobody knows.
pub(crate) fn unacknowledged_bytes(socket: BorrowedFd<'_>) -> u64 {
    let mut bytes: libc::c_int = 0;
    // The request's type differs among C libraries.
    let request = libc::TIOCOUTQ as _;
    // SAFETY: this request (`tcp(7)` calls it `SIOCOUTQ`) writes one `int`, for which there is room.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut bytes) };
    if answer == 0 { u64::try_from(bytes).unwrap_or(0) } else { 0 }
}

/// Ends a connection at once: what the kernel has not sent is dropped, and the peer sees a reset where there is such a thing.
///
/// Operations that are under way on the socket end too.
pub(crate) fn abort(socket: BorrowedFd<'_>) {
    // Disconnecting is what resets a TCP connection without closing the descriptor. Unix sockets can't do it.
    if connect_unspec(socket).is_err() {
        // It fails if the peer was faster.
        let _ = shutdown(socket, Shutdown::Both);
    }
}
