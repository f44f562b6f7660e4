use core::time::Duration;

use super::world::{World, address};
use crate::calls;
use crate::errno::Errno;
use crate::numbers::{family, file, ioctl, kind, level, msg, shut, so};

#[test]
fn bytes_arrive_and_the_end_is_seen() {
    let world = World::new();
    let (client, server) = world.connected();
    assert_eq!(world.receive(1, server, 0), Err(Errno::AGAIN));
    assert_eq!(world.send(0, client, b"hello"), Ok(5));
    assert_eq!(world.on(1, |sockets, _| sockets.ioctl(server, ioctl::FIONREAD)), Ok(5));
    assert_eq!(world.receive(1, server, msg::PEEK), Ok(b"hello".to_vec()));
    assert_eq!(world.receive(1, server, 0), Ok(b"hello".to_vec()));
    assert_eq!(world.on(0, |sockets, now| sockets.shutdown(now, client, shut::WR)), Ok(()));
    world.run();
    assert_eq!(world.receive(1, server, 0), Ok(Vec::new()), "the end");
    assert_eq!(world.send(0, client, b"more"), Err(Errno::PIPE));
    assert_eq!(world.send(1, server, b"answer"), Ok(6));
    assert_eq!(world.receive(0, client, 0), Ok(b"answer".to_vec()));
}

#[test]
fn who_is_refused_hears_of_it_once_and_may_try_again() {
    let world = World::new();
    let client = world.socket(0);
    let refused = calls::connect(&world, client, address(1, 81));
    assert_eq!(refused, Err(Errno::CONNREFUSED));
    let error = world.on(0, |sockets, now| sockets.option(now, client, level::SOCKET, so::ERROR));
    assert_eq!(error, Ok(vec![0; 4]));
    world.listener();
    assert_eq!(calls::connect(&world, client, address(1, 80)), Ok(()));
    assert_eq!(calls::connect(&world, client, address(1, 80)), Err(Errno::ISCONN));
}

#[test]
fn who_does_not_wait_is_told_that_it_is_under_way() {
    let world = World::new();
    let client = world.socket(0);
    world.listener();
    let set = world.on(0, |sockets, _| sockets.fcntl(client, file::F_SETFL, file::O_NONBLOCK));
    assert_eq!(set, Ok(0));
    assert_eq!(calls::connect(&world, client, address(1, 80)), Err(Errno::INPROGRESS));
    assert_eq!(calls::connect(&world, client, address(1, 80)), Err(Errno::ALREADY));
    world.run();
    assert_eq!(calls::connect(&world, client, address(1, 80)), Ok(()));
}

#[test]
fn a_call_waits_until_there_is_something_or_its_time_is_over() {
    let world = World::new();
    let (client, server) = world.connected();
    world.script.borrow_mut().push(Box::new(move |world| assert!(world.send(1, server, b"late").is_ok())));
    let mut bytes = [0; 8];
    let received = calls::receive(&world, client, &mut [&mut bytes], 0).expect("it comes");
    assert_eq!(&bytes[..received.bytes], b"late");
    let time = [0_u64.to_ne_bytes(), 250_000_u64.to_ne_bytes()].concat();
    world
        .on(0, |sockets, now| sockets.set_option(now, client, level::SOCKET, so::RCVTIMEO, &time))
        .expect("it is a time");
    let began = world.time();
    assert_eq!(calls::receive(&world, client, &mut [&mut bytes], 0), Err(Errno::AGAIN));
    assert_eq!(world.time() - began, Duration::from_millis(250));
    assert_eq!(calls::receive(&world, client, &mut [&mut bytes], msg::DONTWAIT), Err(Errno::AGAIN));
}

#[test]
fn a_blocking_write_waits_for_room_for_everything() {
    let world = World::new();
    let (client, server) = world.connected();
    let small = 4_096_i32.to_ne_bytes();
    world.on(0, |sockets, now| sockets.set_option(now, client, level::SOCKET, so::SNDBUF, &small)).expect("a size");
    let much = vec![7; 1 << 20];
    let room = world.on(0, |sockets, now| sockets.send(now, client, &[&much], msg::DONTWAIT, None));
    assert!(room.is_ok_and(|taken| taken < much.len()), "a part of it");
    world.run();
    for _ in 0..1_000 {
        let reading = move |world: &World| {
            let mut bytes = vec![0; 1 << 16];
            while world.on(1, |sockets, now| sockets.receive(now, server, &mut [&mut bytes], 0)).is_ok() {}
        };
        world.script.borrow_mut().push(Box::new(reading));
    }
    assert_eq!(calls::send(&world, client, &[&much], 0, None), Ok(much.len()));
}

#[test]
fn closing_with_unread_bytes_resets_and_lingering_waits() {
    let world = World::new();
    let (client, server) = world.connected();
    world.send(0, client, b"unread").expect("there is room");
    assert_eq!(world.on(1, |sockets, now| sockets.close(now, server)), Ok(()));
    world.run();
    assert_eq!(world.receive(0, client, 0), Err(Errno::CONNRESET));
    assert_eq!(world.receive(0, client, 0), Ok(Vec::new()));
    assert_eq!(world.send(0, client, b"x"), Err(Errno::PIPE));
    assert_eq!(world.on(0, |sockets, now| sockets.close(now, client)), Ok(()));
    assert_eq!(world.on(0, |sockets, now| sockets.close(now, client)), Err(Errno::BADF));
}

