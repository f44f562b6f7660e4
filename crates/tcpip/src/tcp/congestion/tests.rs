use core::time::Duration;

use proptest::prelude::*;

use super::{Ack, Algorithm, AlgorithmName, CongestionControl, Window};
use crate::time::Instant;

const MSS: u32 = 1_000;

fn window(cwnd: u32, ssthresh: u32) -> Window {
    Window { cwnd: cwnd * MSS, ssthresh: ssthresh * MSS, mss: MSS }
}

/// A path with a steady round-trip time, all of whose window is in use.
struct Path {
    now: Instant,
    rtt: Duration,
    window: Window,
    algorithm: Algorithm,
}

impl Path {
    fn new(name: AlgorithmName, rtt_ms: u64, window: Window) -> Self {
        Self {
            now: Instant::from_micros(1_000_000),
            rtt: Duration::from_millis(rtt_ms),
            window,
            algorithm: Algorithm::new(name),
        }
    }

    /// One round trip: a window's worth of segments is acknowledged, evenly spaced.
    fn round(&mut self) {
        let segments = self.window.cwnd / MSS;
        for segment in 0..segments {
            self.now = self.now + self.rtt / segments;
            self.ack(segment == 0, true);
        }
    }

    fn ack(&mut self, begins_round: bool, is_cwnd_limited: bool) {
        let rtt = u32::try_from(self.rtt.as_micros()).expect("it is short");
        let ack =
            Ack { now: self.now, bytes: MSS, rtt_micros: Some(rtt), srtt_micros: rtt, begins_round, is_cwnd_limited };
        self.algorithm.on_ack(&mut self.window, &ack);
    }

    fn lose(&mut self) {
        self.algorithm.on_loss(&mut self.window);
        self.window.cwnd = self.window.ssthresh;
    }

    fn cwnd(&self) -> u32 {
        self.window.cwnd / MSS
    }
}

/// RFC 6928 §2: ten segments, at most 14,600 bytes, at least two segments.
#[test]
fn initial_window_is_ten_segments() {
    assert_eq!(Window::new(1_460).cwnd, 14_600);
    assert_eq!(Window::new(536).cwnd, 5_360);
    assert_eq!(Window::new(1_500).cwnd, 14_600);
    assert_eq!(Window::new(8_960).cwnd, 17_920);
    assert!(Window::new(1_460).is_in_slow_start());
}

/// RFC 5681 §3.1: slow start doubles per round trip, congestion avoidance adds a segment.
#[test]
fn newreno_doubles_and_then_adds() {
    let mut path = Path::new(AlgorithmName::NewReno, 100, window(10, 40));
    path.round();
    assert_eq!(path.cwnd(), 20);
    path.round();
    assert_eq!(path.cwnd(), 40);
    path.round();
    assert_eq!(path.cwnd(), 41);
    path.round();
    assert_eq!(path.cwnd(), 42);
}

/// RFC 5681 §3.1, equation 4: half the window, but two segments.
#[test]
fn newreno_halves_at_a_loss() {
    let mut path = Path::new(AlgorithmName::NewReno, 100, window(30, 20));
    path.lose();
    assert_eq!(path.cwnd(), 15);
    path.window.cwnd = MSS;
    path.lose();
    assert_eq!(path.cwnd(), 2);
}

/// RFC 5681 §3.1: after a timeout one segment, and slow start to where half the window was.
#[test]
fn timeout_leaves_one_segment() {
    for (name, ssthresh) in [(AlgorithmName::NewReno, 15), (AlgorithmName::Cubic, 21)] {
        let mut path = Path::new(name, 100, window(30, 20));
        path.algorithm.on_timeout(&mut path.window);
        assert_eq!((path.window.cwnd, path.window.ssthresh), (MSS, ssthresh * MSS));
    }
}

/// RFC 7661 §4: who does not use the window learns nothing about a larger one.
#[test]
fn window_that_is_not_used_does_not_grow() {
    for name in AlgorithmName::ALL {
        for ssthresh in [5, 40] {
            let mut path = Path::new(name, 100, window(10, ssthresh));
            for ack in 0..100 {
                path.now = path.now + Duration::from_millis(10);
                path.ack(ack % 10 == 0, false);
            }
            assert_eq!(path.cwnd(), 10, "{name:?}");
        }
    }
}

