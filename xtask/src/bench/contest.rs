//! One benchmark and all who take part in it.

use super::noise::Watch;
use super::program::{Figure, Program};
use super::statistics::median;
use super::suite::Options;

/// A benchmark and to whom it applies.
#[derive(Debug)]
pub(super) struct Contest {
    pub(super) bench: String,
    pub(super) contestants: Vec<Contestant>,
}

/// Who takes part, and the program that can measure them.
#[derive(Debug)]
pub(super) struct Contestant {
    pub(super) program: Program,
    pub(super) peer: String,
}

/// The figures of one benchmark.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) bench: String,
    pub(super) unit: String,
    pub(super) rows: Vec<Row>,
    /// Cores used by others, per round.
    pub(super) noise: Vec<f64>,
}

/// The figures of one contestant, by round; `None` where a run failed.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) peer: String,
    pub(super) values: Vec<Option<f64>>,
    /// The figures of the fastest tenth within each process, by round.
    pub(super) fastest: Vec<Option<f64>>,
}

impl Contest {
    /// Runs all rounds. Each round begins with another contestant, so that none always runs after the same.
    pub(super) fn run(&self, options: &Options) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut noise = Vec::new();
        for round in 0..options.rounds as usize {
            let watch = Watch::start();
            for place in 0..self.contestants.len() {
                let contestant = &self.contestants[(round + place) % self.contestants.len()];
                for figure in self.measure(contestant, options.short) {
                    note(&mut outcomes, &contestant.peer, round, figure);
                }
            }
            let others = watch.cores_used_by_others();
            println!("{} round {}: others used {others:.2} cores", self.bench, round + 1);
            noise.push(others);
        }
        for outcome in &mut outcomes {
            outcome.noise.clone_from(&noise);
            let place = |row: &Row| self.contestants.iter().position(|contestant| contestant.peer == row.peer);
            outcome.rows.sort_by_key(place);
            for row in &mut outcome.rows {
                row.values.resize(noise.len(), None);
                row.fastest.resize(noise.len(), None);
            }
        }
        outcomes
    }

    fn measure(&self, contestant: &Contestant, short: bool) -> Vec<Figure> {
        let peer = &contestant.peer;
        match contestant.program.run(peer, &self.bench, short) {
            Ok(figures) => {
                for Figure { bench, unit, value, .. } in &figures {
                    println!("  {peer:<24} {bench:<20} {value:>12.2} {unit}");
                }
                figures
            }
            Err(error) => {
                println!("  {peer:<24} {:<20} FAILED: {error:#}", self.bench);
                Vec::new()
            }
        }
    }
}

fn note(outcomes: &mut Vec<Outcome>, peer: &str, round: usize, figure: Figure) {
    let known = outcomes.iter().position(|outcome| outcome.bench == figure.bench);
    let index = known.unwrap_or_else(|| {
        outcomes.push(Outcome { bench: figure.bench, unit: figure.unit, rows: Vec::new(), noise: Vec::new() });
        outcomes.len() - 1
    });
    let rows = &mut outcomes[index].rows;
    let known = rows.iter().position(|row| row.peer == peer);
    let index = known.unwrap_or_else(|| {
        rows.push(Row { peer: peer.to_owned(), values: Vec::new(), fastest: Vec::new() });
        rows.len() - 1
    });
    let row = &mut rows[index];
    for (series, value) in [(&mut row.values, figure.value), (&mut row.fastest, figure.fastest_tenth)] {
        series.resize(round, None);
        series.push(Some(value));
    }
}

impl Outcome {
    /// The same, with the fastest tenths for figures.
    pub(super) fn of_fastest_tenths(&self) -> Self {
        let mut fastest = self.clone();
        for row in &mut fastest.rows {
            row.values.clone_from(&row.fastest);
        }
        fastest
    }

    /// The row of `peer`.
    pub(super) fn row(&self, peer: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.peer == peer)
    }

    /// Whether more of the unit is better; `None` where neither is.
    pub(super) fn more_is_better(&self) -> Option<bool> {
        match self.unit.as_str() {
            "M/s" => Some(true),
            "ns/op" => Some(false),
            _ => None,
        }
    }
}

impl Row {
    /// The median of all rounds.
    pub(super) fn median(&self) -> Option<f64> {
        median(self.values.iter().flatten().copied().collect())
    }

    /// The median over the rounds of what the fastest tenth within each process showed.
    pub(super) fn fastest_median(&self) -> Option<f64> {
        median(self.fastest.iter().flatten().copied().collect())
    }

    /// The median over the rounds of this row's value divided by the other's of the same round.
    pub(super) fn ratio_to(&self, other: &Self) -> Option<f64> {
        let pairs = self.values.iter().zip(&other.values);
        median(pairs.filter_map(|(mine, other)| Some((*mine)? / (*other)?)).collect())
    }
}
