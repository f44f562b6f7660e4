//! What leaves when.

use core::time::Duration;

use super::script::{ACK, MSS, OURS, PLAIN, PSH, SYN, Script, arrives};
use crate::tcp::connection::{Failure, Keepalive, Options, SendError, State};
use crate::tcp::test_stream::data;
use sunstar_wire::TcpFlags;

/// RFC 6928: ten segments, then two for each that is acknowledged (RFC 5681 §3.1).
#[test]
fn begins_with_ten_segments() {
    let mut script = Script::established(PLAIN);
    script.send(1, 50_000);
    assert_eq!(script.sent_data(), (0..10).map(|segment| (1 + MSS * segment, MSS)).collect::<Vec<_>>());
    script.wait(50);
    script.gets(arrives(ACK, 1, 0, 1 + 2 * MSS));
    assert_eq!(script.sent_data(), [10, 11, 12, 13].map(|segment| (1 + MSS * segment, MSS)));
}

/// RFC 9293 §3.7.4: small segments wait for the acknowledgement of what is under way, unless asked not to.
#[test]
fn nagle_collects_small_writes() {
    let mut script = Script::established(PLAIN);
    script.send(1, 10);
    assert_eq!(script.sent_data(), [(1, 10)]);
    script.send(11, 10);
    script.send(21, 10);
    assert_eq!(script.sent_data(), []);
    script.gets(arrives(ACK, 1, 0, 11));
    assert_eq!(script.sent_data(), [(11, 20)]);

    let mut script = Script::established(Options { is_no_delay: true, ..PLAIN });
    script.send(1, 10);
    assert_eq!(script.sent_data(), [(1, 10)]);
    script.send(11, 10);
    assert_eq!(script.sent_data(), [(11, 10)]);
}

/// What is handed over in small parts of the same memory, in order, leaves in one piece; what lies elsewhere stays a piece of its own.
#[test]
fn parts_of_the_same_memory_leave_as_one() {
    let mut script = Script::established(PLAIN);
    let whole = data(1, 900);
    for part in 0..10 {
        script.connection.send(whole.slice(part * 64..(part + 1) * 64)).expect("there is room");
    }
    script.send(641, 10);
    script.connection.send(whole.slice(650..660)).expect("there is room");
    script.connection.send(whole.slice(660..)).expect("there is room");
    let outgoing = script.connection.poll_transmit(script.now, MSS).expect("it leaves");
    let places = outgoing.payload.iter().map(|part| (part.len(), whole.slice_of(part).is_some()));
    assert_eq!(places.collect::<Vec<_>>(), [(640, true), (10, false), (250, true)]);
    assert_eq!(outgoing.payload.concat(), whole[..]);
}

/// RFC 9293 §3.8.6.1: a closed window is asked after, less and less often, for as long as it is answered.
#[test]
fn asks_whether_the_window_has_opened() {
    let mut script = Script::established(PLAIN);
    script.gets(arrives(ACK, 1, 0, 1).window(0));
    script.send(1, 10);
    assert_eq!(script.sent(), []);
    let mut waits = Vec::new();
    for _ in 0..8 {
        let (ms, sent) = script.next();
        assert_eq!((sent.len(), sent[0].seq, sent[0].len), (1, 0, 0), "an old number, no data");
        waits.push(ms);
    }
    assert_eq!(waits[..4], [300, 600, 1_200, 2_400]);
    for _ in 0..20 {
        script.gets(arrives(ACK, 1, 0, 1).window(0));
        script.next();
    }
    script.gets(arrives(ACK, 1, 0, 1).window(1_000));
    assert_eq!(script.sent_data(), [(1, 10)]);
}

/// RFC 9293 §3.8.6.2.1: a window that is too small for a segment is used at last all the same.
#[test]
fn uses_a_small_window_at_last() {
    let mut script = Script::established(PLAIN);
    script.gets(arrives(ACK, 1, 0, 1).window(300));
    script.send(1, 5_000);
    assert_eq!(script.sent_data(), []);
    let (ms, sent) = script.next();
    assert_eq!((ms, sent[0].seq, sent[0].len), (300, 1, 300));
}

