//! `cargo xtask bench tap`: httpd on the native stack over a TAP beside httpd on the kernel's sockets over a pair of virtual
//! interfaces, on links that lose packets, and when very many connections are opened at once.

pub(super) mod fair;
mod server;
mod table;
mod world;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use self::server::Server;
use self::world::World;
use super::http::idle;
use super::noise::Watch;
use super::{machine, namespace, page};
use crate::command::{cargo, program, read, run as run_program, target_dir};

/// The processors of the server and of the load client.
const SERVER_CPU: usize = 0;
const LOAD_CPU: usize = 1;
/// Connections of the closed loop.
const CONNECTIONS: &str = "64";
/// Losses in a thousand packets, each way.
const LOSSES: [u32; 3] = [0, 1, 10];
const PATHS: [&str; 2] = ["/", server::FILE_PATH];
/// Connections that are opened at once. A process may open a few more descriptors on most machines.
const CROWDS: [u32; 2] = [4_000, 15_000];
/// So many seconds after the first of them all must be served.
const CROWD_SECONDS: &str = "20";
/// Connections per second beside the flood.
const FLOODED_RATE: u32 = 1_000;

/// What the losses are losses of.
const UNIT_OF_LOSS: &str = "- what is lost, each way: single packets of at most one MTU, on both sides. `--fault` draws for each packet \
     that a large one stands for, and lets it through whole if all of them get through; so both stacks send large packets. nft can't look \
     into those, so the kernel cuts them before its pair of interfaces (GSO on; TSO and GRO off)\n";

/// How the benchmark is run.
#[derive(clap::Args)]
pub(super) struct Options {
    /// How often each is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Only contests whose name contains this (may be repeated)
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// SYNs of the flood per second
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..))]
    syns: u32,
}

/// Whose TCP/IP serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Native,
    /// Only beside floods, where a packet's way to the stack is most of what it costs.
    Xdp,
    Kernel,
}

impl Side {
    /// Who is asked that.
    fn all(contest: Contest) -> &'static [Self] {
        match contest {
            Contest::Flood { .. } => &[Self::Native, Self::Xdp, Self::Kernel],
            _ => &[Self::Native, Self::Kernel],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Native => "native, TAP",
            Self::Xdp => "native, AF_XDP",
            Self::Kernel => "kernel, veth",
        }
    }
}

/// What is asked of both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Contest {
    /// Request after request on 64 connections, over a link that loses so many of a thousand packets.
    Loss { per_mille: u32, path: &'static str },
    /// So many connections at once, with one request on each.
    AtOnce(u32),
    /// Connections at a fixed rate, without and beside a flood of SYNs from addresses that nobody has.
    Flood { syns: u32 },
    /// Connections that wait after one request each: memory, once.
    Idle,
}

impl Contest {
    fn all(syns: u32) -> Vec<Self> {
        let losses = PATHS.iter().flat_map(|path| LOSSES.map(|per_mille| Self::Loss { per_mille, path }));
        losses.chain(CROWDS.map(Self::AtOnce)).chain([Self::Flood { syns }, Self::Idle]).collect()
    }

    fn name(self) -> String {
        match self {
            Self::Loss { per_mille, path } => format!("loss {} {path}", f64::from(per_mille) / 1e3),
            Self::AtOnce(count) => format!("at once {count}"),
            Self::Flood { syns } => format!("flood {syns}"),
            Self::Idle => format!("idle {}", idle::CONNECTIONS),
        }
    }
}

/// What the load client prints about a closed loop.
#[derive(Clone, Debug, Deserialize)]
struct Figures {
    requests: u64,
    seconds: f64,
    server_us: f64,
    p50_us: f64,
    p99_us: f64,
}

/// What it prints about connections that are opened at once.
#[derive(Clone, Debug, Deserialize)]
struct Crowd {
    served: u32,
    refused: u32,
    reset: u32,
    timed_out: u32,
    asking_ms: f64,
    all_ms: f64,
    connect_p50_ms: f64,
    connect_max_ms: f64,
}

/// What it prints about a flood.
#[derive(Clone, Debug, Deserialize)]
struct Flooded {
    without: Phase,
    with: Phase,
    server_us_per_syn: f64,
}

/// What clients saw meanwhile.
#[derive(Clone, Debug, Deserialize)]
struct Phase {
    asked: u32,
    served: u32,
    p50_us: f64,
    p99_us: f64,
    syns_per_second: f64,
    server_busy: f64,
}

/// Runs everything and prints the tables; they also go to `tap.md` in `target/bench`.
///
/// # Errors
/// If a program can't be built or is missing, there may be no network namespaces, or a server or the load client fails.
pub(super) fn run(options: &Options) -> Result<()> {
    let contests: Vec<Contest> =
        Contest::all(options.syns).into_iter().filter(|contest| options.asks_for(*contest)).collect();
    ensure!(!contests.is_empty(), "no contest's name contains any of {:?}", options.only);
    if !namespace::is_inside() {
        let packages = ["--package", "httpd", "--package", "sunstar-bench-http"];
        let built = run_program(cargo(&["build", "--release"]).args(packages))?;
        ensure!(built.success, "the programs don't build");
        return namespace::enter(world::PROGRAMS);
    }
    let world = World::new()?;
    let mut text = page::head(&machine::command_line())?;
    text.push_str(&format!("- congestion control of the kernel, and of the native stack: {}\n", world::CONGESTION));
    text.push_str(UNIT_OF_LOSS);
    text.push_str(&format!(
        "- rounds: {} of {} s, interleaved, order rotated; server on processor {SERVER_CPU}, load client (http-load) on {LOAD_CPU}\n",
        options.rounds, options.seconds
    ));
    text.push_str(&measure_all(&world, &contests, options)?);
    page::write("tap.md", &text)
}

