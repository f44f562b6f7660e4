//! seawreck and memcaslap at the same memcached.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{LOAD_CPU, Options, SERVER_CPU};
use crate::bench::noise::Watch;
use crate::bench::statistics::median;
use crate::command::{program, read, target_dir};

const CONNECTIONS: u64 = 64;
/// memcaslap has so many keys for each connection, and cannot have fewer.
const WINDOW: u64 = 1024;
const KEY_BYTES: usize = 32;
const VALUE_BYTES: usize = 100;
/// Within this time memcached listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mix {
    /// Only gets: then memcaslap stores all its keys before.
    Gets,
    /// Nine gets to a set: then memcaslap begins without keys, and each of its sets stores another one.
    NineToOne,
}

impl Mix {
    const ALL: [Self; 2] = [Self::Gets, Self::NineToOne];

    fn words(self) -> &'static str {
        match self {
            Self::Gets => "only gets",
            Self::NineToOne => "nine gets to a set",
        }
    }

    fn gets(self) -> f64 {
        match self {
            Self::Gets => 1.0,
            Self::NineToOne => 0.9,
        }
    }

    /// The file by which memcaslap is told.
    fn memcaslap(self) -> String {
        let sets = 1.0 - self.gets();
        format!(
            "key\n{KEY_BYTES} {KEY_BYTES} 1\nvalue\n{VALUE_BYTES} {VALUE_BYTES} 1\ncmd\n0 {sets:.1}\n1 {:.1}\n",
            self.gets()
        )
    }

    /// How many keys seawreck has, if memcached has so many when memcaslap ends: as many as memcaslap has on average.
    fn keys(self, keys_of_memcaslap: u64) -> u64 {
        match self {
            Self::Gets => keys_of_memcaslap,
            Self::NineToOne => (keys_of_memcaslap / 2).max(1),
        }
    }
}

/// What a load generator says, and the server.
#[derive(Clone, Copy, Debug)]
struct Run {
    operations_per_s: f64,
    /// Keys that memcached has at the end.
    keys: u64,
}

/// Measures all rounds, and answers the tables for people.
///
/// # Errors
/// If a program fails, or a get finds nothing: then it would not be the same that is measured.
pub(super) fn contest(options: &Options) -> Result<String> {
    let mut text = format!(
        "\n## memcached ({CONNECTIONS} connections at memcached -t 1, {KEY_BYTES}-byte keys, {VALUE_BYTES}-byte values)\n\n\
         Each get has found its key. Where only gets are sent, all keys are stored before. Otherwise memcaslap begins with none and adds one with each set, so that it has half of them\n\
         on average, and so many seawreck has from the begin.\n"
    );
    for mix in Mix::ALL {
        text += &of_mix(mix, options).with_context(|| format!("memcached, {}", mix.words()))?;
    }
    Ok(text)
}

