//! The tables.

use std::fmt::Write;

use super::{Contest, Crowd, Figures, Flooded, Side};
use crate::bench::http::idle;
use crate::bench::noise::NOISY_CORES;
use crate::bench::statistics::median;

/// What the native stack must reach of the kernel's rate under losses, and by how much its 99th percentile may be later.
const RATE_BAR: f64 = 0.95;
const P99_BAR: f64 = 1.1;
/// By how much clients may be served later beside a flood.
const FLOODED_BAR: f64 = 2.0;
/// So much of the flood has to be sent for a verdict.
const REACHED: f64 = 0.95;

/// The figures of the closed loops, by round.
#[derive(Default)]
pub(super) struct Losses {
    rows: Vec<(Contest, Side, Vec<Figures>)>,
    noise: Vec<f64>,
}

impl Losses {
    /// Notes what came of a round.
    pub(super) fn add(&mut self, contest: Contest, side: Side, figures: Figures) {
        match self.rows.iter_mut().find(|row| (row.0, row.1) == (contest, side)) {
            Some((.., rounds)) => rounds.push(figures),
            None => self.rows.push((contest, side, vec![figures])),
        }
    }

    pub(super) fn add_noise(&mut self, cores: f64) {
        self.noise.push(cores);
    }

    /// The table for people.
    pub(super) fn markdown(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let noisy = self.noise.iter().filter(|&&cores| cores > NOISY_CORES).count();
        let mut text = format!("\n## Losses\n\nNoisy rounds: {noisy} of {}.\n\n", self.noise.len());
        text.push_str(
            "| loss, path | stack | requests/s | of that without losses | server µs/request | p50 ms | p99 ms |\n",
        );
        text.push_str("|---|---|---|---|---|---|---|\n");
        for (contest, side, rounds) in &self.rows {
            let of = |value: fn(&Figures) -> f64| median_of(rounds, value);
            let share = self.without_losses(*contest, *side).map(|all| of(rate) / all);
            let share = share.map_or_else(|| "–".to_owned(), |share| format!("{share:.3}"));
            let (p50, p99) = (of(|figures| figures.p50_us) / 1e3, of(p99) / 1e3);
            line(
                &mut text,
                format_args!(
                    "| {} | {} | {:.0} | {share} | {:.2} | {p50:.2} | {p99:.2} |",
                    contest.name(),
                    side.name(),
                    of(rate),
                    of(|figures| figures.server_us)
                ),
            );
        }
        text.push_str(
            "\n| bar, native to kernel | demanded | median of the rounds' ratios | met |\n|---|---|---|---|\n",
        );
        for &contest in self.rows.iter().map(|(contest, ..)| contest).step_by(2) {
            self.bars(&mut text, contest);
        }
        text
    }

    fn bars(&self, text: &mut String, contest: Contest) {
        let demands = !matches!(contest, Contest::Loss { per_mille: 0, .. });
        let mut judge = |what: &str, ratio: Option<f64>, sign: &str, bar: f64| {
            let Some(ratio) = ratio else { return };
            let is_met = if sign == "≥" { ratio >= bar } else { ratio <= bar };
            let (demand, met) = match (demands, is_met) {
                (false, _) => ("–".to_owned(), "–"),
                (true, true) => (format!("{sign} {bar}"), "yes"),
                (true, false) => (format!("{sign} {bar}"), "**no**"),
            };
            line(text, format_args!("| {what}, {} | {demand} | {ratio:.3} | {met} |", contest.name()));
        };
        judge("requests/s", self.ratio(contest, rate), "≥", RATE_BAR);
        judge("p99", self.ratio(contest, p99), "≤", P99_BAR);
    }

    fn rounds(&self, contest: Contest, side: Side) -> Option<&[Figures]> {
        self.rows.iter().find(|row| (row.0, row.1) == (contest, side)).map(|(.., rounds)| rounds.as_slice())
    }

    fn without_losses(&self, contest: Contest, side: Side) -> Option<f64> {
        let Contest::Loss { path, .. } = contest else { return None };
        Some(median_of(self.rounds(Contest::Loss { per_mille: 0, path }, side)?, rate))
    }