impl Options {
    fn asks_for(&self, contest: Contest) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| contest.name().contains(only))
    }
}

fn measure_all(world: &World, contests: &[Contest], options: &Options) -> Result<String> {
    let mut losses = table::Losses::default();
    let mut crowds = table::Crowds::default();
    let mut floods = table::Floods::new(options.syns);
    let mut memory = Vec::new();
    for round in 0..options.rounds as usize {
        let watch = Watch::start();
        for &contest in contests {
            let sides = Side::all(contest);
            for &side in sides.iter().cycle().skip(round % sides.len()).take(sides.len()) {
                let what = || format!("{} under {}", side.name(), contest.name());
                match contest {
                    Contest::Loss { per_mille, path } => {
                        let figures = loop_on(world, side, per_mille, path, round, options).with_context(what)?;
                        println!("{} {figures:?}", what());
                        losses.add(contest, side, figures);
                    }
                    Contest::AtOnce(count) => {
                        let crowd = at_once(world, side, count).with_context(what)?;
                        println!("{} {crowd:?}", what());
                        crowds.add(count, side, crowd);
                    }
                    Contest::Flood { .. } => {
                        let flooded = flood(world, side, options).with_context(what)?;
                        println!("{} {flooded:?}", what());
                        floods.add(side, flooded);
                    }
                    Contest::Idle if round > 0 => {}
                    Contest::Idle => {
                        let server = Server::start(world, side, 0, 0)?;
                        let figures = idle::memory(server.address, &server.pid().to_string()).with_context(what)?;
                        server.stop()?;
                        memory.push((side, figures));
                    }
                }
            }
        }
        let others = watch.cores_used_by_others();
        println!("round {}: others used {others:.2} cores", round + 1);
        losses.add_noise(others);
    }
    Ok(losses.markdown() + &crowds.markdown() + &floods.markdown() + &table::memory(&memory))
}

fn loop_on(world: &World, side: Side, per_mille: u32, path: &str, round: usize, options: &Options) -> Result<Figures> {
    let mut server = Server::start(world, side, per_mille, round + 1)?;
    let seconds = options.seconds.to_string();
    let figures = load(&mut server, "keep-alive", CONNECTIONS, path, &seconds)?;
    server.stop()?;
    Ok(figures)
}

fn at_once(world: &World, side: Side, count: u32) -> Result<Crowd> {
    let mut server = Server::start(world, side, 0, 0)?;
    let crowd = load(&mut server, "at-once", &count.to_string(), "/", CROWD_SECONDS)?;
    server.stop()?;
    Ok(crowd)
}

/// What clients see of a server as it is by default, and the processor time of one that does not look for work before it sleeps: the time
/// in which it only looks belongs to no SYN.
fn flood(world: &World, side: Side, options: &Options) -> Result<Flooded> {
    let seen = flood_on(world, side, options, &[])?;
    let counted = flood_on(world, side, options, &["--idle-poll-time-us", "0"])?;
    let with = Phase { server_busy: counted.with.server_busy, ..seen.with };
    Ok(Flooded { with, server_us_per_syn: counted.server_us_per_syn, ..seen })
}

fn flood_on(world: &World, side: Side, options: &Options, of_server: &[&str]) -> Result<Flooded> {
    let mut server = Server::start_with(world, side, 0, 0, of_server)?;
    let arguments = ["--rate", &FLOODED_RATE.to_string(), "--syns", &options.syns.to_string()];
    let flooded = load_with(&mut server, "syn-flood", CONNECTIONS, "/", &options.seconds.to_string(), &arguments)?;
    server.stop()?;
    Ok(flooded)
}

/// Lets the load client load a server. If that fails, the server's log tells what it saw of it.
fn load<T: DeserializeOwned>(
    server: &mut Server,
    mode: &str,
    connections: &str,
    path: &str,
    seconds: &str,
) -> Result<T> {
    load_with(server, mode, connections, path, seconds, &[])
}

fn load_with<T: DeserializeOwned>(
    server: &mut Server,
    mode: &str,
    connections: &str,
    path: &str,
    seconds: &str,
    arguments: &[&str],
) -> Result<T> {
    let client = target_dir("release").join("http-load");
    let mut command = program(&client.to_string_lossy(), &[mode, "--latencies", "--connections", connections]);
    command.args(arguments);
    command.args(["--address", &server.address.to_string(), "--path", path, "--seconds", seconds]);
    command.args(["--pids", &server.pid().to_string(), "--cpu", &LOAD_CPU.to_string()]);
    let output = read(&mut command).with_context(|| server.last_words())?;
    serde_json::from_str(&output).with_context(|| format!("reading `{output}`"))
}
