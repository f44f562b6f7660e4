//! What the figures have to show.

use super::contest::{Outcome, Row};

/// The name of our own rows.
pub(super) const SUNSTAR: &str = "sunstar";
/// Rows that start so are bounds of the machine, not peers.
const FLOOR: &str = "floor";

/// A bar: which benchmark, and what it demands of Sunstar's median.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) bench: &'static str,
    pub(super) demand: Demand,
}

/// What a bar demands.
#[derive(Debug)]
pub(super) enum Demand {
    /// At least so much.
    AtLeast(f64),
    /// At most so much.
    AtMost(f64),
    /// So much, give or take.
    Within { middle: f64, tolerance: f64 },
    /// At most so many times the floor of the same round, in the median.
    TimesFloor(f64),
    /// So many times as fast as the peer of that name, in the median of rounds.
    TimesAsFast(f64, &'static str),
    /// No slower than the fastest peer, in the median of rounds.
    NoSlowerThanPeers,
}

/// The bars of `cargo xtask bench reactor`.
pub(super) const REACTOR: [Bar; 10] = [
    Bar { bench: "post", demand: Demand::AtLeast(40.0) },
    Bar { bench: "submit", demand: Demand::TimesFloor(2.0) },
    Bar { bench: "spawn", demand: Demand::AtMost(60.0) },
    Bar { bench: "spawn", demand: Demand::NoSlowerThanPeers },
    Bar { bench: "timer_cancel", demand: Demand::NoSlowerThanPeers },
    Bar { bench: "shares", demand: Demand::Within { middle: 75.0, tolerance: 2.0 } },
    Bar { bench: "shares_light_sleeps", demand: Demand::Within { middle: 75.0, tolerance: 2.0 } },
    Bar { bench: "shares_heavy_sleeps", demand: Demand::Within { middle: 75.0, tolerance: 2.0 } },
    Bar { bench: "idle_cpu", demand: Demand::AtMost(0.5) },
    Bar { bench: "idle_rss", demand: Demand::AtMost(20.0) },
];

/// The bars of `cargo xtask bench tcp`.
pub(super) const TCP: [Bar; 8] = [
    Bar { bench: "tcp_rr_1000", demand: Demand::TimesAsFast(6.0, "linux") },
    Bar { bench: "tcp_rr_1000", demand: Demand::TimesAsFast(50.0, "smoltcp") },
    Bar { bench: "tcp_rr", demand: Demand::TimesAsFast(2.0, "smoltcp") },
    Bar { bench: "tcp_connect", demand: Demand::TimesAsFast(10.0, "linux") },
    Bar { bench: "tcp_bulk_1500", demand: Demand::TimesAsFast(3.0, "smoltcp") },
    Bar { bench: "tcp_bulk_64k", demand: Demand::TimesAsFast(1.5, "linux") },
    Bar { bench: "tcp_among_idle_times", demand: Demand::AtMost(1.15) },
    Bar { bench: "tcp_uniform_times", demand: Demand::AtMost(4.0) },
];

/// How Sunstar stands to a bar.
#[derive(Debug, PartialEq)]
pub(super) struct Verdict {
    /// What was compared, e.g. `1.40 × floor`.
    pub(super) measured: String,
    pub(super) met: bool,
}

impl Bar {
    /// The demand in words.
    pub(super) fn demand_text(&self, unit: &str) -> String {
        match self.demand {
            Demand::AtLeast(least) => format!("≥ {least} {unit}"),
            Demand::AtMost(most) => format!("≤ {most} {unit}"),
            Demand::Within { middle, tolerance } => format!("{middle} ± {tolerance} {unit}"),
            Demand::TimesFloor(factor) => format!("≤ {factor} × floor"),
            Demand::TimesAsFast(factor, peer) => format!("≥ {factor} × as fast as {peer}"),
            Demand::NoSlowerThanPeers => "no slower than the best peer".to_owned(),
        }
    }

