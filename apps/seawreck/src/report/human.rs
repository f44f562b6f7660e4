//! The summary and the lines meanwhile, for people.

#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::time::Duration;

use super::{Description, at_percentiles, per_second};
use crate::fault::{Fault, KINDS};
use crate::run::{Outcome, Row, Why};

/// The summary, as lines.
pub(crate) fn summary(description: &Description, outcome: &Outcome) -> String {
    let mut text = format!("{}\n", description.target);
    measured(&mut text, description, outcome);
    misfortunes(&mut text, outcome);
    text
}

fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    text.write_fmt(words).expect("a string takes everything");
    text.push('\n');
}

/// What was answered and how soon.
fn measured(text: &mut String, description: &Description, outcome: &Outcome) {
    let total = &outcome.total;
    let mut line = |words: std::fmt::Arguments<'_>| line(text, words);
    let shards = if outcome.shards == 1 { "1 shard".to_owned() } else { format!("{} shards", outcome.shards) };
    line(format_args!("  {}; {shards}; {} measured{}", description.load, time(outcome.elapsed), ending(outcome.why)));
    let rate = per_second(total.good(), outcome.elapsed);
    line(format_args!("  requests     {} answered well, {} per second", count(total.good()), decimal(rate)));
    let bytes_of = |count: u64| format!("{}, {}/s", bytes(count as f64), bytes(per_second(count, outcome.elapsed)));
    line(format_args!("  received     {}", bytes_of(total.received_bytes)));
    line(format_args!("  sent         {}", bytes_of(total.sent_bytes)));
    if !total.latencies.is_empty() {
        let latencies = &total.latencies;
        let mean = Duration::from_secs_f64(latencies.mean() / 1e9);
        let deviation = Duration::from_secs_f64(latencies.stdev() / 1e9);
        let least = Duration::from_nanos(latencies.min());
        line(format_args!("  latency      least {}, mean {}, deviation {}", time(least), time(mean), time(deviation)));
        for (name, nanos) in at_percentiles(latencies, total.lost) {
            line(format_args!("    {name:>8} % {:>10}", time(Duration::from_nanos(nanos))));
        }
    }
    for (name, number) in &outcome.figures {
        line(format_args!("  {name:<12} {}", count(*number)));
    }
    if !total.connects.is_empty() {
        let [half, most, longest] =
            [0.5, 0.99, 1.0].map(|quantile| time(Duration::from_nanos(total.connects.value_at_quantile(quantile))));
        let made = count(total.connects.len());
        line(format_args!("  connections  {made} made, in {half} (50 %), {most} (99 %), {longest} (100 %)"));
    }
}

/// What went wrong, and what is to be known to read the figures.
fn misfortunes(text: &mut String, outcome: &Outcome) {
    let total = &outcome.total;
    let mut line = |words: std::fmt::Arguments<'_>| line(text, words);
    if total.closed_idle > 0 {
        line(format_args!("               {} closed by the server between requests", count(total.closed_idle)));
    }
    faults(&total.unconnected, |fault, number| {
        line(format_args!("  connections that failed: {} {}", count(number), fault.words()))
    });
    faults(&total.failed, |fault, number| {
        line(format_args!("  requests that failed: {} {}", count(number), fault.words()))
    });
    if total.unsent > 0 {
        line(format_args!(
            "  requests that were due and not sent, for want of a free connection: {}",
            count(total.unsent)
        ));
    }
    if total.unasked > 0 {
        line(format_args!("  connections that were held and not asked: {}", count(total.unasked)));
    }
    if total.unanswered > 0 {
        line(format_args!("  requests without an answer at the end: {}", count(total.unanswered)));
    }
    if let Some(words) = load_side(outcome) {
        line(format_args!("  load side    {words}"));
    }
    outcome.warnings().iter().for_each(|warning| line(format_args!("  WARNING: {warning}")));
}

/// How seawreck itself has fared.
pub(crate) fn load_side(outcome: &Outcome) -> Option<String> {
    let (_, share) = outcome.load_side.busiest()?;
    let mut words = format!("busy for {:.0} % of the time", share * 100.0);
    let times = [("it noticed late by", &outcome.total.lag), ("requests sent late by", &outcome.total.lateness)];
    for (what, times) in times.into_iter().filter(|(_, times)| !times.is_empty()) {
        let [half, most, longest] =
            [0.5, 0.99, 1.0].map(|quantile| time(Duration::from_nanos(times.value_at_quantile(quantile))));
        words += &format!("; {what} {half} (50 %), {most} (99 %), {longest} (100 %)");
    }
    Some(words)
}

/// The line of a second.
pub(crate) fn progress(row: &Row) -> String {
    let rate = |count: u64| if row.len_s > 0.0 { count as f64 / row.len_s } else { 0.0 };
    let [p50, p99, _, longest] = row.latencies.map(|nanos| time(Duration::from_nanos(nanos)));
    let failed = if row.bad > 0 { format!(", {} failed", count(row.bad)) } else { String::new() };
    format!(
        "{:>6.1} s  {} per second, {}/s, latency {p50} (50 %), {p99} (99 %), {longest} (100 %), {} open{failed}",
        row.at_s,
        decimal(rate(row.good)),
        bytes(rate(row.received_bytes)),
        row.open
    )
}

fn faults(counts: &[u64; KINDS], mut tell: impl FnMut(Fault, u64)) {
    Fault::ALL.into_iter().zip(counts).filter(|(_, count)| **count > 0).for_each(|(fault, count)| tell(fault, *count));
}

const fn ending(why: Why) -> &'static str {
    match why {
        Why::Done => "",
        Why::Stopped => ", until it was stopped",
        Why::Stalled => ", until nothing came any more",
        Why::Unconnected => ", until it was clear that there is no connection",
    }
}

/// A time with three or four digits.
pub(crate) fn time(time: Duration) -> String {
    let nanos = time.as_nanos() as f64;
    match nanos {
        0.0..1e3 => format!("{nanos} ns"),
        1e3..1e6 => format!("{} µs", digits(nanos / 1e3)),
        1e6..1e9 => format!("{} ms", digits(nanos / 1e6)),
        _ => format!("{} s", digits(nanos / 1e9)),
    }
}

fn digits(value: f64) -> String {
    let places = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.places$}")
}

/// Bytes with a unit.
pub(crate) fn bytes(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    if unit == 0 { format!("{value:.0} B") } else { format!("{} {}", digits(value), UNITS[unit]) }
}

/// A number with its thousands apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The same for a number with a fraction, which shows only if the number is small.
fn decimal(number: f64) -> String {
    if number < 1000.0 {
        return digits(number);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a positive number for people")]
    count(number.round() as u64)
}
