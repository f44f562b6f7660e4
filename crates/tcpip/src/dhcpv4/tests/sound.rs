//! What is believed, and what is made of what servers say.

use core::net::Ipv4Addr;
use core::time::Duration;

use sunstar_wire::MacAddr;
use sunstar_wire::dhcpv4::{ClasslessRoute, Code, Kind, Writer};

use super::script::*;
use crate::dhcpv4::{Lease, MAX_ROUTES, State};
use crate::prefix::Prefix;

fn prefix(address: [u8; 4], len: u8) -> Prefix {
    Prefix::new(Ipv4Addr::from(address), len).expect("32 bits")
}

/// What a server with these options gives; they come behind what must be there.
fn given(options: &[(Code, &[u8])]) -> Option<Lease> {
    let script = Script::new();
    let mut message = bare(&script.sent[0], Kind::Ack);
    for (code, data) in [(Code::SERVER_ID, &SERVER.octets()[..]), (Code::LEASE_TIME, &[0, 0, 3, 232])] {
        if !options.iter().any(|(other, _)| *other == code) {
            add(&mut message, code, data);
        }
    }
    for (code, data) in options {
        add(&mut message, *code, data);
    }
    Lease::read(&sunstar_wire::dhcpv4::Message::parse(message.as_bytes()).expect("well formed"))
}

#[test]
fn answers_to_others_are_not_ours() {
    let mut script = Script::new();
    let discover = script.sent_one();
    let header = header(&discover, GIVEN);
    for wrong in [
        sunstar_wire::dhcpv4::Header { xid: header.xid ^ 1, ..header },
        sunstar_wire::dhcpv4::Header { chaddr: MacAddr([2, 0, 0, 0, 0, 8]), ..header },
        sunstar_wire::dhcpv4::Header { is_reply: false, ..header },
    ] {
        let mut offer = Writer::new(&wrong, Kind::Offer);
        add(&mut offer, Code::SERVER_ID, &SERVER.octets());
        add(&mut offer, Code::LEASE_TIME, &LEASE.to_be_bytes());
        script.take(&offer);
    }
    assert_eq!((script.client.state(), script.client.counters().ignored), (State::Selecting, 3));
}

#[test]
fn at_the_wrong_time_nothing_is_believed() {
    let mut script = Script::new();
    let discover = script.sent_one();
    for kind in [Kind::Ack, Kind::Nak, Kind::Discover, Kind::Inform] {
        script.answer(&discover, kind);
        assert_eq!(script.client.state(), State::Selecting);
    }
    script.answer(&discover, Kind::Offer);
    let request = script.sent_one();
    script.answer(&request, Kind::Offer);
    assert_eq!((script.client.state(), script.sent.len()), (State::Requesting, 0));
    script.answer(&request, Kind::Ack);
    script.answer(&request, Kind::Nak);
    assert_eq!(script.client.state(), State::Probing);
    script.wait_s(2);
    script.answer(&request, Kind::Nak);
    assert!(script.has.is_some());
}

/// Of the server that was chosen, and of no other one.
#[test]
fn other_servers_neither_give_nor_refuse() {
    let mut script = Script::new();
    let discover = script.sent_one();
    script.answer(&discover, Kind::Offer);
    let request = script.sent_one();
    for kind in [Kind::Ack, Kind::Nak] {
        let mut other = bare(&request, kind);
        add(&mut other, Code::SERVER_ID, &OTHER_SERVER.octets());
        add(&mut other, Code::LEASE_TIME, &LEASE.to_be_bytes());
        script.take(&other);
        assert_eq!(script.client.state(), State::Requesting);
    }
    let mut elsewhere = Writer::new(&header(&request, OTHER_SERVER), Kind::Ack);
    add(&mut elsewhere, Code::SERVER_ID, &SERVER.octets());
    add(&mut elsewhere, Code::LEASE_TIME, &LEASE.to_be_bytes());
    script.take(&elsewhere);
    assert_eq!(script.client.state(), State::Requesting, "it is another address");
    script.answer(&request, Kind::Ack);
    assert_eq!(script.client.state(), State::Probing);
}

