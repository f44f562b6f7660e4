//! Starts the shards, one thread each, and ends them in order.

mod control;
mod descriptors;
mod rendezvous;
mod shard;
mod slack;

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sunstar_executor::message::Mesh;
use thiserror::Error;

use crate::affinity;
use crate::cgroup::CpuQuota;
use crate::config::Config;
use crate::cpu_set::CpuSet;
use crate::driver::{self, Backend};
use crate::placement::{self, Place, PlacementError, PlacementOptions};
use crate::topology::{SYSFS_ROOT, Topology, TopologyError};

pub(crate) use control::Control;
use shard::Seat;

/// Why a runtime did not come to its main function's end.
#[derive(Debug, Error)]
pub enum RunError {
    /// The machine could not be understood.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The shards could not be placed as asked.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The processors that this process may use could not be learnt.
    #[error("cannot read the affinity mask: {0}")]
    Affinity(#[source] io::Error),
    /// A shard could not be started.
    #[error("shard {shard} on processor {cpu} cannot {action}: {source}")]
    Start {
        /// The shard.
        shard: usize,
        /// Its processor.
        cpu: u32,
        /// What it could not do.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The main function panicked, with this message.
    #[error("the main function panicked: {0}")]
    MainPanicked(String),
    /// A stop was requested and the main function had not returned within the time it had: it was dropped.
    #[error("stopped on request; the main function had not returned within {waited:?}")]
    Stopped {
        /// How long it was waited for.
        waited: Duration,
        /// Whether somebody had asked to be [told](crate::stop_requested) of the request. If not, nothing was waited for,
        /// and to be dropped is the orderly end.
        listened: bool,
    },
}

/// Runs `main` on shard 0 of a new runtime and returns what it returns, once all shards have stopped.
///
/// Blocks the calling thread, which therefore should not be a shard's own.
///
/// Starts one thread per shard (`shard-0`, `shard-1`, …) and stops them when `main` returns, or some time after a stop
/// was [requested](crate::request_stop). Tasks that still exist then are dropped, on every shard, before anything else of
/// the shards goes. Several runtimes may exist in one process.
///
/// A panic outside of any task leaves a shard in an unknown state that others may wait for: it is reported on standard
/// error, and the process aborts.
///
/// # Errors
/// If the shards cannot be placed or started as `config` asks, if `main` panics, or if it is dropped after a
/// stop was requested.
///
/// # Example
/// ```
/// use sunstar_reactor::{Config, run};
///
/// let config = Config { smp: Some(1), ..Config::default() };
/// let answer = run(config, || async { 6 * 7 })?;
/// assert_eq!(answer, 42);
/// # Ok::<(), sunstar_reactor::RunError>(())
/// ```
pub fn run<F, M, T>(config: Config, main: F) -> Result<T, RunError>
where
    F: FnOnce() -> M + Send + 'static,
    M: Future<Output = T> + 'static,
    T: Send + 'static,
{
    let places = places(&config)?;
    let backend = backend(&config, &places)?;
    descriptors::make_room();
    let control = Arc::new(Control::new(places.len()));
    let config = Arc::new(config);
    let mut main = Some(main);
    let mut first = None;
    let mut others = Vec::new();
    for (links, place) in Mesh::links(places.len()).into_iter().zip(places) {
        let shard = links.id().index();
        let seat = Seat { links, place, backend, config: Arc::clone(&config), control: Arc::clone(&control) };
        let builder = thread::Builder::new().name(format!("shard-{shard}"));
        let spawned = match main.take() {
            Some(main) => builder.spawn(move || seat.supervise(main)).map(|thread| first = Some(thread)),
            None => builder.spawn(move || seat.serve()).map(|thread| others.push(thread)),
        };
        if let Err(source) = spawned {
            control.fail(RunError::Start { shard, cpu: place.cpu, action: "start a thread", source });
            break;
        }
    }
    // A thread that panicked has ended the process, and one whose meeting was abandoned has a failure noted.
    others.into_iter().for_each(|thread: JoinHandle<_>| drop(thread.join()));
    let outcome = first.and_then(|thread: JoinHandle<_>| thread.join().ok()?.ok());
    match control.take_failure() {
        Some(failure) => Err(failure),
        None => outcome.unwrap_or_else(|| unreachable!("shard 0 has an outcome if nothing failed")),
    }
}

/// The backend of all shards, which the log is told of.
fn backend(config: &Config, places: &[Place]) -> Result<Backend, RunError> {
    let failed = |source| RunError::Start { shard: 0, cpu: places[0].cpu, action: "make its driver", source };
    let selection = driver::select(config.reactor_backend, places.len()).map_err(failed)?;
    log::info!("{selection}");
    Ok(selection.backend)
}

fn places(config: &Config) -> Result<Vec<Place>, RunError> {
    let allowed = affinity::allowed_cpus().map_err(RunError::Affinity)?;
    let topology = topology(Path::new(SYSFS_ROOT), &allowed)?;
    let quota = CpuQuota::read(Path::new("/"));
    Ok(placed_within(quota.as_ref(), &topology, &allowed, &config.placement())?)
}

/// Places shards; as many as the quota can keep busy at most, unless their number was given.
fn placed_within(
    quota: Option<&CpuQuota>,
    topology: &Topology,
    allowed: &CpuSet,
    options: &PlacementOptions,
) -> Result<Vec<Place>, PlacementError> {
    let places = placement::place(topology, allowed, options)?;
    match quota.map(|quota| (quota, quota.processors())) {
        Some((quota, limit)) if options.smp.is_none() && limit < places.len() => {
            log::info!("{} limits the shards to {limit}, on {} processors", quota.file.display(), places.len());
            placement::place(topology, allowed, &PlacementOptions { smp: Some(limit), ..options.clone() })
        }
        _ => Ok(places),
    }
}

/// The topology below `root`; where there is no sysfs, as in some sandboxes, every allowed processor is a core.
fn topology(root: &Path, allowed: &CpuSet) -> Result<Topology, TopologyError> {
    match Topology::read(root) {
        Err(TopologyError::Unreadable { file, source }) if source.kind() == io::ErrorKind::NotFound => {
            log::warn!("{} does not exist: hyper-threads and memory nodes are not known", file.display());
            Ok(Topology::flat(allowed))
        }
        answer => answer,
    }
}

#[cfg(test)]
mod tests;
