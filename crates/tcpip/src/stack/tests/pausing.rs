//! A device that takes nothing does not stop the others.

use core::net::Ipv4Addr;
use core::time::Duration;

use sunstar_packet::{Buffer, Packet};

use super::world::bare;
use crate::drops::DropReason;
use crate::interface::{Capabilities, InterfaceId, InterfaceOptions};
use crate::prefix::Prefix;
use crate::stack::{Limits, Stack};
use crate::tcp::connection::{Options, State};
use crate::tcp::sockets::SocketId;
use crate::tcp::test_stream::data;
use crate::time::Instant;
use crate::udp::{UdpOptions, UdpSendError};

const NOW: Instant = Instant::from_micros(1_000_000);
const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const PEERS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 0, 9), Ipv4Addr::new(10, 0, 1, 9)];

/// A stack with two devices, in a network each.
fn two(limits: Limits, options: [InterfaceOptions; 2]) -> (Stack, [InterfaceId; 2]) {
    let mut stack = Stack::new([7; 16], limits);
    let mut third = 0;
    let links = options.map(|options| {
        let link = stack.add_interface(options).expect("there is room");
        let address = Ipv4Addr::new(10, 0, third, 1);
        stack.add_address(NOW, link, Prefix::new(address, 24).expect("24 bits")).expect("it is a station's");
        third += 1;
        link
    });
    (stack, links)
}

/// By which interfaces what is to be sent leaves.
fn sent(stack: &mut Stack, now: Instant) -> Vec<InterfaceId> {
    core::iter::from_fn(|| stack.poll_transmit(now)).map(|(link, _)| link).collect()
}

fn connect(stack: &mut Stack, peer: Ipv4Addr) -> SocketId {
    stack.connect(NOW, None, (peer, 80).into(), Options::DEFAULT).expect("there is a way")
}

#[test]
fn connections_wait_for_their_own_device_only() {
    let (mut stack, [one, other]) = two(Limits::DEFAULT, [bare(); 2]);
    stack.pause(one);
    for _ in 0..3 {
        connect(&mut stack, PEERS[0]);
        connect(&mut stack, PEERS[1]);
    }
    assert_eq!(sent(&mut stack, NOW), [other; 3]);
    assert_eq!(sent(&mut stack, NOW), []);
    stack.resume(one);
    // Those who come now come after them.
    connect(&mut stack, PEERS[0]);
    assert_eq!(sent(&mut stack, NOW), [one; 4]);
    // What was sent is timed.
    assert!(stack.deadline().is_some_and(|deadline| deadline <= NOW + Duration::from_secs(1)));
}

#[test]
fn a_device_that_is_full_again_lets_the_rest_wait_again() {
    let (mut stack, [one, other]) = two(Limits::DEFAULT, [bare(); 2]);
    stack.pause(one);
    for peer in [PEERS[0], PEERS[0], PEERS[0], PEERS[1]] {
        connect(&mut stack, peer);
    }
    assert_eq!(sent(&mut stack, NOW), [other]);
    for _ in 0..3 {
        stack.resume(one);
        assert_eq!(stack.poll_transmit(NOW).map(|(link, _)| link), Some(one));
        stack.pause(one);
        assert_eq!(sent(&mut stack, NOW), []);
        connect(&mut stack, PEERS[1]);
        assert_eq!(sent(&mut stack, NOW), [other]);
    }
    stack.resume(one);
    assert_eq!(sent(&mut stack, NOW), []);
}

#[test]
fn resets_wait_too_and_are_bounded() {
    let mut limits = Limits::DEFAULT;
    limits.tcp.replies = 2;
    let (mut stack, [one, other]) = two(limits, [bare(); 2]);
    stack.pause(one);
    let stranger = |stack: &mut Stack, third: u8| {
        let (src, dst) = (PEERS[usize::from(third)], Ipv4Addr::new(10, 0, third, 1));
        let mut script = Options::DEFAULT;
        script.mss = 500;
        let mut peer = Stack::new([1; 16], Limits::DEFAULT);
        let link = peer.add_interface(bare()).expect("there is room");
        peer.add_address(NOW, link, Prefix::new(src, 24).expect("24 bits")).expect("it is a station's");
        peer.connect(NOW, None, (dst, 9).into(), script).expect("there is a way");
        let (_, syn) = peer.poll_transmit(NOW).expect("it asks");
        stack.handle_packets(NOW, [one, other][usize::from(third)], [syn]);
    };
    for third in [0, 0, 1] {
        stranger(&mut stack, third);
        let expected: &[InterfaceId] = if third == 0 { &[] } else { &[other] };
        assert_eq!(sent(&mut stack, NOW), expected);
    }
    assert_eq!(stack.levels().tcp.replies, 2);
    stranger(&mut stack, 0);
    assert_eq!(sent(&mut stack, NOW), []);
    assert_eq!((stack.levels().tcp.replies, stack.tcp_counters().replies_dropped), (2, 1));
    stack.resume(one);
    assert_eq!(sent(&mut stack, NOW), [one; 2]);
    assert_eq!(stack.levels().tcp.replies, 0);
}

