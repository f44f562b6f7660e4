//! Connections that were let go, and memory for what others have not acknowledged.

use super::{Limits, Two, data};
use crate::tcp::connection::Failure;
use crate::tcp::sockets::SocketId;

/// As many connections as that, clients' and servers' names, of which no client reads.
fn connected(limits: Limits, count: usize) -> (Two, Vec<(SocketId, SocketId)>) {
    let (mut two, listener) = Two::listening(limits, 8);
    let pairs = (0..count).map(|_| {
        let client = two.connect();
        two.run();
        (client, two.stacks[1].accept(listener).expect("it is open"))
    });
    let pairs = pairs.collect();
    (two, pairs)
}

/// More than the other side's window takes.
const MUCH: usize = 200_000;

/// The server hands over much and, if it shall, lets the connection go.
fn hand_over(two: &mut Two, server: SocketId, lets_go: bool) {
    two.stacks[1].send_beyond(server, data(0, MUCH)).expect("it is open");
    two.run();
    if lets_go {
        two.stacks[1].release(two.now, server);
        two.run();
    }
}

fn failure(two: &Two, client: SocketId) -> Option<Failure> {
    two.stacks[0].connection(client).expect("it is ours").failure()
}

fn read_all(two: &mut Two, client: SocketId) -> usize {
    let mut came = 0;
    loop {
        let more = two.read(0, client).len();
        two.run();
        came += more;
        if more == 0 {
            return came;
        }
    }
}

/// Who lets others wait for ever with what he was sent takes no more than so many places: the oldest go.
#[test]
fn of_too_many_orphans_the_oldest_is_reset() {
    let (mut two, pairs) = connected(Limits { orphans: 2, ..Limits::DEFAULT }, 3);
    for (_, server) in &pairs {
        hand_over(&mut two, *server, true);
    }
    assert_eq!([0, 1, 2].map(|at: usize| failure(&two, pairs[at].0)), [Some(Failure::Reset), None, None]);
    let server = &two.stacks[1];
    assert_eq!((server.levels().orphans, server.levels().connections, server.counters().orphans_reset), (2, 2, 1));
    assert_eq!([1, 2].map(|at: usize| read_all(&mut two, pairs[at].0)), [MUCH; 2], "the others get all");
    pairs[1..].iter().for_each(|(client, _)| two.stacks[0].release(two.now, *client));
    two.run();
    let levels = two.stacks[1].levels();
    assert_eq!((levels.orphans, levels.connections, levels.send_bytes), (0, 0, 0));
}

/// Where all connections hold as much as they may, what was let go and holds much is reset first.
#[test]
fn orphans_give_way_where_memory_is_short() {
    let limits = Limits { send_bytes: MUCH as u64 / 4, ..Limits::DEFAULT };
    let (mut two, pairs) = connected(limits, 3);
    // One that holds little is left alone.
    two.stacks[1].send(pairs[0].1, data(0, 100)).expect("there is room");
    two.stacks[1].release(two.now, pairs[0].1);
    hand_over(&mut two, pairs[1].1, false);
    assert!(two.stacks[1].is_short_of_memory());
    two.stacks[1].release(two.now, pairs[1].1);
    two.run();
    assert_eq!([0, 1].map(|at: usize| failure(&two, pairs[at].0)), [None, Some(Failure::Reset)]);
    assert_eq!(two.stacks[1].counters().orphans_reset, 1);
    assert_eq!(two.stacks[1].send_bound(two.now), u32::MAX);
    assert_eq!((two.stacks[1].levels().send_bytes, two.stacks[1].counters().senders_held_back), (0, 0));
}

/// Nobody else is ended: who sends gets little room until others have taken what is theirs.
#[test]
fn senders_are_held_back_where_memory_is_short() {
    let limits = Limits { send_bytes: MUCH as u64 / 4, ..Limits::DEFAULT };
    let (mut two, pairs) = connected(limits, 2);
    let [(reader, holder), _] = pairs[..] else { unreachable!("two were opened") };
    hand_over(&mut two, holder, false);
    assert_eq!(two.stacks[1].send_bound(two.now), Limits::LEAST_SEND_BYTES);
    assert_eq!(two.stacks[1].counters().senders_held_back, 1);
    assert_eq!(read_all(&mut two, reader), MUCH);
    assert_eq!(two.stacks[1].send_bound(two.now), u32::MAX);
    assert_eq!((two.stacks[1].levels().send_bytes, two.stacks[1].counters().orphans_reset), (0, 0));
    hand_over(&mut two, holder, false);
    two.stacks[1].abort(two.now, holder);
    assert_eq!((two.stacks[1].levels().send_bytes, two.stacks[1].levels().orphans), (0, 0));
}

/// The queue of those that were let go has room for as many as have not ended, and some.
#[test]
fn orphans_that_have_ended_take_no_room() {
    let (mut two, listener) = Two::listening(Limits { time_wait: 4, ..Limits::DEFAULT }, 8);
    // This one stays.
    let stays = two.connect();
    two.run();
    let server = two.stacks[1].accept(listener).expect("it is open");
    hand_over(&mut two, server, true);
    for _ in 0..5_000 {
        let client = two.connect();
        two.run();
        let server = two.stacks[1].accept(listener).expect("it is open");
        two.stacks[1].release(two.now, server);
        two.stacks[0].release(two.now, client);
        two.run();
    }
    assert_eq!((two.stacks[1].levels().orphans, failure(&two, stays)), (1, None));
    assert!(two.stacks[1].orphans.waiting() < 2_000, "{}", two.stacks[1].orphans.waiting());
}
