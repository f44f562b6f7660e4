//! The thread that writes stalls to the log, one per process.
//!
//! It is there so that the shard's handler need not allocate, take locks or read debug information.

use std::fmt::Write as _;
use std::io;
use std::ptr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::OwnedFd;
use sunstar_executor::Activity;

use super::trace::Stall;
use super::watch::Watch;
use crate::heap::trim_heap;

/// The debug information from which places get their names is kept for so long after a report: where there is one stall there are
/// often more, and reading it takes as long as some of them.
const KEPT: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

static REPORTER: OnceLock<Reporter> = OnceLock::new();

struct Reporter {
    bell: OwnedFd,
    watches: Mutex<Vec<Arc<Watch>>>,
}

/// Lets the reporter look after `watch`; starts the reporter if need be.
pub(super) fn enlist(watch: Arc<Watch>) -> io::Result<()> {
    static STARTING: Mutex<()> = Mutex::new(());
    let starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    let reporter = match REPORTER.get() {
        Some(reporter) => reporter,
        None => start()?,
    };
    drop(starting);
    reporter.watches.lock().unwrap_or_else(PoisonError::into_inner).push(watch);
    Ok(())
}

fn start() -> io::Result<&'static Reporter> {
    let bell = eventfd(0, EventfdFlags::CLOEXEC)?;
    // The thread waits until the cell is filled, which happens after it is known to exist.
    let builder = thread::Builder::new().name("stall-reporter".to_owned());
    builder.spawn(|| REPORTER.wait().run())?;
    Ok(REPORTER.get_or_init(|| Reporter { bell, watches: Mutex::default() }))
}

/// Wakes the reporter. May be called from signal handlers, which must keep `errno`.
pub(super) fn ring() {
    if let Some(reporter) = REPORTER.get() {
        // It can only fail when the reporter has not read 2^64 - 2 rings.
        let _ = rustix::io::write(&reporter.bell, &1_u64.to_ne_bytes());
    }
}

impl Reporter {
    fn run(&self) {
        let mut has_reported = false;
        loop {
            if has_reported && self.is_quiet(&KEPT) {
                release_symbols();
                has_reported = false;
            }
            let mut rings = [0_u8; 8];
            // An interrupted read looks at the slots too early, which does no harm.
            let _ = rustix::io::read(&self.bell, &mut rings);
            let watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for watch in &watches {
                // SAFETY: only this thread takes.
                if let Some(stall) = unsafe { watch.slot.take() } {
                    has_reported = true;
                    log::warn!(target: "sunstar::stall", "{}", describe(watch.shard, &stall));
                }
            }
            drop(watches);
            let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
            watches.retain(|watch| !watch.is_finished() || !watch.slot.has_room());
        }
    }

    /// Whether nobody rings for so long. If the system won't wait, somebody has.
    fn is_quiet(&self, time: &Timespec) -> bool {
        matches!(poll(&mut [PollFd::new(&self.bell, PollFlags::IN)], Some(time)), Ok(0))
    }
}

/// Gives back the debug information: tens of megabytes, by far more than a small server needs otherwise.
fn release_symbols() {
    backtrace::clear_symbol_cache();
    trim_heap();
}

fn describe_activity(activity: Activity) -> &'static str {
    match activity {
        Activity::Executor => "the executor itself",
        Activity::Timers => "the firing of timers (a waker, or a timer's closure)",
        Activity::Arrivals => "the receiving of what came home (a waker, or the drop of an object)",
        Activity::Messages => "a message from another shard or thread",
        Activity::Platform => "the platform's poll (a waker)",
    }
}

/// All in one line, which is what a record of the log has.
fn describe(shard: usize, stall: &Stall) -> String {
    let mut text = format!("shard {shard}: ");
    // Writing to a string can't fail, so the results carry nothing.
    let _ = match stall.task {
        None => text.write_str(describe_activity(stall.activity)),
        Some(task) => match task.name {
            Some(name) => write!(text, "task {name:?}, spawned at {},", task.location),
            None => write!(text, "the task spawned at {}", task.location),
        },
    };
    let (duration, processor_time) = (stall.duration.as_millis(), stall.processor_time.as_millis());
    let _ = write!(text, " has not yielded for {duration} ms, {processor_time} ms of them on the processor");
    if stall.suppressed > 0 {
        let _ = write!(text, "; {} reports were suppressed before this one", stall.suppressed);
    }
    for (depth, address) in stall.trace.return_addresses().enumerate() {
        let mut resolved = false;
        backtrace::resolve(ptr::without_provenance_mut(address), |symbol| {
            resolved = true;
            let _ = match symbol.name() {
                Some(name) => write!(text, "; {depth}: {name:#}"),
                None => write!(text, "; {depth}: {address:#x}"),
            };
            if let (Some(file), Some(line)) = (symbol.filename(), symbol.lineno()) {
                let _ = write!(text, " at {}:{line}", file.display());
            }
        });
        if !resolved {
            let _ = write!(text, "; {depth}: {address:#x}");
        }
    }
    text
}
