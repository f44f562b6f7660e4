//! RFC 826, RFC 1122 §2.3.2, RFC 5227.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;

use sunstar_wire::{Arp, ArpOperation, MacAddr};

use super::script::{PEER, Script, US};
use super::world::mac;
use crate::drops::DropReason;
use crate::stack::{Event, Limits, NeighbourLimits};
use crate::tcp::connection::{Failure, Options, State};

const SECOND: Duration = Duration::from_secs(1);

fn host(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, last)
}

fn connect(script: &mut Script, last: u8) -> crate::tcp::sockets::SocketId {
    let to = (host(last), 80).into();
    script.stack.connect(script.now, None, to, Options::DEFAULT).expect("there is a way")
}

/// RFC 5227 §2.3: twice, two seconds apart.
#[test]
fn addresses_are_announced() {
    let mut script = Script::before_announcing(Limits::DEFAULT);
    for due in [Some(script.now + 2 * SECOND), None] {
        let sent = script.sent_one();
        assert_eq!((sent.arp(), sent.ethernet.dst), (Arp::announcement(mac(0), US), MacAddr::BROADCAST));
        assert_eq!(script.stack.deadline(), due);
        script.wait(2 * SECOND);
    }
    assert_eq!((script.sent().len(), script.stack.deadline()), (0, None));
}

/// RFC 826, packet reception.
#[test]
fn answers_for_its_own_addresses_only() {
    let mut script = Script::new();
    let request = Arp::request(mac(1), PEER, US);
    script.arp(&request);
    let reply = script.sent_one();
    assert_eq!((reply.arp(), reply.ethernet.dst), (request.reply(mac(0)), mac(1)));
    script.arp(&Arp::request(mac(1), PEER, host(77)));
    assert_eq!(script.sent().len(), 0);
    // A probe (RFC 5227 §2.1.1) is answered, and nobody is learned from it.
    script.arp(&Arp::request(mac(9), Ipv4Addr::UNSPECIFIED, US));
    assert_eq!(script.sent_one().arp().operation, ArpOperation::Reply);
    assert_eq!(script.stack.neighbours(), 1);
}

/// Who was not asked and does not ask is nobody to remember.
#[test]
fn announcements_of_others_are_not_remembered() {
    let mut script = Script::new();
    script.arp(&Arp::announcement(mac(1), PEER));
    assert_eq!(script.stack.neighbours(), 0);
    script.meet();
    script.arp(&Arp::announcement(mac(5), PEER));
    connect(&mut script, 2);
    assert_eq!(script.sent_one().ethernet.dst, mac(5), "but what is known is kept up to date");
}

#[test]
fn implausible_messages_are_dropped() {
    let mut script = Script::new();
    script.arp(&Arp::request(MacAddr::BROADCAST, PEER, US));
    script.arp(&Arp::request(mac(0), PEER, US));
    script.arp(&Arp::request(mac(1), Ipv4Addr::BROADCAST, US));
    assert_eq!((script.dropped(DropReason::ArpImplausible), script.sent().len()), (3, 0));
    script.frame(mac(1), mac(0), sunstar_wire::EtherType::ARP, &[0; 27]);
    assert_eq!(script.dropped(DropReason::ArpMalformed), 1);
    // From another network: an answer is due, but nothing is learned.
    script.arp(&Arp::request(mac(1), Ipv4Addr::new(203, 0, 113, 1), US));
    assert_eq!((script.sent().len(), script.stack.neighbours()), (1, 0));
}

/// RFC 1122 §2.3.2.2: what waits is sent when the answer has come.
#[test]
fn packets_wait_for_the_answer() {
    let mut script = Script::new();
    connect(&mut script, 2);
    let request = script.sent_one();
    assert_eq!((request.arp(), request.ethernet.dst), (Arp::request(mac(0), US, PEER), MacAddr::BROADCAST));
    script.arp(&Arp { operation: ArpOperation::Reply, tha: mac(0), ..Arp::request(mac(1), PEER, US) });
    let syn = script.sent_one();
    assert_eq!((syn.ethernet.dst, syn.ip().dst()), (mac(1), PEER));
}

/// RFC 1122 §2.3.2.1: one request per second, and after three the sockets hear of it.
#[test]
fn silent_neighbours_are_given_up() {
    let mut script = Script::new();
    let client = connect(&mut script, 2);
    for _ in 0..3 {
        assert_eq!(script.sent_one().arp().tpa, PEER);
        script.wait(SECOND / 2);
        assert_eq!(script.sent().len(), 0);
        script.wait(SECOND / 2);
        script.wait(Duration::from_millis(1));
    }
    let connection = script.stack.tcp().connection(client).expect("it is ours");
    assert_eq!((connection.state(), connection.failure()), (State::Closed, Some(Failure::Unreachable)));
    assert!(script.dropped(DropReason::NeighbourSilent) >= 1);
    assert_eq!((script.stack.neighbours(), script.sent().len()), (0, 0));
}

