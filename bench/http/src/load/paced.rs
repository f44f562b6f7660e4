//! Requests at a fixed rate over some connections, whatever the server does. A latency counts from when its request was due, so that
//! a server that stalls does not hide the requests that would have come meanwhile.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use sunstar_bench_http::target;

use crate::Load;

/// Events that are taken at once.
const EVENTS: usize = 64;

/// The connections, and when the next request is due on the next one of them.
pub(crate) struct Paced<'a> {
    request: &'a [u8],
    open: Vec<Connection>,
    buffer: Vec<u8>,
    pub(crate) pace: Pace,
    turn: usize,
    /// Of each request when it was due, and the nanoseconds from then to its response.
    pub(crate) latencies: Vec<(Instant, u64)>,
}

/// What is due when, at a fixed rate.
pub(crate) struct Pace {
    next: Instant,
    step: Duration,
}

struct Connection {
    stream: TcpStream,
    /// When its requests were due that are not answered; the first one is under way.
    due: VecDeque<Instant>,
    got: usize,
}

impl Pace {
    /// So much per second, from now on.
    pub(crate) fn new(rate: u32) -> Self {
        Self { next: Instant::now(), step: Duration::from_secs(1) / rate }
    }

    /// When the next is due, if it is.
    pub(crate) fn due(&mut self) -> Option<Instant> {
        let due = self.next;
        if due > Instant::now() {
            return None;
        }
        self.next += self.step;
        Some(due)
    }
}

impl<'a> Paced<'a> {
    /// Connects. What arrives is told by `arrivals`, by the connections' numbers from 0 on.
    pub(crate) fn new(load: &Load<'a>, rate: u32, arrivals: &Arrivals) -> Result<Self> {
        let Load { address, request, response, connections } = *load;
        let open = (0..connections).map(|_| Connection::new(address)).collect::<Result<Vec<_>>>()?;
        for (index, connection) in open.iter().enumerate() {
            arrivals.watch(&connection.stream, index)?;
        }
        let (buffer, pace) = (vec![0_u8; response], Pace::new(rate));
        Ok(Self { request, open, buffer, pace, turn: 0, latencies: Vec::new() })
    }

    /// Sends what is due.
    pub(crate) fn ask(&mut self) -> Result<()> {
        while let Some(due) = self.pace.due() {
            self.open[self.turn].ask(self.request, due)?;
            self.turn = (self.turn + 1) % self.open.len();
        }
        Ok(())
    }

    /// Something has arrived on a connection.
    pub(crate) fn take_in(&mut self, index: usize) -> Result<()> {
        self.open[index].take_in(self.request, &mut self.buffer, &mut self.latencies)
    }
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

    fn take_in(&mut self, request: &[u8], buffer: &mut [u8], latencies: &mut Vec<(Instant, u64)>) -> Result<()> {
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
            latencies.push((due, u64::try_from(due.elapsed().as_nanos())?));
            if !self.due.is_empty() {
                self.send(request)?;
            }
        }
    }
}

/// Tells on which connections something has arrived.
pub(crate) struct Arrivals(OwnedFd);

impl Arrivals {
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: a plain system call.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        ensure!(epoll >= 0, "epoll_create1: {}", io::Error::last_os_error());
        // SAFETY: nobody else has the new descriptor.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(epoll) }))
    }

    /// Tells of a connection from now on, by this number, whenever more has arrived. Closing it ends that.
    pub(crate) fn watch(&self, stream: &TcpStream, index: usize) -> Result<()> {
        let events = (libc::EPOLLIN | libc::EPOLLET).cast_unsigned();
        let mut event = libc::epoll_event { events, u64: index as u64 };
        // SAFETY: the kernel reads the event only.
        let answer =
            unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, stream.as_raw_fd(), &raw mut event) };
        ensure!(answer == 0, "epoll_ctl: {}", io::Error::last_os_error());
        Ok(())
    }

    /// Adds the numbers of connections on which something has arrived since the last call. It does not wait: a client that slept
    /// would be late by itself.
    pub(crate) fn take(&self, ready: &mut Vec<usize>) -> Result<()> {
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
