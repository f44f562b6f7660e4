//! What a report of a stall needs is given back. Alone in its process, whose memory is looked at.

use std::fs;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sunstar_executor::timer::sleep;
use sunstar_reactor::{Config, run};

/// Looks at the memory when there is a report: what names its places is there then.
struct Look;

static PEAK_KIB: AtomicU64 = AtomicU64::new(0);

impl log::Log for Look {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target() == "sunstar::stall" {
            PEAK_KIB.fetch_max(resident_kib(), Ordering::Release);
        }
    }

    fn flush(&self) {}
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("there is one");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has this line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn debug_information_is_given_back_after_a_report() {
    log::set_logger(&Look).expect("nobody else sets one");
    log::set_max_level(log::LevelFilter::Warn);
    let config = Config {
        smp: Some(1),
        overprovisioned: true,
        blocked_reactor_notify: Duration::from_millis(5),
        ..Config::default()
    };
    let (before, peak, after) = run(config, || async {
        let before = resident_kib();
        while PEAK_KIB.load(Ordering::Acquire) == 0 {
            spin_loop();
        }
        let peak = PEAK_KIB.load(Ordering::Acquire);
        let is_given_back = |now: u64| now.saturating_sub(before) < peak.saturating_sub(before) / 4;
        for _ in 0..600 {
            if is_given_back(resident_kib()) {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        (before, peak, resident_kib())
    })
    .expect("it returns");
    println!("{before} KiB before, {peak} with the report, {after} after it");
    assert!(peak > before + 4096, "a report needs much: {before} KiB before, {peak} with it");
    assert!(
        after.saturating_sub(before) < (peak - before) / 4,
        "{before} KiB before, {peak} with it, {after} after it"
    );
}
