//! How much of the machine others used while something was measured.

use std::fs;
use std::time::Instant;

/// Kernel time units per second in `/proc`; fixed by the kernel's interface.
pub(super) const TICKS_PER_SECOND: f64 = 100.0;

/// More than so many cores used by others make a round noisy.
pub(super) const NOISY_CORES: f64 = 0.1;

/// Watches the machine from its creation on.
pub(super) struct Watch {
    begin: Instant,
    busy: f64,
    own: f64,
}

impl Watch {
    /// Begins to watch.
    pub(super) fn start() -> Self {
        Self { begin: Instant::now(), busy: busy_seconds(), own: own_seconds() }
    }

    /// How many cores others kept busy since the start, the hypervisor's other guests included. Not a number without procfs.
    pub(super) fn cores_used_by_others(&self) -> f64 {
        let others = (busy_seconds() - self.busy) - (own_seconds() - self.own);
        others.max(0.0) / self.begin.elapsed().as_secs_f64()
    }
}

/// Time that all cores spent working or stolen by the hypervisor.
fn busy_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    busy_ticks(&stat).map_or(f64::NAN, |ticks| ticks / TICKS_PER_SECOND)
}

/// Time that this process and its ended children spent working.
pub(super) fn own_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    own_ticks(&stat).map_or(f64::NAN, |ticks| ticks / TICKS_PER_SECOND)
}

/// Sums the fields of the first line of `/proc/stat` but for the idle ones (4 and 5).
fn busy_ticks(stat: &str) -> Option<f64> {
    let fields: Vec<f64> =
        stat.lines().next()?.split_whitespace().skip(1).map(|field| field.parse().ok()).collect::<Option<_>>()?;
    // user, nice, system, idle, iowait, irq, softirq, steal; guest time is in user time already.
    Some(fields.iter().take(3).sum::<f64>() + fields.iter().skip(5).take(3).sum::<f64>())
}

/// Sums utime, stime, cutime and cstime: the fields 14 to 17 of `/proc/self/stat`.
fn own_ticks(stat: &str) -> Option<f64> {
    // The second field is the program's name in parentheses, which may hold spaces.
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<f64> =
        after_name.split_whitespace().skip(11).take(4).map(|field| field.parse().ok()).collect::<Option<_>>()?;
    (fields.len() == 4).then(|| fields.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::{busy_ticks, own_ticks};

    #[test]
    fn busy_time_leaves_idle_and_guests_out() {
        assert_eq!(busy_ticks("cpu  1 2 4 1000 1000 8 16 32 500 500\ncpu0 …"), Some(63.0));
        assert_eq!(busy_ticks(""), None);
    }

    #[test]
    fn own_time_has_the_children_in_it() {
        let stat = "7 (a (b) c) R 1 2 3 4 5 6 7 8 9 10 100 200 300 400 20 0";
        assert_eq!(own_ticks(stat), Some(1000.0));
        assert_eq!(own_ticks("7 (x) R 1"), None);
    }
}
