//! The table of one load.

use std::fmt::Write;

use super::server::Peer;
use super::{Figures, Load};
use crate::bench::noise::NOISY_CORES;
use crate::bench::statistics::median;

/// Below this share of a processor the server was not busy, and its time per request means little under a closed load.
const BUSY: f64 = 0.97;

/// What a bar compares.
struct Bar {
    who: Peer,
    to: Peer,
    limit: f64,
}

const fn bar(who: Peer, to: Peer, limit: f64) -> Bar {
    Bar { who, to, limit }
}

const KEEP_ALIVE: [Bar; 3] = [
    bar(Peer::IoUring, Peer::Floor, 1.15),
    bar(Peer::IoUring, Peer::Nginx, 0.85),
    bar(Peer::Epoll, Peer::IoUring, 1.15),
];
const CONNECT: [Bar; 1] = [bar(Peer::IoUring, Peer::Nginx, 1.0)];
const LATENCY: [Bar; 1] = [bar(Peer::IoUring, Peer::Nginx, 0.4)];
const DOWNLOAD: [Bar; 2] = [bar(Peer::IoUring, Peer::Nginx, 1.0), bar(Peer::Epoll, Peer::Nginx, 1.0)];

/// The figures of one load, by peer and round.
pub(super) struct Table {
    load: Load,
    rows: Vec<(Peer, Vec<Figures>)>,
    noise: Vec<f64>,
}

impl Table {
    pub(super) fn new(load: Load) -> Self {
        Self { load, rows: load.peers().map(|peer| (peer, Vec::new())).collect(), noise: Vec::new() }
    }

    pub(super) fn add(&mut self, peer: Peer, figures: Figures) {
        self.rows.iter_mut().filter(|row| row.0 == peer).for_each(|row| row.1.push(figures.clone()));
    }

    pub(super) fn add_noise(&mut self, cores: f64) {
        self.noise.push(cores);
    }

    /// The table for people.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!("\n## {} ({} connections)\n\n", self.load.name(), self.load.connections());
        let noisy = self.noise.iter().filter(|&&cores| cores > NOISY_CORES).count();
        let worst = self.noise.iter().copied().fold(0.0, f64::max);
        line(
            &mut text,
            format_args!("Noisy rounds: {noisy} of {}, at worst {worst:.2} cores used by others.\n", self.noise.len()),
        );
        text.push_str("| server | requests/s | server µs/request | server busy | client µs/request | client busy | p50 µs | p99 µs |\n");
        text.push_str("|---|---|---|---|---|---|---|---|\n");
        for (peer, figures) in &self.rows {
            let of = |value: fn(&Figures) -> f64| median(figures.iter().map(value).collect()).unwrap_or(f64::NAN);
            let optional = |value: fn(&Figures) -> Option<f64>| {
                median(figures.iter().filter_map(value).collect())
                    .map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"))
            };
            line(
                &mut text,
                format_args!(
                    "| {} | {:.0} | {:.2} | {:.3} | {:.2} | {:.3} | {} | {} |",
                    peer.name(),
                    of(|figures| figures.requests as f64 / figures.seconds),
                    of(|figures| figures.server_us),
                    of(|figures| figures.server_busy),
                    of(|figures| figures.client_us),
                    of(|figures| figures.client_busy),
                    optional(|figures| figures.p50_us),
                    optional(|figures| figures.p99_us),
                ),
            );
        }
        self.bars(&mut text);
        text
    }

    fn bars(&self, text: &mut String) {
        text.push_str("\n| bar | demanded | median of the rounds' ratios | met |\n|---|---|---|---|\n");
        let (bars, what): (&[Bar], _) = match self.load {
            Load::KeepAlive => (&KEEP_ALIVE, "processor time per request"),
            Load::Connect => (&CONNECT, "processor time per request"),
            Load::Download => (&DOWNLOAD, "processor time per request"),
            Load::Latency => (&LATENCY, "median latency"),
            Load::Idle => (&[], "bytes"),
        };
        for Bar { who, to, limit } in bars {
            let Some(ratio) = self.ratio(*who, *to) else { continue };
            let met = match (ratio <= *limit, self.load != Load::KeepAlive || self.is_busy(*who) && self.is_busy(*to)) {
                (_, false) => "void: not kept busy",
                (true, _) => "yes",
                (false, _) => "**no**",
            };
            line(text, format_args!("| {what}, {} to {} | ≤ {limit} | {ratio:.3} | {met} |", who.name(), to.name()));
        }
    }

    /// The median over the rounds of one's value divided by the other's.
    fn ratio(&self, who: Peer, to: Peer) -> Option<f64> {
        let value = |figures: &Figures| match self.load {
            Load::Latency => figures.p50_us,
            _ => Some(figures.server_us),
        };
        let pairs = self.figures(who).iter().zip(self.figures(to));
        median(pairs.filter_map(|(who, to)| Some(value(who)? / value(to)?)).collect())
    }

    fn is_busy(&self, peer: Peer) -> bool {
        median(self.figures(peer).iter().map(|figures| figures.server_busy).collect()).is_some_and(|busy| busy >= BUSY)
    }

    fn figures(&self, peer: Peer) -> &[Figures] {
        self.rows.iter().find(|row| row.0 == peer).map_or(&[], |row| &row.1)
    }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("a String takes everything");
}
