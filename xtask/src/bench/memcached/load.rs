//! seawreck, and what it says.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::server::{Server, Setup, Who, built};
use super::{KEY_BYTES, VALUE_BYTES};
use crate::bench::bypass::process::Process;
use crate::bench::noise::own_seconds;
use crate::command::program;

/// Connections, and different keys.
const CONNECTIONS: u32 = 64;
const KEYS: u64 = 100_000;
/// For items, so that none has to go.
const MEMORY_MIB: u64 = 512;
/// Beyond the time for measuring, the load takes no longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a load is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Requests under way on each connection.
    pub(super) pipeline: u32,
    /// The part of the requests that are gets.
    pub(super) gets: f64,
    /// Keys of a get.
    pub(super) multiget: u32,
    /// Requests per second, whatever the server does; else as many as it answers.
    pub(super) rate: Option<f64>,
}

/// What came of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    /// Requests per second.
    pub(super) rate: f64,
    /// The server's processor time per request, the load's, and the parts of a processor that they used.
    pub(super) server_us: f64,
    pub(super) server_busy: f64,
    pub(super) load_us: f64,
    pub(super) load_busy: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) p999_us: f64,
    /// Whether the load had no time left, or sent much later than it should have: what was measured may be what it can do.
    pub(super) is_load_limit: bool,
}

impl Load {
    /// The load in words.
    pub(super) fn about(&self) -> String {
        let how = self.rate.map_or_else(
            || format!("{} under way on each", self.pipeline),
            |rate| format!("open loop at {rate:.0} requests/s (Poisson)"),
        );
        let keys = if self.multiget > 1 { format!(" of {} keys", self.multiget) } else { String::new() };
        format!("{CONNECTIONS} connections, {how}, {:.0} % get{keys}", 100.0 * self.gets)
    }

    fn options(&self, seconds: f64) -> Vec<String> {
        let mut text = format!(
            "--connections {CONNECTIONS} --pipeline {} --gets {} --multiget {} --duration {}ms",
            self.pipeline,
            self.gets,
            self.multiget,
            (seconds * 1e3).round()
        );
        if let Some(rate) = self.rate {
            text += &format!(" --rate {rate:.0} --arrivals poisson");
        }
        text.split(' ').map(str::to_owned).collect()
    }
}

/// Has a server loaded once, with all keys stored before.
///
/// # Errors
/// If the server or the load fails, or an answer is missing or wrong.
pub(super) fn measure(who: Who, load: &Load, seconds: f64) -> Result<Figures> {
    let polls = load.rate.is_some();
    let setup = Setup { memory_mib: MEMORY_MIB, polls, multiget: load.multiget, shards: 1 };
    let server = Server::start(who, setup)?;
    let mut seawreck = seawreck(who, &server, KEYS);
    if !polls && !who.is_native() {
        // So it is seen whether it has time left, and it takes none from a server on the same core.
        seawreck.args(["--idle-poll-time-us", "0"]);
    }
    if who == Who::Floor {
        seawreck.arg("--no-verify");
    } else if who == Who::Native {
        seawreck.arg("--fill");
    } else {
        fill(who, &server, KEYS)?;
    }
    seawreck.args(load.options(seconds));
    let (server_before, load_before) = (server.cpu_seconds()?, own_seconds());
    let report = report(&seawreck, Duration::from_secs_f64(2.0 * seconds) + PATIENCE)?;
    let (server_s, load_s) = (server.cpu_seconds()? - server_before, own_seconds() - load_before);
    // The load polls where there is no kernel, and keys that were stored meanwhile are no requests.
    let server_s = if who == Who::Native { f64::NAN } else { server_s };
    let load_s = if who.is_native() { f64::NAN } else { load_s };
    figures(&report, server_s, load_s)
}

/// Stores so many keys.
///
/// # Errors
/// If not all are stored.
pub(super) fn fill(who: Who, server: &Server, keys: u64) -> Result<()> {
    let mut seawreck = seawreck(who, server, keys);
    seawreck.args(["--fill", "--requests", "1", "--connections", "8", "--gets", "1"]);
    report(&seawreck, PATIENCE).map(drop)
}

fn seawreck(who: Who, server: &Server, keys: u64) -> Command {
    let (cpus, options) = who.load_options();
    let mut command = program("taskset", &["-c", &cpus]);
    command.arg(built("seawreck").get_program()).args(options);
    command.args(["--blocked-reactor-notify-ms", "0", "--json", "-", "--progress", "never"]);
    command.args(["--keys", &keys.to_string(), "--key-bytes", &KEY_BYTES.to_string()]);
    command.args(["--value-bytes", &VALUE_BYTES.to_string(), &format!("{}://{}", who.scheme(), server.address)]);
    if who.takes_datagrams() {
        // Strangers get no answers that are longer than their questions.
        command.arg("--hold-connection");
    }
    command
}

/// Runs it and reads its report, in which nothing may have failed.
fn report(seawreck: &Command, patience: Duration) -> Result<Value> {
    let output = Process::start(seawreck, false)?.output(patience)?;
    let report: Value = serde_json::from_str(&output).with_context(|| format!("reading `{output}`"))?;
    let failed = report["requests_failed"].as_object().context("it tells no failures")?;
    let failed: u64 = failed.values().filter_map(Value::as_u64).sum();
    let misses = report["protocol"]["misses"].as_u64().unwrap_or(0);
    ensure!(failed == 0 && misses == 0, "{failed} requests failed, {misses} keys were missing");
    Ok(report)
}

fn figures(report: &Value, server_s: f64, load_s: f64) -> Result<Figures> {
    let number = |pointer: &str| {
        let value = report.pointer(pointer).and_then(Value::as_f64);
        value.with_context(|| format!("the load tells no {pointer}"))
    };
    let is = |name: &str| {
        let value = report["load_side"][name].as_bool();
        value.with_context(|| format!("the load does not tell whether it {name}"))
    };
    let (requests, elapsed_s) = (number("/requests")?, number("/elapsed_s")?);
    let percentile = |name: &str| number(&format!("/latency_ns/percentiles/{name}")).map(|nanos| nanos / 1e3);
    Ok(Figures {
        rate: requests / elapsed_s,
        server_us: server_s * 1e6 / requests,
        server_busy: server_s / elapsed_s,
        load_us: load_s * 1e6 / requests,
        load_busy: load_s / elapsed_s,
        p50_us: percentile("50")?,
        p99_us: percentile("99")?,
        p999_us: percentile("99.9")?,
        is_load_limit: is("is_saturated")? || is("is_late")?,
    })
}
