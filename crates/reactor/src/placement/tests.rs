use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::topology::fixture::Machine;

fn read(machine: &Machine) -> Topology {
    Topology::read(machine.write().path()).expect("a sound tree")
}

fn set(list: &str) -> CpuSet {
    list.parse().expect("a valid list")
}

fn cpus(places: &[Place]) -> String {
    places.iter().map(|place| place.cpu).collect::<CpuSet>().to_string()
}

fn with_smp(smp: usize) -> PlacementOptions {
    PlacementOptions { smp: Some(smp), ..Default::default() }
}

#[test]
fn one_shard_per_allowed_processor() {
    let topology = read(&Machine::new(2, 32, 2, 1, true));
    let places = place(&topology, &topology.cpu_set(), &PlacementOptions::default()).expect("all are usable");
    assert_eq!(places.len(), 128);
    assert_eq!(places[0], Place { cpu: 0, node: 0 });
    assert_eq!(places[64], Place { cpu: 32, node: 1 }, "the second node's shards follow the first one's");
    let container = place(&topology, &set("5,7,40-41,900"), &PlacementOptions::default()).expect("some are usable");
    assert_eq!(cpus(&container), "5,7,40-41");
}

#[test]
fn fewer_shards_take_whole_cores_on_all_nodes() {
    let topology = read(&Machine::new(2, 32, 2, 1, true));
    let allowed = topology.cpu_set();
    assert_eq!(cpus(&place(&topology, &allowed, &with_smp(4)).expect("fits")), "0-1,32-33");
    assert_eq!(cpus(&place(&topology, &allowed, &with_smp(64)).expect("fits")), "0-63");
    assert_eq!(cpus(&place(&topology, &allowed, &with_smp(66)).expect("fits")), "0-64,96");
}

#[test]
fn siblings_may_have_neighbouring_numbers() {
    let topology = read(&Machine::new(2, 64, 2, 4, false));
    let allowed = topology.cpu_set();
    assert_eq!(cpus(&place(&topology, &allowed, &with_smp(8)).expect("fits")), "0,32,64,96,128,160,192,224");
    assert_eq!(cpus(&place(&topology, &allowed, &with_smp(9)).expect("fits")), "0,2,32,64,96,128,160,192,224");
    let one_node = PlacementOptions { smp: Some(17), cpuset: Some(set("0-31")), overprovisioned: false };
    assert_eq!(
        cpus(&place(&topology, &allowed, &one_node).expect("fits")),
        "0-2,4,6,8,10,12,14,16,18,20,22,24,26,28,30"
    );
}

#[test]
fn cores_come_before_balance() {
    let topology = read(&Machine::new(2, 4, 2, 1, true));
    let lopsided = PlacementOptions { smp: Some(5), cpuset: Some(set("0-4,8-12")), overprovisioned: false };
    assert_eq!(cpus(&place(&topology, &topology.cpu_set(), &lopsided).expect("fits")), "0-4");
}

#[test]
fn more_shards_than_processors_must_be_asked_for() {
    let topology = read(&Machine::new(1, 2, 1, 1, true));
    let allowed = topology.cpu_set();
    let mut options = with_smp(5);
    assert_eq!(place(&topology, &allowed, &options), Err(PlacementError::TooFewCpus { shards: 5, cpus: 2 }));
    options.overprovisioned = true;
    let places = place(&topology, &allowed, &options).expect("sharing was asked for");
    assert_eq!(places.iter().map(|place| place.cpu).collect::<Vec<_>>(), [0, 0, 0, 1, 1]);
}

#[test]
fn refusals_say_what_is_wrong() {
    let topology = read(&Machine::new(1, 4, 1, 1, true));
    let allowed = set("0-2");
    let cpuset = PlacementOptions { cpuset: Some(set("1-5")), ..Default::default() };
    let message = place(&topology, &allowed, &cpuset).expect_err("3 is forbidden, 4 and 5 do not exist").to_string();
    assert_eq!(message, "cpuset 1-5: processors 3-5 are offline or not allowed; usable are 0-2");
    assert_eq!(place(&topology, &allowed, &with_smp(0)), Err(PlacementError::NoShards));
    let error = place(&topology, &set("9"), &with_smp(1)).expect_err("there is no processor 9");
    assert_eq!(error, PlacementError::NoCpus { allowed: set("9") });
}

/// A machine, the processors allowed on it, and how many shards to place there.
fn cases() -> impl Strategy<Value = (Topology, CpuSet, usize)> {
    let machine = (1u32..4, 1u32..6, 1u32..4, 1u32..3, any::<bool>());
    let allowed = proptest::collection::vec(any::<bool>(), 1..60);
    (machine, allowed, 1usize..60).prop_filter_map("no processor is usable", |(machine, allowed, shards)| {
        let (packages, cores, threads, nodes, interleaved) = machine;
        let topology = Machine::new(packages, cores, threads, nodes, interleaved).topology();
        let allowed: CpuSet = (0u32..).zip(allowed).filter(|(_, allowed)| *allowed).map(|(cpu, _)| cpu).collect();
        let usable = allowed.intersection(&topology.cpu_set()).len();
        (usable > 0).then(|| (topology, allowed, shards.min(usable)))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn places_are_sound((topology, allowed, shards) in cases()) {
        let places = place(&topology, &allowed, &with_smp(shards)).expect("there are enough processors");
        prop_assert_eq!(&places, &place(&topology, &allowed, &with_smp(shards)).expect("the same again"));
        prop_assert_eq!(places.len(), shards);

        let chosen: CpuSet = places.iter().map(|place| place.cpu).collect();
        prop_assert_eq!(chosen.len(), shards, "no processor twice");
        prop_assert!(chosen.difference(&allowed).is_empty());

        let mut used: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
        for cpu in topology.cpus().iter().filter(|cpu| allowed.contains(cpu.id)) {
            let (chosen_threads, free_threads) = used.entry(cpu.core).or_default();
            *if chosen.contains(cpu.id) { chosen_threads } else { free_threads } += 1;
        }
        let busiest = used.values().map(|(chosen, _)| *chosen).max().expect("there are processors");
        for (chosen_threads, free_threads) in used.values() {
            prop_assert!(*free_threads == 0 || chosen_threads + 1 >= busiest, "siblings come last");
        }

        let mut on_node: BTreeMap<u32, (u32, bool)> = BTreeMap::new();
        for cpu in topology.cpus().iter().filter(|cpu| allowed.contains(cpu.id)) {
            let (count, could_take_more) = on_node.entry(cpu.node).or_default();
            *count += u32::from(chosen.contains(cpu.id));
            *could_take_more |= !chosen.contains(cpu.id) && used[&cpu.core].0 < busiest;
        }
        let fullest = on_node.values().map(|(count, _)| *count).max().expect("there are nodes");
        for (count, could_take_more) in on_node.values() {
            prop_assert!(!could_take_more || count + 1 >= fullest || busiest > 1, "nodes are balanced");
        }
    }
}
