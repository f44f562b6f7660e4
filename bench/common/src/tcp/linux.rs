//! The kernel's TCP over loopback, both ends in one epoll loop: speculative calls first, a descriptor is watched from its first "would
//! block" on, edge-triggered.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use super::{CHUNK, Ends, Event, Link, Side};

/// So many that the local ports of one are not used up by what lingers in TIME_WAIT.
const LISTENERS: usize = 64;
const BACKLOG: i32 = 4_096;

/// The kernel's sockets.
pub struct Linux {
    epoll: OwnedFd,
    listeners: Vec<(OwnedFd, SocketAddr)>,
    next_listener: usize,
    clients: Vec<Option<OwnedFd>>,
    is_connecting: Vec<bool>,
    servers: Vec<Option<OwnedFd>>,
    free_servers: Vec<usize>,
    ready: Vec<epoll::Event>,
    buffer: Vec<u8>,
}

const LISTENER: u64 = 2;

fn data(kind: u64, place: usize) -> EventData {
    EventData::new_u64(kind << 32 | place as u64)
}

impl Ends for Linux {
    fn new(slots: usize, _: Link) -> Self {
        let epoll = epoll::create(CreateFlags::CLOEXEC).expect("an epoll instance");
        let listeners: Vec<_> = (0..LISTENERS)
            .map(|place| {
                let socket = stream();
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                net::bind(&socket, &address).expect("an address");
                net::listen(&socket, BACKLOG).expect("a listener");
                let address = net::getsockname(&socket).expect("its address").try_into().expect("an IP address");
                epoll::add(&epoll, &socket, data(LISTENER, place), EventFlags::IN).expect("it is watched");
                (socket, address)
            })
            .collect();
        Self {
            epoll,
            listeners,
            next_listener: 0,
            clients: (0..slots).map(|_| None).collect(),
            is_connecting: vec![false; slots],
            servers: Vec::new(),
            free_servers: Vec::new(),
            ready: Vec::with_capacity(1_024),
            buffer: Vec::with_capacity(CHUNK),
        }
    }

    fn connect(&mut self, slot: usize) {
        let socket = stream();
        self.next_listener = (self.next_listener + 1) % LISTENERS;
        match net::connect(&socket, &self.listeners[self.next_listener].1) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => panic!("no connection: {error}"),
        }
        self.watch(&socket, 0, slot);
        self.is_connecting[slot] = true;
        self.clients[slot] = Some(socket);
    }

    fn turn(&mut self, events: &mut Vec<Event>) {
        self.ready.clear();
        let zero = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        match epoll::wait(&self.epoll, spare_capacity(&mut self.ready), Some(&zero)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("no events: {error}"),
        }
        for at in 0..self.ready.len() {
            let event = self.ready[at];
            let (kind, place) = (event.data.u64() >> 32, (event.data.u64() & 0xffff_ffff) as usize);
            if kind == LISTENER {
                self.accept(place);
                continue;
            }
            let side = if kind == 0 { Side::Client } else { Side::Server };
            let flags = event.flags;
            if side == Side::Client && self.is_connecting[place] && flags.contains(EventFlags::OUT) {
                self.is_connecting[place] = false;
                events.push(Event::Connected(place));
            } else if flags.contains(EventFlags::OUT) {
                events.push(Event::Writable(side, place));
            }
            if flags.contains(EventFlags::IN) {
                events.push(Event::Readable(side, place));
            }
        }
    }

    fn send(&mut self, side: Side, slot: usize, bytes: &[u8]) -> usize {
        match net::send(self.socket(side, slot), bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => sent,
            Err(Errno::AGAIN) => 0,
            Err(error) => panic!("not sent: {error}"),
        }
    }

    fn receive(&mut self, side: Side, slot: usize, most: usize, mut read: impl FnMut(&[u8])) -> Option<usize> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let room = &mut buffer.spare_capacity_mut()[..most];
        let got = match net::recv(self.socket(side, slot), room, RecvFlags::empty()) {
            Ok(((bytes, _), _)) => {
                read(bytes);
                (!bytes.is_empty()).then_some(bytes.len())
            }
            Err(Errno::AGAIN) => Some(0),
            Err(error) => panic!("not received: {error}"),
        };
        self.buffer = buffer;
        got
    }

    fn close(&mut self, side: Side, slot: usize) {
        match side {
            Side::Client => self.clients[slot] = None,
            Side::Server => {
                self.servers[slot] = None;
                self.free_servers.push(slot);
            }
        }
    }
}

impl Linux {
    fn socket(&self, side: Side, slot: usize) -> &OwnedFd {
        let ends = if side == Side::Client { &self.clients } else { &self.servers };
        ends[slot].as_ref().expect("it is open")
    }

    fn watch(&self, socket: &OwnedFd, kind: u64, slot: usize) {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
        epoll::add(&self.epoll, socket, data(kind, slot), flags).expect("it is watched");
    }

    fn accept(&mut self, listener: usize) {
        loop {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = match net::accept_with(&self.listeners[listener].0, flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return,
                Err(error) => panic!("nothing accepted: {error}"),
            };
            prepare(&socket);
            let slot = self.free_servers.pop().unwrap_or(self.servers.len());
            if slot == self.servers.len() {
                self.servers.push(None);
            }
            self.watch(&socket, 1, slot);
            self.servers[slot] = Some(socket);
        }
    }
}

fn stream() -> OwnedFd {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).expect("a socket");
    prepare(&socket);
    socket
}

/// What the others have too. A system's default may pace what it sends (BBR), which costs much more than it takes here.
fn prepare(socket: &OwnedFd) {
    sockopt::set_tcp_nodelay(socket, true).expect("a stream");
    let known = ["cubic", "reno"].iter().any(|name| sockopt::set_tcp_congestion(socket, name).is_ok());
    assert!(known, "every kernel has Reno");
}