/// RFC 9438 §4.6: seven tenths.
#[test]
fn cubic_leaves_seven_tenths_at_a_loss() {
    let mut path = Path::new(AlgorithmName::Cubic, 100, window(100, 50));
    path.lose();
    assert_eq!(path.cwnd(), 70);
}

/// RFC 9438 §4.2: K = cbrt((W_max - cwnd) / C) = cbrt(300 / 0.4) = 9.086 s to the size before the loss, flat there, convex beyond.
#[test]
fn cubic_follows_its_curve() {
    let mut path = Path::new(AlgorithmName::Cubic, 100, window(1_000, 500));
    path.lose();
    assert_eq!(path.cwnd(), 700);
    let begin = path.now;
    let curve = |t: f64| 0.4 * (t - 9.0856).powi(3) + 1_000.0;
    while path.now - begin < Duration::from_secs(15) {
        path.round();
        let t = (path.now - begin).as_secs_f64();
        let expected = curve(t);
        let cwnd = f64::from(path.window.cwnd) / f64::from(MSS);
        assert!((cwnd - expected).abs() < 12.0, "{cwnd} segments instead of {expected} after {t} s");
    }
    assert!(path.cwnd() > 1_070, "the curve is convex behind the plateau: {}", path.cwnd());
}

/// RFC 9438 §4.3: on a short path CUBIC is at least as fast as Reno with the same reduction: 0.53 segments per round trip.
#[test]
fn cubic_is_not_slower_than_reno() {
    let mut path = Path::new(AlgorithmName::Cubic, 1, window(100, 50));
    path.lose();
    for _ in 0..50 {
        path.round();
    }
    assert_eq!(path.cwnd(), 70 + 26, "50 round trips times 9/17");
    // Once it is back at 100, a segment per round trip.
    for _ in 0..8 {
        path.round();
    }
    let cwnd = path.cwnd();
    for _ in 0..20 {
        path.round();
    }
    assert_eq!(path.cwnd(), cwnd + 20);
}

/// RFC 9438 §4.7: the second of two losses near one another leaves room: the curve is flat at 0.85 of the window at the loss.
#[test]
fn cubic_makes_room_when_it_did_not_get_back() {
    let after_second_loss = |first: u32, second: u32| {
        let mut path = Path::new(AlgorithmName::Cubic, 100, window(first, 2));
        path.lose();
        path.window.cwnd = second * MSS;
        path.lose();
        let begin = path.now;
        while path.now - begin < Duration::from_secs(6) {
            path.round();
        }
        path.cwnd()
    };
    assert!(after_second_loss(1_000, 800) + 50 < after_second_loss(800, 800));
}

/// RFC 9438 §4.8: after a timeout the plateau is where congestion avoidance begins, not where the loss was.
#[test]
fn cubic_begins_flat_after_a_timeout() {
    let mut path = Path::new(AlgorithmName::Cubic, 100, window(1_000, 500));
    path.algorithm.on_timeout(&mut path.window);
    while path.window.is_in_slow_start() {
        path.round();
    }
    let cwnd = path.cwnd();
    for _ in 0..10 {
        path.round();
    }
    assert!(path.cwnd() - cwnd < 10, "a second of the flat part: {} after {cwnd}", path.cwnd());
}

/// RFC 9438 §4.2: idle time does not count.
#[test]
fn cubic_does_not_jump_after_idle_time() {
    let mut path = Path::new(AlgorithmName::Cubic, 100, window(100, 50));
    path.lose();
    for _ in 0..10 {
        path.round();
    }
    let cwnd = path.cwnd();
    path.now = path.now + Duration::from_secs(60);
    path.ack(true, false);
    path.round();
    assert!(path.cwnd() <= cwnd + 10, "{} after {cwnd}", path.cwnd());
}

