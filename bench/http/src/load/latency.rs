//! One connection, one request at a time. The client spins, so that what is measured is the server's way to react.
//!
//! It spins on an epoll instance, which leaves the socket's lock to what arrives.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use sunstar_bench_http::target;

use crate::{Load, Window};

/// Answers the time from request to response of each, in nanoseconds.
pub(crate) fn run(load: &Load<'_>, window: &mut Window) -> Result<Vec<u64>> {
    let &Load { address, request, response, .. } = load;
    let mut stream = target::connect(address)?;
    stream.set_nonblocking(true)?;
    let readable = Readable::of(&stream)?;
    let mut buffer = vec![0_u8; response];
    let mut latencies = Vec::new();
    while window.goes_on(latencies.len() as u64)? {
        let start = Instant::now();
        ensure!(stream.write(request)? == request.len(), "a small request was not taken at once");
        let mut got = 0;
        while got < response {
            readable.wait()?;
            match stream.read(&mut buffer[got..]) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(count) => got += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        ensure!(target::is_good(&buffer), "not a 200: {}", buffer.escape_ascii());
        latencies.push(u64::try_from(start.elapsed().as_nanos())?);
    }
    Ok(latencies)
}

/// Tells when something has arrived.
struct Readable(OwnedFd);

impl Readable {
    fn of(stream: &TcpStream) -> Result<Self> {
        // SAFETY: plain system calls, and nobody else has the new descriptor. The kernel reads the event only.
        unsafe {
            let epoll = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            ensure!(epoll >= 0, "epoll_create1: {}", io::Error::last_os_error());
            let epoll = OwnedFd::from_raw_fd(epoll);
            let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET).cast_unsigned(), u64: 0 };
            let add = libc::EPOLL_CTL_ADD;
            let answer = libc::epoll_ctl(epoll.as_raw_fd(), add, stream.as_raw_fd(), &raw mut event);
            ensure!(answer == 0, "epoll_ctl: {}", io::Error::last_os_error());
            Ok(Self(epoll))
        }
    }

    /// Spins until something has arrived since the last call.
    fn wait(&self) -> Result<()> {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        loop {
            // SAFETY: the kernel writes one event at most.
            match unsafe { libc::epoll_wait(self.0.as_raw_fd(), &raw mut event, 1, 0) } {
                0 => {}
                1 => return Ok(()),
                _ => return Err(io::Error::last_os_error().into()),
            }
        }
    }
}
