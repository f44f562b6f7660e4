//! RFC 2131 §3, §4.4, step by step.

use core::net::Ipv4Addr;
use core::time::Duration;

use sunstar_wire::dhcpv4::{Code, Kind};

use super::script::*;
use crate::dhcpv4::{Client, Options, State};
use crate::prefix::Prefix;

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const ALL: Ipv4Addr = Ipv4Addr::BROADCAST;

/// RFC 2131 §3.1, §4.4.1.
#[test]
fn from_discover_to_bound() {
    let mut script = Script::new();
    let discover = script.sent_one();
    let message = discover.message();
    assert_eq!((discover.from, discover.to, discover.kind()), (ANY, ALL, Kind::Discover));
    assert_eq!((message.header().chaddr, message.header().is_reply), (MAC, false));
    assert!(message.bytes_of(Code::CLIENT_ID).eq([1, 2, 0, 0, 0, 0, 7]));
    let asked: Vec<u8> = message.bytes_of(Code::PARAMETER_LIST).collect();
    let place = |code: Code| asked.iter().position(|other| *other == code.0).expect("it is asked for");
    assert!(place(Code::CLASSLESS_ROUTES) < place(Code::ROUTERS), "RFC 3442");
    assert_eq!(message.fixed_option(Code::MAX_MESSAGE_SIZE), Some(1_500_u16.to_be_bytes()));

    script.answer(&discover, Kind::Offer);
    let request = script.sent_one();
    assert_eq!((request.from, request.to, request.kind()), (ANY, ALL, Kind::Request));
    assert_eq!(request.message().header().xid, message.header().xid);
    assert_eq!(request.message().header().ciaddr, ANY);
    assert_eq!(request.address(Code::REQUESTED_ADDRESS), Some(GIVEN));
    assert_eq!(request.address(Code::SERVER_ID), Some(SERVER));

    script.answer(&request, Kind::Ack);
    assert_eq!((script.client.state(), script.has.is_none()), (State::Probing, true));
    script.wait_s(2);
    assert_eq!(script.probes.iter().map(|(_, address)| *address).collect::<Vec<_>>(), [GIVEN; 3]);
    assert_eq!(script.client.state(), State::Bound);
    let lease = script.has.as_ref().expect("it is bound");
    assert_eq!((lease.address, lease.server), (Prefix::new(GIVEN, 24).expect("32 bits"), SERVER));
    assert_eq!(lease.routes, [(Prefix::ALL_V4, Some(SERVER))]);
    assert!(script.sent.is_empty());
}

/// RFC 2131 §4.1: 4 s, 8 s, up to 64 s, each give or take one.
#[test]
fn questions_are_repeated_ever_more_seldom() {
    let mut script = Script::new();
    let mut before = script.now;
    let xid = script.sent_one().message().header().xid;
    for seconds in [4, 8, 16, 32, 64, 64] {
        let due = script.client.deadline().expect("it goes on");
        let (least, most) = (Duration::from_secs(seconds - 1), Duration::from_secs(seconds + 1));
        assert!((least..=most).contains(&(due - before)), "{:?} instead of {seconds} s", due - before);
        script.wait(due - script.now);
        let again = script.sent_one();
        assert_eq!((again.kind(), again.message().header().xid), (Kind::Discover, xid));
        assert_eq!(
            u64::from(again.message().header().secs),
            (due - crate::time::Instant::from_micros(5_000_000)).as_secs()
        );
        before = due;
    }
}

