//! The executor as its driver sees it.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::Future;
use core::time::Duration;

use sunstar_packet::{Home, HomeOwner};

use crate::counter::Stats;
use crate::current;
use crate::group::GroupStats;
use crate::message::{Mesh, MeshLinks, ShardId};
use crate::platform::Platform;
use crate::progress::Progress;
use crate::shard::{Round, Shard};
use crate::task::{JoinHandle, TaskBuilder};
use crate::time::Instant;

/// How an executor behaves.
#[derive(Debug)]
#[non_exhaustive]
pub struct ExecutorConfig {
    /// How long a scheduling group runs before others get their turn and I/O is polled. 500 µs by default.
    pub task_quota: Duration,
}

impl Default for ExecutorConfig {
    fn default() -> Self {
        Self { task_quota: Duration::from_micros(500) }
    }
}

/// The engine of one shard. It is passive: whoever owns it calls [`Executor::round`] again and again.
///
/// It belongs to the thread that made it. Several can live on one thread, as in a simulator. Dropping it drops all
/// its tasks.
pub struct Executor {
    /// Boxed: tasks and timers know the shard by its address.
    shard: Box<Shard>,
}

impl Executor {
    /// Makes an executor with nothing to do, which is the only shard of its program.
    ///
    /// # Panics
    /// Never: a mesh of one shard has links for it.
    pub fn new(config: ExecutorConfig, platform: Box<dyn Platform>) -> Self {
        let links = Mesh::links(1).pop().expect("a mesh of one shard has links for it");
        Self::with_links(config, platform, links)
    }

    /// Makes an executor with nothing to do, which is one of several shards: the one that the links belong to.
    pub fn with_links(config: ExecutorConfig, platform: Box<dyn Platform>, links: MeshLinks) -> Self {
        let home = HomeOwner::new(platform.doorbell());
        Self { shard: Box::new(Shard::new(platform, home, links, config.task_quota)) }
    }

    /// Which shard this is.
    pub fn id(&self) -> ShardId {
        self.shard.exchange.id()
    }

    /// What all shards of the program share.
    pub fn mesh(&self) -> &Arc<Mesh> {
        self.shard.exchange.mesh()
    }

    /// Runs `f` with this shard as the current one: inside, the free functions of this crate work.
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        current::enter(&self.shard, f)
    }

    /// Starts a task in the main group.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
    {
        let builder = TaskBuilder::new();
        self.enter(|| builder.spawn(future))
    }

    /// The clock as it was when the latest round began.
    pub fn round_start(&self) -> Instant {
        self.shard.round_start()
    }

    /// Receives what has come in, runs tasks for about a task quota, and sends what is to go out.
    pub fn round(&self) -> Round {
        self.enter(|| self.shard.round())
    }

    /// Whether the last round answered [`Round::Busy`] only because messages wait for room at another shard: that one
    /// should get to run, if it needs the same processor.
    pub fn only_waits_for_room(&self) -> bool {
        self.shard.only_waits_for_room.get()
    }

    /// Announces a sleep and looks at every source of work once more.
    ///
    /// If the answer is [`Round::Idle`], sleep until its deadline, which takes in timers that were armed since the last
    /// round; otherwise there is work and the next round should follow. In either case call [`Executor::end_sleep`]
    /// afterwards.
    pub fn prepare_sleep(&self) -> Round {
        self.enter(|| self.shard.prepare_sleep())
    }

    /// Ends what [`Executor::prepare_sleep`] began.
    pub fn end_sleep(&self) {
        self.shard.end_sleep();
    }

    /// Gives the memory that is kept for reuse, and that nobody uses, back to the heap: blocks of tasks, and what
    /// [pollers](crate::Poller) and [reserves](crate::Reserve) have. For when there is nothing to do: who comes next takes theirs from
    /// the heap again.
    pub fn free_unused_memory(&self) {
        self.enter(|| {
            self.shard.pollers.free_unused_memory();
            self.shard.reserves.free_unused_memory();
        });
        // What they let go may have come here.
        self.shard.recycler.free_unused();
    }

    /// Polls the shard's [pollers](crate::Poller) alone, when it ends; answers whether they have something left to do. Give them
    /// time then, until [`Executor::finish_pollers`].
    pub fn linger(&self, now: Instant) -> bool {
        self.enter(|| {
            (self.shard.pollers.poll(now) > 0) | self.shard.pollers.submit(now) | self.shard.pollers.lingers()
        })
    }

    /// Drops what the shard's pollers still had to do.
    pub fn finish_pollers(&self) {
        self.enter(|| self.shard.pollers.finish());
    }

    /// Drops the futures of all tasks.
    pub fn stop_tasks(&self) {
        self.enter(|| self.shard.stop_tasks());
    }

    /// Drops the shard's part of all services and what has arrived or waits to go out; from now on nothing is sent or
    /// received. Others learn of it.
    ///
    /// Second step of an orderly end, after [`Executor::stop_tasks`]. When all shards have taken it, nothing that
    /// belongs elsewhere is left on any of them, but it may be on its way: then all repeat [`Executor::receive_home`]
    /// until none receives anything, and can be dropped.
    pub fn stop_messages(&self) {
        self.enter(|| self.shard.stop_messages());
    }

    /// Receives what has come home, as every round does, and answers how many things there were.
    ///
    /// They are dropped, and may hold what belongs to other shards: that is sent home meanwhile.
    ///
    /// # Panics
    /// If one of them panics when it is dropped and does not contain that; the others are received nevertheless.
    pub fn receive_home(&self) -> usize {
        self.enter(|| self.shard.home.drain())
    }

    /// The shared end of the shard's way home.
    pub fn home(&self) -> &Arc<Home> {
        self.shard.home.home()
    }

    /// How many things exist that belong to this shard and may come home from elsewhere: the memory of tasks,
    /// and what was sent to other shards as foreign.
    pub fn residents(&self) -> usize {
        self.shard.home.residents()
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn shard(&self) -> &Shard {
        &self.shard
    }

    /// What a stall detector looks at.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.shard.progress
    }

    /// The platform that this executor was made with.
    pub fn platform(&self) -> &dyn Platform {
        &*self.shard.platform
    }

    /// A snapshot of the counters.
    pub fn stats(&self) -> Stats {
        self.shard.stats()
    }

    /// What the living tasks are called: by the names that their spawners gave, and where they were spawned. For reports of
    /// who waits.
    pub fn task_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        self.shard.tasks.for_each(|task| names.push(task.name.to_string()));
        names
    }

    /// A snapshot of the scheduling groups.
    pub fn group_stats(&self) -> Vec<GroupStats> {
        self.shard.groups.stats().collect()
    }
}

impl core::fmt::Debug for Executor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Executor").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
