//! Packet filters.

use core::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use sunstar_packet::{Buffer, CopyCounter, Packet, VlanTag};
use sunstar_wire::{EtherType, EthernetHeader, Fragment, IpProtocol, Ipv4Header, MacAddr, UdpDatagram, Vlan};

use super::script::{NETWORK, PEER, Script, US, udp};
use super::world::{World, bare, ethernet, mac};
use crate::drops::DropReason;
use crate::filter::{Direction, FilterId, MAX_FILTERS, TooManyFilters, Verdict};
use crate::stack::Event;
use crate::tcp::connection::Options;
use crate::udp::UdpOptions;

/// What filters were shown: their names, and the packets.
type Seen = Rc<RefCell<Vec<(&'static str, Vec<u8>)>>>;

/// Adds a filter that notes what it is shown, and lets pass what nothing else is said of.
fn add(script: &mut Script, seen: &Seen, name: &'static str, verdicts: impl IntoIterator<Item = Verdict>) -> FilterId {
    let (seen, mut verdicts) = (Rc::clone(seen), verdicts.into_iter().collect::<VecDeque<_>>());
    let filter = script.stack.add_filter(Direction::Input, move |packet| {
        seen.borrow_mut().push((name, packet.pieces().collect::<Vec<_>>().concat()));
        verdicts.pop_front().unwrap_or(Verdict::Pass)
    });
    filter.expect("there are few")
}

fn names(seen: &Seen) -> Vec<&'static str> {
    seen.take().into_iter().map(|(name, _)| name).collect()
}

/// Answers every datagram to port 7 with itself.
pub(super) fn echo(script: &mut Script) {
    let filter = script.stack.add_filter(Direction::Input, |packet| match packet.udp() {
        Some(request) if request.dst.port() == 7 => {
            let payload = Buffer::copy_from_slice(request.payload);
            packet.answer_udp(payload.into())
        }
        _ => Verdict::Pass,
    });
    filter.expect("it is the first one");
}

#[test]
fn they_are_asked_in_their_order_until_one_decides() {
    let (mut script, seen) = (Script::with_peer(), Seen::default());
    let socket = script.stack.udp_bind((US, 53).into(), UdpOptions::DEFAULT).expect("it is free");
    add(&mut script, &seen, "first", []);
    let second = add(&mut script, &seen, "second", [Verdict::Pass, Verdict::Drop]);
    add(&mut script, &seen, "third", []);
    script.payload(IpProtocol::UDP, &udp(1, 53, b"question"));
    assert_eq!(names(&seen), ["first", "second", "third"]);
    assert_eq!(script.stack.poll_event(), Some(Event::Udp(socket)));
    script.payload(IpProtocol::UDP, &udp(1, 53, b"dropped"));
    assert_eq!(names(&seen), ["first", "second"]);
    assert_eq!(script.dropped(DropReason::Filtered), 1);
    assert!(script.stack.remove_filter(second).is_some() && script.stack.remove_filter(second).is_none());
    script.payload(IpProtocol::UDP, &udp(1, 53, b"question"));
    assert_eq!(names(&seen), ["first", "third"]);
    assert_eq!(script.stack.counters().datagrams_received, 2);
}

/// The IP header is in front, padding of short frames is no part, fragments come one by one; ARP and what is malformed is not shown.
#[test]
fn what_is_shown() {
    let (mut script, seen) = (Script::with_peer(), Seen::default());
    add(&mut script, &seen, "all", []);
    let header = Ipv4Header::new(IpProtocol(200), PEER, US);
    let packet = [&header.to_bytes(4).expect("short")[..], b"body"].concat();
    script.frame(mac(1), mac(0), EtherType::IPV4, &[&packet[..], &[0; 22]].concat());
    assert_eq!(seen.take(), [("all", packet.clone())]);
    let fragment = Fragment::new(8, true).expect("in range");
    script.ip(&Ipv4Header { fragment, dont_fragment: false, ..header }, &[0; 8]);
    assert_eq!(seen.take().len(), 1);
    script.meet();
    script.frame(mac(1), mac(2), EtherType::IPV4, &packet);
    let mut malformed = packet;
    malformed[10] ^= 1;
    script.frame(mac(1), mac(0), EtherType::IPV4, &malformed);
    assert_eq!(seen.take(), []);
    assert_eq!(script.dropped(DropReason::Ipv4Checksum), 1);
}

