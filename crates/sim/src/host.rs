//! A host and its shards.

use std::cell::RefCell;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sunstar_executor::message::MeshLinks;
use sunstar_executor::{Executor, ExecutorConfig, Instant, JoinError, JoinHandle, local};
use sunstar_net::socket;

use crate::failure::Failure;
use crate::native::{Native, address_v6};
use crate::network::{Network, SimStack};
use crate::options::ENTROPY_STREAMS;
use crate::platform::SimPlatform;
use crate::random::Random;
use crate::report::HostReport;
use crate::world::{ShardIo, World};

/// A host of a simulated world, as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its address.
    pub ip: Ipv4Addr,
}

/// The address of a host of the current world, by its name.
///
/// # Panics
/// Outside of any shard.
#[track_caller]
pub fn resolve(name: &str) -> Option<Ipv4Addr> {
    local::get::<SimStack>()?.network().resolve(name)
}

/// The address of IPv6 of a host of the current world, by its name. Only hosts with native networks are reached by it. Of one that makes
/// it itself it is the newest one.
///
/// # Panics
/// Outside of any shard.
#[track_caller]
pub fn resolve_v6(name: &str) -> Option<Ipv6Addr> {
    let v4 = resolve(name)?;
    Some(local::get::<SimStack>()?.network().made_v6(v4).unwrap_or_else(|| address_v6(v4)))
}

/// How far a host is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Running,
    /// Its main function has ended.
    Ending,
    /// Its tasks have ended, and its network goes on with what they have left.
    Settling,
    /// It has gone without a word, and may come back.
    Crashed,
    Stopped,
}

/// A host as the scheduler sees it.
pub(crate) struct HostState {
    pub(crate) host: Host,
    /// Let go before the executor goes.
    pub(crate) main: Option<JoinHandle<()>>,
    pub(crate) phase: Phase,
    /// Whether the world may end without its main function's end.
    pub(crate) is_background: bool,
    /// Its shards among all of the world.
    pub(crate) shards: std::ops::Range<usize>,
    pub(crate) report: HostReport,
    /// What it has if its network is a native one.
    pub(crate) native: Option<Native>,
}

impl HostState {
    /// Whether it has a native network that works.
    pub(crate) fn has_network(&self) -> bool {
        self.native.is_some() && !matches!(self.phase, Phase::Crashed | Phase::Stopped)
    }

    /// Whether nothing more is expected of it.
    pub(crate) fn is_over(&self) -> bool {
        !matches!(self.phase, Phase::Running | Phase::Ending)
    }

    /// What the main function ended with, if it has ended.
    pub(crate) fn take_outcome(&mut self) -> Option<Result<(), Failure>> {
        let main = self.main.take_if(|main| main.is_finished())?;
        let Poll::Ready(joined) = pin!(main).poll(&mut Context::from_waker(Waker::noop())) else {
            unreachable!("a finished task is ready")
        };
        Some(match joined {
            Err(JoinError::Panicked(panic)) => {
                Err(Failure::MainPanicked { host: self.host.name.clone(), message: panic.message().to_owned() })
            }
            Ok(()) | Err(JoinError::Aborted) => Ok(()),
        })
    }
}

/// A shard as the scheduler sees it.
pub(crate) struct ShardState {
    /// None once its host was stopped.
    pub(crate) executor: Option<Executor>,
    pub(crate) io: Rc<ShardIo>,
    /// Whether a round of it is going to be run; otherwise it sleeps.
    pub(crate) is_scheduled: bool,
    /// Whether it has announced that it sleeps.
    pub(crate) is_asleep: bool,
    /// When it wants to be woken.
    pub(crate) deadline: Option<Instant>,
    /// When events will wake it: the next one last.
    pub(crate) alarms: Vec<Instant>,
}

impl ShardState {
    pub(crate) fn new(
        world: &Rc<World>,
        network: &Rc<Network>,
        io: ShardIo,
        links: MeshLinks,
        making: &Making,
    ) -> Self {
        let io = Rc::new(io);
        let entropy = RefCell::new(Random::stream(making.seed, ENTROPY_STREAMS + io.index as u64));
        let platform = SimPlatform { world: Rc::clone(world), io: Rc::clone(&io), entropy };
        let mut config = ExecutorConfig::default();
        config.task_quota = making.task_quota;
        let executor = Executor::with_links(config, Box::new(platform), links);
        let stack = Rc::new(SimStack::new(Rc::clone(network), Rc::clone(&io)));
        executor.enter(|| {
            local::set(Rc::clone(&stack));
            socket::install(stack);
        });
        Self { executor: Some(executor), io, is_scheduled: false, is_asleep: false, deadline: None, alarms: Vec::new() }
    }

    /// The tasks that live on the shard, by name.
    pub(crate) fn tasks(&self, host: &str) -> Vec<String> {
        let names = self.executor.as_ref().map(Executor::task_names).unwrap_or_default();
        names.into_iter().map(|name| format!("task {name} on shard {} of {host}", self.io.place.shard)).collect()
    }

    /// How many tasks have panicked on it, if any.
    pub(crate) fn panics(&self, host: &str) -> Option<String> {
        let count = self.executor.as_ref()?.stats().panicked_tasks;
        (count > 0).then(|| format!("{count} tasks panicked on shard {} of {host}", self.io.place.shard))
    }
}

/// What all shards of a world are made with.
pub(crate) struct Making {
    pub(crate) seed: u64,
    pub(crate) task_quota: Duration,
}

/// Ends the shards of a host in step, as the reactor does; answers what was found wrong.
pub(crate) fn stop(state: &mut HostState, shards: &mut [ShardState]) -> Vec<Failure> {
    state.main = None;
    state.phase = Phase::Stopped;
    let executors = || shards.iter().filter_map(|shard| shard.executor.as_ref());
    state.report.shards = executors().map(Executor::stats).collect();
    executors().for_each(Executor::stop_tasks);
    for shard in shards.iter() {
        if let Some(executor) = &shard.executor {
            executor.enter(|| shard.io.stop());
        }
    }
    executors().for_each(Executor::finish_pollers);
    executors().for_each(Executor::stop_messages);
    // Requests that had arrived may have begun as tasks meanwhile, and so may what comes home.
    executors().for_each(Executor::stop_tasks);
    while executors().map(Executor::receive_home).sum::<usize>() > 0 {
        executors().for_each(Executor::stop_tasks);
    }
    let mut failures = Vec::new();
    for (shard, stats) in state.report.shards.iter().enumerate() {
        if stats.panicked_tasks > 0 {
            let (host, count) = (state.host.name.clone(), stats.panicked_tasks);
            failures.push(Failure::TasksPanicked { host, shard, count });
        }
    }
    // A home outlives its shard if something that belongs there does.
    let homes: Vec<_> = executors().map(|executor| Arc::downgrade(executor.home())).collect();
    shards.iter_mut().for_each(|shard| shard.executor = None);
    for shard in (0..homes.len()).filter(|&shard| homes[shard].strong_count() > 0) {
        let what =
            format!("tasks of shard {shard} of {}, or things of it abroad, that somebody still holds", state.host.name);
        failures.push(Failure::Leak(vec![what]));
    }
    failures
}
