//! The server: echoes messages, compares streams, and tells how it has spent its time.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use anyhow::{Context, Result, ensure};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use sunstar_bench_common::bypass::{CONTROL_PORT, PORTS, STREAM_PORT};
use sunstar_bench_common::tcp::{CHUNK, Pattern};

use crate::Cli;
use crate::poll::{Kind, Poll, Side};

const BACKLOG: i32 = 4_096;
/// Connections that are taken before others get their turn.
const ACCEPTS: usize = 64;

pub(crate) struct Server {
    size: usize,
    no_delay: bool,
    listeners: Vec<(OwnedFd, Kind)>,
    connections: Vec<Connection>,
    free: Vec<usize>,
    buffer: Vec<u8>,
    pattern: Pattern,
}

#[derive(Default)]
struct Connection {
    socket: Option<OwnedFd>,
    /// The part of a message that has come; its memory stays for the next connection at this place.
    message: Vec<u8>,
    /// Bytes of a stream that have come.
    came: u64,
}

impl Server {
    /// Listens. Two servers of one machine share the ports at different addresses.
    pub(crate) fn new(cli: &Cli, poll: &Poll) -> Result<Self> {
        let mut listeners = Vec::new();
        for place in 0..u32::from(cli.addresses) {
            let address = Ipv4Addr::from_bits(cli.server.to_bits() + place);
            let messages = PORTS.map(|port| (port, Kind::Messages));
            for (port, kind) in messages.chain([(STREAM_PORT, Kind::Stream), (CONTROL_PORT, Kind::Control)]) {
                let socket = listen(SocketAddr::from((address, port)))?;
                poll.watch(&socket, Side::Server(Kind::Listener), listeners.len(), EventFlags::IN)?;
                listeners.push((socket, kind));
            }
        }
        Ok(Self {
            size: cli.size,
            no_delay: cli.no_delay,
            listeners,
            connections: Vec::new(),
            free: Vec::new(),
            buffer: vec![0; CHUNK],
            pattern: Pattern::default(),
        })
    }

    pub(crate) fn on_event(&mut self, poll: &Poll, kind: Kind, place: usize) -> Result<()> {
        match kind {
            Kind::Listener => self.accept(poll, place),
            Kind::Messages => self.echo(place),
            Kind::Stream => self.compare(place),
            Kind::Control => self.tell(poll, place),
        }
    }

    fn accept(&mut self, poll: &Poll, listener: usize) -> Result<()> {
        for _ in 0..ACCEPTS {
            let (listener, kind) = &self.listeners[listener];
            let socket = match net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error).context("accepting a connection"),
            };
            if self.no_delay {
                sockopt::set_tcp_nodelay(&socket, true)?;
            }
            let place = self.free.pop().unwrap_or(self.connections.len());
            if place == self.connections.len() {
                self.connections.push(Connection::default());
            }
            poll.watch(&socket, Side::Server(*kind), place, EventFlags::IN)?;
            let connection = &mut self.connections[place];
            (connection.socket, connection.came) = (Some(socket), 0);
            connection.message.clear();
            // Most often the first message has come with the connection.
            if *kind == Kind::Messages {
                self.echo(place)?;
            }
        }
        Ok(())
    }

    /// Reads what has come into the buffer; none at the end, also if the client is gone.
    fn receive(&mut self, place: usize) -> Result<Option<usize>> {
        let Some(socket) = &self.connections[place].socket else { return Ok(Some(0)) };
        match net::recv(socket, self.buffer.as_mut_slice(), RecvFlags::empty()) {
            Ok((0, _)) | Err(Errno::CONNRESET) => {
                self.connections[place].socket = None;
                self.free.push(place);
                Ok(None)
            }
            Ok((count, _)) => Ok(Some(count)),
            Err(Errno::AGAIN) => Ok(Some(0)),
            Err(error) => Err(error).context("receiving"),
        }
    }

    fn echo(&mut self, place: usize) -> Result<()> {
        let Some(count) = self.receive(place)? else { return Ok(()) };
        let connection = &mut self.connections[place];
        let Some(socket) = &connection.socket else { return Ok(()) };
        if count == self.size && connection.message.is_empty() {
            return send(socket, &self.buffer[..count]);
        }
        connection.message.extend_from_slice(&self.buffer[..count]);
        if connection.message.len() >= self.size {
            send(socket, &connection.message)?;
            connection.message.clear();
        }
        Ok(())
    }

    fn compare(&mut self, place: usize) -> Result<()> {
        let Some(count) = self.receive(place)? else { return Ok(()) };
        let connection = &mut self.connections[place];
        let expected = &self.pattern.at(connection.came)[..count];
        ensure!(self.buffer[..count] == *expected, "a stream is not what was sent");
        connection.came += count as u64;
        Ok(())
    }

    fn tell(&mut self, poll: &Poll, place: usize) -> Result<()> {
        let Some(count) = self.receive(place)? else { return Ok(()) };
        let Some(socket) = &self.connections[place].socket else { return Ok(()) };
        for _ in 0..count {
            send(socket, &poll.usage().to_bytes())?;
        }
        Ok(())
    }
}

fn listen(address: SocketAddr) -> Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).context("making a socket")?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    // As programs with a process for each processor do.
    sockopt::set_socket_reuseport(&socket, true)?;
    net::bind(&socket, &address).with_context(|| format!("binding to {address}"))?;
    net::listen(&socket, BACKLOG).with_context(|| format!("listening on {address}"))?;
    Ok(socket)
}

/// Sends a message, for which there is room since those before it were read.
fn send(socket: &OwnedFd, bytes: &[u8]) -> Result<()> {
    match net::send(socket, bytes, SendFlags::NOSIGNAL) {
        // Whoever has gone reads no more.
        Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
        Ok(sent) => {
            ensure!(sent == bytes.len(), "of a message of {} bytes {sent} were taken", bytes.len());
            Ok(())
        }
        Err(error) => Err(error).context("sending a message"),
    }
}
