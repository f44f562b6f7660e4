//! The load client: closed loops over one or many connections from one thread, made to cost less than the server.

#[path = "../load/at_once.rs"]
mod at_once;
#[path = "../load/connect.rs"]
mod connect;
#[path = "../load/download.rs"]
mod download;
#[path = "../load/frames.rs"]
mod frames;
#[path = "../load/half_sent.rs"]
mod half_sent;
#[path = "../load/keep_alive.rs"]
mod keep_alive;
#[path = "../load/latency.rs"]
mod latency;
#[path = "../load/paced.rs"]
mod paced;
#[path = "../load/syn_flood.rs"]
mod syn_flood;
#[path = "../load/wrk.rs"]
mod wrk;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use serde::Serialize;
use sunstar_bench_http::{cpu, target};

/// Requests per second where others stay within a head.
const RATE: u32 = 10_000;

/// Loads an HTTP server and prints a line of JSON.
#[derive(Parser)]
struct Cli {
    /// What each connection does
    mode: Mode,
    #[arg(long, default_value = "127.0.0.1:10000")]
    address: SocketAddr,
    #[arg(long, default_value = "/")]
    path: String,
    /// Connections at a time (`latency` uses one)
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Count the time that each request takes (for `keep-alive`), which costs the client two looks at the clock
    #[arg(long)]
    latencies: bool,
    /// Requests of a batch (for `pipelined`)
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=64))]
    depth: u16,
    /// Requests per second over all connections: for `half-sent` and `syn-flood`, 10000 by default, and for `connect`, which without it asks as
    /// often as it can
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// SYNs per second of the flood (for `syn-flood`)
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..))]
    syns: u32,
    /// Connections that stay within a head (for `half-sent`)
    #[arg(long, default_value_t = 2000)]
    half_sent: usize,
    /// Measured time, after a tenth of it for warming up; with `half-sent` of each of three measurements
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// The server's processes, whose processor time is counted
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
    /// The processor for this client
    #[arg(long)]
    cpu: Option<usize>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// Request after request on each connection
    KeepAlive,
    /// Requests in batches of `--depth` on each connection
    Pipelined,
    /// A new connection for each request, which the server closes
    Connect,
    /// One connection, one request at a time; the client spins
    Latency,
    /// Request after request on each connection, for large responses that nobody looks at
    Download,
    /// Requests at a fixed rate, before, beside and after connections that send half of a head and wait to be ended; latencies
    /// count from when a request was due
    HalfSent,
    /// wrk instead of this client, request after request on each connection
    Wrk,
    /// All connections opened at once, each for one request; nobody closes before all are served, or are not within `--seconds`
    AtOnce,
    /// Connections opened at a fixed rate, one request on each, without and beside a flood of SYNs; needs a raw socket
    SynFlood,
}

/// What is asked of whom.
pub(crate) struct Load<'a> {
    address: SocketAddr,
    /// What a connection sends at once.
    request: &'a [u8],
    /// How many bytes are answered.
    response: usize,
    connections: usize,
}

/// What was measured within the window.
#[derive(Serialize)]
pub(crate) struct Figures {
    requests: u64,
    seconds: f64,
    /// Processor time of the server per request, in microseconds.
    server_us: f64,
    /// Processor time of the server per second: 1 is one busy processor.
    server_busy: f64,
    client_us: f64,
    client_busy: f64,
    /// Latencies in microseconds; for `latency`, and with `--latencies`.
    p50_us: Option<f64>,
    p99_us: Option<f64>,
}

/// When to warm up, when to measure, when to end.
pub(crate) struct Window {
    pids: Vec<u32>,
    created: Instant,
    begin: Instant,
    end: Instant,
    started: Option<Start>,
    figures: Option<Figures>,
}

struct Start {
    at: Instant,
    requests: u64,
    server: Duration,
    client: Duration,
}

