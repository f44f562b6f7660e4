//! The report as one page that needs nothing else: no script, no picture and no font from elsewhere.

mod chart;
#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::time::Duration;

use super::human::{bytes, count, load_side, time};
use super::{Description, at_percentiles, per_second};
use crate::fault::{Fault, KINDS};
use crate::run::{Outcome, Row, Why};
use chart::{Chart, Scale, Series};

const STYLE: &str = include_str!("html/style.css");

/// The page.
pub(crate) fn report(description: &Description, outcome: &Outcome) -> String {
    let title = escaped(&description.target);
    let body = [
        format!("<header><h1>{title}</h1><p>{}</p></header>", subtitle(description, outcome)),
        warnings(outcome),
        tiles(outcome),
        latency(outcome),
        over_time(&outcome.series),
        faults(outcome),
        load_side(outcome)
            .map_or_else(String::new, |words| format!("<section><h2>Load side</h2><p>{words}</p></section>")),
    ];
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>seawreck: {title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{}\n</main>\n</body>\n</html>\n",
        body.join("\n")
    )
}

fn subtitle(description: &Description, outcome: &Outcome) -> String {
    let shards = if outcome.shards == 1 { "1 shard".to_owned() } else { format!("{} shards", outcome.shards) };
    let ending = match outcome.why {
        Why::Done => "",
        Why::Stopped => ", stopped before its time",
        Why::Stalled => ", until nothing came any more",
        Why::Unconnected => ", without a connection",
    };
    format!("{}; {shards}; {} measured{ending}", escaped(&description.load), time(outcome.elapsed))
}

/// What is to be known before anything else is looked at.
fn warnings(outcome: &Outcome) -> String {
    let warnings = outcome.warnings();
    if warnings.is_empty() {
        return String::new();
    }
    let items = warnings.iter().fold(String::new(), |items, warning| items + &format!("<p>{}</p>", escaped(warning)));
    format!("<section class=\"warnings\">{items}</section>")
}

/// The figures that are looked at first.
fn tiles(outcome: &Outcome) -> String {
    let total = &outcome.total;
    let at = |quantile| time(Duration::from_nanos(total.latency_at(quantile)));
    let rate = per_second(total.good(), outcome.elapsed);
    let failed = total.bad() + total.unsent + total.unanswered + total.unasked;
    let mut tiles = vec![
        ("requests per second", format!("{rate:.0}"), format!("{} answered well", count(total.good()))),
        ("median latency", at(0.5), format!("99 %: {}", at(0.99))),
        ("99.9 % latency", at(0.999), format!("longest: {}", time(Duration::from_nanos(total.latencies.max())))),
        (
            "received",
            format!("{}/s", bytes(per_second(total.received_bytes, outcome.elapsed))),
            format!("sent: {}/s", bytes(per_second(total.sent_bytes, outcome.elapsed))),
        ),
        ("failed", count(failed), format!("{} connections made", count(total.connects.len()))),
    ];
    tiles.extend(outcome.figures.iter().map(|(name, number)| (*name, count(*number), String::new())));
    let tile = |(name, value, more): (&str, String, String)| {
        format!("<div class=\"tile\"><span>{name}</span><strong>{value}</strong><small>{more}</small></div>")
    };
    format!("<section class=\"tiles\">\n{}\n</section>", tiles.into_iter().map(tile).collect::<Vec<_>>().join("\n"))
}

