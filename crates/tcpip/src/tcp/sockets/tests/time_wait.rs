//! Connections that are over, and SYNs for their ports.

use core::time::Duration;

use sunstar_wire::{FourTuple, Seq, TcpFlags, TcpHeader};

use super::{Limits, ListenerId, Options, SocketId, Sockets, TIME_WAIT, Two};
use crate::tcp::connection::{Outgoing, Segment, State};
use crate::tcp::secret::Secret;
use crate::tcp::sockets::Place;

/// A server that remembers a connection, the ports of which it has come from, and its listener. One more may wait to be accepted.
fn over(limits: Limits) -> (Two, FourTuple, ListenerId) {
    let (mut two, listener) = Two::listening(limits, 0);
    let client = two.connect();
    two.run();
    let server = two.stacks[1].accept(listener).expect("the connection is open");
    let flow = two.stacks[0].flow(client).expect("it is ours");
    two.stacks[1].release(two.now, server);
    two.run();
    two.stacks[0].release(two.now, client);
    two.run();
    two.wait(Duration::from_secs(1));
    assert_eq!([two.stacks[0].counts(), two.stacks[1].counts()], [[0, 0, 0], [0, 0, 1]]);
    (two, flow, listener)
}

/// The client opens a connection of the same ports; what the server answers.
fn reopen(two: &mut Two, flow: &FourTuple) -> (SocketId, FourTuple, Outgoing) {
    let id = two.stacks[0].connect(two.now, flow.src(), flow.dst(), Options::DEFAULT).expect("the port is free");
    assert!(two.carry(0));
    let (flow, answer) = two.stacks[1].poll_transmit(two.now, 1_000).expect("an answer");
    (id, flow, answer)
}

/// As many are remembered as may be; those that end afterwards are forgotten at once, and counted.
#[test]
fn those_beyond_the_limit_are_forgotten_at_once() {
    let (mut two, listener) = Two::listening(Limits { time_wait: 2, ..Limits::DEFAULT }, 8);
    let mut flows = Vec::new();
    for ended in 1..=5 {
        let client = two.connect();
        two.run();
        flows.push(two.stacks[0].flow(client).expect("it is ours"));
        let server = two.stacks[1].accept(listener).expect("the connection is open");
        two.stacks[1].release(two.now, server);
        two.run();
        two.stacks[0].release(two.now, client);
        two.run();
        let counts = two.stacks[1].counts();
        assert_eq!((counts, two.stacks[1].levels().flows), ([0, 0, ended.min(2)], ended.min(2)));
        assert_eq!(two.stacks[1].counters().time_wait_dropped, ended.saturating_sub(2) as u64);
    }
    // What comes late for one that is forgotten is for nobody; for one that is not, it is known.
    for (flow, resets) in [(flows[4], 1), (flows[0], 1)] {
        let header = TcpHeader { flags: TcpFlags::FIN | TcpFlags::ACK, seq: Seq::new(1), ..TcpHeader::default() };
        two.stacks[1].handle_segment(two.now, flow, Segment { header, ..Segment::default() });
        assert_eq!(two.stacks[1].counters().resets_sent, resets);
    }
    // Their places are free when their time is over.
    two.wait(TIME_WAIT + Duration::from_secs(1));
    assert_eq!((two.stacks[1].counts(), two.stacks[1].counters().time_wait_dropped), ([0; 3], 3));
}

/// RFC 9293 §3.10.7.4: a SYN that is not heard gets the last acknowledgement again, and all is remembered as before.
fn stays_over(two: &mut Two, flow: &FourTuple) {
    let remembered = |two: &mut Two| {
        let Some(Place::Over(place)) = two.stacks[1].find_again(flow) else { panic!("it is forgotten") };
        two.stacks[1].over.get(place).expect("it is there").time_wait
    };
    let before = remembered(two);
    let (id, _, answer) = reopen(two, flow);
    let header = answer.header;
    assert_eq!((header.flags, header.seq, header.ack), (TcpFlags::ACK, before.snd_nxt, before.rcv_nxt));
    assert_eq!(remembered(two).deadline(), before.deadline());
    assert_eq!((two.stacks[1].counts()[2], two.stacks[1].counters().time_wait_reused), (1, 0));
    two.stacks[0].abort(two.now, id);
    while two.stacks[0].poll_transmit(two.now, 1_000).is_some() {}
}

/// RFC 1337 §2: what is for nobody ends nothing. Else an old segment could be taken for one of a later connection.
#[test]
fn a_syn_for_nobody_leaves_it() {
    let (mut two, flow, listener) = over(Limits::DEFAULT);
    two.stacks[1].unlisten(two.now, listener);
    stays_over(&mut two, &flow);
    let counters = two.stacks[1].counters();
    assert_eq!((counters.resets_sent, counters.syns_dropped), (0, 0));
}