    /// Judges an outcome; `None` if what it takes wasn't measured.
    pub(super) fn judge(&self, outcome: &Outcome) -> Option<Verdict> {
        let own = outcome.row(SUNSTAR)?;
        let median = own.median()?;
        let unit = &outcome.unit;
        let plain = |met| Verdict { measured: format!("{median:.2} {unit}"), met };
        Some(match self.demand {
            Demand::AtLeast(least) => plain(median >= least),
            Demand::AtMost(most) => plain(median <= most),
            Demand::Within { middle, tolerance } => plain((median - middle).abs() <= tolerance),
            Demand::TimesFloor(factor) => {
                let ratio = own.ratio_to(outcome.row(FLOOR)?)?;
                Verdict { measured: format!("{ratio:.2} × floor"), met: ratio <= factor }
            }
            Demand::TimesAsFast(factor, peer) => {
                let ratio = slowness(outcome, outcome.row(peer)?, own)?;
                Verdict { measured: format!("{ratio:.2} × as fast as {peer}"), met: ratio >= factor }
            }
            Demand::NoSlowerThanPeers => {
                let best = best_peer(outcome)?;
                let time_ratio = slowness(outcome, own, best)?;
                Verdict { measured: format!("{time_ratio:.2} × the time of {}", best.peer), met: time_ratio <= 1.0 }
            }
        })
    }
}

/// How many times the time of `other` the row takes per operation; `None` for units that are no speeds.
pub(super) fn slowness(outcome: &Outcome, row: &Row, other: &Row) -> Option<f64> {
    if outcome.more_is_better()? { other.ratio_to(row) } else { row.ratio_to(other) }
}

/// The peer with the best median.
fn best_peer(outcome: &Outcome) -> Option<&Row> {
    let more_is_better = outcome.more_is_better()?;
    let peers = outcome.rows.iter().filter(|row| row.peer != SUNSTAR && !row.peer.starts_with(FLOOR));
    let mut measured: Vec<(f64, &Row)> = peers.filter_map(|row| Some((row.median()?, row))).collect();
    measured.sort_by(|a, b| a.0.total_cmp(&b.0));
    let best = if more_is_better { measured.last() } else { measured.first() };
    best.map(|(_, row)| *row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(unit: &str, rows: &[(&str, &[f64])]) -> Outcome {
        let row = |&(peer, values): &(&str, &[f64])| Row {
            peer: peer.to_owned(),
            values: values.iter().copied().map(Some).collect(),
            fastest: Vec::new(),
        };
        Outcome {
            bench: "bench".to_owned(),
            unit: unit.to_owned(),
            rows: rows.iter().map(row).collect(),
            noise: Vec::new(),
        }
    }

    fn met(demand: Demand, outcome: &Outcome) -> Option<bool> {
        Bar { bench: "bench", demand }.judge(outcome).map(|verdict| verdict.met)
    }

    #[test]
    fn limits_are_inclusive() {
        let outcome = outcome("M/s", &[(SUNSTAR, &[39.0, 40.0, 70.0])]);
        assert_eq!(met(Demand::AtLeast(40.0), &outcome), Some(true));
        assert_eq!(met(Demand::AtLeast(40.1), &outcome), Some(false));
        assert_eq!(met(Demand::AtMost(40.0), &outcome), Some(true));
        assert_eq!(met(Demand::AtMost(39.9), &outcome), Some(false));
        assert_eq!(met(Demand::Within { middle: 42.0, tolerance: 2.0 }, &outcome), Some(true));
        assert_eq!(met(Demand::Within { middle: 42.1, tolerance: 2.0 }, &outcome), Some(false));
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let outcome = outcome("ns/op", &[(SUNSTAR, &[20.0, 300.0, 50.0]), ("floor", &[10.0, 100.0, 30.0])]);
        assert_eq!(met(Demand::TimesFloor(2.0), &outcome), Some(true));
        assert_eq!(met(Demand::TimesFloor(1.9), &outcome), Some(false));
    }

    #[test]
    fn the_best_peer_depends_on_the_unit_and_is_no_floor() {
        let rows: &[(&str, &[f64])] = &[(SUNSTAR, &[5.0]), ("floor", &[1.0]), ("a", &[4.0]), ("b", &[6.0])];
        assert_eq!(met(Demand::NoSlowerThanPeers, &outcome("ns/op", rows)), Some(false));
        assert_eq!(best_peer(&outcome("ns/op", rows)).map(|row| row.peer.as_str()), Some("a"));
        assert_eq!(best_peer(&outcome("M/s", rows)).map(|row| row.peer.as_str()), Some("b"));
        assert_eq!(met(Demand::NoSlowerThanPeers, &outcome("M/s", &[(SUNSTAR, &[7.0]), ("b", &[6.0])])), Some(true));
    }

    #[test]
    fn faster_means_less_time_or_a_higher_rate() {
        let times = outcome("ns/op", &[(SUNSTAR, &[2.0, 3.0]), ("a", &[12.0, 18.0])]);
        assert_eq!(met(Demand::TimesAsFast(6.0, "a"), &times), Some(true));
        assert_eq!(met(Demand::TimesAsFast(6.1, "a"), &times), Some(false));
        assert_eq!(met(Demand::TimesAsFast(1.0, "b"), &times), None);
        let rates = outcome("M/s", &[(SUNSTAR, &[12.0]), ("a", &[2.0])]);
        assert_eq!(met(Demand::TimesAsFast(6.0, "a"), &rates), Some(true));
    }

    #[test]
    fn without_figures_there_is_no_verdict() {
        assert_eq!(met(Demand::AtLeast(1.0), &outcome("M/s", &[("a", &[1.0])])), None);
        assert_eq!(met(Demand::TimesFloor(1.0), &outcome("ns/op", &[(SUNSTAR, &[1.0])])), None);
    }
}