    fn ratio(&self, contest: Contest, value: fn(&Figures) -> f64) -> Option<f64> {
        let (native, kernel) = (self.rounds(contest, Side::Native)?, self.rounds(contest, Side::Kernel)?);
        median(native.iter().zip(kernel).map(|(native, kernel)| value(native) / value(kernel)).collect())
    }
}

fn rate(figures: &Figures) -> f64 {
    figures.requests as f64 / figures.seconds
}

fn p99(figures: &Figures) -> f64 {
    figures.p99_us
}

fn median_of<T>(rounds: &[T], value: impl Fn(&T) -> f64) -> f64 {
    median(rounds.iter().map(value).collect()).unwrap_or(f64::NAN)
}

/// What became of connections that were opened at once, by round.
#[derive(Default)]
pub(super) struct Crowds {
    rows: Vec<(u32, Side, Vec<Crowd>)>,
}

impl Crowds {
    /// Notes what came of a round.
    pub(super) fn add(&mut self, count: u32, side: Side, crowd: Crowd) {
        match self.rows.iter_mut().find(|row| (row.0, row.1) == (count, side)) {
            Some((.., rounds)) => rounds.push(crowd),
            None => self.rows.push((count, side, vec![crowd])),
        }
    }

    /// The table for people: of the numbers of each row's connections the worst round's.
    pub(super) fn markdown(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let mut text = "\n## Connections at once\n\n".to_owned();
        text.push_str(
            "| connections | stack | served | refused | reset | timed out | asked within ms | all served within ms ",
        );
        text.push_str("| open after ms, p50 | slowest | all served |\n|---|---|---|---|---|---|---|---|---|---|---|\n");
        for (count, side, rounds) in &self.rows {
            let worst = |value: fn(&Crowd) -> u32| rounds.iter().map(value).max().unwrap_or_default();
            let served = rounds.iter().map(|crowd| crowd.served).min().unwrap_or_default();
            let of = |value: fn(&Crowd) -> f64| median_of(rounds, value);
            let slowest = rounds.iter().map(|crowd| crowd.connect_max_ms).fold(0.0, f64::max);
            let met = if served == *count { "yes" } else { "**no**" };
            line(
                &mut text,
                format_args!(
                    "| {count} | {} | {served} | {} | {} | {} | {:.0} | {:.0} | {:.0} | {slowest:.0} | {met} |",
                    side.name(),
                    worst(|crowd| crowd.refused),
                    worst(|crowd| crowd.reset),
                    worst(|crowd| crowd.timed_out),
                    of(|crowd| crowd.asking_ms),
                    of(|crowd| crowd.all_ms),
                    of(|crowd| crowd.connect_p50_ms)
                ),
            );
        }
        text
    }
}

/// What came of floods, by round.
pub(super) struct Floods {
    /// SYNs per second that were to be sent.
    syns: u32,
    rows: Vec<(Side, Vec<Flooded>)>,
}

impl Floods {
    /// Of floods with so many SYNs a second.
    pub(super) fn new(syns: u32) -> Self {
        Self { syns, rows: Vec::new() }
    }

    /// Notes what came of a round.
    pub(super) fn add(&mut self, side: Side, flooded: Flooded) {
        match self.rows.iter_mut().find(|row| row.0 == side) {
            Some((_, rounds)) => rounds.push(flooded),
            None => self.rows.push((side, vec![flooded])),
        }
    }

