//! Buffers that grow with the path.

use core::time::Duration;

use sunstar_wire::WindowScale;

use super::pair::Pair;
use super::script::{ACK, MSS, PLAIN, SYN, Script, arrives};
use crate::tcp::connection::{Options, State};

/// A receiver with a bound on what its window grows to.
const GROWING: Options = Options { receive_capacity: 20_000, max_receive_capacity: 60_000, ..PLAIN };

/// The next `segments` arrive, evenly over 100 ms; the application takes them if it reads. Answers with the last window that was told.
fn round(script: &mut Script, next: &mut u32, segments: u32, is_reading: bool) -> u32 {
    let mut window = 0;
    for _ in 0..segments {
        script.gets(arrives(ACK, *next, MSS, 1));
        if is_reading {
            script.received(*next);
        }
        *next += MSS;
        window = script.sent().last().map_or(window, |sent| sent.window);
        script.connection.grow(u64::MAX);
        script.now = script.now + Duration::from_micros(100_000 / u64::from(segments));
        script.connection.handle_timeout(script.now);
    }
    window
}

/// RFC 9293 §3.8.6.2.1, and dynamic right-sizing: the window becomes twice what the application takes in a round trip, and no larger than
/// it may.
#[test]
fn window_grows_with_what_is_taken() {
    let mut script = Script::established(GROWING);
    let mut next = 1;
    for _ in 0..8 {
        assert!(round(&mut script, &mut next, 18, true) <= 60_000);
    }
    assert_eq!(script.connection.receive_capacity(), 60_000);
    assert!(round(&mut script, &mut next, 2, true) > 40_000, "it is told");
    let info = script.connection.info(script.now);
    assert!(info.rcv_space >= 18 * MSS && info.rcv_rtt >= Duration::from_millis(80), "{info:?}");
}

/// RFC 7323 §1.1: a window may be as large as the path, and all of it can be kept behind a gap.
#[test]
fn window_grows_to_long_fat_paths() {
    let options = Options { max_receive_capacity: 64 << 20, ..GROWING };
    let mut script = Script::new(options);
    script.sent();
    script.wait(100);
    script.gets(arrives(SYN | ACK, 0, 0, 1).options(|header| {
        header.options.mss = u16::try_from(MSS).ok().and_then(|mss| mss.try_into().ok());
        header.options.window_scale = Some(WindowScale::new(0));
    }));
    script.sent();
    let mut next = 1;
    for segments in [18, 18, 18].into_iter().chain((4..14).map(|shift| 1 << shift)) {
        round(&mut script, &mut next, segments, true);
    }
    assert!(script.connection.receive_capacity() > 12 << 20, "{}", script.connection.receive_capacity());
    let gap = next;
    for segment in 1..8_000 {
        script.gets(arrives(ACK, gap + segment * MSS, MSS, 1));
        script.sent();
    }
    assert_eq!(script.connection.take_refused(), [0, 0]);
}

/// What the application leaves lying is no reason for a larger window.
#[test]
fn window_does_not_grow_for_who_does_not_read() {
    let options = Options { receive_capacity: 65_000, max_receive_capacity: 1 << 20, ..PLAIN };
    let mut script = Script::established(options);
    let mut next = 1;
    round(&mut script, &mut next, 60, true);
    for _ in 0..4 {
        round(&mut script, &mut next, 18, false);
    }
    assert_eq!(script.connection.receive_capacity(), 65_000);
}

/// A trickle needs no window, and who has it measured once does not go on.
#[test]
fn window_does_not_grow_for_a_trickle() {
    let mut script = Script::established(GROWING);
    let mut next = 1;
    for _ in 0..80 {
        round(&mut script, &mut next, 2, true);
    }
    assert_eq!((script.connection.receive_capacity(), script.connection.grown()), (20_000, 0));
}

/// Who says how much there is to be means it (`SO_RCVBUF`): nothing grows any more, and what was told holds.
#[test]
fn explicit_sizes_hold() {
    let mut script = Script::established(GROWING);
    let mut next = 1;
    for _ in 0..8 {
        round(&mut script, &mut next, 18, true);
    }
    let fixed = Options { receive_capacity: 30_000, max_receive_capacity: 30_000, ..*script.connection.options() };
    script.connection.set_options(fixed);
    let edge = next + script.connection.info(script.now).rcv_wnd;
    assert_eq!((script.connection.receive_capacity(), script.connection.grown()), (30_000, 0));
    for _ in 0..8 {
        let window = round(&mut script, &mut next, 18, true);
        assert!(next + window >= edge, "the right edge stays");
    }
    assert_eq!(script.connection.receive_capacity(), 30_000);
}

/// The send buffer is twice the congestion window, for who fills it, up to its bound.
#[test]
fn send_buffer_grows_with_the_congestion_window() {
    let options = Options { send_capacity: 12_000, max_send_capacity: 50_000, ..PLAIN };
    let mut script = Script::established(options);
    script.connection.grow(u64::MAX);
    assert_eq!(script.connection.send_capacity(), 12_000, "nobody uses it");
    let (mut sent, mut acked) = (0, 0);
    for _ in 0..6 {
        while script.connection.sendable() > 0 {
            script.send(1 + sent, 3_000);
            sent += 3_000;
            script.sent();
            script.connection.grow(u64::MAX);
        }
        script.wait(100);
        let info = script.connection.info(script.now);
        assert!(script.connection.send_capacity() <= (2 * info.snd_cwnd * MSS).max(12_000), "{info:?}");
        acked = sent - info.notsent_bytes;
        script.gets(arrives(ACK, 1, 0, 1 + acked));
        script.sent();
    }
    assert!(acked > 0);
    assert_eq!(script.connection.send_capacity(), 50_000);
}

/// Without room nothing grows, and that is told.
#[test]
fn growth_is_bounded_from_outside() {
    let mut script = Script::established(Options { send_capacity: 12_000, max_send_capacity: 50_000, ..PLAIN });
    script.send(1, 12_000);
    script.sent();
    let growth = script.connection.grow(1_000);
    assert_eq!((growth.bytes, growth.is_refused, script.connection.send_capacity()), (1_000, true, 13_000));
}

/// Over a long path a transfer is as fast as the path, and not as the first window is.
#[test]
fn transfers_fill_a_long_path() {
    let took = |options: Options| {
        let mut pair = Pair::new(options, options);
        for end in &mut pair.ends {
            end.fate = Box::new(|_| vec![Duration::from_millis(50)]);
        }
        pair.run_until(|pair| pair.ends.iter().all(|end| end.connection.state() == State::Established));
        let begin = pair.now;
        pair.send(0, 8_000_000);
        pair.run_until(|pair| pair.ends[1].received == 8_000_000);
        (pair.now - begin, pair.ends.each_ref().map(|end| end.connection.grown()))
    };
    let (fixed, grown) = took(Options { max_receive_capacity: 0, max_send_capacity: 0, ..Options::DEFAULT });
    assert_eq!(grown, [0, 0]);
    assert!(fixed > Duration::from_secs(6), "a window of 128 KiB per 100 ms: {fixed:?}");
    for has_timestamps in [true, false] {
        let (tuned, grown) = took(Options { offers_timestamps: has_timestamps, ..Options::DEFAULT });
        // Acknowledgements of whole bursts let slow start grow by eight segments each.
        assert!(tuned < Duration::from_secs(4), "{tuned:?}");
        assert!(grown[0] > 500_000 && grown[1] > 500_000, "{grown:?}");
    }
}