/// The latency at each part of the requests, the slowest of which have as much room as all others.
fn latency(outcome: &Outcome) -> String {
    let total = &outcome.total;
    if total.latencies.is_empty() {
        return String::new();
    }
    // Ten times fewer requests are slower with each step to the right: at 1 those of 90 %, at 5 those of 99.999 %.
    let most = (total.latencies.len() as f64).log10().clamp(1.0, 6.0);
    let steps = (most * 24.0).ceil();
    let point = |step: f64| {
        let nines = most * step / steps;
        (nines, total.latency_at(1.0 - 0.1_f64.powf(nines)) as f64)
    };
    let mut points = Vec::new();
    let mut step = 0.0;
    while step <= steps {
        points.push(point(step));
        step += 1.0;
    }
    let names = [
        (0.0, "0 %"),
        (0.301, "50 %"),
        (1.0, "90 %"),
        (2.0, "99 %"),
        (3.0, "99.9 %"),
        (4.0, "99.99 %"),
        (5.0, "99.999 %"),
    ];
    let marks = names.iter().filter(|(at, _)| *at <= most).map(|(at, name)| (*at, (*name).to_owned())).collect();
    let chart = Chart {
        marks,
        scale: Scale::Times,
        series: vec![Series { name: "latency".to_owned(), class: "a", points }],
        is_logarithmic: true,
    };
    let rows = at_percentiles(&total.latencies, total.lost).fold(String::new(), |mut rows, (name, nanos)| {
        let nanos = time(Duration::from_nanos(nanos));
        write!(rows, "<tr><th>{name} %</th><td>{nanos}</td></tr>").expect("a string takes everything");
        rows
    });
    format!(
        "<section><h2>Latency by percentile</h2>\n<div class=\"wide\">{}</div>\n<table class=\"across\">{rows}</table></section>",
        chart.svg()
    )
}

/// Throughput and latency second by second.
fn over_time(series: &[Row]) -> String {
    // A rest that is no second would look like a fall or a peak.
    let rows: Vec<&Row> = series.iter().filter(|row| row.len_s > 0.2 && !row.is_draining).collect();
    let Some(last) = rows.last().filter(|_| rows.len() > 1) else { return String::new() };
    let marks = chart::round_steps(last.at_s).map(|at| (at, format!("{at} s"))).collect::<Vec<_>>();
    let line = |name: &str, class, value: &dyn Fn(&Row) -> f64| Series {
        name: name.to_owned(),
        class,
        points: rows.iter().map(|row| (row.at_s, value(row))).collect(),
    };
    let mut throughput = vec![line("answered well", "a", &|row| row.good as f64 / row.len_s)];
    if rows.iter().any(|row| row.bad > 0) {
        throughput.push(line("failed", "c", &|row| row.bad as f64 / row.len_s));
    }
    let latencies = [("50 %", "a"), ("99 %", "b"), ("99.9 %", "d"), ("longest", "c")].into_iter().enumerate();
    let latencies =
        latencies.map(|(at, (name, class))| line(name, class, &move |row| row.latencies[at] as f64)).collect();
    let throughput = Chart { marks: marks.clone(), scale: Scale::Counts, series: throughput, is_logarithmic: false };
    let latencies = Chart { marks, scale: Scale::Times, series: latencies, is_logarithmic: true };
    format!(
        "<section><h2>Requests per second</h2>\n{}</section>\n<section><h2>Latency over time</h2>\n{}</section>",
        throughput.svg(),
        latencies.svg()
    )
}

fn faults(outcome: &Outcome) -> String {
    let total = &outcome.total;
    let mut rows = String::new();
    let mut row = |what: &str, number: u64| {
        if number > 0 {
            write!(rows, "<tr><th>{what}</th><td>{}</td></tr>", count(number)).expect("a string takes everything");
        }
    };
    let mut kinds = |of: &str, counts: &[u64; KINDS]| {
        for fault in Fault::ALL {
            row(&format!("{of}: {}", fault.words()), counts[fault as usize]);
        }
    };
    kinds("connections", &total.unconnected);
    kinds("requests", &total.failed);
    row("requests that were due and not sent", total.unsent);
    row("requests without an answer at the end", total.unanswered);
    row("connections that were held and not asked", total.unasked);
    row("connections closed by the server between requests", total.closed_idle);
    if rows.is_empty() {
        return "<section><h2>Failures</h2><p class=\"none\">None.</p></section>".to_owned();
    }
    format!("<section><h2>Failures</h2><table>{rows}</table></section>")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
