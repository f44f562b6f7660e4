//! What a shard registers.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use sunstar_sim::Sim;

use super::parser::{Read, parse};
use crate::{
    Buckets, Distribution, Family, Figure, MAX_SERIES, Refusal, RegisterError, Registration, Registry, gather,
    prometheus,
};

const THINGS: Family = Family::counter("test_things_total", "Things.");
const LEVEL: Family = Family::gauge("test_level", "A level.");
const TIMES: Family = Family::histogram("test_seconds", "Times.", Buckets::LATENCY);

/// Runs a main function on one shard.
fn run<M: Future<Output = ()> + 'static>(main: impl FnOnce() -> M + 'static) {
    let mut sim = Sim::new(1);
    sim.host("host", 1, main);
    sim.run().unwrap();
}

/// What the program shows of a family.
async fn shown(name: &str) -> Option<Read> {
    let text = prometheus::text(&gather().await);
    parse(&text).into_iter().find(|family| family.name == name)
}

async fn values(name: &str) -> Vec<f64> {
    shown(name).await.map_or_else(Vec::new, |family| family.lines.iter().map(|line| line.value).collect())
}

fn refusal<T>(result: Result<T, RegisterError>) -> Refusal {
    result.err().expect("it is refused").refusal
}

#[test]
fn handles_are_shown_while_they_live() {
    run(|| async {
        let registry = Registry::here();
        let books = registry.counter(THINGS, &[("kind", "book")]).unwrap();
        let pens = registry.counter(THINGS, &[("kind", "pen")]).unwrap();
        let level = registry.gauge(LEVEL, &[]).unwrap();
        books.add(2);
        let same = books.clone();
        same.add(3);
        level.set(1.5);
        level.add(-2.0);
        assert_eq!(values("test_things_total").await, [5.0, 0.0]);
        assert_eq!((values("test_level").await, books.value(), level.value()), (vec![-0.5], 5, -0.5));
        drop(books);
        drop(pens);
        assert_eq!(values("test_things_total").await, [5.0], "a clone lives");
        drop(same);
        assert_eq!(shown("test_things_total").await, None);
        assert_eq!(registry.len(), 1);
    });
}

#[test]
fn histograms_are_shown() {
    run(|| async {
        let times = Registry::here().histogram(TIMES, &[("a", "b")]).unwrap();
        times.record_duration(Duration::from_millis(1));
        times.record_duration(Duration::from_millis(2));
        let values = values("test_seconds").await;
        assert_eq!(values[values.len() - 2..], [0.003, 2.0]);
        assert_eq!(values.len(), Buckets::LATENCY.count() + 2);
    });
}

#[test]
fn one_name_has_one_meaning_and_labels_once() {
    run(|| async {
        let registry = Registry::here();
        let first = registry.counter(THINGS, &[("kind", "book")]).unwrap();
        let error = registry.counter(THINGS, &[("kind", "book")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the metric `test_things_total` can't be registered: there is one of this name with the same labels"
        );
        let other_help = Family::counter("test_things_total", "Other things.");
        assert_eq!(refusal(registry.counter(other_help, &[])), Refusal::Different);
        assert_eq!(refusal(registry.counter(THINGS.summed(), &[])), Refusal::Different);
        assert_eq!(refusal(registry.observe(&[LEVEL, THINGS], &[("kind", "book")], |_| {})), Refusal::Duplicate);
        assert_eq!(refusal(registry.observe(&[LEVEL, LEVEL], &[], |_| {})), Refusal::Duplicate);
        assert!(registry.gauge(LEVEL, &[("kind", "book")]).is_ok(), "a refused observer has registered nothing");
        drop(first);
        assert!(registry.counter(other_help, &[]).is_ok(), "the old meaning is gone");
    });
}

#[test]
fn rules_are_checked() {
    run(|| async {
        let registry = Registry::here();
        assert_eq!(refusal(registry.gauge(Family::gauge("Bad", "Bad."), &[])), Refusal::BadName);
        assert_eq!(refusal(registry.gauge(THINGS, &[])), Refusal::WrongKind);
        assert_eq!(refusal(registry.histogram(THINGS, &[])), Refusal::WrongKind);
        assert_eq!(refusal(registry.counter(LEVEL, &[])), Refusal::WrongKind);
        assert_eq!(refusal(registry.counter(THINGS, &[("le", "1")])), Refusal::ReservedLabel("le"));
        assert!(registry.is_empty());
    });
}

#[test]
fn observers_show_what_is_counted_elsewhere() {
    run(|| async {
        let registry = Registry::here();
        let count = Rc::new(Cell::new(1_u64));
        let times = Distribution::new(Buckets::LATENCY);
        times.record(1);
        let read = Rc::clone(&count);
        let observer = registry.observe(&[THINGS, LEVEL, TIMES], &[("of", "x")], move |readings| {
            readings.show(&THINGS, &[("kind", "a")], read.get());
            readings.show(&THINGS, &[("kind", "b")], 7_u32);
            // Two of the same labels are added up.
            readings.show(&THINGS, &[("kind", "a")], 10_u64);
            readings.show(&LEVEL, &[], Duration::from_millis(1500));
            readings.show_distribution(&TIMES, &[], &times);
        });
        count.set(5);
        let observer = observer.unwrap();
        let family = shown("test_things_total").await.unwrap();
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(family.lines[0].labels, [label("kind", "a"), label("of", "x"), label("shard", "0")]);
        assert_eq!(values("test_things_total").await, [15.0, 7.0]);
        assert_eq!(values("test_level").await, [1.5]);
        assert_eq!(values("test_seconds").await[Buckets::LATENCY.count()], 1e-9);
        drop(observer);
        assert_eq!((shown("test_level").await, shown("test_seconds").await), (None, None));
    });
}

#[test]
fn a_table_of_figures_is_shown() {
    type Stats = (u64, u64, Duration);
    const FIGURES: &[Figure<Stats>] = &[
        Figure::counter("test_things_total", "Things.", |stats: &Stats| stats.0).labelled(&[("kind", "a")]),
        Figure::counter("test_things_total", "Things.", |stats: &Stats| stats.1).labelled(&[("kind", "b")]),
        Figure::gauge("test_level", "A level.", |stats| stats.0),
        Figure::time("test_seconds_total", "Times.", |stats| stats.2),
    ];
    run(|| async {
        let families = Figure::families(FIGURES);
        assert_eq!(families, [THINGS, LEVEL, Family::counter("test_seconds_total", "Times.")]);
        let observer = Registry::here().observe(&families, &[("of", "x")], |readings| {
            readings.show_figures(FIGURES, &[("in", "y")], &(3, 4, Duration::from_millis(1500)));
        });
        let observer = observer.unwrap();
        let family = shown("test_things_total").await.unwrap();
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            family.lines[1].labels,
            [label("in", "y"), label("kind", "b"), label("of", "x"), label("shard", "0")]
        );
        assert_eq!(values("test_things_total").await, [3.0, 4.0]);
        assert_eq!((values("test_level").await, values("test_seconds_total").await), (vec![3.0], vec![1.5]));
        drop(observer);
    });
}

