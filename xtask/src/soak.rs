//! The randomised cancellation tests, for as long as one likes.

use anyhow::Result;

use crate::command::{Count, cargo};
use crate::steps;

/// The tests that drop futures at random points, by a part of their names.
const TESTS: &str = "sync_random";

/// Tells those tests for how long to go on, in seconds each.
const SECONDS: &str = "SUNSTAR_CANCEL_SECONDS";

/// Runs the cancellation tests for `seconds` each, optimised, with their assertions.
///
/// # Errors
/// If they can't be built or there are none.
pub(crate) fn run(seconds: u64) -> Result<Count> {
    let mut command = cargo(&["test", "--locked", "--release", "--lib", "-p", "sunstar-executor", TESTS]);
    command
        .args(["--", "--nocapture"])
        .env(SECONDS, seconds.to_string())
        .env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true");
    steps::counted(&mut command)
}

/// The same for a moment, built as ordinary tests are, so that nothing is built anew.
///
/// # Errors
/// If they can't be built or there are none.
pub(crate) fn smoke(seconds: u64) -> Result<Count> {
    let mut command = cargo(&["test", "--locked", "--lib", "-p", "sunstar-executor", TESTS]);
    steps::counted(command.args(["--", "--nocapture"]).env(SECONDS, seconds.to_string()))
}
