//! Starting tasks.

use core::fmt::Display;
use core::future::Future;
use core::panic::Location;

use super::header::{DETACHED, SCHEDULED, TaskName};
use super::join::JoinHandle;
use super::output::{Describe, Fallible, Unwatched};
use super::raw;
use crate::current;
use crate::group::SchedulingGroup;
use crate::shard::Shard;

/// Starts a task on the current shard, in the scheduling group of the calling task.
///
/// The task begins in the current round or a later one, never inside this call.
///
/// # Panics
/// Outside of any shard.
#[track_caller]
#[inline]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
{
    TaskBuilder::new().spawn(future)
}

/// Starts a task in a given scheduling group; otherwise as [`spawn`].
///
/// # Panics
/// Outside of any shard.
#[track_caller]
#[inline]
pub fn spawn_in<F>(group: SchedulingGroup, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
{
    TaskBuilder::new().group(group).spawn(future)
}

/// Starts a task whose error is logged and counted if nobody awaits it; otherwise as [`spawn`].
///
/// # Panics
/// Outside of any shard.
#[track_caller]
#[inline]
pub fn spawn_fallible<F, T, E>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output = Result<T, E>> + 'static,
    E: Display,
{
    TaskBuilder::new().spawn_fallible(future)
}

/// How a task is to be started.
#[derive(Clone, Copy, Debug)]
pub struct TaskBuilder {
    group: Option<SchedulingGroup>,
    name: TaskName,
}

impl TaskBuilder {
    /// A task that is named for the calling place and inherits the calling task's scheduling group.
    #[track_caller]
    #[inline]
    #[expect(clippy::new_without_default, reason = "a default would lose the place of the call")]
    pub fn new() -> Self {
        Self { group: None, name: TaskName { name: None, location: Location::caller() } }
    }

    /// Gives the task a name for logs and stall reports.
    #[must_use]
    pub fn name(mut self, name: &'static str) -> Self {
        self.name.name = Some(name);
        self
    }

    /// Starts the task in this scheduling group. A group that was destroyed counts as the main group.
    #[must_use]
    pub fn group(mut self, group: SchedulingGroup) -> Self {
        self.group = Some(group);
        self
    }

    /// Starts the task.
    ///
    /// # Panics
    /// Outside of any shard.
    #[inline]
    pub fn spawn<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
    {
        current::with(|shard| self.spawn_on::<F, Unwatched>(shard, future))
    }

    /// Starts a task whose error is logged and counted if nobody awaits it.
    ///
    /// # Panics
    /// Outside of any shard.
    #[inline]
    pub fn spawn_fallible<F, T, E>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output = Result<T, E>> + 'static,
        E: Display,
    {
        current::with(|shard| self.spawn_on::<F, Fallible>(shard, future))
    }

    #[inline]
    fn spawn_on<F, D>(self, shard: &Shard, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        D: Describe<F::Output>,
    {
        let group = self.group_on(shard);
        let task = raw::create::<F, D>(shard, future, SCHEDULED, group, self.name);
        shard.groups.enqueue(task, group);
        JoinHandle::new(task)
    }

    #[inline]
    fn group_on(self, shard: &Shard) -> u8 {
        match self.group {
            Some(group) => shard.groups.index_of(group),
            None => shard.groups.running(),
        }
    }

    /// Starts the task and polls it once before returning: for a request that most often is answered at once.
    #[inline]
    pub(crate) fn spawn_and_run<F>(self, shard: &Shard, future: F)
    where
        F: Future<Output = ()> + 'static,
    {
        let task = raw::create::<F, Unwatched>(shard, future, DETACHED, self.group_on(shard), self.name);
        // SAFETY: just created as detached, and in no queue.
        unsafe { raw::run_detached(task, shard) };
    }
}
