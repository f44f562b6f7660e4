//! `cargo xtask test`: every check of the repository as a list of steps, and the summary of a run.
//!
//! A step is a function in [`STEPS`]. To add one, write the function and put it into the list.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::command::{Count, cargo, exists, in_ci, run as run_command};
use crate::{asan, bench, licenses, link, loom, lwip, packages, planted, sim, soak, tidy};

/// How long each of the randomised tests runs.
const SMOKE_SECONDS: u64 = 5;

/// How many new seeds the simulator tries.
const SMOKE_SEEDS: u64 = 50;

/// What came of a step that did not break down.
pub(crate) enum Outcome {
    /// It ran; it counts as failed if any of its tests did.
    Done(Count),
    /// It could not run for the reason given.
    NotRun(String),
}

struct Step {
    name: &'static str,
    about: &'static str,
    run: fn() -> Result<Outcome>,
}

/// All steps, cheap ones first.
const STEPS: &[Step] = &[
    Step { name: "fmt", about: "the code is formatted", run: fmt },
    Step { name: "tidy", about: "the house rules that no compiler checks", run: tidy_step },
    Step { name: "licenses", about: "every dependency's licence is on the list", run: || licenses::check().map(one) },
    Step { name: "clippy", about: "the lint set, warnings denied, in every configuration", run: clippy },
    Step { name: "docs", about: "the documentation, warnings denied", run: docs },
    Step { name: "tests", about: "unit, integration and compile-fail tests", run: tests },
    Step { name: "doctests", about: "the examples in the documentation", run: doctests },
    Step {
        name: "tools",
        about: "httpd under curl, ab, wrk, Chromium, promtool, collectd, DHCP servers and radvd; names at dnsmasq; the HTTP client at nginx; memcached under memccapable, memcaslap, pymemcache and PHP; captures in tshark; the stack under ping, traceroute and nft",
        run: tools,
    },
    Step { name: "lwip", about: "lwIP as the stack's peer", run: || lwip::check().map(Outcome::Done) },
    Step { name: "link", about: "the pure crates need no operating system", run: || link::check().map(one) },
    Step { name: "loom", about: "loom models", run: || loom::run(None, loom::PREEMPTIONS).map(Outcome::Done) },
    Step { name: "planted", about: "planted bugs are found", run: || planted::run(&[]).map(Outcome::Done) },
    Step {
        name: "cancel",
        about: "randomised cancellation and misbehaviour, briefly",
        run: || soak::smoke(SMOKE_SECONDS).map(Outcome::Done),
    },
    Step { name: "sim", about: "new seeds of the simulator", run: || sim::smoke(SMOKE_SEEDS).map(Outcome::Done) },
    Step { name: "gates", about: "instructions per operation", run: || bench::gates().map(Outcome::Done) },
    Step {
        name: "asan",
        about: "the crates with unsafe code, sockets and HTTP under AddressSanitizer",
        run: asan::step,
    },
];

/// What the summary shows of a step.
struct Row {
    name: &'static str,
    result: Result<Outcome>,
    took: Duration,
}

impl Row {
    fn count(&self) -> Count {
        match &self.result {
            Ok(Outcome::Done(count)) => *count,
            Ok(Outcome::NotRun(_)) => Count { passed: 0, failed: u64::from(in_ci()) },
            Err(_) => Count { passed: 0, failed: 1 },
        }
    }

    fn line(&self) -> String {
        let (result, note) = match &self.result {
            Ok(Outcome::Done(Count { passed, failed: 0 })) => ("passed", format!("{passed} passed")),
            Ok(Outcome::Done(Count { passed, failed })) => ("FAILED", format!("{passed} passed, {failed} failed")),
            Ok(Outcome::NotRun(missing)) => ("not run", missing.clone()),
            Err(error) => ("FAILED", format!("{error:#}")),
        };
        format!("{:<10} {result:<8} {:>7.1} s   {note}", self.name, self.took.as_secs_f64())
    }
}

/// Shows the steps.
pub(crate) fn list() {
    for step in STEPS {
        println!("{:<10} {}", step.name, step.about);
    }
}

