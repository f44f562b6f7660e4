use super::*;
use crate::load_side::LoadSide;
use crate::tally::Tally;

fn outcome(seconds: u32) -> Outcome {
    let mut total = Tally::new();
    (1..=10_000).for_each(|micros| total.answer(Duration::from_micros(micros)));
    let second = |number: u32| Row {
        at_s: f64::from(number + 1),
        len_s: 1.0,
        good: 1000,
        bad: 3,
        latencies: [1_000, 20_000, 300_000, 4_000_000],
        ..Row::default()
    };
    let series = (0..seconds).map(second).collect();
    let elapsed = Duration::from_secs(seconds.into());
    Outcome {
        total,
        elapsed,
        series,
        shards: 2,
        open: 5,
        why: Why::Done,
        figures: vec![("hits", 77)],
        load_side: LoadSide::default(),
        under_way: None,
    }
}

fn page(outcome: &Outcome) -> String {
    report(&Description { target: "http://a/<x>&\"".to_owned(), load: "closed loop".to_owned() }, outcome)
}

#[test]
fn the_page_needs_nothing_else() {
    let page = page(&outcome(10));
    for foreign in ["<script", "src=", "href=", "url(", "@import", "http://www", "https://"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert_eq!(page.matches("<svg").count(), 3);
    assert!(page.contains("<h1>http://a/&lt;x&gt;&amp;&quot;</h1>"), "{page}");
    assert!(page.contains("<tr><th>50 %</th><td>5.00 ms</td></tr>") && page.contains(">77<"), "{page}");
    assert!(page.contains("None."), "nothing has failed");
}

#[test]
fn tags_are_closed_and_numbers_are_numbers() {
    for seconds in [0, 1, 2, 500] {
        let page = page(&outcome(seconds));
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
        for tag in
            ["html", "head", "body", "main", "section", "div", "table", "svg", "header", "strong", "small", "text"]
        {
            let opened = page.matches(&format!("<{tag} ")).count() + page.matches(&format!("<{tag}>")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }
}

#[test]
fn faults_and_nothing_at_all_have_a_page_too() {
    let mut outcome = outcome(3);
    outcome.total.fail(Fault::Reset, 1_234);
    assert!(page(&outcome).contains("<tr><th>requests: reset by the server</th><td>1,234</td></tr>"));
    let nothing =
        Outcome { total: Tally::new(), series: Vec::new(), elapsed: Duration::ZERO, why: Why::Unconnected, ..outcome };
    assert_eq!(page(&nothing).matches("<svg").count(), 0);
}

#[test]
fn steps_are_round() {
    let steps = |high| chart::round_steps(high).collect::<Vec<_>>();
    assert_eq!(steps(10.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
    assert_eq!(steps(1.0), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
    assert_eq!(steps(123_456.0), [0.0, 50_000.0, 100_000.0]);
    assert_eq!(steps(0.0), [0.0]);
}
