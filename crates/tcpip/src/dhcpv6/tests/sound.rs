//! What a client does not fall for, and how often it asks.

use core::time::Duration;

use sunstar_wire::dhcpv6::{Code, Kind, Writer};

use super::script::*;
use crate::dhcpv6::{MAX_ADDRESSES, Mode, State, duid_of_host, duid_of_link, iaid};
use crate::time::Instant;

/// The waits between messages, in milliseconds.
fn waits(script: &Script) -> Vec<u128> {
    script.sent.windows(2).map(|pair| (pair[1].at - pair[0].at).as_millis()).collect()
}

/// RFC 8415 §15, §18.2.1.
#[test]
fn solicitations_are_repeated_ever_more_seldom() {
    for seed in 0..50 {
        let mut script = Script::with(Mode::Stateful, seed, options());
        let begun_at = script.now;
        script.wait_s(40_000);
        assert!(script.sent[0].at - begun_at <= Duration::from_secs(1));
        let waits = waits(&script);
        assert!((1_000..=1_100).contains(&waits[0]), "never sooner than a second: {waits:?}");
        for pair in waits[..10].windows(2) {
            assert!((pair[0] * 19 / 10 - 2..=pair[0] * 21 / 10 + 2).contains(&pair[1]), "{waits:?}");
        }
        assert!(waits.last().is_some_and(|last| (3_240_000..=3_960_000).contains(last)), "{waits:?}");
        let elapsed = |at: usize| script.sent[at].option(Code::ELAPSED_TIME).expect("it says so").to_vec();
        let hundredths = u16::try_from((waits[0] + waits[1]) / 10).expect("short");
        assert!(elapsed(2) == hundredths.to_be_bytes() || elapsed(2) == (hundredths + 1).to_be_bytes());
        assert_eq!(elapsed(15), [0xff; 2]);
    }
}

/// §18.2.2, §18.2.4, §18.2.5.
#[test]
fn other_questions_have_times_of_their_own() {
    let mut script = Script::new(Mode::Stateful);
    let solicit = script.sent_one();
    let mut offer = answer(&solicit, Kind::Advertise);
    add(&mut offer, Code::PREFERENCE, &[255]);
    script.take(&offer);
    script.wait_s(400);
    script.sent.retain(|sent| sent.kind() == Kind::Request);
    let asked = waits(&script);
    assert!((900..=1_100).contains(&asked[0]) && (27_000..=33_000).contains(&asked[8]), "{asked:?}");

    let mut script = Script::new(Mode::Stateful);
    let solicit = script.sent_one();
    let mut reply = bare(&solicit, Kind::Reply, &SERVER);
    give(&mut reply, (1_000, 10_000), &[(GIVEN, (20_000, 20_000))], None);
    add(&mut reply, Code::RAPID_COMMIT, &[]);
    script.take(&reply);
    script.wait_s(19_000);
    for kind in [Kind::Renew, Kind::Rebind] {
        let all = std::mem::take(&mut script.sent);
        let (some, rest) = all.into_iter().partition(|sent| sent.kind() == kind);
        script.sent = some;
        let asked = waits(&script);
        assert!((9_000..=11_000).contains(&asked[0]), "{asked:?}");
        assert!(asked.last().is_some_and(|last| (540_000..=660_000).contains(last)), "{asked:?}");
        script.sent = rest;
    }
}

/// §21.24, §21.25: also of answers that give nothing.
#[test]
fn servers_say_how_seldom_they_want_to_be_asked() {
    for (said, at_most) in [(60_u32, 66_000), (59, 3_960_000), (86_401, 3_960_000)] {
        let mut script = Script::new(Mode::Stateful);
        let solicit = script.sent_one();
        let mut nothing = bare(&solicit, Kind::Advertise, &SERVER);
        add(&mut nothing, Code::SOL_MAX_RT, &said.to_be_bytes());
        add(&mut nothing, Code::STATUS_CODE, &[0, 2]);
        script.take(&nothing);
        script.wait_s(40_000);
        let longest = waits(&script).into_iter().max().expect("it goes on");
        assert!((at_most * 9 / 11..=at_most).contains(&longest), "{said}: {longest}");
        assert_eq!(script.client.counters().refused, 1);
    }
    let mut script = Script::new(Mode::Stateless);
    let question = script.sent_one();
    let mut refusal = bare(&question, Kind::Reply, &SERVER);
    add(&mut refusal, Code::INF_MAX_RT, &[0, 0, 0, 60]);
    add(&mut refusal, Code::STATUS_CODE, &[0, 1]);
    script.take(&refusal);
    script.wait_s(10_000);
    assert!(waits(&script).into_iter().max().is_some_and(|longest| longest <= 66_000));
    assert_eq!(script.client.state(), State::Informing);
}

#[test]
fn replies_to_others_are_not_heard() {
    let mut script = Script::new(Mode::Stateful);
    let solicit = script.sent_one();
    let id = solicit.message().transaction_id();
    let rapid = |id: u32, client: Option<&[u8]>, server: Option<&[u8]>| {
        let mut message = Writer::new(Kind::Reply, id);
        client.into_iter().for_each(|duid| add(&mut message, Code::CLIENT_ID, duid));
        server.into_iter().for_each(|duid| add(&mut message, Code::SERVER_ID, duid));
        give(&mut message, (T1, T2), &[(GIVEN, (PREFERRED, VALID))], None);
        add(&mut message, Code::RAPID_COMMIT, &[]);
        message
    };
    for message in [
        rapid(id ^ 1, Some(&DUID), Some(&SERVER)),
        rapid(id, Some(&SERVER), Some(&SERVER)),
        rapid(id, None, Some(&SERVER)),
        rapid(id, Some(&DUID), None),
        rapid(id, Some(&DUID), Some(&[7; 131])),
    ] {
        script.take(&message);
    }
    assert_eq!((script.has.is_none(), script.client.counters().ignored), (true, 5));
    script.take(&rapid(id, Some(&DUID), Some(&SERVER)));
    assert_eq!(script.addresses(), [GIVEN]);
    // What nobody has asked for, whoever says it, and what servers alone are told.
    for kind in [Kind::Reply, Kind::Advertise, Kind::Reconfigure, Kind::Solicit] {
        script.answer(&solicit, kind);
    }
    assert_eq!((script.client.counters().ignored, script.client.counters().received), (9, 1));
}

