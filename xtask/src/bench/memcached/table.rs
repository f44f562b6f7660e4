//! The table of one contest.

use std::fmt::Write;

use anyhow::Result;

use super::contest::{Bar, Contest};
use super::load::{Figures, Load};
use super::server::Who;
use crate::bench::noise::NOISY_CORES;
use crate::bench::statistics::median;

/// From this share of a processor on somebody was busy.
const BUSY: f64 = 0.97;

pub(super) struct Table {
    contest: Contest,
    about: String,
    rows: Vec<Row>,
    noise: Vec<f64>,
}

struct Row {
    who: Who,
    /// By round; none where it failed.
    rounds: Vec<Option<Figures>>,
    failure: Option<String>,
}

impl Table {
    pub(super) fn new(contest: Contest, load: &Load) -> Self {
        let row = |who| Row { who, rounds: Vec::new(), failure: None };
        let rows = contest.contestants().into_iter().map(row).collect();
        Self { contest, about: load.about(), rows, noise: Vec::new() }
    }

    pub(super) fn add(&mut self, who: Who, result: Result<Figures>) {
        for row in self.rows.iter_mut().filter(|row| row.who == who) {
            row.failure = result.as_ref().err().map(|error| format!("{error:#}")).or(row.failure.take());
            row.rounds.push(result.as_ref().ok().copied());
        }
    }

    pub(super) fn add_noise(&mut self, cores: f64) {
        self.noise.push(cores);
    }

    pub(super) fn markdown(&self) -> String {
        let mut text = format!("\n## {} ({})\n\n", self.contest.name(), self.about);
        let noisy = self.noise.iter().filter(|&&cores| cores > NOISY_CORES).count();
        let worst = self.noise.iter().copied().fold(0.0, f64::max);
        let rounds = self.noise.len();
        line(&mut text, format_args!("Noisy rounds: {noisy} of {rounds}, at worst {worst:.2} cores used by others.\n"));
        text.push_str("| server | requests/s | server µs/request | server busy | load µs/request | load busy | p50 µs | p99 µs | p99.9 µs | first busy |\n");
        text.push_str("|---|---|---|---|---|---|---|---|---|---|\n");
        self.rows.iter().for_each(|row| row.write(&mut text));
        for row in &self.rows {
            let failed = row.rounds.iter().filter(|figures| figures.is_none()).count();
            if let Some(failure) = &row.failure {
                line(&mut text, format_args!("\n{} failed in {failed} rounds: {failure}", row.who.name()));
            }
        }
        self.write_bars(&mut text);
        text
    }

    fn write_bars(&self, text: &mut String) {
        text.push_str("\n| bar | demanded | median of the rounds' ratios | met |\n|---|---|---|---|\n");
        let (what, _) = self.contest.value();
        for bar in self.contest.bars() {
            let (measured, met) = match self.ratio(&bar) {
                None if self.void_rounds(bar.who) + self.void_rounds(bar.to) > 0 => ("void".to_owned(), "–"),
                None => ("not measured".to_owned(), "–"),
                Some(ratio) => (format!("{ratio:.3}"), if bar.is_met_by(ratio) { "yes" } else { "**no**" }),
            };
            let (who, to) = (bar.who.name(), bar.to.name());
            line(text, format_args!("| {what}, {who} to {to} | {} | {measured} | {met} |", bar.text()));
        }
        for row in &self.rows {
            let (void, of, who) = (self.void_rounds(row.who), row.rounds.len(), row.who.name());
            if void > 0 {
                line(text, format_args!("\nVoid, since the load was the limit: {void} of {of} rounds of {who}."));
            }
        }
        if let Some(ratio) = self.ratio_of(Who::Floor, Who::Original) {
            line(text, format_args!("\nThe floor's ratio to memcached: {ratio:.3}."));
        }
    }

    fn ratio(&self, bar: &Bar) -> Option<f64> {
        self.ratio_of(bar.who, bar.to)
    }

    /// The median over the rounds of one's value divided by the other's.
    fn ratio_of(&self, who: Who, to: Who) -> Option<f64> {
        let (_, value) = self.contest.value();
        let row = |who| self.rows.iter().find(|row| row.who == who);
        let counted = |who, figures: &Option<Figures>| figures.filter(|figures| !self.contest.is_void(who, figures));
        let rounds = row(who)?.rounds.iter().zip(&row(to)?.rounds);
        let ratio = |(one, other)| Some(value(&counted(who, one)?) / value(&counted(to, other)?));
        median(rounds.filter_map(ratio).collect())
    }

    /// Rounds of one that don't count.
    fn void_rounds(&self, who: Who) -> usize {
        let rounds = self.rows.iter().filter(|row| row.who == who).flat_map(|row| row.rounds.iter().flatten());
        rounds.filter(|figures| self.contest.is_void(who, figures)).count()
    }
}

