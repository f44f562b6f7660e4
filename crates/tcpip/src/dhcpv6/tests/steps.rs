//! What a client does, step by step (RFC 8415 §18.2).

use core::net::IpAddr;
use core::time::Duration;

use sunstar_wire::dhcpv6::{Code, Kind};

use super::script::*;
use crate::dhcpv6::{Mode, Options, State};

#[test]
fn addresses_are_offered_asked_for_and_given() {
    let mut script = Script::with(Mode::Stateful, 3, Options { hints: vec![OTHER], ..options() });
    assert_eq!((script.client.state(), script.sent.len()), (State::Init, 0), "not at once");
    let solicit = script.next_sent();
    assert_eq!((solicit.kind(), solicit.addresses()), (Kind::Solicit, vec![OTHER]));
    assert_eq!(solicit.option(Code::CLIENT_ID), Some(&DUID[..]));
    assert_eq!(solicit.option(Code::ELAPSED_TIME), Some(&[0, 0][..]));
    assert_eq!(solicit.option(Code::OPTION_REQUEST), Some(&[0, 23, 0, 24, 0, 82][..]));
    assert_eq!((solicit.option(Code::RAPID_COMMIT), solicit.option(Code::SERVER_ID)), (Some(&[][..]), None));
    script.answer(&solicit, Kind::Advertise);
    assert_eq!((script.client.state(), script.sent.len()), (State::Soliciting, 0), "others may offer more");
    let request = script.next_sent();
    assert_eq!((request.kind(), request.addresses()), (Kind::Request, vec![GIVEN]));
    assert_eq!(request.option(Code::SERVER_ID), Some(&SERVER[..]));
    assert_eq!(request.option(Code::RAPID_COMMIT), None);
    assert_ne!(request.message().transaction_id(), solicit.message().transaction_id());
    script.wait(Duration::from_millis(500));
    script.answer(&request, Kind::Reply);
    assert_eq!((script.client.state(), script.addresses()), (State::Bound, vec![GIVEN]));
    let lease = script.has.expect("it is bound");
    let end = |seconds: u32| Some(request.at + Duration::from_secs(seconds.into()));
    assert_eq!(lease.addresses[0].preferred_until, end(PREFERRED), "from when they were asked for");
    assert_eq!((lease.addresses[0].valid_until, lease.addresses[0].is_preferred), (end(VALID), true));
    assert_eq!(lease.name_servers, [IpAddr::V6(OTHER)]);
    assert_eq!(lease.search_domains, ["example.org".into()]);
}

#[test]
fn a_rapid_answer_is_enough_and_counts_only_if_it_says_so() {
    let mut script = Script::new(Mode::Stateful);
    let solicit = script.sent_one();
    script.answer(&solicit, Kind::Reply);
    assert_eq!((script.has.is_none(), script.client.counters().ignored), (true, 1));
    script.sent.push(solicit);
    script.bind();
    assert_eq!((script.addresses(), script.client.counters().sent), (vec![GIVEN], 1));
}

/// §18.2.9.
#[test]
fn the_server_that_wants_it_most_is_chosen() {
    let mut script = Script::new(Mode::Stateful);
    let solicit = script.sent_one();
    for (server, preference) in [([9; 10], 3), (SERVER, 7), (OTHER_SERVER, 7)] {
        let mut offer = answer_of(&solicit, Kind::Advertise, &server);
        add(&mut offer, Code::PREFERENCE, &[preference]);
        script.take(&offer);
    }
    let request = script.next_sent();
    assert_eq!(request.option(Code::SERVER_ID), Some(&SERVER[..]), "of two the first one");
    // Who gives nothing in the end is passed over.
    let mut refusal = bare(&request, Kind::Reply, &SERVER);
    give(&mut refusal, (0, 0), &[], Some(2));
    script.take(&refusal);
    assert_eq!(script.sent_one().option(Code::SERVER_ID), Some(&OTHER_SERVER[..]));
    // As is who does not answer: §18.2.2, ten times in some two minutes.
    script.wait_s(400);
    let asked: Vec<_> = script.sent.iter().map(|sent| (sent.kind(), sent.option(Code::SERVER_ID))).collect();
    assert_eq!(asked.iter().filter(|asked| **asked == (Kind::Request, Some(&OTHER_SERVER[..]))).count(), 9);
    assert_eq!(asked.iter().filter(|asked| **asked == (Kind::Request, Some(&[9; 10][..]))).count(), 10);
    assert_eq!(asked.last().expect("it goes on").0, Kind::Solicit);
}