/// RFC 9293 §3.8.6.2.1: the override comes in time, however much the other side has to say meanwhile; into a closed window nothing leaves.
#[test]
fn a_small_window_is_used_while_the_other_side_streams() {
    for (window, first) in [(300, Some((300, vec![(1, 300)]))), (0, None)] {
        let mut script = Script::established(PLAIN);
        script.gets(arrives(ACK, 1, 0, 1).window(window));
        script.send(1, 5_000);
        assert_eq!(script.sent_data(), []);
        let mut left = (1..20).map(|round| {
            script.now = script.now + Duration::from_millis(50);
            script.connection.handle_timeout(script.now);
            let own = script.sent_data().into_iter().filter(|sent| sent.1 > 0).collect::<Vec<_>>();
            script.gets(arrives(ACK | PSH, 10 * round - 9, 10, 1).window(window));
            assert_eq!(script.received(10 * round - 9), 10);
            assert!(script.sent().iter().all(|sent| sent.len == 0));
            (50 * round, own)
        });
        assert_eq!(left.find(|(_, own)| !own.is_empty()), first);
    }
}

/// RFC 6298 §5: after a timeout the first segment again, and so on with twice the time; a new acknowledgement ends that.
#[test]
fn timeout_sends_the_first_segment_again() {
    let mut script = Script::established(Options { offers_sack: false, ..PLAIN });
    script.send(1, 3_000);
    assert_eq!(script.sent_data().len(), 3);
    for wait in [300, 600, 1_200] {
        let (ms, sent) = script.next();
        assert_eq!((ms, sent[0].seq, sent.len()), (wait, 1, 1));
    }
    script.gets(arrives(ACK, 1, 0, 1 + MSS));
    assert_eq!(script.sent_data(), [(1 + MSS, MSS), (1 + 2 * MSS, MSS)], "slow start");
    assert_eq!(script.next().0, 300);
}

/// RFC 9293 §3.8.3: at last it is given up, after more than 100 s.
#[test]
fn gives_up_when_nobody_answers() {
    let mut script = Script::established(PLAIN);
    let begin = script.now;
    script.send(1, 10);
    script.sent_one();
    while script.connection.state() != State::Closed {
        script.now = script.connection.deadline().expect("it is not over");
        script.connection.handle_timeout(script.now);
        script.sent();
    }
    assert_eq!(script.connection.failure(), Some(Failure::TimedOut));
    assert!((Duration::from_secs(600)..Duration::from_secs(1_200)).contains(&(script.now - begin)));
    assert!(matches!(script.connection.send(data(11, 1)), Err(SendError::Closed)));
}

/// RFC 5482.
#[test]
fn user_timeout_ends_it_sooner() {
    let mut script = Script::established(Options { user_timeout: Some(Duration::from_secs(5)), ..PLAIN });
    let begin = script.now;
    script.send(1, 10);
    while script.connection.state() != State::Closed {
        script.sent();
        script.now = script.connection.deadline().expect("it is not over");
        script.connection.handle_timeout(script.now);
    }
    let took = script.now - begin;
    assert_eq!(took, Duration::from_secs(5), "not when the next question would have been due");
}

/// RFC 9293 §3.8.4: silence is asked after, and ends the connection if it goes on.
#[test]
fn keepalive_asks_and_gives_up() {
    let second = Duration::from_secs(1);
    let keepalive = Keepalive { idle: 60 * second, interval: 10 * second, probes: 3 };
    let mut script = Script::established(Options { keepalive: Some(keepalive), ..PLAIN });
    let (ms, sent) = script.next();
    assert_eq!((ms, sent[0].seq, sent[0].len), (60_000, 0, 0));
    script.gets(arrives(ACK, 1, 0, 1));
    assert_eq!([script.next().0, script.next().0, script.next().0], [60_000, 10_000, 10_000]);
    script.wait(10_000);
    assert_eq!(script.connection.failure(), Some(Failure::TimedOut));
}

/// RFC 8985 §6: what three later ones have overtaken is lost, and sent again at once; and again when that is lost too.
#[test]
fn rack_finds_losses() {
    let mut script = Script::established(PLAIN);
    script.send(1, 10_000);
    script.sent();
    script.wait(100);
    for (left, right) in [(1_001, 2_001), (1_001, 3_001)] {
        script.gets(arrives(ACK, 1, 0, 1).sack(&[(left, right)]));
        assert_eq!(script.sent_data(), []);
    }
    script.gets(arrives(ACK, 1, 0, 1).sack(&[(1_001, 4_001)]));
    assert_eq!(script.sent_data(), [(1, 1_000)]);
}

