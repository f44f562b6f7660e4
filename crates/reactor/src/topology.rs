//! The machine's processors and memory nodes, read from sysfs.
//!
//! Read below a root directory (`/sys/devices/system`), so that the trees of other machines can be read in
//! tests. What sysfs may leave out has a stated fallback; what it says wrongly is an error that names the
//! file and the rule.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::cpu_set::{CpuSet, CpuSetError};

/// Where Linux describes processors and memory nodes.
pub const SYSFS_ROOT: &str = "/sys/devices/system";

/// The online processors of a machine and the memory nodes they belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    cpus: Vec<Cpu>,
    nodes: Vec<NumaNode>,
}

/// One logical processor: a hardware thread of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpu {
    /// The number by which Linux knows it.
    pub id: u32,
    /// The package (socket) that it sits in; 0 where sysfs does not say.
    pub package: u32,
    /// The lowest online processor among the hardware threads of its core: equal for siblings, different
    /// for different cores of the machine.
    pub core: u32,
    /// The memory node that it belongs to.
    pub node: u32,
}

/// A memory node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumaNode {
    /// The number by which Linux knows it.
    pub id: u32,
    /// Its online processors; empty for nodes that only have memory.
    pub cpus: CpuSet,
    /// Its memory, in bytes, if sysfs says.
    pub memory_bytes: Option<u64>,
}

/// Why a machine's topology could not be read.
#[derive(Debug, Error)]
pub enum TopologyError {
    /// A file that must be there could not be read.
    #[error("cannot read {}: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds a bad list of processors or nodes.
    #[error("{}: {source}", file.display())]
    BadList {
        /// The file.
        file: PathBuf,
        /// The text and the rule it breaks.
        source: CpuSetError,
    },
    /// A file holds something else than its format allows.
    #[error("{}: {content:?} breaks the rule: {rule}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// What it holds, or the part that is wrong.
        content: String,
        /// What it must hold.
        rule: &'static str,
    },
}

impl Topology {
    /// Reads the topology below `root`, usually [`SYSFS_ROOT`].
    ///
    /// Fallbacks: a processor of which sysfs says neither siblings nor core is a core of its own; without a
    /// package it is in package 0; without sibling lists, processors of equal package and core number are
    /// siblings; without a `node` directory, node 0 has all processors; a processor that no node lists belongs
    /// to the lowest node.
    ///
    /// # Errors
    /// If the list of online processors is missing or empty, or any file holds what its format forbids.
    pub fn read(root: &Path) -> Result<Self, TopologyError> {
        let online_file = root.join("cpu/online");
        let text = read(&online_file)?.ok_or_else(|| TopologyError::Unreadable {
            file: online_file.clone(),
            source: io::ErrorKind::NotFound.into(),
        })?;
        let online = parse_list(&online_file, &text)?;
        if online.is_empty() {
            let rule = "at least one processor is online";
            return Err(TopologyError::Malformed { file: online_file, content: text, rule });
        }
        let nodes = read_nodes(root, &online)?;
        let cpus = read_cpus(root, &online, &nodes)?;
        Ok(Self { cpus, nodes })
    }

    /// A machine of which only the processor numbers are known: each is a core of its own, all in node 0.
    pub fn flat(cpus: &CpuSet) -> Self {
        let node = NumaNode { id: 0, cpus: cpus.clone(), memory_bytes: None };
        let cpus = cpus.iter().map(|id| Cpu { id, package: 0, core: id, node: 0 }).collect();
        Self { cpus, nodes: vec![node] }
    }

    /// The online processors, ascending.
    pub fn cpus(&self) -> &[Cpu] {
        &self.cpus
    }

    /// The memory nodes, ascending.
    pub fn nodes(&self) -> &[NumaNode] {
        &self.nodes
    }

    /// The online processors as a set.
    pub fn cpu_set(&self) -> CpuSet {
        self.cpus.iter().map(|cpu| cpu.id).collect()
    }
}