/// One that offers and then is silent, or refuses, does not keep others out.
#[test]
fn a_server_whose_offers_come_to_nothing_is_passed_over() {
    let mut script = Script::new();
    let discover = script.sent_one();
    script.answer(&discover, Kind::Offer);
    script.wait_s(31);
    let kinds: Vec<Kind> = script.sent.iter().map(Sent::kind).collect();
    assert_eq!(kinds, [Kind::Request, Kind::Request, Kind::Request, Kind::Discover]);
    let discover = script.last();
    script.answer(&discover, Kind::Offer);
    assert_eq!(script.client.state(), State::Selecting);
    let mut other = bare(&discover, Kind::Offer);
    add(&mut other, Code::SERVER_ID, &OTHER_SERVER.octets());
    add(&mut other, Code::LEASE_TIME, &LEASE.to_be_bytes());
    script.take(&other);
    assert_eq!(script.sent_one().address(Code::SERVER_ID), Some(OTHER_SERVER));

    // If there is no other one, it is better than none.
    let mut script = Script::new();
    let discover = script.sent_one();
    script.answer(&discover, Kind::Offer);
    script.wait_s(31);
    script.wait_s(20);
    let discover = script.last();
    assert_eq!(discover.kind(), Kind::Discover);
    script.answer(&discover, Kind::Offer);
    assert_eq!(script.client.state(), State::Requesting);
}

/// However fast a server is with its refusals.
#[test]
fn refusals_do_not_make_us_ask_often() {
    let mut script = Script::new();
    let mut messages = 0;
    for _ in 0..3_600 {
        for sent in core::mem::take(&mut script.sent) {
            messages += 1;
            let kind = if sent.kind() == Kind::Discover { Kind::Offer } else { Kind::Nak };
            script.answer(&sent, kind);
        }
        script.wait_s(1);
    }
    assert!((20..200).contains(&messages), "{messages} in an hour");
}

/// Nor with its leases.
#[test]
fn short_leases_do_not_make_us_ask_often() {
    let mut script = Script::new();
    let mut messages = 0;
    for _ in 0..36_000 {
        for sent in core::mem::take(&mut script.sent) {
            messages += 1;
            let kind = if sent.kind() == Kind::Discover { Kind::Offer } else { Kind::Ack };
            let mut message = bare(&sent, kind);
            add(&mut message, Code::SERVER_ID, &SERVER.octets());
            add(&mut message, Code::LEASE_TIME, &1_u32.to_be_bytes());
            if sent.message().header().ciaddr.is_unspecified() {
                script.take(&message);
            }
        }
        script.wait(Duration::from_millis(100));
    }
    assert!((60..600).contains(&messages), "{messages} in an hour");
}

#[test]
fn what_no_host_can_use_is_no_lease() {
    assert!(given(&[]).is_some());
    let none: [&[(Code, &[u8])]; 9] = [
        &[(Code::LEASE_TIME, &[0; 4])],
        &[(Code::LEASE_TIME, &[0, 0, 1])],
        &[(Code::SERVER_ID, &[0; 4])],
        &[(Code::SERVER_ID, &[255; 4])],
        &[(Code::SERVER_ID, &[1, 2])],
        &[(Code::SUBNET_MASK, &[255, 0, 255, 0])],
        &[(Code::SUBNET_MASK, &[0; 4])],
        // The network itself, and all of its stations.
        &[(Code::SUBNET_MASK, &[255, 255, 255, 254]), (Code::SERVER_ID, &[127, 0, 0, 1])],
        &[(Code::SUBNET_MASK, &[255, 255, 255, 254]), (Code::LEASE_TIME, &[])],
    ];
    for options in none {
        assert_eq!(given(options), None, "{options:?}");
    }
    let script = Script::new();
    for address in [[0; 4], [255; 4], [224, 0, 0, 1], [127, 0, 0, 1], [192, 0, 2, 0], [192, 0, 2, 255], [0, 1, 2, 3]] {
        let mut message = Writer::new(&header(&script.sent[0], address.into()), Kind::Offer);
        add(&mut message, Code::SERVER_ID, &SERVER.octets());
        add(&mut message, Code::LEASE_TIME, &LEASE.to_be_bytes());
        let message = sunstar_wire::dhcpv4::Message::parse(message.as_bytes()).expect("well formed");
        assert_eq!(Lease::read(&message), None, "{address:?}");
    }
}

/// RFC 791 §2.3, where nothing is said of the network.
#[test]
fn masks() {
    assert_eq!(given(&[]).expect("sound").address.len(), 24);
    for (mask, len) in [([255, 255, 0, 0], 16), ([255, 255, 255, 255], 32), ([128, 0, 0, 0], 1)] {
        assert_eq!(given(&[(Code::SUBNET_MASK, &mask)]).expect("sound").address.len(), len);
    }
}

