//! Two processes on a processor each, and what they say.

use std::fmt;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::contest::{Contest, Contestant, Group};
use super::forward;
use super::process::Process;
use super::veth::Neighbour;
use crate::bench::statistics::median;
use crate::command::{program, target_dir};

/// The processors of the two ends.
pub(super) const CPUS: [usize; 2] = [0, 1];
/// The ends' addresses on the device between them.
const SERVER: &str = "10.7.0.2";
const CLIENT: &str = "10.7.0.1";
/// The kernel's addresses: so many in a row for each server.
pub(super) const ADDRESSES: usize = 8;
const HTTP_PORT: &str = "10000";
/// The descriptor of memory and rings between the two processes is handed over there.
const SOCKET: &str = "bypass.sock";
/// What came of a run.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Figures {
    #[serde(default)]
    pub(super) connections: f64,
    #[serde(default)]
    pub(super) messages: f64,
    #[serde(default)]
    pub(super) bytes: f64,
    #[serde(default, alias = "p50_us")]
    pub(super) median_us: f64,
    #[serde(default)]
    pub(super) p99_us: f64,
    #[serde(default)]
    pub(super) client_busy: f64,
    #[serde(default)]
    pub(super) server_busy: f64,
    /// For what http-load says.
    #[serde(default)]
    pub(super) requests: f64,
    #[serde(default)]
    pub(super) seconds: f64,
    /// For what `sunstar-shards scaling` says.
    #[serde(default)]
    pub(super) scaling: f64,
    /// Of a packet that is forwarded; messages are packets there.
    #[serde(default)]
    pub(super) cycles: f64,
    /// Of the same for whoever sends them back.
    #[serde(default)]
    pub(super) generator_cycles: f64,
    /// Packets that were not forwarded.
    #[serde(default)]
    pub(super) dropped: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, messages, bytes, median_us, client_busy, server_busy, .. } = self;
        let Self { cycles, generator_cycles, .. } = self;
        if *cycles > 0.0 {
            return write!(
                f,
                "{cycles:.1} cycles per packet, {messages:.0} packets/s, generator: {generator_cycles:.1} cycles"
            );
        }
        write!(f, "{connections:.0} connections/s, {messages:.0} messages/s, {bytes:.0} bytes/s, ")?;
        write!(f, "{median_us:.1} µs, busy: client {client_busy:.2}, server {server_busy:.2}")
    }
}

/// Has a contestant run a contest once. The neighbour has the other ends of pairs of interfaces, for contests over such.
///
/// # Errors
/// If a program can't be started, or fails: what it said.
pub(super) fn measure(
    contest: &Contest,
    contestant: Contestant,
    seconds: f64,
    neighbour: Option<&Neighbour>,
) -> Result<Figures> {
    let seconds = seconds.to_string();
    match contestant {
        Contestant::Lending => sunstar(contest, &seconds, &[]),
        Contestant::Copying => sunstar(contest, &seconds, &["--copy"]),
        Contestant::Kernel => kernel(contest, &seconds, &[]),
        Contestant::KernelSpinning => kernel(contest, &seconds, &["--spin"]),
        Contestant::KernelBoth => kernel_both(contest, &seconds),
        Contestant::HttpIoUring => http(contest, &seconds, "io_uring"),
        Contestant::HttpEpoll => http(contest, &seconds, "epoll"),
        Contestant::OneShard => shards("1", &seconds),
        Contestant::TwoShards => shards("2", &seconds),
        Contestant::Xdp
        | Contestant::XdpServer
        | Contestant::Veth
        | Contestant::VethSpinning
        | Contestant::VethBoth => {
            neighbour.context("there is no second namespace")?.measure(contest, contestant, &seconds)
        }
        Contestant::Forwarder | Contestant::Testpmd => forward::measure(contest, contestant, &seconds),
    }
}

/// Both ends on stacks of their own. The server owns the memory, so what is received there is not copied.
fn sunstar(contest: &Contest, seconds: &str, more: &[&str]) -> Result<Figures> {
    let socket = target_dir("bench").join(SOCKET);
    std::fs::create_dir_all(target_dir("bench"))?;
    let device = |role: &str| format!("vhost-user:{},{role}", socket.display());
    let on = |mut command: Command, cpu: usize, device: &str, address: &str| {
        command.args(["--smp", "1", "--cpuset", &cpu.to_string(), "--prometheus-port", "0"]);
        command.args(["--blocked-reactor-notify-ms", "0", "--network-stack", "native", "--device", device]);
        command.args(["--host-ipv4-addr", address]);
        command
    };
    let server = if contest.group == Group::Http {
        let mut httpd = built("httpd");
        httpd.args(["--port", HTTP_PORT]);
        httpd
    } else {
        let mut server = built("sunstar-bypass");
        server.args(["--role", "server"]).args(contest.arguments()).args(more);
        server
    };
    let mut client = built("sunstar-bypass");
    client.args(["--role", "client", "--server", SERVER, "--http-port", HTTP_PORT, "--seconds", seconds]);
    client.args(contest.arguments()).args(more);
    let _server = Process::start(&on(server, CPUS[0], &device("server"), SERVER), true)?;
    Process::start(&on(client, CPUS[1], &device("back"), CLIENT), false)?.figures(seconds)
}

