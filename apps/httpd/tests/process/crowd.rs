//! Very many connections at once, over a TAP.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with};

use super::client::{Client, HELLO, REQUEST};
use super::server::{PATIENCE, room};

/// Connections that are opened before anybody looks whether one is open: nearly as many as may wait to be accepted.
const CROWD: u64 = 4_000;

/// Begins to connect, and does not wait for it.
fn begin(address: SocketAddr) -> OwnedFd {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, Some(ipproto::TCP));
    let socket = socket.expect("descriptors are free");
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
    let sockets: Vec<OwnedFd> = (0..room(CROWD)).map(|_| begin(address)).collect();
    wait_for_all(&sockets);
    let clients = sockets.into_iter().map(|socket| {
        rustix::io::ioctl_fionbio(&socket, false).expect("it is a socket");
        Client::over(TcpStream::from(socket)).expect("it is connected")
    });
    let mut clients: Vec<Client> = clients.collect();
    clients.iter_mut().for_each(|client| client.send(REQUEST).expect("it is connected"));
    clients.iter_mut().for_each(|client| assert_eq!(client.answer().expect("it answers").body, HELLO));
}