#[test]
fn the_first_choice_is_taken_at_once_and_late_offers_too() {
    let mut script = Script::new(Mode::Stateful);
    let solicit = script.sent_one();
    let mut offer = answer(&solicit, Kind::Advertise);
    add(&mut offer, Code::PREFERENCE, &[255]);
    script.take(&offer);
    assert_eq!(script.sent_one().kind(), Kind::Request);

    let mut script = Script::new(Mode::Stateful);
    script.wait_s(10);
    let solicit = script.last();
    script.answer(&solicit, Kind::Advertise);
    assert_eq!(script.sent_one().kind(), Kind::Request);
}

/// §18.2.4, §18.2.5.
#[test]
fn the_server_is_asked_then_any() {
    let mut script = Script::bound();
    script.wait_s(u64::from(T1) - 1);
    assert_eq!(script.sent.len(), 0);
    script.wait_s(2);
    let renew = script.sent_one();
    assert_eq!((renew.kind(), renew.addresses()), (Kind::Renew, vec![GIVEN]));
    assert_eq!(renew.option(Code::SERVER_ID), Some(&SERVER[..]));
    script.wait_s(u64::from(T2 - T1));
    let rebind = script.last();
    assert_eq!((rebind.kind(), rebind.addresses(), rebind.option(Code::SERVER_ID)), (Kind::Rebind, vec![GIVEN], None));
    assert_eq!(script.client.state(), State::Rebinding);
    let other = answer_of(&rebind, Kind::Reply, &OTHER_SERVER);
    script.take(&other);
    assert_eq!((script.client.state(), script.client.counters().leases), (State::Bound, 2));
    script.wait_s(u64::from(T1));
    assert_eq!(script.last().option(Code::SERVER_ID), Some(&OTHER_SERVER[..]));
}

#[test]
fn without_an_answer_addresses_grow_old_and_go_and_all_begins_anew() {
    let mut script = Script::bound();
    let bound_at = script.now;
    script.wait_s(u64::from(PREFERRED) - 2);
    assert!(script.has.as_ref().is_some_and(|lease| lease.addresses[0].is_preferred));
    script.wait_s(3);
    assert!(script.has.as_ref().is_some_and(|lease| !lease.addresses[0].is_preferred));
    script.wait(bound_at + Duration::from_secs(u64::from(VALID) - 2) - script.now);
    assert_eq!(script.addresses(), [GIVEN]);
    script.wait_s(3);
    assert_eq!((script.has.is_none(), script.client.counters().expired), (true, 1));
    let solicit = script.last();
    assert_eq!((solicit.kind(), solicit.addresses()), (Kind::Solicit, vec![GIVEN]), "the same would be nice");
}

/// §18.2.10.1.
#[test]
fn a_renewal_changes_what_it_mentions() {
    let mut script = Script::bound();
    script.wait_s(T1.into());
    let renew = script.last();
    let mut reply = bare(&renew, Kind::Reply, &SERVER);
    give(&mut reply, (T1, T2), &[(OTHER, (PREFERRED, VALID))], None);
    script.take(&reply);
    assert_eq!(script.addresses(), [OTHER, GIVEN], "the old one as long as it lasts");
    script.wait_s(T1.into());
    let renew = script.last();
    assert_eq!(renew.addresses(), [OTHER, GIVEN]);
    let mut reply = bare(&renew, Kind::Reply, &SERVER);
    give(&mut reply, (0, 0), &[(OTHER, (PREFERRED, VALID)), (GIVEN, (0, 0))], None);
    script.take(&reply);
    assert_eq!(script.addresses(), [OTHER]);
    // T1 and T2 are the client's now: half and four fifths of 600.
    script.wait_s(298);
    assert_eq!(script.sent.len(), 0);
    script.wait_s(3);
    assert_eq!(script.last().kind(), Kind::Renew);
    script.wait_s(180);
    assert_eq!(script.last().kind(), Kind::Rebind);
}

