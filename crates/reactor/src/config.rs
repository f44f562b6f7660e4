//! How a runtime is to run.

use std::time::Duration;

use crate::cpu_set::CpuSet;
use crate::driver::Backend;
use crate::placement::PlacementOptions;
use crate::stall::StallConfig;

/// How long a shard polls without finding work before it sleeps, unless it is told otherwise.
pub const DEFAULT_IDLE_POLL_TIME: Duration = Duration::from_micros(200);

/// The options of a [runtime](crate::run). The default suits a server that has its processors to itself.
#[derive(Debug, Clone)]
pub struct Config {
    /// How many shards to run. Without it one per usable processor, but no more than the processor time that the
    /// process's control group (version 2) may use, rounded up to whole processors.
    pub smp: Option<usize>,
    /// The processors to use; all that the process may use without it. Shards that are not pinned stay on these too.
    pub cpuset: Option<CpuSet>,
    /// Whether the processors are shared with others: then shards do not poll when idle, are not pinned unless
    /// that is asked for, and may outnumber the processors.
    pub overprovisioned: bool,
    /// Whether each shard is pinned to its processor. By default it is, unless `overprovisioned`.
    pub thread_affinity: Option<bool>,
    /// Whether shards poll for ever rather than sleep when idle.
    pub poll_mode: bool,
    /// How long a shard polls without finding work before it sleeps. [`DEFAULT_IDLE_POLL_TIME`] by default, zero if
    /// `overprovisioned`.
    ///
    /// A shard that has only had timers to deal with since its last sleep goes to sleep again at once, unless the next
    /// timer is nearer than this.
    pub idle_poll_time: Option<Duration>,
    /// How shards do input and output. Without it, by io_uring where that works, else by epoll; which one it is and why is
    /// logged.
    pub reactor_backend: Option<Backend>,
    /// How long tasks of one scheduling group run before others get their turn.
    pub task_quota: Duration,
    /// How long a task may run without yielding before it is reported; zero switches the reports off. The report names places by the
    /// program's debug information, for which it needs tens of megabytes for about a second.
    pub blocked_reactor_notify: Duration,
    /// How many such reports a shard makes in a minute; further ones are counted.
    pub blocked_reactor_reports_per_minute: u32,
    /// Whether `SIGINT` and `SIGTERM` ask the runtime to stop.
    ///
    /// The first one requests the stop, the second one cuts `stop_timeout` short, and the third one (of either kind)
    /// does what it does by default, which ends the process even if it is stuck. A signal that the process was
    /// started to ignore stays ignored, as `SIGINT` is in what shells run in the background.
    pub stop_on_signals: bool,
    /// How long the main function may go on after a stop was requested, if it has asked to be
    /// [told](crate::stop_requested). If it has not, it ends at once.
    pub stop_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            smp: None,
            cpuset: None,
            overprovisioned: false,
            thread_affinity: None,
            poll_mode: false,
            idle_poll_time: None,
            reactor_backend: None,
            task_quota: Duration::from_micros(500),
            blocked_reactor_notify: Duration::from_millis(25),
            blocked_reactor_reports_per_minute: 5,
            stop_on_signals: true,
            stop_timeout: Duration::from_secs(10),
        }
    }
}

impl Config {
    pub(crate) fn placement(&self) -> PlacementOptions {
        PlacementOptions { smp: self.smp, cpuset: self.cpuset.clone(), overprovisioned: self.overprovisioned }
    }

    pub(crate) fn pins_threads(&self) -> bool {
        self.thread_affinity.unwrap_or(!self.overprovisioned)
    }

    /// How long to poll before sleeping; `None` means never to sleep.
    pub(crate) fn patience(&self) -> Option<Duration> {
        let default = if self.overprovisioned { Duration::ZERO } else { DEFAULT_IDLE_POLL_TIME };
        (!self.poll_mode).then(|| self.idle_poll_time.unwrap_or(default))
    }

    pub(crate) fn stalls(&self) -> Option<StallConfig> {
        (!self.blocked_reactor_notify.is_zero()).then_some(StallConfig {
            threshold: self.blocked_reactor_notify,
            reports_per_minute: self.blocked_reactor_reports_per_minute,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overprovisioned_shards_neither_poll_nor_are_pinned() {
        let alone = Config::default();
        assert!(alone.pins_threads());
        assert_eq!(alone.patience(), Some(DEFAULT_IDLE_POLL_TIME));
        let shared = Config { overprovisioned: true, ..Config::default() };
        assert!(!shared.pins_threads());
        assert_eq!(shared.patience(), Some(Duration::ZERO));
    }

    #[test]
    fn what_is_said_outright_wins() {
        let patience = Duration::from_micros(7);
        let config = Config {
            overprovisioned: true,
            thread_affinity: Some(true),
            idle_poll_time: Some(patience),
            blocked_reactor_notify: Duration::ZERO,
            ..Config::default()
        };
        assert!(config.pins_threads());
        assert_eq!(config.patience(), Some(patience));
        assert!(config.stalls().is_none());
        assert_eq!(Config { poll_mode: true, ..config }.patience(), None);
    }
}