/// RFC 9406 §4.2: a rise of the round-trip time ends slow start within five rounds, at a quarter of the pace.
#[test]
fn hystart_leaves_slow_start_when_the_round_trip_grows() {
    for name in AlgorithmName::ALL {
        let mut path = Path::new(name, 40, window(10, 1_000_000));
        path.round();
        path.round();
        assert_eq!(path.cwnd(), 40);
        path.rtt = Duration::from_millis(46);
        path.round();
        let entered = path.cwnd();
        assert!(entered < 60, "conservative after the eighth sample: {entered}");
        let mut rounds = 1;
        while path.window.is_in_slow_start() {
            path.round();
            rounds += 1;
            assert!(rounds <= 6);
        }
        assert!(path.cwnd() < entered * 4, "a quarter of the pace: {}", path.cwnd());
    }
}

/// RFC 9406 §4.2: if the time falls again it was a false alarm.
#[test]
fn hystart_resumes_after_a_false_alarm() {
    let mut path = Path::new(AlgorithmName::Cubic, 40, window(10, 1_000_000));
    path.round();
    path.rtt = Duration::from_millis(50);
    path.round();
    path.rtt = Duration::from_millis(40);
    path.round();
    let cwnd = path.cwnd();
    path.round();
    assert_eq!(path.cwnd(), cwnd * 2);
}

/// RFC 9406 §4.2: a small rise is no queue.
#[test]
fn hystart_ignores_small_rises() {
    let mut path = Path::new(AlgorithmName::Cubic, 20, window(10, 1_000_000));
    for _ in 0..5 {
        path.rtt += Duration::from_millis(3);
        path.round();
    }
    assert_eq!(path.cwnd(), 320);
}

/// RFC 9406 §4.2: so many segments as receivers put together are counted of one acknowledgement, and not more.
#[test]
fn slow_start_counts_no_more_of_an_acknowledgement_than_receivers_put_together() {
    let mut window = window(100, 1_000);
    let ack = Ack {
        now: Instant::from_micros(1),
        bytes: 60 * MSS,
        rtt_micros: None,
        srtt_micros: 10_000,
        begins_round: true,
        is_cwnd_limited: true,
    };
    Algorithm::new(AlgorithmName::Cubic).on_ack(&mut window, &ack);
    assert_eq!(window.cwnd, 145 * MSS);
}

/// RFC 5681 §4.1: after idle time the initial window at most.
#[test]
fn idle_time_takes_the_window_back() {
    let mut large = window(100, 50);
    large.restart();
    assert_eq!((large.cwnd, large.ssthresh), (10 * MSS, 75 * MSS));
    let mut small = window(4, 50);
    small.restart();
    assert_eq!(small.cwnd, 4 * MSS);
}

#[test]
fn names_are_those_of_linux() {
    for name in AlgorithmName::ALL {
        assert_eq!(name.as_str().parse(), Ok(name));
        assert_eq!(Algorithm::new(name).name(), name);
    }
    let error = "bbr".parse::<AlgorithmName>().expect_err("not there");
    assert_eq!(error.to_string(), "no such congestion control; there are cubic and reno");
}

proptest! {
    /// Whatever happens: at least a segment, at least two as threshold, no jump by more than what was acknowledged.
    #[test]
    fn window_keeps_its_bounds(
        name in prop::sample::select(AlgorithmName::ALL.to_vec()),
        mss in 1..9_000u32,
        steps in prop::collection::vec((0..5u8, 0..2_000_000u64, 0..100_000u32, 1..500_000u32, any::<bool>(), any::<bool>()), 0..200),
    ) {
        let mut window = Window::new(mss);
        let mut algorithm = Algorithm::new(name);
        let mut now = Instant::from_micros(0);
        for (kind, micros, bytes, rtt, begins_round, is_cwnd_limited) in steps {
            now = now + Duration::from_micros(micros);
            let before = window;
            match kind {
                0 => {
                    algorithm.on_loss(&mut window);
                    window.cwnd = window.ssthresh;
                }
                1 => algorithm.on_timeout(&mut window),
                _ => {
                    let (rtt_micros, srtt_micros) = (Some(rtt), rtt);
                    algorithm.on_ack(&mut window, &Ack { now, bytes, rtt_micros, srtt_micros, begins_round, is_cwnd_limited });
                    prop_assert!(window.cwnd >= before.cwnd);
                    prop_assert!(window.cwnd - before.cwnd <= bytes.max(mss) + 1, "{before:?} to {window:?} by {bytes}");
                }
            }
            prop_assert!(window.cwnd >= mss && window.ssthresh >= 2 * mss);
        }
    }
}
