//! Fast Open, RFC 7413, between two stacks.

use super::*;
use crate::path::PathError;
use crate::tcp::fast_open::{FastOpenKeys, FastOpenListener, FastOpenRequest};

const FAST: FastOpenListener =
    FastOpenListener { backlog: 4, needs_cookie: true, keys: FastOpenKeys::new([7; 16], None) };

fn world() -> (Two, ListenerId) {
    let (mut two, listener) = Two::listening(Limits::DEFAULT, 8);
    assert!(two.stacks[1].set_fast_open(listener, Some(FAST)));
    (two, listener)
}

fn open(two: &mut Two, len: usize) -> (SocketId, u32) {
    let request = FastOpenRequest { data: data(0, len), needs_cookie: true };
    let opened = two.stacks[0].connect_fast_open(two.now, address(0, 0), address(1, 80), Options::DEFAULT, request);
    opened.expect("there is room")
}

/// A client that has the cookie.
fn acquainted() -> (Two, ListenerId) {
    let (mut two, listener) = world();
    let (first, taken) = open(&mut two, 100);
    assert_eq!(taken, 0, "the first time the cookie is asked for (§4.1.1)");
    two.run();
    let accepted = two.stacks[1].accept(listener).expect("opened in three steps");
    assert_eq!(two.stacks[1].receive(accepted).map(|part| part.len()), None);
    let now = two.now;
    two.stacks[0].abort(now, first);
    two.stacks[1].abort(now, accepted);
    two.run();
    assert!(two.stacks[0].has_cookie(address(1, 80).ip()));
    (two, listener)
}

/// §4.2.2: data are there, and can be answered, before the three steps are over.
#[test]
fn data_arrive_with_the_syn_and_are_answered_at_once() {
    let (mut two, listener) = acquainted();
    let (client, taken) = open(&mut two, 5_000);
    assert_eq!(taken, 1_420, "a segment, with room for what is put into a SYN on its way");
    assert!(two.carry(0));
    let server = two.stacks[1].accept(listener).expect("it is open at once");
    assert_eq!(two.read(1, server).len(), 1_420);
    let info = two.stacks[1].connection(server).expect("it is ours").info(two.now);
    assert_eq!((info.state, info.has_syn_data), (State::SynReceived, true));
    two.stacks[1].send(server, data(9, 300)).expect("there is room");
    two.run();
    assert_eq!(two.state(0, client), State::Established);
    assert_eq!(two.read(0, client).len(), 300);
    let info = two.stacks[0].connection(client).expect("it is ours").info(two.now);
    assert_eq!((info.has_syn_data, info.retrans), (true, 0));
    assert!(!two.stacks[1].connection(server).expect("it is ours").is_unconfirmed());
    two.stacks[0].send(client, data(1_420, 500)).expect("there is room");
    two.run();
    assert_eq!(two.read(1, server).len(), 500);
    assert_eq!(two.stacks[1].counters().fast_opened, 1);
}

/// §4.1.3: who hears nothing asks again without data, which then go as usual.
#[test]
fn a_lost_syn_is_sent_again_without_data() {
    let (mut two, listener) = acquainted();
    let (client, taken) = open(&mut two, 1_000);
    assert_eq!(taken, 1_000);
    let (_, lost) = two.stacks[0].poll_transmit(two.now, 1 << 16).expect("the SYN");
    assert!(lost.header.options.fast_open.is_some() && !lost.payload.is_empty());
    two.wait(Duration::from_millis(990));
    two.now = two.now + Duration::from_millis(20);
    let now = two.now;
    two.stacks[0].handle_timeout(now);
    let (flow, again) = two.stacks[0].poll_transmit(now, 1 << 16).expect("the SYN again");
    assert!(again.header.options.fast_open.is_none() && again.payload.is_empty());
    two.stacks[1].handle_segment(now, flow, Segment { header: again.header, payload: again.payload });
    two.run();
    let server = two.stacks[1].accept(listener).expect("opened in three steps");
    assert_eq!(two.read(1, server).len(), 1_000);
    assert!(!two.stacks[0].connection(client).expect("it is ours").has_syn_data());
}

