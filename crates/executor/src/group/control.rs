//! Scheduling groups as a program manages them: on all shards at once.

use alloc::sync::Arc;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::{Context, Poll};

use super::table::Groups;
use super::{GroupError, MAX_GROUPS, SchedulingGroup};
use crate::current;
use crate::message::{ShardId, SubmitError, on_each};
use crate::shard::Shard;
use crate::sync::promise::promise;
use crate::task::{JoinError, JoinHandle, spawn, spawn_in};

/// Which places of scheduling groups a program uses. Shared by its shards; touched when a group comes or goes.
#[derive(Debug)]
pub(crate) struct GroupIds {
    /// A bit per place.
    used: AtomicU32,
    /// How many groups each place has held.
    generations: [AtomicU32; MAX_GROUPS],
}

const ALL_PLACES: u32 = (1 << MAX_GROUPS) - 1;

impl GroupIds {
    pub(crate) fn new() -> Self {
        Self { used: AtomicU32::new(1 << SchedulingGroup::MAIN.index), generations: Default::default() }
    }

    /// Takes a free place.
    fn claim(&self) -> Option<SchedulingGroup> {
        let take_lowest = |used: u32| (used != ALL_PLACES).then_some(used | (used + 1));
        let used = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, take_lowest).ok()?;
        let place = used.trailing_ones();
        let generation = self.generations[place as usize].load(Ordering::Acquire);
        Some(SchedulingGroup { index: u8::try_from(place).ok()?, generation })
    }

    /// Frees the place of a group, unless somebody did so before.
    fn release(&self, group: SchedulingGroup) {
        let generation = &self.generations[usize::from(group.index)];
        let next = group.generation.wrapping_add(1);
        if generation.compare_exchange(group.generation, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.used.fetch_and(!(1 << group.index), Ordering::AcqRel);
        }
    }
}

impl From<SubmitError> for GroupError {
    fn from(_: SubmitError) -> Self {
        Self::Stopped
    }
}

/// Does something to the groups of all shards; answers the first refusal after all have answered.
async fn on_all_shards<F>(change: F) -> Result<(), GroupError>
where
    F: FnOnce(&Shard) -> Result<(), GroupError> + Clone + Send + 'static,
{
    let shards = ShardId::all(current::shard_count());
    let answers = on_each(shards, move || async move { current::with(change) }).await?;
    answers.into_iter().collect()
}

fn here<R>(f: impl FnOnce(&Groups) -> R) -> R {
    current::with(|shard| f(&shard.groups))
}

impl SchedulingGroup {
    /// Makes a group of this name (for logs and metrics; it need not be unique) and these shares on all shards.
    ///
    /// Dropping the returned future undoes what it has done so far.
    ///
    /// # Errors
    /// [`GroupError::BadShares`], [`GroupError::TooMany`], and [`GroupError::Stopped`] if a shard has stopped.
    ///
    /// # Panics
    /// Outside of any shard.
    pub async fn create(name: &str, shares: u32) -> Result<Self, GroupError> {
        Groups::check_shares(shares)?;
        let mesh = current::with(|shard| Arc::clone(shard.exchange.mesh()));
        let group = mesh.group_ids().claim().ok_or(GroupError::TooMany)?;
        let name: Arc<str> = name.into();
        let (promise, created) = promise();
        // A task of its own: it undoes the creation if nobody takes the group over.
        drop(spawn(async move {
            let install = move |shard: &Shard| {
                shard.groups.install(group, &name, shares);
                Ok(())
            };
            let installed = on_all_shards(install).await;
            let failed = installed.is_err();
            if promise.resolve(installed).is_err() || failed {
                // If it fails, a shard has stopped, and the program ends.
                let _ended = group.destroy().await;
            }
        }));
        created.await.unwrap_or(Err(GroupError::Stopped)).map(|()| group)
    }

    /// Destroys the group on all shards. Tasks that are still in it go on in the main group, and so does what is
    /// started with a copy of this handle later.
    ///
    /// Dropping the returned future leaves the group destroyed on some shards at least.
    ///
    /// # Errors
    /// [`GroupError::Main`], [`GroupError::Destroyed`], and [`GroupError::Stopped`] if a shard has stopped.
    ///
    /// # Panics
    /// Outside of any shard.
    pub async fn destroy(self) -> Result<(), GroupError> {
        if self == Self::MAIN {
            return Err(GroupError::Main);
        }
        here(|groups| groups.check(self))?;
        let removing = spawn(async move {
            let removed = on_all_shards(move |shard| shard.groups.remove(self, &shard.tasks)).await;
            current::with(|shard| shard.exchange.mesh().group_ids().release(self));
            removed
        });
        removing.await.unwrap_or(Err(GroupError::Stopped))
    }

    /// Gives the group another name on all shards.
    ///
    /// # Errors
    /// [`GroupError::Destroyed`], and [`GroupError::Stopped`] if a shard has stopped.
    ///
    /// # Panics
    /// Outside of any shard.
    pub async fn rename(self, name: &str) -> Result<(), GroupError> {
        here(|groups| groups.rename(self, name))?;
        let name: Arc<str> = name.into();
        on_all_shards(move |shard| shard.groups.rename(self, &name)).await
    }

    /// Gives the group other shares, from 1 to 1,000, on all shards.
    ///
    /// # Errors
    /// [`GroupError::BadShares`], [`GroupError::Destroyed`], and [`GroupError::Stopped`] if a shard has stopped.
    ///
    /// # Panics
    /// Outside of any shard.
    pub async fn set_shares(self, shares: u32) -> Result<(), GroupError> {
        self.set_local_shares(shares)?;
        on_all_shards(move |shard| shard.groups.set_shares(self, shares)).await
    }

    /// Gives the group other shares, from 1 to 1,000, on the current shard only.
    ///
    /// # Errors
    /// [`GroupError::BadShares`] and [`GroupError::Destroyed`].
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn set_local_shares(self, shares: u32) -> Result<(), GroupError> {
        here(|groups| groups.set_shares(self, shares))
    }
}

/// Runs a future in a scheduling group: as a task of that group, which starts now, and whose output the answer gives.
///
/// The calling task stays in its own group. A group that was destroyed counts as the main group. Dropping the returned
/// future drops `future` too; to let it go on, [`spawn_in`] the group.
///
/// # Panics
/// Outside of any shard.
#[track_caller]
pub fn with_scheduling_group<F>(group: SchedulingGroup, future: F) -> InGroup<F::Output>
where
    F: Future + 'static,
{
    InGroup { task: spawn_in(group, future) }
}

/// The future of [`with_scheduling_group`]; dropping it drops what runs in the group.
///
/// It fails with [`JoinError`] if what it runs panics, or its shard stops.
#[derive(Debug)]
#[must_use = "dropping it drops the future that it was made of"]
pub struct InGroup<T> {
    task: JoinHandle<T>,
}

impl<T> Future for InGroup<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.task).poll(cx)
    }
}

impl<T> Drop for InGroup<T> {
    fn drop(&mut self) {
        // This does nothing to a task that has ended.
        self.task.abort();
    }
}
