//! Finds tasks that keep their shard for too long, while they do.
//!
//! Each shard has a timer of the kernel that interrupts its thread every so often. The handler looks
//! whether the shard has got on since the last look. If not, the same task has been running all the time: the
//! handler notes where, and a reporter thread writes it to the log with the task's name and a backtrace, while
//! the task may still be looping. So a task that never ends is reported too. Code outside of tasks (messages, closures of
//! timers, wakers and drops that the executor calls) is watched alike, and reported as what it is.
//!
//! The interruption is a real-time signal (`SIGRTMIN` + 1, or the next that nobody else uses). System calls that a task makes itself are restarted
//! after it, except those that Linux never restarts, such as `nanosleep`: they fail with `EINTR`.
//!
//! A shard that sleeps pays nothing: the handler that finds it asleep disarms the timer, and the shard arms it
//! again when it next wakes.

mod reporter;
mod timer;
mod trace;
mod watch;

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use sunstar_executor::Progress;

use timer::Timer;
use watch::Watch;

/// How a shard's stalls are found and reported.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StallConfig {
    /// How long a task may run. Stalls are noticed between once and twice this time.
    pub(crate) threshold: Duration,
    /// How many reports a shard may make in a minute; further ones are only counted.
    pub(crate) reports_per_minute: u32,
}

/// What a shard's stall detector has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StallStats {
    /// Stalls noticed; one that goes on is counted once.
    pub stalls: u64,
    /// How long the longest of them lasted at least.
    pub longest: Duration,
    /// Reports that were not written because there were too many, or the reporter was busy.
    pub suppressed_reports: u64,
}

thread_local! {
    /// What the handler looks at on this thread. Needs no initialisation and no destructor, so a handler may read it.
    static WATCHED: Cell<*const Watch> = const { Cell::new(ptr::null()) };
}

/// The stall detector of the shard that runs on the calling thread.
pub(crate) struct StallDetector {
    watch: Arc<Watch>,
    /// It stays on the thread that it watches.
    _local: PhantomData<*const ()>,
}

impl StallDetector {
    /// Prepares to watch the shard that runs on the calling thread and shows `progress`. It begins with [`StallDetector::resume`].
    ///
    /// # Errors
    /// If the system refuses the timer, the handler or the reporter's thread.
    pub(crate) fn new(shard: usize, progress: Arc<Progress>, config: StallConfig) -> io::Result<Self> {
        timer::install(on_tick)?;
        trace::warm_up();
        let watch = Arc::new(Watch::new(shard, progress, config, Timer::of_this_thread()?));
        reporter::enlist(Arc::clone(&watch))?;
        WATCHED.set(Arc::as_ptr(&watch));
        Ok(Self { watch, _local: PhantomData })
    }

    /// Goes on watching if the timer was disarmed; call it after the shard has slept.
    #[inline]
    pub(crate) fn resume(&self) {
        self.watch.resume();
    }

    /// What has been counted.
    pub(crate) fn stats(&self) -> StallStats {
        self.watch.stats()
    }
}

/// What the stall detector of the calling shard has counted; `None` outside of a shard, or if it is switched off.
pub fn stall_stats() -> Option<StallStats> {
    // SAFETY: the pointer is set only while the detector on this thread holds the watch.
    unsafe { WATCHED.get().as_ref() }.map(Watch::stats)
}

impl Drop for StallDetector {
    fn drop(&mut self) {
        WATCHED.set(ptr::null());
        self.watch.timer.disarm();
        self.watch.finish();
        reporter::ring();
    }
}

/// The signal handler; runs on the thread that the timer was made for.
extern "C" fn on_tick(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the location of this thread's `errno` is always valid. What was interrupted may be about to read it.
    let errno = unsafe { *libc::__errno_location() };
    // SAFETY: the pointer is set only while the detector on this thread holds the watch.
    if let Some(watch) = unsafe { WATCHED.get().as_ref() } {
        // SAFETY: this is the shard's thread, interrupted.
        unsafe { watch.look(trace::interrupted_at(context)) };
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}
