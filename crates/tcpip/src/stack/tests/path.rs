//! What the path says: RFC 1122 §4.2.3.9, RFC 1191, RFC 5927.

use core::time::Duration;

use sunstar_packet::{Buffer, Packet};
use sunstar_wire::checksum::{Fill, pseudo_header};
use sunstar_wire::{
    AddressPair, Arp, ArpOperation, Icmpv4Header, IpProtocol, Ipv4Header, Seq, TcpFlags, TcpHeader, TimeExceededCode,
    UnreachableCode,
};

use super::icmp::message;
use super::script::{PEER, Script, US};
use super::world::{ADDRESSES, World, bare, mac};
use crate::drops::DropReason;
use crate::prefix::Prefix;
use crate::stack::Event;
use crate::tcp::connection::{Failure, Options, State};
use crate::tcp::sockets::{self, OpenError, SocketId};
use crate::tcp::test_stream::data;

const WIDE: Options = Options { mss: u16::MAX, ..Options::DEFAULT };

fn unreachable(code: u8, next_hop_mtu: u16) -> Icmpv4Header {
    Icmpv4Header::DestinationUnreachable { code: UnreachableCode(code), next_hop_mtu }
}

/// A SYN was sent; here are its first bytes.
fn opening() -> (Script, SocketId, Vec<u8>) {
    let mut script = Script::with_peer();
    let client = script.stack.connect(script.now, None, (PEER, 80).into(), WIDE).expect("there is a way");
    let syn = script.sent_one().bytes[..28].to_vec();
    (script, client, syn)
}

fn failure(script: &mut Script, client: SocketId) -> Option<Failure> {
    script.stack.tcp().connection(client).expect("it is ours").failure()
}

/// RFC 5461 §4.1: who wants to connect does not wait for a timeout.
#[test]
fn errors_end_what_is_being_opened() {
    let refusals = [(2, Failure::Refused), (3, Failure::Refused), (0, Failure::Unreachable)];
    for (code, expected) in refusals.into_iter().chain([(1, Failure::Unreachable), (13, Failure::Unreachable)]) {
        let (mut script, client, syn) = opening();
        script.payload(IpProtocol::ICMP, &message(&unreachable(code, 0), &syn));
        assert_eq!((failure(&mut script, client), script.stack.counters().icmp_errors_received), (Some(expected), 1));
        assert!(script.stack.poll_event().is_some());
    }
    let (mut script, client, syn) = opening();
    let exceeded = Icmpv4Header::TimeExceeded { code: TimeExceededCode::TTL };
    script.payload(IpProtocol::ICMP, &message(&exceeded, &syn));
    assert_eq!(failure(&mut script, client), Some(Failure::Unreachable));
}

/// RFC 5927 §4.1: who does not see the numbers can't guess them.
#[test]
fn forged_errors_are_ignored() {
    let (mut script, client, mut syn) = opening();
    syn[27] = syn[27].wrapping_add(1);
    script.payload(IpProtocol::ICMP, &message(&unreachable(3, 0), &syn));
    syn[27] = syn[27].wrapping_sub(2);
    script.payload(IpProtocol::ICMP, &message(&unreachable(3, 0), &syn));
    syn[21] ^= 1;
    script.payload(IpProtocol::ICMP, &message(&unreachable(3, 0), &syn));
    assert_eq!((failure(&mut script, client), script.dropped(DropReason::IcmpUnrelated)), (None, 3));
    script.payload(IpProtocol::ICMP, &message(&unreachable(3, 0), &syn[..27]));
    script.payload(IpProtocol::ICMP, &message(&unreachable(3, 0), &syn[..10]));
    assert_eq!(failure(&mut script, client), None);
}

/// RFC 5461 §4.1: of a stranger who can't be reached nothing is kept; and nobody makes that up (RFC 5927 §4.1).
#[test]
fn errors_end_what_strangers_have_begun() {
    let mut script = Script::with_peer();
    begin(&mut script);
    let mut answer = script.sent_one().bytes[..28].to_vec();
    let levels =
        |script: &Script| (script.stack.levels().tcp.half_open, script.stack.tcp_counters().half_open_unreachable);
    answer[27] ^= 1;
    script.payload(IpProtocol::ICMP, &message(&unreachable(1, 0), &answer));
    assert_eq!((levels(&script), script.dropped(DropReason::IcmpUnrelated)), ((1, 0), 1));
    answer[27] ^= 1;
    script.payload(IpProtocol::ICMP, &message(&unreachable(4, 1_000), &answer));
    assert_eq!(levels(&script), (1, 0), "smaller segments arrive");
    script.payload(IpProtocol::ICMP, &message(&unreachable(1, 0), &answer));
    assert_eq!(levels(&script), (0, 1));
}

