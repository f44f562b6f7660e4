//! The crates with unsafe code, and what uses them most, under AddressSanitizer and its leak detector.

use std::process::Command;

use anyhow::Result;

use crate::command::{Count, exists, program, read, target_dir};
use crate::steps::{self, Outcome};

/// Given explicitly, so that what runs at build time is not instrumented.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What is tested.
const PARTS: &[&[&str]] = &[
    // Sockets of the kernel on both drivers among them.
    &["-p", "sunstar-packet", "-p", "sunstar-executor", "-p", "sunstar-reactor", "--lib", "--test", "sockets"],
    // Servers and clients of HTTP, whose buffers cross all crates, on simulated hosts.
    &["-p", "sunstar-http", "--lib"],
];

/// Tests that run without the leak detector.
const LEAKING: &[&str] = &[
    // What belongs to a shard that has ended is leaked on purpose when it comes home too late.
    "a_waker_may_outlive_its_shard",
    "an_object_may_outlive_its_shard",
    "message_random_traffic_leaks_nothing",
    "shards_that_stop_at_different_times_leave_nobody_waiting",
];

/// Tests that fail under the sanitizer or whose time goes into what other runs of them do.
const UNFIT: &[&str] = &[
    // Presumably since instrumentation changes the stack that it walks; not confirmed.
    "a_stack_that_may_be_walked_has_many_frames",
    // It tries many worlds.
    "sim_sweep",
];

/// Runs the tests of these crates.
///
/// # Errors
/// If they can't be built, or no test ran.
pub(crate) fn run() -> Result<Count> {
    let mut count = Count::default();
    for part in PARTS {
        let skipped = LEAKING.iter().chain(UNFIT).flat_map(|test| ["--skip", test]);
        count.add(steps::counted(tests(part).arg("--").args(skipped))?);
    }
    count.add(steps::counted(tests(PARTS[0]).arg("--").args(LEAKING).env("ASAN_OPTIONS", "detect_leaks=0"))?);
    Ok(count)
}

fn tests(part: &[&str]) -> Command {
    let mut command = program("rustup", &["run", "nightly", "cargo", "test", "--locked", "--no-fail-fast"]);
    command
        .args(part)
        .args(["--target", TARGET, "--target-dir"])
        .arg(target_dir("asan"))
        .env("RUSTFLAGS", "-Zsanitizer=address")
        // The ordinary run of the tests tries more cases.
        .env("PROPTEST_CASES", "16");
    command
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
