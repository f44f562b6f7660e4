//! Metrics of several shards.

use std::time::Duration;

use sunstar_executor::sync::Gate;
use sunstar_executor::{SchedulingGroup, ShardId, current, invoke_on_all, local, spawn, submit_to};
use sunstar_sim::Sim;

use super::parser::{Read, parse};
use crate::{Buckets, Counter, Family, Gathered, Histogram, Registry, gather, gather_within, prometheus};

const THINGS: Family = Family::counter("test_things_total", "Things.");
const ALL_THINGS: Family = Family::counter("test_all_things_total", "All things.").summed();
const TIMES: Family = Family::histogram("test_seconds", "Times.", Buckets::of_times(10, 12, 0)).summed();

/// Runs a main function on several shards.
fn run<M: Future<Output = ()> + 'static>(shards: usize, main: impl FnOnce() -> M + 'static) {
    let mut sim = Sim::new(1);
    sim.host("host", shards, main);
    sim.run().unwrap();
}

fn family(gathered: &Gathered, name: &str) -> Read {
    parse(&prometheus::text(gathered)).into_iter().find(|family| family.name == name).expect(name)
}

fn values(gathered: &Gathered, name: &str) -> Vec<f64> {
    family(gathered, name).lines.iter().map(|line| line.value).collect()
}

/// What the shards of the tests count.
struct Counts {
    _things: Counter,
    _all: Counter,
    _times: Histogram,
}

/// Counts on every shard as many things as its number and one.
async fn count_on_all() {
    let count = || async {
        let (registry, number) = (Registry::here(), current::shard_id().index() as u64 + 1);
        let things = registry.counter(THINGS, &[]).unwrap();
        let all = registry.counter(ALL_THINGS, &[]).unwrap();
        let times = registry.histogram(TIMES, &[]).unwrap();
        things.add(number);
        all.add(number);
        times.record(number * 1000);
        local::set(std::rc::Rc::new(Counts { _things: things, _all: all, _times: times }));
    };
    invoke_on_all(count).await.unwrap();
}

#[test]
fn each_shard_is_shown_or_the_sum() {
    run(3, || async {
        count_on_all().await;
        let gathered = gather().await;
        let text = prometheus::text(&gathered);
        let expected = "\
# HELP test_all_things_total All things.
# TYPE test_all_things_total counter
test_all_things_total 6
# HELP test_seconds Times.
# TYPE test_seconds histogram
test_seconds_bucket{le=\"0.000001024\"} 1
test_seconds_bucket{le=\"0.000002048\"} 2
test_seconds_bucket{le=\"0.000004096\"} 3
test_seconds_bucket{le=\"+Inf\"} 3
test_seconds_sum 0.000006
test_seconds_count 3
# HELP test_things_total Things.
# TYPE test_things_total counter
test_things_total{shard=\"0\"} 1
test_things_total{shard=\"1\"} 2
test_things_total{shard=\"2\"} 3
";
        assert!(text.ends_with(expected), "{text}");
        assert!(gathered.missing.is_empty());
        let names: Vec<_> = gathered.families.iter().map(|family| family.family.name()).collect();
        assert!(names.is_sorted());
    });
}

#[test]
fn the_order_is_the_same_whoever_asks() {
    run(3, || async {
        count_on_all().await;
        let names = |gathered: Gathered| -> Vec<String> {
            let lines = parse(&prometheus::text(&gathered)).into_iter().flat_map(|family| family.lines);
            lines.map(|line| format!("{}{:?}", line.name, line.labels)).collect()
        };
        let here = names(gather().await);
        let there = submit_to(ShardId::new(2), move || async move { names(gather().await) }).await.unwrap();
        assert_eq!(here, there);
    });
}

#[test]
fn shards_that_do_not_answer_in_time_are_left_out_and_counted() {
    run(3, || async {
        count_on_all().await;
        let gathered = gather_within(Duration::ZERO).await;
        assert_eq!(gathered.missing, [1, 2].map(ShardId::new));
        assert_eq!(values(&gathered, "test_things_total"), [1.0]);
        // A part of a sum would be a counter that falls.
        let names: Vec<_> = gathered.families.iter().map(|family| family.family.name()).collect();
        assert!(!names.contains(&"test_all_things_total") && !names.contains(&"test_seconds"), "{names:?}");
        assert_eq!(values(&gather().await, "test_all_things_total"), [6.0]);
        let missing = values(&gather().await, "sunstar_metrics_missing_shards_total");
        assert_eq!(missing, [2.0, 0.0, 0.0]);
    });
}

#[test]
fn a_panic_costs_the_shard_its_figures_only() {
    run(2, || async {
        let panicking = submit_to(ShardId::new(1), || async {
            Registry::here().observe(&[THINGS], &[], |_| panic!("no figures")).unwrap().keep();
        });
        panicking.await.unwrap();
        assert_eq!(gather().await.missing, [ShardId::new(1)]);
    });
}

#[test]
fn one_collection_at_a_time_runs() {
    run(2, || async {
        let gate = std::rc::Rc::new(Gate::new());
        for _ in 0..20 {
            let inside = gate.enter_owned().unwrap();
            spawn(async move {
                assert!(gather().await.missing.is_empty());
                drop(inside);
            });
        }
        gate.close().await;
    });
}

#[test]
fn the_lowest_shard_says_what_a_name_means() {
    run(2, || async {
        let _here = Registry::here().counter(THINGS, &[]).unwrap();
        let there = submit_to(ShardId::new(1), || async {
            let other = Family::counter("test_things_total", "Other things.");
            let counter = Registry::here().counter(other, &[]).unwrap();
            local::set(std::rc::Rc::new(counter));
        });
        there.await.unwrap();
        let gathered = gather().await;
        assert_eq!(family(&gathered, "test_things_total").help, "Things.");
        assert_eq!(values(&gathered, "test_things_total"), [0.0]);
        assert_eq!(values(&gather().await, "sunstar_metrics_left_out_total"), [1.0, 0.0]);
    });
}

#[test]
fn the_executor_is_shown() {
    run(2, || async {
        let group = SchedulingGroup::create("back", 300).await.unwrap();
        let twin = SchedulingGroup::create("back", 100).await.unwrap();
        let gathered = gather().await;
        let shares = family(&gathered, "sunstar_group_shares");
        let of = |group: &str| -> Vec<f64> {
            let is_it = |label: &(String, String)| label.0 == "group" && label.1 == group;
            shares.lines.iter().filter(|line| line.labels.iter().any(is_it)).map(|line| line.value).collect()
        };
        assert_eq!((of("main"), of("back")), (vec![200.0; 2], vec![400.0; 2]), "groups of one name are shown as one");
        assert!(values(&gathered, "sunstar_executor_rounds_total").iter().all(|rounds| *rounds > 0.0));
        assert!(values(&gathered, "sunstar_tasks_living")[0] >= 1.0);
        assert!(values(&gathered, "sunstar_messages_sent_total")[0] >= 1.0);
        // The limit of the collection before is a timer.
        assert!(values(&gather().await, "sunstar_timers_started_total")[0] >= 1.0);
        assert!(values(&gathered, "sunstar_executor_residents")[0] >= 1.0);
        group.destroy().await.unwrap();
        twin.destroy().await.unwrap();
    });
}
