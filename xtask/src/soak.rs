//! Long runs of the randomised cancellation tests.

use anyhow::Result;

use crate::command::{Count, cargo};
use crate::steps;

/// The tests that drop futures at random points, by a part of their names.
const TESTS: &str = "sync_random";

/// Runs the cancellation tests for `seconds` each, from a seed that no run before had.
///
/// # Errors
/// If they can't be built or there are none.
pub(crate) fn run(seconds: u64) -> Result<Count> {
    let mut command = cargo(&["test", "--locked", "--release", "--lib", "-p", "sunstar-executor", TESTS]);
    command
        .args(["--", "--nocapture"])
        .env("SUNSTAR_CANCEL_SECONDS", seconds.to_string())
        .env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true");
    steps::counted(&mut command)
}
