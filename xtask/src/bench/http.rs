//! `cargo xtask bench http`: httpd beside nginx and beside a bare floor, one server at a time on one processor, the load
//! client on another.

mod idle;
mod server;
mod table;

use std::fs;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use self::server::{Peer, Server};
use self::table::Table;
use super::machine;
use super::noise::Watch;
use crate::command::{cargo, program, read, run as run_program, target_dir};

/// The processors of the server and of the load client.
const SERVER_CPU: usize = 0;
const LOAD_CPU: usize = 1;

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
}

/// A kind of load, and how the servers are set up for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Load {
    /// Request after request on 64 connections; idle polling off.
    KeepAlive,
    /// A new connection for each request; idle polling off.
    Connect,
    /// One connection, one request at a time; polling as it is by default.
    Latency,
    /// A file of 1 MiB again and again on 8 connections; idle polling off.
    Download,
    /// Connections that wait after one request each: memory, once.
    Idle,
}

impl Load {
    const ALL: [Self; 5] = [Self::KeepAlive, Self::Connect, Self::Latency, Self::Download, Self::Idle];

    fn name(self) -> &'static str {
        match self {
            Self::KeepAlive => "keep-alive",
            Self::Connect => "connect",
            Self::Latency => "latency",
            Self::Download => "download",
            Self::Idle => "idle",
        }
    }

    fn connections(self) -> &'static str {
        match self {
            Self::KeepAlive => "64",
            Self::Connect => "32",
            Self::Latency => "1",
            Self::Download => "8",
            Self::Idle => "15,000",
        }
    }

    /// What is asked for.
    fn path(self) -> &'static str {
        if self == Self::Download { server::FILE_PATH } else { "/" }
    }

    /// Who is measured: the floor has no files, and keeps nothing of its connections.
    fn peers(self) -> impl Iterator<Item = Peer> + Clone {
        Peer::ALL.into_iter().filter(move |&peer| !matches!(self, Self::Download | Self::Idle) || peer != Peer::Floor)
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

/// Runs everything and prints the tables; they also go to `http.md` in `target/bench`.
///
/// # Errors
/// If a program can't be built, or a server or the load client fails.
pub(super) fn run(options: &Options) -> Result<()> {
    build()?;
    let is_asked = |load: &Load| options.only.is_empty() || options.only.iter().any(|only| load.name().contains(only));
    let loads: Vec<Load> = Load::ALL.into_iter().filter(is_asked).collect();
    ensure!(!loads.is_empty(), "no load's name contains any of {:?}", options.only);
    let mut text = format!("# {}\n\n", machine::command_line());
    for (name, value) in machine::describe()?.into_iter().chain([("nginx".to_owned(), server::nginx_version()?)]) {
        text.push_str(&format!("- {name}: {value}\n"));
    }
    text.push_str(&format!(
        "- rounds: {} of {} s, interleaved, order rotated; server on processor {SERVER_CPU}, load client (http-load) on {LOAD_CPU}\n",
        options.rounds, options.seconds
    ));
    for load in loads {
        let table = if load == Load::Idle { idle::contest()? } else { contest(load, options)?.markdown() };
        text.push_str(&table);
    }
    let folder = target_dir("bench");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let path = folder.join("http.md");
    fs::write(&path, &text).with_context(|| format!("writing {}", path.display()))?;
    println!("\n{text}\nwritten to {}", path.display());
    Ok(())
}

fn build() -> Result<()> {
    let packages = ["--package", "httpd", "--package", "sunstar-bench-http"];
    let built = run_program(cargo(&["build", "--release"]).args(packages))?;
    ensure!(built.success, "the programs don't build");
    Ok(())
}

fn contest(load: Load, options: &Options) -> Result<Table> {
    let mut table = Table::new(load);
    for round in 0..options.rounds as usize {
        let watch = Watch::start();
        let count = load.peers().count();
        for peer in load.peers().cycle().skip(round % count).take(count) {
            let figures = measure(load, peer, options.seconds)
                .with_context(|| format!("{} under {}", peer.name(), load.name()))?;
            println!("{:<10} {:<18} {figures:?}", load.name(), peer.name());
            table.add(peer, figures);
        }
        let others = watch.cores_used_by_others();
        println!("{} round {}: others used {others:.2} cores", load.name(), round + 1);
        table.add_noise(others);
    }
    Ok(table)
}

fn measure(load: Load, peer: Peer, seconds: f64) -> Result<Figures> {
    let server = Server::start(peer, load, SERVER_CPU)?;
    let client = target_dir("release").join("http-load");
    let mut command = program(&client.to_string_lossy(), &[load.name()]);
    command.args(["--address", &server.address().to_string(), "--connections", load.connections()]);
    command.args([
        "--path",
        load.path(),
        "--seconds",
        &seconds.to_string(),
        "--pids",
        &server.pids()?,
        "--cpu",
        &LOAD_CPU.to_string(),
    ]);
    let output = read(&mut command)?;
    server.stop()?;
    serde_json::from_str(&output).with_context(|| format!("reading `{output}`"))
}
