//! What leaves evenly, and not at once.

use core::time::Duration;

use super::script::{ACK, MSS, PLAIN, SYN, Script, arrives};
use crate::tcp::connection::Options;

/// The round trip takes 100 ms.
const PACED: Options = Options { paced_from_micros: 5_000, ..PLAIN };

/// Milliseconds between departures, each of which has to be one full segment, from now on.
fn gaps(script: &mut Script, count: usize) -> Vec<u128> {
    let mut gap = || {
        let (ms, sent) = script.next();
        assert_eq!(sent.iter().map(|sent| sent.len).collect::<Vec<_>>(), [MSS]);
        ms
    };
    (0..count).map(|_| gap()).collect()
}

/// Nothing says how fast the path is, and RFC 6928 lets the initial window out.
#[test]
fn the_initial_window_leaves_at_once() {
    let mut script = Script::established(PACED);
    script.send(1, 30_000);
    assert_eq!(script.sent_data().len(), 10);
}

/// Two windows of twelve segments in 100 ms: one in 4.2 ms.
#[test]
fn slow_start_leaves_at_twice_the_pace() {
    let mut script = Script::established(PACED);
    script.send(1, 30_000);
    assert_eq!(script.sent_data().len(), 10);
    script.wait(100);
    script.gets(arrives(ACK, 1, 0, 2_001));
    assert_eq!(script.sent_data(), [(10_001, MSS)], "of four that the window lets out");
    assert_eq!(gaps(&mut script, 3), [3, 4, 4]);
    assert_eq!(script.sent_data(), [], "the window is full");
}

/// Lets so much time pass, whatever leaves meanwhile.
fn pass(script: &mut Script, ms: u64) {
    let end = script.now + Duration::from_millis(ms);
    script.sent();
    while let Some(deadline) = script.connection.deadline().filter(|deadline| *deadline < end) {
        script.now = script.now.max(deadline);
        script.connection.handle_timeout(script.now);
        script.sent();
    }
    script.now = end;
}

/// Beyond slow start 1.2 windows of seven segments in 100 ms: one in 11.9 ms.
#[test]
fn congestion_avoidance_leaves_a_little_faster_than_the_window() {
    let mut script = Script::established(PACED);
    script.send(1, 50_000);
    assert_eq!(script.sent_data().len(), 10);
    script.wait(100);
    // The first one is lost, and 7 of 10 segments are left of the window.
    script.gets(arrives(ACK, 1, 0, 1).sack(&[(1_001, 10_001)]));
    pass(&mut script, 100);
    let end = script_end(&script);
    script.gets(arrives(ACK, 1, 0, end));
    pass(&mut script, 100);
    script.gets(arrives(ACK, 1, 0, end + 3 * MSS));
    assert_eq!(script.sent_data().len(), 1, "of three that the window lets out");
    assert_eq!(gaps(&mut script, 2), [10, 11]);
}

/// The number behind all that was sent.
fn script_end(script: &Script) -> u32 {
    let info = script.connection.info(script.now);
    u32::try_from(info.bytes_sent - info.bytes_retrans).expect("little was sent") + 1
}

#[test]
fn short_paths_are_not_paced() {
    let mut script = Script::established(Options { paced_from_micros: 100_001, ..PACED });
    script.send(1, 30_000);
    assert_eq!(script.sent_data().len(), 10);
    script.wait(100);
    script.gets(arrives(ACK, 1, 0, 2_001));
    assert_eq!(script.sent_data().len(), 4);
}

/// `SO_MAX_PACING_RATE`: a segment in 20 ms, however much the window lets out; and a pause earns no more than an initial window.
#[test]
fn nobody_is_faster_than_it_asks_to_be() {
    let slow = Options { max_pacing_rate: 50_000, ..PLAIN };
    let mut script = Script::established(slow);
    script.send(1, 50_000);
    assert_eq!(script.sent_data().len(), 10);
    script.wait(10);
    script.gets(arrives(ACK, 1, 0, 10_001));
    assert_eq!(script.sent_data().len(), 1, "the time of the first ten is over");
    assert_eq!(gaps(&mut script, 4), [10, 20, 20, 20]);
    let una = script_end(&script);
    script.gets(arrives(ACK, 1, 0, una));
    assert_eq!(script.sent_data(), []);
    assert_eq!(gaps(&mut script, 2), [20, 20], "that nothing is under way changes nothing");
}

/// What keeps a pace is not given back when all is acknowledged, as long as the initial window of before counts.
#[test]
fn a_pace_outlives_an_idle_moment() {
    let slow = Options { max_pacing_rate: 50_000, ..PLAIN };
    let mut script = Script::established(slow);
    script.send(1, 10_000);
    assert_eq!(script.sent_data().len(), 10);
    script.wait(10);
    script.gets(arrives(ACK, 1, 0, 10_001));
    assert!(script.connection.reclaim(script.now).is_none());
    script.send(10_001, 2_000);
    assert_eq!(script.sent_data().len(), 1, "the time of the first ten is over");
    script.gets(arrives(ACK, 1, 0, 11_001));
    assert_eq!(gaps(&mut script, 1), [10]);
    script.gets(arrives(ACK, 1, 0, 12_001));
    assert!(script.connection.reclaim(script.now).is_none());
    script.wait(300);
    assert!(script.connection.reclaim(script.now).is_some(), "as much is free as at first");
    script.send(12_001, 20_000);
    assert_eq!(script.sent_data().len(), 11, "the last one of them at the moment when the time of the others is over");
}

/// On a short path a burst is what leaves in a millisecond.
#[test]
fn bursts_are_no_faster_than_asked() {
    for (max_pacing_rate, expected) in [(3_000_000, &[3_000, 3_000, 3_000, 1_000][..]), (u64::MAX, &[5_000, 5_000])] {
        let mut script = Script::new(Options { max_pacing_rate, burst_segments: 1, ..PLAIN });
        script.sent();
        script.gets(arrives(SYN | ACK, 0, 0, 1).options(|header| header.options.mss = 1_000.try_into().ok()));
        script.sent();
        script.send(1, 10_000);
        let bursts: Vec<u32> = core::iter::from_fn(|| script.connection.poll_transmit(script.now, 65_000))
            .map(|outgoing| outgoing.len)
            .collect();
        assert_eq!(bursts, expected);
    }
}

#[test]
fn what_is_held_by_pace_is_no_closed_window() {
    let slow = Options { max_pacing_rate: 3_000, ..PLAIN };
    let mut script = Script::established(slow);
    script.send(1, 20_000);
    assert_eq!(script.sent_data().len(), 10);
    script.wait(10);
    script.gets(arrives(ACK, 1, 0, 10_001));
    assert_eq!(script.sent_data().len(), 1);
    assert_eq!(gaps(&mut script, 1), [323], "longer than the timeout of the other side's window");
    assert_eq!(script.connection.info(script.now).retransmits, 0);
}