#[test]
fn what_breaks_a_rule_is_left_out_and_counted() {
    run(|| async {
        let other = Family::gauge("test_other", "Another one.");
        let observer = Registry::here().observe(&[THINGS, TIMES], &[("a", "b")], move |readings| {
            readings.show(&other, &[], 1_u64);
            readings.show(&THINGS, &[("Bad", "")], 1_u64);
            readings.show(&THINGS, &[("a", "c")], 1_u64);
            readings.show(&TIMES, &[], 1_u64);
            readings.show_distribution(&TIMES, &[], &Distribution::new(Buckets::SIZES));
            readings.show(&THINGS, &[], 1_u64);
        });
        assert_eq!(values("test_things_total").await, [1.0]);
        assert_eq!(shown("test_other").await, None);
        // It is told by the next collection.
        assert_eq!(values("sunstar_metrics_left_out_total").await, [10.0]);
        drop(observer);
    });
}

#[test]
fn the_number_of_series_is_bounded() {
    run(|| async {
        let registry = Registry::here();
        let name = |number: usize| number.to_string();
        let held: Vec<_> =
            (0..MAX_SERIES).map(|number| registry.counter(THINGS, &[("n", &name(number))]).unwrap()).collect();
        assert_eq!(refusal(registry.counter(THINGS, &[])), Refusal::TooMany);
        // What observers show comes on top of it, as far as there is room.
        let gathered = gather().await;
        assert_eq!(gathered.families.iter().map(|family| family.samples.len()).sum::<usize>(), MAX_SERIES);
        drop(held);
        assert!(values("sunstar_metrics_left_out_total").await[0] > 0.0);
    });
}

#[test]
fn an_observer_may_register_and_unregister() {
    run(|| async {
        let held = Rc::new(RefCell::new(None::<Registration>));
        let inner = Rc::clone(&held);
        let observer = Registry::here().observe(&[LEVEL], &[], move |readings| {
            readings.show(&LEVEL, &[], 1_u64);
            let nested = Registry::here().observe(&[THINGS], &[], |readings| readings.show(&THINGS, &[], 1_u64));
            let before = inner.borrow_mut().take();
            drop(before);
            *inner.borrow_mut() = nested.ok();
        });
        assert_eq!(values("test_level").await, [1.0]);
        assert_eq!(values("test_level").await, [1.0]);
        drop(observer);
        assert_eq!(values("test_level").await, []);
    });
}

#[test]
fn what_is_kept_stays() {
    run(|| async {
        Registry::here().observe(&[LEVEL], &[], |readings| readings.show(&LEVEL, &[], 1_u64)).unwrap().keep();
        assert_eq!(values("test_level").await, [1.0]);
    });
}
