use std::collections::BTreeSet;
use std::fs;

use super::fixture::{Machine, put, temporary_directory};
use super::*;

fn cores(topology: &Topology) -> BTreeSet<u32> {
    topology.cpus().iter().map(|cpu| cpu.core).collect()
}

#[test]
fn two_sockets_with_interleaved_siblings() {
    let tree = Machine::new(2, 32, 2, 1, true).write();
    let topology = Topology::read(tree.path()).expect("a sound tree");
    assert_eq!(topology.cpus().len(), 128);
    assert_eq!(cores(&topology).len(), 64);
    assert_eq!(topology.cpus()[0], Cpu { id: 0, package: 0, core: 0, node: 0 });
    assert_eq!(topology.cpus()[33], Cpu { id: 33, package: 1, core: 33, node: 1 });
    assert_eq!(topology.cpus()[127], Cpu { id: 127, package: 1, core: 63, node: 1 });
    assert_eq!(topology.nodes()[1].cpus.to_string(), "32-63,96-127");
    assert_eq!(topology.nodes()[1].memory_bytes, Some(1_048_577 * 1024));
}

#[test]
fn eight_nodes_in_two_packages_with_neighbouring_siblings() {
    let tree = Machine::new(2, 64, 2, 4, false).write();
    let topology = Topology::read(tree.path()).expect("a sound tree");
    assert_eq!(topology.nodes().len(), 8);
    assert!(topology.nodes().iter().all(|node| node.cpus.len() == 32));
    assert_eq!(topology.cpus()[255], Cpu { id: 255, package: 1, core: 254, node: 7 });
}

#[test]
fn offline_processors_leave_holes() {
    let mut machine = Machine::new(1, 8, 2, 1, true);
    machine.offline = "0,3,5-6,13".parse().expect("a valid list");
    let tree = machine.write();
    let topology = Topology::read(tree.path()).expect("a sound tree");
    assert_eq!(topology.cpu_set().to_string(), "1-2,4,7-12,14-15");
    let core_of = |id| topology.cpus().iter().find(|cpu| cpu.id == id).map(|cpu| cpu.core);
    assert_eq!(core_of(8), Some(8), "the first thread of that core is offline");
    assert_eq!(core_of(9), Some(1));
}

#[test]
fn what_is_read_is_what_was_described() {
    for (packages, cores, threads, nodes, interleaved) in
        [(2, 32, 2, 1, true), (2, 64, 2, 4, false), (1, 6, 4, 2, true)]
    {
        let mut machine = Machine::new(packages, cores, threads, nodes, interleaved);
        machine.offline = "1,6".parse().expect("a valid list");
        machine.memory_only_nodes = vec![9];
        assert_eq!(Topology::read(machine.write().path()).expect("a sound tree"), machine.topology());
    }
}

#[test]
fn siblings_are_found_by_core_numbers_when_there_are_no_lists() {
    let mut machine = Machine::new(2, 4, 2, 1, true);
    machine.sibling_lists = false;
    let with_numbers = Topology::read(machine.write().path()).expect("a sound tree");
    machine.sibling_lists = true;
    let with_lists = Topology::read(machine.write().path()).expect("a sound tree");
    assert_eq!(with_numbers, with_lists);
}

#[test]
fn without_a_node_directory_node_0_has_all() {
    let mut machine = Machine::new(1, 4, 1, 1, true);
    machine.has_nodes = false;
    let topology = Topology::read(machine.write().path()).expect("a sound tree");
    assert_eq!(topology.nodes(), [NumaNode { id: 0, cpus: topology.cpu_set(), memory_bytes: None }]);
    assert_eq!(cores(&topology).len(), 4);
}

#[test]
fn nodes_may_have_only_memory() {
    let mut machine = Machine::new(1, 4, 1, 1, true);
    machine.memory_only_nodes = vec![2];
    let topology = Topology::read(machine.write().path()).expect("a sound tree");
    assert_eq!(topology.nodes()[1], NumaNode { id: 2, cpus: CpuSet::new(), memory_bytes: Some(1_048_578 * 1024) });
}

#[test]
fn a_processor_without_details_is_a_core_of_its_own() {
    let tree = Machine::new(1, 4, 1, 1, true).write();
    fs::remove_dir_all(tree.path().join("cpu/cpu2")).expect("the fixture wrote it");
    put(&tree.path().join("cpu/cpu3/topology/physical_package_id"), "-1");
    put(&tree.path().join("node/node0/cpulist"), "0-2");
    let topology = Topology::read(tree.path()).expect("fallbacks for all that");
    assert_eq!(topology, Topology { nodes: topology.nodes.clone(), ..Topology::flat(&topology.cpu_set()) });
    assert!(topology.nodes()[0].cpus.contains(3), "a processor that no node lists is in the lowest node");
}

#[test]
fn a_missing_list_of_online_processors_is_an_error_that_names_the_file() {
    let tree = temporary_directory();
    let error = Topology::read(tree.path()).expect_err("an empty tree");
    assert!(matches!(&error, TopologyError::Unreadable { file, source }
        if file.ends_with("cpu/online") && source.kind() == io::ErrorKind::NotFound));
    assert!(error.to_string().contains("cpu/online"), "{error}");
}

#[test]
fn bad_files_are_named_with_the_rule_they_break() {
    for (file, content, rule) in [
        ("cpu/online", "", "at least one processor"),
        ("cpu/online", "0-x", "decimal numbers or ranges"),
        ("cpu/online", "0-70000", "below 8192"),
        ("cpu/cpu1/topology/core_id", "seven", "a decimal number"),
        ("cpu/cpu1/topology/thread_siblings_list", "0", "among its own siblings"),
        ("node/online", "3-1", "must not end before"),
        ("node/node1/cpulist", "0-3", "belongs to one node"),
        ("node/node1/meminfo", "Node 1 MemTotal: 12 MB", "followed by kB"),
        ("node/node1/meminfo", "Node 1 MemTotal: many kB", "is a number"),
    ] {
        let tree = Machine::new(2, 2, 1, 1, true).write();
        put(&tree.path().join(file), content);
        let message = Topology::read(tree.path()).expect_err(file).to_string();
        assert!(message.contains(file), "{message}");
        assert!(message.contains(rule), "{message}");
    }
}

#[test]
fn a_file_that_is_a_directory_is_unreadable() {
    let tree = Machine::new(1, 1, 1, 1, true).write();
    let file = tree.path().join("node/node0/cpulist");
    fs::remove_file(&file).expect("the fixture wrote it");
    fs::create_dir(&file).expect("a free name");
    assert!(matches!(Topology::read(tree.path()), Err(TopologyError::Unreadable { file: named, .. }) if named == file));
}

#[test]
fn this_machine_has_a_topology() {
    let topology = Topology::read(Path::new(SYSFS_ROOT)).expect("tests run on Linux");
    let online = std::thread::available_parallelism().expect("Linux knows").get();
    assert!(topology.cpus().len() >= online);
}