    /// The table for people: medians, and of what was not served all rounds.
    pub(super) fn markdown(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let mut text = "\n## Connections beside a flood of SYNs\n\n".to_owned();
        text.push_str(
            "What a server behind a pair takes for a SYN is not all here: the pair receives on the processor of who sends. Behind the TAP it is \
             a read and a write each. Processor time is that of a run in which the server does not look for work before it sleeps, as it does \
             by default.\n\n",
        );
        text.push_str(
            "| stack | SYNs/s | server µs/SYN | server busy, with | asked, not served | p50 ms without, with | p99 ms without, with | \
             p99 ratio | bar: all served, p99 ≤ 2 |\n|---|---|---|---|---|---|---|---|---|\n",
        );
        for (side, rounds) in &self.rows {
            let of = |value: fn(&Flooded) -> f64| median_of(rounds, value);
            let asked: u32 = rounds.iter().map(|flooded| flooded.without.asked + flooded.with.asked).sum();
            let served: u32 = rounds.iter().map(|flooded| flooded.without.served + flooded.with.served).sum();
            let ratio = of(|flooded| flooded.with.p99_us / flooded.without.p99_us);
            let syns = of(|flooded| flooded.with.syns_per_second);
            let verdict = match served == asked && ratio <= FLOODED_BAR {
                _ if syns < REACHED * f64::from(self.syns) => "void: the load client was too slow",
                true => "yes",
                false => "**no**",
            };
            line(
                &mut text,
                format_args!(
                    "| {} | {:.0} | {:.2} | {:.2} | {asked}, {} | {:.2}, {:.2} | {:.2}, {:.2} | {ratio:.2} | {verdict} |",
                    side.name(),
                    syns,
                    of(|flooded| flooded.server_us_per_syn),
                    of(|flooded| flooded.with.server_busy),
                    asked - served,
                    of(|flooded| flooded.without.p50_us / 1e3),
                    of(|flooded| flooded.with.p50_us / 1e3),
                    of(|flooded| flooded.without.p99_us / 1e3),
                    of(|flooded| flooded.with.p99_us / 1e3),
                ),
            );
        }
        text
    }
}

/// The table of what connections that wait take of httpd's own memory, without the kernel's.
pub(super) fn memory(rows: &[(Side, idle::Figures)]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut text = format!("\n## {} connections that wait\n\n", idle::CONNECTIONS);
    text.push_str("| stack | KiB before | KiB with them | bytes for each | still served | KiB when they are gone |\n");
    text.push_str("|---|---|---|---|---|---|\n");
    for (side, idle::Figures { before, idle, served, after }) in rows {
        let each = idle.saturating_sub(*before) / u64::from(idle::CONNECTIONS);
        let [before, idle, after] = [before, idle, after].map(|bytes| bytes >> 10);
        line(&mut text, format_args!("| {} | {before} | {idle} | {each} | {served} | {after} |", side.name()));
    }
    text
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(requests: u64, p99_us: f64) -> Figures {
        Figures { requests, seconds: 1.0, server_us: 1.0, p50_us: 1.0, p99_us }
    }

    fn table(per_mille: u32) -> String {
        let mut losses = Losses::default();
        let contest = Contest::Loss { per_mille, path: "/" };
        for (native, kernel) in [(900, 1000), (960, 1000), (970, 1000)] {
            losses.add(contest, Side::Native, figures(native, 300.0));
            losses.add(contest, Side::Kernel, figures(kernel, 200.0));
        }
        losses.markdown()
    }

    #[test]
    fn bars_are_about_the_rounds_ratios() {
        let text = table(10);
        assert!(text.contains("| requests/s, loss 0.01 / | ≥ 0.95 | 0.960 | yes |"), "{text}");
        assert!(text.contains("| p99, loss 0.01 / | ≤ 1.1 | 1.500 | **no** |"), "{text}");
        assert!(table(0).contains("| p99, loss 0 / | – | 1.500 | – |"), "{}", table(0));
    }

    #[test]
    fn one_lost_connection_is_one_too_many() {
        let crowd = |served| Crowd {
            served,
            refused: 0,
            reset: 0,
            timed_out: 4_000 - served,
            asking_ms: 1.0,
            all_ms: 1.0,
            connect_p50_ms: 1.0,
            connect_max_ms: 1.0,
        };
        let mut crowds = Crowds::default();
        crowds.add(4_000, Side::Native, crowd(4_000));
        assert!(crowds.markdown().ends_with("| yes |\n"));
        crowds.add(4_000, Side::Native, crowd(3_999));
        assert!(crowds.markdown().ends_with("| **no** |\n"));
    }
}
