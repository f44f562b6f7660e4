//! What a shard shows of itself to a stall detector.

use core::panic::Location;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use crate::task::header::Header;

/// How far a shard has come. The shard writes it with plain stores; anybody may read it.
///
/// A stall detector looks at it now and then: when the shard is not idle and [`Progress::polls`] has not changed, one
/// task has been running all the time.
#[derive(Debug, Default)]
pub struct Progress {
    polls: AtomicU64,
    idle: AtomicBool,
    running: AtomicPtr<()>,
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
    /// How many times the shard has polled a task, or finished a round, since its start.
    pub fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
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
        // SAFETY: while the task is being polled on this thread it is not freed, and names are constant.
        let name = unsafe { (*task.as_ptr()).name };
        Some(RunningTask { name: name.name, location: name.location })
    }

    /// Notes that `task` is about to be polled; answers what ran around it, for [`Progress::end`].
    #[inline]
    pub(crate) fn begin(&self, task: NonNull<()>) -> *mut () {
        let outer = self.running.load(Ordering::Relaxed);
        self.running.store(task.as_ptr(), Ordering::Relaxed);
        self.tick();
        outer
    }

    /// Whether a task is being polled.
    #[inline]
    pub(crate) fn is_running(&self) -> bool {
        !self.running.load(Ordering::Relaxed).is_null()
    }

    #[inline]
    pub(crate) fn end(&self, outer: *mut ()) {
        self.running.store(outer, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn tick(&self) {
        // Only the shard writes: a load and a store are enough.
        self.polls.store(self.polls.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    pub(crate) fn set_idle(&self, idle: bool) {
        debug_assert!(ptr::eq(self.running.load(Ordering::Relaxed), ptr::null()), "a shard sleeps between tasks");
        self.idle.store(idle, Ordering::Relaxed);
    }
}
