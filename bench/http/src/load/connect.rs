//! A new connection for each request, as many as go or at a fixed rate. Connecting over loopback is done when the call returns, so only
//! the answers are waited for.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;

use anyhow::{Result, bail, ensure};
use sunstar_bench_http::target;

use crate::paced::Pace;
use crate::{Load, Window};

struct Connection {
    stream: TcpStream,
    got: usize,
}

/// Loads the server until the window ends. At a fixed rate the client spins, and if all connections are open what is due waits.
pub(crate) fn run(load: &Load<'_>, rate: Option<u32>, window: &mut Window) -> Result<()> {
    let &Load { address, request, response, connections } = load;
    // SAFETY: a plain system call.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    ensure!(epoll >= 0, "epoll_create1: {}", io::Error::last_os_error());
    let mut pace = rate.map(Pace::new);
    let mut open: Vec<Option<Connection>> = (0..connections).map(|_| None).collect();
    let mut free: Vec<usize> = (0..connections).collect();
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 256];
    let mut buffer = vec![0_u8; response.max(1)];
    let (mut requests, mut turns) = (0_u64, 0_u64);
    loop {
        while !free.is_empty() && pace.as_mut().is_none_or(|pace| pace.due().is_some()) {
            let index = free.pop().expect("it is not empty");
            open[index] = Some(ask(epoll, index, address, request)?);
        }
        let timeout_ms = if pace.is_some() { 0 } else { 1000 };
        // SAFETY: the kernel writes at most 256 events.
        let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), 256, timeout_ms) };
        for event in &events[..usize::try_from(count).unwrap_or(0)] {
            let index = usize::try_from(event.u64)?;
            let connection = open[index].as_mut().expect("what is closed has no events");
            if is_answered(connection, &mut buffer, response)? {
                open[index] = None;
                free.push(index);
                requests += 1;
            }
        }
        ensure!(count != 0 || pace.is_some(), "no answer for a second");
        turns += 1;
        if turns.is_multiple_of(16) && !window.goes_on(requests)? {
            return Ok(());
        }
    }
}

fn ask(epoll: i32, index: usize, address: SocketAddr, request: &[u8]) -> Result<Connection> {
    let mut stream = TcpStream::connect(address)?;
    ensure!(stream.write(request)? == request.len(), "a small request was not taken at once");
    stream.set_nonblocking(true)?;
    let mut event = libc::epoll_event { events: libc::EPOLLIN.cast_unsigned(), u64: index as u64 };
    // SAFETY: the kernel reads the event only. Closing the descriptor takes it off again.
    let answer = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, stream.as_raw_fd(), &raw mut event) };
    ensure!(answer == 0, "epoll_ctl: {}", io::Error::last_os_error());
    Ok(Connection { stream, got: 0 })
}

/// Reads on, and answers whether the server has said everything and closed.
fn is_answered(connection: &mut Connection, buffer: &mut [u8], response: usize) -> Result<bool> {
    loop {
        match connection.stream.read(buffer) {
            Ok(0) => {
                ensure!(connection.got == response, "the server closed after {} of {response} bytes", connection.got);
                return Ok(true);
            }
            Ok(count) => {
                ensure!(connection.got > 0 || target::is_good(&buffer[..count]), "not a 200");
                connection.got += count;
                if connection.got > response {
                    bail!("more than one response to one request");
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}
