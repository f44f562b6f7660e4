//! Sysfs trees of other machines, written into a temporary directory from a compact description.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{Cpu, NumaNode, Topology};
use crate::cpu_set::CpuSet;

/// A machine to write: which processor numbers are threads of which core of which package of which node.
pub(crate) struct Machine {
    /// For each processor number: package, core number within the package, node.
    pub(crate) cpus: Vec<(u32, u32, u32)>,
    /// Processors that are present but offline: they have no `topology` directory then.
    pub(crate) offline: CpuSet,
    /// Whether sibling lists are written, besides package and core numbers.
    pub(crate) sibling_lists: bool,
    /// Whether there is a `node` directory.
    pub(crate) has_nodes: bool,
    /// Memory nodes without processors, such as memory on an expansion bus.
    pub(crate) memory_only_nodes: Vec<u32>,
}

impl Machine {
    /// A machine of `packages` × `cores` × `threads`, each package divided into `nodes` equal nodes.
    ///
    /// `interleaved` numbers the first threads of all cores before all second threads, as x86 firmware
    /// mostly does; otherwise the threads of a core have neighbouring numbers.
    pub(crate) fn new(packages: u32, cores: u32, threads: u32, nodes: u32, interleaved: bool) -> Self {
        let place = |package, core| (package, core, package * nodes + core * nodes / cores);
        let mut cpus = Vec::new();
        let (outer, inner) = if interleaved { (threads, 1) } else { (1, threads) };
        for _ in 0..outer {
            for package in 0..packages {
                for core in 0..cores {
                    cpus.extend((0..inner).map(|_| place(package, core)));
                }
            }
        }
        Self { cpus, offline: CpuSet::new(), sibling_lists: true, has_nodes: true, memory_only_nodes: Vec::new() }
    }

    /// What reading the tree must give, without writing and reading it: for tests that need many machines.
    pub(crate) fn topology(&self) -> Topology {
        let all = || (0u32..).zip(&self.cpus).filter(|(cpu, _)| !self.offline.contains(*cpu));
        let first_of_core = |place: &(u32, u32, u32)| all().find(|(_, other)| (other.0, other.1) == (place.0, place.1));
        let core = |place| first_of_core(place).expect("a processor is among its siblings").0;
        let cpus = all().map(|(id, place)| Cpu { id, package: place.0, core: core(place), node: place.2 }).collect();
        let node = |id| NumaNode {
            id,
            cpus: all().filter(|(_, place)| place.2 == id).map(|(cpu, _)| cpu).collect(),
            memory_bytes: Some((1_048_576 + u64::from(id)) * 1024),
        };
        Topology { cpus, nodes: self.node_ids().iter().map(node).collect() }
    }

    fn node_ids(&self) -> CpuSet {
        self.cpus.iter().map(|place| place.2).chain(self.memory_only_nodes.iter().copied()).collect()
    }

    /// Writes the tree and answers its root.
    pub(crate) fn write(&self) -> TempDir {
        let root = temporary_directory();
        let all = (0u32..).zip(&self.cpus).map(|(cpu, place)| (cpu, *place));
        let online: Vec<_> = all.filter(|(cpu, _)| !self.offline.contains(*cpu)).collect();
        put(&root.path().join("cpu/online"), &list(online.iter().map(|(cpu, _)| *cpu)));
        for &(cpu, (package, core, _)) in &online {
            let directory = root.path().join(format!("cpu/cpu{cpu}/topology"));
            put(&directory.join("physical_package_id"), &package.to_string());
            put(&directory.join("core_id"), &core.to_string());
            if self.sibling_lists {
                let is_sibling = |other: &&(u32, (u32, u32, u32))| (other.1.0, other.1.1) == (package, core);
                let siblings = list(online.iter().filter(is_sibling).map(|(cpu, _)| *cpu));
                put(&directory.join("thread_siblings_list"), &siblings);
            }
        }
        if self.has_nodes {
            self.write_nodes(root.path(), &online);
        }
        root
    }

    fn write_nodes(&self, root: &Path, online: &[(u32, (u32, u32, u32))]) {
        let ids = self.node_ids();
        put(&root.join("node/online"), &ids.to_string());
        for id in ids.iter() {
            let directory = root.join(format!("node/node{id}"));
            let cpus = online.iter().filter(|(_, place)| place.2 == id).map(|(cpu, _)| *cpu);
            put(&directory.join("cpulist"), &list(cpus));
            let mut meminfo = String::new();
            for (key, kilobytes) in [("MemTotal", 1_048_576 + id), ("MemFree", 7)] {
                writeln!(meminfo, "Node {id} {key}:  {kilobytes:>8} kB").expect("strings take all text");
            }
            put(&directory.join("meminfo"), &meminfo);
        }
    }
}

/// In memory where there is such a file system: a big machine is hundreds of small files.
pub(crate) fn temporary_directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary directory")
}

fn list(cpus: impl Iterator<Item = u32>) -> String {
    cpus.collect::<CpuSet>().to_string()
}

/// Writes a file as sysfs shows it, with a line end.
pub(crate) fn put(file: &Path, text: &str) {
    fs::create_dir_all(file.parent().expect("files are below the root")).expect("a writable directory");
    fs::write(file, format!("{text}\n")).expect("a writable file");
}
