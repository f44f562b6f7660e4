//! `cargo xtask bench reactor` and `tcp`: builds the programs, runs the rounds, writes the report.

use anyhow::{Result, ensure};

use super::bars::{self, Bar};
use super::contest::{Contest, Contestant};
use super::program::Program;
use super::report::Report;
use super::{machine, page};

/// Benchmarks that belong together: their programs and what their figures have to show.
#[derive(Debug)]
pub(super) struct Suite {
    name: &'static str,
    programs: fn() -> Result<[Program; 2]>,
    bars: &'static [Bar],
}

/// Tasks, timers and messages.
pub(super) const REACTOR: Suite =
    Suite { name: "reactor", programs: || Ok([Program::sunstar()?, Program::peers()?]), bars: &bars::REACTOR };

/// TCP with both ends on one core.
pub(super) const TCP: Suite =
    Suite { name: "tcp", programs: || Ok([Program::sunstar_tcp()?, Program::tcp_peers()?]), bars: &bars::TCP };

/// How the benchmarks are run.
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

impl Suite {
    /// Runs everything and prints the tables; they also go to a page and a JSON file of the suite's name in `target/bench`.
    ///
    /// # Errors
    /// If a program can't be built or listed, nothing matches, or the report can't be written. A run that fails is reported as such.
    pub(super) fn run(&self, options: &Options) -> Result<()> {
        let figures = self.measure_all(options)?;
        page::write(&format!("{}.md", self.name), &format!("{}{figures}", page::head(&machine::command_line())?))
    }

    /// Runs everything and answers the tables with what is to be said about them; every value goes to the JSON file.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub(super) fn measure_all(&self, options: &Options) -> Result<String> {
        let contests = contests(&(self.programs)()?, options)?;
        ensure!(!contests.is_empty(), "no benchmark's name contains any of {:?}", options.only);
        let outcomes = contests.iter().flat_map(|contest| contest.run(options)).collect();
        let report = Report::new(machine::describe()?, machine::command_line(), options, outcomes, self.bars);
        page::write_quietly(&format!("{}.json", self.name), &report.json()?)?;
        Ok(report.markdown())
    }

    /// The command for a short run of everything.
    pub(super) fn brief_command(&self) -> String {
        format!("cargo xtask bench {} --rounds {} --short", self.name, Options::brief().rounds)
    }
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