/// RFC 8985 §6.2, step 5: with fewer, a quarter of the round trip later.
#[test]
fn rack_waits_for_what_is_late() {
    let mut script = Script::established(PLAIN);
    script.send(1, 10_000);
    script.sent();
    script.wait(100);
    script.gets(arrives(ACK, 1, 0, 1).sack(&[(1_001, 2_001)]));
    let (ms, sent) = script.next();
    assert_eq!((ms, sent[0].seq, sent[0].len), (25, 1, 1_000));
}

/// RFC 8985 §7: the end of a burst is probed after two round trips.
#[test]
fn probes_the_tail() {
    let mut script = Script::established(PLAIN);
    script.send(1, 3_000);
    script.sent();
    let (ms, sent) = script.next();
    assert_eq!((ms, sent[0].seq, sent.len()), (200, 2_001, 1));
}

/// The bound on what waits holds, and what does not fit comes back.
#[test]
fn sends_as_much_as_may_wait() {
    let mut script = Script::established(Options { send_capacity: 3_000, ..PLAIN });
    script.send(1, 2_999);
    script.send(3_000, 500);
    let refused = script.connection.send(data(3_500, 10));
    assert!(matches!(refused, Err(SendError::Full(bytes)) if bytes.len() == 10));
    script.sent();
    script.gets(arrives(ACK, 1, 0, 1_001));
    assert_eq!(script.connection.sendable(), 501);
}

/// RFC 6691 §2: who reports ranges carries so much less, that no segment is larger than the path takes.
#[test]
fn reports_take_room_from_data() {
    let mut script = Script::established(PLAIN);
    script.gets(arrives(ACK, 1_001, 10, 1));
    script.sent_one();
    script.connection.set_corked(true);
    script.send(1, 2_500);
    assert_eq!(script.sent_data(), [(1, MSS - 12), (989, MSS - 12)], "a block; the rest waits");
    for seq in [2_001, 3_001, 4_001] {
        script.gets(arrives(ACK, seq, 10, 1));
    }
    script.gets(arrives(ACK, 4_001, 10, 1977));
    script.connection.set_corked(false);
    let sent = script.sent_one();
    assert_eq!((sent.seq, sent.len, sent.sack.len()), (1_977, 524, 4));
    script.connection.set_corked(true);
    script.send(2_501, 2_000);
    script.gets(arrives(ACK, 4_001, 10, 2_501));
    assert_eq!(script.sent()[0].len, MSS - 36, "four blocks");
    script.gets(arrives(ACK, 1, 6_000, 2_501));
    script.sent();
    script.send(4_501, 1_000);
    assert_eq!(script.sent_data(), [(4_429, MSS)], "nothing is reported any more");
}

/// RFC 9293 §3.9.1.2: what ends a write is pushed, also when it is sent again, and what ends a burst of several segments; nothing else is.
#[test]
fn pushes_ends_of_writes_and_of_bursts() {
    let mut script = Script::established(PLAIN);
    script.send(1, 4_000);
    let flags: Vec<_> = script.sent().iter().map(|sent| sent.flags).collect();
    assert_eq!(flags, [ACK, ACK, ACK, ACK | PSH]);
    let mut script = Script::established(PLAIN);
    script.send(1, 5_000);
    let bursts = core::iter::from_fn(|| script.connection.poll_transmit(script.now, 60_000));
    let bursts: Vec<_> = bursts.map(|burst| (burst.payload.concat().len(), burst.header.flags)).collect();
    assert_eq!(bursts, [(2_000, ACK | PSH), (2_000, ACK | PSH), (1_000, ACK | PSH)], "two at least, on long paths");
    let (_, again) = script.next();
    assert_eq!((again[0].seq, again[0].flags), (4_001, ACK | PSH), "the probe of the tail");
}

/// What is to be followed by more is held back, and its end is not pushed (`MSG_MORE` of Linux).
#[test]
fn more_is_not_pushed() {
    let mut script = Script::established(PLAIN);
    script.connection.set_corked(true);
    script.send(1, 1_500);
    script.connection.set_unpushed(true);
    assert_eq!(script.sent_one().flags, ACK);
    script.connection.set_corked(false);
    assert_eq!((script.sent_one().flags, script.connection.is_corked()), (ACK, false));
}

