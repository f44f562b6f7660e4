//! wrk in the place of this client's own loops: keep-alive as others measure it.

use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sunstar_bench_http::cpu;

use crate::Figures;

/// What wrk says at its end.
#[derive(Debug, PartialEq)]
struct Said {
    requests: u64,
    per_second: f64,
}

/// Runs wrk with one thread on this program's processor. Its begin and end, some milliseconds, are counted too.
pub(crate) fn run(address: SocketAddr, path: &str, connections: usize, seconds: f64, pids: &[u32]) -> Result<Figures> {
    // wrk takes whole seconds.
    let duration = format!("-d{}s", seconds.ceil().max(1.0));
    let mut command = Command::new("wrk");
    command.args(["-t1", &format!("-c{connections}"), &duration, &format!("http://{address}{path}")]);
    let (begin, server_before) = (Instant::now(), cpu::of_processes(pids)?);
    let output = command.output().context("running wrk (Debian's wrk)")?;
    let server = (cpu::of_processes(pids)? - server_before).as_secs_f64();
    let elapsed = begin.elapsed().as_secs_f64();
    let client = of_ended_children()?.as_secs_f64();
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    let said = read(&text)?;
    let each = |time: f64| time * 1e6 / said.requests.max(1) as f64;
    Ok(Figures {
        requests: said.requests,
        seconds: said.requests as f64 / said.per_second,
        server_us: each(server),
        server_busy: server / elapsed,
        client_us: each(client),
        client_busy: client / elapsed,
        p50_us: None,
        p99_us: None,
    })
}

fn read(text: &str) -> Result<Said> {
    for bad in ["Socket errors", "Non-2xx"] {
        ensure!(!text.contains(bad), "wrk met errors: {text}");
    }
    let requests = text.lines().find_map(|line| line.split_once(" requests in "));
    let requests = requests.and_then(|(count, _)| count.trim().parse().ok());
    let per_second = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    let per_second = per_second.and_then(|rate| rate.trim().parse().ok());
    let said = requests.zip(per_second).map(|(requests, per_second)| Said { requests, per_second });
    said.with_context(|| format!("wrk says something new: {text}"))
}

/// Processor time of the programs that this one has started and that have ended.
fn of_ended_children() -> Result<Duration> {
    // SAFETY: the structure is plain data, and the kernel fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        let answer = libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        ensure!(answer == 0, "getrusage: {}", io::Error::last_os_error());
        usage
    };
    let time = |value: libc::timeval| -> Result<Duration> {
        Ok(Duration::from_secs(value.tv_sec.try_into()?) + Duration::from_micros(value.tv_usec.try_into()?))
    };
    Ok(time(usage.ru_utime)? + time(usage.ru_stime)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "Running 1s test @ http://127.0.0.1:1/\n  1 threads and 64 connections\n  Thread Stats   Avg\n\
        \x20 123456 requests in 1.10s, 15.06MB read\nRequests/sec: 112232.73\nTransfer/sec:     13.70MB\n";

    #[test]
    fn reads_what_wrk_says() {
        let said = read(OUTPUT).expect("that is its manner");
        assert_eq!(said, Said { requests: 123_456, per_second: 112_232.73 });
    }

    #[test]
    fn errors_that_wrk_met_are_errors() {
        for line in ["  Non-2xx or 3xx responses: 5\n", "  Socket errors: connect 0, read 1, write 0, timeout 0\n"] {
            assert!(read(&format!("{OUTPUT}{line}")).is_err());
        }
        assert!(read("").is_err());
    }
}