impl Row {
    fn median(&self, value: fn(&Figures) -> f64) -> Option<f64> {
        median(self.rounds.iter().flatten().map(value).filter(|value| value.is_finite()).collect())
    }

    fn write(&self, text: &mut String) {
        let cell = |digits: usize, value: fn(&Figures) -> f64| {
            self.median(value).map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
        };
        let cells = [
            cell(0, |figures| figures.rate),
            cell(2, |figures| figures.server_us),
            cell(2, |figures| figures.server_busy),
            cell(2, |figures| figures.load_us),
            cell(2, |figures| figures.load_busy),
            cell(1, |figures| figures.p50_us),
            cell(1, |figures| figures.p99_us),
            cell(1, |figures| figures.p999_us),
        ];
        line(text, format_args!("| {} | {} | {} |", self.who.name(), cells.join(" | "), self.first_busy()));
    }

    /// Which end has no time left.
    fn first_busy(&self) -> &'static str {
        let is_busy = |value: fn(&Figures) -> f64| self.median(value).map(|share| share >= BUSY);
        match (is_busy(|figures| figures.server_busy), is_busy(|figures| figures.load_busy)) {
            (Some(true), Some(true)) => "both",
            (Some(true), _) => "server",
            (Some(false), Some(true)) => "load",
            (Some(false), _) => "neither",
            (None, _) => "–",
        }
    }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn figures(server_us: f64, rate: f64) -> Figures {
        Figures {
            rate,
            server_us,
            server_busy: 0.99,
            load_us: 1.0,
            load_busy: 0.5,
            p50_us: 1.0,
            p99_us: 1.0,
            p999_us: 1.0,
            is_load_limit: false,
        }
    }

    #[test]
    fn rounds_in_which_the_load_was_the_limit_are_void() {
        let limited = |rate| Figures { is_load_limit: true, ..figures(1.0, rate) };
        let mut table = Table::new(Contest::Native, &Contest::Native.load(None));
        for (ours, theirs) in [(limited(900.0), figures(1.0, 100.0)), (figures(1.0, 450.0), figures(1.0, 100.0))] {
            table.add(Who::Native, Ok(ours));
            table.add(Who::Original, Ok(theirs));
            table.add(Who::OriginalOnBoth, Ok(limited(100.0)));
        }
        let text = table.markdown();
        assert!(text.contains("to memcached | ≥ 4 | 4.500 | yes |"), "{text}");
        assert!(text.contains("to memcached on both processors | ≥ 4 | 4.500 | yes |"), "{text}");
        assert!(text.contains("limit: 1 of 2 rounds of sunstar, vhost-user."), "{text}");
        let mut table = Table::new(Contest::OpenLoop, &Contest::OpenLoop.load(None));
        table.add(Who::IoUring, Ok(limited(1.0)));
        table.add(Who::Original, Ok(figures(1.0, 1.0)));
        assert!(table.markdown().contains("| ≤ 1 | void | – |"));
        let mut table = Table::new(Contest::Single, &Contest::Single.load(None));
        table.add(Who::IoUring, Ok(limited(1.0)));
        table.add(Who::Original, Ok(figures(2.0, 1.0)));
        assert!(table.markdown().contains("| ≤ 0.85 | 0.500 | yes |"), "what is compared is the server's time");
    }

    #[test]
    fn bars_are_about_the_rounds_ratios() {
        let mut table = Table::new(Contest::Single, &Contest::Single.load(None));
        for (ours, theirs) in [(4.0, 5.0), (8.0, 10.0), (1.0, 20.0)] {
            table.add(Who::IoUring, Ok(figures(ours, 1.0)));
            table.add(Who::Original, Ok(figures(theirs, 1.0)));
            table.add(Who::Epoll, Err(anyhow!("it does not start")));
        }
        let text = table.markdown();
        assert!(text.contains("| processor time per request, sunstar, io_uring to memcached | ≤ 0.85 | 0.800 | yes |"));
        assert!(text.contains("| ≤ 0.85 | not measured | – |"), "{text}");
        assert!(text.contains("sunstar, epoll failed in 3 rounds: it does not start"), "{text}");
        assert!(text.contains("| 0.50 | 1.0 | 1.0 | 1.0 | server |"), "{text}");
    }

    #[test]
    fn a_rate_has_to_be_so_many_times_as_high() {
        let mut table = Table::new(Contest::Native, &Contest::Native.load(None));
        table.add(Who::Native, Ok(figures(1.0, 399.0)));
        table.add(Who::Original, Ok(figures(1.0, 100.0)));
        table.add(Who::OriginalOnBoth, Ok(figures(1.0, 90.0)));
        let text = table.markdown();
        assert!(text.contains("to memcached | ≥ 4 | 3.990 | **no** |"), "{text}");
        assert!(text.contains("to memcached on both processors | ≥ 4 | 4.433 | yes |"), "{text}");
    }
}
