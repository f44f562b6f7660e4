//! An interface that is configured by DHCP (RFC 2131), on the wire.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use sunstar_wire::checksum::{Fill, Sum, pseudo_header_v4};
use sunstar_wire::dhcpv4::{CLIENT_PORT, Code, Header, Kind, Message, SERVER_PORT, Writer};
use sunstar_wire::{Arp, ArpOperation, EtherType, IpProtocol, Ipv4Header, MacAddr, UdpDatagram, UdpHeader};

use super::script::{Script, Sent};
use super::world::{ethernet, mac};
use crate::configuration::Change;
use crate::dhcpv4::{Options, State};
use crate::drops::DropReason;
use crate::prefix::Prefix;
use crate::stack::{ConfigError, Limits, Stack};
use crate::tcp::connection::{Failure, Options as TcpOptions};
use crate::time::Instant;

const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const GIVEN: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 77);
const LEASE: Duration = Duration::from_secs(1_000);

/// A stack without an address, that asks for one.
fn started() -> (Script, Sent) {
    let now = Instant::from_micros(1_000_000);
    let mut stack = Stack::new([3; 16], Limits::DEFAULT);
    let link = stack.add_interface(ethernet(0)).expect("there is room");
    stack.start_dhcpv4(now, link, Options::default()).expect("it is an Ethernet");
    let mut script = Script { now, stack, link };
    let discover = script.sent_one();
    (script, discover)
}

/// What was said, by which ports, if it is a datagram.
fn said(sent: &Sent) -> (UdpHeader, Message<'_>) {
    let ip = sent.ip();
    let datagram = UdpDatagram::parse(&sent.bytes[ip.header_len()..]).expect("well formed");
    assert!(datagram.has_valid_checksum(ip.addresses()));
    (datagram.header(), Message::parse(datagram.payload()).expect("well formed"))
}

/// The payload of an answer.
fn answer(question: &Sent, kind: Kind) -> Vec<u8> {
    let header = Header { is_reply: true, yiaddr: GIVEN, ..said(question).1.header() };
    let mut message = Writer::new(&header, kind);
    for (code, data) in [
        (Code::SERVER_ID, &SERVER.octets()[..]),
        (Code::LEASE_TIME, &[0, 0, 3, 232]),
        (Code::SUBNET_MASK, &[255, 255, 255, 0]),
        (Code::ROUTERS, &SERVER.octets()),
        (Code::MTU, &[5, 20]),
        (Code::NAME_SERVERS, &[198, 51, 100, 53]),
        (Code::DOMAIN_NAME, b"example.org"),
    ] {
        message.option(code, data).expect("it fits");
    }
    message.as_bytes().to_vec()
}

/// A datagram comes in.
fn datagram(script: &mut Script, dst: (MacAddr, Ipv4Addr), ports: (u16, u16), payload: &[u8]) {
    let len = u16::try_from(payload.len() + UdpHeader::LEN).expect("short");
    let rest = pseudo_header_v4(SERVER, dst.1, IpProtocol::UDP, len) + Sum::of(payload);
    let header = UdpHeader { src_port: ports.0, dst_port: ports.1 };
    let header = header.to_bytes(payload.len(), Fill::Complete(rest)).expect("short");
    let ip = Ipv4Header::new(IpProtocol::UDP, SERVER, dst.1).to_bytes(header.len() + payload.len()).expect("short");
    script.frame(mac(1), dst.0, EtherType::IPV4, &[&ip[..], &header, payload].concat());
}

fn server_says(script: &mut Script, payload: &[u8]) {
    datagram(script, (mac(0), GIVEN), (SERVER_PORT, CLIENT_PORT), payload);
}

/// Up to where the address is probed.
fn probing() -> Script {
    let (mut script, discover) = started();
    server_says(&mut script, &answer(&discover, Kind::Offer));
    let request = script.sent_one();
    // The other way in which servers answer.
    let all = (MacAddr::BROADCAST, Ipv4Addr::BROADCAST);
    datagram(&mut script, all, (SERVER_PORT, CLIENT_PORT), &answer(&request, Kind::Ack));
    script
}

