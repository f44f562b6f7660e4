//! An interface that is configured by DHCPv6 (RFC 8415), on the wire.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use sunstar_wire::checksum::{Fill, Sum, pseudo_header_v6};
use sunstar_wire::dhcpv6::{ALL_SERVERS, CLIENT_PORT, Code, IaNa, Kind, Message, SERVER_PORT, Writer};
use sunstar_wire::{
    IpProtocol, Ipv6Header, MacAddr, NdpMessage, NdpOption, RouterAdvertisement, UdpDatagram, UdpHeader,
};

use super::routers::router;
use super::{ALL_NODES, PEER_LOCAL, Script, Sent, mac, udp};
use crate::configuration::Change;
use crate::dhcpv6::{Mode, Options, State};
use crate::drops::DropReason;
use crate::prefix::Prefix;
use crate::stack::{AutoconfOptions, ConfigError};

const GIVEN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 7, 0, 0, 0, 0x77);
const NAME_SERVER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 7, 0, 0, 0, 0x53);
const SERVER: &[u8] = &[0, 3, 0, 1, 2, 0, 0, 0, 0, 1];
const IAID: u32 = 7;
const SECOND: Duration = Duration::from_secs(1);

fn options() -> Options {
    Options { duid: vec![0, 3, 0, 1, 2, 0, 0, 0, 0, 0], iaid: IAID, hints: Vec::new() }
}

fn managed(is_managed: bool) -> RouterAdvertisement {
    RouterAdvertisement { is_managed, has_other_configuration: !is_managed, ..router(1_800) }
}

/// With a link-local address, and a client that does what routers say, or what is said here.
fn started(mode: Option<Mode>) -> Script {
    let mut script = Script::autoconfigured(1);
    script.stack.start_dhcpv6(script.now, script.link, mode, options()).expect("it is an Ethernet");
    script.sent();
    script
}

fn is_dhcp(sent: &Sent) -> bool {
    sent.ethernet.ethertype == sunstar_wire::EtherType::IPV6 && sent.ip_v6().next_header() == IpProtocol::UDP
}

/// What was asked; it is sent as it should be.
fn said(sent: &Sent) -> Message<'_> {
    let ip = sent.ip_v6();
    assert_eq!((ip.dst(), sent.ethernet.dst), (ALL_SERVERS, MacAddr::from_ipv6_multicast(ALL_SERVERS)));
    assert!(ip.src().is_unicast_link_local());
    let datagram = UdpDatagram::parse(ip.payload()).expect("well formed");
    assert!(datagram.has_valid_checksum(ip.addresses()));
    assert_eq!(datagram.header(), UdpHeader { src_port: CLIENT_PORT, dst_port: SERVER_PORT });
    Message::parse(&ip.payload()[UdpHeader::LEN..]).expect("well formed")
}

impl Script {
    /// The next question; nothing else is waited for.
    fn question(&mut self) -> Sent {
        for _ in 0..1_000 {
            if let Some(question) = self.sent().into_iter().find(is_dhcp) {
                return question;
            }
            let due = self.stack.deadline().expect("something is to come");
            self.wait(due.max(self.now) - self.now);
        }
        panic!("nothing is asked");
    }

    fn is_silent(&mut self, duration: Duration) -> bool {
        self.wait(duration);
        !self.sent().iter().any(is_dhcp)
    }

    /// A server of the link says something to an address.
    fn server_says(&mut self, dst: Ipv6Addr, payload: &[u8]) {
        let len = u32::try_from(payload.len() + UdpHeader::LEN).expect("short");
        let rest = pseudo_header_v6(PEER_LOCAL, dst, IpProtocol::UDP, len) + Sum::of(payload);
        let header = UdpHeader { src_port: SERVER_PORT, dst_port: CLIENT_PORT };
        let header = header.to_bytes(payload.len(), Fill::Complete(rest)).expect("short");
        self.ip_v6(&Ipv6Header::new(IpProtocol::UDP, PEER_LOCAL, dst), &[&header[..], payload].concat());
    }

    fn answer(&mut self, question: &Sent, preferred_s: u32) {
        let payload = answer(question, preferred_s);
        self.server_says(question.ip_v6().src(), &payload);
    }

    /// Up to where the address is asked for.
    fn given(mode: Option<Mode>) -> Self {
        let mut script = started(mode);
        script.advertise(managed(true), &[]);
        let solicit = script.question();
        assert_eq!(said(&solicit).kind(), Kind::Solicit);
        script.answer(&solicit, 600);
        script
    }

    fn changes(&mut self) -> Vec<Change> {
        core::iter::from_fn(|| self.stack.poll_change()).collect()
    }
}

