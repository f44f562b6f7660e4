//! The table of one load.

use std::fmt::Write;

use super::bars::{self, Bar};
use super::peer::Peer;
use super::{CONNECT_RATE, Figures, Load};
use crate::bench::noise::NOISY_CORES;
use crate::bench::statistics::median;

/// From this share of a processor on a program was busy. A server that was not has a time per request that means little under a
/// closed load.
const BUSY: f64 = 0.97;
/// Who gets this share of what is offered at a fixed rate has kept up.
const KEPT_UP: f64 = 0.99;

/// The figures of one load, by peer and round.
pub(super) struct Table {
    load: Load,
    rows: Vec<Row>,
    noise: Vec<f64>,
}

struct Row {
    peer: Peer,
    /// By round; `None` where it failed.
    rounds: Vec<Option<Figures>>,
    failure: Option<String>,
}

impl Table {
    /// A table for those who take part.
    pub(super) fn new(load: Load, peers: &[Peer]) -> Self {
        let row = |peer: &Peer| Row { peer: peer.clone(), rounds: Vec::new(), failure: None };
        Self { load, rows: peers.iter().map(row).collect(), noise: Vec::new() }
    }

    /// Notes what came of a round.
    pub(super) fn add(&mut self, peer: &Peer, result: Result<Figures, String>) {
        for row in self.rows.iter_mut().filter(|row| row.peer == *peer) {
            row.rounds.push(result.as_ref().ok().cloned());
            if let Err(error) = &result {
                row.failure = Some(error.clone());
            }
        }
    }

    pub(super) fn add_noise(&mut self, cores: f64) {
        self.noise.push(cores);
    }

    /// The table for people.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!("\n## {} ({})\n\n", self.load.name(), self.load.about());
        let noisy = self.noise.iter().filter(|&&cores| cores > NOISY_CORES).count();
        let worst = self.noise.iter().copied().fold(0.0, f64::max);
        line(
            &mut text,
            format_args!("Noisy rounds: {noisy} of {}, at worst {worst:.2} cores used by others.\n", self.noise.len()),
        );
        text.push_str("| server | requests/s | server µs/request | server busy | client µs/request | client busy | p50 µs | p99 µs |\n");
        text.push_str("|---|---|---|---|---|---|---|---|\n");
        self.rows.iter().for_each(|row| row.write(&mut text));
        let failures = self.rows.iter().filter_map(|row| Some((row, row.failure.as_ref()?)));
        for (row, failure) in failures {
            let failed = row.rounds.iter().filter(|figures| figures.is_none()).count();
            line(&mut text, format_args!("\n{} failed in {failed} rounds: {failure}", row.peer.name()));
        }
        self.bars(&mut text);
        text
    }

    fn bars(&self, text: &mut String) {
        let peers: Vec<Peer> = self.rows.iter().map(|row| row.peer.clone()).collect();
        let bars = bars::of(self.load, &peers);
        if bars.is_empty() {
            return;
        }
        text.push_str("\n| bar | demanded | median of the rounds' ratios | met |\n|---|---|---|---|\n");
        for bar in &bars {
            let what = format!("{}, {} to {}", bar.value.name(), bar.who.name(), bar.to.name());
            let (measured, met) = match self.ratio(bar) {
                None => ("not measured".to_owned(), "–"),
                Some(ratio) => (format!("{ratio:.3}"), self.verdict(bar, ratio)),
            };
            line(text, format_args!("| {what} | {} | {measured} | {met} |", bar.demand()));
        }
    }

    fn verdict(&self, bar: &Bar, ratio: f64) -> &'static str {
        let void = [&bar.who, &bar.to].into_iter().filter_map(|peer| self.row(peer)?.void_because(self.load)).next();
        match void {
            Some(reason) => reason,
            None if bar.is_met_by(ratio) => "yes",
            None => "**no**",
        }
    }

    /// The median over the rounds of one's value divided by the other's.
    fn ratio(&self, bar: &Bar) -> Option<f64> {
        let (who, to) = (self.row(&bar.who)?, self.row(&bar.to)?);
        let value = |figures: &Option<Figures>| bar.value.of(figures.as_ref()?);
        let rounds = who.rounds.iter().zip(&to.rounds);
        median(rounds.filter_map(|(who, to)| Some(value(who)? / value(to)?)).collect())
    }

    fn row(&self, peer: &Peer) -> Option<&Row> {
        self.rows.iter().find(|row| row.peer == *peer)
    }
}

impl Row {
    fn median(&self, value: impl Fn(&Figures) -> Option<f64>) -> Option<f64> {
        median(self.rounds.iter().flatten().filter_map(value).collect())
    }

    fn write(&self, text: &mut String) {
        let cell = |digits: usize, value: fn(&Figures) -> Option<f64>| {
            self.median(value).map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
        };
        let cells = [
            cell(0, |figures| Some(figures.requests as f64 / figures.seconds)),
            cell(2, |figures| Some(figures.server_us)),
            cell(3, |figures| Some(figures.server_busy)),
            cell(2, |figures| Some(figures.client_us)),
            cell(3, |figures| Some(figures.client_busy)),
            cell(1, |figures| figures.p50_us),
            cell(1, |figures| figures.p99_us),
        ];
        line(text, format_args!("| {} | {} |", self.peer.name(), cells.join(" | ")));
    }