/// RFC 2131 §4.4.5: from T1 on its server, from T2 on any, and the lease lasts as long as it was said, to the microsecond.
#[test]
fn a_lease_that_nobody_prolongs_ends_to_the_second() {
    let mut script = Script::new();
    let discover = script.sent_one();
    script.wait_s(1);
    script.answer(&discover, Kind::Offer);
    let (request, begun) = (script.sent_one(), script.now);
    script.wait_s(2);
    script.answer(&request, Kind::Ack);
    let at = |seconds: u64| begun + Duration::from_secs(seconds);
    script.wait(at(499) - script.now);
    assert_eq!((script.client.state(), script.sent.len()), (State::Bound, 0));
    script.wait_s(1);
    let renew = script.sent_one();
    assert_eq!((script.client.state(), renew.from, renew.to), (State::Renewing, GIVEN, SERVER));
    assert_eq!((renew.kind(), renew.message().header().ciaddr), (Kind::Request, GIVEN));
    assert_eq!((renew.address(Code::SERVER_ID), renew.address(Code::REQUESTED_ADDRESS)), (None, None));
    script.wait(at(874) - script.now);
    assert!((1..=5).contains(&script.sent.len()) && script.sent.iter().all(|sent| sent.to == SERVER));
    script.sent.clear();
    script.wait_s(1);
    let rebind = script.sent_one();
    assert_eq!((script.client.state(), rebind.from, rebind.to), (State::Rebinding, GIVEN, ALL));
    assert_eq!(script.client.expires_at(), Some(at(1_000)));
    script.wait(at(1_000) - script.now - Duration::from_micros(1));
    assert!(script.has.is_some());
    script.sent.clear();
    script.wait(Duration::from_micros(1));
    assert!(script.has.is_none());
    let discover = script.last();
    assert_eq!((discover.kind(), discover.address(Code::REQUESTED_ADDRESS)), (Kind::Discover, Some(GIVEN)));
    assert_eq!(script.client.counters().expired, 1);
}

#[test]
fn a_server_prolongs_the_lease() {
    let mut script = Script::bound();
    for _ in 0..5 {
        script.wait_s(600);
        let renew = script.last();
        let (asked, begun) = (script.client.state(), script.now);
        assert_eq!(asked, State::Renewing);
        script.wait_s(1);
        script.answer(&renew, Kind::Ack);
        assert_eq!(script.client.state(), State::Bound);
        let end = script.client.expires_at().expect("it ends");
        assert!(end > begun, "it counts from the question");
        assert!(end <= begun + Duration::from_secs(LEASE.into()));
    }
    assert_eq!((script.client.counters().leases, script.probes.len()), (6, 3));
}

/// An answer to an earlier question, if it were believed, would prolong the lease beyond what the server has in its books.
#[test]
fn late_answers_prolong_nothing() {
    let mut script = Script::bound();
    script.wait_s(500);
    let first = script.last();
    script.wait_s(200);
    assert!(!script.sent.is_empty(), "it has asked again");
    let end = script.client.expires_at();
    script.answer(&first, Kind::Ack);
    assert_eq!((script.client.state(), script.client.expires_at()), (State::Renewing, end));
}

#[test]
fn while_rebinding_any_server_will_do() {
    let mut script = Script::bound();
    script.wait_s(900);
    assert_eq!(script.client.state(), State::Rebinding);
    let rebind = script.last();
    let mut ack = bare(&rebind, Kind::Ack);
    add(&mut ack, Code::SERVER_ID, &OTHER_SERVER.octets());
    add(&mut ack, Code::LEASE_TIME, &LEASE.to_be_bytes());
    script.take(&ack);
    assert_eq!(
        (script.client.state(), script.has.as_ref().map(|lease| lease.server)),
        (State::Bound, Some(OTHER_SERVER))
    );
}

/// RFC 2131 §4.4.5, §3.1: a refusal ends the lease at once.
#[test]
fn a_nak_ends_it() {
    let mut script = Script::bound();
    script.wait_s(500);
    let renew = script.last();
    script.answer(&renew, Kind::Nak);
    assert!(script.has.is_none());
    let discover = script.sent_one();
    assert_eq!((discover.kind(), discover.address(Code::REQUESTED_ADDRESS)), (Kind::Discover, None));
    assert_ne!(discover.message().header().xid, renew.message().header().xid);
}

/// RFC 2131 §3.1, 5; RFC 5227 §2.1.1.
#[test]
fn an_address_in_use_is_declined() {
    let mut script = Script::new();
    let discover = script.sent_one();
    script.answer(&discover, Kind::Offer);
    let request = script.sent_one();
    script.answer(&request, Kind::Ack);
    script.client.handle_conflict(script.now, OTHER_SERVER);
    assert_eq!(script.client.state(), State::Probing, "it is another address");
    script.client.handle_conflict(script.now, GIVEN);
    script.tick();
    let decline = script.sent_one();
    assert_eq!((decline.kind(), decline.to, decline.message().header().ciaddr), (Kind::Decline, ALL, ANY));
    assert_eq!(decline.address(Code::REQUESTED_ADDRESS), Some(GIVEN));
    assert_eq!(decline.address(Code::SERVER_ID), Some(SERVER));
    assert_eq!(decline.message().options().count(), 4, "and nothing is asked for");
    assert!(script.has.is_none());
    script.wait_s(9);
    assert!(script.sent.is_empty());
    script.wait_s(2);
    let discover = script.sent_one();
    assert_eq!((discover.kind(), discover.address(Code::REQUESTED_ADDRESS)), (Kind::Discover, None));
}

