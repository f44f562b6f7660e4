use core::time::Duration;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{TICK, Timers};
use crate::time::Instant;

fn at(micros: u64) -> Instant {
    Instant::from_micros(micros)
}

fn rung(timers: &mut Timers, now: Instant) -> Vec<u32> {
    core::iter::from_fn(|| timers.poll(now)).collect()
}

#[test]
fn rings_at_its_deadline() {
    let mut timers = Timers::default();
    assert_eq!(timers.next_deadline(), None);
    timers.arm(7, at(10_240));
    assert_eq!(rung(&mut timers, at(10_239)), []);
    assert_eq!(rung(&mut timers, at(10_240)), [7]);
    assert_eq!((rung(&mut timers, at(1_000_000)), timers.armed()), (vec![], 0));
}

#[test]
fn rings_at_once_for_what_is_past() {
    let mut timers = Timers::default();
    assert_eq!(timers.poll(at(5_000_000)), None);
    timers.arm(0, at(17));
    assert_eq!(rung(&mut timers, at(5_000_000)), [0]);
}

/// What every segment moves costs no list operation: the timer stays where it is and rings early.
#[test]
fn stays_where_it_is_when_armed_for_later() {
    let mut timers = Timers::default();
    timers.arm(0, at(200_000));
    timers.arm(0, at(900_000));
    assert_eq!(rung(&mut timers, at(200_191)), [], "the tick after the deadline");
    assert_eq!(rung(&mut timers, at(200_192)), [0]);
    timers.arm(0, at(900_000));
    timers.arm(0, at(400_000));
    assert_eq!(rung(&mut timers, at(400_128)), [0]);
    assert_eq!(rung(&mut timers, at(2_000_000)), []);
}

#[test]
fn does_not_ring_when_disarmed() {
    let mut timers = Timers::default();
    for place in 0..3 {
        timers.arm(place, at(1_000));
    }
    timers.disarm(1);
    timers.disarm(1);
    timers.disarm(99);
    assert_eq!(timers.armed(), 2);
    let mut places = rung(&mut timers, at(2_000));
    places.sort_unstable();
    assert_eq!(places, [0, 2]);
}

/// Two hours lie beyond the last level, which reaches 71 minutes.
#[test]
fn reaches_beyond_its_last_level() {
    let mut timers = Timers::default();
    let two_hours = at(7_200_000_000);
    timers.arm(0, two_hours);
    let mut looks = 0;
    while let Some(deadline) = timers.next_deadline() {
        assert!(deadline <= two_hours + Duration::from_micros(TICK));
        let places = rung(&mut timers, deadline);
        assert!(places.is_empty() || deadline >= two_hours);
        looks += 1;
    }
    assert!(looks < 20, "{looks} looks in two hours");
}

#[derive(Clone, Debug)]
enum Step {
    Arm(u32, u64),
    Disarm(u32),
    Advance(u64),
    Jump,
}

fn step() -> impl Strategy<Value = Step> {
    // Distances of every magnitude.
    let micros = (0..34u32, any::<u64>()).prop_map(|(bits, random)| random & ((1 << bits) - 1));
    prop_oneof![
        4 => (0..20u32, micros.clone()).prop_map(|(place, micros)| Step::Arm(place, micros)),
        1 => (0..20u32).prop_map(Step::Disarm),
        2 => micros.prop_map(Step::Advance),
        2 => Just(Step::Jump),
    ]
}

proptest! {
    /// Beside a model: each timer rings once, not before its deadline and at most a tick after it, and nothing is missed by who
    /// sleeps until the next deadline.
    #[test]
    fn behaves_like_a_sorted_map(start in 0..1_u64 << 40, steps in prop::collection::vec(step(), 0..120)) {
        let mut timers = Timers::default();
        let mut model = BTreeMap::<u32, u64>::new();
        let mut now = start;
        prop_assert_eq!(timers.poll(at(now)), None);
        for step in steps {
            match step {
                Step::Arm(place, micros) => {
                    let deadline = now + micros;
                    timers.arm(place, at(deadline));
                    let known = model.entry(place).or_insert(deadline);
                    *known = deadline.min(*known);
                }
                Step::Disarm(place) => {
                    timers.disarm(place);
                    model.remove(&place);
                }
                Step::Advance(micros) => now += micros,
                Step::Jump => now = timers.next_deadline().map_or(now, Instant::as_micros).max(now),
            }
            if let Some(deadline) = timers.next_deadline() {
                let first = model.values().min().expect("a timer is armed");
                prop_assert!(deadline.as_micros() < (first + TICK).max(now + TICK), "{deadline:?} for {first}");
            }
            while let Some(place) = timers.poll(at(now)) {
                let deadline = model.remove(&place).expect("it was armed");
                prop_assert!(deadline <= now, "{place} rang at {now} for {deadline}");
            }
            prop_assert!(model.values().all(|&deadline| deadline + TICK > now), "{model:?} at {now}");
            prop_assert_eq!(timers.armed() as usize, model.len());
        }
    }
}

#[test]
fn places_behind_the_last_timer_are_given_back() {
    let mut timers = Timers::default();
    (0..1_000).for_each(|place| timers.arm(place, Instant::from_micros(1_000_000)));
    (0..1_000).filter(|place| *place != 5).for_each(|place| timers.disarm(place));
    timers.shrink();
    assert!(timers.nodes.capacity() < 10);
    timers.arm(900, Instant::from_micros(500_000));
    assert_eq!(timers.poll(Instant::from_micros(2_000_000)), Some(900));
    assert_eq!(timers.poll(Instant::from_micros(2_000_000)), Some(5));
}
