//! Very many connections of the native stack, held by seawreck against httpd over vhost-user, and then asked once each.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{LOAD_CPU, SERVER_CPU};
use crate::command::{program, target_dir};

/// So many are no load: what both ends have with them, they have anyway.
const FEW: u32 = 10;
/// Connections from one address, which has some more ports.
const PER_ADDRESS: u32 = 20_000;
/// For how many seconds they are held, and after how many the memory is looked at: a shard that has become quiet has given back by then
/// what it keeps since a peak.
const HELD_S: usize = 8;
const LOOK_AFTER_S: usize = 6;
const SERVER: &str = "fd00:9::1";

/// What a run has shown, in bytes.
struct Held {
    server_bytes: u64,
    load_bytes: u64,
    report: Value,
}

/// Has so many connections held; answers the table for people.
///
/// # Errors
/// If a program fails. That connections were not made or not answered is in the table.
pub(super) fn contest(connections: u32) -> Result<String> {
    let few = hold(FEW).context("with few connections")?;
    let many = hold(connections).with_context(|| format!("with {connections} connections"))?;
    table(connections, &few, &many)
}

fn table(connections: u32, few: &Held, many: &Held) -> Result<String> {
    let more = connections.saturating_sub(FEW).max(1);
    let each = |many: u64, few: u64| many.saturating_sub(few) as f64 / f64::from(more);
    let count = |pointer: &str| many.report.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let seconds = |pointer: &str| count(pointer) as f64 / 1e9;
    let mut text =
        format!("\n## idle ({connections} connections, httpd and seawreck on the native stack over vhost-user)\n\n");
    text.push_str("| figure | value | demanded | met |\n|---|---|---|---|\n");
    for (what, value) in
        [("held", "/connections_open"), ("answered afterwards", "/requests"), ("connections ever made", "/connections")]
    {
        let met = if count(value) == u64::from(connections) { "yes" } else { "**no**" };
        writeln!(text, "| {what} | {} | {connections} | {met} |", count(value))?;
    }
    for (what, value) in [
        ("bytes of httpd's own memory for each", each(many.server_bytes, few.server_bytes)),
        ("bytes of seawreck's own memory for each", each(many.load_bytes, few.load_bytes)),
    ] {
        writeln!(text, "| {what} | {value:.0} | | |")?;
    }
    writeln!(
        text,
        "| s to connect, at 50 % and at most | {:.3}, {:.3} | | |",
        seconds("/connect_ns/percentiles/50"),
        seconds("/connect_ns/max")
    )?;
    // What follows the time for which they were held.
    let last = many.report["seconds"].as_array().and_then(|rows| rows.last());
    let asking_s = last.and_then(|row| row["len_s"].as_f64()).context("the report has no seconds")?;
    writeln!(text, "| s until the last was answered | {asking_s:.3} | | |")?;
    writeln!(
        text,
        "| s for each answer, at 50 % and at most | {:.6}, {:.6} | | |",
        seconds("/latency_ns/percentiles/50"),
        seconds("/latency_ns/max")
    )?;
    for (what, at) in [("requests", "requests_failed"), ("connections", "connections_failed")] {
        let kinds = many.report[at].as_object().context("the report tells no failures")?;
        let failed: u64 = kinds.values().filter_map(Value::as_u64).sum();
        writeln!(text, "| {what} that failed | {failed} | 0 | {} |", if failed == 0 { "yes" } else { "**no**" })?;
    }
    text.push_str(&format!(
        "\nMemory that the processes share, which has their packets, is not counted; what they have with {FEW} connections is taken off.\n"
    ));
    Ok(text)
}

