//! Which shard runs on which processor.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::cpu_set::CpuSet;
use crate::topology::{Cpu, Topology};

/// What a user may say about placement.
#[derive(Debug, Clone, Default)]
pub struct PlacementOptions {
    /// How many shards to run; without it, one per usable processor.
    pub smp: Option<usize>,
    /// The processors to use, all of which must be usable; without it, all that are.
    pub cpuset: Option<CpuSet>,
    /// Whether there may be more shards than processors, which then share processors evenly.
    pub overprovisioned: bool,
}

/// The place of one shard. A shard's number is its index in the list that [`place`] answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The processor to run on.
    pub cpu: u32,
    /// The memory node of that processor.
    pub node: u32,
}

/// Why shards cannot be placed as asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlacementError {
    /// No shard at all was asked for.
    #[error("smp: there must be at least one shard")]
    NoShards,
    /// The set of processors to use is empty.
    #[error("cpuset: the set is empty; name at least one processor, or leave it out to use all")]
    EmptyCpuset,
    /// No processor is both online and allowed.
    #[error("no processor is both online and allowed by the affinity mask {allowed}")]
    NoCpus {
        /// The affinity mask of the process.
        allowed: CpuSet,
    },
    /// The set names processors that are offline or that the affinity mask forbids.
    #[error("cpuset {cpuset}: processors {unusable} are offline or not allowed; usable are {usable}")]
    Unusable {
        /// The set as asked for.
        cpuset: CpuSet,
        /// Its processors that cannot be used.
        unusable: CpuSet,
        /// The processors that can be used.
        usable: CpuSet,
    },
    /// More shards than processors were asked for, and sharing them was not.
    #[error("smp {shards}: more shards than processors ({cpus}); use fewer shards, or say overprovisioned")]
    TooFewCpus {
        /// The shards asked for.
        shards: usize,
        /// The processors there are.
        cpus: usize,
    },
}

/// Places shards on processors of `topology` that `allowed` contains.
///
/// With fewer shards than processors, physical cores are used up before second hardware threads of a core;
/// among equals, the memory node with the fewest shards comes first. Shards are numbered by node, then by
/// processor, so that neighbours in number are neighbours in the machine. The same input gives the same
/// places.
///
/// # Errors
/// If what the options ask for is not there.
pub fn place(topology: &Topology, allowed: &CpuSet, options: &PlacementOptions) -> Result<Vec<Place>, PlacementError> {
    let usable = topology.cpu_set().intersection(allowed);
    if usable.is_empty() {
        return Err(PlacementError::NoCpus { allowed: allowed.clone() });
    }
    let candidates = match &options.cpuset {
        None => usable,
        Some(cpuset) if cpuset.is_empty() => return Err(PlacementError::EmptyCpuset),
        Some(cpuset) => {
            let unusable = cpuset.difference(&usable);
            if !unusable.is_empty() {
                return Err(PlacementError::Unusable { cpuset: cpuset.clone(), unusable, usable });
            }
            cpuset.clone()
        }
    };
    let cpus = candidates.len();
    let shards = options.smp.unwrap_or(cpus);
    if shards == 0 {
        return Err(PlacementError::NoShards);
    }
    if shards > cpus && !options.overprovisioned {
        return Err(PlacementError::TooFewCpus { shards, cpus });
    }
    let by_preference = order(topology, &candidates);
    let mut chosen: Vec<Cpu> = by_preference.into_iter().cycle().take(shards).collect();
    chosen.sort_by_key(|cpu| (cpu.node, cpu.id));
    Ok(chosen.into_iter().map(|cpu| Place { cpu: cpu.id, node: cpu.node }).collect())
}

/// The candidates in the order in which shards should take them.
fn order(topology: &Topology, candidates: &CpuSet) -> Vec<Cpu> {
    let mut threads_of_core: BTreeMap<u32, usize> = BTreeMap::new();
    let mut waiting: Vec<(usize, Cpu)> = Vec::new();
    for &cpu in topology.cpus().iter().filter(|cpu| candidates.contains(cpu.id)) {
        let threads = threads_of_core.entry(cpu.core).or_default();
        waiting.push((*threads, cpu));
        *threads += 1;
    }
    let mut chosen_on: BTreeMap<u32, usize> = BTreeMap::new();
    let mut ordered = Vec::with_capacity(waiting.len());
    let rank = |thread, cpu: &Cpu, chosen: &BTreeMap<u32, usize>| {
        (thread, chosen.get(&cpu.node).copied().unwrap_or(0), cpu.id)
    };
    while let Some((index, &(_, cpu))) =
        waiting.iter().enumerate().min_by_key(|(_, (thread, cpu))| rank(*thread, cpu, &chosen_on))
    {
        *chosen_on.entry(cpu.node).or_default() += 1;
        ordered.push(cpu);
        waiting.remove(index);
    }
    ordered
}

#[cfg(test)]
mod tests;