/// §18.2.10.1, §21.4: what is kept though an answer gives nothing is renewed in time.
#[test]
fn what_an_answer_does_not_mention_is_renewed_all_the_same() {
    let mut script = Script::bound();
    script.wait_s(T1.into());
    let renew = script.last();
    let mut reply = bare(&renew, Kind::Reply, &SERVER);
    give(&mut reply, (0, 0), &[(OTHER, (0, 0))], None);
    script.take(&reply);
    assert_eq!(script.addresses(), [GIVEN]);
    script.sent.clear();
    script.wait_s(u64::from(PREFERRED - T1) / 2 + 2);
    assert_eq!(script.last().kind(), Kind::Renew);
}

#[test]
fn who_has_forgotten_us_is_asked_for_the_same_again() {
    let mut script = Script::bound();
    script.wait_s(T1.into());
    let renew = script.last();
    let mut reply = bare(&renew, Kind::Reply, &SERVER);
    give(&mut reply, (0, 0), &[], Some(3));
    script.take(&reply);
    let request = script.sent_one();
    assert_eq!((request.kind(), request.addresses()), (Kind::Request, vec![GIVEN]));
    assert_eq!(script.addresses(), [GIVEN], "as long as it lasts");
    script.answer(&request, Kind::Reply);
    assert_eq!((script.client.state(), script.addresses()), (State::Bound, vec![GIVEN]));
}

#[test]
fn what_is_of_another_link_is_not_asked_for_again() {
    let mut script = Script::with(Mode::Stateful, 3, Options { hints: vec![OTHER], ..options() });
    let solicit = script.next_sent();
    script.answer(&solicit, Kind::Advertise);
    let request = script.next_sent();
    let mut reply = bare(&request, Kind::Reply, &SERVER);
    add(&mut reply, Code::STATUS_CODE, &[0, 4]);
    script.take(&reply);
    let solicit = script.last();
    assert_eq!((solicit.kind(), solicit.addresses()), (Kind::Solicit, vec![]));
}

/// §18.2.8.
#[test]
fn an_address_of_somebody_else_is_declined_until_the_server_knows() {
    let mut script = Script::bound();
    script.client.handle_conflict(script.now, OTHER);
    script.tick();
    assert_eq!(script.sent.len(), 0, "it is not ours");
    script.client.handle_conflict(script.now, GIVEN);
    script.tick();
    assert!(script.has.is_none());
    let decline = script.sent_one();
    assert_eq!((decline.kind(), decline.addresses()), (Kind::Decline, vec![GIVEN]));
    assert_eq!((decline.option(Code::SERVER_ID), decline.option(Code::OPTION_REQUEST)), (Some(&SERVER[..]), None));
    script.wait_s(3);
    let again = script.last();
    assert_eq!(again.message().transaction_id(), decline.message().transaction_id());
    script.take(&bare(&again, Kind::Reply, &SERVER));
    assert_eq!(script.client.counters().declined, 1);
    let solicit = script.next_sent();
    assert_eq!((solicit.kind(), solicit.addresses()), (Kind::Solicit, vec![]), "not that one");
}

#[test]
fn of_several_addresses_the_others_stay() {
    let mut script = Script::new(Mode::Stateful);
    let solicit = script.sent_one();
    let mut reply = bare(&solicit, Kind::Reply, &SERVER);
    give(&mut reply, (T1, T2), &[(GIVEN, (PREFERRED, VALID)), (OTHER, (PREFERRED, VALID))], None);
    add(&mut reply, Code::RAPID_COMMIT, &[]);
    script.take(&reply);
    script.client.handle_conflict(script.now, GIVEN);
    script.tick();
    assert_eq!((script.addresses(), script.sent_one().addresses()), (vec![OTHER], vec![GIVEN]));
    // §18.2.8: four times, then it is enough.
    script.wait_s(60);
    assert_eq!((script.sent.len(), script.client.state()), (3, State::Bound));
    script.sent.clear();
    script.wait_s(T1.into());
    assert_eq!(script.last().addresses(), [OTHER]);
}