#[test]
fn a_close_lingers_until_everything_has_arrived() {
    let world = World::new();
    let (client, _server) = world.connected();
    let linger = [1_i32.to_ne_bytes(), 5_i32.to_ne_bytes()].concat();
    world.on(0, |sockets, now| sockets.set_option(now, client, level::SOCKET, so::LINGER, &linger)).expect("a linger");
    world.on(0, |sockets, now| sockets.send(now, client, &[b"last words"], 0, None)).expect("there is room");
    let began = world.time();
    assert_eq!(calls::close(&world, client), Ok(()));
    let took = world.time() - began;
    assert!(took > Duration::ZERO && took <= Duration::from_secs(5), "{took:?}");
}

#[test]
fn nonsense_is_refused_by_name() {
    let world = World::new();
    let fd = world.socket(0);
    let socket = |family: u16, kind, protocol| world.on(0, |sockets, _| sockets.socket(family.into(), kind, protocol));
    assert_eq!(socket(1, kind::STREAM, 0), Err(Errno::AFNOSUPPORT));
    assert_eq!(socket(family::INET, kind::DGRAM, 0), Err(Errno::SOCKTNOSUPPORT));
    assert_eq!(socket(family::INET, kind::STREAM, 17), Err(Errno::PROTONOSUPPORT));
    world.on(0, |sockets, now| {
        assert_eq!(sockets.accept(now, fd, 0), Err(Errno::INVAL));
        assert_eq!(sockets.shutdown(now, fd, shut::RD), Err(Errno::NOTCONN));
        assert_eq!(sockets.receive(now, fd, &mut [], 0), Err(Errno::NOTCONN));
        assert_eq!(sockets.send(now, fd, &[b"x"], 0, None), Err(Errno::PIPE));
        assert_eq!(sockets.bind(fd, address(7, 80)), Err(Errno::ADDRNOTAVAIL));
        assert_eq!(sockets.bind(fd, address(0, 80)), Ok(()));
        assert_eq!(sockets.bind(fd, address(0, 81)), Err(Errno::INVAL));
        let other = sockets.socket(family::INET.into(), kind::STREAM, 0).expect("there is room");
        assert_eq!(sockets.bind(other, address(0, 80)), Err(Errno::ADDRINUSE));
        assert_eq!(sockets.close(now, fd), Ok(()));
        assert_eq!(sockets.bind(other, address(0, 80)), Ok(()));
        assert_eq!(
            sockets.connect(now, other, "[2001:db8::1]:80".parse().expect("an address")),
            Err(Errno::AFNOSUPPORT)
        );
    });
}

#[test]
fn data_for_a_socket_that_was_closed_are_answered_by_a_reset_that_is_believed() {
    let world = World::new();
    let (client, server) = world.connected();
    // Nobody has heard of the end of the stream when the data come.
    assert_eq!(world.on(0, |sockets, now| sockets.close(now, client)), Ok(()));
    world.on(0, |sockets, now| while sockets.stack().poll_transmit(now).is_some() {});
    assert_eq!(world.send(1, server, b"late"), Ok(4));
    assert_eq!(world.receive(1, server, 0), Err(Errno::CONNRESET));
}

#[test]
fn a_duplicate_is_the_same_socket_until_both_are_closed() {
    let world = World::new();
    let (client, server) = world.connected();
    let other = world.on(0, |sockets, _| sockets.duplicate(client)).expect("there is room");
    let third = world.on(0, |sockets, _| sockets.fcntl(client, file::F_DUPFD_CLOEXEC, 100)).expect("there is room");
    assert!(other != client && third >= 100);
    world.on(0, |sockets, now| {
        assert_eq!(sockets.fcntl(other, file::F_SETFL, file::O_NONBLOCK), Ok(0));
        assert_eq!(sockets.fcntl(client, file::F_GETFL, 0), Ok(file::O_RDWR | file::O_NONBLOCK));
        assert_eq!([other, third].map(|fd| sockets.fcntl(fd, file::F_GETFD, 0)), [Ok(0), Ok(file::FD_CLOEXEC)]);
        assert_eq!(sockets.fcntl(client, file::F_DUPFD, -1), Err(Errno::INVAL));
        assert_eq!(sockets.duplicate(99), Err(Errno::BADF));
        assert_eq!([client, third].map(|fd| sockets.close(now, fd)), [Ok(()); 2]);
    });
    assert_eq!(world.send(0, other, b"here"), Ok(4));
    assert_eq!(world.receive(1, server, 0), Ok(b"here".to_vec()));
    assert_eq!(world.on(0, |sockets, now| sockets.close(now, other)), Ok(()));
    world.run();
    assert_eq!(world.receive(1, server, 0), Ok(Vec::new()), "the end");
    let again = world.on(0, |sockets, _| sockets.socket(family::INET.into(), kind::STREAM, 0));
    assert_eq!(again, Ok(client), "the least number that is free");
}