/// A tag that only has a priority hides nothing, wherever it stands.
#[test]
fn a_priority_tag_passes_no_filter() {
    let (mut script, seen) = (Script::with_peer(), Seen::default());
    let ip = Ipv4Header::new(IpProtocol::UDP, PEER, US);
    let datagram = udp(1, 53, b"question");
    let packet = [&ip.to_bytes(datagram.len()).expect("short")[..], &datagram].concat();
    let frame = |vlan| {
        let header = EthernetHeader { dst: mac(0), src: mac(1), vlan, ethertype: EtherType::IPV4 };
        Packet::from(Buffer::from([&header.to_bytes()[..], &packet].concat()))
    };
    let tag = VlanTag(7 << 13);
    let mut stripped = frame(Vlan::Untagged);
    stripped.offload.vlan = Some(tag);
    add(&mut script, &seen, "all", [Verdict::Drop, Verdict::Drop]);
    script.stack.handle_packets(script.now, script.link, [frame(Vlan::Tagged(tag)), stripped]);
    assert_eq!(seen.take(), [("all", packet.clone()), ("all", packet.clone())]);
    assert_eq!(script.dropped(DropReason::Filtered), 2);
    script.stack.handle_packets(script.now, script.link, [frame(Vlan::Tagged(VlanTag(1)))]);
    assert_eq!((seen.take().len(), script.dropped(DropReason::Vlan)), (0, 1));
}

#[test]
fn what_they_take_is_theirs() {
    let (mut script, taken) = (Script::with_peer(), Rc::new(RefCell::new(Vec::new())));
    let theirs = Rc::clone(&taken);
    let filter = script.stack.add_filter(Direction::Input, move |packet| {
        assert_eq!(packet.front(2).len(), 22, "the header and two bytes");
        theirs.borrow_mut().push(packet.take());
        Verdict::Consume
    });
    filter.expect("it is the first one");
    script.payload(IpProtocol(200), b"body");
    let packet = taken.borrow_mut().pop().expect("it was taken").into_buffer(&CopyCounter::default());
    assert_eq!((packet.len(), &packet[20..]), (24, &b"body"[..]));
    assert_eq!(script.stack.counters().packets_consumed, 1);
    assert!(script.sent().is_empty(), "nobody says that the protocol is not spoken");
}

#[test]
fn datagrams_are_answered_before_the_stack() {
    let mut script = Script::with_peer();
    echo(&mut script);
    script.payload(IpProtocol::UDP, &udp(1_000, 7, b"again"));
    let sent = script.sent_one();
    assert_eq!((sent.ethernet.src, sent.ethernet.dst), (mac(0), mac(1)));
    let ip = sent.ip();
    let datagram = UdpDatagram::parse(ip.payload()).expect("well formed");
    assert!(datagram.has_valid_checksum(ip.addresses()));
    assert_eq!((ip.src(), ip.dst(), datagram.payload()), (US, PEER, &b"again"[..]));
    assert_eq!((datagram.src_port(), datagram.dst_port()), (7, 1_000));
    assert_eq!((script.stack.counters().packets_answered, script.stack.counters().datagrams_received), (1, 0));
}

/// A datagram that is damaged, for all stations, without a port to answer to, or of an address that nobody has.
#[test]
fn what_must_not_be_answered_is_no_request() {
    let mut script = Script::with_peer();
    echo(&mut script);
    let mut damaged = udp(1_000, 7, b"again");
    damaged[9] ^= 1;
    script.payload(IpProtocol::UDP, &damaged);
    assert_eq!(script.dropped(DropReason::UdpChecksum), 1);
    script.payload(IpProtocol::UDP, &udp(0, 7, b"again"));
    // Without a checksum, as the addresses are others.
    let mut datagram = udp(1_000, 7, b"again");
    [datagram[6], datagram[7]] = [0, 0];
    script.ip(&Ipv4Header::new(IpProtocol::UDP, PEER, NETWORK), &datagram);
    script.ip(&Ipv4Header::new(IpProtocol::UDP, NETWORK, US), &datagram);
    script.ip(&Ipv4Header::new(IpProtocol::UDP, US, US), &datagram);
    assert_eq!(script.stack.counters().packets_answered, 0);
    script.payload(IpProtocol::UDP, &datagram);
    assert_eq!(script.stack.counters().packets_answered, 1);
}

