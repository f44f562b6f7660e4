//! The tasks of a scheduling group that wait to run, in the order of their wakes.

use core::cell::Cell;
use core::ptr::NonNull;

use crate::task::header::Header;

/// An intrusive first-in first-out queue. A task is in at most one, which its scheduled flag says.
#[derive(Default)]
pub(super) struct RunQueue {
    first: Cell<Option<NonNull<Header>>>,
    last: Cell<Option<NonNull<Header>>>,
    len: Cell<usize>,
}

impl RunQueue {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.first.get().is_none()
    }

    pub(super) fn len(&self) -> usize {
        self.len.get()
    }

    #[inline]
    pub(super) fn push(&self, task: NonNull<Header>) {
        // SAFETY: whoever schedules a task holds a handle on it, and queued tasks are not freed.
        unsafe {
            task.as_ref().next.set(None);
            match self.last.replace(Some(task)) {
                Some(last) => last.as_ref().next.set(Some(task)),
                None => self.first.set(Some(task)),
            }
        }
        self.len.set(self.len.get() + 1);
    }

    /// Takes `task` out if it is the first.
    #[inline]
    pub(super) fn pop_if_first(&self, task: NonNull<Header>) -> bool {
        self.first.get() == Some(task) && self.pop().is_some()
    }

    #[inline]
    pub(super) fn pop(&self) -> Option<NonNull<Header>> {
        let task = self.first.get()?;
        // SAFETY: queued tasks are not freed.
        let next = unsafe { task.as_ref() }.next.take();
        self.first.set(next);
        if next.is_none() {
            self.last.set(None);
        }
        self.len.set(self.len.get() - 1);
        Some(task)
    }
}
