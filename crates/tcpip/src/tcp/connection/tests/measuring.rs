//! What is measured for those who look: the fields of `tcp_info` that say how fast a connection is, and why not faster.

use core::time::Duration;

use super::script::{ACK, MSS, PLAIN, SYN, Script, arrives};
use crate::tcp::connection::{Info, Options};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn info(script: &Script) -> Info {
    script.connection.info(script.now)
}

/// Kilobytes per second, rounded up; what is told is rounded down.
fn kilobytes(info: &Info) -> u64 {
    info.delivery_rate.div_ceil(1_000)
}

/// draft-ietf-ccwg-bbr §4.1.
#[test]
fn the_delivery_rate_is_what_arrives_by_the_time_it_takes() {
    let mut script = Script::established(PLAIN);
    assert_eq!((info(&script).delivery_rate, info(&script).busy_time), (0, ms(0)));
    script.send(1, 40_000);
    assert_eq!(script.sent().len(), 10);
    script.wait(100);
    // All that was sent at once began when nothing was under way.
    script.gets(arrives(ACK, 1, 0, 5_001));
    assert_eq!((kilobytes(&info(&script)), info(&script).delivery_rate_app_limited), (50, true));
    let second = script.sent();
    assert_eq!(second.len(), 10);
    script.wait(50);
    script.gets(arrives(ACK, 1, 0, 10_001));
    assert_eq!(kilobytes(&info(&script)), 67, "of 10,000 bytes in 150 ms");
    script.sent();
    script.wait(50);
    // 10 kilobytes that were sent 100 ms ago, when 5 had arrived.
    script.gets(arrives(ACK, 1, 0, 20_001));
    assert_eq!((kilobytes(&info(&script)), info(&script).delivery_rate_app_limited), (150, false));
    assert_eq!((info(&script).delivered, info(&script).data_segs_out), (20, 30));
}

/// What was sent in small pieces tells nothing of the network, unless it is faster than anything before.
#[test]
fn an_application_that_sends_little_does_not_slow_the_network() {
    let mut script = Script::established(Options { is_no_delay: true, ..PLAIN });
    for (at, len, rate) in [(1, 8_000, 80), (8_001, 10, 80), (8_011, 9_000, 90)] {
        script.send(at, len);
        script.sent();
        script.wait(100);
        script.gets(arrives(ACK, 1, 0, at + len));
        assert_eq!((kilobytes(&info(&script)), info(&script).delivery_rate_app_limited), (rate, true));
    }
}

#[test]
fn a_connection_is_busy_while_something_is_not_acknowledged() {
    let mut script = Script::established(PLAIN);
    script.wait(1_000);
    script.send(1, 500);
    script.sent();
    script.wait(100);
    assert_eq!(info(&script).busy_time, ms(100));
    script.gets(arrives(ACK, 1, 0, 501));
    script.sent();
    script.wait(1_000);
    script.send(501, 500);
    script.sent();
    script.wait(60);
    script.gets(arrives(ACK, 1, 0, 1_001));
    script.sent();
    script.wait(1_000);
    let info = info(&script);
    assert_eq!((info.busy_time, info.rwnd_limited, info.sndbuf_limited), (ms(160), ms(0), ms(0)));
}

#[test]
fn a_window_that_is_shut_is_what_holds_up() {
    let mut script = Script::established(PLAIN);
    script.gets(arrives(ACK, 1, 0, 1).window(3_000));
    script.send(1, 5_000);
    assert_eq!(script.sent_data(), [(1, MSS), (1_001, MSS), (2_001, MSS)]);
    script.wait(100);
    script.gets(arrives(ACK, 1, 0, 3_001).window(0));
    assert_eq!(script.sent(), []);
    script.wait(50);
    assert_eq!((info(&script).rwnd_limited, info(&script).busy_time), (ms(150), ms(150)));
    script.gets(arrives(ACK, 1, 0, 3_001).window(9_000));
    assert_eq!(script.sent().len(), 2);
    script.wait(100);
    script.gets(arrives(ACK, 1, 0, 5_001));
    script.sent();
    let info = info(&script);
    assert_eq!((info.rwnd_limited, info.busy_time, info.sndbuf_limited), (ms(150), ms(250), ms(0)));
}

