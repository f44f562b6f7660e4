//! What the figures under load have to show.

use super::peer::Peer;
use super::{Figures, Load};

/// A bar: one's value divided by the other's, and a limit for that.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) who: Peer,
    pub(super) to: Peer,
    pub(super) value: Value,
    pub(super) limit: f64,
}

/// What a bar compares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Value {
    /// At most so much processor time.
    Time,
    /// At most such a median latency.
    Latency,
    /// At least so many bytes per second: all send the same ones.
    Bytes,
}

impl Value {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Time => "processor time per request",
            Self::Latency => "median latency",
            Self::Bytes => "bytes per second",
        }
    }

    /// The value in the figures, if they have it.
    pub(super) fn of(self, figures: &Figures) -> Option<f64> {
        match self {
            Self::Time => Some(figures.server_us),
            Self::Latency => figures.p50_us,
            Self::Bytes => Some(figures.requests as f64 / figures.seconds),
        }
    }
}

impl Bar {
    /// The demand in short.
    pub(super) fn demand(&self) -> String {
        format!("{} {}", if self.value == Value::Bytes { "≥" } else { "≤" }, self.limit)
    }

    /// Whether a ratio meets it.
    pub(super) fn is_met_by(&self, ratio: f64) -> bool {
        if self.value == Value::Bytes { ratio >= self.limit } else { ratio <= self.limit }
    }
}

/// The bars of a load, of which those about peers that weren't measured mean nothing.
pub(super) fn of(load: Load, peers: &[Peer]) -> Vec<Bar> {
    let bar = |who: &Peer, to: &Peer, value, limit| Bar { who: who.clone(), to: to.clone(), value, limit };
    let (own, epoll) = (&Peer::IoUring, &Peer::Epoll);
    match load {
        Load::KeepAlive => {
            let mut bars = vec![
                bar(own, &Peer::Nginx, Value::Time, 0.85),
                bar(own, &Peer::Floor, Value::Time, 1.2),
                bar(epoll, own, Value::Time, 1.15),
            ];
            let others = peers.iter().filter(|peer| matches!(peer, Peer::Rust(_)));
            bars.extend(others.map(|other| bar(own, other, Value::Time, 1.0)));
            bars
        }
        Load::Pipelined => vec![bar(own, &Peer::Nginx, Value::Time, 0.2)],
        Load::Connect => vec![bar(own, &Peer::Nginx, Value::Time, 1.0)],
        Load::Latency => vec![bar(own, &Peer::Nginx, Value::Latency, 0.4)],
        Load::Download => {
            let both = [own, epoll].into_iter();
            both.flat_map(|who| [Value::Bytes, Value::Time].map(|value| bar(who, &Peer::Nginx, value, 1.0))).collect()
        }
        Load::Wrk | Load::Idle | Load::HalfSent => Vec::new(),
    }
}