/// Runs the steps named, or all, and prints a summary.
///
/// # Errors
/// If a step fails, is unknown, or could not run in continuous integration.
pub(crate) fn run(names: &[String], install: bool) -> Result<()> {
    let chosen = choose(names)?;
    let chosen_names: Vec<&str> = chosen.iter().map(|step| step.name).collect();
    packages::provide(&chosen_names, install || in_ci())?;
    let rows: Vec<Row> = chosen.into_iter().map(run_step).collect();
    summarise(&rows)
}

fn choose(names: &[String]) -> Result<Vec<&'static Step>> {
    if let Some(unknown) = names.iter().find(|name| STEPS.iter().all(|step| step.name != *name)) {
        bail!("there is no step {unknown}; `cargo xtask test --list` shows them");
    }
    Ok(STEPS.iter().filter(|step| names.is_empty() || names.iter().any(|name| name == step.name)).collect())
}

fn run_step(step: &Step) -> Row {
    println!("\n=== {}: {}", step.name, step.about);
    let begin = Instant::now();
    let result = match packages::missing(&[step.name]).first() {
        Some(package) => Ok(Outcome::NotRun(format!("needs the package {}, which {}", package.name, package.why))),
        None => (step.run)(),
    };
    let row = Row { name: step.name, result, took: begin.elapsed() };
    println!("{}", row.line());
    row
}

fn summarise(rows: &[Row]) -> Result<()> {
    println!("\n=== summary");
    let mut total = Count::default();
    for row in rows {
        println!("{}", row.line());
        total.add(row.count());
    }
    let took: Duration = rows.iter().map(|row| row.took).sum();
    let not_run = rows.iter().filter(|row| matches!(row.result, Ok(Outcome::NotRun(_)))).count();
    let not_run_note = if not_run > 0 { format!(", {not_run} steps not run") } else { String::new() };
    println!("\n{} passed, {} failed{not_run_note} ({:.0} s)", total.passed, total.failed, took.as_secs_f64());
    if not_run > 0 && in_ci() {
        println!("a step that can't run counts as failed in continuous integration");
    }
    ensure!(total.failed == 0, "not everything passed");
    Ok(())
}

fn one(_passed: ()) -> Outcome {
    Outcome::Done(Count { passed: 1, failed: 0 })
}

/// Runs programs that pass or fail as a whole; each counts as one check.
fn checks<const N: usize>(commands: [&mut Command; N]) -> Result<Outcome> {
    let mut count = Count::default();
    for command in commands {
        if run_command(command)?.success {
            count.passed += 1;
        } else {
            count.failed += 1;
        }
    }
    Ok(Outcome::Done(count))
}

/// Runs a program that reports tests.
///
/// # Errors
/// If it fails without a failed test, or reports no test at all.
pub(crate) fn counted(command: &mut Command) -> Result<Count> {
    let finished = run_command(command)?;
    let count = finished.count();
    ensure!(finished.success || count.failed > 0, "the tests could not be built or run");
    ensure!(count != Count::default(), "no test ran");
    Ok(count)
}