#[test]
fn waiting_packets_are_bounded() {
    let neighbours = NeighbourLimits { neighbours: 4, waiting_packets: 3 };
    let mut script = Script::with_limits(Limits { neighbours, ..Limits::DEFAULT });
    for _ in 0..5 {
        connect(&mut script, 2);
    }
    assert_eq!((script.sent().len(), script.dropped(DropReason::NeighbourQueueFull)), (1, 2));
    script.arp(&Arp { operation: ArpOperation::Reply, ..Arp::request(mac(1), PEER, US) });
    assert_eq!(script.sent().len(), 3, "the newest ones");
}

/// The oldest stranger makes room, and where there is none, the neighbour that was not used for longest.
#[test]
fn neighbours_are_bounded() {
    let neighbours = NeighbourLimits { neighbours: 4, waiting_packets: 8 };
    let mut script = Script::with_limits(Limits { neighbours, ..Limits::DEFAULT });
    for last in [2, 3, 2, 4] {
        connect(&mut script, last);
        script.sent();
    }
    assert_eq!(script.stack.neighbours(), 2);
    assert_eq!(script.dropped(DropReason::NeighbourForgotten), 2, "what waited for 2");
    let reply = |last| Arp { operation: ArpOperation::Reply, ..Arp::request(mac(last), host(last), US) };
    script.arp(&reply(3));
    assert_eq!(script.sent().len(), 1, "what waited for 3");
    // Four to whom we speak, and then a fifth.
    for last in [3, 4, 5, 6] {
        connect(&mut script, last);
        script.arp(&reply(last));
        connect(&mut script, last);
        script.sent();
    }
    connect(&mut script, 3);
    script.sent();
    connect(&mut script, 7);
    script.sent();
    for (last, is_known) in [(3, true), (5, true), (6, true), (4, false)] {
        connect(&mut script, last);
        let is_sent = script.sent().iter().any(|sent| sent.ethernet.dst == mac(last));
        assert_eq!(is_sent, is_known, "{last}");
    }
}

/// Floods of those who ask for us, and of those for whom we would have to ask, cost neither the neighbours to whom we speak nor those who
/// are just being asked for.
#[test]
fn floods_leave_neighbours_who_they_are() {
    let neighbours = NeighbourLimits { neighbours: 64, waiting_packets: 8 };
    let mut script = Script::with_limits(Limits { neighbours, ..Limits::DEFAULT });
    script.meet();
    let meets_again = |script: &mut Script| {
        connect(script, 2);
        let sent = script.sent();
        sent.len() == 1 && sent[0].ethernet.dst == mac(1)
    };
    assert!(meets_again(&mut script));
    for at in 0..1_000_u32 {
        let [_, _, high, low] = at.to_be_bytes();
        script.arp(&Arp::request(
            MacAddr([2, 0, 0, 1, high, low]),
            host(10 + u8::try_from(at % 200).expect("small")),
            US,
        ));
        script.sent();
    }
    assert_eq!(script.stack.neighbours(), 33);
    assert!(meets_again(&mut script));
    for at in (0..200).rev() {
        connect(&mut script, 10 + at);
        script.sent();
    }
    // Half of them may be there: they have asked for us, and now they have been spoken to.
    assert_eq!(script.stack.neighbours(), 64);
    assert!(meets_again(&mut script));
}

/// Who is not known is asked for at a rate, so that no flood of addresses makes one of questions, and no more than half of the places
/// are for those who may not be there.
#[test]
fn questions_have_a_rate() {
    let mut script = Script::wide();
    script.meet();
    connect(&mut script, 2);
    script.sent();
    let mut asked = 0;
    for at in 0..20_000_u32 {
        let to = SocketAddr::from((Ipv4Addr::from(u32::from(host(1)) + 256 + at), 80));
        script.stack.connect(script.now, None, to, Options::DEFAULT).expect("there is a way");
        asked += script.sent().len();
        script.wait(Duration::from_micros(5));
    }
    assert!((512 + 90..512 + 500).contains(&asked), "{asked}");
    assert!(script.stack.neighbours() <= 513 && script.dropped(DropReason::NeighbourRate) > 18_000);
    connect(&mut script, 2);
    assert!(script.sent().iter().any(|sent| sent.ethernet.dst == mac(1)), "the peer is known still");
}

/// RFC 1122 §2.3.2.1, (2): after a minute the station itself is asked, and used meanwhile; silent, it is forgotten.
#[test]
fn old_addresses_are_confirmed() {
    let mut script = Script::with_peer();
    script.wait(61 * SECOND);
    connect(&mut script, 2);
    let sent = script.sent();
    let (requests, others): (Vec<_>, Vec<_>) =
        sent.iter().partition(|sent| sent.ethernet.ethertype == sunstar_wire::EtherType::ARP);
    assert_eq!((requests.len(), others.len()), (1, 1));
    assert_eq!((requests[0].ethernet.dst, others[0].ethernet.dst), (mac(1), mac(1)));
    for _ in 0..3 {
        script.wait(SECOND + Duration::from_millis(1));
    }
    assert_eq!(script.stack.neighbours(), 0);
}

