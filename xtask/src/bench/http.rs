//! `cargo xtask bench http`: httpd beside nginx, a bare floor and equal servers on other runtimes, one server at a time on one
//! processor, the load client on another.

mod bars;
mod half_sent;
pub(super) mod idle;
mod peer;
pub(super) mod server;
mod table;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use self::peer::{Given, Peer, Runtime};
use self::server::Server;
use self::table::Table;
use super::noise::Watch;
use super::{machine, page};
use crate::command::{cargo, program, read, run as run_program, target_dir};

/// The processors of the server and of the load client.
const SERVER_CPU: usize = 0;
const LOAD_CPU: usize = 1;
/// Requests at once on a connection where they are pipelined.
const DEPTH: &str = "16";
/// Connections per second where each has one request. A connection costs the load client more than the server, so a client that asks as
/// often as it can is busy before the server is, and says how many it can make. At a rate below that all servers do the same work.
const CONNECT_RATE: u32 = 15_000;

/// How the benchmark is run.
#[derive(clap::Args)]
pub(super) struct Options {
    /// How often each is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Only loads whose name contains this (may be repeated)
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Another server that answers / (may be repeated): {address}, {port} and {cpu} in the command are replaced; without any
    /// argument it gets `--address IP --port PORT --cpu CPU`
    #[arg(long, value_name = "NAME=COMMAND", value_parser = Given::parse)]
    peer: Vec<Given>,
}

impl Options {
    /// Everything for a look.
    pub(super) fn brief() -> Self {
        Self { rounds: 3, seconds: 1.0, only: Vec::new(), peer: Vec::new() }
    }

    /// The command for that, as far as [`Options::brief`] says it.
    pub(super) fn command(&self) -> String {
        format!("cargo xtask bench http --rounds {} --seconds {}", self.rounds, self.seconds)
    }
}

/// A kind of load, and how the servers are set up for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Load {
    /// Request after request on 64 connections; idle polling off.
    KeepAlive,
    /// Batches of requests on 64 connections; idle polling off.
    Pipelined,
    /// New connections at a fixed rate, each for one request; idle polling off.
    Connect,
    /// One connection, one request at a time; polling as it is by default.
    Latency,
    /// A file of 1 MiB again and again on 8 connections; idle polling off.
    Download,
    /// Request after request on 64 connections by wrk; idle polling off.
    Wrk,
    /// Connections that wait after one request each: memory, once.
    Idle,
    /// Requests at a moderate rate, beside connections that have sent half of a head; idle polling off.
    HalfSent,
}

impl Load {
    const ALL: [Self; 8] = [
        Self::KeepAlive,
        Self::Pipelined,
        Self::Connect,
        Self::Latency,
        Self::Download,
        Self::Wrk,
        Self::Idle,
        Self::HalfSent,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::KeepAlive => "keep-alive",
            Self::Pipelined => "pipelined",
            Self::Connect => "connect",
            Self::Latency => "latency",
            Self::Download => "download",
            Self::Wrk => "wrk",
            Self::Idle => "idle",
            Self::HalfSent => "half-sent",
        }
    }

    fn connections(self) -> &'static str {
        match self {
            Self::KeepAlive | Self::Pipelined | Self::Wrk => "64",
            Self::Connect => "32",
            Self::Latency => "1",
            Self::Download => "8",
            Self::Idle => "15,000",
            Self::HalfSent => "32",
        }
    }

    /// The kind of load in words.
    fn about(self) -> String {
        let connections = self.connections();
        match self {
            Self::Pipelined => format!("{connections} connections, {DEPTH} requests at once on each"),
            Self::Wrk => format!("wrk in the place of http-load, keep-alive, {connections} connections"),
            Self::Latency => "1 connection".to_owned(),
            Self::Connect => format!("{CONNECT_RATE} new connections/s, {connections} at a time at most"),
            Self::HalfSent => {
                format!("10,000 requests/s on {connections} connections, 2,000 beside them within a head")
            }
            Self::KeepAlive | Self::Download | Self::Idle => format!("{connections} connections"),
        }
    }

    /// Whether the servers on other runtimes take part.
    fn has_peers(self) -> bool {
        !matches!(self, Self::Download | Self::Idle | Self::HalfSent)
    }

    /// What is asked for.
    fn path(self) -> &'static str {
        if self == Self::Download { server::FILE_PATH } else { "/" }
    }
}

/// What the load client prints.
#[derive(Clone, Debug, Deserialize)]
struct Figures {
    requests: u64,
    seconds: f64,
    server_us: f64,
    server_busy: f64,
    client_us: f64,
    client_busy: f64,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
}

/// Who takes part, and what the page says about that.
struct Field {
    peers: Vec<Peer>,
    facts: Vec<String>,
}

/// Runs everything and prints the tables; they also go to `http.md` in `target/bench`.
///
/// # Errors
/// If a program can't be built, or a server or the load client fails.
pub(super) fn run(options: &Options) -> Result<()> {
    let section = measure_all(options)?;
    let mut text = page::head(&machine::command_line())?;
    text.push_str(&section);
    page::write("http.md", &text)
}