#[test]
fn a_send_buffer_that_is_full_is_what_holds_up() {
    let mut script = Script::established(Options { send_capacity: 4_000, ..PLAIN });
    script.send(1, 4_000);
    assert_eq!(script.sent().len(), 4);
    assert_eq!(script.connection.sendable(), 0);
    script.wait(100);
    script.gets(arrives(ACK, 1, 0, 1_001));
    script.sent();
    script.wait(70);
    script.gets(arrives(ACK, 1, 0, 4_001));
    script.sent();
    let info = info(&script);
    assert_eq!((info.sndbuf_limited, info.busy_time, info.rwnd_limited), (ms(100), ms(170), ms(0)));
}

#[test]
fn the_congestion_window_is_neither() {
    let mut script = Script::established(PLAIN);
    script.send(1, 20_000);
    assert_eq!(script.sent().len(), 10);
    script.wait(100);
    let info = info(&script);
    assert_eq!((info.sndbuf_limited, info.busy_time, info.rwnd_limited), (ms(0), ms(100), ms(0)));
}

#[test]
fn timeouts_and_what_they_took_are_counted() {
    let mut script = Script::established(Options { offers_sack: false, ..PLAIN });
    script.send(1, 2_000);
    script.sent();
    let (first, _) = script.next();
    let (second, _) = script.next();
    assert_eq!((first, second), (300, 600));
    let told = info(&script);
    assert_eq!((told.total_rto, told.total_rto_recoveries, told.total_rto_time), (2, 1, ms(600)));
    script.wait(100);
    script.gets(arrives(ACK, 1, 0, 2_001));
    script.sent();
    script.wait(1_000);
    let told = info(&script);
    assert_eq!((told.total_rto, told.total_rto_recoveries, told.total_rto_time), (2, 1, ms(700)));
}

#[test]
fn timeouts_of_the_syn_count_too() {
    let mut script = Script::new(PLAIN);
    script.sent();
    script.next();
    script.wait(50);
    script.gets(arrives(SYN | ACK, 0, 0, 1));
    script.sent();
    let info = info(&script);
    assert_eq!((info.total_rto, info.total_rto_recoveries, info.total_rto_time), (1, 1, ms(50)));
}

#[test]
fn what_comes_behind_gaps_and_what_is_overtaken_is_counted() {
    let mut script = Script::established(PLAIN);
    script.gets(arrives(ACK, 1_001, 1_000, 1));
    script.gets(arrives(ACK, 3_001, 1_000, 1));
    script.gets(arrives(ACK, 1, 1_000, 1));
    script.gets(arrives(ACK, 2_001, 1_000, 1));
    assert_eq!((info(&script).rcv_ooopack, info(&script).reord_seen), (2, 0));
    script.sent();
    script.send(1, 4_000);
    script.sent();
    script.wait(100);
    script.gets(arrives(ACK, 4_001, 0, 1).sack(&[(1_001, 2_001)]));
    script.gets(arrives(ACK, 4_001, 0, 2_001));
    assert_eq!((info(&script).reord_seen, info(&script).delivered), (1, 2));
}

/// As `tcpi_reordering` and `tcpi_lost` of Linux.
#[test]
fn how_far_segments_overtake_each_other_and_what_is_not_repaired_is_told() {
    let mut script = Script::established(PLAIN);
    script.send(1, 10_000);
    script.sent();
    script.wait(100);
    script.gets(arrives(ACK, 1, 0, 1).sack(&[(7_001, 8_001)]));
    assert_eq!((info(&script).lost, info(&script).reordering), (0, 3));
    // The reordering timer finds all before it lost, and the first one is sent again.
    let (_, again) = script.next();
    assert_eq!(again[0].seq, 1);
    assert_eq!((info(&script).lost, info(&script).retrans, info(&script).reordering), (7, 1, 3));
    script.gets(arrives(ACK, 1, 0, 1).sack(&[(3_001, 4_001), (7_001, 8_001)]));
    assert_eq!((info(&script).lost, info(&script).reordering, info(&script).reord_seen), (6, 5, 1));
    script.gets(arrives(ACK, 1, 0, 10_001));
    assert_eq!((info(&script).lost, info(&script).reordering), (0, 5));
}
