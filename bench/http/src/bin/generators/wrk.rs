//! wrk, and what it says. What it shows of latencies is corrected for coordinated omission: each stands for those as well that would have been
//! due meanwhile at the mean interval.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Load, Said, child};

/// Runs wrk with one thread.
pub(super) fn run(load: &Load) -> Result<Said> {
    let mut command = Command::new("wrk");
    command.args(["-t1", "--latency", &format!("-c{}", load.connections), &format!("-d{}s", load.seconds)]);
    read(&child::output(command.arg(load.url()))?)
}

fn read(text: &str) -> Result<Said> {
    for bad in ["Socket errors", "Non-2xx"] {
        ensure!(!text.contains(bad), "wrk met errors: {text}");
    }
    let said = || {
        let (requests, _) = text.lines().find_map(|line| line.split_once(" requests in "))?;
        let rate = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"))?.trim().parse::<f64>().ok()?;
        let at = |percentile: &str| {
            let mut words = text.lines().map(str::split_whitespace);
            words.find_map(|mut words| (words.next()? == percentile).then(|| micros(words.next()?))?)
        };
        let requests: u64 = requests.trim().parse().ok()?;
        let corrected_us = Some([at("50%")?, at("90%")?, at("99%")?]);
        Some(Said { requests, seconds: requests as f64 / rate, corrected_us, ..Said::default() })
    };
    said().with_context(|| format!("wrk says something new: {text}"))
}

/// A time with its unit, as in `1.23ms`.
fn micros(text: &str) -> Option<f64> {
    let unit = text.find(|letter: char| letter.is_ascii_alphabetic())?;
    let number: f64 = text[..unit].parse().ok()?;
    let micros_per_unit = match &text[unit..] {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return None,
    };
    Some(number * micros_per_unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "Running 1s test @ http://127.0.0.1:1/\n  1 threads and 64 connections\n  Thread Stats   Avg      Stdev     Max   +/- Stdev\n\
        \x20   Latency   528.51us  120.79us   3.03ms   84.10%\n    Req/Sec   115.15k     7.30k  120.93k    90.00%\n  Latency Distribution\n\
        \x20    50%  511.00us\n     75%  563.00us\n     90%    1.23ms\n     99%    2.00s\n\
        \x20 115000 requests in 1.00s, 15.06MB read\nRequests/sec: 115000.00\nTransfer/sec:     13.70MB\n";

    #[test]
    fn reads_what_wrk_says() {
        let said = read(OUTPUT).expect("that is its manner");
        let corrected_us = Some([511.0, 1230.0, 2e6]);
        assert_eq!(said, Said { requests: 115_000, seconds: 1.0, corrected_us, ..Said::default() });
    }

    #[test]
    fn errors_that_wrk_met_are_errors() {
        for line in ["  Non-2xx or 3xx responses: 5\n", "  Socket errors: connect 0, read 1, write 0, timeout 0\n"] {
            assert!(read(&format!("{OUTPUT}{line}")).is_err());
        }
        assert!(read("").is_err());
    }
}
