//! Benchmarks: Sunstar beside its peers (`reactor`, `tcp`, `http`, and without a word all briefly), the native stack over a TAP (`tap`),
//! and instruction counts as gates (`gates`).

mod bars;
mod contest;
mod gates;
mod http;
mod machine;
mod noise;
mod page;
mod program;
mod report;
mod statistics;
mod suite;
mod tap;

use clap::{Parser, Subcommand};

use crate::command::Count;

/// Benchmarks; without a command `reactor`, `tcp` and `http` briefly, on one page.
#[derive(Parser)]
#[command(name = "cargo xtask bench")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Measure tasks, timers and messages of Sunstar and its peers in interleaved rounds
    Reactor(suite::Options),
    /// Measure TCP with both ends on one core: Sunstar's, Linux's, smoltcp's and lwIP's in interleaved rounds
    Tcp(suite::Options),
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
        Ok(Cli { command: Some(Command::Reactor(options)) }) => suite::REACTOR.run(&options),
        Ok(Cli { command: Some(Command::Tcp(options)) }) => suite::TCP.run(&options),
        Ok(Cli { command: Some(Command::Http(options)) }) => http::run(&options),
        Ok(Cli { command: Some(Command::Tap(options)) }) => tap::run(&options),
        Ok(Cli { command: Some(Command::Gates(options)) }) => gates::command(&options),
        Err(error) => error.exit(),
    }
}

/// Measures everything for a short time, and makes one page of it: `bench.md` in `target/bench`.
fn all_briefly() -> anyhow::Result<()> {
    let mut text = page::head(&machine::command_line())?;
    text.push_str("- short: for a look, not for claims\n");
    let mut add = |command: &str, figures: String| text.push_str(&format!("\n# {command}\n\n{figures}"));
    for suite in [suite::REACTOR, suite::TCP] {
        add(&suite.brief_command(), suite.measure_all(&suite::Options::brief())?);
    }
    // What `brief` means.
    add("cargo xtask bench http --rounds 3 --seconds 1", http::measure_all(&http::Options::brief())?);
    page::write("bench.md", &text)
}