/// Only the server that was asked may answer, until any is.
#[test]
fn answers_of_other_servers_are_not_heard() {
    let mut script = Script::new(Mode::Stateful);
    let solicit = script.sent_one();
    script.answer(&solicit, Kind::Advertise);
    let request = script.next_sent();
    script.take(&answer_of(&request, Kind::Reply, &OTHER_SERVER));
    assert!(script.has.is_none());
    script.answer(&request, Kind::Reply);
    script.wait_s(T1.into());
    let renew = script.last();
    script.take(&answer_of(&renew, Kind::Reply, &OTHER_SERVER));
    assert_eq!(script.client.state(), State::Renewing);
}

#[test]
fn addresses_that_no_host_can_have_are_left_out() {
    let bad = ["::", "::1", "fe80::1", "ff02::1", "::ffff:192.0.2.1"].map(|text| text.parse().expect("an address"));
    let mut script = Script::new(Mode::Stateful);
    let solicit = script.sent_one();
    let mut reply = bare(&solicit, Kind::Reply, &SERVER);
    give(&mut reply, (T1, T2), &bad.map(|address| (address, (PREFERRED, VALID))), None);
    add(&mut reply, Code::RAPID_COMMIT, &[]);
    script.take(&reply);
    assert_eq!((script.has.is_none(), script.client.counters().refused), (true, 1));
    let many: Vec<_> =
        (0..20).map(|low| (core::net::Ipv6Addr::from_bits(GIVEN.to_bits() + low / 2), (10, 20))).collect();
    let mut reply = bare(&solicit, Kind::Reply, &SERVER);
    give(&mut reply, (T1, T2), &many, None);
    add(&mut reply, Code::RAPID_COMMIT, &[]);
    script.take(&reply);
    assert_eq!(script.addresses().len(), MAX_ADDRESSES, "each once, and not more");
}

/// A server that is busy is asked again when it is time, and not before.
#[test]
fn failures_change_nothing() {
    let mut script = Script::bound();
    script.wait_s(T1.into());
    let renew = script.last();
    let mut failure = bare(&renew, Kind::Reply, &SERVER);
    add(&mut failure, Code::STATUS_CODE, &[0, 1]);
    script.take(&failure);
    assert_eq!((script.client.state(), script.sent.len()), (State::Renewing, 0));
    script.answer(&renew, Kind::Reply);
    assert_eq!(script.client.state(), State::Bound);
}

/// A neighbour who says that each address is his, or a server that gives addresses for a moment, does not make it ask all the time.
#[test]
fn who_spoils_everything_is_asked_ever_more_seldom() {
    let mut script = Script::new(Mode::Stateful);
    let mut last = Instant::default();
    let mut pauses = Vec::new();
    for _ in 0..10 {
        let solicit = script.last();
        pauses.push((solicit.at - last).as_secs());
        last = solicit.at;
        script.sent.push(solicit);
        script.bind();
        script.client.handle_conflict(script.now, GIVEN);
        script.tick();
        let decline = script.last();
        script.take(&bare(&decline, Kind::Reply, &SERVER));
        while script.sent.is_empty() {
            script.wait(Duration::from_millis(100));
        }
    }
    assert!(pauses[9] >= 57, "{pauses:?}");
}

/// §21.4: never, if that is what the server says.
#[test]
fn what_is_given_for_ever_is_not_asked_for_again() {
    let mut script = Script::new(Mode::Stateful);
    let solicit = script.sent_one();
    let mut reply = bare(&solicit, Kind::Reply, &SERVER);
    give(&mut reply, (0, 0), &[(GIVEN, (u32::MAX, u32::MAX))], None);
    add(&mut reply, Code::RAPID_COMMIT, &[]);
    script.take(&reply);
    assert_eq!((script.addresses(), script.client.deadline()), (vec![GIVEN], None));
}

/// RFC 8415 §11, §12, RFC 6355: the same each time, and nothing of what it is made of.
#[test]
fn identities_are_stable_and_differ() {
    let mac = |last| sunstar_wire::MacAddr([2, 0, 0, 0, 0, last]);
    let duid = duid_of_host([7; 16]);
    assert_eq!((duid.len(), &duid[..2], duid[8] >> 4, duid[10] >> 6), (18, &[0, 4][..], 8, 2));
    assert_eq!(duid, duid_of_host([7; 16]));
    assert_ne!(duid, duid_of_host([8; 16]));
    assert!(!duid.windows(4).any(|bytes| bytes == [7; 4]));
    assert_eq!(duid_of_link(mac(7)), DUID);
    let all = [iaid(mac(1), 0), iaid(mac(2), 0), iaid(mac(1), 1), iaid(mac(1), 4_094), iaid(mac(2), 1)];
    assert!((0..5).all(|at| !all[..at].contains(&all[at])), "{all:?}");
}
