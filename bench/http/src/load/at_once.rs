//! Very many connections that are opened at once, each for one request: who is refused, reset or forgotten?

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use sunstar_bench_http::target;

use crate::{Load, half_sent};

/// Events that are taken at once.
const EVENTS: usize = 1024;
const LOOK_EVERY_MS: i32 = 100;

/// What became of them.
#[derive(Serialize, Default)]
pub(crate) struct Outcome {
    /// With a whole response.
    pub(crate) served: usize,
    /// Not opened: a reset came instead.
    refused: usize,
    /// Opened, and reset or closed before the response was whole.
    reset: usize,
    /// Not opened, or not served, in time.
    timed_out: usize,
    /// How long it took to ask for all of them.
    asking_ms: f64,
    /// From the first one's begin to the last response.
    all_ms: f64,
    /// From a connection's begin to when it was seen to be open, half of them and the slowest.
    connect_p50_ms: f64,
    connect_max_ms: f64,
}

enum State {
    Opening,
    Asked(usize),
    /// It stays open, or is over.
    Done,
}

pub(crate) struct Connection {
    stream: TcpStream,
    begun: Instant,
    state: State,
}

/// Opens all connections of the load as fast as one thread can, and waits for at most so many seconds.
pub(crate) fn run(load: &Load<'_>, seconds: f64) -> Result<Outcome> {
    let SocketAddr::V4(address) = load.address else { bail!("only for IPv4: {}", load.address) };
    let poll = Poll::new()?;
    let begin = Instant::now();
    let mut open = Vec::with_capacity(load.connections);
    for index in 0..load.connections {
        let begun = Instant::now();
        let connection = Connection::new(connect(address).with_context(|| format!("on connection {index}"))?, begun);
        poll.add(connection.descriptor(), index)?;
        open.push(connection);
    }
    let mut outcome = Outcome { asking_ms: ms(begin.elapsed()), ..Outcome::default() };
    let deadline = begin + Duration::from_secs_f64(seconds);
    let (mut times, mut left, mut ready) = (Vec::new(), open.len(), Vec::new());
    while left > 0 && Instant::now() < deadline {
        poll.wait(&mut ready)?;
        for &index in &ready {
            left -= usize::from(open[index].go_on(load, &mut outcome, &mut times)?);
        }
    }
    outcome.timed_out = left;
    outcome.all_ms = ms(begin.elapsed());
    let as_ms = |nanos: u64| nanos as f64 / 1e6;
    outcome.connect_p50_ms = half_sent::percentile(&mut times, 50).map_or(0.0, as_ms);
    outcome.connect_max_ms = times.into_iter().max().map_or(0.0, as_ms);
    Ok(outcome)
}

impl Connection {
    /// One that is being opened, and was to be at `begun`.
    pub(crate) fn new(stream: TcpStream, begun: Instant) -> Self {
        Self { stream, begun, state: State::Opening }
    }

    pub(crate) fn descriptor(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// Something has happened; answers whether it was the last thing.
    pub(crate) fn go_on(&mut self, load: &Load<'_>, outcome: &mut Outcome, times: &mut Vec<u64>) -> Result<bool> {
        if matches!(self.state, State::Opening) {
            match self.stream.take_error()? {
                None => {}
                Some(error) if error.kind() == ErrorKind::TimedOut => return Ok(self.end(&mut outcome.timed_out)),
                Some(_) => return Ok(self.end(&mut outcome.refused)),
            }
            times.push(u64::try_from(self.begun.elapsed().as_nanos())?);
            match self.stream.write(load.request) {
                Ok(count) => ensure!(count == load.request.len(), "a small request was not taken at once"),
                // A further word of it follows.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    times.pop();
                    return Ok(false);
                }
                Err(_) => return Ok(self.end(&mut outcome.reset)),
            }
            self.state = State::Asked(0);
        }
        let State::Asked(got) = &mut self.state else { return Ok(false) };
        let mut piece = [0; 4096];
        while *got < load.response {
            match self.stream.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Ok(0) | Err(_) => return Ok(self.end(&mut outcome.reset)),
                Ok(count) => {
                    let bytes = &piece[..count];
                    ensure!(*got > 0 || target::is_good(bytes), "not a 200: {}", bytes.escape_ascii());
                    *got += count;
                }
            }
        }
        Ok(self.end(&mut outcome.served))
    }

    fn end(&mut self, count: &mut usize) -> bool {
        *count += 1;
        self.state = State::Done;
        true
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Begins to connect.
pub(crate) fn connect(address: SocketAddrV4) -> Result<TcpStream> {
    let to = libc::sockaddr_in {
        sin_family: libc::sa_family_t::try_from(libc::AF_INET)?,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    };
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: plain system calls; the new descriptor has no other owner, and the kernel reads an address whose length is given.
    let (socket, answer) = unsafe {
        let socket = libc::socket(libc::AF_INET, kind, 0);
        ensure!(socket >= 0, "socket: {}", io::Error::last_os_error());
        let socket = TcpStream::from(OwnedFd::from_raw_fd(socket));
        let length = libc::socklen_t::try_from(size_of_val(&to))?;
        let answer = libc::connect(socket.as_raw_fd(), (&raw const to).cast(), length);
        (socket, answer)
    };
    let error = io::Error::last_os_error();
    ensure!(answer == 0 || error.raw_os_error() == Some(libc::EINPROGRESS), "connect: {error}");
    Ok(socket)
}

/// An epoll instance.
pub(crate) struct Poll(OwnedFd);

impl Poll {
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: a plain system call whose descriptor has no other owner.
        unsafe {
            let epoll = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            ensure!(epoll >= 0, "epoll_create1: {}", io::Error::last_os_error());
            Ok(Self(OwnedFd::from_raw_fd(epoll)))
        }
    }

    pub(crate) fn add(&self, file: RawFd, index: usize) -> Result<()> {
        let events = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET).cast_unsigned();
        let mut event = libc::epoll_event { events, u64: index as u64 };
        // SAFETY: the kernel reads the event only.
        let answer = unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, file, &raw mut event) };
        ensure!(answer == 0, "epoll_ctl: {}", io::Error::last_os_error());
        Ok(())
    }

    /// Puts those to which something has happened into `ready`; waits for a moment if there are none.
    pub(crate) fn wait(&self, ready: &mut Vec<usize>) -> Result<()> {
        self.take(ready, LOOK_EVERY_MS)
    }

    /// The same without waiting.
    pub(crate) fn look(&self, ready: &mut Vec<usize>) -> Result<()> {
        self.take(ready, 0)
    }

    fn take(&self, ready: &mut Vec<usize>, timeout_ms: i32) -> Result<()> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        let most = i32::try_from(EVENTS)?;
        // SAFETY: the kernel writes as many events as there is room for.
        let count = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), most, timeout_ms) };
        ready.clear();
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for event in &events[..count] {
            ready.push(usize::try_from(event.u64)?);
        }
        Ok(())
    }
}
