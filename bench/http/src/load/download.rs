//! Large responses on several connections, whose bytes the kernel drops without handing them out: of all ways to take them the one
//! that costs the client least.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::ptr;

use anyhow::{Context, Result, ensure};

use crate::{Load, Window};

/// The most that is dropped by one call.
const DROP_BYTES: usize = 1 << 30;
/// Responses between two looks at the clock.
const LOOK_EVERY: u64 = 16;

/// Loads the server until the window ends.
pub(crate) fn run(load: &Load<'_>, window: &mut Window) -> Result<()> {
    let &Load { address, request, response, connections } = load;
    let mut streams = Vec::with_capacity(connections);
    let mut watched = Vec::with_capacity(connections);
    for _ in 0..connections {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        io::Write::write_all(&mut &stream, request)?;
        watched.push(libc::pollfd { fd: stream.as_raw_fd(), events: libc::POLLIN, revents: 0 });
        streams.push((stream, 0));
    }
    let mut requests = 0_u64;
    loop {
        // SAFETY: the array is as long as is said.
        let ready = unsafe { libc::poll(watched.as_mut_ptr(), watched.len() as libc::nfds_t, -1) };
        ensure!(ready >= 0, "waiting: {}", io::Error::last_os_error());
        for (watched, (stream, got)) in watched.iter().zip(&mut streams).filter(|(watched, _)| watched.revents != 0) {
            *got += drop_received(watched.fd)?;
            if *got < response {
                continue;
            }
            ensure!(*got == response, "more than one response to one request");
            *got = 0;
            requests += 1;
            if requests.is_multiple_of(LOOK_EVERY) && !window.goes_on(requests)? {
                return Ok(());
            }
            io::Write::write_all(&mut &*stream, request)?;
        }
    }
}

/// Drops what has arrived, and answers how many bytes that were.
fn drop_received(descriptor: i32) -> Result<usize> {
    // SAFETY: with `MSG_TRUNC` a stream's bytes are written nowhere (tcp(7)).
    let count = unsafe { libc::recv(descriptor, ptr::null_mut(), DROP_BYTES, libc::MSG_TRUNC | libc::MSG_DONTWAIT) };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error()).context("receiving")?;
    ensure!(count > 0, "the server closed a connection");
    Ok(count)
}
