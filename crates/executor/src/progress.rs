//! What a shard shows of itself to a stall detector.

use core::panic::Location;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, Ordering, compiler_fence};

use crate::task::header::Header;

/// How far a shard has come. The shard writes it with plain stores; anybody may read it.
///
/// A stall detector looks at it now and then: when the shard is not idle and [`Progress::steps`] has not changed, the
/// same task, message or part of a round has been running all the time.
#[derive(Debug, Default)]
pub struct Progress {
    steps: AtomicU64,
    idle: AtomicBool,
    /// An [`Activity`] other than a task.
    activity: AtomicU8,
    /// Set while a task runs, whatever the activity around it.
    running: AtomicPtr<()>,
}

/// What a shard does outside of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Activity {
    /// The executor's own work: choosing who runs next, ending tasks, sending messages.
    Executor,
    /// It fires timers: wakes tasks and runs the closures of [`Timer`](crate::timer::Timer)s.
    Timers,
    /// It receives what comes home: wakes tasks and drops objects.
    Arrivals,
    /// It receives or runs messages from other shards or threads, or drops them.
    Messages,
    /// It asks the platform what has happened.
    Platform,
}

impl Activity {
    const ALL: [Self; 5] = [Self::Executor, Self::Timers, Self::Arrivals, Self::Messages, Self::Platform];
}

/// The task that a shard is running.
#[derive(Clone, Copy, Debug)]
pub struct RunningTask {
    /// The name that its spawner gave, if any.
    pub name: Option<&'static str>,
    /// Where it was spawned.
    pub location: &'static Location<'static>,
}

impl Progress {
    /// How many times the shard has polled a task, run a message, or begun another part of a round, since its start.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// What the shard does, unless it runs a task.
    pub fn activity(&self) -> Activity {
        let number = usize::from(self.activity.load(Ordering::Relaxed));
        Activity::ALL.get(number).copied().unwrap_or(Activity::Executor)
    }

    /// Whether the shard has announced that it sleeps.
    pub fn is_idle(&self) -> bool {
        self.idle.load(Ordering::Relaxed)
    }

    /// The task that is being polled.
    ///
    /// # Safety
    /// Call it on the thread of the shard, for example in a signal handler: elsewhere the task may end meanwhile.
    pub unsafe fn running_task(&self) -> Option<RunningTask> {
        let task = NonNull::new(self.running.load(Ordering::Relaxed))?.cast::<Header>();
        // SAFETY: while the pointer is set the task is whole, also for a handler on this thread (`begin` and `end` see to
        // it), and names are constant.
        let name = unsafe { (*task.as_ptr()).name };
        Some(RunningTask { name: name.name, location: name.location })
    }

    /// Notes that `task` is about to be polled; answers what ran around it, for [`Progress::end`].
    #[inline]
    pub(crate) fn begin(&self, task: NonNull<()>) -> *mut () {
        let outer = self.running.load(Ordering::Relaxed);
        // A handler that sees the pointer sees the whole task, and the task's code comes after it.
        compiler_fence(Ordering::SeqCst);
        self.running.store(task.as_ptr(), Ordering::Relaxed);
        self.tick();
        compiler_fence(Ordering::SeqCst);
        outer
    }

    /// Whether a task is being polled.
    #[inline]
    pub(crate) fn is_running(&self) -> bool {
        !self.running.load(Ordering::Relaxed).is_null()
    }

    #[inline]
    pub(crate) fn end(&self, outer: *mut ()) {
        // The task is freed, and its memory used again, only after a handler can't find it any more.
        compiler_fence(Ordering::SeqCst);
        self.running.store(outer, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
    }

    /// Notes what the shard does from now on outside of tasks.
    #[inline]
    pub(crate) fn turn_to(&self, activity: Activity) {
        compiler_fence(Ordering::SeqCst);
        self.activity.store(activity as u8, Ordering::Relaxed);
        self.tick();
        compiler_fence(Ordering::SeqCst);
    }

    /// Notes that what [`Progress::turn_to`] said is over.
    #[inline]
    pub(crate) fn turn_back(&self) {
        compiler_fence(Ordering::SeqCst);
        self.activity.store(Activity::Executor as u8, Ordering::Relaxed);
    }

    #[inline]
    fn tick(&self) {
        // Only the shard writes: a load and a store are enough.
        self.steps.store(self.steps.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    pub(crate) fn set_idle(&self, idle: bool) {
        debug_assert!(ptr::eq(self.running.load(Ordering::Relaxed), ptr::null()), "a shard sleeps between tasks");
        self.idle.store(idle, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
