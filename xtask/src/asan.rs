//! The crates with unsafe code under AddressSanitizer.

use anyhow::Result;

use crate::command::{Count, exists, program, read, target_dir};
use crate::steps::{self, Outcome};

/// The sanitizer needs to be told for which target, lest build scripts be instrumented as well.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Runs the unit tests of the crates with unsafe code.
///
/// # Errors
/// If they can't be built, or no test ran.
pub(crate) fn run() -> Result<Count> {
    let mut command = program("rustup", &["run", "nightly", "cargo", "test", "--locked", "--lib", "--target", TARGET]);
    command
        .args(["-p", "sunstar-packet", "-p", "sunstar-executor", "-p", "sunstar-reactor"])
        .arg("--target-dir")
        .arg(target_dir("asan"))
        .env("RUSTFLAGS", "-Zsanitizer=address")
        .env("PROPTEST_CASES", "16");
    steps::counted(&mut command)
}

/// [`run`], if the nightly toolchain is here.
pub(crate) fn step() -> Result<Outcome> {
    let nightly = exists("rustup") && read(&mut program("rustup", &["toolchain", "list"]))?.contains("nightly");
    if nightly {
        run().map(Outcome::Done)
    } else {
        Ok(Outcome::NotRun("needs the nightly toolchain: rustup toolchain install nightly".to_owned()))
    }
}