/// Somebody who may be a stranger asks for a connection.
fn begin(script: &mut Script) {
    script.stack.listen((US, 80).into(), 4, WIDE).expect("the port is free");
    let syn =
        TcpHeader { src_port: 5_000, dst_port: 80, flags: TcpFlags::SYN, seq: Seq::new(7), ..TcpHeader::default() };
    let pair = AddressPair::V4 { src: PEER, dst: US };
    let sum = pseudo_header(pair, IpProtocol::TCP, u32::try_from(syn.header_len()).expect("short"));
    script.payload(IpProtocol::TCP, &syn.to_bytes(Fill::Complete(sum)));
}

/// When a neighbour is given up, its strangers are forgotten; were they answered again at the same time, that would wait for the neighbour to be
/// found after all, who would hear of a connection that nobody knows.
#[test]
fn strangers_who_are_forgotten_are_not_answered_again() {
    let mut script = Script::new();
    begin(&mut script);
    assert_eq!(script.sent_one().arp().tpa, PEER);
    for _ in 0..3 {
        assert_eq!(script.stack.levels().tcp.half_open, 1);
        script.sent();
        script.wait(Duration::from_millis(1_001));
    }
    assert_eq!(script.stack.levels().tcp.half_open, 0);
    script.sent();
    script.arp(&Arp { operation: ArpOperation::Reply, ..Arp::request(mac(1), PEER, US) });
    assert_eq!(script.sent().len(), 0, "it is to ask again");
    assert_eq!(script.stack.tcp_counters().half_open_unreachable, 1);
}

/// An ICMP error from host 1 about a packet that host 0 has sent.
fn refuse(world: &mut World, header: &Icmpv4Header, packet: &[u8]) {
    let body = message(header, packet);
    let ip = Ipv4Header::new(IpProtocol::ICMP, ADDRESSES[1], ADDRESSES[0]).to_bytes(body.len()).expect("short");
    let (now, link) = (world.now, world.hosts[0].link);
    world.stack(0).handle_packets(now, link, [Packet::from(Buffer::from([&ip[..], &body].concat()))]);
}

/// The first bytes of the next packet that host 0 sends.
fn next_packet(world: &mut World) -> Vec<u8> {
    let now = world.now;
    let (_, packet) = world.stack(0).poll_transmit(now).expect("something is to be sent");
    let mut bytes = vec![0; 28];
    packet.copy_to_slice(0, &mut bytes).expect("it has headers");
    bytes
}

/// RFC 1122 §4.2.3.9: an open connection survives, and only tells why if nothing arrives any more.
#[test]
fn errors_do_not_end_what_is_open() {
    for is_told in [false, true] {
        let mut world = World::new([bare(), bare()]);
        let options = Options { user_timeout: Some(Duration::from_secs(20)), ..WIDE };
        let [client, _] = world.connected(options);
        world.run_for(Duration::from_secs(1));
        world.hosts[0].fate = Box::new(|_| vec![]);
        world.stack(0).tcp().send(client, data(0, 100)).expect("there is room");
        let packet = next_packet(&mut world);
        if is_told {
            for code in [1, 3] {
                refuse(&mut world, &unreachable(code, 0), &packet);
            }
        }
        assert_eq!(world.state(0, client), State::Established);
        world.run_for(Duration::from_secs(120));
        let failure = world.stack(0).tcp().connection(client).expect("it is ours").failure();
        assert_eq!(failure, Some(if is_told { Failure::Unreachable } else { Failure::TimedOut }));
    }
}

/// RFC 1191: behind a narrow link.
fn through_narrow_path(mtu: u16, told: u16) -> World {
    let mut world = World::new([bare(), bare()]);
    let [client, server] = world.connected(WIDE);
    world.run_for(Duration::from_secs(1));
    world.hosts[0].fate =
        Box::new(move |packet| if packet.len() > usize::from(mtu) { vec![] } else { vec![Duration::from_millis(5)] });
    world.stack(0).tcp().send(client, data(0, 5_000)).expect("there is room");
    let packet = next_packet(&mut world);
    refuse(&mut world, &unreachable(4, told), &packet);
    let begin = world.now;
    world.run_until(|world| {
        while let Some(part) = world.stack(1).tcp().receive(server) {
            assert_eq!(part, data(world.hosts[1].received, part.len()));
            world.hosts[1].received += u32::try_from(part.len()).expect("short");
        }
        world.hosts[1].received == 5_000
    });
    assert!(world.now - begin < Duration::from_millis(150), "no timeout was needed: {:?}", world.now - begin);
    world
}

