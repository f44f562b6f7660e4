//! The table of one contest.

use super::Contest;
use super::bars::{self, Bar};
use super::generators::{Figures, Generator};
use crate::bench::noise::NOISY_CORES;
use crate::bench::statistics::median;

/// The figures of a contest, by load generator and round.
pub(super) struct Table {
    contest: Contest,
    rows: Vec<(Generator, Vec<Figures>)>,
    noise: Vec<f64>,
}

impl Table {
    /// A table for those who take part.
    pub(super) fn new(contest: Contest, generators: &[Generator]) -> Self {
        Self { contest, rows: generators.iter().map(|generator| (*generator, Vec::new())).collect(), noise: Vec::new() }
    }

    /// Notes what came of a round.
    pub(super) fn add(&mut self, generator: Generator, figures: Figures) {
        let row = self.rows.iter_mut().find(|(other, _)| *other == generator);
        row.expect("whoever is measured has a row").1.push(figures);
    }

    pub(super) fn add_noise(&mut self, cores: f64) {
        self.noise.push(cores);
    }

    /// The table for people.
    pub(super) fn markdown(&self) -> String {
        let noisy = self.noise.iter().filter(|&&cores| cores > NOISY_CORES).count();
        let worst = self.noise.iter().copied().fold(0.0, f64::max);
        let mut text = format!(
            "\n## {} ({})\n\nNoisy rounds: {noisy} of {}, at worst {worst:.2} cores used by others.\n\n\
             | load generator | requests/s | its µs/request | busy | saturated | server µs/request | busy | p50 µs | p90 µs | p99 µs | corrected p50 µs | p90 µs | p99 µs |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
            self.contest.name(),
            self.contest.about(),
            self.noise.len(),
        );
        self.rows.iter().for_each(|(generator, rounds)| text.push_str(&row(*generator, rounds)));
        text.push_str("\n| bar | demanded | median of the rounds' ratios | met |\n|---|---|---|---|\n");
        for bar in bars::of(self.contest) {
            let what = format!("{}, {} to {}", bar.value.name(), bar.who.name(), bar.to.name());
            let ratio = self.ratio(&bar);
            let measured = ratio.map_or_else(|| "not measured".to_owned(), |ratio| format!("{ratio:.3}"));
            let met = ratio.map_or("–", |ratio| if bar.demand.is_met_by(ratio) { "yes" } else { "**no**" });
            text.push_str(&format!("| {what} | {} | {measured} | {met} |\n", bar.demand.words()));
        }
        text
    }

    /// The median over the rounds of one's value divided by the other's.
    fn ratio(&self, bar: &Bar) -> Option<f64> {
        let rounds = |who| self.rows.iter().find(|(generator, _)| *generator == who).map(|(_, rounds)| rounds);
        let (who, to) = (rounds(bar.who)?, rounds(bar.to)?);
        let ratio = |(who, to)| Some(bar.value.of(who)? / bar.value.of(to)?);
        median(who.iter().zip(to).filter_map(ratio).collect())
    }
}

fn row(generator: Generator, rounds: &[Figures]) -> String {
    let cell = |digits: usize, value: fn(&Figures) -> Option<f64>| {
        median(rounds.iter().filter_map(value).collect())
            .map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
    };
    let saturated = rounds.iter().filter(|figures| figures.is_saturated).count();
    let cells = [
        cell(0, |figures| Some(figures.requests as f64 / figures.seconds)),
        cell(2, |figures| Some(figures.client_us)),
        cell(3, |figures| Some(figures.client_busy)),
        format!("{saturated}/{}", rounds.len()),
        cell(2, |figures| Some(figures.server_us)),
        cell(3, |figures| Some(figures.server_busy)),
        cell(1, |figures| Some(figures.latencies_us?[0])),
        cell(1, |figures| Some(figures.latencies_us?[1])),
        cell(1, |figures| Some(figures.latencies_us?[2])),
        cell(1, |figures| Some(figures.corrected_us?[0])),
        cell(1, |figures| Some(figures.corrected_us?[1])),
        cell(1, |figures| Some(figures.corrected_us?[2])),
    ];
    format!("| {} | {} |\n", generator.name(), cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(client_us: f64, p50_us: f64) -> Figures {
        Figures {
            requests: 1000,
            seconds: 1.0,
            server_us: 1.0,
            server_busy: 1.0,
            client_us,
            client_busy: 0.5,
            latencies_us: None,
            corrected_us: Some([p50_us, 200.0, 300.0]),
            is_saturated: false,
        }
    }

    #[test]
    fn ratios_are_those_within_rounds() {
        let mut table = Table::new(Contest::Closed, &[Generator::SeawreckEpoll, Generator::Wrk]);
        for (own, wrk) in [(7.0, 10.0), (70.0, 100.0), (9.0, 10.0)] {
            table.add(Generator::SeawreckEpoll, figures(own, 104.0));
            table.add(Generator::Wrk, figures(wrk, 100.0));
        }
        let text = table.markdown();
        for line in [
            "| processor time per request, seawreck epoll to wrk | ≤ 0.8 | 0.700 | yes |",
            "| latency at 50 %, corrected, seawreck epoll to wrk | 1 ± 0.05 | 1.040 | yes |",
            "| latency at 99 %, corrected, seawreck epoll to wrk | 1 ± 0.05 | 1.000 | yes |",
            "| processor time per request, seawreck epoll to bare epoll client | ≤ 1.15 | not measured | – |",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}
