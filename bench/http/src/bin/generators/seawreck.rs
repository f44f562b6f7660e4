//! seawreck, and what it says.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Load, Said};

/// Runs seawreck with one shard that sleeps when there is nothing to do.
pub(super) fn run(load: &Load, program: &Path, backend: &str, cpu: Option<usize>) -> Result<Said> {
    let mut command = Command::new(program);
    command.args(["--smp", "1", "--reactor-backend", backend, "--idle-poll-time-us", "0", "--json", "-"]);
    if let Some(cpu) = cpu {
        command.args(["--cpuset", &cpu.to_string()]);
    }
    if let Some(rate) = load.rate {
        command.args(["--rate", &rate.to_string()]);
    }
    let (connections, time) = (load.connections.to_string(), format!("{}s", load.seconds));
    command.args(["--connections", &connections, "--duration", &time]).arg(load.url());
    // What could not be sent in time is in the latencies, and an error for it.
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_str(&text).with_context(|| format!("{command:?}: {output:?}"))?;
    let failed = report["requests_failed"].as_object().context("it tells no failures")?;
    ensure!(failed.values().all(|count| count.as_u64() == Some(0)), "requests failed: {failed:?}");
    read(&report).with_context(|| format!("seawreck says something new: {text}"))
}

fn read(report: &Value) -> Option<Said> {
    let percentiles = |of: &str| {
        let at = |percentile: &str| Some(report[of]["percentiles"][percentile].as_f64()? / 1e3);
        Some([at("50")?, at("90")?, at("99")?])
    };
    Some(Said {
        requests: report["requests"].as_u64()?,
        seconds: report["elapsed_s"].as_f64()?,
        latencies_us: Some(percentiles("latency_ns")?),
        corrected_us: percentiles("latency_corrected_ns"),
        is_saturated: report["load_side"]["is_saturated"].as_bool()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_seawreck_says() {
        let report = serde_json::json!({
            "requests": 10, "elapsed_s": 2.0, "load_side": { "is_saturated": true },
            "latency_ns": { "percentiles": { "50": 1000, "90": 2000, "99": 3000 } }, "latency_corrected_ns": null,
        });
        let latencies_us = Some([1.0, 2.0, 3.0]);
        let said = Said { requests: 10, seconds: 2.0, latencies_us, corrected_us: None, is_saturated: true };
        assert_eq!(read(&report), Some(said));
        assert_eq!(read(&serde_json::json!({})), None);
    }
}