/// §18.2.7.
#[test]
fn what_is_given_back_is_not_used_any_more() {
    let mut script = Script::bound();
    script.client.stop(script.now);
    script.tick();
    assert!(script.has.is_none());
    let release = script.sent_one();
    assert_eq!((release.kind(), release.addresses()), (Kind::Release, vec![GIVEN]));
    assert_eq!(release.option(Code::SERVER_ID), Some(&SERVER[..]));
    script.client.stop(script.now);
    script.tick();
    script.wait_s(2);
    let again = script.sent_one();
    assert_eq!(again.message().transaction_id(), release.message().transaction_id());
    script.take(&bare(&again, Kind::Reply, &SERVER));
    assert_eq!((script.client.state(), script.client.deadline()), (State::Stopped, None));

    let mut script = Script::bound();
    script.client.stop(script.now);
    script.wait_s(600);
    assert_eq!((script.sent.len(), script.client.state()), (4, State::Stopped));
}

#[test]
fn who_has_nothing_gives_nothing_back() {
    for mode in [Mode::Stateful, Mode::Stateless] {
        let mut script = Script::new(mode);
        script.sent.clear();
        script.client.stop(script.now);
        script.wait_s(600);
        assert_eq!((script.sent.len(), script.client.state()), (0, State::Stopped));
        script.client.start(script.now, Mode::Stateful);
        script.wait_s(1);
        assert_eq!(script.sent_one().kind(), Kind::Solicit, "it can begin anew");
    }
}

/// §18.2.6, §21.23.
#[test]
fn information_is_asked_for_and_refreshed() {
    let mut script = Script::new(Mode::Stateless);
    let question = script.sent_one();
    assert_eq!((question.kind(), question.option(Code::IA_NA)), (Kind::InformationRequest, None));
    assert_eq!(question.option(Code::OPTION_REQUEST), Some(&[0, 23, 0, 24, 0, 32, 0, 83][..]));
    for (said, seconds) in [(None, 86_400), (Some(1_000), 1_000), (Some(1), 600)] {
        let question = if script.sent.is_empty() { question.clone() } else { script.last() };
        let mut reply = bare(&question, Kind::Reply, &SERVER);
        add(&mut reply, Code::NAME_SERVERS, &OTHER.octets());
        if let Some(said) = said {
            add(&mut reply, Code::INFORMATION_REFRESH_TIME, &u32::to_be_bytes(said));
        }
        script.take(&reply);
        assert_eq!(script.has.as_ref().expect("it is told").name_servers, [IpAddr::V6(OTHER)]);
        assert_eq!(script.client.state(), State::Informed);
        script.wait_s(seconds - 1);
        assert_eq!(script.sent.len(), 0);
        script.wait_s(1);
        assert_eq!((script.sent.len(), script.client.state()), (1, State::Informing));
    }
    let question = script.last();
    let mut reply = bare(&question, Kind::Reply, &SERVER);
    add(&mut reply, Code::INFORMATION_REFRESH_TIME, &[0xff; 4]);
    script.take(&reply);
    assert_eq!(script.client.deadline(), None, "for ever");
}

#[test]
fn who_asks_for_addresses_asks_for_no_less_and_who_asks_for_less_for_more() {
    let mut script = Script::bound();
    script.client.start(script.now, Mode::Stateless);
    script.client.start(script.now, Mode::Stateful);
    assert_eq!(script.client.state(), State::Bound);

    let mut script = Script::new(Mode::Stateless);
    let question = script.sent_one();
    script.take(&bare(&question, Kind::Reply, &SERVER));
    script.client.start(script.now, Mode::Stateful);
    script.wait_s(1);
    assert!(script.has.is_some(), "what is known stays until then");
    script.bind();
    assert_eq!(script.addresses(), [GIVEN]);
}
