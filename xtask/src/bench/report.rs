//! The tables that come out.

use std::fmt::Write;

use anyhow::Result;
use serde_json::{Value, json};

use super::bars::{Bar, SUNSTAR, slowness};
use super::contest::{Outcome, Row};
use super::noise::NOISY_CORES;
use super::suite::Options;

/// All that was measured, and how.
#[derive(Debug)]
pub(super) struct Report {
    facts: Vec<(String, String)>,
    command: String,
    rounds: u32,
    short: bool,
    outcomes: Vec<Outcome>,
    bars: &'static [Bar],
}

impl Report {
    /// Collects what the tables need.
    pub(super) fn new(
        facts: Vec<(String, String)>,
        command: String,
        options: &Options,
        outcomes: Vec<Outcome>,
        bars: &'static [Bar],
    ) -> Self {
        Self { facts, command, rounds: options.rounds, short: options.short, outcomes, bars }
    }

    /// The report for people, without the head of its page.
    pub(super) fn markdown(&self) -> String {
        let mut text = String::new();
        line(&mut text, format_args!("- rounds: {}, interleaved, order rotated{}", self.rounds, self.brevity()));
        line(&mut text, format_args!("- {}", self.noise_text()));
        self.bars_table(&mut text);
        self.figures_table(&mut text);
        text
    }

    fn brevity(&self) -> &'static str {
        if self.short { ", short: a tenth of the timers; not for claims" } else { "" }
    }

    fn noise_text(&self) -> String {
        let rounds = self.outcomes.iter().map(|outcome| outcome.noise.len()).sum::<usize>();
        let noisy = self.outcomes.iter().map(noisy_rounds).sum::<usize>();
        let worst = self.outcomes.iter().flat_map(|outcome| &outcome.noise).copied().fold(0.0, f64::max);
        format!(
            "noise: in {noisy} of {rounds} rounds others used more than {NOISY_CORES} cores, at worst {worst:.2}; a benchmark with \
             noisy rounds is marked with their number"
        )
    }

    fn bars_table(&self, text: &mut String) {
        if !self.bars.iter().any(|bar| self.outcomes.iter().any(|outcome| outcome.bench == bar.bench)) {
            return;
        }
        text.push_str("\n| bar | demanded | measured | met | by the fastest tenths |\n|---|---|---|---|---|\n");
        for bar in self.bars {
            let Some(outcome) = self.outcomes.iter().find(|outcome| outcome.bench == bar.bench) else { continue };
            let (measured, met) = bar.judge(outcome).map_or_else(
                || ("not measured".to_owned(), "–"),
                |verdict| (verdict.measured, if verdict.met { "yes" } else { "**no**" }),
            );
            let demand = bar.demand_text(&outcome.unit);
            let fastest =
                bar.judge(&outcome.of_fastest_tenths()).map_or_else(|| "–".to_owned(), |verdict| verdict.measured);
            line(text, format_args!("| {} | {demand} | {measured} | {met} | {fastest} |", bar.bench));
        }
    }

    fn figures_table(&self, text: &mut String) {
        text.push_str("\n| benchmark | who | median | lowest – highest | fastest tenth | unit | time relative to Sunstar | noisy |\n");
        text.push_str("|---|---|---:|---:|---:|---|---:|---:|\n");
        for outcome in &self.outcomes {
            let own = outcome.row(SUNSTAR);
            for row in &outcome.rows {
                let relative = own.and_then(|own| slowness(outcome, row, own));
                let relative = relative.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
                line(
                    text,
                    format_args!(
                        "| {} | {} | {} | {} | {} | {} | {relative} | {}/{} |",
                        outcome.bench,
                        row.peer,
                        row.median().map_or_else(|| "failed".to_owned(), figure),
                        range(row),
                        row.fastest_median().map_or_else(|| "–".to_owned(), figure),
                        outcome.unit,
                        noisy_rounds(outcome),
                        outcome.noise.len(),
                    ),
                );
            }
        }
    }

    /// The report for programs: every value of every round.
    ///
    /// # Errors
    /// Never in practice: the values are plain.
    pub(super) fn json(&self) -> Result<String> {
        let facts: serde_json::Map<String, Value> =
            self.facts.iter().map(|(name, value)| (name.clone(), Value::from(value.clone()))).collect();
        let outcomes: Vec<Value> = self.outcomes.iter().map(|outcome| self.outcome_json(outcome)).collect();
        let report = json!({
            "command": self.command,
            "facts": facts,
            "rounds": self.rounds,
            "short": self.short,
            "benches": outcomes,
        });
        Ok(serde_json::to_string_pretty(&report)?)
    }

    fn outcome_json(&self, outcome: &Outcome) -> Value {
        let rows: Vec<Value> = outcome
            .rows
            .iter()
            .map(|row| json!({ "peer": row.peer, "median": row.median(), "values": row.values, "fastest_tenths": row.fastest }))
            .collect();
        let bars: Vec<Value> = self
            .bars
            .iter()
            .filter(|bar| bar.bench == outcome.bench)
            .filter_map(|bar| Some((bar, bar.judge(outcome)?)))
            .map(|(bar, verdict)| {
                let fastest = bar.judge(&outcome.of_fastest_tenths()).map(|verdict| verdict.measured);
                json!({
                    "measured_by_fastest_tenths": fastest,
                    "demanded": bar.demand_text(&outcome.unit),
                    "measured": verdict.measured,
                    "met": verdict.met,
                })
            })
            .collect();
        json!({
            "bench": outcome.bench,
            "unit": outcome.unit,
            "cores_used_by_others": outcome.noise,
            "rows": rows,
            "bars": bars,
        })
    }
}

fn noisy_rounds(outcome: &Outcome) -> usize {
    outcome.noise.iter().filter(|cores| **cores > NOISY_CORES).count()
}

fn range(row: &Row) -> String {
    let values = || row.values.iter().flatten().copied();
    match values().min_by(f64::total_cmp).zip(values().max_by(f64::total_cmp)) {
        Some((low, high)) => format!("{} – {}", figure(low), figure(high)),
        None => "–".to_owned(),
    }
}

/// A value with about three digits that mean something.
fn figure(value: f64) -> String {
    let digits = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        0.1.. => 2,
        _ => 4,
    };
    format!("{value:.digits$}")
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("a String takes everything");
}