fn bound() -> Script {
    let mut script = probing();
    for _ in 0..4 {
        script.wait(Duration::from_millis(300));
    }
    // It is announced twice.
    script.wait(Duration::from_secs(2));
    script.sent();
    script
}

fn addresses(script: &Script) -> Vec<Prefix> {
    script.stack.interface(script.link).expect("it is there").addresses().to_vec()
}

#[test]
fn an_interface_gets_all_that_it_needs() {
    let (script, discover) = started();
    assert_eq!((discover.ethernet.dst, discover.ip().dst()), (MacAddr::BROADCAST, Ipv4Addr::BROADCAST));
    assert_eq!(discover.ip().src(), Ipv4Addr::UNSPECIFIED);
    assert_eq!(said(&discover).0, UdpHeader { src_port: CLIENT_PORT, dst_port: SERVER_PORT });
    assert_eq!((said(&discover).1.kind(), addresses(&script)), (Some(Kind::Discover), vec![]));

    let mut script = probing();
    let probe = script.sent_one();
    assert_eq!(probe.arp(), Arp::request(mac(0), Ipv4Addr::UNSPECIFIED, GIVEN));
    assert_eq!(addresses(&script), [], "not before nobody has answered");
    script.wait(Duration::from_millis(300));
    script.wait(Duration::from_millis(300));
    script.wait(Duration::from_millis(300));
    assert_eq!(addresses(&script), [Prefix::new(GIVEN, 24).expect("32 bits")]);
    assert_eq!(script.sent().last().expect("it is announced").arp(), Arp::announcement(mac(0), GIVEN));
    let interface = script.stack.interface(script.link).expect("it is there");
    assert_eq!(interface.mtu_v4(), 1_300);
    assert_eq!(script.stack.name_servers(), [Ipv4Addr::new(198, 51, 100, 53)]);
    assert_eq!(script.stack.search_domains(), ["example.org".into()]);
    let gateways: Vec<_> = script.stack.routes().filter_map(|route| route.gateway).collect();
    assert_eq!(gateways, [IpAddr::V4(SERVER)]);
    let (lease, end) = script.stack.dhcpv4_lease(script.link).expect("there is one");
    assert_eq!((lease.server, end.is_some()), (SERVER, true));
    // Other shards hear of all of it, the address first.
    let changes: Vec<Change> = core::iter::from_fn(|| script.stack.poll_change()).collect();
    assert!(matches!(changes[..], [Change::AddAddress { .. }, Change::SetMtu { .. }, Change::AddRoute(_), _, _]));
}

/// To the second, with everything that came with it.
#[test]
fn when_the_lease_ends_connections_end() {
    let mut script = bound();
    let end = script.stack.dhcpv4_lease(script.link).and_then(|(_, end)| end).expect("it ends");
    let client = script.stack.connect(script.now, None, (SERVER, 80).into(), TcpOptions::DEFAULT).expect("a way");
    while script.now + Duration::from_secs(1) < end {
        script.wait(Duration::from_secs(1));
        script.sent();
    }
    assert_eq!(addresses(&script).len(), 1);
    script.wait(end - script.now);
    assert_eq!((addresses(&script), script.stack.routes().count()), (vec![], 0));
    assert_eq!(script.stack.interface(script.link).expect("it is there").mtu_v4(), 1_500);
    assert_eq!((script.stack.name_servers(), script.stack.search_domains()), (vec![], vec![]));
    assert_eq!(script.stack.tcp().connection(client).and_then(|it| it.failure()), Some(Failure::Unreachable));
    assert!(end - Instant::from_micros(1_000_000) <= LEASE);
    assert_eq!(script.stack.dhcpv4_state(script.link), State::Selecting);
}

