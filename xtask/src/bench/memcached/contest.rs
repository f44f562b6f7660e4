//! What is asked of whom, and what it has to show.

use super::load::{Figures, Load};
use super::server::Who;

/// Requests under way on a connection where there are several, and keys of a get where there are several.
const DEPTH: u32 = 16;
const KEYS: u32 = 32;
/// What the original can be beaten by without a kernel in between.
const NATIVE_BAR: f64 = 4.0;
/// What a packet filter that answers saves.
const FILTER_BAR: f64 = 1.3;

/// A load that all servers get in turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Contest {
    /// Request after request.
    Single,
    /// Several requests under way on each connection.
    Pipelined,
    /// Gets of several keys.
    Multiget,
    /// Request after request, over a device without a kernel or over loopback.
    Native,
    /// The same with several under way.
    NativePipelined,
    /// Gets in datagrams, over a device without a kernel: answered by a packet filter, or by the socket.
    Filter,
    /// At half of the rate that the original can answer.
    OpenLoop,
}

/// A demand: the median over the rounds of one's value divided by the other's.
pub(super) struct Bar {
    pub(super) who: Who,
    pub(super) to: Who,
    pub(super) demand: Demand,
}

pub(super) enum Demand {
    AtMost(f64),
    AtLeast(f64),
}

impl Contest {
    pub(super) const ALL: [Self; 7] = [
        Self::Single,
        Self::Pipelined,
        Self::Multiget,
        Self::Native,
        Self::NativePipelined,
        Self::Filter,
        Self::OpenLoop,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Pipelined => "pipelined",
            Self::Multiget => "multiget",
            Self::Native => "native",
            Self::NativePipelined => "native pipelined",
            Self::Filter => "filter",
            Self::OpenLoop => "open loop",
        }
    }

    /// The load; at this rate if it is an open loop.
    pub(super) fn load(self, rate: Option<f64>) -> Load {
        let single = Load { pipeline: 1, gets: 0.9, multiget: 1, rate };
        match self {
            Self::Single | Self::Native | Self::OpenLoop => single,
            Self::Pipelined | Self::NativePipelined => Load { pipeline: DEPTH, ..single },
            Self::Multiget => Load { multiget: KEYS, ..single },
            // A filter answers nothing else.
            Self::Filter => Load { gets: 1.0, ..single },
        }
    }

    pub(super) fn contestants(self) -> Vec<Who> {
        match self {
            Self::Native | Self::NativePipelined => vec![Who::Native, Who::Original, Who::OriginalOnBoth],
            Self::Filter => vec![Who::NativeFilter, Who::NativeSocket],
            Self::OpenLoop => vec![Who::IoUring, Who::Epoll, Who::Original],
            Self::Single | Self::Pipelined | Self::Multiget => {
                vec![Who::IoUring, Who::Epoll, Who::Original, Who::Floor]
            }
        }
    }

    /// What is compared: its name and the value.
    pub(super) fn value(self) -> (&'static str, fn(&Figures) -> f64) {
        match self {
            Self::Single | Self::Pipelined | Self::Multiget => {
                ("processor time per request", |figures| figures.server_us)
            }
            Self::Native | Self::NativePipelined => ("requests per second", |figures| figures.rate),
            // That is the rate where the server is the limit, and says the same where the load is.
            Self::Filter => ("requests per second of the server's processor time", |figures| 1e6 / figures.server_us),
            Self::OpenLoop => ("99.9th percentile", |figures| figures.p999_us),
        }
    }

    /// Whether a round counts in which this one's load was the limit: only where what is compared is the server's own time.
    pub(super) fn is_void(self, who: Who, figures: &Figures) -> bool {
        let is_of_server = matches!(self, Self::Single | Self::Pipelined | Self::Multiget | Self::Filter);
        // Both ends of that one share both processors: all that it can do is what is measured.
        figures.is_load_limit && !is_of_server && who != Who::OriginalOnBoth
    }

    pub(super) fn bars(self) -> Vec<Bar> {
        let of_each = |limit| {
            [Who::IoUring, Who::Epoll]
                .map(|who| Bar { who, to: Who::Original, demand: Demand::AtMost(limit) })
                .into_iter()
                .collect()
        };
        match self {
            Self::Single => of_each(0.85),
            Self::Pipelined => of_each(0.25),
            Self::Multiget => of_each(0.45),
            Self::OpenLoop => of_each(1.0),
            Self::Filter => {
                vec![Bar { who: Who::NativeFilter, to: Who::NativeSocket, demand: Demand::AtLeast(FILTER_BAR) }]
            }
            Self::Native | Self::NativePipelined => [Who::Original, Who::OriginalOnBoth]
                .map(|to| Bar { who: Who::Native, to, demand: Demand::AtLeast(NATIVE_BAR) })
                .into_iter()
                .collect(),
        }
    }
}

impl Bar {
    pub(super) fn text(&self) -> String {
        match self.demand {
            Demand::AtMost(most) => format!("≤ {most}"),
            Demand::AtLeast(least) => format!("≥ {least}"),
        }
    }

    pub(super) fn is_met_by(&self, ratio: f64) -> bool {
        match self.demand {
            Demand::AtMost(most) => ratio <= most,
            Demand::AtLeast(least) => ratio >= least,
        }
    }
}
