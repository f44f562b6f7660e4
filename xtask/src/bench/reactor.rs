//! `cargo xtask bench reactor`: builds the programs, runs the rounds, writes the report.

use anyhow::{Result, ensure};

use super::contest::{Contest, Contestant};
use super::program::Program;
use super::report::Report;
use super::{bars, machine, page};

/// How the benchmark is run.
#[derive(clap::Args)]
pub(super) struct Options {
    /// How often each is measured
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rounds: u32,
    /// Measure briefly: shorter runs, a tenth of the timers
    #[arg(long)]
    pub(super) short: bool,
    /// Only benchmarks whose name contains this (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub(super) only: Vec<String>,
}

impl Options {
    /// Everything for a look.
    pub(super) fn brief() -> Self {
        Self { rounds: 3, short: true, only: Vec::new() }
    }
}

/// Runs everything and prints the tables; they also go to `reactor.md` and `reactor.json` in `target/bench`.
///
/// # Errors
/// If a program can't be built or listed, nothing matches, or the report can't be written. A run that fails is reported as such.
pub(super) fn run(options: &Options) -> Result<()> {
    let figures = measure_all(options)?;
    page::write("reactor.md", &format!("{}{figures}", page::head(&machine::command_line())?))
}

/// Runs everything and answers the tables with what is to be said about them; every value goes to `reactor.json`.
///
/// # Errors
/// As for [`run`].
pub(super) fn measure_all(options: &Options) -> Result<String> {
    let programs = [Program::sunstar()?, Program::peers()?];
    let contests = contests(&programs, options)?;
    ensure!(!contests.is_empty(), "no benchmark's name contains any of {:?}", options.only);
    let outcomes = contests.iter().flat_map(|contest| contest.run(options)).collect();
    let report = Report::new(machine::describe()?, machine::command_line(), options, outcomes, &bars::REACTOR);
    page::write_quietly("reactor.json", &report.json()?)?;
    Ok(report.markdown())
}

/// The benchmarks asked for, each with everybody to whom it applies, in the order of the lists.
fn contests(programs: &[Program], options: &Options) -> Result<Vec<Contest>> {
    let mut contests: Vec<Contest> = Vec::new();
    for program in programs {
        for (peer, bench) in program.list()? {
            if !options.only.is_empty() && !options.only.iter().any(|only| bench.contains(only.as_str())) {
                continue;
            }
            let contestant = Contestant { program: program.clone(), peer };
            match contests.iter_mut().find(|contest| contest.bench == bench) {
                Some(contest) => contest.contestants.push(contestant),
                None => contests.push(Contest { bench, contestants: vec![contestant] }),
            }
        }
    }
    Ok(contests)
}
