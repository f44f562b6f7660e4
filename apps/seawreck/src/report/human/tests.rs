use super::*;
use crate::load_side::LoadSide;
use crate::report::Description;
use crate::tally::Tally;

fn outcome() -> Outcome {
    let mut total = Tally::new();
    (1..=1000).for_each(|micros| total.answer(Duration::from_micros(micros)));
    total.received_bytes = 3 << 20;
    Outcome {
        total,
        elapsed: Duration::from_secs(2),
        series: Vec::new(),
        shards: 2,
        open: 5,
        why: Why::Done,
        figures: vec![("hits", 1_234)],
        load_side: LoadSide::default(),
        under_way: None,
    }
}

fn description() -> Description {
    Description { target: "http://a/".to_owned(), load: "closed loop, 5 connections".to_owned() }
}

#[test]
fn numbers_are_short() {
    let shown = |nanos| time(Duration::from_nanos(nanos));
    assert_eq!(shown(0), "0 ns");
    assert_eq!(shown(999), "999 ns");
    assert_eq!((shown(1_234), shown(56_789), shown(123_456)), ("1.23 µs".into(), "56.8 µs".into(), "123 µs".into()));
    assert_eq!((shown(1_500_000), shown(2_000_000_000)), ("1.50 ms".into(), "2.00 s".into()));
    assert_eq!((bytes(0.0), bytes(1023.0), bytes(1536.0)), ("0 B".into(), "1023 B".into(), "1.50 KiB".into()));
    assert_eq!(
        (count(0), count(999), count(1_000), count(1_234_567)),
        ("0".into(), "999".into(), "1,000".into(), "1,234,567".into())
    );
    assert_eq!((decimal(1.5), decimal(12_345.6)), ("1.50".into(), "12,346".into()));
}

#[test]
fn what_went_well_is_told_without_faults() {
    let text = summary(&description(), &outcome());
    for line in [
        "http://a/",
        "  closed loop, 5 connections; 2 shards; 2.00 s measured",
        "  requests     1,000 answered well, 500 per second",
        "  received     3.00 MiB, 1.50 MiB/s",
        "          50 %     500 µs",
        "         100 %    1.00 ms",
        "  hits         1,234",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}: {text}");
    }
    assert!(!text.contains("failed") && !text.contains("connections  "), "{text}");
}

#[test]
fn faults_are_told_by_kind() {
    let mut outcome = outcome();
    outcome.why = Why::Stopped;
    outcome.total.fail(Fault::Reset, 1_500);
    outcome.total.unconnect(Fault::Refused);
    (outcome.total.unsent, outcome.total.unanswered, outcome.total.closed_idle) = (7, 8, 9);
    outcome.total.unasked = 6;
    let text = summary(&description(), &outcome);
    for words in [
        "measured, until it was stopped",
        "requests that failed: 1,500 reset by the server",
        "connections that failed: 1 refused",
        "for want of a free connection: 7",
        "without an answer at the end: 8",
        "that were held and not asked: 6",
        "9 closed by the server between requests",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_second_is_one_line() {
    let row = Row {
        at_s: 3.0,
        len_s: 1.0,
        good: 5_000,
        received_bytes: 1 << 20,
        open: 4,
        latencies: [1_000, 2_000, 3_000, 4_000],
        ..Row::default()
    };
    let line =
        "   3.0 s  5,000 per second, 1.00 MiB/s, latency 1.00 µs (50 %), 2.00 µs (99 %), 4.00 µs (100 %), 4 open";
    assert_eq!(progress(&row), line);
    assert_eq!(progress(&Row { bad: 2, ..row }), format!("{line}, 2 failed"));
}
