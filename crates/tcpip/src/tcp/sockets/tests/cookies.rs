//! Floods of SYNs, and who comes in beside them (RFC 4987).

use core::time::Duration;

use sunstar_wire::{AddressPair, FourTuple, Seq, TcpFlags, TcpHeader};

use super::{Two, address, data};
use crate::tcp::connection::{Options, Segment, State};
use crate::tcp::cookie;
use crate::tcp::sockets::{Limits, ListenerId};

const LIMITS: Limits = Limits { half_open: 10, ..Limits::DEFAULT };

/// The flow of a stranger, as he sends.
fn stranger(at: u32) -> FourTuple {
    let src = core::net::Ipv4Addr::from(0x0a63_0000 + at);
    FourTuple { addresses: AddressPair::V4 { src, dst: [10, 0, 0, 2].into() }, src_port: 999, dst_port: 80 }
}

fn sends(two: &mut Two, flow: FourTuple, flags: TcpFlags, numbers: u32) {
    let [seq, ack] = [Seq::new(numbers), Seq::new(numbers.wrapping_mul(0x9e37_79b1))];
    let header = TcpHeader { flags, seq, ack, window: 1_000, ..TcpHeader::default() };
    two.stacks[1].handle_segment(two.now, flow, Segment { header, ..Segment::default() });
}

/// Strangers ask and never confirm; what answers them is lost.
fn flood(two: &mut Two, count: u32) {
    for at in 0..count {
        sends(two, stranger(at), TcpFlags::SYN, at);
        while two.stacks[1].poll_transmit(two.now, 1_000).is_some() {}
    }
}

fn flooded() -> (Two, ListenerId) {
    let (mut two, listener) = Two::listening(LIMITS, 1_000);
    flood(&mut two, 100);
    (two, listener)
}

/// Who confirms comes in, with all that was agreed upon, and nothing more is remembered of the others.
#[test]
fn cookies_let_clients_in_beside_a_flood() {
    let (mut two, listener) = flooded();
    assert_eq!((two.stacks[1].counts(), two.stacks[1].counters().cookies_sent), ([0, 10, 0], 90));
    for _ in 0..20 {
        let client = two.connect();
        two.run();
        let server = two.stacks[1].accept(listener).expect("it has confirmed");
        two.stacks[0].send(client, data(0, 50_000)).expect("there is room");
        two.stacks[1].send(server, data(3, 50_000)).expect("there is room");
        let mut received = [Vec::new(), Vec::new()];
        while received.iter().any(|received| received.len() < 50_000) {
            two.run();
            received[0].extend(two.read(0, client));
            received[1].extend(two.read(1, server));
            two.wait(Duration::from_millis(50));
        }
        assert!(received == [data(3, 50_000).to_vec(), data(0, 50_000).to_vec()]);
        let agreed = [(0, client), (1, server)].map(|(stack, id)| {
            let info = two.stacks[stack].connection(id).expect("it is open").info(two.now);
            (info.has_timestamps, info.has_sack, info.snd_wscale, info.rcv_wscale)
        });
        assert_eq!(agreed, [(true, true, 7, 7); 2]);
        flood(&mut two, 10);
    }
    let counters = two.stacks[1].counters();
    assert_eq!((counters.cookies_accepted, counters.accepted, counters.cookies_failed), (20, 20, 0));
    assert!(two.stacks[1].levels().half_open <= 10);
}

/// Data say as much as the confirmation that got lost before them.
#[test]
fn data_confirm_too() {
    let (mut two, listener) = flooded();
    let client = two.connect();
    while two.carry(0) | two.carry(1) {
        if two.state(0, client) == State::Established {
            break;
        }
    }
    let lost = two.stacks[0].poll_transmit(two.now, 1_000).expect("it confirms").1;
    assert_eq!((lost.header.flags, two.stacks[1].acceptable(listener)), (TcpFlags::ACK, 0));
    two.stacks[0].send(client, data(0, 100)).expect("there is room");
    two.run();
    let server = two.stacks[1].accept(listener).expect("it has confirmed");
    assert_eq!(two.read(1, server), data(0, 100).to_vec());
}

