//! The loom models: every interleaving, up to a number of preemptions, of what several threads touch.

use std::env;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::command::{Count, cargo, run as run_command, target_dir};

/// How often the threads of a model may be interrupted. Nearly every known bug of this kind needs two.
pub(crate) const PREEMPTIONS: u32 = 3;

/// The packages that have models; each must have at least one.
pub(crate) const PACKAGES: &[&str] = &["sunstar-packet", "sunstar-executor"];

/// What models are built with.
pub(crate) const FLAG: &str = "--cfg loom";

/// Runs the models whose name contains `filter`, or all.
///
/// # Errors
/// If a package's models can't be built, or no model matches; without a filter, if a package has none.
pub(crate) fn run(filter: Option<&str>, preemptions: u32) -> Result<Count> {
    let mut total = Count::default();
    for package in PACKAGES {
        let mut command = cargo(&["test", "--locked", "--release", "--lib", "-p", package]);
        environment(&mut command, preemptions);
        let finished = run_command(command.arg(filter.unwrap_or("loom_")))?;
        let count = finished.count();
        ensure!(finished.success || count.failed > 0, "the models of {package} could not be built or run");
        ensure!(count != Count::default() || filter.is_some(), "{package} has no models");
        total.add(count);
    }
    ensure!(total != Count::default(), "no model ran");
    Ok(total)
}

/// Makes `command`, a cargo build, one of loom's.
pub(crate) fn environment(command: &mut Command, preemptions: u32) {
    command
        .env("CARGO_TARGET_DIR", target_dir("loom"))
        .env("RUSTFLAGS", FLAG)
        // Models are slow without optimisation, but their assertions are what they are for.
        .env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true")
        // Models run for seconds.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    if env::var_os("LOOM_MAX_PREEMPTIONS").is_none() {
        command.env("LOOM_MAX_PREEMPTIONS", preemptions.to_string());
    }
}
