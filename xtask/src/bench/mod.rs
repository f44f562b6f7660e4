//! Benchmarks: Sunstar beside its peers (`reactor`, `tcp`, `http`, and without a word all briefly), the native stack over a TAP (`tap`,
//! `fair`), millions of its connections (`connections`), the
//! network without the kernel (`bypass`), memcached (`memcached`), the load generator beside others (`seawreck`), and instruction counts as
//! gates (`gates`).

mod bars;
mod bypass;
mod connections;
mod contest;
mod gates;
mod http;
mod machine;
mod memcached;
mod namespace;
mod noise;
mod page;
mod program;
mod report;
mod seawreck;
mod statistics;
mod suite;
mod tap;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
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
    /// Open millions of idle connections of Sunstar's own TCP in one process, and then ask each
    Connections(connections::Options),
    /// Download from httpd's native stack and from the kernel's at once through one bottleneck: how fairly they share it
    Fair(tap::fair::Options),
    /// Measure two processes that a device joins, without the kernel, beside the kernel's best on the same two cores
    Bypass(bypass::Options),
    /// Measure memcached beside the original: processor time, latencies, memory, and what it costs that an item is on another shard
    Memcached(memcached::Options),
    /// Measure seawreck beside wrk, h2load, memcaslap and a bare client on the same servers, and have it hold very many connections
    Seawreck(seawreck::Options),
    /// Count instructions per operation and compare them with bench/gates.toml
    Gates(gates::Options),
}

/// Compares the instruction counts of all gates with the baseline.
///
/// # Errors
/// If they can't be counted. That a gate fails is in the answer.
pub(crate) fn gates() -> Result<Count> {
    gates::run()
}

/// Runs the benchmark that `args` name.
///
/// # Errors
/// If the arguments make no sense, or something can't be built or run. A figure that misses its bar is no error here.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let words = ["cargo xtask bench"].into_iter().chain(args.iter().map(String::as_str));
    match Cli::try_parse_from(words) {
        Ok(Cli { command: None }) => all_briefly(),
        Ok(Cli { command: Some(Command::Reactor(options)) }) => suite::REACTOR.run(&options),
        Ok(Cli { command: Some(Command::Tcp(options)) }) => suite::TCP.run(&options),
        Ok(Cli { command: Some(Command::Http(options)) }) => http::run(&options),
        Ok(Cli { command: Some(Command::Tap(options)) }) => tap::run(&options),
        Ok(Cli { command: Some(Command::Connections(options)) }) => connections::run(&options),
        Ok(Cli { command: Some(Command::Fair(options)) }) => tap::fair::run(&options),
        Ok(Cli { command: Some(Command::Bypass(options)) }) => bypass::run(&options),
        Ok(Cli { command: Some(Command::Memcached(options)) }) => memcached::run(&options),
        Ok(Cli { command: Some(Command::Seawreck(options)) }) => seawreck::run(&options),
        Ok(Cli { command: Some(Command::Gates(options)) }) => gates::command(&options),
        Err(error) => error.exit(),
    }
}

/// Measures everything for a short time, and makes one page of it: `bench.md` in `target/bench`. What fails has its reason there in the
/// place of its figures.
fn all_briefly() -> Result<()> {
    let begun = Instant::now();
    let mut sections = String::new();
    let mut failed = Vec::new();
    for suite in [suite::REACTOR, suite::TCP] {
        let command = suite.brief_command();
        let figures = section(&mut sections, &command, || suite.measure_all(&suite::Options::brief()));
        failed.extend(figures.err().map(|_| command));
    }
    let options = http::Options::brief();
    let command = options.command();
    let figures = section(&mut sections, &command, || http::measure_all(&options));
    failed.extend(figures.err().map(|_| command));
    let mut text = page::head(&machine::command_line())?;
    text.push_str(&format!("- short: for a look, not for claims; took {}\n", minutes(begun.elapsed())));
    text.push_str(&sections);
    page::write("bench.md", &text)?;
    ensure!(failed.is_empty(), "failed, as the page says: {}", failed.join(", "));
    Ok(())
}

/// Adds what a command measures to a page, with the time that it took.
fn section(text: &mut String, command: &str, measure: impl FnOnce() -> Result<String>) -> Result<()> {
    let begun = Instant::now();
    println!("== {command}");
    let measured = measure();
    text.push_str(&format!("\n# {command}\n\n- took: {}, with the builds\n", minutes(begun.elapsed())));
    match &measured {
        Ok(figures) => text.push_str(figures),
        Err(error) => text.push_str(&format!("\n**failed: {error:#}**\n")),
    }
    measured.map(drop)
}

fn minutes(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{} min {} s", seconds / 60, seconds % 60)
}