fn read_nodes(root: &Path, online: &CpuSet) -> Result<Vec<NumaNode>, TopologyError> {
    let file = root.join("node/online");
    let Some(text) = read(&file)? else {
        return Ok(vec![NumaNode { id: 0, cpus: online.clone(), memory_bytes: None }]);
    };
    let ids = parse_list(&file, &text)?;
    let mut nodes = Vec::new();
    let mut unclaimed = online.clone();
    for id in ids.iter() {
        let directory = root.join(format!("node/node{id}"));
        let file = directory.join("cpulist");
        let text = read(&file)?.unwrap_or_default();
        let listed = parse_list(&file, &text)?.intersection(online);
        let cpus = listed.intersection(&unclaimed);
        if cpus != listed {
            let rule = "a processor belongs to one node";
            return Err(TopologyError::Malformed { file, content: text, rule });
        }
        unclaimed = unclaimed.difference(&cpus);
        nodes.push(NumaNode { id, cpus, memory_bytes: read_memory(&directory)? });
    }
    match nodes.first_mut() {
        Some(lowest) => unclaimed.iter().for_each(|cpu| lowest.cpus.insert(cpu)),
        None => nodes.push(NumaNode { id: 0, cpus: unclaimed, memory_bytes: None }),
    }
    Ok(nodes)
}

/// Reads `MemTotal` from a node's `meminfo`: `Node 0 MemTotal:  5073112 kB`.
fn read_memory(directory: &Path) -> Result<Option<u64>, TopologyError> {
    let file = directory.join("meminfo");
    let Some(text) = read(&file)? else { return Ok(None) };
    let Some(line) = text.lines().find(|line| line.contains("MemTotal:")) else { return Ok(None) };
    let mut words = line.split_whitespace().skip_while(|&word| word != "MemTotal:").skip(1);
    let kilobytes = words.next().and_then(|word| word.parse::<u64>().ok());
    match (kilobytes.and_then(|amount| amount.checked_mul(1024)), words.next()) {
        (Some(bytes), Some("kB")) => Ok(Some(bytes)),
        _ => {
            let rule = "MemTotal is a number followed by kB";
            Err(TopologyError::Malformed { file, content: line.to_owned(), rule })
        }
    }
}

fn read_cpus(root: &Path, online: &CpuSet, nodes: &[NumaNode]) -> Result<Vec<Cpu>, TopologyError> {
    let mut cpus = Vec::new();
    let mut first_of_core = BTreeMap::new();
    for id in online.iter() {
        let directory = root.join(format!("cpu/cpu{id}/topology"));
        let package = read_id(&directory.join("physical_package_id"))?;
        let core_id = read_id(&directory.join("core_id"))?;
        let core = match (read_siblings(&directory, id, online)?, core_id) {
            (Some(lowest_sibling), _) => lowest_sibling,
            (None, Some(core_id)) => *first_of_core.entry((package, core_id)).or_insert(id),
            (None, None) => id,
        };
        let node = nodes.iter().find(|node| node.cpus.contains(id)).map_or(0, |node| node.id);
        cpus.push(Cpu { id, package: package.unwrap_or(0), core, node });
    }
    Ok(cpus)
}

/// The lowest online hardware thread of the core that processor `id` is a thread of.
///
/// The list is called `core_cpus_list` since Linux 5.3 and `thread_siblings_list` before; newer kernels have both.
fn read_siblings(directory: &Path, id: u32, online: &CpuSet) -> Result<Option<u32>, TopologyError> {
    for name in ["core_cpus_list", "thread_siblings_list"] {
        let file = directory.join(name);
        let Some(text) = read(&file)? else { continue };
        let siblings = parse_list(&file, &text)?;
        if !siblings.contains(id) {
            let rule = "a processor is among its own siblings";
            return Err(TopologyError::Malformed { file, content: text, rule });
        }
        return Ok(siblings.intersection(online).first());
    }
    Ok(None)
}

/// Reads a number that sysfs may leave out or give as -1 where the firmware does not say.
fn read_id(file: &Path) -> Result<Option<u32>, TopologyError> {
    let Some(text) = read(file)? else { return Ok(None) };
    match text.trim() {
        "-1" => Ok(None),
        digits => digits.parse().map(Some).map_err(|_| {
            let rule = "a decimal number, or -1 for unknown";
            TopologyError::Malformed { file: file.to_owned(), content: text.clone(), rule }
        }),
    }
}

/// Reads a small text file; `None` if there is none.
fn read(file: &Path) -> Result<Option<String>, TopologyError> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TopologyError::Unreadable { file: file.to_owned(), source }),
    }
}

fn parse_list(file: &Path, text: &str) -> Result<CpuSet, TopologyError> {
    CpuSet::parse_kernel_list(text).map_err(|source| TopologyError::BadList { file: file.to_owned(), source })
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
