//! Starting tasks.

use alloc::format;
use core::fmt::Display;
use core::future::Future;
use core::panic::Location;
use core::ptr::NonNull;

use super::header::{Header, SCHEDULED, TaskName};
use super::join::JoinHandle;
use super::raw::{self, Describe};
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
        current::with(|shard| self.spawn_on(shard, future, |_| None))
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
        current::with(|shard| {
            self.spawn_on(shard, future, |output| output.as_ref().err().map(|error| format!("{error}").into()))
        })
    }

    #[inline]
    pub(crate) fn spawn_on<F>(self, shard: &Shard, future: F, describe: Describe<F::Output>) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
    {
        let task = self.create_on(shard, future, describe);
        // SAFETY: just created, held by the executor.
        unsafe { task.as_ref() }.set(SCHEDULED);
        shard.groups.enqueue(task);
        JoinHandle::new(task)
    }

    #[inline]
    fn create_on<F>(self, shard: &Shard, future: F, describe: Describe<F::Output>) -> NonNull<Header>
    where
        F: Future + 'static,
    {
        let group = match self.group {
            Some(group) => shard.groups.index_of(group),
            None => shard.groups.running(),
        };
        shard.counters.spawned_tasks.add(1);
        raw::create(shard, future, group, self.name, describe)
    }

    /// Starts the task and polls it once before returning: for a request that most often is answered at once.
    #[inline]
    pub(crate) fn spawn_and_run<F>(self, shard: &Shard, future: F)
    where
        F: Future<Output = ()> + 'static,
    {
        let task = self.create_on(shard, future, |()| None);
        drop(JoinHandle::<()>::new(task));
        // SAFETY: just created and held by the executor; it is in no queue.
        unsafe { raw::run(task, shard) };
    }
}
