//! `MSG_OOB` and `SO_OOBINLINE`, as Linux has them.

use super::world::World;
use crate::EpollEvent;
use crate::calls::{self, PollFd};
use crate::descriptors::Fd;
use crate::errno::Errno;
use crate::numbers::{epoll, ioctl, level, msg, ready, so};

fn send(world: &World, machine: usize, fd: Fd, bytes: &[u8], flags: i32) {
    let sent = world.on(machine, |sockets, now| sockets.send(now, fd, &[bytes], flags, None));
    assert_eq!(sent, Ok(bytes.len()));
    world.run();
}

fn ask(world: &World, fd: Fd, operation: u32) -> i32 {
    world.on(1, |sockets, _| sockets.ioctl(fd, operation)).expect("it is open")
}

#[test]
fn an_urgent_byte_lies_beside_the_stream_and_reading_stops_before_it() {
    let world = World::new();
    let (client, server) = world.connected();
    assert_eq!(world.receive(1, server, msg::OOB), Err(Errno::INVAL), "nothing is urgent");
    send(&world, 0, client, b"abc", msg::OOB);
    send(&world, 0, client, b"de", 0);
    let readiness = world.on(1, |sockets, now| sockets.readiness(now, server));
    assert_eq!(readiness & (ready::IN | ready::PRI), ready::IN | ready::PRI);
    assert_eq!((ask(&world, server, ioctl::SIOCATMARK), ask(&world, server, ioctl::FIONREAD)), (0, 2));
    assert_eq!(world.receive(1, server, 0), Ok(b"ab".to_vec()));
    assert_eq!(ask(&world, server, ioctl::SIOCATMARK), 1);
    assert_eq!(world.receive(1, server, msg::OOB | msg::PEEK), Ok(b"c".to_vec()));
    assert_eq!(world.receive(1, server, msg::OOB), Ok(b"c".to_vec()));
    assert_eq!(world.receive(1, server, msg::OOB), Err(Errno::INVAL), "it was read");
    assert_eq!(world.receive(1, server, 0), Ok(b"de".to_vec()));
    assert_eq!(ask(&world, server, ioctl::SIOCATMARK), 0);
}

#[test]
fn an_urgent_byte_that_nobody_wants_is_stepped_over() {
    let world = World::new();
    let (client, server) = world.connected();
    send(&world, 0, client, b"!", msg::OOB);
    let readiness = world.on(1, |sockets, now| sockets.readiness(now, server));
    assert_eq!(readiness & (ready::IN | ready::PRI), ready::PRI, "there is nothing to be read in order");
    send(&world, 0, client, b"on", 0);
    assert_eq!(world.receive(1, server, 0), Ok(b"on".to_vec()));
    assert_eq!(world.receive(1, server, msg::OOB), Err(Errno::INVAL), "reading has gone past it");
}

#[test]
fn an_urgent_byte_may_be_part_of_the_stream() {
    let world = World::new();
    let (client, server) = world.connected();
    let on = 1_i32.to_ne_bytes();
    world.on(1, |sockets, now| sockets.set_option(now, server, level::SOCKET, so::OOBINLINE, &on)).expect("a flag");
    send(&world, 0, client, b"abc", msg::OOB);
    send(&world, 0, client, b"de", 0);
    assert_eq!(world.receive(1, server, 0), Ok(b"ab".to_vec()));
    assert_eq!(ask(&world, server, ioctl::SIOCATMARK), 1);
    assert_eq!(world.receive(1, server, msg::OOB), Err(Errno::INVAL));
    assert_eq!(world.receive(1, server, 0), Ok(b"cde".to_vec()));
}

#[test]
fn something_urgent_is_told_once() {
    let world = World::new();
    let (client, server) = world.connected();
    let at = world.on(0, |sockets, _| sockets.epoll_create(0)).expect("there is room");
    let event = EpollEvent { events: ready::PRI | epoll::ET, data: 0 };
    world.on(0, |sockets, now| sockets.epoll_control(now, at, epoll::CTL_ADD, client, Some(event))).expect("new");
    let told = || calls::epoll_wait(&world, at, 8, Some(core::time::Duration::ZERO)).map(|found| found.len());
    send(&world, 1, server, b"calm", 0);
    assert_eq!(told(), Ok(0));
    send(&world, 1, server, b"!", msg::OOB);
    assert_eq!((told(), told()), (Ok(1), Ok(0)));
    let mut fds = [PollFd { fd: client, events: ready::PRI, revents: 0 }];
    assert_eq!(calls::poll(&world, &mut fds, None), Ok(1));
    let mut byte = [0];
    let received = calls::receive(&world, client, &mut [&mut byte], msg::OOB).expect("it is there");
    assert_eq!((received.bytes, byte, received.flags), (1, *b"!", msg::OOB));
}

/// What comes before urgent bytes takes room until it is read, also if nothing else is read.
#[test]
fn who_reads_urgent_bytes_only_is_sent_no_more_than_there_is_room_for() {
    let world = World::new();
    let (client, server) = world.connected();
    let room = 20_000_i32.to_ne_bytes();
    world.on(0, |sockets, now| sockets.set_option(now, client, level::SOCKET, so::SNDBUF, &room)).expect("a number");
    world.on(1, |sockets, now| sockets.set_option(now, server, level::SOCKET, so::RCVBUF, &room)).expect("a number");
    let mut urgent = 0;
    let is_full = (0..1_000).any(|_| {
        let sent = world.on(0, |sockets, now| sockets.send(now, client, &[&[7; 1_000]], msg::OOB, None));
        world.pass(1_000_000);
        urgent += usize::from(world.receive(1, server, msg::OOB) == Ok(vec![7]));
        sent == Err(Errno::AGAIN)
    });
    assert!(is_full && urgent > 10, "{urgent} were read");
    assert!(world.receive(1, server, 0).is_ok_and(|bytes| bytes == [7; 64]));
}