/// The server is told by its own address, from ours.
#[test]
fn leases_are_prolonged() {
    let mut script = bound();
    let at = |script: &Script| script.stack.dhcpv4_lease(script.link).and_then(|(_, end)| end).expect("it ends");
    let before = at(&script);
    script.wait(LEASE / 2);
    let asked = script.sent_one();
    assert_eq!(asked.arp().tpa, SERVER);
    script.arp(&Arp { operation: ArpOperation::Reply, ..Arp::request(mac(1), SERVER, GIVEN) });
    let renew = script.sent_one();
    assert_eq!((renew.ethernet.dst, renew.ip().src(), renew.ip().dst()), (mac(1), GIVEN, SERVER));
    server_says(&mut script, &answer(&renew, Kind::Ack));
    assert!(at(&script) > before);
    assert_eq!(script.stack.dhcpv4_state(script.link), State::Bound);
    assert!(core::iter::from_fn(|| script.stack.poll_change()).count() == 5, "nothing has changed since");
}

/// RFC 5227 §2.1.1: by whatever it says, or if it is about to take the address too.
#[test]
fn who_has_the_address_keeps_it() {
    let reply = Arp { operation: ArpOperation::Reply, ..Arp::request(mac(5), GIVEN, Ipv4Addr::UNSPECIFIED) };
    for arp in [reply, Arp::announcement(mac(5), GIVEN), Arp::request(mac(5), Ipv4Addr::UNSPECIFIED, GIVEN)] {
        let mut script = probing();
        script.sent();
        // Somebody else's affair, and our own echo.
        script.arp(&Arp::request(mac(5), SERVER, GIVEN));
        script.arp(&Arp::request(mac(0), Ipv4Addr::UNSPECIFIED, GIVEN));
        assert_eq!(script.stack.dhcpv4_state(script.link), State::Probing);
        script.arp(&arp);
        let decline = script.sent_one();
        assert_eq!(said(&decline).1.kind(), Some(Kind::Decline));
        script.wait(Duration::from_secs(2));
        assert_eq!(addresses(&script), []);
    }
}

/// It would be taken away when the lease ends.
#[test]
fn an_address_that_the_host_has_anyway_is_no_lease() {
    let (mut script, discover) = started();
    let own = Prefix::new(GIVEN, 24).expect("24 bits are fewer than 32");
    script.stack.add_address(script.now, script.link, own).expect("it is a station's");
    script.sent();
    server_says(&mut script, &answer(&discover, Kind::Offer));
    let request = script.sent_one();
    server_says(&mut script, &answer(&request, Kind::Ack));
    let decline = script.sent_one();
    assert_eq!(said(&decline).1.kind(), Some(Kind::Decline));
    script.wait(LEASE);
    assert_eq!(addresses(&script), [own]);
}

#[test]
fn what_was_given_is_given_back() {
    let mut script = bound();
    script.arp(&Arp::request(mac(1), SERVER, GIVEN));
    script.sent();
    assert!(script.stack.stop_dhcpv4(script.now, script.link));
    let release = script.sent_one();
    assert_eq!((said(&release).1.kind(), release.ip().dst()), (Some(Kind::Release), SERVER));
    assert_eq!(addresses(&script).len(), 1, "a moment it stays, so that the server can be found");
    script.wait(Duration::from_millis(100));
    assert_eq!((addresses(&script), script.stack.dhcpv4_lease(script.link)), (vec![], None));
    script.wait(LEASE);
    assert_eq!((script.sent().len(), script.stack.deadline()), (0, None));
    assert!(!script.stack.stop_dhcpv4(script.now, script.link));
}

