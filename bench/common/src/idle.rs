//! What two idle shards cost.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::cli::Entry;
use crate::local::Runtime;
use crate::measure::Reporter;

/// How long the shards have to come to rest before they are watched.
pub const SETTLE: Duration = Duration::from_millis(500);

/// The benchmark of a runtime of which two instances idle side by side.
pub const fn entries<R: Runtime>() -> [Entry; 1] {
    [Entry::new(R::NAME, "idle", two_threads::<R>)]
}

fn two_threads<R: Runtime>(reporter: Reporter) {
    let rest = SETTLE + reporter.plan.idle + Duration::from_millis(200);
    let shards: Vec<_> = (0..2).map(|core| std::thread::spawn(move || R::run(core, move || R::sleep(rest)))).collect();
    watch(reporter);
    for shard in shards {
        shard.join().expect("an idle shard has nothing to panic about");
    }
}

/// Watches the own process for a while, from a thread that is no shard, and reports `idle_cpu` and `idle_rss`.
pub fn watch(reporter: Reporter) {
    std::thread::sleep(SETTLE);
    let (cpu, wall) = (process_seconds(), Instant::now());
    std::thread::sleep(reporter.plan.idle);
    let percent = 100.0 * (process_seconds() - cpu) / wall.elapsed().as_secs_f64();
    reporter.value("idle_cpu", "% of a core", percent, 1);
    reporter.value("idle_rss", "MiB", resident_mib(), 1);
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn process_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Resident memory of the own process.
///
/// # Panics
/// If procfs is not mounted.
pub fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.expect("the kernel tells VmRSS in kB") / 1024.0
}
