//! Benchmarks: Sunstar beside its peers (`reactor`, `http`), and instruction counts as gates (`gates`).

mod bars;
mod contest;
mod gates;
mod http;
mod machine;
mod noise;
mod program;
mod reactor;
mod report;
mod statistics;

use clap::{Parser, Subcommand};

use crate::command::Count;

/// Benchmarks.
#[derive(Parser)]
#[command(name = "cargo xtask bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure tasks, timers and messages of Sunstar and its peers in interleaved rounds
    Reactor(reactor::Options),
    /// Measure httpd, nginx and a bare floor under load in interleaved rounds
    Http(http::Options),
    /// Count instructions per operation and compare them with bench/gates.toml
    Gates(gates::Options),
}

/// Compares the instruction counts of all gates with the baseline.
///
/// # Errors
/// If they can't be counted. That a gate fails is in the answer.
pub(crate) fn gates() -> anyhow::Result<Count> {
    gates::run()
}

/// Runs the benchmark that `args` name.
///
/// # Errors
/// If the arguments make no sense, or something can't be built or run. A figure that misses its bar is no error here.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let words = ["cargo xtask bench"].into_iter().chain(args.iter().map(String::as_str));
    match Cli::try_parse_from(words) {
        Ok(Cli { command: Command::Reactor(options) }) => reactor::run(&options),
        Ok(Cli { command: Command::Http(options) }) => http::run(&options),
        Ok(Cli { command: Command::Gates(options) }) => gates::command(&options),
        Err(error) => error.exit(),
    }
}
