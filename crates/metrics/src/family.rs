//! What a metric is called and what it means.

use crate::distribution::Buckets;
use crate::error::{Refusal, RegisterError};

/// What a metric is: all series of one name, which differ in their labels.
///
/// Names follow the rules of Prometheus: lower-case words, the unit last (`_seconds`, `_bytes`, `_ratio`), and `_total` at
/// the end of counters. They are checked when something is registered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Family {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: Kind,
    pub(crate) is_summed: bool,
}

/// How the values of a metric are to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A number that only grows.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// How many values lay in which range.
    Histogram(Buckets),
}

/// Words at the end of names (before `_total`) that are units, but no base units.
const BAD_UNITS: &[&str] = &[
    "ns",
    "us",
    "ms",
    "sec",
    "nanoseconds",
    "microseconds",
    "milliseconds",
    "minutes",
    "hours",
    "days",
    "kb",
    "kib",
    "mb",
    "mib",
    "gb",
    "gib",
    "kilobytes",
    "megabytes",
    "bits",
    "percent",
];

impl Family {
    /// A counter: it only grows.
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Counter, is_summed: false }
    }

    /// A gauge: it goes up and down.
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Gauge, is_summed: false }
    }

    /// A histogram.
    pub const fn histogram(name: &'static str, help: &'static str, buckets: Buckets) -> Self {
        Self { name, help, kind: Kind::Histogram(buckets), is_summed: false }
    }

    /// The same, given as one sum over all shards rather than for each shard.
    #[must_use]
    pub const fn summed(mut self) -> Self {
        self.is_summed = true;
        self
    }

    /// The name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The help text.
    pub const fn help(&self) -> &'static str {
        self.help
    }

    /// The kind.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it is given as a sum over all shards.
    pub const fn is_summed(&self) -> bool {
        self.is_summed
    }

    pub(crate) fn refused(&self, refusal: Refusal) -> RegisterError {
        RegisterError { metric: self.name, refusal }
    }

    /// Whether name and help text follow the rules.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if !is_name(self.name) {
            return Err(Refusal::BadName);
        }
        if self.help.trim().is_empty() {
            return Err(Refusal::NoHelp);
        }
        let without_total = self.name.strip_suffix("_total");
        match (without_total, self.kind) {
            (None, Kind::Counter) => return Err(Refusal::NotTotal),
            (Some(_), Kind::Gauge | Kind::Histogram(_)) => return Err(Refusal::Total),
            _ => {}
        }
        let last_word = last_word(without_total.unwrap_or(self.name));
        if matches!(last_word, "bucket" | "count" | "sum") {
            return Err(Refusal::ReservedSuffix);
        }
        if let Some(unit) = BAD_UNITS.iter().find(|unit| **unit == last_word) {
            return Err(Refusal::BadUnit(unit));
        }
        match self.kind {
            Kind::Histogram(buckets) if buckets.are_times() != (last_word == "seconds") => Err(Refusal::NotSeconds),
            _ => Ok(()),
        }
    }
}

fn last_word(name: &str) -> &str {
    name.rsplit('_').next().unwrap_or(name)
}

/// Whether a name has lower-case letters, digits and underscores only and begins with a letter.
pub(crate) fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(family: Family) -> Option<Refusal> {
        family.check().err()
    }

    #[test]
    fn names_say_what_they_are() {
        assert_eq!(refusal(Family::counter("a_total", "A.")), None);
        assert_eq!(refusal(Family::counter("a_seconds_total", "A.")), None);
        assert_eq!(refusal(Family::counter("a", "A.")), Some(Refusal::NotTotal));
        assert_eq!(refusal(Family::gauge("a_total", "A.")), Some(Refusal::Total));
        assert_eq!(refusal(Family::gauge("a_count", "A.")), Some(Refusal::ReservedSuffix));
        assert_eq!(refusal(Family::gauge("a_ms", "A.")), Some(Refusal::BadUnit("ms")));
        assert_eq!(refusal(Family::counter("a_milliseconds_total", "A.")), Some(Refusal::BadUnit("milliseconds")));
        assert_eq!(refusal(Family::gauge("a", " ")), Some(Refusal::NoHelp));
        for name in ["", "A", "1a", "_a", "a-b", "a:b", "ä"] {
            assert_eq!(refusal(Family::gauge(name, "A.")), Some(Refusal::BadName), "{name}");
        }
    }

    #[test]
    fn histograms_of_times_are_in_seconds() {
        assert_eq!(refusal(Family::histogram("a_seconds", "A.", Buckets::LATENCY)), None);
        assert_eq!(refusal(Family::histogram("a", "A.", Buckets::LATENCY)), Some(Refusal::NotSeconds));
        assert_eq!(refusal(Family::histogram("a_seconds", "A.", Buckets::SIZES)), Some(Refusal::NotSeconds));
        assert_eq!(refusal(Family::histogram("a_bytes", "A.", Buckets::SIZES)), None);
    }

    #[test]
    fn errors_name_the_metric_and_the_rule() {
        let family = Family::gauge("a_total", "A.");
        let error = family.refused(family.check().unwrap_err());
        assert_eq!(
            error.to_string(),
            "the metric `a_total` can't be registered: only a counter's name ends in `_total`"
        );
    }
}