/// RFC 1337 §2: a listener without room opens nothing.
#[test]
fn a_syn_without_room_leaves_it() {
    let (mut two, flow, listener) = over(Limits::DEFAULT);
    two.connect();
    two.run();
    stays_over(&mut two, &flow);
    assert_eq!(two.stacks[1].counters().syns_dropped, 1);
    two.stacks[1].accept(listener).expect("it waits");
    let (id, _, answer) = reopen(&mut two, &flow);
    two.stacks[0].handle_segment(two.now, flow.reversed(), Segment { header: answer.header, ..Segment::default() });
    two.run();
    assert_eq!((two.state(0, id), two.stacks[1].counters().time_wait_reused), (State::Established, 1));
}

/// RFC 4987 §3.6, RFC 9293 §3.10.7.4 (MAY-2): a cookie is a number that may lie below those that were used.
#[test]
fn a_syn_in_a_flood_leaves_it() {
    for limits in [Limits::DEFAULT, Limits { half_open: 1, ..Limits::DEFAULT }] {
        let (mut two, flow, _) = over(limits);
        two.connect();
        assert!(two.carry(0), "a stranger, who never confirms");
        while two.stacks[1].poll_transmit(two.now, 1_000).is_some() {}
        assert_eq!(two.stacks[1].counts(), [0, 1, 1]);
        stays_over(&mut two, &flow);
        let counters = two.stacks[1].counters();
        assert_eq!((counters.cookies_sent, counters.syns_dropped), (0, 1));
    }
}

/// RFC 9293 §3.10.7.4 (MAY-2): the numbers of a connection that takes the place of another one lie above all that was sent.
#[test]
fn numbers_of_the_next_one_lie_above_those_of_the_last_one() {
    for (ahead, is_bound) in [(1_u32, true), (0_u32.wrapping_sub(1 << 20), false)] {
        let (mut two, flow, _) = over(Limits::DEFAULT);
        let usual = two.stacks[1].hash(&flow.reversed()).initial_sequence(two.now);
        let Some(Place::Over(place)) = two.stacks[1].find_again(&flow) else { panic!("it is remembered") };
        let snd_nxt = usual + ahead;
        two.stacks[1].over.get_mut(place).expect("it is there").time_wait.snd_nxt = snd_nxt;
        let (_, _, answer) = reopen(&mut two, &flow);
        assert_eq!(answer.header.flags, TcpFlags::SYN | TcpFlags::ACK);
        assert_eq!(answer.header.seq, if is_bound { snd_nxt + 65_537 } else { usual });
    }
}

/// RFC 9293 §3.10.7.4: the end of another connection does not have this one remembered for longer.
#[test]
fn ends_of_others_do_not_renew_it() {
    let (mut two, flow, _) = over(Limits::DEFAULT);
    let deadline = two.stacks[1].deadline();
    let header = TcpHeader { flags: TcpFlags::FIN | TcpFlags::ACK, seq: Seq::new(1), ..TcpHeader::default() };
    two.stacks[1].handle_segment(two.now, flow, Segment { header, ..Segment::default() });
    assert_eq!((two.stacks[1].deadline(), two.carry(1)), (deadline, true), "it is answered");
}

/// RFC 9293 §3.5.1: a peer that has lost all that it knew and comes with old timestamps refuses our last acknowledgement, and is heard when
/// it asks again.
#[test]
fn a_peer_that_has_begun_anew_gets_in() {
    let (mut two, flow, listener) = over(Limits::DEFAULT);
    two.stacks[0] = Sockets::new(Secret::new([9; 16]), Limits::DEFAULT);
    let id = two.stacks[0].connect(two.now, flow.src(), flow.dst(), Options::DEFAULT).expect("the port is free");
    let (_, syn) = two.stacks[0].poll_transmit(two.now, 1_000).expect("it asks");
    let Some(Place::Over(place)) = two.stacks[1].find_again(&flow) else { panic!("it is remembered") };
    let tsval = syn.header.options.timestamps.expect("they are agreed upon").tsval;
    let time_wait = &mut two.stacks[1].over.get_mut(place).expect("it is there").time_wait;
    time_wait.ts_recent = tsval.wrapping_add(1 << 30);
    let resets = two.stacks[1].counters().resets_sent;
    two.stacks[1].handle_segment(two.now, flow, Segment { header: syn.header, ..Segment::default() });
    assert!(two.carry(1), "the last acknowledgement");
    assert!(two.carry(0), "which is refused");
    assert_eq!((two.stacks[1].counts()[2], two.carry(1)), (0, false), "nothing is answered");
    two.run();
    two.wait(Duration::from_secs(2));
    assert_eq!(two.state(0, id), State::Established);
    assert!(two.stacks[1].accept(listener).is_some());
    let counters = two.stacks[1].counters();
    assert_eq!((counters.resets_sent, counters.time_wait_reused), (resets, 0));
}
