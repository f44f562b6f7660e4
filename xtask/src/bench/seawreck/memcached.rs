//! seawreck and memcaslap at the same memcached.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{LOAD_CPU, Options, SERVER_CPU};
use crate::bench::noise::Watch;
use crate::bench::statistics::median;
use crate::command::{program, read, target_dir};

const CONNECTIONS: &str = "64";
/// Within this time memcached listens.
const PATIENCE: Duration = Duration::from_secs(10);
/// One key length, one value length, and nine gets to a set, as memcaslap wants to be told.
const MEMCASLAP: &str = "key\n32 32 1\nvalue\n100 100 1\ncmd\n0 0.1\n1 0.9\n";

/// Measures all rounds, and answers the table for people.
///
/// # Errors
/// If a program fails.
pub(super) fn contest(options: &Options) -> Result<String> {
    let (mut seawreck, mut memcaslap, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut noise = Vec::new();
    for round in 0..options.rounds {
        let watch = Watch::start();
        let (own, other) = if round % 2 == 0 {
            let own = by_seawreck(options.seconds)?;
            (own, by_memcaslap(options.seconds)?)
        } else {
            let other = by_memcaslap(options.seconds)?;
            (by_seawreck(options.seconds)?, other)
        };
        noise.push(watch.cores_used_by_others());
        println!("memcached round {}: seawreck {own:.0}/s, memcaslap {other:.0}/s, others used {noise:.2?}", round + 1);
        ratios.push(own / other);
        seawreck.push(own);
        memcaslap.push(other);
    }
    let row = |name: &str, rates: Vec<f64>| {
        let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
        let most = rates.iter().copied().fold(0.0, f64::max);
        format!("| {name} | {:.0} | {least:.0} – {most:.0} |\n", median(rates).unwrap_or(f64::NAN))
    };
    let ratio = median(ratios).unwrap_or(f64::NAN);
    let met = if (ratio - 1.0).abs() <= 0.1 { "yes" } else { "**no**" };
    Ok(format!(
        "\n## memcached ({CONNECTIONS} connections at memcached -t 1, nine gets to a set, 32-byte keys, 100-byte values)\n\n\
         Cores used by others, by round: {noise:.2?}.\n\n\
         | load generator | operations/s | lowest – highest |\n|---|---|---|\n{}{}\n\
         | bar | demanded | median of the rounds' ratios | met |\n|---|---|---|---|\n\
         | operations/s, seawreck to memcaslap | 1 ± 0.1 | {ratio:.3} | {met} |\n",
        row("seawreck", seawreck),
        row("memcaslap", memcaslap),
    ))
}

/// memcached while it runs. Dropping it ends it.
struct Memcached {
    child: Child,
    address: String,
}

impl Memcached {
    fn start() -> Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr())?;
        let (cpu, port) = (SERVER_CPU.to_string(), address.port().to_string());
        let mut command =
            program("taskset", &["-c", &cpu, "memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", &port]);
        let child =
            command.args(["-t", "1", "-m", "1024"]).stderr(Stdio::null()).spawn().context("starting memcached")?;
        let mut server = Self { child, address: address.to_string() };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            ensure!(server.child.try_wait()?.is_none() && Instant::now() < deadline, "memcached does not listen");
            sleep(Duration::from_millis(10));
        }
        Ok(server)
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Operations per second that seawreck counts.
fn by_seawreck(seconds: u32) -> Result<f64> {
    let server = Memcached::start()?;
    let (path, cpu) = (target_dir("release").join("seawreck"), LOAD_CPU.to_string());
    let mut command = program("taskset", &["-c", &cpu, &path.to_string_lossy(), "--cpuset", &cpu, "--smp", "1"]);
    command.args(["--idle-poll-time-us", "0", "--json", "-", "--connections", CONNECTIONS, "--gets", "0.9", "--fill"]);
    command.args(["--key-bytes", "32", "--value-bytes", "100", "--duration", &format!("{seconds}s")]);
    let report: Value = serde_json::from_str(&read(command.arg(format!("memcached://{}", server.address)))?)?;
    report["requests_per_second"].as_f64().with_context(|| format!("seawreck says something new: {report}"))
}

/// Operations per second that memcaslap counts.
fn by_memcaslap(seconds: u32) -> Result<f64> {
    let server = Memcached::start()?;
    let mix = target_dir("bench").join("memcaslap");
    fs::create_dir_all(target_dir("bench"))?;
    fs::write(&mix, MEMCASLAP)?;
    let mut command = program("taskset", &["-c", &LOAD_CPU.to_string(), "memcaslap", "-T", "1", "-c", CONNECTIONS]);
    command.args(["-s", &server.address, "-t", &format!("{seconds}s"), "-F"]).arg(&mix);
    operations(&read(&mut command)?)
}

fn operations(text: &str) -> Result<f64> {
    let rate = text.split("TPS:").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    rate.with_context(|| format!("memcaslap says something new: {text}"))
}

#[cfg(test)]
mod tests {
    use super::operations;

    #[test]
    fn reads_what_memcaslap_says() {
        let text = "servers : 127.0.0.1:11211\nRun time: 3.0s Ops: 451337 TPS: 150384 Net_rate: 30.1M/s\n";
        assert_eq!(operations(text).expect("that is its manner"), 150_384.0);
        assert!(operations("").is_err());
    }
}