/// A rapid answer.
fn answer(question: &Sent, preferred_s: u32) -> Vec<u8> {
    let asked = said(question);
    let mut message = Writer::new(Kind::Reply, asked.transaction_id());
    let mut add = |code, data: &[u8]| message.option(code, data).expect("it fits");
    add(Code::CLIENT_ID, asked.options().find_code(Code::CLIENT_ID).expect("it is there"));
    add(Code::SERVER_ID, SERVER);
    add(Code::RAPID_COMMIT, &[]);
    add(Code::NAME_SERVERS, &NAME_SERVER.octets());
    add(Code::DOMAIN_LIST, b"\x07example\x03org\0");
    if asked.options().find_code(Code::IA_NA).is_some() {
        let given = message.nested(Code::IA_NA, |message| {
            message.push(&[IAID.to_be_bytes(), [0; 4], [0; 4]].concat())?;
            let times = [preferred_s.to_be_bytes(), 1_000_u32.to_be_bytes()].concat();
            message.option(Code::IA_ADDRESS, &[&GIVEN.octets()[..], &times].concat())
        });
        given.expect("it fits");
    }
    message.as_bytes().to_vec()
}

#[test]
fn routers_say_whether_addresses_are_to_be_had() {
    let mut script = started(None);
    script.advertise(router(1_800), &[]);
    assert!(script.is_silent(30 * SECOND));
    script.advertise(managed(true), &[]);
    let solicit = script.question();
    assert_eq!(said(&solicit).kind(), Kind::Solicit);
    script.changes();
    script.answer(&solicit, 600);
    assert!(!script.owns(GIVEN), "not before nobody has objected");
    let asks = script.sent().into_iter().any(|sent| {
        sent.ethernet.ethertype == sunstar_wire::EtherType::IPV6
            && sent.ip_v6().next_header() == IpProtocol::ICMPV6
            && sent.ndp().0 == NdpMessage::NeighbourSolicitation { target: GIVEN }
    });
    assert!(asks, "somebody may have it");
    script.wait(SECOND);
    assert!(script.owns(GIVEN));
    let interface = script.stack.interface(script.link).expect("it is there");
    let prefix = Prefix::new(GIVEN, 128).expect("128 bits");
    assert!(interface.addresses().contains(&prefix), "who else is on the link is another thing");
    assert_eq!(script.stack.name_servers(), [IpAddr::V6(NAME_SERVER)]);
    assert_eq!(script.stack.search_domains(), ["example.org".into()]);
    // All of it is handed out for other shards.
    let mut other = Script::new();
    for change in script.changes() {
        other.stack.apply(other.now, &change).expect("as here");
    }
    assert!(other.owns(GIVEN));
    assert_eq!(other.stack.search_domains(), script.stack.search_domains());
    let counters = script.stack.dhcpv6_counters(script.link);
    assert_eq!((counters.sent, counters.received, counters.leases), (1, 1, 1));
}

#[test]
fn routers_say_whether_the_rest_is_to_be_had() {
    let mut script = started(None);
    script.advertise(managed(false), &[]);
    let question = script.question();
    assert_eq!(said(&question).kind(), Kind::InformationRequest);
    script.answer(&question, 600);
    assert_eq!(script.stack.name_servers(), [IpAddr::V6(NAME_SERVER)]);
    script.advertise(managed(false), &[]);
    assert!(script.is_silent(60 * SECOND));
    // And later that addresses are.
    script.advertise(managed(true), &[]);
    assert_eq!(said(&script.question()).kind(), Kind::Solicit);
}

#[test]
fn it_can_be_asked_for_whatever_routers_say() {
    for (mode, kind) in [(Mode::Stateful, Kind::Solicit), (Mode::Stateless, Kind::InformationRequest)] {
        let mut script = started(Some(mode));
        assert_eq!(said(&script.question()).kind(), kind);
        // As soon as there is an address from which to ask.
        let mut script = Script::new();
        let options_of_link = AutoconfOptions { secret: [1; 16], follows_routers: false };
        script.stack.start_dhcpv6(script.now, script.link, Some(mode), options()).expect("it is an Ethernet");
        script.wait(5 * SECOND);
        assert_eq!(script.sent().len(), 0);
        script.stack.autoconfigure(script.now, script.link, options_of_link).expect("it is an Ethernet");
        assert_eq!(said(&script.question()).kind(), kind);
    }
    let mut script = started(Some(Mode::Stateless));
    script.question();
    script.advertise(managed(true), &[]);
    assert!(script.is_silent(Duration::from_millis(800)), "nothing else is asked for");
    assert_eq!(script.stack.dhcpv6_state(script.link), State::Informing);
}

