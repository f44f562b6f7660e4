//! Two processes on a processor each, and what they say.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::contest::{Contest, Contestant, Group};
use crate::command::{program, target_dir};

/// The processors of the two ends.
pub(super) const CPUS: [usize; 2] = [0, 1];
/// The ends' addresses on the device between them.
const SERVER: &str = "10.7.0.2";
const CLIENT: &str = "10.7.0.1";
/// The kernel's addresses: so many in a row for each server.
const ADDRESSES: usize = 8;
const HTTP_PORT: &str = "10000";
/// The descriptor of memory and rings between the two processes is handed over there.
const SOCKET: &str = "bypass.sock";
/// Beyond the time for measuring, and as much for warming up, a run takes no longer.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a server says when a client may come. One whose device is to be connected to opens it before it listens.
const READY: [&str; 2] = ["listening", "waiting for a back end to connect"];

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
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, messages, bytes, median_us, client_busy, server_busy, .. } = self;
        write!(f, "{connections:.0} connections/s, {messages:.0} messages/s, {bytes:.0} bytes/s, ")?;
        write!(f, "{median_us:.1} µs, busy: client {client_busy:.2}, server {server_busy:.2}")
    }
}

/// Has a contestant run a contest once.
///
/// # Errors
/// If a program can't be started, or fails: what it said.
pub(super) fn measure(contest: &Contest, contestant: Contestant, seconds: f64) -> Result<Figures> {
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
    let _server = Process::start(&mut on(server, CPUS[0], &device("server"), SERVER), true)?;
    Process::start(&mut on(client, CPUS[1], &device("back"), CLIENT), false)?.figures(seconds)
}

/// epoll: an end on each processor.
fn kernel(contest: &Contest, seconds: &str, more: &[&str]) -> Result<Figures> {
    let end = |role: &str, cpu: usize| {
        let mut command = built("kernel-tcp");
        command.args(["--role", role, "--cpu", &cpu.to_string(), "--addresses", &ADDRESSES.to_string()]);
        command.args(["--seconds", seconds]).args(contest.arguments()).args(more);
        command
    };
    let _server = Process::start(&mut end("server", CPUS[0]), true)?;
    Process::start(&mut end("client", CPUS[1]), false)?.figures(seconds)
}

/// epoll: both ends in a process on each processor. One of a single connection is on one of them.
fn kernel_both(contest: &Contest, seconds: &str) -> Result<Figures> {
    let ends = CPUS.iter().enumerate().map(|(place, cpu)| {
        let mut command = built("kernel-tcp");
        command.args(["--role", "both", "--cpu", &cpu.to_string(), "--addresses", &ADDRESSES.to_string()]);
        command.args(["--server", &format!("127.0.{}.1", 1 + place), "--seconds", seconds]).args(contest.arguments());
        Process::start(&mut command, false)
    });
    let ends = ends.collect::<Result<Vec<_>>>()?;
    let figures = ends.into_iter().map(|end| end.figures(seconds)).collect::<Result<Vec<_>>>()?;
    let sum = |value: fn(&Figures) -> f64| figures.iter().map(value).sum::<f64>();
    let mean = |value: fn(&Figures) -> f64| figures.iter().map(value).sum::<f64>() / CPUS.len() as f64;
    Ok(Figures {
        connections: sum(|figures| figures.connections),
        messages: sum(|figures| figures.messages),
        bytes: sum(|figures| figures.bytes),
        median_us: mean(|figures| figures.median_us),
        p99_us: mean(|figures| figures.p99_us),
        client_busy: mean(|figures| figures.client_busy),
        server_busy: mean(|figures| figures.client_busy),
        ..Figures::default()
    })
}

/// httpd on the kernel's sockets, and the client that costs less than it.
fn http(contest: &Contest, seconds: &str, backend: &str) -> Result<Figures> {
    let mut httpd = program("taskset", &["-c", &CPUS[0].to_string()]);
    httpd.arg(target_dir("release").join("httpd")).args(["--port", HTTP_PORT, "--smp", "1", "--prometheus-port", "0"]);
    httpd.args(["--cpuset", &CPUS[0].to_string(), "--reactor-backend", backend, "--idle-poll-time-us", "0"]);
    httpd.args(["--blocked-reactor-notify-ms", "0"]);
    let server = Process::start(&mut httpd, true)?;
    let mut load = built("http-load");
    let connections = contest.value.to_string();
    load.args(["keep-alive", "--latencies", "--connections", &connections, "--seconds", seconds]);
    load.args(["--address", &format!("127.0.0.1:{HTTP_PORT}"), "--cpu", &CPUS[1].to_string()]);
    load.args(["--pids", &server.child.id().to_string()]);
    let figures = Process::start(&mut load, false)?.figures(seconds)?;
    Ok(Figures { messages: figures.requests / figures.seconds, ..figures })
}

/// Both hosts in one process, on so many shards.
fn shards(count: &str, seconds: &str) -> Result<Figures> {
    Process::start(built("sunstar-shards").args([count, seconds]), false)?.figures(seconds)
}

fn built(name: &str) -> Command {
    program(&target_dir("release").join(name).to_string_lossy(), &[])
}

/// A program while it runs. Dropping it ends it.
struct Process {
    child: Child,
    /// The lines of its log.
    log: Receiver<String>,
}

impl Process {
    /// Starts it; if it is to listen, waits until it says so.
    fn start(command: &mut Command, listens: bool) -> Result<Self> {
        let name = format!("{command:?}");
        let spawned = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.with_context(|| format!("starting {name}"))?;
        let errors = BufReader::new(child.stderr.take().context("its errors are not piped")?);
        let (lines, log) = channel();
        // Nobody may be left who reads it.
        thread::spawn(move || errors.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
        let process = Self { child, log };
        if listens {
            process.wait_until_it_listens().with_context(|| name)?;
        }
        Ok(process)
    }

    fn wait_until_it_listens(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        loop {
            match self.log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if READY.iter().any(|ready| line.contains(ready)) => return Ok(()),
                Ok(line) => said.push(line),
                Err(RecvTimeoutError::Timeout) => bail!("it does not listen: {}", said.join(" / ")),
                Err(RecvTimeoutError::Disconnected) => bail!("it has ended: {}", said.join(" / ")),
            }
        }
    }

    /// Waits until it has ended, which has so many seconds for measuring, and reads what it has printed.
    fn figures(mut self, seconds: &str) -> Result<Figures> {
        let measured = Duration::try_from_secs_f64(seconds.parse()?)?;
        let patience = 2 * measured + PATIENCE;
        let deadline = Instant::now() + patience;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(Instant::now() < deadline, "no answer within {} s: {}", patience.as_secs(), self.last_words());
            sleep(LOOK_EVERY);
        };
        ensure!(status.success(), "{status}: {}", self.last_words());
        let mut output = String::new();
        self.child.stdout.take().context("its output")?.read_to_string(&mut output)?;
        serde_json::from_str(&output).with_context(|| format!("reading `{output}`"))
    }

    fn last_words(&self) -> String {
        let lines: Vec<String> = self.log.try_iter().collect();
        lines.last().cloned().unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that serves until it is told to end has nothing more to say.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