#[test]
fn what_is_not_for_the_client_is_none_of_its() {
    let (mut script, discover) = started();
    let offer = answer(&discover, Kind::Offer);
    let here = (mac(0), GIVEN);
    datagram(&mut script, here, (SERVER_PORT + 1, CLIENT_PORT), &offer);
    datagram(&mut script, here, (SERVER_PORT, CLIENT_PORT + 1), &offer);
    datagram(&mut script, (mac(9), GIVEN), (SERVER_PORT, CLIENT_PORT), &offer);
    assert_eq!(script.dropped(DropReason::OtherHost), 2);
    datagram(&mut script, here, (SERVER_PORT, CLIENT_PORT), &offer[..239]);
    assert_eq!(script.dropped(DropReason::Dhcpv4Malformed), 1);
    let len = u16::try_from(offer.len() + UdpHeader::LEN).expect("short");
    let rest = pseudo_header_v4(SERVER, SERVER, IpProtocol::UDP, len) + Sum::of(&offer);
    let ports = UdpHeader { src_port: SERVER_PORT, dst_port: CLIENT_PORT };
    let udp = [&ports.to_bytes(offer.len(), Fill::Complete(rest)).expect("short")[..], &offer].concat();
    script.ip(&Ipv4Header::new(IpProtocol::UDP, SERVER, GIVEN), &udp);
    assert_eq!((script.dropped(DropReason::UdpChecksum), script.sent().len()), (1, 0));
    assert_eq!(script.stack.dhcpv4_counters(script.link).received, 0);
}

/// What cannot be kept is counted; the address works all the same.
#[test]
fn routes_beyond_the_limit_are_left_out() {
    let now = Instant::from_micros(1_000_000);
    let mut stack = Stack::new([3; 16], Limits { routes: 1, ..Limits::DEFAULT });
    let link = stack.add_interface(ethernet(0)).expect("there is room");
    stack.start_dhcpv4(now, link, Options::default()).expect("it is an Ethernet");
    let mut script = Script { now, stack, link };
    let discover = script.sent_one();
    server_says(&mut script, &answer(&discover, Kind::Offer));
    let request = script.sent_one();
    server_says(&mut script, &answer(&request, Kind::Ack));
    script.wait(Duration::from_millis(300));
    script.wait(Duration::from_millis(300));
    script.wait(Duration::from_millis(300));
    assert_eq!((addresses(&script).len(), script.stack.counters().changes_refused), (1, 1));
}

#[test]
fn only_an_ethernet_has_it() {
    let mut stack = Stack::new([3; 16], Limits::DEFAULT);
    let link = stack.add_interface(super::world::bare()).expect("there is room");
    let now = Instant::from_micros(1);
    assert_eq!(stack.start_dhcpv4(now, link, Options::default()), Err(ConfigError::NoInterface));
}

/// RFC 5227 §2.4, b: it is told once whose the address is, and is believed if it goes on.
#[test]
fn who_insists_on_the_address_gets_it() {
    let mut script = bound();
    let client = script.stack.connect(script.now, None, (SERVER, 80).into(), TcpOptions::DEFAULT).expect("a way");
    script.sent();
    script.arp(&Arp::request(mac(5), GIVEN, SERVER));
    assert_eq!(script.sent_one().arp(), Arp::announcement(mac(0), GIVEN));
    assert_eq!(addresses(&script).len(), 1);
    script.wait(Duration::from_secs(9));
    script.sent();
    script.arp(&Arp::request(mac(5), GIVEN, SERVER));
    let sent = script.sent();
    let declined: Vec<_> = sent.iter().filter(|sent| sent.ethernet.ethertype == EtherType::IPV4).collect();
    assert_eq!(declined.iter().map(|sent| said(sent).1.kind()).collect::<Vec<_>>(), [Some(Kind::Decline)]);
    assert_eq!((addresses(&script), script.stack.routes().count()), (vec![], 0));
    assert_eq!(script.stack.tcp().connection(client).and_then(|it| it.failure()), Some(Failure::Unreachable));
    script.wait(Duration::from_secs(10));
    assert_eq!(script.stack.dhcpv4_state(script.link), State::Selecting);
}