/// Slow start doubles a window of which half is in use, and leaves one alone that is not.
#[test]
fn slow_start_needs_half_of_the_window() {
    for (segments, expected) in [(5, 10), (6, 12)] {
        let mut script = Script::established(PLAIN);
        script.send(1, segments * MSS);
        assert_eq!(script.sent().len(), segments as usize);
        script.wait(100);
        for acked in 1..=segments / 2 {
            script.gets(arrives(ACK, 1, 0, 1 + 2 * acked * MSS));
        }
        assert_eq!(script.connection.info(script.now).snd_cwnd, expected);
    }
}

/// A record has segments of its own, also small ones (`MSG_EOR` of Linux).
#[test]
fn records_share_no_segment() {
    let mut script = Script::established(PLAIN);
    script.send(1, 1_500);
    script.connection.end_record();
    script.send(1_501, 300);
    script.connection.end_record();
    script.send(1_801, 3_000);
    let sent: Vec<_> = script.sent().iter().map(|sent| (sent.seq, sent.len, sent.flags == ACK | PSH)).collect();
    let ends = [(1, 1_000, false), (1_001, 500, true), (1_501, 300, true), (1_801, 1_000, false)];
    assert_eq!(sent[..4], ends);
}

/// Who says so twice has said it once.
#[test]
fn a_record_ends_once() {
    let mut script = Script::established(PLAIN);
    script.send(1, 300);
    script.connection.end_record();
    script.connection.end_record();
    script.send(301, 2_000);
    assert_eq!(script.sent_data(), [(1, 300), (301, 1_000), (1_301, 1_000)]);
}

/// RFC 8985 §7.2: where the timeout would come before the probe, the probe takes its place.
#[test]
fn a_probe_takes_the_place_of_an_earlier_timeout() {
    let mut script = Script::established(PLAIN);
    script.send(1, 1_000);
    script.sent();
    let (first, _) = script.next();
    let (second, _) = script.next();
    let (third, _) = script.next();
    assert_eq!((first, second, third), (300, 300, 600));
}

/// The end of a long write does not wait for its beginning (Nagle's algorithm as Minshall has mended it); the next small one waits for it.
#[test]
fn nagle_waits_for_small_segments_only() {
    let mut script = Script::established(PLAIN);
    script.send(1, 1_500);
    assert_eq!(script.sent_data(), [(1, 1_000), (1_001, 500)]);
    script.send(1_501, 100);
    assert_eq!(script.sent(), []);
    script.gets(arrives(ACK, 1, 0, 1_501));
    assert_eq!(script.sent_data(), [(1_501, 100)]);
}

/// The end of the stream alone does not wait for the congestion window.
#[test]
fn the_end_passes_a_full_window() {
    let mut script = Script::established(PLAIN);
    script.send(1, 10 * MSS);
    assert_eq!(script.sent().len(), 10);
    script.connection.close();
    assert_eq!(script.sent_data(), [(10_001, 0)]);
}

/// RFC 5482: the time counts from when something was sent, not from when the other side was heard.
#[test]
fn user_timeout_begins_with_what_is_sent() {
    let mut script = Script::established(Options { user_timeout: Some(Duration::from_secs(3)), ..PLAIN });
    script.wait(60_000);
    script.send(1, 10);
    script.sent();
    for _ in 0..3 {
        script.next();
    }
    assert_eq!(script.connection.state(), State::Established);
}

/// RFC 5681 §4.1: a window that says what the path took long ago lets out no more than the first one; back to three quarters of it slow
/// start leads. As an option, as `tcp_slow_start_after_idle` of Linux.
#[test]
fn after_idle_time_the_window_is_the_initial_one() {
    for (restarts_after_idle, count) in [(true, 10), (false, 20)] {
        let mut script = Script::established(Options { restarts_after_idle, ..PLAIN });
        script.send(1, 10_000);
        script.sent();
        script.wait(100);
        script.gets(arrives(ACK, 1, 0, 10_001));
        script.wait(100);
        script.send(10_001, 1_000);
        script.sent();
        script.wait(100);
        script.gets(arrives(ACK, 1, 0, 11_001));
        assert_eq!(
            script.connection.info(script.now).snd_cwnd,
            20,
            "a pause that is shorter than a timeout changes nothing"
        );
        script.wait(1_000);
        script.send(11_001, 30_000);
        assert_eq!(script.sent().len(), count);
        assert_eq!(script.connection.info(script.now).snd_cwnd, u32::try_from(count).expect("it is small"));
    }
}