/// A process while it runs. Dropping it ends it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts both ends and has them hold so many connections.
fn hold(connections: u32) -> Result<Held> {
    let folder = target_dir("bench");
    fs::create_dir_all(&folder)?;
    let socket = folder.join(format!("idle-{}", std::process::id()));
    let _ = fs::remove_file(&socket);
    let mut server = Running(httpd(&socket).spawn().context("starting httpd")?);
    let mut log = BufReader::new(server.0.stderr.take().context("its log is not piped")?);
    let mut line = String::new();
    while !line.contains("listening on") {
        line.clear();
        ensure!(log.read_line(&mut line)? > 0, "httpd has ended");
    }
    let rest = std::thread::spawn(move || log.read_to_string(&mut String::new()));
    let mut load = Running(seawreck(&socket, connections).spawn().context("starting seawreck")?);
    let mut lines = BufReader::new(load.0.stderr.take().context("its lines are not piped")?).lines();
    for second in 0..LOOK_AFTER_S {
        let line = lines.next().with_context(|| format!("seawreck ended after {second} s"))??;
        println!("idle: {line}");
    }
    let (server_bytes, load_bytes) = (own_bytes(&server.0)?, own_bytes(&load.0)?);
    // What it still says is read, so that it does not wait for that.
    lines.map_while(Result::ok).for_each(|line| println!("idle: {line}"));
    let mut output = String::new();
    load.0.stdout.take().context("its report is not piped")?.read_to_string(&mut output)?;
    load.0.wait()?;
    drop(server);
    drop(rest.join());
    let _ = fs::remove_file(&socket);
    let report = serde_json::from_str(&output).with_context(|| format!("reading `{output}`"))?;
    Ok(Held { server_bytes, load_bytes, report })
}

fn native(name: &str, cpu: usize) -> Command {
    let path = target_dir("release").join(name);
    let mut command = program("taskset", &["-c", &cpu.to_string(), &path.to_string_lossy()]);
    command.args([
        "--network-stack",
        "native",
        "--dhcp",
        "0",
        "--slaac",
        "0",
        "--smp",
        "1",
        "--cpuset",
        &cpu.to_string(),
    ]);
    command.args(["--prometheus-port", "0", "--blocked-reactor-notify-ms", "0"]);
    command.stderr(Stdio::piped());
    command
}

fn httpd(socket: &Path) -> Command {
    let mut command = native("httpd", SERVER_CPU);
    command.args(["--host-ipv6-addr", &format!("{SERVER}/64"), "--address", SERVER, "--port", "80"]);
    command.args(["--head-timeout-s", "0", "--idle-timeout-s", "0", "--max-connections", "0"]);
    command.args(["--device", &format!("vhost-user:{},back,server", socket.display())]);
    command
}

fn seawreck(socket: &Path, connections: u32) -> Command {
    let mut command = native("seawreck", LOAD_CPU);
    command.args(["--device", &format!("vhost-user:{}", socket.display())]);
    for number in 0..connections.div_ceil(PER_ADDRESS) {
        let address = format!("fd00:9::1:{number:x}");
        command.args(["--host-ipv6-addr", &format!("{address}/64"), "--from", &address]);
    }
    command.args(["--idle", "--connections", &connections.to_string(), "--duration", &format!("{HELD_S}s")]);
    command.args(["--connect-timeout", "60s", "--timeout", "120s", "--progress", "always", "--json", "-"]);
    command.arg(format!("http://[{SERVER}]:80/")).stdout(Stdio::piped());
    command
}

/// Memory that a process has for itself.
fn own_bytes(child: &Child) -> Result<u64> {
    let path = format!("/proc/{}/status", child.id());
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).with_context(|| format!("no RssAnon in {path}"))?;
    Ok(kib.parse::<u64>().with_context(|| format!("RssAnon in {path}"))? << 10)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_says_what_each_takes_and_what_is_missing() {
        let report = json!({
            "connections_open": 1010, "requests": 1009, "connections": 1010,
            "connect_ns": { "percentiles": { "50": 2_000_000 }, "max": 1_000_000_000 },
            "latency_ns": { "percentiles": { "50": 100_000 }, "max": 500_000_000 }, "seconds": [{ "len_s": 1.0 }, { "len_s": 2.5 }],
            "requests_failed": { "timed_out": 1, "reset": 0 }, "connections_failed": { "refused": 0 },
        });
        let few = Held { server_bytes: 1_000_000, load_bytes: 2_000_000, report: report.clone() };
        let many = Held { server_bytes: 2_500_000, load_bytes: 2_700_000, report };
        let text = table(1010, &few, &many).expect("the report is whole");
        for line in [
            "| held | 1010 | 1010 | yes |",
            "| answered afterwards | 1009 | 1010 | **no** |",
            "| bytes of httpd's own memory for each | 1500 | | |",
            "| bytes of seawreck's own memory for each | 700 | | |",
            "| s until the last was answered | 2.500 | | |",
            "| s for each answer, at 50 % and at most | 0.000100, 0.500000 | | |",
            "| requests that failed | 1 | 0 | **no** |",
            "| connections that failed | 0 | 0 | yes |",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}: {text}");
        }
    }
}