/// Where no cookies were sent lately none is believed, so guessing is no use; a cookie that was good is not any more.
#[test]
fn cookies_are_only_believed_beside_floods() {
    let (mut two, listener) = flooded();
    let client = two.connect();
    while two.carry(0) | two.carry(1) {
        if two.state(0, client) == State::Established {
            break;
        }
    }
    let flow = two.stacks[0].flow(client).expect("it is ours");
    let confirmation = two.stacks[0].poll_transmit(two.now, 1_000).expect("it confirms").1;
    let confirms = |two: &mut Two| {
        let segment = Segment { header: confirmation.header, ..Segment::default() };
        two.stacks[1].handle_segment(two.now, flow, segment);
        two.stacks[1].accept(listener).is_some()
    };
    let sent_at = two.now;
    // The flood is over, and its cookies could be recent still by their own time.
    two.stacks[1].listeners.get_mut(listener.0).expect("it listens").cookies_until = sent_at;
    assert!(!confirms(&mut two), "nobody has been sent one");
    assert_eq!((two.stacks[1].counters().cookies_failed, two.stacks[1].counters().resets_sent), (0, 1));
    two.stacks[1].listeners.get_mut(listener.0).expect("it listens").cookies_until = sent_at + cookie::LIFETIME;
    assert!(confirms(&mut two));
}

/// They ask twice: the first time there was no place, and what they confirm is what they were told then.
#[test]
fn who_was_sent_a_cookie_may_have_a_place_later() {
    let (mut two, listener) = flooded();
    let client = two.connect();
    let (flow, syn) = two.stacks[0].poll_transmit(two.now, 1_000).expect("it asks");
    let arrives = |two: &mut Two| {
        let segment = Segment { header: syn.header, ..Segment::default() };
        two.stacks[1].handle_segment(two.now, flow, segment);
        two.stacks[1].poll_transmit(two.now, 1_000).expect("it is answered").1.header
    };
    let cookie = arrives(&mut two);
    let places: Vec<u32> = two.stacks[1].half_open.iter().map(|(place, _)| place).collect();
    places.into_iter().for_each(|place| two.stacks[1].forget(place));
    two.now = two.now + Duration::from_millis(1);
    assert_ne!(arrives(&mut two).seq, cookie.seq);
    assert_eq!(two.stacks[1].counts(), [0, 1, 0]);
    two.stacks[0].handle_segment(two.now, flow.reversed(), Segment { header: cookie, ..Segment::default() });
    two.run();
    assert_eq!((two.state(0, client), two.stacks[1].counts()), (State::Established, [1, 0, 0]));
    assert!(two.stacks[1].accept(listener).is_some());
}

/// Acknowledgements of no connection are refused at a rate, whoever sends them, with and without cookies that they might be.
#[test]
fn resets_are_bounded() {
    let (mut two, _) = flooded();
    let client = two.connect();
    two.run();
    for at in 0..50_000 {
        sends(&mut two, stranger(1_000 + at), TcpFlags::ACK, at);
        while two.stacks[1].poll_transmit(two.now, 1_000).is_some() {}
        two.now = two.now + Duration::from_micros(5);
    }
    let counters = two.stacks[1].counters();
    assert!((3_400..3_600).contains(&counters.resets_sent), "{counters:?}");
    assert_eq!(counters.resets_sent + counters.resets_suppressed, 50_000);
    assert_eq!((counters.cookies_failed, counters.cookies_accepted), (50_000, 1));
    assert_eq!((two.stacks[1].levels().connections, two.state(0, client)), (1, State::Established));
}

/// Where the listener has no room for who is open, SYNs are not answered at all: new work waits outside.
#[test]
fn nobody_is_asked_in_where_there_is_no_room() {
    let (mut two, listener) = Two::listening(LIMITS, 2);
    for _ in 0..3 {
        two.connect();
        two.run();
    }
    assert_eq!(two.stacks[1].acceptable(listener), 3);
    flood(&mut two, 5);
    let counters = two.stacks[1].counters();
    assert_eq!((counters.syns_dropped, counters.cookies_sent, two.stacks[1].levels().half_open), (5, 0, 0));
    let late = two.stacks[0].connect(two.now, address(0, 0), address(1, 80), Options::DEFAULT).expect("there is room");
    two.run();
    while two.stacks[1].accept(listener).is_some() {}
    two.wait(Duration::from_secs(2));
    assert_eq!(two.state(0, late), State::Established);
}
