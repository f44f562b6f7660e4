//! The figures of one contest, and how Sunstar stands to its bars.

use anyhow::Result;

use super::contest::{Bar, Contest, Contestant, Group, Than};
use super::pair::Figures;
use crate::bench::noise::NOISY_CORES;
use crate::bench::statistics::median;

/// From this share of its time on an end is called busy.
const BUSY: f64 = 0.97;

pub(super) struct Table {
    pub(super) contest: Contest,
    pub(super) rows: Vec<Row>,
    noise: Vec<f64>,
}

pub(super) struct Row {
    pub(super) contestant: Contestant,
    /// By round; none where it failed.
    rounds: Vec<Option<Figures>>,
    failure: Option<String>,
}

/// What came of a bar.
pub(super) struct Verdict {
    pub(super) measured: f64,
    pub(super) than: &'static str,
    pub(super) is_met: bool,
}

impl Table {
    pub(super) fn new(contest: &Contest) -> Self {
        let row = |contestant| Row { contestant, rounds: Vec::new(), failure: None };
        Self { contest: *contest, rows: contest.contestants().into_iter().map(row).collect(), noise: Vec::new() }
    }

    pub(super) fn add(&mut self, contestant: Contestant, result: Result<Figures>) {
        for row in self.rows.iter_mut().filter(|row| row.contestant == contestant) {
            row.failure = result.as_ref().err().map(|error| format!("{error:#}")).or(row.failure.take());
            row.rounds.push(result.as_ref().ok().copied());
        }
    }

    pub(super) fn add_noise(&mut self, cores: f64) {
        self.noise.push(cores);
    }

    /// Rounds in which others used the processors, and all.
    pub(super) fn noisy(&self) -> (usize, usize) {
        (self.noise.iter().filter(|&&cores| cores > NOISY_CORES).count(), self.noise.len())
    }

    pub(super) fn row(&self, contestant: Contestant) -> Option<&Row> {
        self.rows.iter().find(|row| row.contestant == contestant)
    }

    /// The kernel's set-up with the best median.
    pub(super) fn best_of_kernel(&self) -> Option<&Row> {
        let rows = self.rows.iter().filter(|row| row.contestant.is_kernel());
        let rated = rows.filter_map(|row| Some((row, row.median(self.contest.group)?)));
        rated.max_by(|one, other| one.1.total_cmp(&other.1)).map(|(row, _)| row)
    }

    /// The median over the rounds of how many times as much the first one, Sunstar, does as another one.
    pub(super) fn ratio_to(&self, other: &Row) -> Option<f64> {
        let (group, own) = (self.contest.group, self.rows.first()?);
        let pairs = own.rounds.iter().zip(&other.rounds);
        median(
            pairs
                .filter_map(|(own, other)| Some(value(group, own.as_ref()?) / value(group, other.as_ref()?)))
                .collect(),
        )
    }

    pub(super) fn judge(&self, bar: &Bar) -> Option<Verdict> {
        let other = match bar.than {
            Than::BestOfKernel => self.best_of_kernel()?,
            Than::Copying => self.row(Contestant::Copying)?,
            Than::OneShard => self.row(Contestant::OneShard)?,
            Than::Spinning => self.row(Contestant::VethSpinning)?,
            Than::Testpmd => self.row(Contestant::Testpmd)?,
        };
        let measured = self.ratio_to(other)?;
        let is_met = if self.contest.group.is_cost() { measured <= bar.factor } else { measured >= bar.factor };
        Some(Verdict { measured, than: other.contestant.name(), is_met })
    }
}

impl Row {
    /// The median of all rounds, in the group's unit.
    pub(super) fn median(&self, group: Group) -> Option<f64> {
        self.median_of(|figures| value(group, figures))
    }

    pub(super) fn median_of(&self, value: impl Fn(&Figures) -> f64) -> Option<f64> {
        median(self.rounds.iter().flatten().map(value).collect())
    }

    /// Which end has no time left.
    pub(super) fn saturated(&self) -> &'static str {
        let is_busy = |value: fn(&Figures) -> f64| self.median_of(value).is_some_and(|share| share >= BUSY);
        match (is_busy(|figures| figures.client_busy), is_busy(|figures| figures.server_busy)) {
            (true, true) => "both",
            (true, false) => "client",
            (false, true) => "server",
            (false, false) => "neither",
        }
    }

    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}

/// What is compared, in the group's unit.
fn value(group: Group, figures: &Figures) -> f64 {
    match group {
        Group::Bulk => figures.bytes * 8.0 / 1e9,
        Group::Forward => figures.cycles,
        _ => figures.messages / 1e3,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn figures(messages: f64) -> Figures {
        Figures { messages, client_busy: 1.0, server_busy: 0.5, ..Figures::default() }
    }

    fn table() -> Table {
        let mut table = Table::new(&Contest { group: Group::Messages, value: 1 });
        for (own, slow, fast) in [(900.0, 80.0, 100.0), (1000.0, 80.0, 100.0), (500.0, 80.0, 50.0)] {
            table.add(Contestant::Lending, Ok(figures(own)));
            table.add(Contestant::Kernel, Ok(figures(slow)));
            table.add(Contestant::KernelBoth, Ok(figures(fast)));
            table.add(Contestant::KernelSpinning, Err(anyhow!("it does not start")));
        }
        table
    }

    #[test]
    fn bars_are_about_the_rounds_ratios_to_the_best_of_the_kernel() {
        let table = table();
        assert_eq!(table.best_of_kernel().map(|row| row.contestant), Some(Contestant::KernelBoth));
        let verdict = table.judge(&table.contest.bars()[0]).expect("it was measured");
        assert!((verdict.measured - 10.0).abs() < 1e-9 && verdict.is_met);
        assert!(table.judge(&Bar { factor: 10.1, than: Than::BestOfKernel }).is_some_and(|verdict| !verdict.is_met));
    }

    #[test]
    fn who_fails_is_no_peer_and_who_is_busy_is_told() {
        let table = table();
        let failed = table.row(Contestant::KernelSpinning).expect("it takes part");
        assert_eq!((failed.median(Group::Messages), failed.failure()), (None, Some("it does not start")));
        assert_eq!(table.row(Contestant::Kernel).map(Row::saturated), Some("client"));
    }

    #[test]
    fn a_bar_of_a_cost_is_an_upper_bound_and_not_measured_without_the_peer() {
        let cost = |cycles| Figures { cycles, messages: 9e6, ..Figures::default() };
        let table = |peer: fn() -> Result<Figures>| {
            let mut table = Table::new(&Contest { group: Group::Forward, value: 64 });
            for own in [290.0, 280.0, 500.0] {
                table.add(Contestant::Forwarder, Ok(cost(own)));
                table.add(Contestant::Testpmd, peer());
            }
            table
        };
        let missing = table(|| Err(anyhow!("it is not installed")));
        assert!(missing.judge(&missing.contest.bars()[0]).is_none());
        let both = table(|| Ok(Figures { cycles: 200.0, ..Figures::default() }));
        let verdict = both.judge(&both.contest.bars()[0]).expect("both were measured");
        assert!((verdict.measured - 1.45).abs() < 1e-9 && verdict.is_met);
        assert!(both.judge(&Bar { factor: 1.4, than: Than::Testpmd }).is_some_and(|verdict| !verdict.is_met));
    }
}
