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
    /// A latency at one of the three places.
    Latency(usize),
    /// The same as wrk shows it.
    Corrected(usize),
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Demand {
    AtMost(f64),
    /// So far from one at most.
    Within(f64),
}

impl Value {
    pub(super) fn name(self) -> String {
        let percents = [50, 90, 99];
        match self {
            Self::Time => "processor time per request".to_owned(),
            Self::Latency(place) => format!("latency at {} %", percents[place]),
            Self::Corrected(place) => format!("latency at {} %, corrected", percents[place]),
        }
    }

    /// The value in the figures, if they have it.
    pub(super) fn of(self, figures: &Figures) -> Option<f64> {
        match self {
            Self::Time => Some(figures.client_us),
            Self::Latency(place) => figures.latencies_us.map(|latencies| latencies[place]),
            Self::Corrected(place) => figures.corrected_us.map(|latencies| latencies[place]),
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
    let of_three =
        |who, to, value: fn(usize) -> Value| [0, 1, 2].map(|at| bar(who, to, value(at), Demand::Within(0.05)));
    let as_wrk = |who| of_three(who, Generator::Wrk, Value::Corrected);
    match contest {
        Contest::Closed => [epoll, uring]
            .into_iter()
            .flat_map(|who| {
                let wrk = bar(who, Generator::Wrk, Value::Time, Demand::AtMost(0.8));
                let bare = bar(who, Generator::Bare, Value::Time, Demand::AtMost(1.15));
                [wrk, bare].into_iter().chain(as_wrk(who))
            })
            .collect(),
        Contest::One | Contest::Delayed => as_wrk(epoll).into_iter().chain(as_wrk(uring)).collect(),
        Contest::Open => of_three(epoll, Generator::H2load, Value::Latency).into(),
    }
}