/// RFC 2131 §4.4.2.
#[test]
fn the_address_of_before_is_asked_for_first() {
    let options = Options { previous: Some(GIVEN), mtu: 1_500, ..Options::default() };
    let mut script = Script::with(options.clone());
    let request = script.sent_one();
    assert_eq!((script.client.state(), request.kind(), request.to), (State::Rebooting, Kind::Request, ALL));
    assert_eq!((request.address(Code::SERVER_ID), request.address(Code::REQUESTED_ADDRESS)), (None, Some(GIVEN)));
    script.answer(&request, Kind::Ack);
    script.wait_s(2);
    assert!(script.has.is_some());

    // Who does not know it says no, or nothing.
    let mut script = Script::with(options.clone());
    let request = script.sent_one();
    script.answer(&request, Kind::Nak);
    assert_eq!(script.sent_one().kind(), Kind::Discover);
    let mut script = Script::with(options);
    script.wait_s(14);
    let kinds: Vec<Kind> = script.sent.iter().map(Sent::kind).collect();
    assert_eq!(kinds, [Kind::Request, Kind::Request, Kind::Discover]);
}

/// RFC 2131 §4.4.6.
#[test]
fn what_is_not_needed_is_given_back() {
    let mut script = Script::bound();
    script.client.stop(script.now);
    script.tick();
    let release = script.sent_one();
    assert_eq!((release.kind(), release.from, release.to), (Kind::Release, GIVEN, SERVER));
    assert_eq!((release.message().header().ciaddr, release.address(Code::SERVER_ID)), (GIVEN, Some(SERVER)));
    assert!(script.has.is_none());
    script.wait_s(10_000);
    assert_eq!((script.client.state(), script.sent.len()), (State::Stopped, 0));
    let mut script = Script::new();
    script.sent.clear();
    script.client.stop(script.now);
    script.wait_s(10_000);
    assert!(script.sent.is_empty(), "there was nothing to give back");
}

#[test]
fn who_we_are_can_be_said() {
    let client_id = Some(vec![0, 1, 2]);
    let host_name = Some("a-host".into());
    let script = Script::with(Options { client_id, host_name, asks_for_broadcast: true, ..Options::default() });
    let discover = &script.sent[0];
    assert!(discover.message().bytes_of(Code::CLIENT_ID).eq([0, 1, 2]));
    assert!(discover.message().bytes_of(Code::HOST_NAME).eq(*b"a-host"));
    assert!(discover.message().header().is_broadcast);
    assert_eq!(discover.message().fixed_option(Code::MAX_MESSAGE_SIZE), Some(576_u16.to_be_bytes()));
    let long =
        Options { client_id: Some(vec![7; 1_000]), host_name: Some("x".repeat(1_000).into()), ..Options::default() };
    assert_eq!(Script::with(long).sent[0].message().bytes_of(Code::HOST_NAME).count(), 64);
}

/// RFC 2131 §3.3.
#[test]
fn some_leases_last_for_ever() {
    let mut script = Script::new();
    let discover = script.sent_one();
    let forever = |question: &Sent, kind| {
        let mut message = bare(question, kind);
        add(&mut message, Code::SERVER_ID, &SERVER.octets());
        add(&mut message, Code::LEASE_TIME, &[255; 4]);
        message
    };
    script.take(&forever(&discover, Kind::Offer));
    let request = script.sent_one();
    script.take(&forever(&request, Kind::Ack));
    script.wait_s(1_000_000_000);
    assert_eq!((script.client.state(), script.client.deadline(), script.sent.len()), (State::Bound, None, 0));
    assert_eq!(script.client.expires_at(), None);
}

#[test]
fn seeds_differ() {
    let xid = |seed| {
        let now = crate::time::Instant::from_micros(1);
        let mut client = Client::new(now, MAC, seed, Options::default());
        client.handle_timeout(now);
        let Some(crate::dhcpv4::Output::Send { message, .. }) = client.poll_output() else { panic!("it asks") };
        message.as_bytes()[4..8].to_vec()
    };
    assert_ne!(xid(1), xid(2));
    assert_eq!(xid(1), xid(1));
}
