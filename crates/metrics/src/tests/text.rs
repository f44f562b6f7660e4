//! The text format: what is written, and that it can be read back.

use proptest::prelude::*;
use sunstar_executor::ShardId;

use super::parser::{Line, parse};
use crate::{Buckets, Distribution, Family, Gathered, Labels, Number, Sample, Samples, Value, prometheus};

const GAUGE: Family = Family::gauge("some_gauge", "Goes up\nand \\down.");
const COUNTER: Family = Family::counter("some_things_total", "Some \"things\".");
const TIMES: Family = Family::histogram("some_seconds", "Times.", Buckets::of_times(10, 12, 0));

fn sample(labels: &[(&'static str, &str)], shard: Option<u16>, value: impl Into<Number>) -> Sample {
    let labels = Labels::new(labels).unwrap();
    Sample { labels, shard: shard.map(ShardId::new), value: Value::Number(value.into()) }
}

fn text(families: impl IntoIterator<Item = (Family, Vec<Sample>)>) -> String {
    let families = families.into_iter().map(|(family, samples)| Samples { family, samples }).collect();
    prometheus::text(&Gathered { families, missing: Vec::new() })
}

#[test]
fn names_and_labels_are_written_and_escaped() {
    let counters = vec![
        sample(&[], None, 1_u64),
        sample(&[("path", "a\\b\n\"c\"")], Some(0), u64::MAX),
        sample(&[("b", "2"), ("a", "")], Some(11), 2.5),
    ];
    let expected = "\
# HELP some_things_total Some \"things\".
# TYPE some_things_total counter
some_things_total 1
some_things_total{path=\"a\\\\b\\n\\\"c\\\"\",shard=\"0\"} 18446744073709551615
some_things_total{a=\"\",b=\"2\",shard=\"11\"} 2.5
";
    assert_eq!(text([(COUNTER, counters)]), expected);
}

#[test]
fn values_that_are_no_numbers_have_names() {
    let gauges = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.5].map(|value| sample(&[], Some(1), value));
    let expected = "\
# HELP some_gauge Goes up\\nand \\\\down.
# TYPE some_gauge gauge
some_gauge{shard=\"1\"} NaN
some_gauge{shard=\"1\"} +Inf
some_gauge{shard=\"1\"} -Inf
some_gauge{shard=\"1\"} -0.5
";
    assert_eq!(text([(GAUGE, gauges.to_vec())]), expected);
}

#[test]
fn histograms_count_up_to_infinity() {
    let values = Distribution::new(Buckets::of_times(10, 12, 0));
    [1, 1_025, 2_000, 1_000_000].into_iter().for_each(|nanos| values.record(nanos));
    let sample = Sample {
        labels: Labels::new(&[("zone", "x")]).unwrap(),
        shard: Some(ShardId::new(3)),
        value: Value::Distribution(values.value()),
    };
    let expected = "\
# HELP some_seconds Times.
# TYPE some_seconds histogram
some_seconds_bucket{zone=\"x\",shard=\"3\",le=\"0.000001024\"} 1
some_seconds_bucket{zone=\"x\",shard=\"3\",le=\"0.000002048\"} 3
some_seconds_bucket{zone=\"x\",shard=\"3\",le=\"0.000004096\"} 3
some_seconds_bucket{zone=\"x\",shard=\"3\",le=\"+Inf\"} 4
some_seconds_sum{zone=\"x\",shard=\"3\"} 0.001003026
some_seconds_count{zone=\"x\",shard=\"3\"} 4
";
    assert_eq!(text([(TIMES, vec![sample])]), expected);
}

#[test]
fn nothing_is_an_empty_text() {
    assert_eq!(text([]), "");
}

fn number() -> impl Strategy<Value = Number> {
    let special =
        prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, f64::MIN_POSITIVE, f64::MAX]);
    prop_oneof![
        any::<u64>().prop_map(Number::Whole),
        any::<f64>().prop_map(Number::Real),
        special.prop_map(Number::Real),
    ]
}

fn same(one: f64, other: f64) -> bool {
    one == other || one.is_nan() && other.is_nan()
}

proptest! {
    #[test]
    fn property_text_reads_back(
        values in prop::collection::btree_map("[ -~\\n\u{e4}\u{1f300}]*", number(), 1..10),
        shard in prop::option::of(0_u16..300),
    ) {
        let samples = values.iter().map(|(label, value)| sample(&[("label", label)], shard, *value)).collect();
        let read = parse(&text([(GAUGE, samples)]));
        prop_assert_eq!((read.len(), &*read[0].name, &*read[0].kind), (1, "some_gauge", "gauge"));
        prop_assert_eq!(&read[0].help, "Goes up\nand \\down.");
        prop_assert_eq!(read[0].lines.len(), values.len());
        for (line, (label, value)) in read[0].lines.iter().zip(&values) {
            let mut expected = vec![("label".to_owned(), label.clone())];
            expected.extend(shard.map(|shard| ("shard".to_owned(), shard.to_string())));
            prop_assert_eq!(&line.labels, &expected);
            prop_assert!(same(line.value, value.as_f64()), "{} is not {}", line.value, value);
        }
    }

    #[test]
    fn property_histograms_read_back(values in prop::collection::vec(any::<u64>().prop_map(|value| value >> 20), 0..50)) {
        let buckets = Buckets::LATENCY;
        let family = Family::histogram("some_seconds", "Times.", buckets);
        let distribution = Distribution::new(buckets);
        values.iter().for_each(|value| distribution.record(*value));
        let sample = Sample { labels: Labels::default(), shard: None, value: Value::Distribution(distribution.value()) };
        let read = parse(&text([(family, vec![sample])]));
        let lines: &[Line] = &read[0].lines;
        prop_assert_eq!(lines.len(), buckets.count() + 2);
        for line in &lines[..buckets.count()] {
            let bound = &line.labels[0].1;
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
            let at_most = values.iter().filter(|value| **value as f64 / 1e9 <= bound).count();
            prop_assert_eq!(line.value, at_most as f64);
        }
        let [sum, count] = [&lines[lines.len() - 2], &lines[lines.len() - 1]].map(|line| line.value);
        prop_assert_eq!(count, values.len() as f64);
        prop_assert_eq!(sum, values.iter().fold(0_u64, |sum, value| sum.wrapping_add(*value)) as f64 / 1e9);
    }
}
