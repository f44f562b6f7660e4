//! Load generators beside each other: each loads the same HTTP server on this program's processor, and what it has cost, has counted and says
//! of latencies is printed in one manner.

mod bare;
mod child;
mod h2load;
mod seawreck;
mod wrk;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use serde::Serialize;
use sunstar_bench_http::{cpu, target};

/// Has a load generator load an HTTP server with one request at a time on each connection, and prints a line of JSON.
#[derive(Parser)]
struct Cli {
    generator: Generator,
    #[arg(long, default_value = "127.0.0.1:10000")]
    address: SocketAddr,
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Requests per second of all connections, for those who can
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// How long
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// The server's processes, whose processor time is counted
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
    /// The processor for the load generator
    #[arg(long)]
    cpu: Option<usize>,
    /// Where seawreck is
    #[arg(long, value_name = "FILE")]
    seawreck: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Generator {
    /// One epoll instance that sends, waits and receives, and looks at nothing
    Bare,
    /// seawreck by epoll
    SeawreckEpoll,
    /// seawreck by io_uring
    SeawreckUring,
    Wrk,
    H2load,
}

/// What is asked of whom.
struct Load {
    address: SocketAddr,
    connections: u32,
    rate: Option<u32>,
    seconds: u32,
}

impl Load {
    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

/// What a load generator says.
#[derive(Debug, Default, PartialEq)]
struct Said {
    requests: u64,
    seconds: f64,
    /// Latencies at 50, 90 and 99 of a hundred, in microseconds, as they were.
    latencies_us: Option<[f64; 3]>,
    /// The same of a closed loop as wrk shows them.
    corrected_us: Option<[f64; 3]>,
    /// Whether it says itself that it had no time left.
    is_saturated: bool,
}

/// What is printed.
#[derive(Serialize)]
struct Figures {
    requests: u64,
    seconds: f64,
    /// Processor time of the server per request, in microseconds.
    server_us: f64,
    /// Processor time of the server per second: 1 is one busy processor.
    server_busy: f64,
    client_us: f64,
    client_busy: f64,
    latencies_us: Option<[f64; 3]>,
    corrected_us: Option<[f64; 3]>,
    is_saturated: bool,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    if let Some(cpu) = cli.cpu {
        cpu::pin(cpu)?;
    }
    let load = Load { address: cli.address, connections: cli.connections, rate: cli.rate, seconds: cli.seconds };
    let can_pace = !matches!(cli.generator, Generator::Bare | Generator::Wrk);
    ensure!(can_pace || load.rate.is_none(), "{:?} sends as fast as it is answered", cli.generator);
    // A server that answers something else is not to be measured.
    target::response_bytes(load.address, &target::request(load.address, "/", true), 1)?;
    let seawreck = || cli.seawreck.as_deref().context("--seawreck says where it is");
    let begin = child::Begin::now(&cli.pids)?;
    let said = match cli.generator {
        Generator::Bare => bare::run(&load)?,
        Generator::SeawreckEpoll => seawreck::run(&load, seawreck()?, "epoll", cli.cpu)?,
        Generator::SeawreckUring => seawreck::run(&load, seawreck()?, "io_uring", cli.cpu)?,
        Generator::Wrk => wrk::run(&load)?,
        Generator::H2load => h2load::run(&load)?,
    };
    let spent = begin.end(&cli.pids)?;
    ensure!(said.requests > 0, "no request was answered");
    let each = |seconds: f64| seconds * 1e6 / said.requests as f64;
    let figures = Figures {
        requests: said.requests,
        seconds: said.seconds,
        server_us: each(spent.server),
        server_busy: spent.server / spent.elapsed,
        client_us: each(spent.client),
        client_busy: spent.client / spent.elapsed,
        latencies_us: said.latencies_us,
        corrected_us: said.corrected_us,
        is_saturated: said.is_saturated,
    };
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}