impl Window {
    fn new(pids: Vec<u32>, seconds: f64) -> Self {
        let now = Instant::now();
        let warm_up = Duration::from_secs_f64(seconds / 10.0);
        let (begin, end) = (now + warm_up, now + warm_up + Duration::from_secs_f64(seconds));
        Self { pids, created: now, begin, end, started: None, figures: None }
    }

    /// Begins now: what was done before, such as connecting, does not shorten the time that is measured.
    pub(crate) fn open(&mut self) {
        let waited = Instant::now() - self.created;
        self.created += waited;
        self.begin += waited;
        self.end += waited;
    }

    /// Whether the time for warming up is over.
    pub(crate) fn is_measuring(&self) -> bool {
        self.started.is_some()
    }

    /// Told now and then how many requests there were; answers whether to go on.
    pub(crate) fn goes_on(&mut self, requests: u64) -> Result<bool> {
        let now = Instant::now();
        if self.started.is_none() && now >= self.begin {
            self.started = Some(Start {
                at: now,
                requests,
                server: cpu::of_processes(&self.pids)?,
                client: cpu::of_process(std::process::id())?,
            });
        }
        if now < self.end {
            return Ok(true);
        }
        let start = self.started.as_ref().expect("the window began before it ends");
        let count = requests - start.requests;
        ensure!(count > 0, "no answer was counted within the measured time: is it too short?");
        let seconds = (now - start.at).as_secs_f64();
        let server = (cpu::of_processes(&self.pids)? - start.server).as_secs_f64();
        let client = (cpu::of_process(std::process::id())? - start.client).as_secs_f64();
        let each = |time: f64| time * 1e6 / count as f64;
        self.figures = Some(Figures {
            requests: count,
            seconds,
            server_us: each(server),
            server_busy: server / seconds,
            client_us: each(client),
            client_busy: client / seconds,
            p50_us: None,
            p99_us: None,
        });
        Ok(false)
    }
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    ensure!(cli.connections > 0, "--connections must be at least 1");
    if let Some(cpu) = cli.cpu {
        cpu::pin(cpu)?;
    }
    let keeps = !matches!(cli.mode, Mode::Connect);
    let request = target::request(cli.address, &cli.path, keeps);
    let depth = if matches!(cli.mode, Mode::Pipelined) { cli.depth } else { 1 };
    let batch = request.repeat(depth.into());
    let response = target::response_bytes(cli.address, &batch, depth)?;
    let mut window = Window::new(cli.pids, cli.seconds);
    let mut latencies = Vec::new();
    let answers = response * usize::from(depth);
    let load = Load { address: cli.address, request: &batch, response: answers, connections: cli.connections };
    match cli.mode {
        Mode::KeepAlive | Mode::Pipelined => {
            latencies = keep_alive::run(&load, depth, cli.latencies, &mut window)?;
        }
        Mode::Connect => connect::run(&load, cli.rate, &mut window)?,
        Mode::Download => download::run(&load, &mut window)?,
        Mode::Latency => latencies = latency::run(&load, &mut window)?,
        Mode::HalfSent => {
            return print(&half_sent::run(&load, cli.rate.unwrap_or(RATE), cli.half_sent, cli.seconds)?);
        }
        Mode::AtOnce => return print(&at_once::run(&load, cli.seconds)?),
        Mode::SynFlood => {
            let rate = cli.rate.unwrap_or(RATE);
            return print(&syn_flood::run(&load, rate, cli.syns, cli.seconds, &window.pids)?);
        }
        Mode::Wrk => return print(&wrk::run(cli.address, &cli.path, cli.connections, cli.seconds, &window.pids)?),
    }
    let mut figures = window.figures.expect("the load ends with the window");
    let mut at = |share| half_sent::percentile(&mut latencies, share).map(|nanos| nanos as f64 / 1e3);
    (figures.p50_us, figures.p99_us) = (at(50), at(99));
    print(&figures)
}

fn print(figures: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(figures)?);
    Ok(())
}
