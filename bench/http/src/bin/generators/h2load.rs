//! h2load, which is nghttp2's, and what it says and logs.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Load, Said, child};

/// Runs h2load with one thread, by HTTP/1.1.
pub(super) fn run(load: &Load) -> Result<Said> {
    let log = std::env::temp_dir().join(format!("h2load-{}.log", std::process::id()));
    let mut command = Command::new("h2load");
    let (connections, seconds) = (load.connections.to_string(), load.seconds.to_string());
    command.args(["--h1", "--threads", "1", "--clients", &connections, "--duration", &seconds, "--log-file"]).arg(&log);
    if let Some(rate) = load.rate {
        // It wants to know how many a connection sends.
        ensure!(rate.is_multiple_of(load.connections), "{rate} requests can't be shared out evenly");
        command.args(["--rps", &(rate / load.connections).to_string()]);
    }
    let told = child::output(command.arg(load.url()));
    let lines = fs::read_to_string(&log).with_context(|| format!("reading {}", log.display()));
    let _ = fs::remove_file(&log);
    let (text, lines) = (told?, lines?);
    ensure!(text.contains(", 0 failed, 0 errored, 0 timeout"), "h2load met errors: {text}");
    Ok(Said { seconds: load.seconds.into(), ..read(&lines)? })
}

/// Each line of the log is a request: when it was sent, its status and how long it took, in microseconds.
fn read(log: &str) -> Result<Said> {
    let took = |line: &str| line.split('\t').nth(2)?.trim().parse::<u64>().ok();
    let times = log.lines().map(|line| took(line).with_context(|| format!("h2load logs something new: {line}")));
    let mut times = times.collect::<Result<Vec<u64>>>()?;
    times.sort_unstable();
    let at = |percent: usize| times.get((times.len() * percent).div_ceil(100).saturating_sub(1)).copied();
    let latencies = at(50).zip(at(90)).zip(at(99));
    let latencies_us = latencies.map(|((half, most), nearly_all)| [half as f64, most as f64, nearly_all as f64]);
    Ok(Said { requests: times.len() as u64, latencies_us, ..Said::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_h2load_logs() {
        let log: String = (1..=100).rev().map(|micros| format!("1700000000000000\t200\t{micros}\n")).collect();
        let said = read(&log).expect("that is its manner");
        assert_eq!((said.requests, said.latencies_us), (100, Some([50.0, 90.0, 99.0])));
        assert!(read("hello\n").is_err());
        assert_eq!(read("").expect("nothing is nothing").latencies_us, None);
    }
}
