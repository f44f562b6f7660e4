//! `cargo xtask bench seawreck`: the load generator beside others and a bare one, on the same server, one at a time; and how many connections it
//! holds.

mod bars;
mod generators;
mod idle;
mod memcached;
mod table;

use anyhow::{Result, ensure};

use self::generators::Generator;
use super::{machine, page};
use crate::command::{cargo, exists, run as run_program};

/// The processors of the server and of the load generator.
const SERVER_CPU: usize = 0;
const LOAD_CPU: usize = 1;

/// How the benchmark is run.
#[derive(clap::Args)]
pub(super) struct Options {
    /// How often each is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Only contests whose name contains this (may be repeated): closed, one, delayed, open, memcached, idle
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// How many connections are held in `idle`
    #[arg(long, default_value_t = 64_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    connections: u32,
}

/// A way to load a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Contest {
    /// Request after request on 64 connections.
    Closed,
    /// Request after request on one connection.
    One,
    /// The same as `Closed` at a server whose latencies are known.
    Delayed,
    /// At a rate that leaves both sides time.
    Open,
}

impl Contest {
    const ALL: [Self; 4] = [Self::Closed, Self::One, Self::Delayed, Self::Open];

    fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::One => "one",
            Self::Delayed => "delayed",
            Self::Open => "open",
        }
    }

    fn about(self) -> String {
        match self {
            Self::Closed => "httpd, 64 connections, request after request".to_owned(),
            Self::One => "httpd, 1 connection, request after request".to_owned(),
            Self::Delayed => {
                "a server that waits for 2 ms with 60 of 100 requests, 3 with 37 and 4 with 3; 64 connections, request after request"
                    .to_owned()
            }
            Self::Open => format!("httpd, {OPEN_RATE} requests/s on 64 connections"),
        }
    }

    fn connections(self) -> u32 {
        match self {
            Self::Closed | Self::Delayed | Self::Open => 64,
            Self::One => 1,
        }
    }

    fn rate(self) -> Option<u32> {
        (self == Self::Open).then_some(OPEN_RATE)
    }

    fn generators(self) -> &'static [Generator] {
        match self {
            Self::Closed => &[
                Generator::Bare,
                Generator::SeawreckEpoll,
                Generator::SeawreckUring,
                Generator::Wrk,
                Generator::H2load,
            ],
            Self::One | Self::Delayed => &[Generator::SeawreckEpoll, Generator::SeawreckUring, Generator::Wrk],
            Self::Open => &[Generator::SeawreckEpoll, Generator::SeawreckUring, Generator::H2load],
        }
    }
}

/// Requests per second of the open loop, which are whole ones on each connection.
const OPEN_RATE: u32 = 19_200;

/// Runs everything and prints the tables; they also go to `seawreck.md` in `target/bench`, and those of a run of everything to
/// `docs/benchmarks.md`.
///
/// # Errors
/// If a program can't be built, or a server or a load generator fails.
pub(super) fn run(options: &Options) -> Result<()> {
    let is_asked = |name: &str| options.only.is_empty() || options.only.iter().any(|only| name.contains(&**only));
    let contests: Vec<Contest> = Contest::ALL.into_iter().filter(|contest| is_asked(contest.name())).collect();
    let [has_memcached, has_idle] = ["memcached", "idle"].map(is_asked);
    ensure!(!contests.is_empty() || has_memcached || has_idle, "no contest's name contains any of {:?}", options.only);
    let packages = ["--package", "httpd", "--package", "seawreck", "--package", "sunstar-bench-http"];
    ensure!(run_program(cargo(&["build", "--release"]).args(packages))?.success, "the programs don't build");
    let mut text = page::brief_head(&machine::command_line())?;
    text.push_str(&format!(
        "- rounds: {} of {} s, interleaved, order rotated; server on processor {SERVER_CPU}, load generator on {LOAD_CPU}; nobody polls while idle\n",
        options.rounds, options.seconds
    ));
    for missing in ["wrk", "h2load", "memcached", "memcaslap"].into_iter().filter(|program| !exists(program)) {
        text.push_str(&format!("- **missing: {missing} is not installed, so nothing is measured by it**\n"));
    }
    for contest in contests {
        text.push_str(&generators::contest(contest, options)?);
    }
    if has_memcached && exists("memcached") && exists("memcaslap") {
        text.push_str(&memcached::contest(options)?);
    }
    if has_idle {
        text.push_str(&idle::contest(options.connections)?);
    }
    page::write("seawreck.md", &text)?;
    // Only a whole one takes the place of a whole one.
    if options.only.is_empty() {
        page::publish("seawreck", &page::as_section("seawreck beside other load generators", &text))
    } else {
        Ok(())
    }
}