/// RFC 8415 §18.2.8.
#[test]
fn an_address_that_somebody_has_is_declined() {
    let mut script = Script::given(None);
    let message =
        NdpMessage::NeighbourAdvertisement { target: GIVEN, is_router: false, is_solicited: false, is_override: true };
    script.sent();
    script.ndp((PEER_LOCAL, ALL_NODES), &message, &[NdpOption::TargetLinkLayer(mac(1))]);
    let decline = script.question();
    assert_eq!(said(&decline).kind(), Kind::Decline);
    let ia = IaNa::parse(said(&decline).options().find_code(Code::IA_NA).expect("it is there")).expect("whole");
    assert_eq!(ia.addresses().map(|address| address.address).collect::<Vec<_>>(), [GIVEN]);
    script.wait(SECOND / 2);
    assert!(!script.owns(GIVEN) && script.stack.name_servers().is_empty());
    script.answer(&decline, 0);
    assert_eq!(said(&script.question()).kind(), Kind::Solicit, "another one may be free");
}

/// RFC 4862 §5.5.4.
#[test]
fn addresses_grow_old_and_go() {
    let mut script = Script::given(None);
    script.wait(SECOND);
    let address = IpAddr::V6(GIVEN);
    let preferred = |is_preferred| Change::SetPreferred { interface: script.link, address, is_preferred };
    let [old, new] = [false, true].map(preferred);
    script.changes();
    // Nobody answers.
    while !script.changes().contains(&old) {
        script.question();
    }
    assert!(script.owns(GIVEN));
    let rebind = script.question();
    script.answer(&rebind, 600);
    assert!(script.changes().contains(&new), "it is young again");
    script.wait(2_000 * SECOND);
    assert!(!script.owns(GIVEN));
    assert!(
        script
            .changes()
            .iter()
            .any(|change| matches!(change, Change::RemoveAddress { address, .. } if *address == GIVEN))
    );
    assert!(script.stack.name_servers().is_empty());
}

/// What is old from the beginning is never chosen.
#[test]
fn an_old_address_is_not_preferred() {
    let mut script = started(Some(Mode::Stateful));
    let solicit = script.question();
    script.answer(&solicit, 0);
    script.wait(SECOND);
    assert!(script.owns(GIVEN));
    let interface = script.stack.interface(script.link).expect("it is there");
    assert!(!interface.is_preferred(GIVEN.into()));
}

#[test]
fn all_is_given_back_at_the_end() {
    let mut script = Script::given(None);
    script.wait(SECOND);
    script.sent();
    assert!(script.stack.leave(script.now), "it waits for the answer");
    assert!(!script.owns(GIVEN), "it must not be used any more");
    let release = script.question();
    assert_eq!(said(&release).kind(), Kind::Release);
    assert!(script.stack.leave(script.now) && script.sent().is_empty(), "once");
    script.answer(&release, 0);
    assert!(!script.stack.leave(script.now));
    // Without an answer not for long.
    let mut script = Script::given(None);
    assert!(script.stack.leave(script.now));
    script.wait(SECOND);
    assert!(!script.stack.leave(script.now));
    // Routers do not make it begin anew.
    script.sent();
    script.answer(&release, 0);
    script.wait(60 * SECOND);
    script.sent();
    script.advertise(managed(true), &[]);
    assert!(script.is_silent(10 * SECOND));
}

#[test]
fn an_address_that_was_there_before_stays() {
    let mut script = started(Some(Mode::Stateful));
    let address = Prefix::new(GIVEN, 64).expect("128 bits");
    let change = Change::AddAddress { interface: script.link, address };
    script.stack.apply(script.now, &change).expect("it is a station's");
    let solicit = script.question();
    script.answer(&solicit, 600);
    script.stack.stop_dhcpv6(script.now, script.link);
    assert!(script.owns(GIVEN));
}

#[test]
fn an_interface_that_is_taken_down_has_nothing_left() {
    let mut script = Script::given(None);
    script.wait(SECOND);
    script.stack.take_down(script.now, script.link);
    assert!(!script.owns(GIVEN) && script.stack.name_servers().is_empty());
    assert_eq!(script.stack.dhcpv6_state(script.link), State::Stopped);
}

/// What is for another port, another interface's, or all stations, is none of the client's.
#[test]
fn other_datagrams_are_none_of_its_own() {
    let mut script = started(Some(Mode::Stateful));
    let solicit = script.question();
    let payload = answer(&solicit, 600);
    script.server_says(ALL_NODES, &payload);
    script.ip_v6(&Ipv6Header::new(IpProtocol::UDP, PEER_LOCAL, solicit.ip_v6().src()), &udp(547, 547, &payload));
    assert!(script.stack.dhcpv6_lease(script.link).is_none());
    script.server_says(solicit.ip_v6().src(), &payload[..payload.len() - 1]);
    assert_eq!(script.dropped(DropReason::Dhcpv6Malformed), 1);
    script.server_says(solicit.ip_v6().src(), &payload);
    assert!(script.stack.dhcpv6_lease(script.link).is_some());
    assert!(script.stack.stop_dhcpv6(script.now, script.link));
    let lo = crate::interface::InterfaceId::LOOPBACK;
    let outcome = script.stack.start_dhcpv6(script.now, lo, None, options());
    assert_eq!((outcome, script.stack.stop_dhcpv6(script.now, lo)), (Err(ConfigError::NoInterface), false));
}