#[test]
fn narrow_paths_are_learned() {
    let mut world = through_narrow_path(1_000, 1_000);
    // The next connection knows it from the beginning.
    world.hosts[0].sent.clear();
    let now = world.now;
    let again = world.stack(0).connect(now, None, super::world::address(1, 80), WIDE).expect("there is a way");
    world.run_for(Duration::from_millis(100));
    world.stack(0).tcp().send(again, data(0, 5_000)).expect("there is room");
    world.run_for(Duration::from_millis(100));
    assert_eq!(world.hosts[0].sent.iter().max(), Some(&1_000));
}

/// RFC 1191 §7.1: routers of old don't tell; RFC 5927 §7.2: who tells too little is not believed.
#[test]
fn narrow_paths_are_bounded_and_guessed() {
    let world = through_narrow_path(1_492, 0);
    // Without those of the opening, and the four that were under way already.
    assert_eq!(world.hosts[0].sent.iter().skip(6).max(), Some(&1_492));
    let world = through_narrow_path(552, 68);
    assert_eq!(world.hosts[0].sent.last(), world.hosts[0].sent.last());
    assert!(world.hosts[0].sent.contains(&552));
}

#[test]
fn nonsense_about_the_path_is_ignored() {
    let mut world = World::new([bare(), bare()]);
    let [client, _] = world.connected(WIDE);
    world.stack(0).tcp().send(client, data(0, 1_000)).expect("there is room");
    let packet = next_packet(&mut world);
    refuse(&mut world, &unreachable(4, 1_400), &packet);
    assert_eq!(world.hosts[0].stack.drops().count(DropReason::IcmpUnrelated), 1, "it fits there");
    // RFC 791 §3.2: every link takes more.
    refuse(&mut world, &unreachable(4, 67), &packet);
    assert_eq!(world.hosts[0].stack.drops().count(DropReason::IcmpTooNarrow), 1);
    let now = world.now;
    let connection = world.stack(0).tcp().connection(client).expect("it is ours");
    assert_eq!(connection.info(now).snd_mss, 1_448);
}

/// Who speaks from an address that is gone hears of it at once; nothing goes that way until there is an address again.
#[test]
fn an_interface_that_is_taken_down_ends_its_connections() {
    let mut world = World::new([bare(), bare()]);
    let [client, server] = world.connected(WIDE);
    world.run_for(Duration::from_secs(1));
    world.stack(0).tcp().send(client, data(0, 100)).expect("there is room");
    let (now, link) = (world.now, world.hosts[0].link);
    while world.stack(0).poll_event().is_some() {}
    assert!(world.stack(0).take_down(now, link));
    let connection = world.stack(0).tcp().connection(client).expect("it is ours");
    assert_eq!((connection.state(), connection.failure()), (State::Closed, Some(Failure::Unreachable)));
    assert_eq!(world.stack(0).poll_event(), Some(Event::Tcp(sockets::Event::Socket(client))));
    assert!(world.stack(0).poll_transmit(now).is_none());
    let levels = world.stack(0).levels().tcp;
    assert_eq!(world.stack(0).neighbours(), 0);
    assert_eq!((levels.flows, world.stack(0).routes().filter(|route| route.interface == link).count()), (0, 0));
    let to = super::world::address(1, 80);
    assert_eq!(world.stack(0).connect(now, None, to, WIDE), Err(OpenError::NoRoute));
    let prefix = Prefix::new(ADDRESSES[0], 24).expect("it is one");
    world.stack(0).add_address(now, link, prefix).expect("it is there");
    let again = world.stack(0).connect(now, None, to, WIDE).expect("there is a way");
    world.run_until(|world| {
        world.stack(0).tcp().connection(again).is_some_and(|connection| connection.state() == State::Established)
    });
    assert_eq!(
        world.stack(1).tcp().connection(server).map(|connection| connection.failure()),
        Some(None),
        "it has heard nothing"
    );
}
