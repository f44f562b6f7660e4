//! What one shard's handler remembers from look to look.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use sunstar_executor::Progress;

use super::timer::Timer;
use super::trace::{Slot, Stall, Trace};
use super::{StallConfig, StallStats, reporter};
use crate::clock::kernel_nanos;

const MINUTE_NANOS: u64 = 60_000_000_000;

/// The memory of one shard's handler. Its numbers are atomic because a handler may not borrow; only the shard's
/// thread writes them.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) shard: usize,
    pub(super) slot: Slot,
    pub(super) timer: Timer,
    progress: Arc<Progress>,
    config: StallConfig,
    /// What counts as a stall: somewhat less than the threshold, which is also the timer's period, since the time
    /// from one look to the next varies a little.
    least_nanos: u64,
    disarmed: AtomicBool,
    finished: AtomicBool,
    /// The shard's progress at the last look, and when it was first seen there.
    steps: AtomicU64,
    since_nanos: AtomicU64,
    since_processor_nanos: AtomicU64,
    /// A stall that goes on is reported again when it has lasted this long.
    next_report_nanos: AtomicU64,
    /// The current minute of the limit on reports, and what was reported in it.
    minute_start_nanos: AtomicU64,
    reports_in_minute: AtomicU64,
    suppressed_since_report: AtomicU64,
    stalls: AtomicU64,
    longest_nanos: AtomicU64,
    suppressed: AtomicU64,
}

impl Watch {
    pub(super) fn new(shard: usize, progress: Arc<Progress>, config: StallConfig, timer: Timer) -> Self {
        let threshold_nanos = u64::try_from(config.threshold.as_nanos()).unwrap_or(u64::MAX);
        Self {
            shard,
            slot: Slot::default(),
            timer,
            progress,
            config,
            least_nanos: threshold_nanos - threshold_nanos / 8,
            disarmed: AtomicBool::new(true),
            finished: AtomicBool::new(false),
            steps: AtomicU64::new(u64::MAX),
            since_nanos: AtomicU64::new(0),
            since_processor_nanos: AtomicU64::new(0),
            next_report_nanos: AtomicU64::new(0),
            minute_start_nanos: AtomicU64::new(0),
            reports_in_minute: AtomicU64::new(0),
            suppressed_since_report: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            longest_nanos: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        }
    }

    /// Arms the timer if the handler disarmed it.
    #[inline]
    pub(super) fn resume(&self) {
        if self.disarmed.load(Relaxed) {
            self.disarmed.store(false, Relaxed);
            // Whatever the shard has not got on with since the last look, it slept meanwhile.
            self.steps.store(u64::MAX, Relaxed);
            self.timer.arm(self.config.threshold);
        }
    }

    /// Notes that the shard has ended: the reporter may forget it.
    pub(super) fn finish(&self) {
        self.finished.store(true, Release);
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished.load(Acquire)
    }

    pub(super) fn stats(&self) -> StallStats {
        StallStats {
            stalls: self.stalls.load(Relaxed),
            longest: Duration::from_nanos(self.longest_nanos.load(Relaxed)),
            suppressed_reports: self.suppressed.load(Relaxed),
        }
    }

    /// Looks whether the shard has got on since the last look.
    ///
    /// # Safety
    /// Call it on the shard's thread, from the handler of its timer, which does not interrupt itself.
    pub(super) unsafe fn look(&self, interrupted: usize) {
        // SAFETY: as for this function.
        unsafe { self.look_at(kernel_nanos(), interrupted) };
    }

    /// # Safety
    /// As for [`Watch::look`].
    unsafe fn look_at(&self, now: u64, interrupted: usize) {
        if self.progress.is_idle() {
            self.timer.disarm();
            self.disarmed.store(true, Relaxed);
            return;
        }
        let steps = self.progress.steps();
        if steps != self.steps.load(Relaxed) {
            self.steps.store(steps, Relaxed);
            self.since_nanos.store(now, Relaxed);
            self.since_processor_nanos.store(processor_nanos(), Relaxed);
            self.next_report_nanos.store(0, Relaxed);
            return;
        }
        let duration_nanos = now.saturating_sub(self.since_nanos.load(Relaxed));
        if duration_nanos < self.least_nanos {
            return;
        }
        self.longest_nanos.store(self.longest_nanos.load(Relaxed).max(duration_nanos), Relaxed);
        let due = self.next_report_nanos.load(Relaxed);
        if due == 0 {
            self.stalls.store(self.stalls.load(Relaxed) + 1, Relaxed);
        }
        if duration_nanos >= due {
            // At least one, so that a clock that stands still does not count the stall again.
            self.next_report_nanos.store((2 * duration_nanos).max(1), Relaxed);
            // SAFETY: as for this function.
            unsafe { self.report(now, Duration::from_nanos(duration_nanos), interrupted) };
        }
    }

    /// # Safety
    /// As for [`Watch::look`].
    unsafe fn report(&self, now: u64, duration: Duration, interrupted: usize) {
        if now.saturating_sub(self.minute_start_nanos.load(Relaxed)) >= MINUTE_NANOS {
            self.minute_start_nanos.store(now, Relaxed);
            self.reports_in_minute.store(0, Relaxed);
        }
        let reports = self.reports_in_minute.load(Relaxed);
        if reports >= self.config.reports_per_minute.into() || !self.slot.has_room() {
            self.suppressed.store(self.suppressed.load(Relaxed) + 1, Relaxed);
            self.suppressed_since_report.store(self.suppressed_since_report.load(Relaxed) + 1, Relaxed);
            return;
        }
        self.reports_in_minute.store(reports + 1, Relaxed);
        let processor_nanos = processor_nanos().saturating_sub(self.since_processor_nanos.load(Relaxed));
        let stall = Stall {
            // SAFETY: on the shard's thread, by this function's contract.
            task: unsafe { self.progress.running_task() },
            activity: self.progress.activity(),
            duration,
            processor_time: Duration::from_nanos(processor_nanos),
            suppressed: self.suppressed_since_report.load(Relaxed),
            trace: Trace::of_this_thread(interrupted),
        };
        self.suppressed_since_report.store(0, Relaxed);
        // SAFETY: only this handler puts, and it does not interrupt itself.
        unsafe { self.slot.put(stall) };
        reporter::ring();
    }
}

/// The time that the calling thread has spent on processors. May be called from signal handlers.
fn processor_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests;
