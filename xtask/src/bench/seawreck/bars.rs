//! What the figures have to show.

use super::Contest;
use super::generators::{Figures, Generator};

/// A bar: the ratio of one's value to the other's, and within what it has to be.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) who: Generator,
    pub(super) to: Generator,
    pub(super) value: Value,
    pub(super) demand: Demand,
}

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Value {
    /// The load generator's processor time per request.
    Time,
    P50,
    P90,
    P99,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Demand {
    AtMost(f64),
    /// So far from one at most.
    Within(f64),
}

impl Value {
    pub(super) const LATENCIES: [Self; 3] = [Self::P50, Self::P90, Self::P99];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Time => "processor time per request",
            Self::P50 => "latency at 50 %",
            Self::P90 => "latency at 90 %",
            Self::P99 => "latency at 99 %",
        }
    }

    /// The value in the figures, if they have it.
    pub(super) fn of(self, figures: &Figures) -> Option<f64> {
        match self {
            Self::Time => Some(figures.client_us),
            Self::P50 => figures.p50_us,
            Self::P90 => figures.p90_us,
            Self::P99 => figures.p99_us,
        }
    }
}

impl Demand {
    pub(super) fn words(self) -> String {
        match self {
            Self::AtMost(most) => format!("≤ {most}"),
            Self::Within(distance) => format!("1 ± {distance}"),
        }
    }

    pub(super) fn is_met_by(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(most) => ratio <= most,
            Self::Within(distance) => (ratio - 1.0).abs() <= distance,
        }
    }
}

/// The bars of a contest.
pub(super) fn of(contest: Contest) -> Vec<Bar> {
    let (epoll, uring) = (Generator::SeawreckEpoll, Generator::SeawreckUring);
    let bar = |who, to, value, demand| Bar { who, to, value, demand };
    let latencies = |who, to| Value::LATENCIES.map(|value| bar(who, to, value, Demand::Within(0.05)));
    match contest {
        Contest::Closed => [epoll, uring]
            .into_iter()
            .flat_map(|who| {
                let wrk = bar(who, Generator::Wrk, Value::Time, Demand::AtMost(0.8));
                let bare = bar(who, Generator::Bare, Value::Time, Demand::AtMost(1.15));
                [wrk, bare].into_iter().chain(latencies(who, Generator::Wrk))
            })
            .collect(),
        Contest::One => latencies(epoll, Generator::Wrk).into_iter().chain(latencies(uring, Generator::Wrk)).collect(),
        Contest::Open => latencies(epoll, Generator::H2load).into_iter().collect(),
    }
}
