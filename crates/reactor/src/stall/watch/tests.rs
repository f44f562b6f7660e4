use sunstar_executor::{Executor, ExecutorConfig};

use super::*;
use crate::platform::LinuxPlatform;

const MILLI: u64 = 1_000_000;

/// A watched executor whose looks happen at times that the test makes up.
struct Scene {
    executor: Executor,
    watch: Watch,
}

impl Scene {
    fn new() -> Self {
        Self::with_threshold(Duration::from_nanos(25 * MILLI))
    }

    fn with_threshold(threshold: Duration) -> Self {
        let platform = LinuxPlatform::new().expect("descriptors are free");
        let executor = Executor::new(ExecutorConfig::default(), Box::new(platform));
        let config = StallConfig { threshold, reports_per_minute: 2 };
        let timer = Timer::of_this_thread().expect("timers are free");
        let watch = Watch::new(3, Arc::clone(executor.progress()), config, timer);
        Self { executor, watch }
    }

    fn look_at(&self, millis: u64) {
        // SAFETY: this thread is the shard's, and the timer is armed by nobody who would interrupt it.
        unsafe { self.watch.look_at(millis * MILLI, 0) };
    }

    /// How long the stall had lasted that was reported, if one was.
    fn reported_millis(&self) -> Option<u128> {
        // SAFETY: only the test's thread takes.
        unsafe { self.watch.slot.take() }.map(|stall| stall.duration.as_millis())
    }
}

#[test]
fn a_shard_that_gets_on_does_not_stall() {
    let scene = Scene::new();
    for tick in 1..10 {
        scene.executor.round();
        scene.look_at(25 * tick);
    }
    assert_eq!(scene.watch.stats(), StallStats::default());
    assert_eq!(scene.reported_millis(), None);
}

#[test]
fn a_stall_is_counted_once_and_reported_when_its_length_doubles() {
    let scene = Scene::new();
    scene.look_at(100);
    for (tick, reported) in [(125, Some(25)), (150, Some(50)), (175, None), (199, None)] {
        scene.look_at(tick);
        assert_eq!(scene.reported_millis(), reported, "at {tick} ms");
    }
    let stats = scene.watch.stats();
    assert_eq!((stats.stalls, stats.longest, stats.suppressed_reports), (1, Duration::from_millis(99), 0));
    scene.executor.round();
    scene.look_at(225);
    scene.look_at(250);
    assert_eq!(scene.watch.stats().stalls, 2);
}

#[test]
fn a_look_that_comes_too_soon_does_not_count() {
    let scene = Scene::new();
    scene.look_at(100);
    scene.look_at(105);
    assert_eq!(scene.watch.stats(), StallStats::default());
    scene.look_at(122);
    assert_eq!(scene.reported_millis(), Some(22));
}

#[test]
fn reports_beyond_the_limit_are_counted_until_the_minute_is_over() {
    let scene = Scene::new();
    let mut reports = 0;
    for stall in 0..5 {
        scene.executor.round();
        scene.look_at(1_000_000 + 100 * stall);
        scene.look_at(1_000_025 + 100 * stall);
        reports += u32::from(scene.reported_millis().is_some());
    }
    assert_eq!(reports, 2);
    assert_eq!(scene.watch.stats().suppressed_reports, 3);
    scene.executor.round();
    scene.look_at(1_060_100);
    scene.look_at(1_060_125);
    // SAFETY: only the test's thread takes.
    let stall = unsafe { scene.watch.slot.take() }.expect("a new minute has begun");
    assert_eq!(stall.suppressed, 3);
}

#[test]
fn a_report_waits_for_no_reporter() {
    let scene = Scene::new();
    scene.look_at(100);
    scene.look_at(125);
    scene.look_at(200);
    assert_eq!(scene.watch.stats().suppressed_reports, 1, "nobody took the first one");
    assert_eq!(scene.reported_millis(), Some(25));
}

#[test]
fn a_sleeping_shard_is_left_alone_until_it_wakes() {
    // So long that no signal comes while the test runs.
    let scene = Scene::with_threshold(Duration::from_secs(3600));
    assert!(!scene.watch.timer.is_armed());
    scene.watch.resume();
    assert!(scene.watch.timer.is_armed());
    assert!(scene.executor.prepare_sleep().is_idle());
    scene.look_at(100);
    assert!(!scene.watch.timer.is_armed());
    scene.executor.end_sleep();
    scene.watch.resume();
    assert!(scene.watch.timer.is_armed());
    scene.watch.timer.disarm();
}