fn fmt() -> Result<Outcome> {
    checks([
        &mut cargo(&["fmt", "--all", "--check"]),
        &mut cargo(&["fmt", "--manifest-path", link::MANIFEST, "--check"]),
        &mut cargo(&["fmt", "--manifest-path", lwip::MANIFEST, "--check"]),
        &mut cargo(&["fmt", "--all", "--manifest-path", "bench/peers/Cargo.toml", "--check"]),
        &mut cargo(&["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]),
    ])
}

fn clippy() -> Result<Outcome> {
    let deny = ["--", "-D", "warnings"];
    let mut models = cargo(&["clippy", "--locked", "--release", "--lib", "--tests"]);
    models.args(loom::PACKAGES.iter().flat_map(|package| ["-p", package]));
    loom::environment(&mut models, loom::PREEMPTIONS);
    checks([
        cargo(&["clippy", "--locked", "--workspace", "--all-targets"]).args(deny),
        cargo(&["clippy", "--locked", "-p", "sunstar-executor", "--no-default-features", "--lib"]).args(deny),
        cargo(&["clippy", "--locked", "-p", "sunstar-http", "--no-default-features", "--all-targets"]).args(deny),
        cargo(&["clippy", "--locked", "-p", "sunstar-http", "--no-default-features", "--features", "compression"])
            .arg("--all-targets")
            .args(deny),
        cargo(&["clippy", "--locked", "-p", "sunstar-packet", "--all-features", "--all-targets"]).args(deny),
        models.args(deny),
        link::clippy().args(deny),
        // Nothing else compiles the fuzz targets. What is there for them alone is, as when cargo-fuzz builds them.
        cargo(&["clippy", "--locked", "--manifest-path", "fuzz/Cargo.toml"])
            .args(deny)
            .env("RUSTFLAGS", "--cfg fuzzing"),
    ])
}

fn docs() -> Result<Outcome> {
    // The first run adds the links inside of private documentation; the second is what users read, where a link to
    // something private is a dead one.
    let documents = ["doc", "--locked", "--workspace", "--no-deps"];
    checks([
        cargo(&documents).arg("--document-private-items").env("RUSTDOCFLAGS", "-D warnings"),
        cargo(&documents).env("RUSTDOCFLAGS", "-D warnings"),
    ])
}

fn tests() -> Result<Outcome> {
    let runner: &[&str] = if exists("cargo-nextest") {
        &["nextest", "run", "--locked"]
    } else {
        println!("cargo-nextest is not here: using cargo test (to get it: cargo install --locked cargo-nextest)");
        &["test", "--locked", "--all-targets", "--no-fail-fast"]
    };
    let mut count = counted(cargo(runner).arg("--workspace"))?;
    // The accounting of buffers is a feature of its own.
    count.add(counted(cargo(runner).args(["-p", "sunstar-packet", "--all-features"]))?);
    Ok(Outcome::Done(count))
}

/// The tests that drive httpd, memcached and the native network by programs that are not the repository's, seawreck and the HTTP client at a server that is not,
/// vhost-user devices with a back end that is not, and captures of packets read by a program that is not.
fn tools() -> Result<Outcome> {
    let kinds = ["tools::", "native::", "dhcp::", "dhcpv6::", "black_holes::", "peers::", "vlan::"];
    let httpd = [&["test", "--locked", "-p", "httpd", "--test", "process", "--", "--ignored"][..], &kinds].concat();
    let names = ["test", "--locked", "-p", "sunstar", "--test", "process", "--", "--ignored"];
    let client = ["test", "--locked", "-p", "sunstar-http", "--test", "nginx", "--", "--ignored"];
    let captures = ["test", "--locked", "-p", "sunstar-device", "--lib", "tools_", "--", "--ignored"];
    let dpdk = ["test", "--locked", "-p", "sunstar-device", "--test", "vhost_user", "--", "--ignored"];
    let kernel = ["test", "--locked", "-p", "sunstar-native", "--test", "kernel", "--", "--ignored"];
    let seawreck = ["test", "--locked", "-p", "seawreck", "--test", "process", "--", "--ignored"];
    let memcached = ["test", "--locked", "-p", "memcached", "--test", "process", "--", "--ignored"];
    let mut count = counted(&mut cargo(&httpd))?;
    count.add(counted(&mut cargo(&seawreck))?);
    count.add(counted(&mut cargo(&memcached))?);
    count.add(counted(&mut cargo(&names))?);
    count.add(counted(&mut cargo(&client))?);
    count.add(counted(&mut cargo(&captures))?);
    count.add(counted(&mut cargo(&dpdk))?);
    count.add(counted(&mut cargo(&kernel))?);
    Ok(Outcome::Done(count))
}

fn doctests() -> Result<Outcome> {
    counted(&mut cargo(&["test", "--locked", "--workspace", "--doc", "--no-fail-fast"])).map(Outcome::Done)
}

fn tidy_step() -> Result<Outcome> {
    tidy::command(false).map(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(result: Result<Outcome>) -> Row {
        Row { name: "x", result, took: Duration::ZERO }
    }

    #[test]
    fn an_unknown_step_is_refused() {
        assert!(choose(&["no-such-step".to_owned()]).is_err());
        assert_eq!(choose(&["fmt".to_owned()]).map(|steps| steps.len()).ok(), Some(1));
    }

    #[test]
    fn a_failed_test_fails_the_run() {
        assert!(summarise(&[row(Ok(Outcome::Done(Count { passed: 3, failed: 1 })))]).is_err());
        assert!(summarise(&[row(Err(anyhow::anyhow!("broken")))]).is_err());
        assert!(summarise(&[row(Ok(Outcome::Done(Count { passed: 3, failed: 0 })))]).is_ok());
    }

    #[test]
    fn what_ran_no_test_is_an_error() {
        assert!(counted(&mut crate::command::program("true", &[])).is_err());
    }
}
