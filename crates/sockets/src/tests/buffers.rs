//! The send buffer, as Linux counts it.

use super::world::World;
use crate::calls;
use crate::descriptors::Fd;
use crate::errno::Errno;
use crate::numbers::{level, msg, ready, so, tcp};

/// Payload of a full segment.
const MSS: usize = 1_448;

fn set(world: &World, fd: Fd, at: i32, name: i32, value: i32) {
    let done = world.on(0, |sockets, now| sockets.set_option(now, fd, at, name, &value.to_ne_bytes()));
    assert_eq!(done, Ok(()));
}

fn write(world: &World, fd: Fd, len: usize) -> Result<usize, Errno> {
    world.on(0, |sockets, now| sockets.send(now, fd, &[&vec![7; len]], msg::DONTWAIT, None))
}

fn is_writable(world: &World, fd: Fd) -> bool {
    world.on(0, |sockets, now| sockets.readiness(now, fd)) & ready::OUT != 0
}

/// What Linux says the buffer takes (`SK_MEMINFO_WMEM_QUEUED`).
fn queued(world: &World, fd: Fd) -> u32 {
    let info = world.on(0, |sockets, now| sockets.option(now, fd, level::SOCKET, so::MEMINFO)).expect("it is open");
    u32::from_ne_bytes(info[20..24].try_into().expect("four bytes"))
}

#[test]
fn a_buffer_that_was_begun_is_filled_and_no_other_one_is_begun_beyond_the_bound() {
    let world = World::new();
    let (client, _server) = world.connected();
    set(&world, client, level::SOCKET, so::SNDBUF, 1);
    // Half of the window of 64 KiB, in whole segments; ten of them leave before the last one is full.
    let goal = 65_535 / 2 / MSS * MSS;
    assert_eq!(write(&world, client, 100_000), Ok(goal + 10 * MSS));
    assert_eq!(write(&world, client, 1), Err(Errno::AGAIN));
    assert!(!is_writable(&world, client));
    world.pass(1_000_000);
    assert!(is_writable(&world, client));
}

#[test]
fn a_buffer_takes_more_than_its_bytes() {
    let world = World::new();
    let (client, _server) = world.connected();
    set(&world, client, level::TCP, tcp::NODELAY, 1);
    assert_eq!(queued(&world, client), 0);
    for count in 1..=3 {
        assert_eq!(world.on(0, |sockets, now| sockets.send(now, client, &[b"x"], 0, None)), Ok(1));
        world.on(0, |sockets, now| while sockets.stack().poll_transmit(now).is_some() {});
        assert_eq!(queued(&world, client), count * (1 + 1_280));
    }
}

#[test]
fn what_waits_to_be_sent_is_bounded_and_told_when_it_is_half() {
    let world = World::new();
    let (client, _server) = world.connected();
    set(&world, client, level::TCP, tcp::NOTSENT_LOWAT, 20_000);
    let taken = write(&world, client, 100_000).expect("there is room");
    let goal = 65_535 / 2 / MSS * MSS;
    // Ten segments leave; behind them waits a full buffer, which is more than may wait.
    assert_eq!(taken, 10 * MSS + goal);
    assert!(!is_writable(&world, client));
    world.pass(1_000_000);
    assert!(is_writable(&world, client));
}

#[test]
fn a_writer_that_waits_goes_on_when_there_is_room_again() {
    let world = World::new();
    let (client, server) = world.connected();
    set(&world, client, level::SOCKET, so::SNDBUF, 30_000);
    let begun = write(&world, client, 1 << 20).expect("there is room");
    // Nothing of it is read, so the window of the other side closes, and opens when all is read at once.
    world.run();
    let reading = move |world: &World| {
        let mut bytes = vec![0; 1 << 20];
        world.on(1, |sockets, now| sockets.receive(now, server, &mut [&mut bytes], 0)).expect("something came");
    };
    world.script.borrow_mut().push(Box::new(reading));
    assert_eq!(calls::send(&world, client, &[&[7; 10]], 0, None), Ok(10));
    assert!(begun > 60_000 && is_writable(&world, client), "{begun}");
}
