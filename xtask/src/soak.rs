//! The randomised tests, for as long as one likes.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::command::{Count, cargo};
use crate::steps;

/// The tests that drop futures at random points, and those of clients that misbehave at random: the package, where they are in it,
/// and a part of their names.
const TESTS: &[(&str, &[&str], &str)] = &[
    ("sunstar-executor", &["--lib"], "sync_random"),
    ("sunstar-net", &["--lib"], "spread_random"),
    // Sockets of the kernel, on both drivers.
    ("sunstar-reactor", &["--test", "sockets"], "random::"),
    // Servers as processes, with both drivers.
    ("httpd", &["--test", "process"], "misbehave::"),
    ("memcached", &["--test", "process"], "misbehave::"),
];

/// Tells those tests for how long to go on, in seconds each.
pub(crate) const SECONDS: &str = "SUNSTAR_SOAK_SECONDS";

/// Runs these tests, or only those of packages or with names that contain `only`, for `seconds` each, optimised, with their assertions.
///
/// # Errors
/// If they can't be built or there are none.
pub(crate) fn run(seconds: u64, only: Option<&str>) -> Result<Count> {
    run_all(seconds, only, |command| {
        command.arg("--release").env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true");
    })
}

/// The same for a moment, built as ordinary tests are, so that nothing is built anew.
///
/// # Errors
/// If they can't be built or there are none.
pub(crate) fn smoke(seconds: u64) -> Result<Count> {
    run_all(seconds, None, |_| {})
}

fn run_all(seconds: u64, only: Option<&str>, set_up: impl Fn(&mut Command)) -> Result<Count> {
    let mut count = Count::default();
    let asked: Vec<_> = TESTS
        .iter()
        .filter(|(package, _, tests)| only.is_none_or(|only| package.contains(only) || tests.contains(only)))
        .collect();
    ensure!(!asked.is_empty(), "no test's name contains what is asked for");
    for (package, place, tests) in asked {
        let mut command = cargo(&["test", "--locked", "-p", package]);
        command.args(*place);
        set_up(&mut command);
        command.args([tests, "--", "--nocapture"]).env(SECONDS, seconds.to_string());
        count.add(steps::counted(&mut command)?);
    }
    Ok(count)
}
