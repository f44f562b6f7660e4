//! Very many connections at once, over a TAP.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, ipproto, socket_with};

use super::client::{Client, HELLO, REQUEST};
use super::server::{PATIENCE, room};

/// Connections that are opened before anybody looks whether one is open: nearly as many as may wait to be accepted.
const CROWD: u64 = 4_000;

/// Begins to connect, from an address of this host's if one is named, and does not wait for it.
fn begin(from: Option<IpAddr>, address: SocketAddr) -> OwnedFd {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP));
    let socket = socket.expect("descriptors are free");
    if let Some(from) = from {
        bind(&socket, &SocketAddr::new(from, 0)).expect("it is ours, and ports are free");
    }
    assert_eq!(connect(&socket, &address), Err(Errno::INPROGRESS));
    socket
}

/// Waits until all are open, which each must be.
fn wait_for_all(sockets: &[OwnedFd]) {
    let poll = epoll::create(CreateFlags::CLOEXEC).expect("descriptors are free");
    for (index, socket) in sockets.iter().enumerate() {
        let data = EventData::new_u64(index as u64);
        epoll::add(&poll, socket, data, EventFlags::OUT | EventFlags::ONESHOT).expect("there is memory");
    }
    let timeout = rustix::event::Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    let (mut left, mut events) = (sockets.len(), Vec::with_capacity(1024));
    while left > 0 {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)).expect("it can be waited for");
        assert!(!events.is_empty(), "{left} of {} are not opened", sockets.len());
        for event in &events {
            let index = usize::try_from(event.data.u64()).expect("a number of ours");
            let error = rustix::net::sockopt::socket_error(sockets[index].as_fd()).expect("it is a socket");
            assert_eq!(error, Ok(()), "connection {index}");
        }
        left -= events.len();
    }
}

/// Opens many connections at once, sends a request on each, and then wants an answer on each.
pub(super) fn serve_all_of_a_crowd(address: SocketAddr) {
    let sockets: Vec<OwnedFd> = (0..room(CROWD)).map(|_| begin(None, address)).collect();
    let mut clients = clients(sockets);
    clients.iter_mut().for_each(|client| client.send(REQUEST).expect("it is connected"));
    clients.iter_mut().for_each(|client| assert_eq!(client.answer().expect("it answers").body, HELLO));
}

/// Opens that many connections from each of these addresses, those from one at once.
pub(super) fn connect_from_each(sources: &[IpAddr], each: u64, address: SocketAddr) -> Vec<Client> {
    let crowd = |&from| clients((0..each).map(|_| begin(Some(from), address)).collect());
    sources.iter().flat_map(crowd).collect()
}

/// Clients over connections that are being opened, once they are.
fn clients(sockets: Vec<OwnedFd>) -> Vec<Client> {
    wait_for_all(&sockets);
    let clients = sockets.into_iter().map(|socket| {
        rustix::io::ioctl_fionbio(&socket, false).expect("it is a socket");
        Client::over(TcpStream::from(socket)).expect("it is connected")
    });
    clients.collect()
}
