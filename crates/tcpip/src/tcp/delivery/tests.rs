use super::*;

const fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1_000)
}

fn arrives(delivery: &mut Delivery, now: Instant, sent_at: Instant, stamp: Stamp, bytes: u32) -> Sample {
    delivery.on_ack(now, bytes, (sent_at, stamp), 1_000)
}

const fn sample(delivered: u32, ms: u32, is_app_limited: bool) -> Sample {
    Sample { delivered, micros: ms * 1_000, is_app_limited }
}

/// What was delivered since the segment was sent, by the time that the acknowledgements took.
#[test]
fn acknowledgements_that_come_slowly_bound_the_rate() {
    let mut delivery = Delivery::default();
    let stamps = [delivery.stamp(at(0), true), delivery.stamp(at(0), false)];
    assert_eq!(arrives(&mut delivery, at(100), at(0), stamps[0], 1_000), sample(1_000, 100, false));
    assert_eq!(arrives(&mut delivery, at(110), at(0), stamps[1], 1_000), sample(2_000, 110, false));
    let later = delivery.stamp(at(110), false);
    assert_eq!(arrives(&mut delivery, at(210), at(110), later, 1_000), sample(1_000, 110, false));
}

/// Acknowledgements that come at once do not show more than what was sent in that time.
#[test]
fn sending_slowly_bounds_the_rate() {
    let mut delivery = Delivery::default();
    let stamps = [0, 50, 100].map(|ms| (at(ms), delivery.stamp(at(ms), ms == 0)));
    arrives(&mut delivery, at(150), at(0), stamps[0].1, 1_000);
    assert_eq!(arrives(&mut delivery, at(150), at(100), stamps[2].1, 2_000), sample(3_000, 150, false));
}

#[test]
fn an_application_that_is_short_of_bytes_is_known_until_they_have_arrived() {
    let mut delivery = Delivery::default();
    let first = delivery.stamp(at(0), true);
    delivery.on_drained(1_000);
    let short = delivery.stamp(at(10), false);
    assert!(!arrives(&mut delivery, at(100), at(0), first, 1_000).is_app_limited);
    assert!(arrives(&mut delivery, at(110), at(10), short, 500).is_app_limited);
    let full = delivery.stamp(at(110), false);
    assert!(!arrives(&mut delivery, at(210), at(110), full, 1_000).is_app_limited);
}

/// Faster than the fastest round trip is nothing: the acknowledgements were held up before.
#[test]
fn what_takes_no_round_trip_is_no_sample() {
    let mut delivery = Delivery::default();
    let stamp = delivery.stamp(at(0), true);
    assert_eq!(arrives(&mut delivery, Instant::from_micros(999), at(0), stamp, 1_000).micros, 0);
}

#[test]
fn the_clock_may_turn() {
    let mut delivery = Delivery::default();
    let turn = Instant::from_micros((1 << 32) - 500);
    let stamp = delivery.stamp(turn, true);
    let later = Instant::from_micros((1 << 32) + 99_500);
    assert_eq!(arrives(&mut delivery, later, turn, stamp, 1_000), sample(1_000, 100, false));
}

#[test]
fn a_rate_is_the_newest_one_unless_the_application_bounded_it() {
    let mut rate = Rate::default();
    assert_eq!((rate.bytes_per_second(), rate.is_app_limited()), (0, false));
    rate.take(sample(100_000, 100, true));
    assert_eq!((rate.bytes_per_second() / 1_000, rate.is_app_limited()), (1_000, true));
    rate.take(sample(200_000, 100, false));
    assert_eq!((rate.bytes_per_second() / 1_000, rate.is_app_limited()), (2_000, false));
    rate.take(sample(150_000, 100, true));
    assert_eq!((rate.bytes_per_second() / 1_000, rate.is_app_limited()), (2_000, false), "it may be faster than that");
    rate.take(sample(150_000, 100, false));
    assert_eq!((rate.bytes_per_second() / 1_000, rate.is_app_limited()), (1_500, false));
    rate.take(Sample { delivered: u32::MAX, micros: 1, is_app_limited: false });
    assert_eq!(rate.bytes_per_second() >> 30, 61, "as much as there is room for");
}

/// Before any round trip was measured, it may be an earlier transmission that has arrived.
#[test]
fn nothing_is_told_before_a_round_trip_was_measured() {
    let mut delivery = Delivery::default();
    let stamp = delivery.stamp(at(0), true);
    assert_eq!(delivery.on_ack(at(1), 1_000, (at(0), stamp), 0).micros, 0);
    let stamp = delivery.stamp(at(1), true);
    assert_eq!(delivery.on_ack(at(2), 1_000, (at(1), stamp), 1_000).micros, 1_000);
}