/// Runs everything and answers the tables with what is to be said about them.
///
/// # Errors
/// If a program can't be built, or a server or the load client fails. That a peer fails or is missing is in the text.
pub(super) fn measure_all(options: &Options) -> Result<String> {
    let is_asked = |load: &Load| options.only.is_empty() || options.only.iter().any(|only| load.name().contains(only));
    let mut loads: Vec<Load> = Load::ALL.into_iter().filter(is_asked).collect();
    ensure!(!loads.is_empty(), "no load's name contains any of {:?}", options.only);
    let Field { peers, mut facts } = field(&options.peer, loads.iter().any(|load| load.has_peers()))?;
    match server::wrk_version() {
        Some(version) => facts.push(format!("wrk: {version}")),
        None if loads.contains(&Load::Wrk) => {
            facts.push("**missing: wrk (Debian's wrk) is not installed, so nothing is measured by it**".to_owned());
            loads.retain(|load| *load != Load::Wrk);
        }
        None => {}
    }
    facts.push(format!(
        "rounds: {} of {} s, interleaved, order rotated; server on processor {SERVER_CPU}, load client (http-load) on {LOAD_CPU}",
        options.rounds, options.seconds
    ));
    let mut text: String = facts.iter().map(|fact| format!("- {fact}\n")).collect();
    for load in loads {
        let section = match load {
            Load::Idle => idle::contest()?,
            Load::HalfSent => half_sent::contest(options)?,
            _ => contest(load, &peers, options)?.markdown(),
        };
        text.push_str(&section);
    }
    Ok(text)
}

/// Builds everybody who takes part, with the other runtimes or without.
fn field(given: &[Given], with_runtimes: bool) -> Result<Field> {
    let packages = ["--package", "httpd", "--package", "sunstar-bench-http"];
    let built = run_program(cargo(&["build", "--release"]).args(packages))?;
    ensure!(built.success, "the programs don't build");
    let runtimes = if with_runtimes { Runtime::build()? } else { Vec::new() };
    let mut facts = vec![format!("nginx: {}", server::nginx_version()?)];
    for name in Runtime::missing(&runtimes).into_iter().filter(|_| with_runtimes) {
        facts.push(format!("**missing: {name} can't be built here, so it is not measured**"));
    }
    facts.extend(given.iter().map(|given| format!("given peer {}", given.text())));
    let others = runtimes.into_iter().map(Peer::Rust).chain(given.iter().cloned().map(Peer::Given));
    let peers = Peer::OURS_AND_BOUNDS.into_iter().chain(others).collect();
    Ok(Field { peers, facts })
}

fn contest(load: Load, peers: &[Peer], options: &Options) -> Result<Table> {
    let has_what_is_asked = |peer: &&Peer| load != Load::Download || peer.has_files();
    let peers: Vec<Peer> = peers.iter().filter(has_what_is_asked).cloned().collect();
    let mut table = Table::new(load, &peers);
    for round in 0..options.rounds as usize {
        let watch = Watch::start();
        for peer in peers.iter().cycle().skip(round % peers.len()).take(peers.len()) {
            let result =
                measure(load, peer, options.seconds).with_context(|| format!("{} under {}", peer.name(), load.name()));
            match result {
                Ok(figures) => {
                    println!("{:<10} {:<20} {figures:?}", load.name(), peer.name());
                    table.add(peer, Ok(figures));
                }
                Err(error) if peer.may_fail() => {
                    println!("{:<10} {:<20} FAILED: {error:#}", load.name(), peer.name());
                    table.add(peer, Err(format!("{error:#}")));
                }
                Err(error) => return Err(error),
            }
        }
        let others = watch.cores_used_by_others();
        println!("{} round {}: others used {others:.2} cores", load.name(), round + 1);
        table.add_noise(others);
    }
    Ok(table)
}

fn measure(load: Load, peer: &Peer, seconds: f64) -> Result<Figures> {
    let server = Server::start(peer, load, SERVER_CPU)?;
    let figures = self::load(load, &server, seconds)?;
    server.stop()?;
    Ok(figures)
}

/// Lets the load client load a server.
fn load(load: Load, server: &Server, seconds: f64) -> Result<Figures> {
    let client = target_dir("release").join("http-load");
    let mut command = program(&client.to_string_lossy(), &[load.name()]);
    command.args(["--address", &server.address().to_string(), "--connections", load.connections(), "--depth", DEPTH]);
    let (seconds, pids, cpu) = (seconds.to_string(), server.pids()?, LOAD_CPU.to_string());
    command.args(["--path", load.path(), "--seconds", &seconds, "--pids", &pids, "--cpu", &cpu]);
    if load == Load::Connect {
        command.args(["--rate", &CONNECT_RATE.to_string()]);
    }
    let output = read(&mut command)?;
    serde_json::from_str(&output).with_context(|| format!("reading `{output}`"))
}