    /// Why a bar about the server says nothing, if it does not: the load client was the bottleneck.
    fn void_because(&self, load: Load) -> Option<&'static str> {
        let is_below = |share: Option<f64>| share.is_some_and(|share| share < BUSY);
        let was_idle = is_below(self.median(|figures| Some(figures.server_busy)));
        let client_had_time = is_below(self.median(|figures| Some(figures.client_busy)));
        match load {
            // One request at a time keeps nobody busy.
            Load::Latency | Load::Idle | Load::HalfSent => None,
            // The client spins: it always looks busy.
            Load::KeepAlive | Load::Pipelined => was_idle.then_some("void: not kept busy"),
            // At a fixed rate the processor time of the same work is compared, by servers that all have time left.
            Load::Connect => {
                let rate = self.median(|figures| Some(figures.requests as f64 / figures.seconds));
                let fell_behind = rate.is_some_and(|rate| rate < KEPT_UP * f64::from(CONNECT_RATE));
                fell_behind.then_some("void: fewer connections than were offered")
            }
            Load::Download | Load::Wrk => {
                (was_idle && !client_had_time).then_some("void: the load client was busy first")
            }
        }
    }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::super::peer::Runtime;
    use super::*;

    fn figures(server_us: f64, server_busy: f64, client_busy: f64) -> Figures {
        let requests = 1_000_000;
        let seconds = server_us * server_busy;
        Figures { requests, seconds, server_us, server_busy, client_us: 1.0, client_busy, p50_us: None, p99_us: None }
    }

    fn table(load: Load, rows: &[(Peer, &[Option<Figures>])]) -> String {
        let peers: Vec<Peer> = rows.iter().map(|(peer, _)| peer.clone()).collect();
        let mut table = Table::new(load, &peers);
        for (peer, rounds) in rows {
            rounds.iter().for_each(|figures| table.add(peer, figures.clone().ok_or_else(|| "it fell".to_owned())));
        }
        table.markdown()
    }

    #[test]
    fn bars_compare_rounds_and_skip_those_that_failed() {
        let own = [1.0, 9.0, 1.0].map(|time| Some(figures(time, 1.0, 1.0)));
        let hyper = [Some(figures(2.0, 1.0, 1.0)), None, Some(figures(2.0, 1.0, 1.0))];
        let text = table(Load::KeepAlive, &[(Peer::IoUring, &own), (Peer::Rust(Runtime::Hyper), &hyper)]);
        assert!(text.contains("httpd io_uring to tokio + hyper | ≤ 1 | 0.500 | yes |"), "{text}");
        assert!(text.contains("httpd io_uring to nginx | ≤ 0.85 | not measured | – |"), "{text}");
        assert!(text.contains("tokio + hyper failed in 1 rounds: it fell"), "{text}");
    }

    #[test]
    fn more_bytes_are_better() {
        let rows = [(Peer::IoUring, [Some(figures(2.0, 1.0, 0.5))]), (Peer::Nginx, [Some(figures(4.0, 1.0, 0.5))])];
        let text = table(Load::Download, &rows.each_ref().map(|(peer, rounds)| (peer.clone(), rounds.as_slice())));
        assert!(text.contains("bytes per second, httpd io_uring to nginx | ≥ 1 | 2.000 | yes |"), "{text}");
        assert!(text.contains("processor time per request, httpd io_uring to nginx | ≤ 1 | 0.500 | yes |"), "{text}");
    }

    #[test]
    fn connections_that_were_not_made_void_a_bar() {
        let of = |share: f64| {
            let seconds = 1e6 / (f64::from(CONNECT_RATE) * share);
            let rounds = [Some(Figures { seconds, ..figures(1.0, 0.3, 1.0) })];
            table(Load::Connect, &[(Peer::IoUring, &rounds), (Peer::Nginx, &rounds)])
        };
        assert!(of(0.98).contains("void"));
        assert!(!of(0.995).contains("void"));
    }

    #[test]
    fn a_client_that_was_busy_first_voids_a_bar() {
        let of = |load, busy, client| {
            let (own, other) = ([Some(figures(1.0, busy, client))], [Some(figures(3.0, 1.0, client))]);
            table(load, &[(Peer::IoUring, &own), (Peer::Nginx, &other)])
        };
        assert!(of(Load::Download, 0.9, 0.99).contains("void"));
        assert!(!of(Load::Download, 0.9, 0.9).contains("void"));
        assert!(!of(Load::Download, 0.99, 0.99).contains("void"));
        assert!(of(Load::KeepAlive, 0.9, 1.0).contains("void"));
        assert!(!of(Load::KeepAlive, 0.99, 1.0).contains("void"));
    }
}