fn of_mix(mix: Mix, options: &Options) -> Result<String> {
    // Not measured, but for how many keys there are.
    let keys = mix.keys(by_memcaslap(mix, options.seconds)?.keys);
    let (mut seawreck, mut memcaslap, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut noise = Vec::new();
    for round in 0..options.rounds {
        let watch = Watch::start();
        let (own, other) = if round % 2 == 0 {
            let own = by_seawreck(mix, keys, options.seconds)?;
            (own, by_memcaslap(mix, options.seconds)?)
        } else {
            let other = by_memcaslap(mix, options.seconds)?;
            (by_seawreck(mix, keys, options.seconds)?, other)
        };
        noise.push(watch.cores_used_by_others());
        println!("memcached {mix:?} round {}: {own:.0?} {other:.0?}, others used {noise:.2?}", round + 1);
        ratios.push(own.operations_per_s / other.operations_per_s);
        seawreck.push(own);
        memcaslap.push(other);
    }
    let ratio = median(ratios).unwrap_or(f64::NAN);
    let met = if (ratio - 1.0).abs() <= 0.1 { "yes" } else { "**no**" };
    Ok(format!(
        "\nWith {}; cores used by others, by round: {noise:.2?}.\n\n\
         | load generator | operations/s | lowest – highest | keys at the end |\n|---|---|---|---|\n{}{}\n\
         | bar | demanded | median of the rounds' ratios | met |\n|---|---|---|---|\n\
         | operations/s, seawreck to memcaslap | 1 ± 0.1 | {ratio:.3} | {met} |\n",
        mix.words(),
        row("seawreck", &seawreck),
        row("memcaslap", &memcaslap),
    ))
}

fn row(name: &str, runs: &[Run]) -> String {
    let rates: Vec<f64> = runs.iter().map(|run| run.operations_per_s).collect();
    let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
    let most = rates.iter().copied().fold(0.0, f64::max);
    let keys = runs.iter().map(|run| run.keys).max().unwrap_or(0);
    format!("| {name} | {:.0} | {least:.0} – {most:.0} | {keys} |\n", median(rates).unwrap_or(f64::NAN))
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

    /// How many items it has.
    fn keys(&self) -> Result<u64> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.write_all(b"stats\r\nquit\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let line = text.lines().find_map(|line| line.strip_prefix("STAT curr_items "));
        Ok(line.with_context(|| format!("memcached says something new: {text}"))?.parse()?)
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What seawreck counts.
fn by_seawreck(mix: Mix, keys: u64, seconds: u32) -> Result<Run> {
    let server = Memcached::start()?;
    let (path, cpu) = (target_dir("release").join("seawreck"), LOAD_CPU.to_string());
    let mut command = program("taskset", &["-c", &cpu, &path.to_string_lossy(), "--cpuset", &cpu, "--smp", "1"]);
    command.args(["--idle-poll-time-us", "0", "--json", "-", "--connections", &CONNECTIONS.to_string()]);
    command.args(["--gets", &mix.gets().to_string(), "--keys", &keys.to_string(), "--fill"]);
    command.args(["--key-bytes", &KEY_BYTES.to_string(), "--value-bytes", &VALUE_BYTES.to_string()]);
    command.args(["--duration", &format!("{seconds}s")]);
    let text = read(command.arg(format!("memcached://{}", server.address)))?;
    Ok(Run { operations_per_s: of_seawreck(&text)?, keys: server.keys()? })
}

/// Operations per second in a report of seawreck.
fn of_seawreck(text: &str) -> Result<f64> {
    let report: Value = serde_json::from_str(text)?;
    let (rate, misses) = (report["requests_per_second"].as_f64(), report["protocol"]["misses"].as_u64());
    let (Some(rate), Some(misses)) = (rate, misses) else { bail!("seawreck says something new: {text}") };
    ensure!(misses == 0, "{misses} gets of seawreck have found nothing");
    Ok(rate)
}

/// What memcaslap counts.
fn by_memcaslap(mix: Mix, seconds: u32) -> Result<Run> {
    let server = Memcached::start()?;
    let file = target_dir("bench").join("memcaslap");
    fs::create_dir_all(target_dir("bench"))?;
    fs::write(&file, mix.memcaslap())?;
    let mut command = program("taskset", &["-c", &LOAD_CPU.to_string(), "memcaslap", "-T", "1"]);
    command.args(["-c", &CONNECTIONS.to_string(), "-w", &format!("{}k", WINDOW / 1024)]);
    command.args(["-s", &server.address, "-t", &format!("{seconds}s"), "-F"]).arg(&file);
    let operations_per_s = of_memcaslap(mix, &read(&mut command)?)?;
    let keys = server.keys()?;
    ensure!(mix != Mix::Gets || keys == CONNECTIONS * WINDOW, "memcaslap has stored {keys} keys before");
    Ok(Run { operations_per_s, keys })
}

/// Operations per second in what memcaslap says at its end.
fn of_memcaslap(mix: Mix, text: &str) -> Result<f64> {
    let after = |word| {
        let number = text.split(word).nth(1).and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        number.with_context(|| format!("memcaslap does not say {word} {text}"))
    };
    let misses = after("get_misses:")?;
    ensure!(misses == 0.0, "{misses} gets of memcaslap have found nothing");
    // It counts what it has stored before, but not the time for it.
    let stored_before = if mix == Mix::Gets { after("cmd_set:")? } else { 0.0 };
    let operations = after("Ops:")?;
    Ok(after("TPS:")? * (operations - stored_before) / operations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_memcaslap_says() {
        let text = "cmd_get: 300000\ncmd_set: 65536\nget_misses: 0\nRun time: 3.0s Ops: 365536 TPS: 121845\n";
        assert_eq!(of_memcaslap(Mix::NineToOne, text).expect("that is its manner"), 121_845.0);
        let rate = of_memcaslap(Mix::Gets, text).expect("that is its manner");
        assert!((rate - 100_000.0).abs() < 1.0, "{rate}");
        let missed = text.replace("get_misses: 0", "get_misses: 17");
        let misses = of_memcaslap(Mix::Gets, &missed).expect_err("it is not the same");
        assert_eq!(misses.to_string(), "17 gets of memcaslap have found nothing");
        assert!(of_memcaslap(Mix::Gets, "").is_err() && of_memcaslap(Mix::Gets, "get_misses: 0 TPS: 5").is_err());
    }

    #[test]
    fn reads_what_seawreck_says() {
        let report = |misses| format!("{{\"requests_per_second\": 5.5, \"protocol\": {{\"misses\": {misses}}}}}");
        assert_eq!(of_seawreck(&report(0)).expect("that is its manner"), 5.5);
        assert_eq!(of_seawreck(&report(3)).expect_err("so").to_string(), "3 gets of seawreck have found nothing");
        assert!(of_seawreck("{}").is_err());
    }

    #[test]
    fn both_are_told_the_same() {
        assert_eq!(Mix::Gets.memcaslap(), "key\n32 32 1\nvalue\n100 100 1\ncmd\n0 0.0\n1 1.0\n");
        assert_eq!(Mix::NineToOne.memcaslap(), "key\n32 32 1\nvalue\n100 100 1\ncmd\n0 0.1\n1 0.9\n");
        assert_eq!((Mix::Gets.keys(65_536), Mix::NineToOne.keys(40_000)), (65_536, 20_000));
    }
}
