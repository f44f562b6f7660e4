use core::time::Duration;

use sunstar_wire::Seq;

use super::{PERSIST, Rack, Transmission, Verdict};
use crate::time::Instant;

fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1_000)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The segment of 100 bytes with that index, sent at that millisecond.
fn sent(index: u32, sent_ms: u64) -> Transmission {
    Transmission { sent_at: at(sent_ms), end: Seq::new(u32::MAX - 250) + 100 * (index + 1), is_retransmission: false }
}

fn again(index: u32, sent_ms: u64) -> Transmission {
    Transmission { is_retransmission: true, ..sent(index, sent_ms) }
}

/// RFC 8985 §3.2: what was sent before something that has arrived is lost, when it is a round trip and the window late.
#[test]
fn older_transmissions_are_lost_in_time() {
    let mut rack = Rack::default();
    assert_eq!(rack.judge(at(900), &sent(0, 0), ms(0)), Verdict::Open, "nothing has arrived");
    rack.on_delivered(at(50), &sent(1, 10), false);
    assert_eq!(rack.judge(at(50), &sent(2, 11), ms(0)), Verdict::Open, "it was sent later");
    assert_eq!(rack.judge(at(50), &sent(0, 10), ms(0)), Verdict::Lost, "sent at the same time, but before");
    assert_eq!(rack.judge(at(50), &sent(0, 10), ms(10)), Verdict::LostAt(at(60)));
    assert_eq!(rack.judge(at(60), &sent(0, 10), ms(10)), Verdict::Lost);
}

/// RFC 8985 §3.1: a lost retransmission is found like any other loss, when something that was sent after it arrives.
#[test]
fn lost_retransmissions_are_found() {
    let mut rack = Rack::default();
    rack.on_delivered(at(50), &sent(5, 10), false);
    assert_eq!(rack.judge(at(60), &again(0, 55), ms(0)), Verdict::Open);
    rack.on_delivered(at(100), &sent(6, 60), false);
    assert_eq!(rack.judge(at(100), &again(0, 55), ms(0)), Verdict::Lost);
}

/// RFC 8985 §6.2, step 2: an acknowledgement too fast for the retransmission belongs to the original.
#[test]
fn impossible_round_trips_do_not_count() {
    let mut rack = Rack::default();
    rack.on_delivered(at(50), &sent(1, 10), false);
    rack.on_delivered(at(60), &again(0, 55), false);
    assert_eq!(rack.judge(at(60), &sent(2, 20), ms(0)), Verdict::Open, "the retransmission was not what arrived");
    rack.on_delivered(at(110), &again(0, 65), true);
    assert_eq!(rack.judge(at(110), &sent(2, 20), ms(0)), Verdict::Open, "timestamps say that the original arrived");
    rack.on_delivered(at(110), &again(0, 65), false);
    assert_eq!(rack.judge(at(110), &sent(2, 20), ms(0)), Verdict::Lost);
    assert_eq!(rack.min_rtt(), Some(ms(40)));
}

/// RFC 8985 §6.2, step 4: three segments behind the gap, or a recovery, and there is no window; else a quarter of the least time.
#[test]
fn window_waits_for_three_segments() {
    let mut rack = Rack::default();
    rack.on_delivered(at(50), &sent(1, 10), false);
    let window = |rack: &Rack, is_in_recovery, sacked| rack.reordering_window(is_in_recovery, sacked, ms(40));
    assert_eq!(window(&rack, false, 2), ms(10));
    assert_eq!(window(&rack, false, 3), ms(0));
    assert_eq!(window(&rack, true, 0), ms(0));
    // A late original is reordering: from now on there always is a window.
    rack.on_delivered(at(52), &sent(0, 10), false);
    assert_eq!(rack.overtaken(), 1);
    assert_eq!([window(&rack, false, 9), window(&rack, true, 9)], [ms(10); 2]);
}

#[test]
fn late_retransmissions_are_no_reordering() {
    let mut rack = Rack::default();
    rack.on_delivered(at(50), &sent(1, 10), false);
    rack.on_delivered(at(95), &again(0, 55), false);
    assert_eq!(rack.overtaken(), 0);
}

/// RFC 8985 §6.2, step 4: a quarter more for each round with a duplicate, up to the smoothed time, until 16 recoveries have passed.
#[test]
fn window_grows_with_duplicates() {
    let mut rack = Rack::default();
    rack.on_delivered(at(50), &sent(1, 10), false);
    rack.on_delivered(at(52), &sent(0, 10), false);
    let window = |rack: &Rack| rack.reordering_window(true, 9, ms(45));
    rack.on_duplicate(sent(7, 0).end);
    rack.on_duplicate(sent(8, 0).end);
    assert_eq!(window(&rack), ms(20), "once per round");
    rack.on_acked(sent(6, 0).end);
    rack.on_duplicate(sent(9, 0).end);
    assert_eq!(window(&rack), ms(20), "the round is not over");
    for round in 7..12 {
        rack.on_acked(sent(round + 3, 0).end);
        rack.on_duplicate(sent(round + 3, 0).end);
    }
    assert_eq!(window(&rack), ms(45), "not longer than a round trip");
    for _ in 1..PERSIST {
        rack.on_recovery_end();
    }
    assert_eq!(window(&rack), ms(45));
    rack.on_recovery_end();
    assert_eq!(window(&rack), ms(10));
}

/// The least time of long ago says nothing about the path of today.
#[test]
fn least_round_trip_is_forgotten() {
    let mut rack = Rack::default();
    rack.on_delivered(at(50), &sent(0, 10), false);
    rack.on_delivered(at(300_040), &sent(1, 299_940), false);
    assert_eq!(rack.min_rtt(), Some(ms(40)));
    rack.on_delivered(at(300_200), &sent(2, 300_100), false);
    assert_eq!(rack.min_rtt(), Some(ms(100)));
}

/// RFC 8985 §6.1: behind what has arrived last nothing can be judged, also of what was sent at the same instant: who looks for
/// losses may stop there.
#[test]
fn later_transmissions_are_beyond() {
    let mut rack = Rack::default();
    assert!(rack.is_beyond(&sent(0, 0)), "nothing has arrived");
    rack.on_delivered(at(50), &sent(1, 10), false);
    assert_eq!(
        [sent(0, 10), sent(1, 10), sent(2, 10), sent(2, 11)].map(|it| rack.is_beyond(&it)),
        [false, true, true, true]
    );
}

/// RFC 6298 §3 (Karn): of what was sent again nobody knows which transmission has arrived, so that it measures nothing, also before anything
/// else was measured. The opening does (RFC 8985 §6.2, step 1).
#[test]
fn repetitions_measure_no_round_trip() {
    let mut rack = Rack::default();
    rack.on_delivered(at(50), &again(0, 49), false);
    assert_eq!((rack.min_rtt(), rack.last_delivered()), (None, Some(at(49))));
    rack.on_delivered(at(150), &sent(1, 50), false);
    assert_eq!(rack.min_rtt(), Some(ms(100)));
    let mut rack = Rack::default();
    rack.on_opened(at(50), ms(40));
    rack.on_delivered(at(60), &again(0, 59), false);
    assert_eq!((rack.min_rtt(), rack.last_delivered()), (Some(ms(40)), None));
}
