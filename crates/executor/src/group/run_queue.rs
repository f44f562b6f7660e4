//! The tasks of a scheduling group that wait to run, in the order of their wakes.

use core::cell::Cell;
use core::ptr::NonNull;

use crate::counter::Counter;
use crate::task::header::Header;

/// An intrusive first-in first-out queue. A task is in at most one, which its scheduled flag says.
#[derive(Default)]
pub(super) struct RunQueue {
    first: Cell<Option<NonNull<Header>>>,
    /// Means nothing while there is no first.
    last: Cell<Option<NonNull<Header>>>,
    pushed: Counter,
    popped: Counter,
}

impl RunQueue {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.first.get().is_none()
    }

    pub(super) fn len(&self) -> u64 {
        self.pushed.value() - self.popped.value()
    }

    /// How many tasks were taken out since the last [`RunQueue::reset`].
    pub(super) fn popped(&self) -> u64 {
        self.popped.value()
    }

    /// Makes an empty queue count anew.
    pub(super) fn reset(&self) {
        debug_assert!(self.is_empty(), "what is queued would be counted when it goes only");
        self.pushed.reset();
        self.popped.reset();
    }

    #[inline]
    pub(super) fn push(&self, task: NonNull<Header>) {
        let before = self.last.replace(Some(task)).filter(|_| !self.is_empty());
        match before {
            // SAFETY: queued tasks are not freed.
            Some(before) => unsafe { before.as_ref() }.next.set(Some(task)),
            None => self.first.set(Some(task)),
        }
        self.pushed.add(1);
    }

    #[inline]
    pub(super) fn is_first(&self, task: NonNull<Header>) -> bool {
        self.first.get() == Some(task)
    }

    #[inline]
    pub(super) fn pop(&self) -> Option<NonNull<Header>> {
        let task = self.first.get()?;
        // SAFETY: queued tasks are not freed.
        let next = || unsafe { task.as_ref() }.next.get();
        self.first.set(if self.last.get() == Some(task) { None } else { next() });
        self.popped.add(1);
        Some(task)
    }
}
