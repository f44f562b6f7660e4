use core::time::Duration;

use proptest::prelude::*;

use super::pair::Pair;
use crate::tcp::connection::{Options, State};

const DELAY: Duration = Duration::from_millis(10);

#[test]
fn both_sides_may_open_at_once() {
    let pair = Pair::established();
    assert_eq!(pair.ends.each_ref().map(|end| end.connection.unacknowledged()), [0, 0]);
}

#[test]
fn bytes_arrive_in_order_both_ways() {
    let mut pair = Pair::established();
    pair.send(0, 1_000_000);
    pair.send(1, 300_000);
    pair.run_until(|pair| pair.ends[0].received == 300_000 && pair.ends[1].received == 1_000_000);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.ends.each_ref().map(|end| end.connection.unacknowledged()), [0, 0]);
    assert!(pair.ends.iter().all(|end| end.connection.deadline().is_none()), "who is idle wants no timer");
}

#[test]
fn both_sides_close() {
    let mut pair = Pair::established();
    pair.send(0, 10_000);
    pair.step();
    pair.ends[0].connection.close();
    pair.run_until(|pair| pair.ends[1].connection.is_at_end());
    assert_eq!((pair.ends[1].received, pair.ends[1].connection.state()), (10_000, State::CloseWait));
    pair.send(1, 20_000);
    pair.run_until(|pair| pair.ends[0].received == 20_000);
    assert_eq!(pair.ends[0].connection.state(), State::FinWait2);
    pair.ends[1].connection.close();
    pair.run_until(|pair| pair.ends[1].connection.state() == State::Closed);
    assert_eq!(pair.ends[0].connection.state(), State::TimeWait);
    assert_eq!(pair.ends[1].connection.failure(), None);
}

/// RFC 8985: one loss costs a round trip, not a timeout.
#[test]
fn a_loss_costs_a_round_trip() {
    let mut pair = Pair::established();
    let mut count = 0;
    pair.ends[0].fate = Box::new(move |outgoing| {
        count += u32::from(!outgoing.payload.is_empty());
        if count == 20 && !outgoing.payload.is_empty() { vec![] } else { vec![DELAY] }
    });
    let begin = pair.now;
    pair.send(0, 40_000);
    pair.run_until(|pair| pair.ends[1].received == 40_000);
    let took = pair.now - begin;
    assert!(took <= Duration::from_millis(70), "{took:?}");
}

/// RFC 8985 §7: the loss of the last segment is found by a probe, after two round trips and not after a timeout.
#[test]
fn a_lost_tail_costs_a_probe() {
    let mut pair = Pair::established();
    let mut count = 0;
    pair.ends[0].fate = Box::new(move |outgoing| {
        count += u32::from(!outgoing.payload.is_empty());
        if (6..=7).contains(&count) && !outgoing.payload.is_empty() { vec![] } else { vec![DELAY] }
    });
    let begin = pair.now;
    pair.send(0, 7 * 1_448);
    pair.run_until(|pair| pair.ends[1].received == 7 * 1_448);
    let took = pair.now - begin;
    assert!(took < Duration::from_millis(100), "{took:?}");
}

/// The pair checks it; one of these windows ends a byte before a full segment would, where a sender is tempted.
#[test]
fn nobody_sends_beyond_any_window() {
    for receive_capacity in 3 * 1_448 - 10..3 * 1_448 + 10 {
        let options = Options { receive_capacity, ..Options::DEFAULT };
        let mut pair = Pair::new(options, options);
        pair.send(0, 20_000);
        pair.run_until(|pair| pair.ends[1].received == 20_000);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the wire does to segments (short of dropping all of them), streams arrive whole and in order, and both sides end.
    #[test]
    fn streams_survive_the_wire(
        seed in any::<u64>(), loss in 0..25u64, duplicates in 0..10u64, jitter_ms in 0..40u64,
        bytes in prop::array::uniform2(0..150_000u32),
        sack in any::<bool>(), timestamps in any::<bool>(), capacity in 3_000..200_000u32, no_delay in any::<bool>(),
    ) {
        let options = Options {
            offers_sack: sack, offers_timestamps: timestamps, receive_capacity: capacity, is_no_delay: no_delay,
            // On the worst of these wires one of a thousand openings would fail otherwise.
            syn_retries: 20, ..Options::DEFAULT
        };
        let mut pair = Pair::new(options, Options { offers_sack: true, ..options });
        for (index, end) in pair.ends.iter_mut().enumerate() {
            let mut random = seed.wrapping_add(index as u64) | 1;
            end.fate = Box::new(move |_| {
                let mut draw = |below: u64| {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (random >> 33) % below
                };
                let copies = match draw(100) {
                    chance if chance < loss => 0,
                    chance if chance < loss + duplicates => 2,
                    _ => 1,
                };
                (0..copies).map(|_| DELAY + Duration::from_millis(draw(jitter_ms + 1))).collect()
            });
        }
        pair.run_until(|pair| pair.ends.iter().all(|end| end.connection.state() == State::Established));
        pair.send(0, bytes[0]);
        pair.send(1, bytes[1]);
        pair.run_until(|pair| pair.ends[0].received == bytes[1] && pair.ends[1].received == bytes[0]);
        pair.ends.iter_mut().for_each(|end| end.connection.close());
        let is_over = |state| matches!(state, State::Closed | State::TimeWait);
        pair.run_until(|pair| pair.ends.iter().all(|end| is_over(end.connection.state())));
        prop_assert!(pair.ends.iter().all(|end| end.connection.failure().is_none()));
    }
}