/// What came in pieces is seen once more when it is whole, and answered as any other; with several shards by the one that it is for.
#[test]
fn pieces_are_filtered_as_one_too() {
    for is_handed_out in [false, true] {
        let (mut script, seen) = (Script::with_peer(), Seen::default());
        if is_handed_out {
            script.stack.hand_out_reassembled();
        }
        add(&mut script, &seen, "all", []);
        echo(&mut script);
        let body: Vec<u8> = (0..=u8::MAX).cycle().take(1_000).collect();
        super::fragments::send_in_pieces(&mut script, IpProtocol::UDP, &udp(1_000, 7, &body), 800);
        while let Some((link, packet)) = script.stack.poll_reassembled() {
            script.stack.handle_packets(script.now, link, [packet]);
        }
        let seen: Vec<usize> = seen.take().iter().map(|(_, packet)| packet.len()).collect();
        assert_eq!(seen, [228, 820, 1_028]);
        let sent = script.sent_one();
        assert_eq!((sent.ethernet.dst, sent.ip().dst(), sent.ip().payload().len()), (mac(1), PEER, 1_008));
    }
}

/// No station speaks as a group: who is answered there would be many.
#[test]
fn groups_are_not_answered() {
    let mut script = Script::with_peer();
    echo(&mut script);
    let datagram = udp(1_000, 7, b"again");
    let header = Ipv4Header::new(IpProtocol::UDP, PEER, US);
    let packet = [&header.to_bytes(datagram.len()).expect("short")[..], &datagram].concat();
    for src in [MacAddr::BROADCAST, MacAddr([1, 0, 0x5e, 0, 0, 1])] {
        script.frame(src, mac(0), EtherType::IPV4, &packet);
    }
    assert_eq!((script.sent().len(), script.dropped(DropReason::Source)), (0, 2));
}

/// Answers are bounded as all that leaves.
#[test]
fn answers_wait_in_a_bounded_queue() {
    let mut limits = crate::stack::Limits::DEFAULT;
    limits.outgoing_packets = 2;
    let mut script = Script::with_limits(limits);
    script.meet();
    echo(&mut script);
    for _ in 0..5 {
        script.payload(IpProtocol::UDP, &udp(1_000, 7, b"again"));
    }
    assert_eq!((script.dropped(DropReason::OutgoingQueueFull), script.sent().len()), (3, 2));
}

#[test]
fn there_are_only_so_many() {
    let mut script = Script::new();
    let mut filters: Vec<_> = (0..MAX_FILTERS)
        .map(|_| script.stack.add_filter(Direction::Output, |_| Verdict::Pass).expect("there is room"))
        .collect();
    assert_eq!(script.stack.add_filter(Direction::Output, |_| Verdict::Pass), Err(TooManyFilters));
    assert!(script.stack.remove_filter(filters.remove(3)).is_some());
    script.stack.add_filter(Direction::Output, |_| Verdict::Pass).expect("there is room again");
}

/// What a filter of output drops TCP sends again, as after any loss.
#[test]
fn what_leaves_is_filtered_too() {
    for link in [ethernet, |_| bare()] {
        let mut world = World::new([link(0), link(1)]);
        let (count, lost) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (counted, losing) = (Rc::clone(&count), Rc::clone(&lost));
        let filter = world.stack(0).add_filter(Direction::Output, move |packet| {
            assert_eq!(packet.direction(), Direction::Output);
            counted.set(counted.get() + 1);
            let is_lost = packet.payload_len() > 1_000 && counted.get() % 10 == 0;
            losing.set(losing.get() + usize::from(is_lost));
            if is_lost { Verdict::Drop } else { Verdict::Pass }
        });
        filter.expect("it is the first one");
        let connection = world.connected(Options::DEFAULT);
        world.transfer(connection, 200_000);
        assert!(count.get() > 100 && lost.get() > 5, "{count:?}, {lost:?}");
        assert_eq!(world.stack(0).drops().count(DropReason::Filtered), lost.get() as u64);
    }
}

/// An answer to what would have left comes to ourselves.
#[test]
fn what_leaves_can_be_answered() {
    let mut script = Script::with_peer();
    let filter = script.stack.add_filter(Direction::Output, |packet| {
        let header = Ipv4Header::new(IpProtocol::UDP, PEER, US);
        let answer = udp(53, 1_000, b"answer");
        assert_eq!(packet.addresses().dst(), PEER);
        Verdict::Answer(Packet::from(Buffer::from(
            [&header.to_bytes(answer.len()).expect("short")[..], &answer].concat(),
        )))
    });
    filter.expect("it is the first one");
    let socket = script.stack.udp_bind((US, 1_000).into(), UdpOptions::DEFAULT).expect("it is free");
    let question = Packet::from(Buffer::copy_from_slice(b"question"));
    script.stack.udp_send(script.now, socket, Some((PEER, 53).into()), question).expect("there is a way");
    assert!(script.sent().is_empty());
    let received = script.stack.udp().receive(socket).expect("it has come");
    assert_eq!(received.payload.into_buffer(&CopyCounter::default()), *b"answer");
}