#[test]
fn unused_addresses_are_forgotten() {
    let mut script = Script::with_peer();
    script.wait(599 * SECOND);
    assert_eq!(script.stack.neighbours(), 1);
    script.wait(2 * SECOND);
    assert_eq!((script.stack.neighbours(), script.stack.deadline()), (0, None));
}

/// RFC 5227 §2.4, b.
#[test]
fn conflicts_are_told_and_addresses_defended() {
    let mut script = Script::new();
    let conflict = Arp::announcement(mac(9), US);
    script.arp(&conflict);
    script.arp(&conflict);
    assert_eq!(script.sent_one().arp(), Arp::announcement(mac(0), US), "once in ten seconds");
    let told = Event::AddressConflict { interface: script.link, address: US, mac: mac(9) };
    assert_eq!((script.stack.poll_event(), script.stack.counters().arp_conflicts), (Some(told), 2));
    script.wait(10 * SECOND);
    script.arp(&conflict);
    assert_eq!(script.sent().len(), 1);
}

/// A router need not share a prefix with us: who was asked is believed.
#[test]
fn routers_outside_of_our_networks_are_found() {
    let mut script = Script::new();
    let router = Ipv4Addr::new(198, 51, 100, 1);
    let prefix = crate::prefix::Prefix::ALL_V4;
    let route = crate::routes::Route { prefix, gateway: Some(router.into()), interface: script.link, metric: 0 };
    script.stack.add_route(route).expect("there is room");
    let to = ([203, 0, 113, 5], 80).into();
    script.stack.connect(script.now, None, to, Options::DEFAULT).expect("there is a way");
    assert_eq!(script.sent_one().arp().tpa, router);
    script.arp(&Arp { operation: ArpOperation::Reply, ..Arp::request(mac(8), router, US) });
    assert_eq!(script.sent_one().ethernet.dst, mac(8));
}

/// RFC 1122 §3.3.1.4: what did not reach one router is no verdict on the next one of the same link, unless that is silent too.
#[test]
fn the_next_router_is_tried_before_anybody_is_told() {
    let mut script = Script::new();
    let prefix = crate::prefix::Prefix::ALL_V4;
    for (metric, last) in [(0, 251), (1, 252)] {
        let gateway = Some(host(last).into());
        let route = crate::routes::Route { prefix, gateway, interface: script.link, metric };
        script.stack.add_route(route).expect("there is room");
    }
    let to = ([203, 0, 113, 5], 80).into();
    let client = script.stack.connect(script.now, None, to, Options::DEFAULT).expect("there is a way");
    let mut asked = Vec::new();
    let mut states = Vec::new();
    for _ in 0..60 {
        asked.extend(script.sent().iter().map(|sent| sent.arp().tpa));
        let connection = script.stack.tcp().connection(client).expect("it is ours");
        states.push((asked.len(), connection.state(), connection.failure()));
        script.wait(SECOND / 4);
    }
    assert_eq!(asked, [[host(251); 3], [host(252); 3]].concat());
    assert!(states.contains(&(4, State::SynSent, None)), "{states:?}");
    assert_eq!(states.last(), Some(&(6, State::Closed, Some(Failure::Unreachable))));
}

/// Who had to make room is told of at once, though no timer is due and nobody says anything.
#[test]
fn what_makes_room_for_others_goes_back_at_once() {
    let neighbours = NeighbourLimits { neighbours: 2, waiting_packets: 8 };
    let mut script = Script::with_limits(Limits { neighbours, ..Limits::DEFAULT });
    let ping = |script: &mut Script, last: u8| {
        let request = sunstar_wire::Icmpv4Header::EchoRequest { identifier: 7, sequence: 1 };
        let bytes = request.to_bytes(sunstar_wire::checksum::Sum::of(&[]));
        script.ip(&sunstar_wire::Ipv4Header::new(sunstar_wire::IpProtocol::ICMP, host(last), US), &bytes);
    };
    ping(&mut script, 2);
    assert_eq!(script.sent_one().arp().tpa, host(2));
    connect(&mut script, 3);
    let sent = script.sent();
    let back: Vec<_> = sent.iter().filter(|sent| sent.ethernet.ethertype == sunstar_wire::EtherType::IPV4).collect();
    assert_eq!((sent.len(), back.len()), (2, 1), "{sent:?}");
    assert_eq!((back[0].ethernet.dst, back[0].ip().dst()), (mac(1), host(2)));
    assert_eq!(script.stack.counters().answers_sent_back, 1);
    connect(&mut script, 4);
    script.sent();
    assert_eq!(script.dropped(DropReason::NeighbourForgotten), 1, "what waited for 3");
}