/// What fills the other side's window is pushed, though more waits: it need not wait for that (RFC 9293 §3.9.1.2).
#[test]
fn what_fills_the_window_is_pushed() {
    let mut script = Script::established(PLAIN);
    script.gets(arrives(ACK, 1, 0, 1).window(2_500));
    script.send(1, 10_000);
    let pushed: Vec<bool> = script.sent().iter().map(|sent| sent.flags.contains(PSH)).collect();
    assert_eq!(pushed, [false, true]);
}

/// A burst is half of the other side's window at most, so that acknowledgements keep coming.
#[test]
fn a_burst_is_half_of_the_window_at_most() {
    let mut script = Script::new(PLAIN);
    script.sent();
    script.gets(arrives(SYN | ACK, 0, 0, 1).window(4_000).options(|header| header.options.mss = 1_000.try_into().ok()));
    script.sent();
    script.send(1, 10_000);
    let bursts: Vec<usize> = core::iter::from_fn(|| script.connection.poll_transmit(script.now, 65_000))
        .map(|outgoing| outgoing.payload.concat().len())
        .collect();
    assert_eq!(bursts, [2_000, 2_000]);
    assert_eq!(Script::new(PLAIN).connection.size_goal(), 65_000, "of a window that was never told half is no bound");
    assert_eq!((script.connection.size_goal(), script.connection.may_leave()), (2_000, 0));
}

/// RFC 9293 §3.8.5: urgent data are announced though there is no room for them, in what the other side takes; a question follows that it
/// answers. Whoever only acknowledges says so too.
#[test]
fn urgent_data_are_announced_into_a_closed_window() {
    let urg = |script: &mut Script| -> Vec<(u32, u32, u16)> {
        core::iter::from_fn(|| script.connection.poll_transmit(script.now, MSS))
            .map(|sent| (sent.header.seq - OURS, sent.len, sent.header.urgent_pointer))
            .collect()
    };
    let mut script = Script::established(PLAIN);
    script.gets(arrives(ACK, 1, 0, 1).window(0));
    script.send(1, 100);
    script.connection.end_urgent();
    assert_eq!(urg(&mut script), [(1, 0, 100), (0, 0, 0)]);
    script.gets(arrives(ACK, 1, 0, 1).window(0));
    script.gets(arrives(ACK | PSH, 1, 10, 1).window(0));
    assert_eq!(urg(&mut script), [(1, 0, 100)], "an acknowledgement");
    script.now = script.connection.deadline().expect("it is asked again");
    script.connection.handle_timeout(script.now);
    assert_eq!(urg(&mut script), [(1, 0, 100), (0, 0, 0)]);
    script.gets(arrives(ACK, 11, 0, 1));
    assert_eq!(urg(&mut script), [(1, 100, 100)]);
    script.gets(arrives(ACK | PSH, 11, 10, 101));
    assert_eq!(urg(&mut script), [(101, 0, 0)]);
}

/// RFC 9293 §3.8.5: the pointer says where urgent data end, in each segment up to there; they wait for nothing.
#[test]
fn urgent_data_are_called_so() {
    let mut script = Script::established(PLAIN);
    script.send(1, 100);
    script.sent();
    script.send(101, 2_100);
    script.connection.end_urgent();
    script.send(2_201, 1_000);
    let sent: Vec<(u32, bool, u16)> = core::iter::from_fn(|| script.connection.poll_transmit(script.now, 65_000))
        .map(|sent| (sent.header, sent.payload.concat().len()))
        .map(|(header, len)| {
            (u32::try_from(len).expect("short"), header.flags.contains(TcpFlags::URG), header.urgent_pointer)
        })
        .collect();
    assert_eq!(sent, [(1_000, true, 2_100), (1_000, true, 1_100), (1_000, true, 100), (100, false, 0)]);
    script.wait(100);
    script.gets(arrives(ACK, 1, 0, 101));
    let (_, again) = script.next();
    assert!(again[0].flags.contains(TcpFlags::URG) || again[0].seq > 2_200, "also when they are sent again");
}