/// The lease is prolonged, by an acknowledgement with one option in the place of another.
fn prolong(script: &mut Script, code: Code, data: &[u8]) {
    script.arp(&Arp::request(mac(1), SERVER, GIVEN));
    script.sent();
    let (_, end) = script.stack.dhcpv4_lease(script.link).expect("there is one");
    // To where it asks again.
    while script.stack.dhcpv4_state(script.link) == State::Bound {
        script.wait(Duration::from_secs(1));
    }
    script.arp(&Arp::request(mac(1), SERVER, GIVEN));
    let sent = script.sent();
    let renew = sent.iter().find(|sent| sent.ethernet.ethertype == EtherType::IPV4).expect("it asks");
    let plain = answer(renew, Kind::Ack);
    let plain = Message::parse(&plain).expect("well formed");
    let mut message = Writer::new(&plain.header(), Kind::Ack);
    for (other, bytes) in plain.options().filter(|(other, _)| *other != code && *other != Code::MESSAGE_TYPE) {
        message.option(other, bytes).expect("it fits");
    }
    message.option(code, data).expect("it fits");
    server_says(script, message.as_bytes());
    assert!(script.stack.dhcpv4_lease(script.link).expect("there is one").1 > end);
}

/// The address is the same, so what is open stays open.
#[test]
fn another_mask_ends_no_connection() {
    let mut script = bound();
    let client = script.stack.connect(script.now, None, (SERVER, 80).into(), TcpOptions::DEFAULT).expect("a way");
    prolong(&mut script, Code::SUBNET_MASK, &[255, 255, 0, 0]);
    assert_eq!(addresses(&script), [Prefix::new(GIVEN, 16).expect("32 bits")]);
    assert_eq!(script.stack.tcp().connection(client).and_then(|it| it.failure()), None);
    let own: Vec<_> = script.stack.routes().filter(|route| route.gateway.is_none()).collect();
    assert_eq!(own.iter().map(|route| route.prefix.len()).collect::<Vec<_>>(), [16]);
}

/// The way to the own network is no route of the lease: one that lists it, and later does not, takes nothing away.
#[test]
fn the_own_network_stays() {
    let mut script = bound();
    prolong(&mut script, Code::CLASSLESS_ROUTES, &[24, 198, 51, 100, 0, 0, 0, 0]);
    assert_eq!(script.stack.routes().count(), 1);
    prolong(&mut script, Code::CLASSLESS_ROUTES, &[24, 10, 0, 0, 198, 51, 100, 1]);
    let own = script.stack.routes().filter(|route| route.gateway.is_none()).count();
    assert_eq!((own, script.stack.routes().count()), (1, 2));
}

/// What did not fit once may fit later.
#[test]
fn what_was_left_out_is_tried_again() {
    let mut script = probing();
    let (interface, address) = (script.link, SERVER.into());
    for _ in 0..crate::configuration::MAX_CHANGES {
        let change = Change::SetPreferred { interface, address, is_preferred: true };
        script.stack.configure(script.now, change).expect("there is room");
    }
    for _ in 0..4 {
        script.wait(Duration::from_millis(300));
    }
    assert_eq!((script.stack.dhcpv4_state(script.link), addresses(&script)), (State::Bound, vec![]));
    assert_eq!((script.stack.dhcpv4_lease(script.link), script.stack.counters().changes_refused), (None, 1));
    while script.stack.poll_change().is_some() {}
    // Nobody on the link is asked from an address that is not there: any server is.
    while script.stack.dhcpv4_state(script.link) != State::Rebinding {
        script.wait(Duration::from_secs(1));
        script.sent();
    }
    while addresses(&script).is_empty() {
        script.wait(Duration::from_secs(1));
        for asked in script.sent() {
            server_says(&mut script, &answer(&asked, Kind::Ack));
        }
    }
    assert!(script.stack.dhcpv4_lease(script.link).is_some() && script.stack.routes().count() == 2);
}

/// What was acknowledged is given back also while it is being probed.
#[test]
fn what_is_probed_is_given_back() {
    let mut script = probing();
    script.sent();
    assert!(script.stack.leave(script.now), "it has to be sent");
    let release = script.sent_one();
    let (_, message) = said(&release);
    assert_eq!((message.kind(), message.header().ciaddr), (Some(Kind::Release), GIVEN));
    script.wait(Duration::from_millis(100));
    assert!(!script.stack.leave(script.now));
    let (mut none, _) = started();
    assert!(!none.stack.leave(none.now), "there is nothing to give back");
}
