//! The client: connections with messages and their echoes, or streams.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use sunstar_bench_common::bypass::{
    CONTROL_PORT, Counts, Latencies, PORTS, SAMPLE_EVERY, STREAM_PORT, USAGE_BYTES, Usage,
};
use sunstar_bench_common::tcp::{CHUNK, Pattern};

use crate::poll::{Poll, Ready, Side};
use crate::{Cli, Load};

/// Writes on a stream before others get their turn.
const WRITES: usize = 64;

pub(crate) struct Client {
    cli: Cli,
    connections: Vec<Connection>,
    pattern: Pattern,
    buffer: Vec<u8>,
    /// Connections that were opened until now, which decides where the next one goes.
    opened: usize,
    counts: Counts,
    operations: u64,
    is_measuring: bool,
    latencies: Latencies,
}

struct Connection {
    socket: OwnedFd,
    is_watched_for_writing: bool,
    /// Bytes of the message that were echoed.
    came: usize,
    messages: u64,
    /// Bytes of a stream that were sent.
    sent: u64,
    begun: Option<Instant>,
}

impl Client {
    pub(crate) fn new(cli: &Cli, poll: &Poll) -> Result<Self> {
        let mut client = Self {
            cli: cli.clone(),
            connections: Vec::new(),
            pattern: Pattern::default(),
            buffer: vec![0; CHUNK],
            opened: 0,
            counts: Counts::default(),
            operations: 0,
            is_measuring: false,
            latencies: Latencies::default(),
        };
        for place in 0..cli.connections {
            let connection = client.open(poll, place)?;
            client.connections.push(connection);
        }
        Ok(client)
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    pub(crate) fn set_measuring(&mut self, is_measuring: bool) {
        self.is_measuring = is_measuring;
    }

    pub(crate) fn take_latencies(&mut self) -> Latencies {
        std::mem::take(&mut self.latencies)
    }

    pub(crate) fn on_event(&mut self, poll: &Poll, event: &Ready) -> Result<()> {
        match self.cli.load {
            Load::Bulk => self.stream(event.place),
            Load::Messages => {
                if event.is_readable {
                    self.take_in(poll, event.place)?;
                } else if event.is_writable && self.connections[event.place].is_watched_for_writing {
                    self.connections[event.place].is_watched_for_writing = false;
                    let socket = &self.connections[event.place].socket;
                    poll.watch_for(socket, Side::Client, event.place, EventFlags::IN)?;
                    ensure!(
                        send(socket, &self.pattern.whole()[..self.cli.size])?,
                        "a socket that is writable takes nothing"
                    );
                }
                Ok(())
            }
        }
    }

    /// Where the next connection goes: addresses and ports in turn, so that the local ports of none are used up.
    fn next_address(&mut self) -> SocketAddr {
        let (addresses, ports) = (usize::from(self.cli.addresses), PORTS.len());
        let (port, address) = (self.opened % ports, self.opened / ports % addresses);
        self.opened += 1;
        let port =
            if self.cli.load == Load::Bulk { STREAM_PORT } else { PORTS.start + u16::try_from(port).unwrap_or(0) };
        let address = Ipv4Addr::from_bits(self.cli.server.to_bits() + u32::try_from(address).unwrap_or(0));
        SocketAddr::from((address, port))
    }

    /// Connects, and asks at once: over loopback the connection is there when the call returns.
    fn open(&mut self, poll: &Poll, place: usize) -> Result<Connection> {
        let is_bulk = self.cli.load == Load::Bulk;
        let begun = if self.cli.messages > 0 { self.begin() } else { None };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket =
            net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).context("making a socket")?;
        if self.cli.no_delay {
            sockopt::set_tcp_nodelay(&socket, true)?;
        }
        let address = self.next_address();
        match net::connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error).with_context(|| format!("connecting to {address}")),
        }
        let has_asked = !is_bulk && send(&socket, &self.pattern.whole()[..self.cli.size])?;
        let flags = match (is_bulk, has_asked) {
            (true, _) => EventFlags::OUT,
            (false, true) => EventFlags::IN,
            (false, false) => EventFlags::IN | EventFlags::OUT,
        };
        poll.watch(&socket, Side::Client, place, flags)?;
        let begun = if self.cli.messages > 0 { begun } else { self.begin() };
        Ok(Connection { socket, is_watched_for_writing: !is_bulk && !has_asked, came: 0, messages: 0, sent: 0, begun })
    }

    /// An operation begins: the time, if it is one of those of which the latency is noted.
    fn begin(&mut self) -> Option<Instant> {
        self.operations += 1;
        (self.is_measuring && self.operations.is_multiple_of(SAMPLE_EVERY)).then(Instant::now)
    }

    /// Compares an echo; after the last one there is another connection.
    fn take_in(&mut self, poll: &Poll, place: usize) -> Result<()> {
        let connection = &mut self.connections[place];
        let count = match net::recv(&connection.socket, self.buffer.as_mut_slice(), RecvFlags::empty()) {
            Ok((count, _)) => count,
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error).context("receiving"),
        };
        let message = &self.pattern.whole()[..self.cli.size];
        let expected = message.get(connection.came..connection.came + count);
        ensure!(count > 0 && expected == Some(&self.buffer[..count]), "an echo is wrong or ends");
        connection.came += count;
        if connection.came < self.cli.size {
            return Ok(());
        }
        connection.came = 0;
        connection.messages += 1;
        self.counts.messages += 1;
        if self.cli.messages == 0 {
            self.end(place);
            let begun = self.begin();
            self.connections[place].begun = begun;
        } else if self.connections[place].messages == self.cli.messages {
            self.end(place);
            self.counts.connections += 1;
            self.connections[place] = self.open(poll, place)?;
            return Ok(());
        }
        let message = &self.pattern.whole()[..self.cli.size];
        ensure!(send(&self.connections[place].socket, message)?, "there is no room for one message");
        Ok(())
    }

    fn end(&mut self, place: usize) {
        if let Some(begun) = self.connections[place].begun.take() {
            self.latencies.add(begun.elapsed());
        }
    }

    /// Sends what goes.
    fn stream(&mut self, place: usize) -> Result<()> {
        let connection = &mut self.connections[place];
        for _ in 0..WRITES {
            let bytes = &self.pattern.at(connection.sent)[..self.cli.write];
            match net::send(&connection.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(sent) => {
                    connection.sent += sent as u64;
                    self.counts.bytes += sent as u64;
                }
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error).context("sending"),
            }
        }
        Ok(())
    }
}

/// Sends a message, whole or not at all; false if the connection is not there yet.
fn send(socket: &OwnedFd, bytes: &[u8]) -> Result<bool> {
    match net::send(socket, bytes, SendFlags::NOSIGNAL) {
        Ok(sent) => {
            ensure!(sent == bytes.len(), "of a message of {} bytes {sent} were taken", bytes.len());
            Ok(true)
        }
        Err(Errno::AGAIN | Errno::NOTCONN) => Ok(false),
        Err(error) => Err(error).context("sending a message"),
    }
}

/// The connection by which a server tells how it has spent its time.
pub(crate) struct Control(TcpStream);

impl Control {
    pub(crate) fn connect(cli: &Cli) -> Result<Self> {
        let stream = TcpStream::connect((cli.server, CONTROL_PORT)).context("connecting to the server")?;
        Ok(Self(stream))
    }

    pub(crate) fn ask(&mut self) -> Result<Usage> {
        self.0.write_all(b"?").context("asking the server")?;
        let mut told = [0; USAGE_BYTES];
        self.0.read_exact(&mut told).context("reading how the server has spent its time")?;
        Ok(Usage::from_bytes(told))
    }
}