#[test]
fn datagrams_fill_the_queue_of_their_own_device_only() {
    let (mut stack, [one, other]) = two(Limits { outgoing_packets: 4, ..Limits::DEFAULT }, [bare(); 2]);
    stack.pause(one);
    let socket = stack.udp_bind((ANY, 53).into(), UdpOptions::DEFAULT).expect("it is free");
    let send = |stack: &mut Stack, peer: Ipv4Addr| {
        stack.udp_send(NOW, socket, Some((peer, 53).into()), Packet::from(Buffer::copy_from_slice(b"x")))
    };
    for _ in 0..4 {
        send(&mut stack, PEERS[0]).expect("there is room");
    }
    assert_eq!(send(&mut stack, PEERS[0]), Err(UdpSendError::Full));
    assert_eq!(stack.drops().count(DropReason::OutgoingQueueFull), 1);
    assert!(stack.has_room_for_datagrams());
    send(&mut stack, PEERS[1]).expect("the other device has room");
    assert_eq!((sent(&mut stack, NOW), stack.levels().outgoing_packets), (vec![other], 4));
    for _ in 0..4 {
        send(&mut stack, PEERS[1]).expect("the other device has room");
    }
    assert!(!stack.has_room_for_datagrams());
    stack.resume(one);
    // In turn.
    assert_eq!(sent(&mut stack, NOW), [one, other, one, other, one, other, one, other]);
}

/// What a device is to cut may be larger than what the other one takes, so the pieces of a large segment are the stack's business.
#[test]
fn a_segment_that_was_begun_is_sent_to_its_end() {
    let large = Capabilities { completes_checksums: true, segmentation_bytes: Some(65_535) };
    let (mut stack, [one, other]) = two(Limits::DEFAULT, [bare(), InterfaceOptions { capabilities: large, ..bare() }]);
    let id = open(&mut stack, one, PEERS[0]);
    stack.tcp().send(id, data(0, 7_000)).expect("there is room");
    assert_eq!(stack.poll_transmit(NOW).map(|(link, _)| link), Some(one));
    stack.pause(one);
    connect(&mut stack, PEERS[1]);
    let rest = sent(&mut stack, NOW);
    assert_eq!(rest.last(), Some(&other));
    assert_eq!(rest.len(), 7_000_usize.div_ceil(1_448), "the others of the segment, and a SYN");
}

#[test]
fn what_waits_for_an_interface_that_goes_ends_with_it() {
    let (mut stack, [one, _]) = two(Limits::DEFAULT, [bare(); 2]);
    stack.pause(one);
    let id = connect(&mut stack, PEERS[0]);
    assert_eq!(sent(&mut stack, NOW), []);
    assert!(stack.take_down(NOW, one));
    assert_eq!(sent(&mut stack, NOW), []);
    assert_eq!(stack.tcp().connection(id).map(|connection| connection.state()), Some(State::Closed));
}

/// Opens a connection with a peer that is made for it.
fn open(stack: &mut Stack, link: InterfaceId, peer_address: Ipv4Addr) -> SocketId {
    let mut peer = Stack::new([1; 16], Limits::DEFAULT);
    let there = peer.add_interface(bare()).expect("there is room");
    peer.add_address(NOW, there, Prefix::new(peer_address, 24).expect("24 bits")).expect("it is a station's");
    peer.listen((ANY, 80).into(), 1, Options::DEFAULT).expect("it is free");
    let id = connect(stack, peer_address);
    for _ in 0..2 {
        while let Some((_, packet)) = stack.poll_transmit(NOW) {
            peer.handle_packets(NOW, there, [packet]);
        }
        while let Some((_, packet)) = peer.poll_transmit(NOW) {
            stack.handle_packets(NOW, link, [packet]);
        }
    }
    assert_eq!(stack.tcp().connection(id).map(|connection| connection.state()), Some(State::Established));
    id
}
