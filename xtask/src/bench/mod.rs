//! Benchmarks: Sunstar beside its peers (`reactor`, `http`, and without a word both briefly), the native stack over a
//! TAP (`tap`), and instruction counts as gates (`gates`).

mod bars;
mod contest;
mod gates;
mod http;
mod machine;
mod noise;
mod page;
mod program;
mod reactor;
mod report;
mod statistics;
mod tap;

use clap::{Parser, Subcommand};

use crate::command::Count;

/// Benchmarks; without a command `reactor` and `http` briefly, on one page.
#[derive(Parser)]
#[command(name = "cargo xtask bench")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Measure tasks, timers and messages of Sunstar and its peers in interleaved rounds
    Reactor(reactor::Options),
    /// Measure httpd, nginx, a bare floor and servers on other runtimes under load in interleaved rounds
    Http(http::Options),
    /// Measure httpd's native stack over a TAP that loses packets, or gets very many connections at once, beside the kernel's
    Tap(tap::Options),
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
        Ok(Cli { command: None }) => all_briefly(),
        Ok(Cli { command: Some(Command::Reactor(options)) }) => reactor::run(&options),
        Ok(Cli { command: Some(Command::Http(options)) }) => http::run(&options),
        Ok(Cli { command: Some(Command::Tap(options)) }) => tap::run(&options),
        Ok(Cli { command: Some(Command::Gates(options)) }) => gates::command(&options),
        Err(error) => error.exit(),
    }
}

/// Measures everything for a short time, and makes one page of it: `bench.md` in `target/bench`.
fn all_briefly() -> anyhow::Result<()> {
    let (reactor, http) = (reactor::Options::brief(), http::Options::brief());
    // What `brief` means.
    let commands = ["cargo xtask bench reactor --rounds 3 --short", "cargo xtask bench http --rounds 3 --seconds 1"];
    let mut text = page::head(&machine::command_line())?;
    text.push_str("- short: for a look, not for claims\n");
    for (command, figures) in commands.into_iter().zip([reactor::measure_all(&reactor)?, http::measure_all(&http)?]) {
        text.push_str(&format!("\n# {command}\n\n{figures}"));
    }
    page::write("bench.md", &text)
}