#[test]
fn times_make_sense() {
    let times = |renew: u32, rebind: u32| {
        let lease = given(&[(Code::RENEWAL_TIME, &renew.to_be_bytes()), (Code::REBINDING_TIME, &rebind.to_be_bytes())]);
        let lease = lease.expect("sound");
        (lease.renew.expect("it ends").as_secs(), lease.rebind.expect("it ends").as_secs())
    };
    assert_eq!(times(100, 200), (100, 200));
    assert_eq!(times(0, 0), (500, 875));
    assert_eq!(times(500, 1_000), (500, 875));
    assert_eq!(times(900, 100), (50, 100));
    assert_eq!(times(u32::MAX, u32::MAX), (437, 875));
    let lease = given(&[(Code::LEASE_TIME, &[0, 0, 0, 1])]).expect("sound");
    assert!(lease.renew < lease.rebind && lease.rebind < lease.duration);
}

/// RFC 3442, RFC 2132 §3.5.
#[test]
fn routes() {
    let router = [192, 0, 2, 1];
    let default = (Prefix::ALL_V4, Some(Ipv4Addr::from(router)));
    let of = |options: &[(Code, &[u8])]| given(options).expect("sound").routes;
    assert_eq!(of(&[(Code::ROUTERS, &[0, 0, 0, 0, 192, 0, 2, 1, 192, 0, 2, 9])]), [default]);
    assert_eq!(of(&[(Code::ROUTERS, &GIVEN.octets())]), [], "it is we");
    let own_network = [(Code::SUBNET_MASK, &[255; 4][..]), (Code::ROUTERS, &router)];
    assert_eq!(of(&own_network), [(prefix(router, 32), None), default]);
    let classless = [24, 10, 0, 0, 192, 0, 2, 1, 16, 10, 1, 0, 0, 0, 0, 0, 192, 0, 2, 1];
    assert_eq!(
        of(&[(Code::ROUTERS, &[192, 0, 2, 9]), (Code::CLASSLESS_ROUTES, &classless)]),
        [(prefix([10, 0, 0, 0], 24), default.1), (prefix([10, 1, 0, 0], 16), None), default]
    );
    let many = [0, 192, 0, 2, 1].repeat(100);
    assert_eq!(
        of(&[(Code::CLASSLESS_ROUTES, &many[..50]), (Code::CLASSLESS_ROUTES, &many[50..250])]).len(),
        MAX_ROUTES
    );
    let (bytes, len) = ClasslessRoute { network: [10; 4].into(), prefix_len: 8, router: [224; 4].into() }.to_bytes();
    assert_eq!(of(&[(Code::CLASSLESS_ROUTES, &bytes[..len])]), [], "nobody can be there");
}

#[test]
fn servers_domains_and_mtu() {
    let lease = given(&[
        (Code::NAME_SERVERS, &[192, 0, 2, 1, 0, 0, 0, 0, 127, 0, 0, 1, 255, 255, 255, 255]),
        (Code::DOMAIN_NAME, b"Example.ORG.\0"),
        (Code::MTU, &[5, 0]),
    ]);
    let lease = lease.expect("sound");
    assert_eq!(lease.name_servers, [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::LOCALHOST]);
    assert_eq!((lease.search_domains, lease.mtu), (vec!["example.org".into()], Some(1_280)));
    let many: Vec<u8> = (1..100).flat_map(|last| [192, 0, 2, last]).collect();
    assert_eq!(given(&[(Code::NAME_SERVERS, &many[..240])]).expect("sound").name_servers.len(), 8);
    assert_eq!(given(&[(Code::MTU, &[0, 0])]).expect("sound").mtu, None);
}

/// RFC 3397 §3, with its own example: names are compressed, and the option may be split anywhere.
#[test]
fn search_lists() {
    let list = b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04";
    let domains = |list: &[u8]| {
        given(&[(Code::DOMAIN_NAME, b"else"), (Code::DOMAIN_SEARCH, list)]).expect("sound").search_domains
    };
    assert_eq!(domains(list), ["eng.apple.com".into(), "marketing.apple.com".into()]);
    let split = given(&[(Code::DOMAIN_SEARCH, &list[..9]), (Code::DOMAIN_SEARCH, &list[9..])]).expect("sound");
    assert_eq!(split.search_domains.len(), 2);
    for hostile in [
        &b"\xc0\x00"[..],
        b"\x01a\xc0\x02",
        b"\x01a\xc0\x00",
        b"\x05ab",
        b"\x40a\x00",
        b"\x01\n\x00",
        b"\x01.\x00",
        &b"\x3f".repeat(200),
    ] {
        assert_eq!(domains(hostile), ["else".into()], "{hostile:?}");
    }
    assert_eq!(domains(&b"\x01a\x00".repeat(80)).len(), 8);
    assert_eq!(given(&[(Code::DOMAIN_NAME, b"a..b")]).expect("sound").search_domains, []);
    assert_eq!(given(&[(Code::DOMAIN_NAME, b"")]).expect("sound").search_domains, []);
}