/// epoll: an end on each processor.
fn kernel(contest: &Contest, seconds: &str, more: &[&str]) -> Result<Figures> {
    let end = |role: &str, cpu: usize| {
        let mut command = built("kernel-tcp");
        command.args(["--role", role, "--cpu", &cpu.to_string(), "--addresses", &ADDRESSES.to_string()]);
        command.args(["--seconds", seconds]).args(contest.arguments()).args(more);
        command
    };
    let _server = Process::start(&end("server", CPUS[0]), true)?;
    Process::start(&end("client", CPUS[1]), false)?.figures(seconds)
}

/// epoll: both ends in a process on each processor, which divide the connections. One of a single connection is on one of them.
fn kernel_both(contest: &Contest, seconds: &str) -> Result<Figures> {
    let pairs = contest.pairs(CPUS.len());
    let ends = CPUS.iter().take(pairs).enumerate().map(|(place, cpu)| {
        let mut command = built("kernel-tcp");
        command.args(["--role", "both", "--cpu", &cpu.to_string(), "--addresses", &ADDRESSES.to_string()]);
        command.args(["--server", &format!("127.0.{}.1", 1 + place), "--seconds", seconds]);
        command.args(contest.arguments_of(pairs));
        Process::start(&command, false)
    });
    let ends = ends.collect::<Result<Vec<_>>>()?;
    let figures = ends.into_iter().map(|end| end.figures(seconds)).collect::<Result<Vec<_>>>()?;
    Ok(combined(&figures))
}

/// What two that run beside each other do together.
pub(super) fn combined(figures: &[Figures]) -> Figures {
    let sum = |value: fn(&Figures) -> f64| figures.iter().map(value).sum::<f64>();
    let mean = |value: fn(&Figures) -> f64| figures.iter().map(value).sum::<f64>() / figures.len() as f64;
    Figures {
        connections: sum(|figures| figures.connections),
        messages: sum(|figures| figures.messages),
        bytes: sum(|figures| figures.bytes),
        median_us: mean(|figures| figures.median_us),
        p99_us: mean(|figures| figures.p99_us),
        client_busy: mean(|figures| figures.client_busy),
        server_busy: mean(|figures| figures.client_busy),
        ..Figures::default()
    }
}

/// httpd on the kernel's sockets, and the client that costs less than it.
fn http(contest: &Contest, seconds: &str, backend: &str) -> Result<Figures> {
    let mut httpd = program("taskset", &["-c", &CPUS[0].to_string()]);
    httpd.arg(target_dir("release").join("httpd")).args(["--port", HTTP_PORT, "--smp", "1", "--prometheus-port", "0"]);
    httpd.args(["--cpuset", &CPUS[0].to_string(), "--reactor-backend", backend, "--idle-poll-time-us", "0"]);
    httpd.args(["--blocked-reactor-notify-ms", "0"]);
    let server = Process::start(&httpd, true)?;
    let mut load = built("http-load");
    let connections = contest.value.to_string();
    load.args(["keep-alive", "--latencies", "--connections", &connections, "--seconds", seconds]);
    load.args(["--address", &format!("127.0.0.1:{HTTP_PORT}"), "--cpu", &CPUS[1].to_string()]);
    load.args(["--pids", &server.pid().to_string()]);
    let figures = Process::start(&load, false)?.figures(seconds)?;
    Ok(Figures { messages: figures.requests / figures.seconds, ..figures })
}

/// Both hosts in one process, on so many shards.
fn shards(count: &str, seconds: &str) -> Result<Figures> {
    Process::start(built("sunstar-shards").args([count, seconds]), false)?.figures(seconds)
}

/// How many times as far both processors get as one, with arithmetic alone: the median of some.
///
/// # Errors
/// If the program fails.
pub(super) fn scaling() -> Result<f64> {
    let measure = |_| Ok(Process::start(built("sunstar-shards").arg("scaling"), false)?.figures("1")?.scaling);
    median((0..5).map(measure).collect::<Result<_>>()?).context("something was measured")
}

pub(super) fn built(name: &str) -> Command {
    program(&target_dir("release").join(name).to_string_lossy(), &[])
}
