//! Requests at a fixed rate over some connections, whatever the server does. A latency counts from when its request was due, so that
//! a server that stalls does not hide the requests that would have come meanwhile.
//!
//! The client spins, so that it is never late by itself.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use sunstar_bench_http::target;

use crate::{Load, Window};

/// Events that are taken at once.
const EVENTS: usize = 64;

struct Connection {
    stream: TcpStream,
    /// When its requests were due that are not answered; the first one is under way.
    due: VecDeque<Instant>,
    got: usize,
}

/// Answers the time from when each request was due to its response, in nanoseconds.
pub(crate) fn run(load: &Load<'_>, rate: u32, window: &mut Window) -> Result<Vec<u64>> {
    let Load { address, request, response, connections } = *load;
    let mut open = (0..connections).map(|_| Connection::new(address)).collect::<Result<Vec<_>>>()?;
    let arrivals = Arrivals::of(&open)?;
    let mut latencies = Vec::new();
    let mut buffer = vec![0_u8; response];
    let mut ready = Vec::new();
    let step = Duration::from_secs(1) / rate;
    let (mut next, mut turn) = (Instant::now(), (0..connections).cycle());
    while window.goes_on(latencies.len() as u64)? {
        while next <= Instant::now() {
            let index = turn.next().expect("there are connections");
            open[index].ask(request, next)?;
            next += step;
        }
        arrivals.take(&mut ready)?;
        for index in ready.drain(..) {
            open[index].take_in(request, &mut buffer, &mut latencies)?;
        }
    }
    Ok(latencies)
}

impl Connection {
    fn new(address: SocketAddr) -> Result<Self> {
        let stream = target::connect(address)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, due: VecDeque::new(), got: 0 })
    }

    /// A request is due; it is sent when the one before it was answered.
    fn ask(&mut self, request: &[u8], due: Instant) -> Result<()> {
        self.due.push_back(due);
        if self.due.len() == 1 { self.send(request) } else { Ok(()) }
    }

    fn send(&mut self, request: &[u8]) -> Result<()> {
        ensure!(self.stream.write(request)? == request.len(), "a small request was not taken at once");
        Ok(())
    }

    fn take_in(&mut self, request: &[u8], buffer: &mut [u8], latencies: &mut Vec<u64>) -> Result<()> {
        loop {
            match self.stream.read(&mut buffer[self.got..]) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(count) => self.got += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            if self.got < buffer.len() {
                continue;
            }
            ensure!(target::is_good(buffer), "not a 200: {}", buffer.escape_ascii());
            self.got = 0;
            let due = self.due.pop_front().expect("a response has its request");
            latencies.push(u64::try_from(due.elapsed().as_nanos())?);
            if !self.due.is_empty() {
                self.send(request)?;
            }
        }
    }
}

/// Tells on which connections something has arrived.
struct Arrivals(OwnedFd);

impl Arrivals {
    fn of(open: &[Connection]) -> Result<Self> {
        // SAFETY: plain system calls, and nobody else has the new descriptor. The kernel reads the events only.
        unsafe {
            let epoll = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            ensure!(epoll >= 0, "epoll_create1: {}", io::Error::last_os_error());
            let epoll = OwnedFd::from_raw_fd(epoll);
            for (index, connection) in open.iter().enumerate() {
                let events = (libc::EPOLLIN | libc::EPOLLET).cast_unsigned();
                let mut event = libc::epoll_event { events, u64: index as u64 };
                let (add, socket) = (libc::EPOLL_CTL_ADD, connection.stream.as_raw_fd());
                let answer = libc::epoll_ctl(epoll.as_raw_fd(), add, socket, &raw mut event);
                ensure!(answer == 0, "epoll_ctl: {}", io::Error::last_os_error());
            }
            Ok(Self(epoll))
        }
    }

    /// Adds the indexes of connections on which something has arrived since the last call.
    fn take(&self, ready: &mut Vec<usize>) -> Result<()> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        let room = libc::c_int::try_from(EVENTS)?;
        // SAFETY: the kernel writes at most as many events as there is room for.
        let count = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), room, 0) };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for event in &events[..count] {
            ready.push(usize::try_from(event.u64)?);
        }
        Ok(())
    }
}