/// §4.1.2, §5.1: a wrong cookie, and more than may wait, are answered as usual, and the data come again.
#[test]
fn wrong_cookies_and_floods_open_nothing_at_once() {
    let (mut two, listener) = acquainted();
    let changed = FastOpenListener { keys: FastOpenKeys::new([8; 16], None), ..FAST };
    two.stacks[1].set_fast_open(listener, Some(changed));
    let (_, taken) = open(&mut two, 100);
    assert_eq!(taken, 100);
    assert!(two.carry(0));
    assert_eq!(two.stacks[1].acceptable(listener), 0);
    two.run();
    let server = two.stacks[1].accept(listener).expect("opened in three steps");
    assert_eq!(two.read(1, server).len(), 100);
    two.stacks[1].set_fast_open(listener, Some(FastOpenListener { backlog: 1, ..changed }));
    for _ in 0..2 {
        open(&mut two, 100);
    }
    assert!(two.carry(0) && two.carry(0));
    assert_eq!(two.stacks[1].acceptable(listener), 1, "one may wait");
}

/// Our answer is repeated until it is confirmed, and the path may refuse it (RFC 1122 §4.2.3.9).
#[test]
fn an_unconfirmed_connection_asks_again_and_ends() {
    let (mut two, listener) = acquainted();
    open(&mut two, 100);
    assert!(two.carry(0));
    let server = two.stacks[1].accept(listener).expect("it is open at once");
    let now = two.now;
    let (flow, answer) = two.stacks[1].poll_transmit(now, 1 << 16).expect("the answer");
    two.now = two.now + Duration::from_millis(1_010);
    let now = two.now;
    two.stacks[1].handle_timeout(now);
    let (_, again) = two.stacks[1].poll_transmit(now, 1 << 16).expect("the answer again");
    assert_eq!((answer.header.flags, answer.header.ack), (again.header.flags, again.header.ack));
    assert!(two.stacks[1].handle_path_error(now, &flow, answer.header.seq, PathError::Host));
    let connection = two.stacks[1].connection(server).expect("it is ours");
    assert_eq!(connection.failure(), Some(Failure::Unreachable));
    assert_eq!(two.read(1, server).len(), 100, "what had come can be read");
}

/// RFC 1191 §6.4: what the path does not take is sent again at once, without what went with it; we take no more than the path either.
#[test]
fn a_syn_that_the_path_does_not_take_is_sent_again_alone() {
    let (mut two, listener) = acquainted();
    let (client, taken) = open(&mut two, 1_000);
    assert_eq!(taken, 1_000);
    let (flow, refused) = two.stacks[0].poll_transmit(two.now, 1 << 16).expect("the SYN");
    let now = two.now;
    assert!(two.stacks[0].handle_path_error(now, &flow, refused.header.seq, PathError::TooBig { mtu: 840 }));
    let (_, again) = two.stacks[0].poll_transmit(now, 1 << 16).expect("the SYN again");
    assert!(again.header.options.fast_open.is_none() && again.payload.is_empty());
    assert_eq!(again.header.options.mss.map(|mss| mss.get()), Some(800));
    two.stacks[1].handle_segment(now, flow, Segment { header: again.header, payload: again.payload });
    two.run();
    let server = two.stacks[1].accept(listener).expect("opened in three steps");
    assert_eq!(two.read(1, server).len(), 1_000);
    assert!(!two.stacks[0].connection(client).expect("it is ours").has_syn_data());
}

/// What was not taken with the SYN is sent again as it was, counts as sent again, and holds up nothing that follows (Nagle).
#[test]
fn data_of_a_syn_that_were_not_taken_hold_up_nothing() {
    let (mut two, listener) = acquainted();
    let changed = FastOpenListener { keys: FastOpenKeys::new([8; 16], None), ..FAST };
    two.stacks[1].set_fast_open(listener, Some(changed));
    let (client, taken) = open(&mut two, 100);
    assert!(taken == 100 && two.carry(0) && two.carry(1));
    two.stacks[0].send(client, data(100, 200)).expect("there is room");
    let sent: Vec<_> = core::iter::from_fn(|| two.stacks[0].poll_transmit(two.now, 1 << 16)).collect();
    let lens: Vec<usize> = sent.iter().map(|(_, sent)| sent.payload.concat().len()).collect();
    assert_eq!(lens, [100, 200]);
    let info = two.stacks[0].connection(client).expect("it is ours").info(two.now);
    assert_eq!(info.retrans, 1);
}
