//! Whatever servers and neighbours do, and whenever.

use core::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use sunstar_wire::dhcpv6::{Code, Kind};

use super::script::*;
use crate::dhcpv6::{Mode, State};

/// What happens to a client.
#[derive(Clone, Debug)]
enum Step {
    /// Somebody answers its latest message, or its first one.
    Answer {
        kind: u8,
        is_latest: bool,
        is_server: bool,
        t: (u32, u32),
        addresses: Vec<(bool, Times)>,
        status: Option<u16>,
        is_rapid: bool,
        extra: Vec<(u16, Vec<u8>)>,
    },
    Conflict(bool),
    Wait(u32),
    Start(bool),
    Stop,
}

fn seconds() -> impl Strategy<Value = u32> {
    prop_oneof![0_u32..20, 100_u32..5_000, Just(u32::MAX)]
}

fn step() -> impl Strategy<Value = Step> {
    let extra = vec((prop_oneof![0_u16..90, any::<u16>()], vec(any::<u8>(), 0..20)), 0..3);
    let addresses = vec((any::<bool>(), (seconds(), seconds())), 0..3);
    let status = prop_oneof![5 => Just(None), 1 => (0_u16..7).prop_map(Some)];
    let kind = prop_oneof![Just(2_u8), Just(7), Just(7), 1_u8..12];
    let answer = (kind, any::<bool>(), any::<bool>(), (seconds(), seconds()), addresses, status, any::<bool>(), extra)
        .prop_map(|(kind, is_latest, is_server, t, addresses, status, is_rapid, extra)| Step::Answer {
            kind,
            is_latest,
            is_server,
            t,
            addresses,
            status,
            is_rapid,
            extra,
        });
    prop_oneof![
        8 => answer,
        1 => any::<bool>().prop_map(Step::Conflict),
        6 => prop_oneof![0_u32..3_000, 0_u32..1_000_000].prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::Start),
        1 => Just(Step::Stop),
    ]
}

/// Answers nearly as servers do, since otherwise nothing would ever come of it.
fn usual() -> impl Strategy<Value = Vec<Step>> {
    let answer = |kind| Step::Answer {
        kind,
        is_latest: true,
        is_server: true,
        t: (T1, T2),
        addresses: vec![(true, (PREFERRED, VALID))],
        status: None,
        is_rapid: kind == 7,
        extra: Vec::new(),
    };
    let given = vec![Step::Wait(2_000), answer(7), Step::Wait(2_000)];
    let offered = vec![answer(2), Step::Wait(2_000), answer(7)];
    vec(prop_oneof![2 => Just(given), 1 => Just(offered), 2 => vec(step(), 1..6)], 1..12)
        .prop_map(|steps| steps.concat())
}

fn play(script: &mut Script, step: Step) {
    match step {
        Step::Wait(millis) => script.wait(Duration::from_millis(millis.into())),
        Step::Stop => script.client.stop(script.now),
        Step::Start(is_stateful) => {
            script.client.start(script.now, if is_stateful { Mode::Stateful } else { Mode::Stateless });
        }
        Step::Conflict(is_given) => {
            script.client.handle_conflict(script.now, if is_given { GIVEN } else { OTHER });
        }
        Step::Answer { kind, is_latest, is_server, t, addresses, status, is_rapid, extra } => {
            let Some(question) = script.sent.last().cloned() else { return };
            let question = if is_latest { question } else { script.sent[0].clone() };
            let server = if is_server { SERVER } else { OTHER_SERVER };
            let mut message = bare(&question, Kind::new(kind).expect("there are eleven"), &server);
            let addresses: Vec<_> =
                addresses.into_iter().map(|(is_it, times)| (if is_it { GIVEN } else { OTHER }, times)).collect();
            give(&mut message, t, &addresses, status);
            if is_rapid {
                add(&mut message, Code::RAPID_COMMIT, &[]);
            }
            for (code, data) in extra {
                add(&mut message, Code(code), &data);
            }
            script.take(&message);
        }
    }
    script.tick();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// The host has an address only while a server says so, and the client never rests but for good reasons.
    #[test]
    fn property_v6_leases_are_honoured(steps in usual()) {
        let mut script = Script::new(Mode::Stateful);
        for step in steps {
            play(&mut script, step);
            let (state, lease) = (script.client.state(), script.client.lease());
            let mut addresses = lease.iter().flat_map(|lease| &lease.addresses);
            prop_assert!(addresses.all(|address| address.valid_until.is_none_or(|until| until > script.now)), "{lease:?}");
            if matches!(state, State::Bound | State::Renewing | State::Rebinding) {
                prop_assert!(lease.is_some_and(|lease| !lease.addresses.is_empty()), "{state:?} with {lease:?}");
            }
            if matches!(state, State::Stopped | State::Releasing) {
                prop_assert!(lease.is_none());
            }
            let deadline = script.client.deadline();
            let may_rest = matches!(state, State::Stopped | State::Bound | State::Informed);
            prop_assert!(deadline.is_some() || may_rest, "{state:?}");
            prop_assert!(deadline.is_none() || state != State::Stopped);
        }
    }

    /// Left alone, it goes on; and once there is a server that works, there is an address within a time that RFC 8415 bounds.
    #[test]
    fn property_v6_it_always_comes_to_a_lease(steps in usual()) {
        let mut script = Script::new(Mode::Stateful);
        for step in steps.into_iter().filter(|step| !matches!(step, Step::Stop)) {
            play(&mut script, step);
        }
        script.sent.clear();
        let end = script.now + Duration::from_secs(3 * 86_400);
        while script.now < end && script.client.state() != State::Bound {
            let Some(due) = script.client.deadline().filter(|due| *due <= end) else { break };
            script.now = script.now.max(due);
            script.tick();
            for sent in core::mem::take(&mut script.sent) {
                match sent.kind() {
                    Kind::Solicit => script.answer(&sent, Kind::Advertise),
                    _ => script.answer(&sent, Kind::Reply),
                }
            }
        }
        prop_assert!(!script.addresses().is_empty(), "{:?}", script.client);
    }

    /// Messages are sent no faster than the back-off allows, whatever comes, and nothing heaps up.
    #[test]
    fn property_v6_nobody_makes_it_chatter(steps in vec(step(), 0..60)) {
        let mut script = Script::new(Mode::Stateful);
        let (begin, mut events) = (script.now, 0);
        for step in steps {
            events += usize::from(!matches!(step, Step::Wait(_)));
            play(&mut script, step);
        }
        // Two for what was heard or asked, and what time alone asks for.
        let by_time = (script.now - begin).as_millis() / 900 + 2;
        prop_assert!(script.sent.len() as u128 <= 2 * events as u128 + by_time);
    }
}
