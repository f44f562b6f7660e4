use core::time::Duration;

use super::world::World;
use crate::EpollEvent;
use crate::calls::{self, PollFd};
use crate::descriptors::Fd;
use crate::errno::Errno;
use crate::numbers::{epoll, ready};

fn wait(world: &World, at: Fd) -> Vec<u32> {
    let found = calls::epoll_wait(world, at, 8, Some(Duration::ZERO)).expect("it is an epoll");
    found.iter().map(|event| event.events).collect()
}

fn watch(world: &World, at: Fd, operation: i32, fd: Fd, events: u32) -> Result<(), Errno> {
    let event = EpollEvent { events, data: 42 };
    world.on(0, |sockets, now| sockets.epoll_control(now, at, operation, fd, Some(event)))
}

#[test]
fn levels_are_told_again_and_edges_once() {
    let world = World::new();
    let (client, server) = world.connected();
    let at = world.on(0, |sockets, _| sockets.epoll_create(0)).expect("there is room");
    assert_eq!(watch(&world, at, epoll::CTL_ADD, client, ready::IN), Ok(()));
    assert_eq!(wait(&world, at), []);
    world.send(1, server, b"one").expect("there is room");
    assert_eq!(wait(&world, at), [ready::IN]);
    assert_eq!(wait(&world, at), [ready::IN]);
    assert_eq!(watch(&world, at, epoll::CTL_MOD, client, ready::IN | epoll::ET), Ok(()));
    assert_eq!(wait(&world, at), [ready::IN]);
    assert_eq!(wait(&world, at), []);
    world.send(1, server, b"two").expect("there is room");
    assert_eq!(wait(&world, at), [ready::IN], "something new, though not all was read");
}

#[test]
fn room_is_told_to_who_was_told_that_there_is_none() {
    let world = World::new();
    let (client, _server) = world.connected();
    let at = world.on(0, |sockets, _| sockets.epoll_create(0)).expect("there is room");
    assert_eq!(watch(&world, at, epoll::CTL_ADD, client, ready::OUT | epoll::ET), Ok(()));
    assert_eq!(wait(&world, at), [ready::OUT]);
    let much = vec![7; 1 << 20];
    let taken = world.on(0, |sockets, now| sockets.send(now, client, &[&much], 0, None));
    assert!(taken.is_ok_and(|taken| taken < much.len()));
    assert_eq!(wait(&world, at), []);
    world.pass(1_000_000);
    assert_eq!(wait(&world, at), [ready::OUT]);
    assert_eq!(wait(&world, at), []);
}

#[test]
fn one_shot_is_told_once_until_it_is_said_again() {
    let world = World::new();
    let (client, server) = world.connected();
    let at = world.on(0, |sockets, _| sockets.epoll_create(0)).expect("there is room");
    let events = ready::IN | epoll::ONESHOT;
    assert_eq!(watch(&world, at, epoll::CTL_ADD, client, events), Ok(()));
    world.send(1, server, b"one").expect("there is room");
    assert_eq!(wait(&world, at), [ready::IN]);
    world.send(1, server, b"two").expect("there is room");
    assert_eq!(wait(&world, at), []);
    assert_eq!(watch(&world, at, epoll::CTL_MOD, client, events), Ok(()));
    assert_eq!(wait(&world, at), [ready::IN]);
}

#[test]
fn the_other_sides_end_and_reset_are_told_without_being_asked_for() {
    let world = World::new();
    let (client, server) = world.connected();
    let at = world.on(0, |sockets, _| sockets.epoll_create(0)).expect("there is room");
    assert_eq!(watch(&world, at, epoll::CTL_ADD, client, ready::RDHUP), Ok(()));
    world.send(0, client, b"unread").expect("there is room");
    world.on(1, |sockets, now| sockets.close(now, server)).expect("it is open");
    world.run();
    assert_eq!(wait(&world, at), [ready::ERR | ready::HUP | ready::RDHUP]);
}

#[test]
fn nonsense_is_refused() {
    let world = World::new();
    let (client, _server) = world.connected();
    let at = world.on(0, |sockets, _| sockets.epoll_create(0)).expect("there is room");
    assert_eq!(watch(&world, at, epoll::CTL_MOD, client, 0), Err(Errno::NOENT));
    assert_eq!(watch(&world, at, epoll::CTL_ADD, at, 0), Err(Errno::INVAL));
    assert_eq!(watch(&world, at, epoll::CTL_ADD, client, epoll::EXCLUSIVE | epoll::ONESHOT), Err(Errno::INVAL));
    assert_eq!(watch(&world, at, epoll::CTL_ADD, client, 0), Ok(()));
    assert_eq!(watch(&world, at, epoll::CTL_ADD, client, 0), Err(Errno::EXIST));
    assert_eq!(watch(&world, client, epoll::CTL_ADD, client, 0), Err(Errno::INVAL));
    assert_eq!(watch(&world, at, epoll::CTL_ADD, 99, 0), Err(Errno::BADF));
    world.on(0, |sockets, now| assert_eq!(sockets.epoll_wait(now, at, 0), Err(Errno::INVAL)));
}

#[test]
fn poll_tells_what_is_ready_and_which_are_no_descriptors() {
    let world = World::new();
    let (client, server) = world.connected();
    let asked = |fd, events| PollFd { fd, events, revents: 0 };
    let mut fds = [asked(client, ready::IN), asked(client, ready::OUT), asked(99, 0), asked(-1, ready::IN)];
    assert_eq!(calls::poll(&world, &mut fds, None), Ok(2));
    assert_eq!(fds.map(|one| one.revents), [0, ready::OUT, ready::NVAL, 0]);
    let mut fds = [asked(client, ready::IN)];
    let began = world.time();
    assert_eq!(calls::poll(&world, &mut fds, Some(Duration::from_millis(20))), Ok(0));
    assert_eq!(world.time() - began, Duration::from_millis(20));
    world.script.borrow_mut().push(Box::new(move |world| assert!(world.send(1, server, b"x").is_ok())));
    assert_eq!(calls::poll(&world, &mut fds, None), Ok(1));
}
