//! Whatever servers and neighbours do, and whenever.

use core::net::Ipv4Addr;
use core::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use sunstar_wire::dhcpv4::{Code, Kind};

use super::script::*;
use crate::dhcpv4::State;

/// What happens to a client.
#[derive(Clone, Debug)]
enum Step {
    /// Somebody answers its latest message, or a made up one, in some way.
    Answer {
        kind: u8,
        is_latest: bool,
        server: u8,
        lease: u32,
        extra: Vec<(u8, Vec<u8>)>,
    },
    Conflict(bool),
    Wait(u32),
    Stop,
}

fn step() -> impl Strategy<Value = Step> {
    let lease = prop_oneof![0_u32..20, 100_u32..5_000, Just(u32::MAX)];
    let extra = vec((any::<u8>(), vec(any::<u8>(), 0..20)), 0..3);
    let answer = (1_u8..9, any::<bool>(), 1_u8..3, lease, extra)
        .prop_map(|(kind, is_latest, server, lease, extra)| Step::Answer { kind, is_latest, server, lease, extra });
    prop_oneof![
        8 => answer,
        1 => any::<bool>().prop_map(Step::Conflict),
        6 => prop_oneof![0_u32..3_000, 0_u32..1_000_000].prop_map(Step::Wait),
        1 => Just(Step::Stop),
    ]
}

/// Answers nearly as servers do, since otherwise nothing would ever come of it.
fn usual() -> impl Strategy<Value = Vec<Step>> {
    let answer = |kind| Step::Answer { kind, is_latest: true, server: 1, lease: 500, extra: Vec::new() };
    vec(prop_oneof![3 => Just(vec![answer(2), answer(5), Step::Wait(2_000)]), 2 => vec(step(), 1..6)], 1..12)
        .prop_map(|steps| steps.concat())
}

fn play(script: &mut Script, step: Step) {
    match step {
        Step::Wait(millis) => script.wait(Duration::from_millis(millis.into())),
        Step::Stop => {
            script.client.stop(script.now);
            script.tick();
        }
        Step::Conflict(is_given) => {
            script.client.handle_conflict(script.now, if is_given { GIVEN } else { SERVER });
            script.tick();
        }
        Step::Answer { kind, is_latest, server, lease, extra } => {
            let Some(question) = script.sent.last().cloned() else { return };
            let question = if is_latest { question } else { script.sent[0].clone() };
            let mut message = bare(&question, Kind::new(kind).expect("there are eight"));
            add(&mut message, Code::SERVER_ID, &Ipv4Addr::new(192, 0, 2, server).octets());
            add(&mut message, Code::LEASE_TIME, &lease.to_be_bytes());
            for (code, data) in extra {
                add(&mut message, Code(code), &data);
            }
            script.take(&message);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// The host has an address only while a lease says so, and the client never rests but for good reasons.
    #[test]
    fn property_leases_are_honoured(steps in usual()) {
        let mut script = Script::new();
        for step in steps {
            play(&mut script, step);
            let state = script.client.state();
            let has_lease = matches!(state, State::Bound | State::Renewing | State::Rebinding);
            prop_assert_eq!(script.has.is_some(), has_lease);
            let end = script.client.expires_at();
            prop_assert!(end.is_none_or(|end| end > script.now), "{end:?} has passed at {:?}", script.now);
            let may_rest = state == State::Stopped || (state == State::Bound && end.is_none());
            let deadline = script.client.deadline();
            prop_assert_eq!(deadline.is_none(), may_rest);
            prop_assert!(deadline.is_none_or(|deadline| end.is_none_or(|end| deadline <= end)));
        }
    }

    /// Left alone, it goes on; and once there is a server that works, there is a lease within minutes.
    #[test]
    fn property_it_always_comes_to_a_lease(steps in usual()) {
        let mut script = Script::new();
        for step in steps.into_iter().filter(|step| !matches!(step, Step::Stop)) {
            play(&mut script, step);
        }
        script.sent.clear();
        for _ in 0..4_000 {
            script.wait(Duration::from_millis(100));
            for sent in core::mem::take(&mut script.sent) {
                match sent.kind() {
                    Kind::Discover => script.answer(&sent, Kind::Offer),
                    Kind::Request => script.answer(&sent, Kind::Ack),
                    _ => {}
                }
            }
        }
        prop_assert!(script.has.is_some(), "{:?}", script.client);
    }

    /// Messages are sent no faster than the back-off allows, whatever comes, and nothing heaps up.
    #[test]
    fn property_nobody_makes_it_chatter(steps in vec(step(), 0..60)) {
        let mut script = Script::new();
        let (begin, mut answers) = (script.now, 0);
        for step in steps {
            answers += usize::from(matches!(step, Step::Answer { .. } | Step::Conflict(_) | Step::Stop));
            play(&mut script, step);
        }
        // One for what was heard, and what time alone asks for: no more than one in two seconds.
        let by_time = (script.now - begin).as_millis() / 900 + 2;
        prop_assert!(script.sent.len() as u128 <= 2 * answers as u128 + by_time);
    }
}
