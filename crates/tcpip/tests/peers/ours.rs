//! Sunstar's stack as a host.

use std::net::{IpAddr, SocketAddr};

use sunstar_packet::{Buffer, Packet};
use sunstar_tcpip::interface::{Capabilities, InterfaceId, InterfaceOptions, Link};
use sunstar_tcpip::prefix::Prefix;
use sunstar_tcpip::stack::{Limits, Stack};
use sunstar_tcpip::tcp::connection::{Failure, Options, State};
use sunstar_tcpip::tcp::sockets::{ListenerId, SocketId};
use sunstar_tcpip::time::Instant;
use sunstar_wire::MacAddr;

use super::world::{Host, MTU, OURS, THEIRS, Version, mac};

/// As much as the link takes.
const OPTIONS: Options = Options { mss: u16::MAX, ..Options::DEFAULT };

pub(crate) struct Ours {
    stack: Stack,
    link: InterfaceId,
    version: Version,
    listener: Option<ListenerId>,
    socket: Option<SocketId>,
}

impl Ours {
    pub(crate) fn new(now: Instant, version: Version) -> Self {
        let mut stack = Stack::new([7; 16], Limits::DEFAULT);
        let options = InterfaceOptions {
            link: Link::Ethernet(MacAddr(mac(OURS))),
            mtu: MTU,
            capabilities: Capabilities::default(),
        };
        let link = stack.add_interface(options).expect("there is room");
        let prefix = Prefix::new(version.address(OURS), version.prefix_len()).expect("not too long");
        stack.add_address(now, link, prefix).expect("it is a station's");
        Self { stack, link, version, listener: None, socket: None }
    }

    /// The connection, once there is one.
    fn socket(&mut self) -> Option<SocketId> {
        if let Some(accepted) = self.listener.and_then(|listener| self.stack.tcp().accept(listener)) {
            self.socket = Some(accepted);
        }
        self.socket
    }

    fn state(&mut self) -> State {
        let Some(socket) = self.socket() else { return State::Closed };
        self.stack.tcp().connection(socket).map_or(State::Closed, |connection| connection.state())
    }
}

impl Host for Ours {
    fn take(&mut self, now: Instant, frame: &[u8]) {
        self.stack.handle_packets(now, self.link, [Packet::from(Buffer::copy_from_slice(frame))]);
    }

    fn turn(&mut self, now: Instant, send: &mut dyn FnMut(Vec<u8>)) {
        self.stack.handle_timeout(now);
        while let Some((_, packet)) = self.stack.poll_transmit(now) {
            send(packet.buffers().concat());
        }
        while self.stack.poll_event().is_some() {}
    }

    fn deadline(&mut self, _: Instant) -> Option<Instant> {
        self.stack.deadline()
    }

    fn listen(&mut self, port: u16) {
        let any: IpAddr = match self.version {
            Version::V4 => std::net::Ipv4Addr::UNSPECIFIED.into(),
            Version::V6 => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        self.listener = Some(self.stack.listen((any, port).into(), 8, OPTIONS).expect("the port is free"));
    }

    fn connect(&mut self, now: Instant, from: u16, to: u16) {
        let from = SocketAddr::new(self.version.address(OURS), from);
        let to = SocketAddr::new(self.version.address(THEIRS), to);
        self.socket = Some(self.stack.connect(now, Some(from), to, OPTIONS).expect("there is a way"));
    }

    fn is_open(&mut self) -> bool {
        !matches!(self.state(), State::SynSent | State::SynReceived | State::Closed)
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        let Some(socket) = self.socket() else { return 0 };
        let room = self.stack.tcp().connection(socket).map_or(0, |connection| connection.sendable());
        let len = bytes.len().min(usize::try_from(room).unwrap_or(0));
        if len == 0 {
            return 0;
        }
        let sent = self.stack.tcp().send(socket, Buffer::copy_from_slice(&bytes[..len]));
        if sent.is_ok() { len } else { 0 }
    }

    fn receive(&mut self, bytes: &mut Vec<u8>) {
        let Some(socket) = self.socket() else { return };
        while let Some(part) = self.stack.tcp().receive(socket) {
            bytes.extend_from_slice(&part);
        }
    }

    fn has_ended(&mut self) -> bool {
        let socket = self.socket();
        let connection = socket.and_then(|socket| self.stack.tcp().connection(socket));
        connection.is_some_and(|connection| connection.is_at_end())
    }

    fn end(&mut self, now: Instant) {
        let socket = self.socket().expect("it is open");
        self.stack.tcp().close(now, socket);
    }

    fn abort(&mut self, now: Instant) {
        let socket = self.socket().expect("it is open");
        self.stack.tcp().abort(now, socket);
    }

    fn is_reset(&mut self) -> bool {
        let socket = self.socket();
        let connection = socket.and_then(|socket| self.stack.tcp().connection(socket));
        connection.is_some_and(|connection| matches!(connection.failure(), Some(Failure::Reset | Failure::Refused)))
    }

    fn is_over(&mut self) -> bool {
        matches!(self.state(), State::Closed | State::TimeWait)
    }
}
