//! The randomised cancellation tests, for as long as one likes.

use std::process::Command;

use anyhow::Result;

use crate::command::{Count, cargo};
use crate::steps;

/// The tests that drop futures at random points: the package, where they are in it, and a part of their names.
const TESTS: &[(&str, &[&str], &str)] = &[
    ("sunstar-executor", &["--lib"], "sync_random"),
    ("sunstar-net", &["--lib"], "spread_random"),
    // Sockets of the kernel, on both drivers.
    ("sunstar-reactor", &["--test", "sockets"], "random::"),
];

/// Tells those tests for how long to go on, in seconds each.
const SECONDS: &str = "SUNSTAR_CANCEL_SECONDS";

/// Runs the cancellation tests for `seconds` each, optimised, with their assertions.
///
/// # Errors
/// If they can't be built or there are none.
pub(crate) fn run(seconds: u64) -> Result<Count> {
    run_all(seconds, |command| {
        command.arg("--release").env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true");
    })
}

/// The same for a moment, built as ordinary tests are, so that nothing is built anew.
///
/// # Errors
/// If they can't be built or there are none.
pub(crate) fn smoke(seconds: u64) -> Result<Count> {
    run_all(seconds, |_| {})
}

fn run_all(seconds: u64, set_up: impl Fn(&mut Command)) -> Result<Count> {
    let mut count = Count::default();
    for (package, place, tests) in TESTS {
        let mut command = cargo(&["test", "--locked", "-p", package]);
        command.args(*place);
        set_up(&mut command);
        command.args([tests, "--", "--nocapture"]).env(SECONDS, seconds.to_string());
        count.add(steps::counted(&mut command)?);
    }
    Ok(count)
}
